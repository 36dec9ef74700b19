"""Losses over a matrix of scores: each query's own document against all others of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibert.ops import cross_entropy, cross_entropy_backward, similarity, similarity_backward

ROWS = 256  # of scores at a time


def margin_contrastive(scores: np.ndarray, labels: np.ndarray | None = None, margin: float = 0.5) -> tuple[float, Any]:
    """Matching pairs to similarity 1, all others below a margin.

        loss = Σ_ij  y_ij (1 − s_ij)² + (1 − y_ij) max(0, s_ij − m)²

    Source   Hadsell 2006 with similarities in place of distances: the contrastive loss of the course
    Shapes   scores s and labels y of one shape, (B, N) or (B,); without labels s is (B, N), N ≥ B, and row i's match
             stands in column i → loss ()
    Units    scores: cosines, whose greatest is the 1 that matches are drawn to; margin m in −1 … 1
    Raises   ValueError: other shapes, a margin outside −1 … 1, a label that is not 0 or 1, or without labels fewer than
             2 columns: a batch of one has no negative. Labels may all be equal: then one of the two terms is all
    Differs  a sum, as published; libraries take means, and a margin on distances
    """
    if not -1 <= margin <= 1:
        raise ValueError(f"expected a margin in −1 … 1, as cosines are, got {margin}")
    if labels is None:
        _check_diagonal(scores.shape)
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


def margin_contrastive_backward(dloss: float, cache: Any) -> np.ndarray:
    """Gradient of margin_contrastive: dscores."""
    short, over = cache
    # forward: loss = Σ short² + over²,   short = y (1 − s),   over = (1 − y) max(0, s − m)
    return short.dtype.type(2 * dloss) * (over - short)


def in_batch_margin_contrastive(
    queries: np.ndarray, documents: np.ndarray, margin: float = 0.5, ids: np.ndarray | None = None
) -> tuple[float, Any]:
    """margin_contrastive of every query against all documents of the batch; its own is the one in the same row.

    Shapes   queries (B, D) and documents (N, D), N ≥ B, of length 1; ids (N,): a document of the id of a query's own is
             a match, too → loss ()
    Raises   ValueError: as diagonal_cross_entropy
    """
    _check_diagonal((len(queries), len(documents)))
    scores, scores_cache = similarity(queries, documents)
    numbers = np.arange(len(documents)) if ids is None else _numbers(ids, len(documents))
    loss, loss_cache = margin_contrastive(scores, numbers[: len(queries), None] == numbers, margin)
    return loss, (scores_cache, loss_cache)


def in_batch_margin_contrastive_backward(dloss: float, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of in_batch_margin_contrastive: (dqueries, ddocuments)."""
    scores_cache, loss_cache = cache
    # forward: loss = margin_contrastive(similarity(queries, documents))
    return similarity_backward(margin_contrastive_backward(dloss, loss_cache), scores_cache)


def diagonal_cross_entropy(
    scores: np.ndarray, ids: np.ndarray | None = None, symmetric: bool = False
) -> tuple[float, Any]:
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
    _check_diagonal(scores.shape, symmetric)
    count, right = len(scores), np.arange(len(scores))
    if ids is not None:
        scores = scores.copy()
        _leave_out(scores, _numbers(ids, scores.shape[1]))
    loss, cache = cross_entropy(scores, right)
    if not symmetric:
        return loss, (cache, None)
    back, back_cache = cross_entropy(np.ascontiguousarray(scores[:, :count].T), right)
    return (loss + back) / 2, (cache, back_cache)


def diagonal_cross_entropy_backward(dloss: float, cache: Any) -> np.ndarray:
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
) -> tuple[float, Any]:
    """Every query against all documents of the batch; its own is the one in the same row.

        loss = diagonal_cross_entropy(Q Aᵀ / temperature)

    The scores, 67 MB for 4,096 pairs, are never held: some rows at a time, as in projected_cross_entropy.

    Source   van den Oord 2018 (arXiv:1807.03748) eq. 4; also InfoNCE, MultipleNegativesRanking, in-batch negatives
    Shapes   queries (B, D), documents (N, D), N ≥ B: rows from B on are further (hard) negatives; ids (N,) → loss ()
    Units    temperature > 0, no unit; sentence-transformers' scale is 1 / temperature; ids, symmetric: see
             diagonal_cross_entropy
    Raises   ValueError: temperature ≤ 0; the rest as diagonal_cross_entropy
    Differs  the gradients are made forward, for backward only scales them

    >>> loss, cache = in_batch_cross_entropy(np.eye(2), np.eye(2), temperature=0.05)
    >>> dqueries, ddocuments = in_batch_cross_entropy_backward(1.0, cache)
    >>> bool(loss < 1e-8), dqueries.shape
    (True, (2, 2))
    """
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    count = len(queries)
    _check_diagonal((count, len(documents)), symmetric)
    numbers = None if ids is None else _numbers(ids, len(documents))
    loss, dqueries, ddocuments = _one_direction(queries, documents, temperature, numbers)
    if symmetric:
        back, dback, dforth = _one_direction(documents[:count], queries, temperature, numbers)
        loss = (loss + back) / 2
        ddocuments[:count] += dback
        dqueries, ddocuments = (dqueries + dforth) / 2, ddocuments / 2
    return loss, (dqueries, ddocuments)


def in_batch_cross_entropy_backward(dloss: float, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of in_batch_cross_entropy: (dqueries, ddocuments)."""
    dqueries, ddocuments = cache
    scale = dqueries.dtype.type(dloss)
    return dqueries * scale, ddocuments * scale


def _one_direction(rows: np.ndarray, columns: np.ndarray, temperature: float, ids: np.ndarray | None):
    """Loss of each row finding the column of its number, and its gradients: (loss, drows, dcolumns)."""
    loss, drows, dcolumns = 0.0, np.empty_like(rows), np.zeros_like(columns)
    heat, right = rows.dtype.type(temperature), np.arange(len(rows))
    for start in range(0, len(rows), ROWS):
        block = slice(start, start + ROWS)
        scores, scores_cache = similarity(rows[block], columns)
        scores /= heat
        if ids is not None:
            _leave_out(scores, ids, start)
        block_loss, loss_cache = cross_entropy(scores, right[block])
        share = len(scores) / len(rows)
        loss += share * block_loss
        dscores = cross_entropy_backward(share, loss_cache, out=scores)
        dscores /= heat
        drows[block], dblock = similarity_backward(dscores, scores_cache)
        dcolumns += dblock
    return loss, drows, dcolumns


def _leave_out(scores: np.ndarray, ids: np.ndarray, start: int = 0) -> None:
    """Set to −∞, in place, where row start + i meets another column of its own column's id."""
    right = start + np.arange(len(scores))
    same = ids[right, None] == ids[: scores.shape[1]]
    same[np.arange(len(scores)), right] = False
    scores[same] = -np.inf


def _numbers(ids, count: int) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.shape != (count,):
        raise ValueError(f"expected an id for each of {count} documents, got ids of shape {ids.shape}")
    return ids


def _check_diagonal(shape: tuple[int, ...], symmetric: bool = False) -> None:
    if len(shape) != 2 or not 1 <= shape[0] <= shape[1] or shape[1] < 2:
        raise ValueError(f"expected scores of queries against at least 2 and as many documents, got {shape}")
    if symmetric and shape[0] < 2:
        raise ValueError(f"expected at least 2 queries where documents look for theirs, got {shape[0]}")
