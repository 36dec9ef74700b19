"""How good a ranking is, how good a similarity, and how good a translation.

Labels have theirs in metrics_labels.py, answers in metrics_answers.py.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
from numpy.typing import ArrayLike


def ranks(ranked: ArrayLike, relevant: ArrayLike) -> np.ndarray:
    """Place of each query's one relevant id in its ranking, from 1; 0 where it is absent.

    Shapes   ranked (Q, k) ids, best first, relevant (Q,) ids → (Q,)
    Raises   ValueError: other shapes
    """
    ranked, relevant = np.asarray(ranked), np.asarray(relevant)
    if ranked.ndim != 2 or relevant.shape != ranked.shape[:1]:
        raise ValueError(f"expected rankings (Q, k) and relevant ids (Q,), got {ranked.shape} and {relevant.shape}")
    found = ranked == relevant[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def mrr_at_k(ranked: ArrayLike, relevant: ArrayLike, k: int = 10) -> float:
    """Mean reciprocal rank: mean over the queries of 1 / rank, 0 where the relevant id is not among the first k.

    Shapes   ranked (Q, ≥ k), relevant (Q,) → ()

    >>> mrr_at_k(np.array([[4, 7, 2], [1, 2, 3]]), relevant=np.array([7, 9]))
    0.25
    """
    rank = ranks(np.asarray(ranked)[:, :k], relevant)
    return float(np.mean(np.divide(1.0, rank, out=np.zeros(len(rank)), where=rank > 0)))


def recall_at_k(ranked: ArrayLike, relevant: ArrayLike, k: int = 10) -> float:
    """Share of the queries whose one relevant id is among the first k.

    Shapes   ranked (Q, ≥ k), relevant (Q,) → ()
    """
    return float(np.mean(ranks(np.asarray(ranked)[:, :k], relevant) > 0))


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Linear correlation: Σ (a − ā)(b − b̄) / √(Σ (a − ā)² Σ (b − b̄)²).

    Shapes   a (N,), b (N,) → −1 … 1
    Raises   ValueError: other lengths than each other, fewer than two values, values that are not finite, or all equal
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"expected two lists of as many values, at least two, got {len(a)} and {len(b)}")
    sides = [np.asarray(values, np.float64) for values in (a, b)]
    if not all(np.isfinite(values).all() for values in sides):
        raise ValueError("expected finite values, got NaN or infinity")
    centered = [values - values.mean() for values in sides]
    units = []
    for values, x in zip(sides, centered, strict=True):
        if (values == values[0]).all():
            raise ValueError("expected values that differ, got equal ones: they correlate with nothing")
        x = x / np.abs(x).max()  # squares then neither vanish nor overflow
        units.append(x / np.sqrt(x @ x))
    return float(np.clip(units[0] @ units[1], -1, 1))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation: Pearson's correlation of the ranks, equal values sharing the mean of theirs.

    Source   Spearman 1904; the measure of semantic textual similarity (Reimers & Gurevych 2019, section 4)
    Shapes   a (N,), b (N,) → −1 … 1
    Raises   ValueError: other lengths than each other, fewer than two values, NaN, or all values equal

    >>> round(spearman(np.array([0.1, 0.4, 0.2]), np.array([1, 3, 5])), 3)
    0.5
    """
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("expected values with ranks, got NaN")
    return pearson(mean_ranks(a), mean_ranks(b))


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Each value's place in ascending order, from 0; equal values get the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def bleu(hypotheses: list[str], references: list[str], longest: int = 4) -> float:
    """BLEU of a corpus: how many n-grams of the translations stand in their references, n = 1 … 4.

        BLEU = 100 · min(1, exp(1 − r / c)) · (Π_n p_n)^¼          p_n = Σ_i clipped matches / Σ_i n-grams

    r and c are the words of all references and of all translations: precision alone would favour short ones. A match
    counts as often as the n-gram stands in the reference, at most. The first p_n without a match counts half a match,
    the second a quarter, and so on; without any match at all, or any n-gram of that length, BLEU is 0.

    Source   Papineni 2002; words and smoothing ("exp") as in mteval-v13a and sacreBLEU (Post 2018, arXiv:1804.08771)
    Shapes   as many hypotheses as references → 0 … 100
    Raises   ValueError: another number of hypotheses than of references, or none

    >>> round(bleu(["the cat sat on the mat"], ["the cat sat on a mat"]), 1)
    53.7
    """
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(f"expected as many references as hypotheses, got {len(references)} and {len(hypotheses)}")
    matches, totals = np.zeros(longest), np.zeros(longest)
    lengths = np.zeros(2)
    for texts in zip(hypotheses, references, strict=True):
        words = [words_13a(text) for text in texts]
        lengths += [len(part) for part in words]
        for n in range(1, longest + 1):
            ours, theirs = (Counter(zip(*(part[i:] for i in range(n)), strict=False)) for part in words)
            matches[n - 1] += (ours & theirs).total()
            totals[n - 1] += ours.total()
    if not matches.any() or not totals.all():
        return 0.0
    halvings = np.cumsum(matches == 0)
    precisions = np.where(matches == 0, 0.5**halvings, matches) / totals
    said, wanted = lengths
    brevity = min(1.0, math.exp(1 - wanted / said))
    return float(100 * brevity * np.exp(np.log(precisions).mean()))


ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
APART = (
    (re.compile(r"([!-&(-+:-@/\[-`{-~])"), r" \1 "),  # ASCII punctuation but ' , - .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),  # not behind a digit
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),  # not before one
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def words_13a(text: str) -> list[str]:
    """Words and punctuation, as NIST's script mteval-v13a cuts Western languages."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, apart in APART:
        text = pattern.sub(apart, text)
    return text.split()
