"""`unigram_train` as kernels: the lattice of all words is laid out once, and no piece is ever looked up again.

A seed piece is an interval of the sorted suffixes, so where it stands in the corpus is known from the start. An edge of
the lattice is a piece at a place; dropped pieces take their edges along.
"""

from typing import NamedTuple

import numpy as np

from ._jit import bare

TINY, LIFT = 1e-100, 1e100  # a sum of paths below TINY, and all that comes after it, is lifted
LOG_LIFT = 230.25850929940457  # of LIFT
NEVER = -1e300


class Lattice(NamedTuple):
    """The pieces at each place of the distinct words, on top of each other.

    starts  (W+1,) int64 of the words in characters, counts (W,) float64
    edges   (T+1,) int64: where the edges of each place start in `piece` (E,) int32
    length  (P+1,) int64: characters of each piece; the last piece is the unknown, one character that has no piece
    example (P,) int64: a place where the piece stands
    """

    starts: np.ndarray
    counts: np.ndarray
    edges: np.ndarray
    piece: np.ndarray
    length: np.ndarray
    example: np.ndarray


@bare
def count_edges(order, first, last, edges):
    """Add to edges[place + 1] the pieces that stand there."""
    for p in range(len(first)):
        for k in range(first[p], last[p]):
            edges[order[k] + 1] += 1


@bare
def fill_edges(order, first, last, at, piece):
    """Write the pieces, numbered as they come, to each place's next free edge; `at` moves on."""
    for p in range(len(first)):
        for k in range(first[p], last[p]):
            place = order[k]
            piece[at[place]] = p
            at[place] += 1


@bare
def expect(lattice, weights, reach, forward, backward, lifts, expected):
    """Add to `expected` how often each piece occurs in a cut drawn by its probability; the log likelihood.

    forward[i] sums the probabilities of all cuts of the word up to i, backward[i] of those from there on; a piece
    occurs forward × weight × backward / all times. Where forward falls below TINY it is lifted, with what comes up to
    `reach` characters after it, lifts[i] times so far.
    """
    total = 0.0
    for w in range(len(lattice.counts)):
        start, end = lattice.starts[w], lattice.starts[w + 1]
        n = end - start
        for i in range(n + 1):
            forward[i] = 0.0
        forward[0], lifted = 1.0, 0
        for i in range(n):
            if forward[i] < TINY:
                for j in range(i, min(i + reach, n + 1)):
                    forward[j] *= LIFT
                lifted += 1
            lifts[i] = lifted
            for e in range(lattice.edges[start + i], lattice.edges[start + i + 1]):
                p = lattice.piece[e]
                forward[i + lattice.length[p]] += forward[i] * weights[p]
        lifts[n] = lifted
        backward[n], share = 1.0, lattice.counts[w] / forward[n]
        for i in range(n - 1, -1, -1):
            behind = 0.0
            for e in range(lattice.edges[start + i], lattice.edges[start + i + 1]):
                p = lattice.piece[e]
                j = i + lattice.length[p]
                path = weights[p] * backward[j]
                for _ in range(lifts[j] - lifts[i]):
                    path *= LIFT
                behind += path
                expected[p] += forward[i] * path * share
            backward[i] = behind
        total += lattice.counts[w] * (np.log(forward[n]) - lifted * LOG_LIFT)
    return total


@bare
def best_cut(lattice, scores, start, end, whole, best, back):
    """Fill best[0 … n] and the last pieces back[1 … n] of the best cuts of a stretch, without the piece `whole`."""
    n = end - start
    for i in range(n + 1):
        best[i] = NEVER
    best[0] = 0.0
    for i in range(n):
        for e in range(lattice.edges[start + i], lattice.edges[start + i + 1]):
            p = lattice.piece[e]
            j = i + lattice.length[p]
            if j <= n and p != whole and best[i] + scores[p] > best[j]:
                best[j], back[j] = best[i] + scores[p], p


@bare
def count_best(lattice, scores, best, back, counts):
    """Add to `counts` how often each piece occurs in the best cuts of all words."""
    for w in range(len(lattice.counts)):
        start, end = lattice.starts[w], lattice.starts[w + 1]
        best_cut(lattice, scores, start, end, -1, best, back)
        j = end - start
        while j > 0:
            counts[back[j]] += lattice.counts[w]
            j -= lattice.length[back[j]]


@bare
def alternatives(lattice, scores, best, back, score, parts, part_starts):
    """For each piece the best cut of it into others: its score, and its parts on top of each other."""
    at = 0
    for p in range(len(lattice.example)):
        part_starts[p] = at
        n = lattice.length[p]
        best_cut(lattice, scores, lattice.example[p], lattice.example[p] + n, p, best, back)
        score[p] = best[n]
        j = n if best[n] > NEVER else 0
        while j > 0:
            parts[at] = back[j]
            j -= lattice.length[back[j]]
            at += 1
    part_starts[len(lattice.example)] = at


@bare
def losses(counts, everything, parts, part_starts, loss):
    """How much the log likelihood falls, a token, where every piece is replaced by its parts.

    before: log(count / all); after: Σ log((count(part) + count) / (all + count × (parts - 1))); all: everything
    """
    for p in range(len(loss)):
        n = part_starts[p + 1] - part_starts[p]
        if counts[p] == 0 or n == 0:
            continue
        after, together = 0.0, np.log(everything + counts[p] * (n - 1))
        for k in range(part_starts[p], part_starts[p + 1]):
            after += np.log(counts[parts[k]] + counts[p]) - together
        loss[p] = counts[p] / everything * (np.log(counts[p] / everything) - after)


@bare
def drop_edges(lattice, renumbered):
    """Renumber the pieces of all edges in place, without those of -1; returns how many are left."""
    at, e = 0, 0
    for place in range(len(lattice.edges) - 1):
        stop = lattice.edges[place + 1]
        lattice.edges[place] = at
        while e < stop:
            p = renumbered[lattice.piece[e]]
            if p >= 0:
                lattice.piece[at] = p
                at += 1
            e += 1
    lattice.edges[len(lattice.edges) - 1] = at
    return at
