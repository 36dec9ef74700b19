"""Measures of one ranking by their definitions, in loops."""

import math


def measures(gains, judged, k):
    """gains: relevance of the documents found, in order; judged: relevance of all judged documents."""
    total = sum(gain > 0 for gain in judged)
    precisions = [sum(g > 0 for g in gains[:i]) / i for i in range(1, len(gains) + 1)]
    first = next((i for i, gain in enumerate(gains, 1) if gain > 0), 0)
    ideal = dcg(sorted(judged, reverse=True)[:k])
    return {
        f"p@{k}": sum(gain > 0 for gain in gains[:k]) / k,
        f"recall@{k}": sum(gain > 0 for gain in gains[:k]) / total if total else 0.0,
        f"mrr@{k}": 1 / first if 0 < first <= k else 0.0,
        f"map@{k}": sum(p for p, g in zip(precisions[:k], gains[:k], strict=True) if g > 0) / total if total else 0.0,
        f"ndcg@{k}": dcg(gains[:k]) / ideal if ideal else 0.0,
    }


def dcg(gains):
    return sum(max(gain, 0) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
