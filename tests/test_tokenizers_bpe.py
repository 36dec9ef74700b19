"""Byte-level BPE: merging, the kernel, any string there and back."""

import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import assert_batch_equals_plain, byte_tokenizer, interpreted
from oracles import bpe as oracle
from strategies import merge_tables, pattern_texts
from tokenizers import BPE, bpe_kernel
from tokenizers.bpe import ALPHABET, byte_level, spell, to_bytes, unspell
from tokenizers.pretokenize import PATTERNS

WORDS = st.text("aab é", max_size=14)
names = st.sampled_from(sorted(PATTERNS))
# in the first of two texts the search goes back from several places, which the second may not find marked
DEAD_ENDS = [(b"b", b"a"), (b"ba", b"ba"), (b"ba", b"b"), (b"bab", b"a"), (b"bab", b"ba"), (b"bab", b"b")]
DEAD_ENDS += [(b"a", b"baba"), (b"babba", b"a"), (b"a", b"babba"), (b"babb", b"ba")]
# two neighbours made at one rank: the right one came later, so it is taken apart first
MADE_ALIKE = [(b"a", b"a"), (b"b", b"a"), (b"a", b"b"), (b"a", b"aa"), (b"ba", b"ab"), (b"aa", b"b")]
MADE_ALIKE += [(b"aaa", b"aaa"), (b"aaa", b"aaaaaa"), (b"b", b"baab")]


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


@pytest.mark.kernels
@given(merge_tables(), st.booleans(), st.lists(WORDS | pattern_texts(12), max_size=4), names)
@example([(b"a", b"a"), (b"aa", b"aa")], False, ["a" * 99], "gpt2")
@example(DEAD_ENDS, False, ["bbbabbbbbbaabbbababbabbaabababbabbbaaaba", "bbabbbababaabbbaaaaabaaaaabaa"], "gpt2")
def test_bpe_kernel_equals_the_plain_form(merges, by_ranks, texts, pattern):
    """Pieces, merges, bytes and offsets in one kernel, for any table of merges and any text."""
    assert_batch_equals_plain(byte_tokenizer(merges, pattern, by_ranks=by_ranks), texts)


@pytest.mark.kernels
@given(merge_tables(b"ab"), st.booleans(), st.text("ab", min_size=2, max_size=150))
@example([(b"b", b"a"), (b"a", b"b"), (b"ba", b"b"), (b"a", b"ba")], False, "abab")
@example([(b"a", b"a"), (b"aa", b"aa"), (b"aaaa", b"a")], False, "a" * 31)
@example(MADE_ALIKE, True, "aaaabaabbabaaababbabbb")
def test_bpe_search_equals_merging(merges, by_ranks, word):
    """The search for tokens that stay side by side finds what merging gives; without blanks nothing else decides."""
    tok = byte_tokenizer(merges, by_ranks=by_ranks)
    assert tok.segment_batch([word]).ids.tolist() == [i for i, _ in tok.model.merge(to_bytes(word))]


@pytest.mark.kernels
@given(merge_tables(b"ab"), st.data())
def test_bpe_neighbours_that_stay_equal_the_definition(merges, data):
    """Looking back at how two tokens came to be tells what merging their bytes gives."""
    engine = byte_tokenizer(merges)._engine
    tables = engine.merges, engine.tokens, bpe_kernel.make_scratch(engine.longest, 0)
    reached = st.sampled_from(np.flatnonzero(engine.tokens.made[:, bpe_kernel.RANK] < bpe_kernel.NEVER).tolist())
    a, b = data.draw(reached), data.draw(reached)
    assert bpe_kernel.stays(*tables, a, b) == bpe_kernel.stays_merged(*tables, a, b)


@pytest.mark.kernels
def test_bpe_kernel_equals_the_plain_form_when_the_cache_overflows(monkeypatch):
    """A cache of two records forgets again and again; blocks of any size join up."""
    for name, value in {"SHORT_RECORDS": 2, "LONG_RECORDS": 2, "BLOCK": 50}.items():
        monkeypatch.setattr(f"tokenizers.engine.{name}", value)
    texts = ["the word aaab " * 3, "a" * 38 + " " + "b" * 39, "", "a!b" * 20, "éé 中 \n\n 😀"] * 2
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


# Training


CORPORA = st.dictionaries(st.text("abcé", min_size=1, max_size=9), st.integers(1, 4), min_size=1, max_size=12)


@pytest.mark.kernels
@given(CORPORA, st.integers(0, 30), st.integers(1, 4))
@example({"aaaaa": 2, "aaab": 1, "baa": 3}, 9, 1)
def test_bpe_training_equals_counting_anew(words, more, min_frequency):
    """Incremental counts and a heap choose what a full recount before each join chooses."""
    texts = [f"{word}\n" for word, n in words.items() for _ in range(n)]
    tok = BPE.train(texts, vocab_size=256 + more, min_frequency=min_frequency, special_tokens=())
    spelled = {spell(to_bytes(word)): n for word, n in words.items()}
    tokens, merges = oracle.train(spelled, sorted(ALPHABET.values()), 256 + more, min_frequency)
    assert tok.model.merges == merges and list(tok.vocab) == tokens


