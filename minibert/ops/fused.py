"""What inference does between two matrix products, in one pass over memory each; the plain form stands first.

The C library's erf and exp keep LLVM from vectorising a loop. Polynomials do not, and float32 needs few terms.
"""

import math

import numpy as np

from minibert._jit import kernel
from minibert.ops.activations import gelu_plain
from minibert.ops.layer_norm import normalize
from minibert.ops.softmax import softmax

REASSOCIATE = {"reassoc", "nsz", "contract", "nnan"}  # sums over a row in 16 lanes: another rounding, no less exact

# Φ(x) ≈ ½ + x P(x²) / Q(x²) for |x| ≤ 5.6, beyond which Φ is 0 or 1 in float32. Fitted by reweighted least squares to
# the error in Φ: at most 1e-8, so that what is left in float32 is rounding.
PHI_END = np.float32(5.6)
P0, P1, P2, P3, P4, P5 = (
    np.float32(c) for c in (3.9894222e-01, 3.4375373e-02, 4.7071977e-03, 1.7384031e-04, 6.3562000e-06, 2.2144389e-08)
)
Q1, Q2, Q3, Q4, Q5 = (
    np.float32(c) for c in (2.5283200e-01, 2.8939623e-02, 1.9129230e-03, 7.5097128e-05, 1.1801595e-06)
)
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)

# exp(x) = 2ⁿ exp(r), n = round(x / ln 2), |r| ≤ ln 2 / 2; ln 2 in two parts, so that x − n ln 2 is exact
LOG2_E = np.float32(1 / math.log(2))
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)
E2, E3, E4, E5, E6 = (np.float32(1 / math.factorial(n)) for n in range(2, 7))
EXP_LEAST = np.float32(-87.0)  # e⁻⁸⁷ is the last normal float32


def bias_gelu_plain(x, bias):
    """x ← gelu(x + bias), by the C library's erf."""
    x[...] = gelu_plain(x + bias)


@kernel(fastmath={"contract"}, error_model="numpy")
def bias_gelu(x, bias):
    """`bias_gelu_plain` within 1e-6, float32."""
    rows, width = x.shape
    for t in range(rows):
        row = x[t]
        for d in range(width):
            v = row[d] + bias[d]
            c = min(max(v, -PHI_END), PHI_END)
            u = c * c
            p = P0 + u * (P1 + u * (P2 + u * (P3 + u * (P4 + u * P5))))
            q = ONE + u * (Q1 + u * (Q2 + u * (Q3 + u * (Q4 + u * Q5))))
            row[d] = v * (HALF + c * (p / q))


def bias_relu(x, bias):
    """x ← max(0, x + bias)."""
    x += bias
    np.maximum(x, 0, out=x)


def add_norm_plain(x, y, bias, gamma, beta, eps):
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


def scaled_softmax_plain(scores, scale, powers):
    """scores ← softmax(scale · scores), row by row."""
    scores[...], _ = softmax(scores * scale)


@kernel(fastmath=REASSOCIATE, error_model="numpy")
def scaled_softmax(scores, scale, powers):
    """`scaled_softmax_plain` for scale > 0, float32; `powers` (N,) int32 is room for the exponents of one row.

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
            x = max((row[j] - top) * scale, EXP_LEAST)
            n = np.floor(x * LOG2_E + HALF)
            r = (x - n * LN2_HIGH) - n * LN2_LOW
            row[j] = ONE + r * (ONE + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * E6)))))
            powers[j] = np.int32(n + np.float32(127)) << np.int32(23)
        total = ZERO
        for j in range(width):
            v = row[j] * two_to[j]
            row[j] = v
            total += v
        share = ONE / total
        for j in range(width):
            row[j] *= share
