"""Every string that a corpus repeats, from the sorted suffixes of its words.

A repeated string is the common beginning of neighbours in the sorted list. Of strings that occur at the same places
only the longest is worth having, and these are the nodes of the suffix tree: they are read off the sorted list with a
stack (Abouelhoda 2004), so there are fewer of them than characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._jit import bare

if TYPE_CHECKING:
    from .count import Words


class Repeats(NamedTuple):
    """Strings, each as the suffixes order[first:last], cut to `length`; `count`: how often it occurs."""

    first: np.ndarray
    last: np.ndarray
    length: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # in place of tuple.count


def sort_suffixes(words: Words, longest: int) -> np.ndarray:
    """(T,) int64: where the suffixes of the words start, sorted by their first `longest` characters or more.

    Prefix doubling: the rank of 2h characters is that of h characters and that of the next h.

    Source   Manber & Myers 1993; the end of a word comes before any character
    """
    ends = np.repeat(words.starts[1:], np.diff(words.starts))
    _, ranks = np.unique(words.units, return_inverse=True)
    ranks, places, order, h = ranks.astype(np.int64) + 1, np.arange(len(words.units)), None, 1
    while True:
        inside = places + h < ends
        keys = ranks << 32
        keys[inside] |= ranks[places[inside] + h]
        order = np.argsort(keys, kind="stable")
        h *= 2
        if h >= longest:
            return order
        keys = keys[order]
        ranks[order] = np.cumsum(np.concatenate([[1], keys[1:] != keys[:-1]]))


@bare
def common_lengths(units, ends, order, longest, lengths):
    """lengths[k]: characters, `longest` at most, that suffix k of the order has in common with the one before it."""
    for k in range(1, len(order)):
        a, b = order[k - 1], order[k]
        most = min(longest, ends[a] - a, ends[b] - b)
        n = 0
        while n < most and units[a + n] == units[b + n]:
            n += 1
        lengths[k] = n


@bare
def walk(order, ends, lengths, before, longest, stack, out):
    """Put the nodes with 2 to `longest` characters that occur at least twice into `out` (4, N); returns how many.

    before[k]: how often all suffixes before the k-th occur. stack (2, longest + 2): where open nodes begin, and lengths
    """
    n, top = 0, 0
    stack[0, 0], stack[1, 0] = 0, 0
    for k in range(1, len(order) + 1):
        shared = lengths[k] if k < len(order) else 0
        first = k - 1
        own = ends[order[first]] - order[first]  # the suffix itself, where no neighbour begins with it
        if max(lengths[first], shared) < own <= longest and own > 1 and before[k] - before[first] > 1:
            out[0, n], out[1, n], out[2, n], out[3, n] = first, k, own, before[k] - before[first]
            n += 1
        while shared < stack[1, top]:
            first, length = stack[0, top], stack[1, top]
            top -= 1
            if 1 < length <= longest and before[k] - before[first] > 1:
                out[0, n], out[1, n], out[2, n], out[3, n] = first, k, length, before[k] - before[first]
                n += 1
        if shared > stack[1, top]:
            top += 1
            stack[0, top], stack[1, top] = first, shared
    return n


def repeats(words: Words, order: np.ndarray, longest: int) -> Repeats:
    """Repeats of 2 to `longest` characters that occur at least twice in the corpus."""
    ends = np.repeat(words.starts[1:], np.diff(words.starts))
    lengths = np.zeros(len(order), np.int64)
    common_lengths(words.units, ends, order, longest + 1, lengths)
    counts = np.repeat(words.counts, np.diff(words.starts))[order]
    before = np.concatenate([[0], np.cumsum(counts)])
    out = np.empty((4, 2 * len(order)), np.int64)
    n = walk(order, ends, lengths, before, longest, np.zeros((2, longest + 2), np.int64), out)
    return Repeats(*out[:, :n].copy())
