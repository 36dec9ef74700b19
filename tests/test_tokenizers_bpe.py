"""Byte-level BPE: merging, the kernel, any string there and back."""

import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import byte_tokenizer, interpreted
from oracles import bpe as oracle
from strategies import merge_tables, pattern_texts
from tokenizers import BPE, bpe_kernel
from tokenizers.bpe import ALPHABET, byte_level, spell, to_bytes, unspell
from tokenizers.pretokenize import PATTERNS

WORDS = st.text("aab é", max_size=14)
names = st.sampled_from(sorted(PATTERNS))


def tokens_of(tok, word):
    """Bytes of the tokens that a word is cut into."""
    return [unspell(tok.id_to_token(i)) for i, _ in tok.model.merge(to_bytes(word))]


@given(merge_tables(), WORDS)
@example([(b"a", b"a"), (b"aa", b"a"), (b"a", b"aa")], "aaaaa")
def test_bpe_merge_equals_the_definition(merges, word):
    """The best rank first, the leftmost first, spelled out over byte strings."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    assert tokens_of(byte_tokenizer(merges), word) == oracle.encode(to_bytes(word), lambda *pair: ranks.get(pair))


@given(merge_tables(), WORDS)
@example([(b"a", b"b"), (b"ab", b"a"), (b"b", b"a")], "aba")
def test_bpe_ranks_equal_the_definition(merges, word):
    """tiktoken's rule: a whole token, else what makes the token of the lowest rank, however it is made."""
    tok = byte_tokenizer(merges, by_ranks=True)
    ranks = {unspell(token): i for token, i in tok.vocab.items()}
    assert tokens_of(tok, word) == oracle.encode(to_bytes(word), lambda a, b: ranks.get(a + b), ranks)


def assert_batch_equals_plain(tok, texts):
    for _ in range(2):  # the second time the pieces come from the cache
        batch = tok.segment_batch(texts)
        for b, text in enumerate(texts):
            part = slice(batch.starts[b], batch.starts[b + 1])
            columns = batch.ids[part], batch.offsets[part, 0], batch.offsets[part, 1], batch.word_ids[part]
            assert list(zip(*(column.tolist() for column in columns), strict=True)) == tok.segment(text), ascii(text)


@pytest.mark.kernels
@given(merge_tables(), st.booleans(), st.lists(WORDS | pattern_texts(12), max_size=4), names)
@example([(b"a", b"a"), (b"aa", b"aa")], False, ["a" * 99], "gpt2")
def test_bpe_kernel_equals_the_plain_form(merges, by_ranks, texts, pattern):
    """Pieces, merges, bytes and offsets in one kernel, for any table of merges and any text."""
    assert_batch_equals_plain(byte_tokenizer(merges, pattern, by_ranks=by_ranks), texts)


@pytest.mark.kernels
@given(merge_tables(b"ab"), st.text("ab", min_size=2, max_size=150))
def test_bpe_long_merges_equal_short_ones(merges, word):
    """The heap joins what a look at all ranks joins; without blanks in a word, nothing else decides."""
    tok = byte_tokenizer(merges)
    engine = tok._engine
    results = []
    for merge in (bpe_kernel.merge_short, bpe_kernel.merge_long):
        scratch = bpe_kernel.Scratch(*(np.zeros(len(word), kind) for kind in ("u1", "i4", "i4", "i4", "i4")))
        for i, byte in enumerate(to_bytes(word)):
            scratch.ids[i], scratch.ends[i] = tok.model.byte_ids[byte], i + 1
        count = merge(engine.merges, scratch, len(word))
        results.append((scratch.ids[:count].tolist(), scratch.ends[:count].tolist()))
    assert results[0] == results[1]
    assert results[0][0] == [i for i, _ in tok.model.merge(to_bytes(word))]


@pytest.mark.kernels
def test_bpe_kernel_equals_the_plain_form_when_the_cache_overflows(monkeypatch):
    """A cache of eight slots is emptied again and again; blocks of any size join up."""
    for name, value in {"CACHE_SLOTS": 8, "CACHE_WORDS": 200, "BLOCK": 50, "FIRST_SLOTS": 2}.items():
        monkeypatch.setattr(f"tokenizers.engine.{name}", value)
    texts = ["the word aaab " * 3, "a" * 47 + " " + "b" * 49, "", "a!b" * 20, "éé 中 \n\n 😀"] * 2
    assert_batch_equals_plain(byte_tokenizer([(b"a", b"a"), (b"aa", b"b"), (b" ", b"a")]), texts)


@given(merge_tables(), pattern_texts(), names)
@example([], "\ud83d\ude00 \ud800", "gpt2")
def test_bpe_decode_inverts_encode(merges, text, pattern):
    """Any Python string comes back, lone surrogates and controls included."""
    tok = byte_tokenizer(merges, pattern)
    assert tok.decode(tok.encode(text).ids) == text


