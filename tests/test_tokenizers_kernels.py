"""What the kernels share: bytes and words of eight, the trie, the memory of chunks, blocks and threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import bert_tokenizer, byte_tokenizer
from strategies import pattern_texts
from tokenizers import utf8
from tokenizers.engine import LONG_KEY, SHORT_KEY, SPILL, empty_cache, encoded, recall, remember
from tokenizers.trie import MAX_ID, build_trie, step, token_of

EIGHT = st.lists(st.integers(0, 255) | st.sampled_from(b"/09:@AZ[`az{"), min_size=8, max_size=8).map(bytes)


def flagged(flags):
    """Which of the eight bytes have their flag; nothing else may be set."""
    assert int(flags) & ~int(utf8.FLAGS) == 0
    return [bool(int(flags) >> 8 * i + 7 & 1) for i in range(8)]


@pytest.mark.kernels
@given(EIGHT)
def test_word_tests_equal_tests_of_each_byte(data):
    """Eight bytes at once are what they are one by one."""
    word = utf8.U64(utf8.load(utf8.byte_array([data])[0], 0))
    assert int(word) == int.from_bytes(data, "little")
    letters = [bytes([byte]).isalpha() for byte in data]
    assert flagged(utf8.letter_flags(word)) == letters
    assert flagged(utf8.digit_flags(word)) == [bytes([byte]).isdigit() for byte in data]
    if any(letters):
        assert utf8.first_flag(utf8.U64(utf8.letter_flags(word))) == letters.index(True)
    assert [int(word & utf8.FIRST_N[n]) for n in range(9)] == [int.from_bytes(data[:n], "little") for n in range(9)]


@pytest.mark.kernels
@given(st.integers(0, 0x10FFFF))
def test_characters_equal_utf8(code):
    """A code point's bytes there and back, surrogates as if they were characters."""
    buffer = np.zeros(4, np.uint8)
    n = utf8.put_character(buffer, 0, code)
    assert bytes(buffer[:n]) == utf8.encode(chr(code)) and utf8.character(buffer, 0) == (code, n)


@pytest.mark.kernels
@given(st.text("abé ", max_size=20), st.integers(0, 20))
def test_letters_end_where_the_first_other_byte_is(text, start):
    """A run of ASCII letters ends at a blank, a longer character or the end, also where letters follow the text."""
    data = text.encode()
    start, run = min(start, len(data)), 0
    while data[start + run : start + run + 1].isalpha():
        run += 1
    assert utf8.letters_end(utf8.byte_array([data, b"abcdefghi"])[0], start, len(data)) == start + run


tokens = st.binary(min_size=1, max_size=5) | st.lists(st.sampled_from(b"\0\1a\xfe\xff"), min_size=1, max_size=4).map(
    bytes
)


@pytest.mark.kernels
@given(st.lists(tokens, unique=True, max_size=40), st.lists(tokens, max_size=20))
def test_trie_equals_a_dict(known, others):
    """A path ends at a token's id exactly where a dict has it; `shorter` is the longest token that begins it."""
    vocab = {token: 3 * i for i, token in enumerate(known)}
    trie = build_trie({**vocab, b"": 1})
    for path in [*known, *others]:
        unit = int(trie.units[0])
        for byte in path:
            unit = int(step(trie.units, unit, byte)) if unit or not path else 0
        assert (token_of(unit) if unit else -1) == vocab.get(path, -1)
    for token, i in vocab.items():
        beginnings = [vocab[token[:n]] for n in range(1, len(token)) if token[:n] in vocab]
        assert trie.shorter[i] == (beginnings[-1] if beginnings else -1)


def test_trie_refuses_ids_beyond_its_units():
    """An id that a unit has no bits for is an error, not another id."""
    with pytest.raises(ValueError, match=f"ids must be 0 … {MAX_ID}, got {MAX_ID + 1}"):
        build_trie({b"a": MAX_ID + 1})


@pytest.mark.kernels
@pytest.mark.parametrize("words", [SHORT_KEY, LONG_KEY])
def test_cache_keeps_the_newest_two_and_trusts_no_hash(words):
    """Of three chunks with one hash the last two are found, each with its ids; NUL at the end is part of a chunk."""
    records = {SHORT_KEY: empty_cache().short, LONG_KEY: empty_cache().long}[words][:2].copy()  # one place for all
    most = 3 * (records.shape[1] - words) - 1
    chunks = [b"a", b"a\0", b"b" * (8 * words - 1)]
    data, starts = utf8.byte_array(chunks)
    out, ids = np.zeros(most + SPILL, np.int32), [[7], [*range(most)], []]
    for b, chunk in enumerate(chunks):
        out[: len(ids[b])] = ids[b]
        at, record = recall(records, words, data, starts[b], len(chunk), out.copy(), 0)
        assert at == -1
        remember(records, words, record, data, starts[b], len(chunk), out, 0, len(ids[b]))
    for b, chunk in enumerate(chunks):
        out[:] = -1
        at, _ = recall(records, words, data, starts[b], len(chunk), out, 0)
        assert at == (-1 if b == 0 else len(ids[b])) and (b == 0 or out[:at].tolist() == ids[b])
    remember(records, words, 0, data, 0, 1, np.zeros(most + 1, np.int32), 0, most + 1)  # too many ids: not kept
    assert recall(records, words, data, 0, 1, out, 0)[0] == -1


@pytest.mark.kernels
@given(st.lists(pattern_texts(12), max_size=6), st.integers(1, 4))
def test_threads_change_nothing(texts, threads):
    """Ids, offsets and words are the same with any number of threads, each with its own memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenizers.engine.THREAD_BLOCK", 8)
        for tok in (bert_tokenizer(), byte_tokenizer([(b"a", b"a"), (b" ", b"a")])):
            one, many = tok.encode_batch(texts), tok.encode_batch(texts, threads=threads)
            for name in ("ids", "starts", "offsets", "word_ids"):
                assert np.array_equal(getattr(one, name), getattr(many, name))


def test_encoded_texts_end_in_spare_bytes():
    """Lone surrogates go the slow way and come out as three bytes."""
    data, starts = encoded(["aé", "", "\ud800"])
    assert data.tobytes() == b"a\xc3\xa9\xed\xa0\x80" + bytes(utf8.SPARE) and starts.tolist() == [0, 3, 3, 6]
