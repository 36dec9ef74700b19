"""Root mean square normalisation (Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4), row by row."""

from typing import Any

import numpy as np

from minibert.ops.layer_norm import mean_last


def rms_norm(x: np.ndarray, gamma: np.ndarray, eps: float) -> tuple[np.ndarray, Any]:
    """Layer normalisation without the mean and without a bias, the choice of T5.

        y = γ · x / √(mean(x²) + ε)

    Shapes   x (T, D), gamma (D,) → y (T, D)
    """
    rrms = 1 / np.sqrt(mean_last(x * x) + x.dtype.type(eps))
    xhat = x * rrms
    return gamma * xhat, (xhat, rrms, gamma)


def rms_norm_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of rms_norm: (dx, dgamma)."""
    xhat, rrms, gamma = cache
    # forward: y = gamma * xhat
    dgamma = (dy * xhat).sum(axis=0)
    dxhat = dy * gamma
    # forward: xhat = x * rrms, and rrms depends on every x of the row: hence one correction
    return rrms * (dxhat - xhat * mean_last(dxhat * xhat)), dgamma