@given(merge_tables(), pattern_texts())
def test_bpe_offsets_slice_the_source(merges, text):
    """A token's bytes stand in the bytes of its slice; slices cover the text without gaps."""
    encoding = byte_tokenizer(merges).encode(text)
    end = 0
    for token, (a, b) in zip(encoding.tokens, encoding.offsets, strict=True):
        assert unspell(token) in to_bytes(text[a:b]) and a in (end, end - 1) and b > a
        end = b
    assert end == len(text)


def test_bpe_wikipedia_example():
    """aaabdaaabac with the merges aa → Z, ab → Y, ZY → X is XdXac."""
    tok = byte_tokenizer([(b"a", b"a"), (b"a", b"b"), (b"aa", b"ab")])
    assert tok.encode("aaabdaaabac").tokens == ["aaab", "d", "aaab", "a", "c"]


def test_bpe_golden_encoding():
    """Every field of one text, worked out by hand; an emoji's four bytes all span the emoji."""
    encoding = byte_tokenizer([(b" ", b"a"), (b"b", b"b"), (b" a", b"bb")], special_tokens=["<s>"]).encode("bb abb😀a")
    assert encoding.tokens == ["bb", "Ġabb", *(ALPHABET[byte] for byte in "😀".encode()), "a"]
    assert encoding.offsets == [(0, 2), (2, 6), *[(6, 7)] * 4, (7, 8)]
    assert encoding.word_ids == [0, 1, 2, 2, 2, 2, 3]


def test_bpe_special_tokens_in_text_are_text_unless_allowed():
    """A control token's letters in a text are bytes, also where whole pieces are looked up first."""
    for by_ranks in (False, True):
        tok = byte_tokenizer([(b"a", b"b")], special_tokens=["abab", "<|end|>"], by_ranks=by_ranks)
        specials = set(tok.special_tokens.values())
        assert specials.isdisjoint(tok.encode("abab <|end|>").ids)
        allowed = tok.encode("abab<|end|>ab", allowed_special="all")
        assert allowed.tokens == ["abab", "<|end|>", "ab"] and allowed.offsets == [(0, 4), (4, 11), (11, 13)]
        assert tok.decode(allowed.ids, skip_special_tokens=False) == "abab<|end|>ab"


def test_bpe_decode_replaces_what_is_no_utf8():
    """A cut-off character is U+FFFD; ids out of range or unused are errors."""
    tok = byte_tokenizer()
    ids = tok.encode("é").ids
    assert tok.decode(ids[:1]) == "\ufffd" and tok.decode(ids[::-1]) == "\ufffd\ufffd"
    with pytest.raises(ValueError, match=r"ids\[0\]: expected 0 … 255, got 256"):
        tok.decode([256])
    gap = BPE.from_ranks({bytes([byte]): byte for byte in range(256)}, {"<|end|>": 300})
    with pytest.raises(ValueError, match=r"ids\[0\]: no token has the id 299"):
        byte_level(gap, special_tokens=["<|end|>"]).decode([299])


@pytest.mark.parametrize(
    ("vocab", "merges", "options", "message"),
    [
        ({"a": 0}, [], {}, "lacks 255 of the 256 bytes, the first is 0x"),
        ({"ab": 0}, [], {}, "each once"),
        ({"ab": -1}, [], {}, "each once"),
        ({"ab": 1 << 21}, [], {}, "each once"),
        ({}, [("a", "b")], {}, "merge 'a' 'b': not all of it and 'ab' are ordinary tokens"),
        ({"abc": 400}, [("ab", "c")], {}, "merge 'ab' 'c': not all"),
        ({"ab": 400}, [("a", "b")], {"special_tokens": ["ab"]}, "merge 'a' 'b': not all"),
        ({}, [], {"special_tokens": ["a"]}, "lacks 1 of the 256 bytes"),
    ],
)
def test_bpe_refuses_impossible_tables(vocab, merges, options, message):
    """Bytes missing, ids twice or out of range, merges of unknown tokens or into control tokens."""
    if "a" not in vocab:
        vocab = {**{ALPHABET[byte]: byte for byte in range(256)}, **vocab}
    with pytest.raises(ValueError, match=message):
        BPE(vocab, merges, **options)


def test_bpe_time_is_near_linear_in_a_long_piece():
    """Ten times the letters without a blank take far less than a hundred times the time."""
    tok = byte_tokenizer([(b"a", b"a"), (b"aa", b"aa"), (b"aaaa", b"aaaa")])
    seconds, letters = [], 1_000 if interpreted() else 40_000
    tok.encode("a" * 100)
    for size in (letters, 10 * letters):
        start = time.perf_counter()
        assert len(tok.encode_batch(["a" * size]).ids) == size // 8
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 40 * seconds[0] + 0.05, seconds


@given(st.binary(max_size=20))
def test_bpe_alphabet_is_reversible(data):
    """256 printable characters, none a blank, one for each byte."""
    assert unspell(spell(data)) == data and len(set(ALPHABET.values())) == 256
    assert all(c.isprintable() and not c.isspace() for c in ALPHABET.values()) and unspell("中") is None
