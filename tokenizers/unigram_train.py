"""Learning a Unigram model: from far too many pieces down to as many as are wanted, always dropping what costs least.

The seed is every string that the corpus repeats. Then, over and over: two rounds of EM find the pieces'
probabilities, and the quarter of the pieces without which the corpus would lose least of its likelihood is dropped.
`expected_counts_plainly` and `loss_plainly` are the published formulas; kernels give the same numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .count import show_progress
from .suffix_array import repeats, sort_suffixes
from .unigram_train_kernel import (
    Lattice,
    alternatives,
    count_best,
    count_edges,
    drop_edges,
    expect,
    fill_edges,
    losses,
)

if TYPE_CHECKING:
    from .count import Words

SEED_SIZE = 1_000_000  # pieces at first
EM_ROUNDS = 2
SHRINKING_FACTOR = 0.75  # of the pieces are kept in each round
SPARE = 1.1  # of the pieces wanted are kept to the end, for the required characters to push some out
FEWEST = 0.5  # expected occurrences of a piece that is kept
UNKNOWN_PENALTY = 10.0


def expected_counts_plainly(words: dict[str, int], scores: dict[str, float]) -> tuple[dict[str, float], float]:
    """({piece: expected occurrences}, log likelihood) of words {word: count} under pieces {piece: log probability}.

        forward[j] = Σ over pieces word[i:j] of forward[i] p(piece),  backward[i] likewise from the end
        E[piece] = Σ over words and places of count forward[i] p(piece) backward[j] / forward[n]

    Source   Kudo 2018 (arXiv:1804.10959) 3.2, the E step
    """
    expected, total = dict.fromkeys(scores, 0.0), 0.0
    for word, count in words.items():
        n = len(word)
        edges = [(i, j) for i in range(n) for j in range(i + 1, n + 1) if word[i:j] in scores]
        forward, backward = [1.0] + [0.0] * n, [0.0] * n + [1.0]
        for i, j in edges:
            forward[j] += forward[i] * math.exp(scores[word[i:j]])
        for i, j in reversed(edges):
            backward[i] += math.exp(scores[word[i:j]]) * backward[j]
        for i, j in edges:
            path = forward[i] * math.exp(scores[word[i:j]]) * backward[j]
            expected[word[i:j]] += count * path / forward[n]
        total += count * math.log(forward[n])
    return expected, total


def loss_plainly(piece: str, parts: list[str], counts: dict[str, float]) -> float:
    """How much the log likelihood falls, a token, where a piece's occurrences are counted to its parts instead.

    Source   Kudo 2018 3.2; parts: the best cut of the piece into others
    """
    total = sum(counts.values())
    after = total + counts[piece] * (len(parts) - 1)
    gain = math.log(counts[piece] / total) - sum(math.log((counts[p] + counts[piece]) / after) for p in parts)
    return counts[piece] / total * gain


def digamma(x: ArrayLike) -> np.ndarray:
    """ψ(x), the derivative of log Γ: ψ(x + 1) = ψ(x) + 1/x up to 7, then the asymptotic series.

    Source   Abramowitz & Stegun 6.3.5 and 6.3.18; error below 1e-9
    """
    x = np.array(x, float)
    result = np.zeros_like(x)
    while (small := x < 7).any():
        result[small] -= 1 / x[small]
        x[small] += 1
    square = 1 / (x * x)
    return result + np.log(x) - 0.5 / x - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))


def learn_pieces(
    words: Words, required: list[int], vocab_size: int, longest: int, seed_size: int = SEED_SIZE, progress: bool = False
) -> list[tuple[str, float]]:
    """[(piece, log probability)], the most probable first: the required characters, and vocab_size in all at most.

    Probabilities that EM finds go as exp(ψ(E)) and not as E: a sparse prior, which lets rare pieces die out.

    Source   Kudo 2018; Liang & Klein 2007 (ACL tutorial, structured Bayesian models) for ψ; sentencepiece 0.2.3
    Shapes   words: count.Words in code points; required: code points
    Differs  sentencepiece finds seeds in whole lines, here in distinct words, so a word that is always followed by a
             blank is a seed too; it sums in float32
    """
    pieces = Pieces(words, longest, seed_size)
    bar = show_progress(range(max(len(pieces.scores) - vocab_size, 0)), progress, "dropping", "piece")
    dropped = iter(bar)
    while True:
        before = len(pieces.scores)
        for _ in range(EM_ROUNDS):
            pieces.maximize(pieces.expected_counts())
        pieces.prune(int(SPARE * vocab_size))
        for _ in range(min(before - len(pieces.scores), len(bar) if progress else 0)):
            next(dropped, None)
        if len(pieces.scores) <= int(SPARE * vocab_size):
            break
    if progress:
        bar.close()
    return finish(pieces.by_name(), required, vocab_size)


def finish(scores: dict[str, float], required: list[int], vocab_size: int) -> list[tuple[str, float]]:
    """The required characters, those without a score below all others; then the best pieces up to vocab_size."""
    least, final = min(scores.values()), {}
    for character in map(chr, required):
        final[character] = scores.get(character, least)
        least += 1e-4 * (character not in scores)  # the more frequent first
    for piece, score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        if len(final) >= vocab_size:
            break
        final.setdefault(piece, score)
    return sorted(final.items(), key=lambda item: (-item[1], item[0]))


class Pieces:
    """The present pieces of a corpus with their log probabilities, and the lattice of all words over them."""

    def __init__(self, words: Words, longest: int, seed_size: int):
        self.words = words
        lattice, frequency = seed(words, longest, seed_size)
        self.lattice = lattice
        self.scores = np.log(frequency * lattice.length[:-1]) - np.log((frequency * lattice.length[:-1]).sum())
        size = int(np.diff(words.starts).max()) + 1
        self.forward, self.backward, self.lifts = np.empty(size), np.empty(size), np.zeros(size, np.int64)

    def with_unknown(self) -> np.ndarray:
        """The scores, and that of an unknown character behind them."""
        return np.append(self.scores, self.scores.min() - UNKNOWN_PENALTY)

    def expected_counts(self) -> np.ndarray:
        """The E step; the last count is that of unknown characters."""
        expected = np.zeros(len(self.scores) + 1)
        weights = np.exp(self.with_unknown())
        reach, scratch = int(self.lattice.length.max()), (self.forward, self.backward, self.lifts)
        self.log_likelihood = expect(self.lattice, weights, reach, *scratch, expected)
        return expected

    def maximize(self, expected: np.ndarray) -> None:
        """The M step: new scores from expected counts; pieces with less than FEWEST go."""
        self.keep(expected[:-1] >= FEWEST)
        kept = expected[:-1][expected[:-1] >= FEWEST]
        self.scores = digamma(kept) - digamma(kept.sum())

    def prune(self, wanted: int) -> None:
        """Keep SHRINKING_FACTOR of the pieces, `wanted` at least: of those in best cuts, the ones of highest loss."""
        size, scores = len(self.scores), self.with_unknown()
        counts, score = np.zeros(size + 1), np.empty(size)
        part_starts, loss = np.empty(size + 1, np.int64), np.zeros(size)
        parts = np.empty(int(self.lattice.length.sum()), np.int32)
        count_best(self.lattice, scores, self.forward, self.lifts, counts)
        alternatives(self.lattice, scores, self.forward, self.lifts, score, parts, part_starts)
        losses(counts, counts.sum(), parts, part_starts, loss)
        used = (counts[:-1] > 0) & (score <= self.scores)
        loss[np.diff(part_starts) == 0] = np.inf  # nothing else stands for these
        order = np.flatnonzero(used)[np.argsort(-loss[used], kind="stable")]
        kept = np.zeros(size, bool)
        kept[order[: max(wanted, int(SHRINKING_FACTOR * size))]] = True
        self.keep(kept)

    def keep(self, kept: np.ndarray) -> None:
        """Drop the other pieces; where a dropped one is a single character, it is unknown from now on."""
        lattice, n = self.lattice, int(kept.sum())
        renumbered = np.full(len(kept) + 1, -1, np.int64)
        renumbered[:-1][kept] = np.arange(n)
        renumbered[:-1][~kept & (lattice.length[:-1] == 1)] = n
        renumbered[-1] = n
        edges = drop_edges(lattice, renumbered)
        length = np.append(lattice.length[:-1][kept], 1)
        self.lattice = lattice._replace(piece=lattice.piece[:edges], length=length, example=lattice.example[kept])
        self.scores = self.scores[kept]

    def by_name(self) -> dict[str, float]:
        """{piece: score}; without those that are worth less than their best cut into others, which never come."""
        size, text = len(self.scores), "".join(map(chr, self.words.units.tolist()))
        score, part_starts = np.empty(size), np.empty(size + 1, np.int64)
        parts = np.empty(int(self.lattice.length.sum()), np.int32)
        alternatives(self.lattice, self.with_unknown(), self.forward, self.lifts, score, parts, part_starts)
        rows = zip(self.lattice.example.tolist(), self.lattice.length.tolist(), self.scores.tolist(), strict=False)
        return {
            text[at : at + n]: own for (at, n, own), other in zip(rows, score.tolist(), strict=True) if own >= other
        }


def seed(words: Words, longest: int, seed_size: int) -> tuple[Lattice, np.ndarray]:
    """(Lattice, frequency (P,)) of the seed: every character, and the repeated strings of highest count × length."""
    order = sort_suffixes(words, longest + 2)
    found = repeats(words, order, longest)
    worth = found.count * found.length
    best = np.lexsort((found.first, -worth))[:seed_size]
    heads = words.units[order]
    first = np.flatnonzero(np.concatenate([[True], heads[1:] != heads[:-1]]))  # of each character's suffixes
    last = np.append(first[1:], len(order))
    counts = np.repeat(words.counts, np.diff(words.starts))[order]
    first, last = np.concatenate([first, found.first[best]]), np.concatenate([last, found.last[best]])
    length = np.concatenate([np.ones(len(first) - len(best), np.int64), found.length[best], [1]])
    singles = np.add.reduceat(counts, first[: len(first) - len(best)])
    frequency = np.concatenate([singles, found.count[best]]).astype(float)
    edges = np.zeros(len(order) + 1, np.int64)
    count_edges(order, first, last, edges)
    edges = np.cumsum(edges)
    piece = np.empty(edges[-1], np.int32)
    fill_edges(order, first, last, edges[:-1].copy(), piece)
    return Lattice(words.starts, words.counts.astype(float), edges, piece, length, order[first]), frequency
