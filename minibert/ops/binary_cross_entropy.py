"""Cross entropy of one score a row, whose sigmoid is the probability of a yes."""

from typing import Any

import numpy as np


def binary_cross_entropy(scores: np.ndarray, targets: np.ndarray) -> tuple[float, Any]:
    """Mean cross entropy of a sigmoid against labels between no and yes.

        loss = −mean_i ( y_i log σ(s_i) + (1 − y_i) log σ(−s_i) ) = mean_i ( max(s_i, 0) − y_i s_i + log(1 + e^−|s_i|) )

    Shapes   scores (B,), targets (B,) → loss ()
    Units    targets: 0 no, 1 yes, between them the share of yes
    Raises   ValueError: a target outside [0, 1], with its row
    """
    outside = np.flatnonzero(~((targets >= 0) & (targets <= 1)))
    if len(outside):
        raise ValueError(f"expected targets in [0, 1], got {targets[outside[0]]} in row {outside[0]}")
    targets = targets.astype(scores.dtype)
    losses = np.maximum(scores, 0) - targets * scores + np.log1p(np.exp(-np.abs(scores)))
    return losses.mean(), (scores, targets)


def binary_cross_entropy_backward(dloss: float, cache: Any) -> np.ndarray:
    """Gradient of binary_cross_entropy: dscores = (σ(s) − y) / B."""
    scores, targets = cache
    # forward: loss = mean_i (log(1 + e^s_i) − y_i s_i)
    return (sigmoid(scores) - targets) * scores.dtype.type(dloss / len(scores))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)
