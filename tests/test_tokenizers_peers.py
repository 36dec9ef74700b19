"""Ids, offsets, words, types and masks equal Hugging Face's library on real and made-up text, both ways of its file.

Text sets are read from the folder in MINIBERT_DATA; without it, the standard library's docstrings and generated
strings are compared alone.
"""

import gzip
import json
import os
import random
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tokenizers
from benchmarks.peers import Peer
from benchmarks.tokenizers import stdlib_docstrings
from helpers import TOKENS, bert_tokenizer
from tokenizers import BertNormalizer, BertPreTokenizer
from tokenizers.normalize import code_points, combining_classes, mapping
from tokenizers.wordpiece import count_words, learn_pieces

pytestmark = pytest.mark.peers
DATA = os.environ.get("MINIBERT_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="MINIBERT_DATA names no folder of text sets: generated text only")
FIELDS = ("ids", "starts", "type_ids", "offsets", "word_ids", "special_tokens_mask")


def fuzz(count, seed):
    """Strings of 1 to 30 characters, up to four kinds at a time: what composes, folds, moves, breaks or vanishes."""
    rng, marks = random.Random(seed), code_points("NONSPACING_MARKS")
    classes = set(combining_classes())
    pools = [
        *(sorted(kind) for kind in (mapping("NFD"), mapping("LOWER"), classes, classes - marks, marks)),
        *(sorted(code_points(name)) for name in ("PUNCTUATION", "WHITE_SPACE")),
        *([chr(c) for c in range(a, b)] for a, b in ((0, 128), (32, 127), (0, 0x300), (0x4E00, 0xA000))),
        [chr(c) for c in range(0xAC00, 0xD7A4)],
        [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000],
        ["the ", "er", "ing", "[SEP]", "[MASK]", "##", "un"],
    ]
    texts = []
    for _ in range(count):
        kinds = rng.choices(pools, k=rng.randint(1, 4))
        texts.append("".join(rng.choice(rng.choice(kinds)) for _ in range(rng.choice([1, 2, 3, 5, 10, 30]))))
    return texts


@pytest.fixture(scope="module")
def peer():
    with Peer("hf_tokenizers") as peer:
        yield peer


@pytest.fixture(scope="module")
def minilm(peer):
    """(our tokenizer, the library's file) of all-MiniLM-L6-v2."""
    folder = peer.call("minilm_folder")
    return tokenizers.load(folder), str(Path(folder) / "tokenizer.json")


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


def test_encodings_equal_the_library_on_docstrings(peer, minilm):
    """The standard library's docstrings, whole, with MiniLM's own files."""
    assert_equal(peer, *minilm, stdlib_docstrings(1_000_000))


def test_encodings_equal_the_library_on_fuzzed_unicode(peer, minilm):
    """20,000 strings; batches with pairs and truncation among them."""
    texts = fuzz(20_000, seed=1)
    assert_equal(peer, *minilm, texts)
    assert_equal(peer, *minilm, texts[:3000], texts[3000:6000])
    for max_length in (3, 4, 7, 12, 13):
        assert_equal(peer, *minilm, texts[:500], texts[500:1000], max_length)
        assert_equal(peer, *minilm, texts[:500], None, max_length)


def test_encodings_equal_the_library_on_every_code_point(peer, minilm):
    """Each code point between letters; 64 to a text, in the plain and in the fast form."""
    points = [f"a{chr(c)}b" for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not 0xF0100 <= c < 0x10FF00]
    assert_equal(peer, *minilm, [" ".join(points[i : i + 64]) for i in range(0, len(points), 64)])


@needs_data
@pytest.mark.parametrize("name", ["udhr2", "blns", "emoji", "bert_sample", "blingfire", "enwiki", "ja", "tatoeba"])
def test_encodings_equal_the_library_on_text_sets(peer, minilm, name):
    """Texts in some 390 languages, naughty strings, emoji, noisy lines of the web, articles."""
    assert_equal(peer, *minilm, _text_set(Path(DATA), name))


def _text_set(data, name):
    if name == "udhr2":
        with zipfile.ZipFile(data / "udhr2" / "udhr2_utf8.zip") as archive:
            return [archive.read(n).decode("utf-8", "replace")[:6000] for n in archive.namelist() if n.endswith(".txt")]
    if name == "blns":
        return json.loads((data / "tokenizer_fuzz" / "blns.json").read_text("utf-8"))
    if name == "enwiki":
        return [json.loads(line)["text"] for line in _lines(data / "enwiki_articles" / "enwiki_articles.jsonl.gz", 40)]
    if name == "tatoeba":
        return [line for path in sorted((data / "tatoeba_multilingual").glob("*.tsv")) for line in _lines(path, 500)]
    return _lines(data / LINES[name], 40_000)


LINES = {
    "emoji": "tokenizer_fuzz/emoji.tsv",
    "bert_sample": "tokenizer_fuzz/bert_sample_text.txt",
    "blingfire": "blingfire_multilingual_text/test.txt.gz",
    "ja": "enja_small/train.ja",
}


def _lines(path, count):
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split("\n")[:count]


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
    words = count_words(texts, BertNormalizer(), BertPreTokenizer())
    inside = {c for word in words for c in word[1:]}
    start = 5 + len(set().union(*words))
    tokens = theirs[: start + len(inside)]
    assert Counter(tokens[start:]) == Counter("##" + c for c in inside)
    learn_pieces(words, tokens, 3000, 2, "##")
    assert tokens == theirs
