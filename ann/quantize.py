"""Vectors as small integers: four or eight times fewer bytes to fetch on a walk, whose best are measured exactly.

    code = round((x - offset) / step), clipped        int8: 7 bits, 0 … 127     int4: 4 bits, 0 … 15
    ‖x - y‖² ≈ step² sum_t (code_t(x) - code_t(y))²    l2, and cosine, whose rows have length 1: ‖x - y‖² = 2 (1 - cos)
    <x, y>   ≈ step² sum_t code_t(x) code_t(y)         ip: offset 0, codes of both signs, ±127 or ±7 (stored + 8)

The offset is one a coordinate, as moving all rows alike changes no difference; the step is one for all, or else
coordinates would weigh differently. int4 puts coordinate t and t + half into one byte. Rows are filled up with codes of
zero effect to whole cache lines.

Differs  FAISS's scalar quantizer has a step a coordinate and decodes before it compares; ScaNN and SVS fit a step a row
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .distance import COSINE, IP, L2
from .simd import WIDTH

BITS = {None: 0, "int8": 8, "int4": 4}
SAMPLE = 65536  # rows that the range is taken from
TAIL = {8: 0.0005, 4: 0.002}  # share of a coordinate's values clipped at either end: one far row must not stretch all
OUTSIDE = 0.005  # so much larger a share of clipped values, and the codes no longer suit the rows


class Quantizer:
    """Offset (D,) and step () of one index's codes."""

    def __init__(self, bits: int, metric: int, offset: np.ndarray, step: float):
        self.offset, self.step, self.bits = offset, np.float32(step), bits
        self.low, self.top, self.shift = _range(bits, metric)
        self.width = width(bits, len(offset))

    @classmethod
    def fit(cls, bits: int, metric: int, vectors: np.ndarray) -> Quantizer:
        """The quantizer whose codes span these rows. Shapes: vectors (n, D), n ≥ 1"""
        sample, top = vectors[:: -(-len(vectors) // SAMPLE)], _range(bits, metric)[1]
        low, high = np.quantile(sample, [TAIL[bits], 1 - TAIL[bits]], axis=0, method="nearest")
        if metric == IP:
            offset, step = np.zeros_like(low), max(-low.min(), high.max()) / top
        else:
            offset, step = low, (high - low).max() / top
        return cls(bits, metric, offset, step if step > 0 else 1.0)

    def suits(self, vectors: np.ndarray) -> bool:
        """Whether hardly more of these rows' values would be clipped than of the rows that the range was taken from."""
        sample = vectors[:: -(-len(vectors) // SAMPLE)]
        low, high = (self.offset + self.step * end for end in (self.low - 0.5, self.top + 0.5))
        return np.mean((sample < low) | (sample > high)) <= OUTSIDE + 2 * TAIL[self.bits]

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Codes of rows: (n, D) float32 → (n, width) int8, or uint8 for 4 bits."""
        codes = np.full((len(vectors), self.width * 8 // self.bits), self.shift, np.int8)
        round_rows(vectors, self.offset, self.step, self.low, self.top, self.shift, codes)
        if self.bits == 8:
            return codes
        halves = codes.view(np.uint8).reshape(len(codes), 2, -1)
        return halves[:, 0] | halves[:, 1] << 4

    def encode_queries(self, queries: np.ndarray) -> np.ndarray:
        """The same; under ip a query's length does not matter, so each is stretched to the whole range."""
        if self.low < 0:
            longest = np.abs(queries).max(axis=1, keepdims=True)
            queries = queries / np.where(longest > 0, longest, np.float32(1)) * (self.top * self.step)
        return self.encode(queries)


def _range(bits, metric):
    """Least and largest code, and what is added to store it."""
    if metric == IP:
        top, shift = (127, 0) if bits == 8 else (7, 8)
        return np.float32(-top), np.float32(top), np.int8(shift)
    return np.float32(0), np.float32(127 if bits == 8 else 15), np.int8(0)


@kernel
def round_rows(vectors, offset, step, low, top, shift, codes):
    """codes ← shift + round((x - offset) / step), clipped to low … top. Shapes: vectors (n, D), codes (n, ≥ D) int8"""
    for i in range(vectors.shape[0]):
        for t in range(vectors.shape[1]):
            code = np.rint((vectors[i, t] - offset[t]) / step)
            codes[i, t] = np.int8(min(max(code, low), top)) + shift


def width(bits: int, dim: int) -> int:
    """Bytes of a row of codes: whole cache lines."""
    return -(-dim * bits // 8 // WIDTH) * WIDTH if dim * bits % 8 == 0 else width(bits, dim + 1)


def walk_metric(bits: int, metric: int) -> int:
    """The metric that walks use: on codes cosine is l2."""
    return L2 if bits and metric == COSINE else metric


def refined(bits: int, k: int) -> int:
    """How many of the nearest by code are measured on the vectors: 1.5 k of 7-bit codes, 3 k of 4-bit codes.

    At k = 10: 12 to 20 and 30 lose nothing up to a recall of .99 (100k x 128 and x 384).
    """
    return {0: 0, 8: max(16, k + k // 2), 4: max(32, 3 * k)}[bits]
