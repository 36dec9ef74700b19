"""How good a ranking is."""

from __future__ import annotations

import numpy as np


def ranks(ranked: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Place of each query's one relevant id in its ranking, from 1; 0 where it is absent.

    Shapes   ranked (Q, k) ids, best first, relevant (Q,) ids → (Q,)
    Raises   ValueError: other shapes
    """
    ranked, relevant = np.asarray(ranked), np.asarray(relevant)
    if ranked.ndim != 2 or relevant.shape != ranked.shape[:1]:
        raise ValueError(f"expected rankings (Q, k) and relevant ids (Q,), got {ranked.shape} and {relevant.shape}")
    found = ranked == relevant[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def mrr_at_k(ranked: np.ndarray, relevant: np.ndarray, k: int = 10) -> float:
    """Mean reciprocal rank: mean over the queries of 1 / rank, 0 where the relevant id is not among the first k.

    Shapes   ranked (Q, ≥ k), relevant (Q,) → ()
    """
    rank = ranks(np.asarray(ranked)[:, :k], relevant)
    return float(np.mean(np.divide(1.0, rank, out=np.zeros(len(rank)), where=rank > 0)))


def recall_at_k(ranked: np.ndarray, relevant: np.ndarray, k: int = 10) -> float:
    """Share of the queries whose one relevant id is among the first k.

    Shapes   ranked (Q, ≥ k), relevant (Q,) → ()
    """
    return float(np.mean(ranks(np.asarray(ranked)[:, :k], relevant) > 0))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation: Pearson's correlation of the ranks, equal values sharing the mean of theirs.

    Source   Spearman 1904; the measure of semantic textual similarity (Reimers & Gurevych 2019, section 4)
    Shapes   a (N,), b (N,) → −1 … 1
    Raises   ValueError: other lengths than each other, fewer than two values, or all values equal
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"expected two lists of as many values, at least two, got {len(a)} and {len(b)}")
    centered = [mean_ranks(values) - (len(a) - 1) / 2 for values in (a, b)]
    lengths = [np.sqrt(x @ x) for x in centered]
    if 0 in lengths:
        raise ValueError("expected values that differ, got equal ones: their ranks correlate with nothing")
    return float(centered[0] @ centered[1] / (lengths[0] * lengths[1]))


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Each value's place in ascending order, from 0; equal values get the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]
