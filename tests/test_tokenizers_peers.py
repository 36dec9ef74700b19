"""Ids, offsets, words, types and masks equal Hugging Face's library on real and made-up text, both ways of its file.

Text sets are read from the folder in MINIBERT_DATA; without it, the standard library's docstrings and generated
strings are compared alone.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from text_sets import DATA, assert_same_ids, batches, every_document, fuzz, needs_data, text_sets

import tokenizers
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from helpers import TOKENS, bert_tokenizer
from tokenizers import BertNormalizer, WordPiece

pytestmark = pytest.mark.peers
FIELDS = ("ids", "starts", "type_ids", "offsets", "word_ids", "special_tokens_mask")


@pytest.fixture(scope="module")
def peer():
    with Peer("hf_tokenizers", threads=2) as peer:
        yield peer


@pytest.fixture(scope="module")
def minilm(peer):
    """(our tokenizer, the library's file) of all-MiniLM-L6-v2."""
    folder = peer.call("minilm_folder")
    return tokenizers.load(folder), str(Path(folder) / "tokenizer.json")


def our_ids(tok, **options):
    """A function of texts: (ids, starts); control tokens in text are honoured, as in the library."""

    def encode(texts):
        batch = tok.encode_batch(texts, **{"allowed_special": "all", **options})
        return batch.ids, batch.starts

    return encode


def their_ids(peer, path, **options):
    """The same by the library."""

    def encode(texts):
        found = peer.call("encode_ids", path=str(path), texts=texts, **options)
        return found["ids"], found["starts"]

    return encode


def assert_equal(peer, tok, path, texts, pairs=None, max_length=None):
    """Every field of every row; in the library, control tokens in text are always honoured."""
    theirs = peer.call("encode", path=str(path), texts=texts, pairs=pairs, max_length=max_length)
    ours = tok.encode_batch(texts, pairs, max_length, "silent", allowed_special="all")
    for name in (*FIELDS, *(["truncated"] if max_length else [])):
        if not np.array_equal(getattr(ours, name), theirs[name]):
            raise AssertionError(f"{name} differ, first in {_first_difference(ours, theirs, name, texts)!a}")
    print(f"{len(texts):,} texts, {len(ours.ids):,} ids: 0 different")


def _first_difference(ours, theirs, name, texts):
    for b, text in enumerate(texts):
        a, z = theirs["starts"][b : b + 2]
        if name == "truncated":
            if ours.truncated[b] != theirs["truncated"][b]:
                return text
        elif not np.array_equal(ours.row(b).get(name, ours.row(b)["ids"]), theirs.get(name, theirs["ids"])[a:z]):
            return text


@needs_data
def test_ids_equal_golden_rows():
    """The 10,570 questions of BERT's golden files, whose ids BertTokenizer recorded."""
    folder = Path(DATA) / "tok_bert_wordpiece"
    questions = [row["original"] for row in _golden(folder / "golden_question_tokens.json.gz")]
    expected = _golden(folder / "golden_tokenized_question_ids.json.gz")
    batch = tokenizers.load(folder / "bert-base-uncased-vocab.txt").encode_batch(questions, add_special_tokens=False)
    assert len(questions) == len(expected) == 10_570
    assert [batch.row(b)["ids"].tolist() for b in range(len(batch))] == expected


def _golden(path):
    return json.loads(gzip.decompress(path.read_bytes()))


@needs_data
def test_ids_and_texts_equal_recorded_ones():
    """18 recorded strings with their ids and what they decode to, and a long text."""
    tok = tokenizers.load(Path(DATA) / "tok_bert_wordpiece" / "bert-base-uncased-vocab.txt")
    golden = json.loads((Path(DATA) / "tok_golden" / "tokenizer_tests.json").read_text("utf-8"))["bert-base-uncased"]
    for row in golden:
        ids = row["encoded"]["input_ids"]
        assert tok.encode(row["input"]).ids == ids, row["input"]
        assert tok.decode(ids, skip_special_tokens=False, clean_up="text") == row["decoded_with_special"]
        assert tok.decode(ids, clean_up="text") == row["decoded_without_special"]
    long = json.loads((Path(DATA) / "tok_golden" / "bert_uncased_encoded.json").read_text("utf-8"))
    assert tok.encode(long["text"]).ids == long["token_ids"] and len(golden) == 18
    assert tok.decode(long["token_ids"], skip_special_tokens=False, clean_up="text") == long["decoded_text"]


@needs_data
def test_cased_encodings_equal_the_library(peer, tmp_path):
    """BERT's cased vocabulary, opened from vocab.txt and saved for the library: strings and every fortieth document."""
    tok = tokenizers.load(Path(DATA) / "tok_bert_wordpiece" / "bert-base-cased-vocab.txt", lowercase=False)
    tok.save(tmp_path / "cased.json")
    assert_equal(peer, tok, tmp_path / "cased.json", fuzz(20_000, seed=5))
    assert_equal(peer, tok, tmp_path / "cased.json", [text for _, text in every_document()[::40]])


def test_encodings_equal_the_library_on_docstrings(peer, minilm):
    """The standard library's docstrings, whole, with MiniLM's own files."""
    assert_equal(peer, *minilm, stdlib_docstrings(1_000_000))


def test_encodings_equal_the_library_on_fuzzed_unicode(peer, minilm):
    """100,000 strings; the whole encodings of 20,000, and batches with pairs and truncation among them."""
    texts, (tok, path) = fuzz(100_000, seed=1), minilm
    assert_same_ids(our_ids(tok), their_ids(peer, path), batches(texts))
    assert_equal(peer, tok, path, texts[:20_000])
    assert_equal(peer, *minilm, texts[:3000], texts[3000:6000])
    for max_length in (3, 4, 7, 12, 13):
        assert_equal(peer, *minilm, texts[:500], texts[500:1000], max_length)
        assert_equal(peer, *minilm, texts[:500], None, max_length)


def test_encodings_equal_the_library_on_every_code_point(peer, minilm):
    """Each code point between letters; 64 to a text, in the plain and in the fast form."""
    points = [f"a{chr(c)}b" for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not 0xF0100 <= c < 0x10FF00]
    assert_equal(peer, *minilm, [" ".join(points[i : i + 64]) for i in range(0, len(points), 64)])


@needs_data
def test_ids_equal_the_library_on_every_document(peer, minilm):
    """All text sets: prose, questions, news, tables, some 390 languages, naughty strings, emoji, lines of the web."""
    tok, path = minilm
    assert_same_ids(our_ids(tok), their_ids(peer, path), text_sets())


@needs_data
def test_encodings_equal_the_library_on_every_fortieth_document(peer, minilm):
    """Offsets, words, types and masks too."""
    assert_equal(peer, *minilm, [text for _, text in every_document()[::40]])


@pytest.mark.parametrize(
    "options",
    [
        {"lowercase": False},
        {"lowercase": True, "strip_accents": False},
        {"lowercase": False, "strip_accents": True},
        {"lowercase": False, "strip_accents": False, "clean_text": False, "handle_chinese_chars": False},
        {"clean_text": False},
    ],
)
def test_encodings_equal_the_library_for_every_option(peer, tmp_path, options):
    """A file that the library wrote, with BertProcessing, opened by us: each option of the normalizer."""
    path = tmp_path / "tokenizer.json"
    peer.call("save_bert", path=str(path), vocab=TOKENS, **options)
    tok = tokenizers.load(path)
    assert tok.normalizer == BertNormalizer(**options)
    assert_equal(peer, tok, path, fuzz(5_000, seed=2))


@pytest.mark.parametrize("lowercase", [True, False])
def test_library_opens_our_file(peer, tmp_path, lowercase):
    """A tokenizer.json that we wrote gives the same encodings there, and decodes to the same text."""
    tok, path = bert_tokenizer(normalizer=BertNormalizer(lowercase=lowercase)), tmp_path / "tokenizer.json"
    tok.save(path)
    assert peer.call("load", path=str(path)) == tok.vocab_size
    assert_equal(peer, tok, path, fuzz(3_000, seed=3))
    rng = np.random.default_rng(4)
    rows = [rng.integers(0, tok.vocab_size, n).tolist() for n in range(60)]
    for skip in (True, False):
        theirs = peer.call("decode", path=str(path), rows=rows, skip_special_tokens=skip)
        assert [tok.decode(row, skip_special_tokens=skip) for row in rows] == theirs


def test_decoding_equals_the_library_with_a_real_vocabulary(peer, minilm):
    """English of all sorts, clean-up included."""
    tok, path = minilm
    texts = ["I'm sure you don't, it's what we've said!", "a . b , c ?", "they're", *stdlib_docstrings(60_000)]
    rows = [tok.encode(text).ids for text in texts]
    assert [tok.decode(row) for row in rows] == peer.call("decode", path=path, rows=rows)


def test_training_equals_the_library_given_its_order_of_the_alphabet(peer):
    """Its trainer numbers the "##" characters at random; fed with that order, ours joins what it joins."""
    texts = stdlib_docstrings(400_000)
    theirs = peer.call("train", texts=texts, vocab_size=3000)
    alphabet = [token for token in theirs[5:] if len(token.removeprefix("##")) == 1]
    ours = WordPiece.train(texts, vocab_size=3000, alphabet=alphabet)
    assert list(ours.vocab) == theirs
    print(f"{len(texts):,} texts, {len(theirs):,} tokens: 0 different")