def test_bpe_training_wikipedia_example():
    """aaabdaaabac: aa stands there 4 times, then aaa and ab twice: aa has the larger id, so ab; then aa + ab."""
    tok = BPE.train(["aaabdaaabac"], vocab_size=259, special_tokens=())
    assert tok.model.merges == [("a", "a"), ("a", "b"), ("aa", "ab")]
    assert tok.encode("aaabdaaabac").tokens == ["aaab", "d", "aaab", "a", "c"]


@given(st.lists(pattern_texts(), min_size=1, max_size=4), names)
def test_bpe_training_is_deterministic_and_lossless(texts, pattern):
    """The same texts give the same file, from a list or a generator; every text comes back."""
    texts = [*texts, "plain"]
    tok = BPE.train(texts, vocab_size=300, pattern=pattern, min_frequency=1)
    assert BPE.train(iter(texts), vocab_size=300, pattern=pattern, min_frequency=1).to_json() == tok.to_json()
    assert [tok.decode(tok.encode(text).ids) for text in texts] == texts


def test_bpe_training_reads_blocks_of_any_size(monkeypatch):
    """Pieces are counted a block at a time; where blocks end changes nothing."""
    texts = ["the cat's  hat\n", "", "the bat", " that's it"] * 3
    whole = BPE.train(texts, vocab_size=280).to_json()
    monkeypatch.setattr("tokenizers.count.BLOCK", 10)
    assert BPE.train(texts, vocab_size=280).to_json() == whole


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ([], {}, ValueError, "empty or holds no words"),
        (["", ""], {}, ValueError, "empty or holds no words"),
        (["a", None], {}, TypeError, r"texts\[1\]: expected str, got NoneType"),
        (["a", b"b"], {}, TypeError, r"texts\[1\]: expected str, got bytes"),
        ("a single str", {}, TypeError, "expected an iterable of str, got str"),
        (None, {}, TypeError, "expected an iterable of str, got NoneType"),
        (["a"], {"vocab_size": 256}, ValueError, "vocab_size 256 is too small: special tokens and 256 bytes need 257"),
        (["a"], {"vocab_size": 1 << 22}, ValueError, "vocab_size: expected at most"),
        (["a"], {"pattern": "bert"}, ValueError, "pattern: expected one of"),
        (["a"], {"special_tokens": ["a"]}, ValueError, "lacks 1 of the 256 bytes"),
        (["ab ab"], {"special_tokens": ["ab"]}, ValueError, "merge 'a' 'b': not all"),
    ],
)
def test_bpe_training_refuses_bad_corpora(texts, options, error, message):
    """Nothing to learn from, not text, no room for the bytes, control tokens that text would make."""
    with pytest.raises(error, match=message):
        BPE.train(texts, **{"vocab_size": 300, **options})


def test_bpe_training_shows_progress_when_asked(capsys):
    """Two bars on stderr, none by default."""
    BPE.train(["a b ab ab"], vocab_size=300)
    assert capsys.readouterr().err == ""
    BPE.train(["a b ab ab"], vocab_size=300, progress=True)
    assert "reading" in (shown := capsys.readouterr().err) and "joining" in shown


@given(merge_tables(), pattern_texts(), st.floats(0, 1), st.integers(0, 99))
def test_dropout_gives_other_cuts_of_the_same_text(merges, text, dropout, seed):
    """Seeded, it decodes to the text; 0 gives encode's ids and 1 single bytes; tokens stay in the vocabulary."""
    tok = byte_tokenizer(merges)
    found = tok.sample(text, dropout, rng=np.random.default_rng(seed))
    assert found == tok.sample(text, dropout, rng=np.random.default_rng(seed))
    assert tok.decode(found.ids) == text
    assert tok.sample(text, 0, rng=None).ids == [i for i, *_ in tok.segment(text)]
    assert len(tok.sample(text, 1, rng=np.random.default_rng(seed)).ids) == len(text.encode("utf-8", "surrogatepass"))


def test_dropout_leaves_out_each_merge_as_often_as_asked():
    """One merge possible: joined with probability 1 - dropout, within five standard deviations."""
    tok, rng = byte_tokenizer([(b"a", b"b")]), np.random.default_rng(0)
    joined = sum(len(tok.sample("ab", 0.3, rng=rng).ids) == 1 for _ in range(2000))
    assert abs(joined - 1400) < 5 * (2000 * 0.3 * 0.7) ** 0.5
    with pytest.raises(ValueError, match="dropout: expected 0 … 1, got -1"):
        tok.sample("ab", -1, rng=rng)
    with pytest.raises(TypeError, match="expected str, got NoneType"):
        tok.sample(None, rng=rng)
