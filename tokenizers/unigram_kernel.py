"""`Unigram.match` as a loop over UTF-8 bytes, with what it takes to remember the cut of a part of a text.

Sums of float32 depend on where they start, so a cut found after one sum need not be the cut after another: two cuts
that differ by less than rounding may change places. Beside each cut stands up to which sum it is sure.
"""

from typing import NamedTuple

import numpy as np

from ._jit import bare, inlined
from .charsmap_kernel import character_end
from .trie import step, token_of
from .unigram import REBASE

SURE = (1 << 21) - 1  # the largest sum; one that fits where a record holds an id
ULP = 2.0**-23  # of a float32, relative


class Scores(NamedTuple):
    """trie      Trie of the pieces that text may be
    scores    (V,) float64 (exact float32 where `narrow`), by id
    unknown   score of an unknown character
    largest   the largest |score| of all of them
    narrow    sums are rounded to float32 and begin anew beyond ±REBASE
    """

    trie: tuple
    scores: np.ndarray
    unknown: float
    largest: float
    narrow: bool


class Lattice(NamedTuple):
    """For each place: the best sum, the second best, where the best last piece starts, its id; the cut's places."""

    best: np.ndarray
    second: np.ndarray
    start: np.ndarray
    token: np.ndarray
    path: np.ndarray


@inlined
def relax(lattice, narrow, start, end, score, token):
    """Offer the piece start … end."""
    total = lattice.best[start] + score
    if narrow:
        total = float(np.float32(total))
    if lattice.start[end] < 0:
        lattice.best[end], lattice.start[end], lattice.token[end] = total, start, token
    elif total > lattice.best[end]:
        lattice.second[end] = lattice.best[end]
        lattice.best[end], lattice.start[end], lattice.token[end] = total, start, token
    elif total > lattice.second[end]:
        lattice.second[end] = total


@bare
def rebase(lattice, start, last):
    """Subtract the running sum from every path that ends from start to last, the longest so far."""
    running = lattice.best[start]
    lattice.best[start] = 0.0
    for k in range(start + 1, last + 1):
        if lattice.start[k] >= 0:
            lattice.best[k] = float(np.float32(lattice.best[k] - running))


@inlined
def viterbi(data, start, stop, model, unk_id, total, lattice):
    """Fill the lattice of data[start:stop] after a sum; returns (pieces of the best cut, the largest sure sum).

    Source   Kudo 2018; a sum of n terms of float32 is off by at most n half units in its last place
    """
    n, characters, last = stop - start, 0, 0
    lattice.start[: n + 1] = -1
    lattice.second[: n + 1] = -np.inf
    lattice.best[0] = total
    i = start
    while i < stop:
        here, following, single = i - start, character_end(data, i), False
        if model.narrow and abs(lattice.best[here]) > REBASE:
            rebase(lattice, here, last)
        unit = int(model.trie.units[0])
        for j in range(i, stop):
            unit = step(model.trie.units, unit, int(data[j]))
            if unit == 0:
                break
            token = token_of(unit)
            if token >= 0:
                single |= j + 1 == following
                last = max(last, j + 1 - start)
                relax(lattice, model.narrow, here, j + 1 - start, model.scores[token], token)
        if not single:
            last = max(last, following - start)
            relax(lattice, model.narrow, here, following - start, model.unknown, unk_id)
        characters += 1
        i = following
    count, margin, end = 0, np.inf, n
    while end > 0:
        margin = min(margin, lattice.best[end] - lattice.second[end])
        lattice.path[count] = end
        count += 1
        end = lattice.start[end]
    if not model.narrow or margin == np.inf:
        return count, SURE
    reach = characters * model.largest  # no sum inside leaves total ± reach
    sure = margin / (characters * ULP) - 2 * reach - abs(total)
    return count, int(max(-1.0, min(sure, float(SURE))))
