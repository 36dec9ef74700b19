"""Softmax over the last axis."""

import math

import numpy as np

from minibert._jit import kernel

ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)
# The C library's exp keeps LLVM from vectorising a loop. A polynomial does not, and float32 needs few terms:
# exp(x) = 2ⁿ exp(r), n = round(x / ln 2), |r| ≤ ln 2 / 2; ln 2 in two parts, so that x − n ln 2 is exact
LOG2_E = np.float32(1 / math.log(2))
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)
E2, E3, E4, E5, E6 = (np.float32(1 / math.factorial(n)) for n in range(2, 7))
EXP_LEAST = np.float32(-87.0)  # e⁻⁸⁷ is the last normal float32
REASSOCIATE = {"reassoc", "nsz", "contract", "nnan"}  # sums over a row in lanes: another rounding, no less exact


def softmax(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Softmax, shifted by the maximum so that no exponential overflows.

        y_j = exp(x_j − max x) / Σ_k exp(x_k − max x)

    Shapes   x (…, N) → y (…, N), each row sums to 1

    >>> softmax(np.log([[1.0, 3.0]]))[0]
    array([[0.25, 0.75]])
    """
    if x.dtype == np.float32:
        y = x.copy()
        scaled_softmax(y.reshape(-1, x.shape[-1]), ONE, np.empty(x.shape[-1], np.int32))
        return y, y
    y = x - x.max(axis=-1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y, y


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of softmax: dx."""
    # forward: y = softmax(x), ∂y_j/∂x_k = y_j ([j = k] − y_k)
    width = y.shape[-1]
    return softmax_slope_fast(dy.reshape(-1, width), y.reshape(-1, width)).reshape(y.shape)


def softmax_slope(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y (dy − Σ dy y), row by row."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


@kernel(fastmath={"reassoc", "nsz", "contract"})
def softmax_slope_fast(dy, y):
    """`softmax_slope` in one pass over memory: 4 times as fast for rows of 53 in float32."""
    dx = np.empty_like(y)
    for t in range(len(y)):
        gradients, values, out = dy[t], y[t], dx[t]
        along = y.dtype.type(0)
        for j in range(y.shape[1]):
            along += gradients[j] * values[j]
        for j in range(y.shape[1]):
            out[j] = values[j] * (gradients[j] - along)
    return dx


def scaled_softmax_plain(scores: np.ndarray, scale: float) -> None:
    """scores ← softmax(scale · scores), row by row."""
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) * scale)
    scores[...] = powers / powers.sum(axis=1, keepdims=True)


@kernel(fastmath=REASSOCIATE, error_model="numpy")
def scaled_softmax(scores, scale, powers):
    """`scaled_softmax_plain` for scale > 0, float32; `powers` (N,) int32 is room for the exponents of one row.

    2.5 times as fast as NumPy's passes for rows of 53.

    A float32's bits are its exponent + 127, then 23 of its fraction: (n + 127) · 2²³ as an integer reads 2ⁿ.
    """
    rows, width = scores.shape
    two_to = powers.view(np.float32)
    for t in range(rows):
        row = scores[t]
        top0 = top1 = top2 = top3 = row[0]  # LLVM keeps a maximum of floats one chain: four run side by side
        for j in range(width // 4):
            four = row[4 * j : 4 * j + 4]
            top0, top1, top2, top3 = max(top0, four[0]), max(top1, four[1]), max(top2, four[2]), max(top3, four[3])
        for j in range(width // 4 * 4, width):
            top0 = max(top0, row[j])
        top = max(max(top0, top1), max(top2, top3))
        for j in range(width):
            below = (row[j] - top) * scale
            x = max(below, EXP_LEAST)
            n = np.floor(x * LOG2_E + HALF)
            r = (x - n * LN2_HIGH) - n * LN2_LOW
            row[j] = ONE + r * (ONE + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * E6)))))
            powers[j] = np.int32(n + np.float32(127)) << np.int32(23) if below > EXP_LEAST else np.int32(0)
        total = ZERO
        for j in range(width):
            v = row[j] * two_to[j]
            row[j] = v
            total += v
        share = ONE / total
        for j in range(width):
            row[j] *= share
