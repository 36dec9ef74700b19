"""Several rankings of one collection, dense and sparse say, made one.

    reciprocal rank   score(d) = Σ_r  w_r / (k + rank_r(d))              only places count: scores need no common scale
    convex            score(d) = Σ_r  w_r · normalised score_r(d)        distances between scores count, too

A document that a ranking lacks gets nothing from it. Ties go to the smaller id.

Source   Cormack, Clarke & Büttcher 2009 (reciprocal rank fusion, k = 60); Bruch, Gai & Ingber 2022 (arXiv:2210.11934)
         for convex combination
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

Ranked: TypeAlias = Sequence[int] | np.ndarray  # ids, best first
Scored: TypeAlias = Sequence[float] | np.ndarray


class Fused(NamedTuple):
    """One ranking out of several, best first, and what each gave to each document.

    Shapes   ids (n,) int64, scores (n,) float64, terms (n, R) float64 with terms.sum(axis=1) = scores;
             ranks (n, R) int64: the document's place in each ranking, from 1, 0 where it is not in it
    """

    ids: np.ndarray
    scores: np.ndarray
    terms: np.ndarray
    ranks: np.ndarray


def reciprocal_rank(rankings: Sequence[Ranked], k: float = 60, weights: Scored | None = None) -> Fused:
    """Fusion by the places of each id in the rankings, lists of ids, best first.

    Raises   ValueError: k ≤ 0, an id twice in one ranking, or weights that are not one number ≥ 0 a ranking

    >>> reciprocal_rank([[3, 1, 2], [1, 4]]).ids
    array([1, 3, 4, 2])
    """
    if not k > 0:
        raise ValueError(f"expected k above 0, got {k}")
    ids, ranks = _places(rankings)
    terms = _weights(weights, len(rankings)) * np.where(ranks > 0, 1 / (k + ranks), 0)
    return _ordered(ids, terms, ranks)


def convex(rankings: Sequence[Ranked], scores: Sequence[Scored], weights: Scored | None = None) -> Fused:
    """Fusion by the scores, each ranking's brought to [0, 1]: 0 for its lowest, 1 for its highest.

    Units    weights: one a ranking, by default equal ones that sum to 1
    Raises   ValueError: as for `reciprocal_rank`; not as many scores as ids, or a score is not finite
    """
    ids, ranks = _places(rankings)
    terms = np.zeros(ranks.shape)
    for r, (ranking, given) in enumerate(zip(rankings, scores, strict=True)):
        values = np.asarray(given, np.float64)
        if values.shape != (len(ranking),) or not np.isfinite(values).all():
            raise ValueError(f"ranking {r}: expected {len(ranking)} finite scores, got shape {values.shape}")
        inside = ranks[:, r] > 0
        terms[inside, r] = min_max(values)[ranks[inside, r] - 1]
    weights = np.full(len(rankings), 1 / max(1, len(rankings))) if weights is None else weights
    return _ordered(ids, _weights(weights, len(rankings)) * terms, ranks)


def min_max(scores: np.ndarray) -> np.ndarray:
    """(s − min) / (max − min); where all are equal, 1: the ranking found them and does not tell them apart."""
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 0.0)
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))


def _places(rankings: Sequence[Ranked]) -> tuple[np.ndarray, np.ndarray]:
    """All ids (n,), ascending, and the place of each in each ranking (n, R)."""
    lists = [np.asarray(ranking, np.int64).reshape(-1) for ranking in rankings]
    ids = np.unique(np.concatenate(lists)) if lists else np.empty(0, np.int64)
    ranks = np.zeros((len(ids), len(lists)), np.int64)
    for r, ranking in enumerate(lists):
        if len(np.unique(ranking)) < len(ranking):
            raise ValueError(f"ranking {r}: an id stands there twice")
        ranks[np.searchsorted(ids, ranking), r] = np.arange(1, len(ranking) + 1)
    return ids, ranks


def _weights(weights, count: int) -> np.ndarray:
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != (count,) or not (weights >= 0).all() or not np.isfinite(weights).all():
        raise ValueError(f"weights: expected {count} numbers ≥ 0, one a ranking, got {weights.tolist()}")
    return weights


def _ordered(ids: np.ndarray, terms: np.ndarray, ranks: np.ndarray) -> Fused:
    scores = terms.sum(axis=1)
    order = np.lexsort((ids, -scores))
    return Fused(ids[order], scores[order], terms[order], ranks[order])
