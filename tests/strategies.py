"""hypothesis strategies, named for what they build."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minibert.ragged import Ragged


@st.composite
def ragged_batches(draw, vocabulary=11, longest=6):
    """Ragged batches of 1 to 5 sequences, often some of equal length next to each other."""
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    ids, segments = rng.integers(0, vocabulary, starts[-1]), rng.integers(0, 2, starts[-1])
    return Ragged(ids.astype(np.int32), segments.astype(np.int32), starts)


def matrices():
    """Matrices (1–6, 1–9) of float64 up to ±100, with ties, zeros and equal rows."""
    sizes = st.tuples(st.integers(1, 6), st.integers(1, 9))
    values = st.floats(-100, 100, allow_nan=False, width=32)
    return sizes.flatmap(lambda shape: arrays(np.float64, shape, elements=values))


# Letters that compose, decompose, grow or vanish; marks whose order moves; Hangul, CJK, controls, blanks, punctuation
ODD_CHARACTERS = (
    "aàåéßİıſÅǅΣςﬁéạ́\u0301\u0323\u0327\u034f\u0345\u302e\u302f\U0001d165\U0001d16d\U0001d15e각힣ᄀ\u1161中\uf900"
    "\U0002f800\U00020000日ア\u3099ｱ،؟।„“–€$^`≠≮\u037e\u0387\t\n\r\x0b\x0c\x85\xa0\u2003\u2028\u3000\x00\x01\x7f\xad"
    "\u200b\u200d\ufeff\ufffd\ue000\ud800\udfff👩\U0001f3fd#-'.,!?[] "
)


def unicode_texts(max_size=40):
    """Strings of plain words, of anything at all, lone surrogates included, and most of all of odd characters."""
    odd, words = st.sampled_from(ODD_CHARACTERS), st.sampled_from(["the ", "wordpiece", "[SEP]", "un", "able", "##s"])
    everything = st.characters(codec=None)
    return st.lists(odd | odd | words | everything, max_size=max_size).map("".join)


def piece_vocabularies():
    """Lists of WordPiece tokens over a, b, c: special, often all letters, pieces with and without "##"."""
    pieces = st.text("abc", min_size=1, max_size=4)
    tokens = st.lists(st.tuples(st.booleans(), pieces).map(lambda t: "##" * t[0] + t[1]), max_size=25)
    letters = st.sampled_from([[], [*"abc", "##a", "##b", "##c"], ["##a", "##b", "##c"]])
    both = st.tuples(letters, tokens).map(lambda t: list(dict.fromkeys(t[0] + t[1])))
    return both.map(lambda tokens: ["[UNK]", "[CLS]", "[SEP]", "[PAD]", *tokens])


@st.composite
def merge_tables(draw, letters=b"ab \xc3\xa9"):
    """Up to 25 merges of byte strings over a few bytes, each of two that the bytes and earlier merges gave."""
    tokens, merges = [bytes([byte]) for byte in letters], []
    for _ in range(draw(st.integers(0, 25))):
        pair = draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))
        if pair not in merges and len(pair[0] + pair[1]) <= 12:
            merges.append(pair)
            tokens = list(dict.fromkeys([*tokens, pair[0] + pair[1]]))
    return merges


def pattern_texts(max_size=30):
    """Strings of what the patterns tell apart: cases, marks, numbers, blanks, line ends, contractions, surrogates."""
    odd = st.sampled_from("aAbzéÉßǅʰ中あ١1²½ \n\r\t\u3000'sSſtTLlrReEvVdDmM!?/-_\u0301\u0903\ud800😀\x1c\x85")
    words = st.sampled_from(["the", " of", "'ll", "'RE", "\r\n", "   ", "12345", "<|end|>"])
    return st.lists(odd | odd | words | st.characters(codec=None), max_size=max_size).map("".join)
