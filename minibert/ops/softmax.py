"""Softmax over the last axis."""

import numpy as np


def softmax(x: np.ndarray):
    """Softmax, shifted by the maximum so that no exponential overflows.

        y_j = exp(x_j − max x) / Σ_k exp(x_k − max x)

    Shapes   x (…, N) → y (…, N), each row sums to 1
    """
    y = x - x.max(axis=-1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y, y


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of softmax: dx."""
    # forward: y = softmax(x), ∂y_j/∂x_k = y_j ([j = k] − y_k)
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
