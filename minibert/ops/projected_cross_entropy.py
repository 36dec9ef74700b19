"""Cross entropy over a vocabulary without ever holding the scores of all tokens."""

from typing import Any

import numpy as np

from minibert.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minibert.ops.similarity import similarity, similarity_backward

ROWS = 256  # of scores at a time


def projected_cross_entropy(
    x: np.ndarray, table: np.ndarray, targets: np.ndarray, smoothing: float = 0.0, bias: np.ndarray | None = None
) -> tuple[float, Any]:
    """cross_entropy(x tableᵀ + bias, targets), some rows at a time.

    The scores of 4,096 tokens over 8,000 words, and as many gradients, are 260 MB. Of a block of rows both are needed
    only until the gradients of x and of the table are summed up, which is done at once. Fresh pages of memory cost more
    than the arithmetic on them: a step of training takes a sixth less time, 256 wide, a fifth less, 128 wide.

    Source   Wijmans 2024 (arXiv:2411.09009) and others, who also drop the scores for their gradients' sake
    Shapes   x (T, D), table (V, D), targets (T,), bias (V,), none for 0 → loss ()
    Raises   ValueError: no rows; the rest as cross_entropy, with the row
    Differs  the gradients are made forward, for backward only scales them
    """
    count = len(x)
    if not count:
        raise ValueError("expected at least one row, got none")
    loss, dx, dtable = 0.0, np.empty_like(x), np.zeros_like(table)
    dbias = None if bias is None else np.zeros_like(bias)
    for start in range(0, count, ROWS):
        rows = slice(start, start + ROWS)
        scores, scores_cache = similarity(x[rows], table)
        if bias is not None:
            scores += bias
        block_loss, loss_cache = cross_entropy(scores, targets[rows], smoothing)
        share = len(scores) / count
        loss += share * block_loss
        dscores = cross_entropy_backward(share, loss_cache, out=scores)
        dx[rows], dblock = similarity_backward(dscores, scores_cache)
        dtable += dblock
        if bias is not None:
            dbias += dscores.sum(axis=0)
    return loss, (dx, dtable, dbias)


def projected_cross_entropy_backward(dloss: float, cache: Any) -> tuple[np.ndarray, ...]:
    """Gradients of projected_cross_entropy: (dx, dtable), and dbias where there is a bias."""
    dx, dtable, dbias = cache
    scale = dx.dtype.type(dloss)
    return tuple(gradient * scale for gradient in (dx, dtable, dbias) if gradient is not None)
