"""Softmax cross entropy against one right class per row, whose label may be smoothed."""

from typing import Any

import numpy as np

ROWS = 16  # rows worked on at a time: a block stays in the cache from one pass to the next


def cross_entropy(scores: np.ndarray, targets: np.ndarray, smoothing: float = 0.0) -> tuple[float, Any]:
    """Mean cross entropy of a softmax over each row against the labels.

        loss = −mean_i Σ_j q_ij log softmax(scores_i)_j,   q_ij = (1 − ε) [j = target_i] + ε / N

    Without smoothing (ε = 0) it is the negative log-likelihood of the targets, least where the right score is above the
    others by infinity. With it the best score is finite, and the model stays able to change its mind.

    Source   smoothing: Szegedy 2016 (arXiv:1512.00567) section 7; ε = 0.1 in Vaswani 2017 section 5.4
    Shapes   scores (B, N), targets (B,) → loss ()
    Raises   ValueError: a target outside 0 … N − 1, with its row, or a smoothing outside [0, 1)

    >>> loss, cache = cross_entropy(np.log([[1.0, 3.0]]), np.array([1]))
    >>> round(float(np.exp(-loss)), 3)
    0.75
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"expected a smoothing in [0, 1), got {smoothing}")
    outside = np.flatnonzero((targets < 0) | (targets >= scores.shape[1]))
    if len(outside):
        row = outside[0]
        raise ValueError(f"expected targets in 0 … {scores.shape[1] - 1}, got {targets[row]} in row {row}")
    log_sums = np.empty((len(scores), 1), scores.dtype)
    means = np.zeros_like(log_sums)
    scratch = np.empty((ROWS, scores.shape[1]), scores.dtype)
    for rows in _blocks(scores):
        top = scores[rows].max(axis=1, keepdims=True)
        powers = np.subtract(scores[rows], top, out=scratch[: len(top)])
        log_sums[rows] = top + np.log(np.exp(powers, out=powers).sum(axis=1, keepdims=True))
        if smoothing:
            means[rows] = scores[rows].mean(axis=1, keepdims=True)
    right = scores[np.arange(len(scores)), targets]
    loss = (log_sums[:, 0] - (1 - smoothing) * right - smoothing * means[:, 0]).mean()
    return loss, (scores, log_sums, targets, smoothing)


def cross_entropy_backward(dloss: float, cache: Any, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of cross_entropy: dscores = (softmax − labels) / B; `out`: where, perhaps in place of the scores."""
    scores, log_sums, targets, smoothing = cache
    count, classes = scores.shape
    dscores = np.empty_like(scores) if out is None else out
    share = scores.dtype.type(dloss / count)
    # forward: loss = mean_i (log Σ_j exp s_ij − Σ_j q_ij s_ij)
    for rows in _blocks(scores):
        block = np.subtract(scores[rows], log_sums[rows], out=dscores[rows])
        np.exp(block, out=block)
        block -= scores.dtype.type(smoothing / classes)
        block[np.arange(len(block)), targets[rows]] -= scores.dtype.type(1 - smoothing)
        block *= share
    return dscores


def _blocks(scores: np.ndarray) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, len(scores), ROWS)]
