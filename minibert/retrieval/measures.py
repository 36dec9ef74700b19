"""How good rankings are, as trec_eval counts it.

A run gives each query a score for every document found; judgements (qrels) say how relevant documents are: 0 or less
not at all, 1 and more with that gain. A ranking is the run by score, best first; equal scores, in float32, go by the
larger document id, as a string. With rel_i the gain at rank i and R the number of relevant documents:

    P@k       relevant among the first k / k                  MRR@k   1 / rank of the first relevant, 0 beyond k
    recall@k  relevant among the first k / R                  MAP@k   (1/R) · Σ over relevant ranks i ≤ k of P@i
    nDCG@k    DCG@k / DCG@k of the best ranking there is,  DCG@k = Σ_{i ≤ k} rel_i / log2(i + 1)

Source   trec_eval 9.0 (m_P, m_recall, m_recip_rank, m_map_cut, m_ndcg_cut); Järvelin & Kekäläinen 2002 for nDCG
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Judgements = Mapping[str, Mapping[str, int]]  # query → document → relevance
Run = Mapping[str, Mapping[str, float]]  # query → document → score
CUTS = (1, 3, 5, 10, 100, 1000)


def measure(judgements: Judgements, run: Run, cuts: Sequence[int] = CUTS) -> dict[str, dict[str, float]]:
    """{query: {"ndcg@10": …, "map@10": …, "recall@10": …, "p@10": …, "mrr@10": …, …}} of the queries that are judged.

    A judged query that the run lacks counts 0 everywhere (trec_eval -c); one that has no relevant document, too.
    Raises   ValueError: a cut below 1, or a score that is not a number
    """
    if any(cut < 1 for cut in cuts):
        raise ValueError(f"expected cuts ≥ 1, got {list(cuts)}")
    return {query: _measure_one(query, judged, run.get(query, {}), cuts) for query, judged in judgements.items()}


def mean(measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Each measure's mean over the queries.

    Raises   ValueError: no queries
    """
    if not measured:
        raise ValueError("expected judged queries, got none")
    names = next(iter(measured.values()))
    return {name: float(np.mean([values[name] for values in measured.values()])) for name in names}


def ranking(found: Mapping[str, float]) -> list[str]:
    """Document ids, best first."""
    scores = np.array(list(found.values()), np.float32).tolist()
    return [id for _, id in sorted(zip(scores, found, strict=True), reverse=True)]


def _measure_one(query: str, judged: Mapping[str, int], found: Mapping[str, float], cuts) -> dict[str, float]:
    if bad := [id for id, score in found.items() if score != score]:
        raise ValueError(f"query {query!r}: document {bad[0]!r} has a score that is not a number")
    gains = np.maximum([judged.get(id, 0) for id in ranking(found)], 0).astype(np.float64)
    best = np.sort(np.maximum(list(judged.values()), 0))[::-1].astype(np.float64)
    relevant, total = gains > 0, np.count_nonzero(best)
    places = np.arange(1, len(gains) + 1)
    found_to = np.cumsum(relevant)  # relevant documents up to each rank
    first = int(np.argmax(relevant)) + 1 if relevant.any() else 0
    values = {}
    for k in cuts:
        hits = int(found_to[min(k, len(gains)) - 1]) if len(gains) else 0
        ideal = _dcg(best[:k])
        values[f"ndcg@{k}"] = _dcg(gains[:k]) / ideal if ideal else 0.0
        values[f"map@{k}"] = float((found_to / places)[:k][relevant[:k]].sum() / total) if total else 0.0
        values[f"recall@{k}"] = hits / total if total else 0.0
        values[f"p@{k}"] = hits / k
        values[f"mrr@{k}"] = 1 / first if 0 < first <= k else 0.0
    return values


def _dcg(gains: np.ndarray) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


class Difference(NamedTuple):
    """Mean of b − a, the interval that holds it with the confidence asked for, and how likely chance alone gives it."""

    mean: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator, samples: int = 10_000, confidence: float = 0.95
) -> Difference:
    """Is run b better than run a, measured query by query?

    Queries are drawn with replacement, `samples` times. p is two-sided: the share of samples of the differences,
    shifted to mean 0, whose mean is as far from 0 as the one seen.

    Source   Efron & Tibshirani 1993, 13.3 and 16.4; Sakai 2006 for retrieval
    Shapes   a, b (Q,): one measure of the same queries
    Raises   ValueError: shapes differ, no queries, samples < 1, or confidence outside (0, 1)
    """
    differences = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    if np.shape(a) != np.shape(b) or differences.ndim != 1 or not len(differences):
        raise ValueError(f"expected two rows of as many values, got shapes {np.shape(a)} and {np.shape(b)}")
    if samples < 1 or not 0 < confidence < 1:
        raise ValueError(f"expected samples ≥ 1 and confidence in (0, 1), got {samples} and {confidence}")
    seen, count = differences.mean(), len(differences)
    means = np.array([differences[rng.integers(0, count, count)].mean() for _ in range(samples)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    p = np.mean(np.abs(means - seen) >= abs(seen)) if seen else 1.0
    return Difference(float(seen), float(low), float(high), float(p))
