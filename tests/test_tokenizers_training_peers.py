"""SentencePiece training against the library: the same pieces for BPE, as good a model for Unigram."""

import pytest
from text_sets import every_document, needs_data

from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from tokenizers import SentencePiece, WordLevel

pytestmark = pytest.mark.peers
TOO_LONG = 1000  # characters; sentencepiece leaves lines of more than 4192 bytes out


@pytest.fixture(scope="module")
def peer():
    with Peer("sentencepiece_models") as peer:
        yield peer


@pytest.fixture(scope="module")
def english():
    """(lines to learn from, lines held out) of docstrings."""
    lines = [line for text in stdlib_docstrings(3_000_000) for line in text.split("\n") if 0 < len(line) < TOO_LONG]
    return [line for i, line in enumerate(lines) if i % 10], lines[::10]


def judged(peer, path, held_out):
    """(tokens a word, log probability a word of the best cut) of a .model file on held-out lines, by the library."""
    ids = peer.call("encode", path=str(path), texts=held_out)["ids"].tolist()
    scores = peer.call("scores", path=str(path))
    words = sum(len(line.split()) for line in held_out)
    return len(ids) / words, sum(scores[i] for i in ids) / words


def pieces(peer, path):
    return peer.call("pieces", path=str(path))


@pytest.mark.parametrize("size", [500, 4000])
def test_bpe_training_gives_the_pieces_of_the_library(peer, english, tmp_path, size):
    """Docstrings at two sizes: every piece, in the same order, with the same score."""
    peer.call("train", path=str(tmp_path / "theirs"), texts=english[0], vocab_size=size, model_type="bpe")
    SentencePiece.train(english[0], size, "bpe").save(tmp_path / "ours.model")
    assert pieces(peer, tmp_path / "ours.model") == pieces(peer, tmp_path / "theirs")
    print(f"{len(english[0]):,} lines, {size} pieces: 0 different")


@needs_data
@pytest.mark.parametrize("name", ["enja_small", "tatoeba_multilingual"])
def test_bpe_training_gives_the_pieces_of_the_library_in_many_scripts(peer, tmp_path, name):
    """Japanese and English, and sentences in many languages, with byte fallback."""
    lines = (line for folder, text in every_document() if name in str(folder) for line in text.split("\n"))
    texts = [line for line in lines if 0 < len(line) < TOO_LONG][:20_000]
    options = {"vocab_size": 5000, "byte_fallback": True}
    peer.call("train", path=str(tmp_path / "theirs"), texts=texts, model_type="bpe", **options)
    SentencePiece.train(texts, model="bpe", **options).save(tmp_path / "ours.model")
    ours, theirs = pieces(peer, tmp_path / "ours.model"), pieces(peer, tmp_path / "theirs")
    different = len(set(map(tuple, ours)) ^ set(map(tuple, theirs)))
    print(f"{name}: {len(texts):,} lines, {len(ours)} pieces, {different} different")
    assert ours == theirs


@pytest.mark.parametrize("size", [1000, 8000])
def test_unigram_training_is_as_good_as_the_library(peer, english, tmp_path, size):
    """Held-out docstrings: tokens a word and likelihood within 1 %, both models read by the library."""
    peer.call("train", path=str(tmp_path / "theirs"), texts=english[0], vocab_size=size, model_type="unigram")
    SentencePiece.train(english[0], size).save(tmp_path / "ours.model")
    ours, theirs = (judged(peer, tmp_path / name, english[1]) for name in ("ours.model", "theirs"))
    print(f"{size} pieces: tokens a word {ours[0]:.4f}, theirs {theirs[0]:.4f}; log p {ours[1]:.4f}, {theirs[1]:.4f}")
    assert ours[0] < 1.01 * theirs[0] and ours[1] > 1.01 * theirs[1]


def test_wordlevel_training_gives_the_vocabulary_of_the_library(english):
    """Words by count, then by themselves."""
    with Peer("hf_tokenizers") as hf:
        theirs = hf.call("train_wordlevel", texts=english[0], vocab_size=5000, special_tokens=["[PAD]", "[UNK]"])
    ours = list(WordLevel.train(english[0], 5000).vocab)
    assert ours == theirs
    print(f"{len(english[0]):,} lines, {len(ours)} words: 0 different")
