"""Token vectors in a few bits a number: the nearest centroid, and what is left of each number to one of 2ᵇ levels.

    code    owner = argmin_c ‖v − c‖²;   number d → the level nearest to v_d − c_d, b bits
    decode  v ≈ unit(c + levels)

At 2 bits a vector of 128 numbers takes 36 bytes, its owner included, in place of 512.

Source   Santhanam 2021 (ColBERTv2, arXiv:2112.01488) section 3.3
Differs  levels are one-dimensional k-means of what is left (Lloyd 1982), which loses least; the authors take quantiles.
         Centroids fitted later have levels of their own: each centroid names its own
"""

from __future__ import annotations

import numpy as np

from ann.kmeans import kmeans, nearest_centroids
from minibert._jit import kernel
from minibert.ops import l2_normalize

BITS = 1, 2, 4
LEAST = np.float32(1e-12)  # length that `l2_normalize` divides by at least
REASSOCIATE = {"reassoc", "nsz", "contract"}
SAMPLE = 1 << 16  # numbers that levels are fitted to


def fit_levels(left: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """2ᵇ levels for what centroids leave, ascending. Shapes: (R, D) → (2ᵇ,) float32"""
    numbers = left.reshape(-1)
    if len(numbers) > SAMPLE:
        numbers = rng.choice(numbers, SAMPLE, replace=False)
    return np.sort(kmeans(numbers[:, None], 1 << bits, rng)[:, 0])


def encode(vectors: np.ndarray, centroids: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Owners and packed codes. Shapes: (R, D), centroids (C, D), levels (C, 2ᵇ) → (R,) int32, (R, ⌈D · b / 8⌉) uint8"""
    owners = nearest_centroids(vectors, centroids)[0].astype(np.int32)
    return owners, pack_fast(vectors, centroids, levels, owners, bits_of(levels))


def decode(owners: np.ndarray, codes: np.ndarray, centroids: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Unit vectors of codes. Shapes: as `encode`, → (R, D) float32"""
    return unpack_fast(codes, centroids, levels, owners, bits_of(levels))


def bits_of(levels: np.ndarray) -> int:
    """b, of 2ᵇ levels."""
    return levels.shape[1].bit_length() - 1


def pack(vectors: np.ndarray, centroids: np.ndarray, levels: np.ndarray, owners: np.ndarray, bits: int) -> np.ndarray:
    """The level nearest to what is left of each number, the lower of two; 8/b numbers a byte, the first lowest."""
    left = vectors - centroids[owners]
    numbers = np.abs(left[:, :, None] - levels[owners][:, None, :]).argmin(axis=2).astype(np.uint8)
    per_byte = 8 // bits
    numbers = np.pad(numbers, ((0, 0), (0, -numbers.shape[1] % per_byte)))
    places = bits * np.arange(per_byte, dtype=np.uint8)
    return np.bitwise_or.reduce(numbers.reshape(len(numbers), -1, per_byte) << places, axis=2)


@kernel
def pack_fast(vectors, centroids, levels, owners, bits):
    """`pack`, row by row."""
    rows, dim = vectors.shape
    per_byte = 8 // bits
    codes = np.zeros((rows, (dim + per_byte - 1) // per_byte), np.uint8)
    for t in range(rows):
        c = owners[t]
        for d in range(dim):
            left = vectors[t, d] - centroids[c, d]
            best, nearest = 0, np.float32(np.inf)
            for level in range(levels.shape[1]):
                away = abs(left - levels[c, level])
                if away < nearest:
                    best, nearest = level, away
            codes[t, d // per_byte] |= np.uint8(best << (bits * (d % per_byte)))
    return codes


def unpack(codes: np.ndarray, centroids: np.ndarray, levels: np.ndarray, owners: np.ndarray, bits: int) -> np.ndarray:
    """Centroids and levels put together again, and brought to length 1."""
    places = bits * np.arange(8 // bits, dtype=np.uint8)
    numbers = (codes[:, :, None] >> places) & np.uint8((1 << bits) - 1)
    numbers = numbers.reshape(len(codes), -1)[:, : centroids.shape[1]].astype(np.int64)
    return l2_normalize(centroids[owners] + np.take_along_axis(levels[owners], numbers, axis=1))[0]


@kernel(fastmath=REASSOCIATE)
def unpack_fast(codes, centroids, levels, owners, bits):
    """`unpack`, row by row."""
    rows, dim = len(codes), centroids.shape[1]
    per_byte, mask = 8 // bits, (1 << bits) - 1
    vectors = np.empty((rows, dim), np.float32)
    for t in range(rows):
        centroid, own, out = centroids[owners[t]], levels[owners[t]], vectors[t]
        for first in range(0, dim, per_byte):
            code = np.int64(codes[t, first // per_byte])
            for d in range(first, min(first + per_byte, dim)):
                out[d] = centroid[d] + own[code & mask]
                code >>= bits
        square = np.float32(0.0)
        for d in range(dim):
            square += out[d] * out[d]
        length = max(np.sqrt(square), LEAST)
        for d in range(dim):
            out[d] /= length
    return vectors
