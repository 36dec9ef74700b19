"""Distances between two float32 vectors, or two rows of codes (quantize.py); smaller is nearer.

    l2      sum_t (a_t - b_t)^2
    ip      1 - sum_t a_t b_t                           may be negative
    cosine  max(0, 1 - sum_t a_t b_t), rows of length 1  (see `normalize_rows`)

A zero vector has no direction: under cosine it stays zero, and so lies at distance 1 from everything, itself included.

Codes compare by integers, exactly: squared l2 for l2 and cosine, minus the inner product for ip, in their own unit.

The float32 kernels are the only ones with `fastmath`: LLVM may add the terms in any order, which is what lets it use
SIMD registers. Whatever the order, the result differs from the formula by at most (D + 2) u sum_t |term_t|, plus 2u for
the subtraction from 1, with u = 2^-24 (Higham 2002, eq. 3.4). The order depends on the CPU, not on the position of
the rows: equal rows have equal distances, bit for bit, and exact search and HNSW return the same numbers.
"""

from typing import SupportsIndex

import numpy as np
from numba.extending import overload

from ._jit import inlined, kernel
from .simd import byte_products, byte_squares, nibble_products, nibble_squares

METRICS = ("l2", "ip", "cosine")
L2, IP, COSINE = range(3)

# Above this length |a - b|^2 or <a, b> could pass float32's largest number, 3.4e38.
MAX_NORM = 9e18

ANY_ORDER = {"reassoc", "nsz", "contract"}


@inlined(fastmath=ANY_ORDER)
def squared_l2(a, i, b, j):
    """Squared Euclidean distance of row i of a and row j of b."""
    total = np.float32(0.0)
    for t in range(a.shape[1]):
        difference = a[i, t] - b[j, t]
        total += difference * difference
    return total


@inlined(fastmath=ANY_ORDER)
def inner_product(a, i, b, j):
    """Inner product of row i of a and row j of b."""
    total = np.float32(0.0)
    for t in range(a.shape[1]):
        total += a[i, t] * b[j, t]
    return total


@inlined
def float_distance(metric, a, i, b, j):
    """Distance of two rows of float32."""
    if metric == L2:
        return squared_l2(a, i, b, j)
    d = np.float32(1.0) - inner_product(a, i, b, j)
    if metric == COSINE and d < np.float32(0.0):
        return np.float32(0.0)
    return d


@inlined
def byte_distance(metric, a, i, b, j):
    """Distance of two rows of 7-bit codes."""
    return -byte_products(a, i, b, j) if metric == IP else byte_squares(a, i, b, j)


@inlined
def nibble_distance(metric, a, i, b, j):
    """Distance of two rows of 4-bit codes."""
    return -nibble_products(a, i, b, j) if metric == IP else nibble_squares(a, i, b, j)


def distance(metric: int, a: np.ndarray, i: SupportsIndex, b: np.ndarray, j: SupportsIndex) -> np.float32:
    """Distance of row i of a and row j of b.

    Shapes   a (·, D), b (·, D) → float32; both float32, int8 (7-bit codes) or uint8 (4-bit codes, two in a byte)
    """
    return _distance_of[a.dtype.name](metric, a, i, b, j)


_distance_of = {"float32": float_distance, "int8": byte_distance, "uint8": nibble_distance}


@overload(distance)
def _compiled_distance(metric, a, i, b, j):
    """`distance` in compiled code: the array's type chooses, at compile time."""
    chosen = _distance_of[a.dtype.name]
    return lambda metric, a, i, b, j: chosen(metric, a, i, b, j)


@kernel
def same_row(a, i, j):
    """Whether rows i and j of a are equal."""
    for t in range(a.shape[1]):
        if a[i, t] != a[j, t]:
            return False
    return True


@kernel
def normalize_rows(a):
    """Divide each row by its length, in place; zero rows stay. Sums in float64: no finite row over- or underflows."""
    for i in range(a.shape[0]):
        total = np.float64(0.0)
        for t in range(a.shape[1]):
            total += np.float64(a[i, t]) * np.float64(a[i, t])
        if total > 0.0:
            length = np.sqrt(total)
            for t in range(a.shape[1]):
                a[i, t] = np.float32(np.float64(a[i, t]) / length)
