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
