"""Maximal marginal relevance: hits that answer the question, and do not all say the same.

    next = argmax over d not in S of   λ · sim(d, q) − (1 − λ) · max over s in S of sim(d, s)

S holds the hits selected so far, all of them: a document that repeats any of them is held back. λ = 1 is the order of
relevance, λ = 0 only avoids repetition.

Source   Carbonell & Goldstein 1998, eq. 1
"""

from __future__ import annotations

import numpy as np


def mmr(relevance: np.ndarray, vectors: np.ndarray, k: int, diversity: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """The places of k hits in the order of selection, and the penalty of each when it was selected.

    Units    diversity = 1 − λ, in [0, 1]; the k-th penalty is diversity · its similarity to the nearest one before
    Shapes   relevance (n,): sim(d, q); vectors (n, D) → places (min(k, n),), penalties (min(k, n),)
             sim(d, s) is the cosine; ties go to the smaller place
    Raises   ValueError: shapes that don't fit, numbers that are not finite, k < 1, or diversity outside [0, 1]
    """
    relevance, vectors = np.asarray(relevance, np.float64), np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or relevance.shape != (len(vectors),):
        raise ValueError(f"expected relevance (n,) and vectors (n, D), got {relevance.shape} and {vectors.shape}")
    if not np.isfinite(relevance).all() or not np.isfinite(vectors).all():
        raise ValueError("expected finite relevance and vectors")
    if k < 1 or not 0 <= diversity <= 1:
        raise ValueError(f"expected k ≥ 1 and diversity in [0, 1], got {k} and {diversity}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    nearest = np.zeros(len(unit))  # similarity of each to the most similar one selected
    open_, places, penalties = np.ones(len(unit), bool), [], []
    for step in range(min(k, len(unit))):
        marginal = (1 - diversity) * relevance - diversity * nearest
        place = int(np.argmax(np.where(open_, marginal, -np.inf)))
        places.append(place)
        penalties.append(diversity * nearest[place])
        open_[place] = False
        similar = unit @ unit[place]
        nearest = similar if step == 0 else np.maximum(nearest, similar)
    return np.array(places, np.int64), np.array(penalties)
