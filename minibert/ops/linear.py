"""Affine map of every row, with the weight as checkpoints store it: one row per output."""

from typing import Any

import numpy as np


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
    """Affine map.

        y = x Wᵀ + b

    Shapes   x (T, I), weight (O, I), bias (O,), none for 0 → y (T, O)

    >>> linear(np.array([[1.0, 2.0]]), weight=np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))[0]
    array([[3., 2., 1.]])
    """
    y = x @ weight.T
    if bias is not None:
        y += bias
    return y, (x, weight)


def linear_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of linear: (dx, dweight, dbias)."""
    x, weight = cache
    # forward: y = x @ weight.T + bias
    dbias = dy.sum(axis=0)
    dweight = dy.T @ x
    dx = dy @ weight
    return dx, dweight, dbias
