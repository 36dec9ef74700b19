"""Rows scaled to length one, so that inner products are cosines."""

from typing import Any

import numpy as np


def l2_normalize(x: np.ndarray, eps: float = 1e-12) -> tuple[np.ndarray, Any]:
    """Unit rows.

        y = x / max(‖x‖, ε)

    Shapes   x (B, D) → y (B, D)
    Units    eps: a row shorter than this is divided by it, so a zero row stays zero (as PyTorch's F.normalize)

    >>> l2_normalize(np.array([[3.0, 4.0]]))[0]
    array([[0.6, 0.8]])
    """
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    divisor = np.maximum(norm, x.dtype.type(eps))
    y = x / divisor
    return y, (y, divisor, norm >= eps)


def l2_normalize_backward(dy: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of l2_normalize: dx."""
    y, divisor, moves = cache
    # forward: y = x / ‖x‖; the part of dy along y only changes the length, which is undone.
    # Below eps the divisor is constant and nothing is undone.
    return (dy - moves * y * (dy * y).sum(axis=1, keepdims=True)) / divisor
