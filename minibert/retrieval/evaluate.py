"""How well an encoder finds the answer that belongs to a question, among all answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import ann
from minibert.metrics import mrr_at_k, recall_at_k


def evaluate_pairs(encoder, pairs: Sequence[tuple[str, str]], k: int = 10) -> dict[str, float]:
    """MRR@k and recall@k of exact search; an answer that several questions share counts once in the collection.

    Raises   ValueError: no pairs
    """
    if not pairs:
        raise ValueError("expected pairs to evaluate, got none")
    number = {answer: i for i, answer in enumerate(dict.fromkeys(answer for _, answer in pairs))}
    index = ann.Exact(encoder.dim, metric=encoder.metric)
    index.add(encoder.encode_document(list(number)))
    ranked, _ = index.search(encoder.encode_query([question for question, _ in pairs]), k=k)
    relevant = np.array([number[answer] for _, answer in pairs])
    return {f"mrr@{k}": mrr_at_k(ranked, relevant, k), f"recall@{k}": recall_at_k(ranked, relevant, k)}
