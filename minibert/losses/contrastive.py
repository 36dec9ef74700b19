"""Losses over a matrix of scores: each query's own document against all others of the batch."""

from __future__ import annotations

import numpy as np

from minibert.ops import cross_entropy, cross_entropy_backward, similarity, similarity_backward


def margin_contrastive(scores: np.ndarray, labels: np.ndarray | None = None, margin: float = 0.5):
    """Matching pairs to similarity 1, all others below a margin.

        loss = Σ_ij  y_ij (1 − s_ij)² + (1 − y_ij) max(0, s_ij − m)²

    Source   Hadsell 2006 with similarities in place of distances: the contrastive loss of the course
    Shapes   scores s and labels y of one shape, (B, N) or (B,); without labels s is (B, N), N ≥ B, and row i's match
             stands in column i → loss ()
    Units    scores: cosines, whose greatest is the 1 that matches are drawn to; margin m in −1 … 1
    Raises   ValueError: other shapes, a label that is not 0 or 1, or without labels fewer than 2 columns: a batch of
             one has no negative. Labels may all be equal: then one of the two terms is all there is
    Differs  a sum, as published; libraries take means, and a margin on distances
    """
    if labels is None:
        _check_diagonal(scores)
        labels = np.eye(*scores.shape)
    labels = np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"expected labels for scores of shape {scores.shape}, got {labels.shape}")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"expected labels 0 and 1, got {labels[~np.isin(labels, (0, 1))][0]}")
    labels = labels.astype(scores.dtype)
    short = labels * (1 - scores)
    over = (1 - labels) * np.maximum(0, scores - scores.dtype.type(margin))
    return np.sum(short**2) + np.sum(over**2), (short, over)


def margin_contrastive_backward(dloss: float, cache) -> np.ndarray:
    """Gradient of margin_contrastive: dscores."""
    short, over = cache
    # forward: loss = Σ short² + over²,   short = y (1 − s),   over = (1 − y) max(0, s − m)
    return short.dtype.type(2 * dloss) * (over - short)


def diagonal_cross_entropy(scores: np.ndarray, ids: np.ndarray | None = None, symmetric: bool = False):
    """Cross entropy of a softmax over each row, whose right column is the one of the same number.

        loss = −mean_i log ( exp(S_ii) / Σ_j exp(S_ij) )

    Two documents with the same id answer the same queries: a row leaves out the columns, other than its own, that bear
    its own document's id (false negatives). Where none other is left the row's loss is 0.

    Source   Karpukhin 2020 (DPR, arXiv:2004.04906) eq. 2
    Shapes   scores (B, N), N ≥ B: columns from B on are further negatives; ids (N,): of the documents → loss ()
    Units    symmetric: the mean of this and of the same over columns 0 … B − 1, where a document looks for its query
    Raises   ValueError: no row, fewer columns than rows, a single column (nothing to tell it from), a single row where
             symmetric, or another number of ids
    """
    _check_diagonal(scores)
    count, right = len(scores), np.arange(len(scores))
    if symmetric and count < 2:
        raise ValueError(f"expected at least 2 queries where documents look for theirs, got {count}")
    if ids is not None:
        ids = np.asarray(ids)
        if ids.shape != scores.shape[1:]:
            raise ValueError(f"expected an id for each of {scores.shape[1]} documents, got ids of shape {ids.shape}")
        same = ids[:count, None] == ids
        same[right, right] = False
        scores = np.where(same, scores.dtype.type(-np.inf), scores)
    loss, cache = cross_entropy(scores, right)
    if not symmetric:
        return loss, (cache, None)
    back, back_cache = cross_entropy(np.ascontiguousarray(scores[:, :count].T), right)
    return (loss + back) / 2, (cache, back_cache)


def diagonal_cross_entropy_backward(dloss: float, cache) -> np.ndarray:
    """Gradient of diagonal_cross_entropy: dscores, 0 for what was left out."""
    cache, back_cache = cache
    if back_cache is None:
        return cross_entropy_backward(dloss, cache)
    # forward: loss = ½ cross_entropy(scores) + ½ cross_entropy(scores[:, :B].T)
    dscores = cross_entropy_backward(dloss / 2, cache)
    dscores[:, : len(dscores)] += cross_entropy_backward(dloss / 2, back_cache).T
    return dscores


def in_batch_cross_entropy(
    queries: np.ndarray,
    documents: np.ndarray,
    temperature: float = 1.0,
    ids: np.ndarray | None = None,
    symmetric: bool = False,
):
    """Every query against all documents of the batch; its own is the one in the same row.

        loss = diagonal_cross_entropy(Q Aᵀ / temperature)

    Source   van den Oord 2018 (arXiv:1807.03748) eq. 4; also InfoNCE, MultipleNegativesRanking, in-batch negatives
    Shapes   queries (B, D), documents (N, D), N ≥ B: rows from B on are further (hard) negatives; ids (N,) → loss ()
    Units    temperature > 0, no unit; sentence-transformers' scale is 1 / temperature; ids, symmetric: see
             diagonal_cross_entropy
    Raises   ValueError: temperature ≤ 0; the rest as diagonal_cross_entropy
    """
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    scores, scores_cache = similarity(queries, documents)
    scores = scores / scores.dtype.type(temperature)
    loss, loss_cache = diagonal_cross_entropy(scores, ids, symmetric)
    return loss, (scores_cache, loss_cache, temperature)


def in_batch_cross_entropy_backward(dloss: float, cache):
    """Gradients of in_batch_cross_entropy: (dqueries, ddocuments)."""
    scores_cache, loss_cache, temperature = cache
    # forward: loss = diagonal_cross_entropy(similarity(queries, documents) / temperature)
    dscores = diagonal_cross_entropy_backward(dloss, loss_cache)
    return similarity_backward(dscores / dscores.dtype.type(temperature), scores_cache)


def _check_diagonal(scores: np.ndarray) -> None:
    if scores.ndim != 2 or not 1 <= scores.shape[0] <= scores.shape[1] or scores.shape[1] < 2:
        raise ValueError(f"expected scores of queries against at least 2 and as many documents, got {scores.shape}")
