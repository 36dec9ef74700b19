"""What training minimises."""

from __future__ import annotations

import numpy as np

from minibert.ops import cross_entropy, cross_entropy_backward, similarity, similarity_backward


def in_batch_cross_entropy(queries: np.ndarray, documents: np.ndarray, temperature: float = 1.0):
    """Every query against all documents of the batch; its own is the one in the same row, on the diagonal.

        loss = −mean_i log ( exp(S_ii) / Σ_j exp(S_ij) ),   S = Q Aᵀ / temperature

    Source   van den Oord 2018 (arXiv:1807.03748) eq. 4; also InfoNCE, MultipleNegativesRanking, in-batch negatives
    Shapes   queries (B, D), documents (N, D), N ≥ B: rows from B on are further negatives → loss ()
    Units    temperature > 0, no unit; sentence-transformers' scale is 1 / temperature
    Raises   ValueError: no query, fewer documents than queries, a single document (nothing to tell it from), or
             temperature ≤ 0
    """
    if not 1 <= len(queries) <= len(documents) or len(documents) < 2:
        raise ValueError(f"expected queries, and at least 2 documents, got {len(queries)} and {len(documents)}")
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    scores, scores_cache = similarity(queries, documents)
    scores = scores / scores.dtype.type(temperature)
    loss, loss_cache = cross_entropy(scores, np.arange(len(queries)))
    return loss, (scores_cache, loss_cache, temperature)


def in_batch_cross_entropy_backward(dloss: float, cache):
    """Gradients of in_batch_cross_entropy: (dqueries, ddocuments)."""
    scores_cache, loss_cache, temperature = cache
    # forward: loss = cross_entropy(similarity(queries, documents) / temperature)
    dscores = cross_entropy_backward(dloss, loss_cache)
    return similarity_backward(dscores / dscores.dtype.type(temperature), scores_cache)
