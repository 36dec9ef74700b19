"""Softmax cross entropy against one right class per row."""

import numpy as np


def cross_entropy(scores: np.ndarray, targets: np.ndarray):
    """Mean negative log-likelihood of the targets under a softmax over each row.

        loss = −mean_i log softmax(scores_i)[target_i]

    Shapes   scores (B, N), targets (B,) → loss ()
    Raises   ValueError: a target outside 0 … N − 1, with its row
    """
    outside = np.flatnonzero((targets < 0) | (targets >= scores.shape[1]))
    if len(outside):
        row = outside[0]
        raise ValueError(f"expected targets in 0 … {scores.shape[1] - 1}, got {targets[row]} in row {row}")
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_probabilities[np.arange(len(scores)), targets].mean()
    return loss, (log_probabilities, targets)


def cross_entropy_backward(dloss: float, cache) -> np.ndarray:
    """Gradient of cross_entropy: dscores = (softmax − one-hot) / B."""
    log_probabilities, targets = cache
    # forward: loss = mean_i (log Σ_j exp s_ij − s_i,target)
    dscores = np.exp(log_probabilities)
    dscores[np.arange(len(targets)), targets] -= 1
    return dscores * dscores.dtype.type(dloss / len(targets))
