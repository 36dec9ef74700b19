"""Byte-level BPE equals Hugging Face's library and tiktoken: ids on real and made-up text, files both ways, merges."""

import gzip
import json
import random
from pathlib import Path

import pytest
from test_tokenizers_peers import assert_equal, our_ids, their_ids
from text_sets import DATA, assert_same_ids, batches, every_document, fuzz, needs_data, text_sets

import tokenizers
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from tokenizers import BPE
from tokenizers.bpe import byte_level, unspell
from tokenizers.pretokenize import PATTERNS

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def hf():
    with Peer("hf_tokenizers", threads=2) as peer:
        yield peer


@pytest.fixture(scope="module")
def tiktoken():
    with Peer("tiktoken_bpe") as peer:
        yield peer


@pytest.fixture(scope="module")
def trained(hf, tmp_path_factory):
    """(tokenizer, path of its tokenizer.json, path of its tokens as ranks) trained by the library on docstrings."""
    folder = tmp_path_factory.mktemp("bpe")
    path = folder / "tokenizer.json"
    hf.call("train_bpe", texts=stdlib_docstrings(600_000), vocab_size=4000, path=str(path))
    tok = tokenizers.load(path)
    ranked(tok, "gpt2").save(folder / "ranks.tiktoken")
    return tok, path, folder / "ranks.tiktoken"


def ranked(tok, pattern):
    """The same tokens by rank, as tiktoken has them."""
    ordinary = sorted((i, token) for token, i in tok.vocab.items() if token not in tok.special_tokens)
    return byte_level(BPE.from_ranks({unspell(token): rank for rank, (_, token) in enumerate(ordinary)}), pattern)


def tiktoken_ids(peer, path, pattern):
    """A function of texts: (ids, starts)."""

    def encode(texts):
        found = peer.call("encode", path=str(path), pattern=pattern, texts=texts)
        return found["ids"], found["starts"]

    return encode


@needs_data
def test_bpe_ids_equal_golden_rows():
    """GPT-2's own files: the recorded long texts and 18 recorded strings, there and back."""
    tok = tokenizers.load(Path(DATA) / "tok_gpt2_bpe")
    for name in ("tok_gpt2_bpe/golden_encoded_tokens.json", "tok_golden/gpt2_encoded_tokens.json"):
        golden = json.loads((Path(DATA) / name).read_text("utf-8"))
        encoding = tok.encode(golden["text"])
        assert encoding.ids == golden["token_ids"] and encoding.tokens == golden["bpe_tokens"]
        assert tok.decode(encoding.ids) == golden["text"]
    rows = json.loads((Path(DATA) / "tok_golden" / "tokenizer_tests.json").read_text("utf-8"))["distilgpt2"]
    for row in rows:
        ids = row["encoded"]["input_ids"]
        assert tok.encode(row["input"], allowed_special="all").ids == ids
        assert tok.decode(ids, skip_special_tokens=False, clean_up="text") == row["decoded_with_special"]
        assert tok.decode(ids, clean_up="text") == row["decoded_without_special"]
    assert len(rows) == 18


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """(our tokenizer, the file) of roberta-base."""
    path = tmp_path_factory.mktemp("roberta") / "tokenizer.json"
    path.write_bytes(gzip.decompress((Path(DATA) / "tok_hf_json" / "roberta-base.tokenizer.json.gz").read_bytes()))
    return tokenizers.load(path), path


@needs_data
def test_roberta_ids_equal_the_library_on_every_document(hf, roberta):
    """All text sets; of every fortieth document offsets, words, types and masks too."""
    tok, path = roberta
    assert_same_ids(our_ids(tok), their_ids(hf, path), text_sets())
    assert_equal(hf, tok, path, [text for _, text in every_document()[::40]])


