"""What inference does between two matrix products, in one pass over memory each; the plain form stands first."""

import numpy as np

from minibert._jit import kernel
from minibert.ops.activations import CONTRACT, gelu_plain, normal_cdf
from minibert.ops.layer_norm import REASSOCIATE, normalize

ONE, ZERO = np.float32(1), np.float32(0)


def bias_gelu_plain(x: np.ndarray, bias: np.ndarray) -> None:
    """x ← gelu(x + bias), by the C library's erf."""
    x[...] = gelu_plain(x + bias)


@kernel(fastmath=CONTRACT, error_model="numpy")
def bias_gelu(x, bias):
    """`bias_gelu_plain` within 1e-6, float32."""
    rows, width = x.shape
    for t in range(rows):
        row = x[t]
        for d in range(width):
            v = row[d] + bias[d]
            row[d] = v * normal_cdf(v)


def bias_relu(x: np.ndarray, bias: np.ndarray) -> None:
    """x ← max(0, x + bias)."""
    x += bias
    np.maximum(x, 0, out=x)


def add_norm_plain(
    x: np.ndarray, y: np.ndarray, bias: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
) -> None:
    """x ← LayerNorm(x + y + bias)."""
    x[...], _, _ = normalize(x + y + bias, gamma, beta, eps)


@kernel(fastmath=REASSOCIATE, error_model="numpy")
def add_norm(x, y, bias, gamma, beta, eps):
    """`add_norm_plain`, float32."""
    rows, width = x.shape
    share = ONE / np.float32(width)
    for t in range(rows):
        row, other = x[t], y[t]
        total = ZERO
        for d in range(width):
            v = row[d] + other[d] + bias[d]
            row[d] = v
            total += v
        mean = total * share
        squares = ZERO
        for d in range(width):
            v = row[d] - mean
            squares += v * v
        scale = ONE / np.sqrt(squares * share + eps)
        for d in range(width):
            row[d] = (row[d] - mean) * scale * gamma[d] + beta[d]
