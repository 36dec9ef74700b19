"""The merges of byte pair encoding, by ids, checked and read all at once: there are tens of thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

from .json_parts import typed


class MergeTable(NamedTuple):
    """left, right, rank, joined (M,) int64: which two ids are joined, in which order, and to what."""

    left: np.ndarray
    right: np.ndarray
    rank: np.ndarray
    joined: np.ndarray

    def pairs(self) -> dict[tuple[int, int], tuple[int, int]]:
        """{(left, right): (rank, joined)}; of a pair that is there twice the last."""
        left, right, *made = (column.tolist() for column in self)
        return dict(zip(zip(left, right, strict=True), zip(*made, strict=True), strict=True))


def merge_table(
    vocab: dict[str, int],
    merges: Sequence[tuple[str, str]],
    ranks: Iterable[int] | None = None,
    apart: Collection[str] = (),
) -> MergeTable:
    """MergeTable of pairs of tokens; ranks None: as they come.

    Raises   ValueError: a token of a merge, or what it makes, is not in the vocabulary, or it makes one of `apart`
    """
    lefts, rights = [left for left, _ in merges], [right for _, right in merges]  # zip(*merges): ten times as long
    strings = lefts, rights, map(str.__add__, lefts, rights)
    left, right, joined = (np.fromiter(map(vocab.get, tokens, repeat(-1)), np.int64, len(merges)) for tokens in strings)
    wrong = (np.minimum(left, right) < 0) | (joined < 0) | np.isin(joined, [vocab.get(token, -1) for token in apart])
    if wrong.any():
        a, b = merges[int(np.argmax(wrong))]
        raise ValueError(f"merge {a!r} {b!r}: not all of it and {a + b!r} are ordinary tokens")
    order = np.arange(len(merges)) if ranks is None else np.array(ranks, np.int64)
    return MergeTable(left, right, order, joined)


def read_merges(found: object) -> list[tuple[str, str]]:
    """[(left, right)] of a tokenizer.json: lists of two tokens, or "left right" in older files."""
    pairs = typed(found, list, "merges")
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else pair for pair in pairs]
    for pair, merge in zip(pairs, merges, strict=True):
        if type(merge) not in (list, tuple) or len(merge) != 2 or not type(merge[0]) is type(merge[1]) is str:
            raise ValueError(f"merges: expected pairs of tokens, got {pair!r:.40}")
    return list(map(tuple, merges))