@needs_data
def test_roberta_encodings_equal_the_library_on_fuzzed_strings(hf, roberta, tmp_path):
    """100,000 strings; pairs and truncation among them; the file that we write gives the same there."""
    tok, path = roberta
    texts = ["<mask> a  <mask>\n<s><mask>", " </s> b", *fuzz(100_000, seed=2)]
    assert_same_ids(our_ids(tok), their_ids(hf, path), batches(texts))
    assert_equal(hf, tok, path, texts[:20_000])
    assert_equal(hf, tok, path, texts[:2000], texts[2000:4000])
    for max_length in (4, 7, 12):
        assert_equal(hf, tok, path, texts[:500], texts[500:1000], max_length)
    tok.save(tmp_path / "ours.json")
    assert_equal(hf, tok, tmp_path / "ours.json", texts[:5000])
    rows = [tok.encode(text).ids for text in texts[:3000]]
    assert [tok.decode(row) for row in rows] == hf.call("decode", path=str(path), rows=rows)


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_bpe_patterns_equal_the_library(hf, trained, tmp_path, pattern):
    """Each pattern in a tokenizer.json that we wrote: 5,000 strings, and docstrings."""
    tok = byte_level(trained[0].model, pattern, trained[0].special_tokens)
    tok.save(tmp_path / "ours.json")
    assert_equal(hf, tok, tmp_path / "ours.json", [*fuzz(5_000, seed=3), *stdlib_docstrings(200_000)])


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "o200k"])
def test_bpe_ids_equal_tiktoken_on_fuzzed_strings(tiktoken, trained, pattern):
    """100,000 strings for each pattern, and docstrings."""
    texts = [*fuzz(100_000, seed=4), *stdlib_docstrings(300_000)]
    theirs = tiktoken_ids(tiktoken, trained[2], pattern)
    assert_same_ids(our_ids(ranked(trained[0], pattern)), theirs, batches(texts))


@needs_data
@pytest.mark.parametrize("pattern", ["cl100k", "o200k"])
def test_bpe_ids_equal_tiktoken_on_every_document(tiktoken, trained, pattern):
    """All text sets."""
    theirs = tiktoken_ids(tiktoken, trained[2], pattern)
    assert_same_ids(our_ids(ranked(trained[0], pattern)), theirs, text_sets())


@needs_data
def test_bpe_ids_with_the_llama3_pattern_equal_the_library_on_every_document(hf, trained, tmp_path):
    """All text sets and 100,000 strings, with a tokenizer.json that we wrote."""
    tok = byte_level(trained[0].model, "llama3", trained[0].special_tokens)
    tok.save(tmp_path / "ours.json")
    theirs = their_ids(hf, tmp_path / "ours.json")
    assert_same_ids(our_ids(tok), theirs, text_sets())
    assert_same_ids(our_ids(tok), theirs, batches(fuzz(100_000, seed=7)))


def test_bpe_ids_equal_tiktoken_on_every_code_point(tiktoken, trained):
    """Each code point between letters, blanks and digits: its class is the same there."""
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not 0xF0100 <= c < 0x10FF00]
    texts = ["a".join(points[i : i + 64]) + " 1" + " ".join(points[i : i + 64]) for i in range(0, len(points), 64)]
    for pattern in ("gpt2", "o200k"):
        theirs = tiktoken_ids(tiktoken, trained[2], pattern)
        assert_same_ids(our_ids(ranked(trained[0], pattern)), theirs, [texts])


def test_bpe_training_gives_the_merges_of_the_library(hf):
    """Docstrings at two sizes, and 150 corpora of chance over few letters, where ties and runs abound."""
    rng, corpora = random.Random(6), [(stdlib_docstrings(600_000), size, 2) for size in (600, 6000)]
    for _ in range(150):
        letters = rng.choice(["a", "ab", "abc", "abcdefgh", "aé中"])
        words = ("".join(rng.choices(letters, k=rng.randint(1, rng.choice([3, 8, 20])))) for _ in range(40))
        corpora.append(([" ".join(words)], 400, 1))
    for texts, size, min_frequency in corpora:
        theirs = hf.call("train_bpe", texts=texts, vocab_size=size, min_frequency=min_frequency)
        ours = BPE.train(texts, vocab_size=size, min_frequency=min_frequency)
        assert [list(pair) for pair in ours.model.merges] == theirs["merges"] and list(ours.vocab) == theirs["vocab"]
