"""Product quantization (Jégou, Douze & Schmid 2011): a vector as M half-bytes, and distances to many of them by table.

A vector is cut into M subvectors; k-means learns a codebook of 16 for each place; the code of a vector is the numbers
of its nearest codewords. A query's inner products with all codewords, M tables of 16, give its inner product with any
coded vector by M look-ups ("asymmetric distance computation", section III.B):

    <q, ŷ> = Σ_m table[m, code_m]        table[m, j] = <q_m, codeword_mj>

What is coded here is the residual of a row x to the centroid c of its cell (section IV.A): x ≈ c + ŷ. Then

    ‖q - c - ŷ‖² = ‖q - c‖²  +  (‖ŷ‖² + 2 <c, ŷ>)  -  2 Σ_m table[m, code_m]
                   the probe    bias: one number a row     the look-ups

so one table a query serves every cell; the paper makes one for each cell, FAISS too, or keeps terms for every cell.

Differs   16 codewords of 2 dimensions in place of 256 of 8: twice the bytes, finer, and a table fits into a register
          (fastscan.py). For that it is rounded to bytes:  Σ_m table ≈ base + step · Σ_m look-up.
"""

import numpy as np

from ._jit import inlined, kernel
from .distance import ANY_ORDER, squared_l2
from .fastscan import BLOCK, add_up
from .heap import before
from .kmeans import kmeans

CODEWORDS = 16


def cut(vectors: np.ndarray, M: int) -> np.ndarray:
    """Vectors as M subvectors each, the last filled up with zeros. Shapes: (N, D) → (N, M, ceil(D / M)) float32"""
    N, D = vectors.shape
    width = -(-D // M)
    padded = np.zeros((N, M * width), np.float32)
    padded[:, :D] = vectors
    return padded.reshape(N, M, width)


def train_codebooks(vectors: np.ndarray, M: int, rng: np.random.Generator) -> np.ndarray:
    """Codewords for each of M places. Shapes: vectors (N, D) → (M, 16, ceil(D / M)) float32"""
    parts = cut(vectors, M)
    return np.stack([kmeans(np.ascontiguousarray(parts[:, m]), CODEWORDS, rng) for m in range(M)])


def encode_plain(vectors: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The nearest codeword at each place, ties to the smaller number. Shapes: (N, D) → (N, M) uint8"""
    differences = cut(vectors, len(codebooks))[:, :, None] - codebooks
    return np.einsum("nmct,nmct->nmc", differences, differences).argmin(axis=2).astype(np.uint8)


@kernel
def encode(parts, codebooks):
    """The same for vectors cut already; gains 5×. Shapes: (N, M, w) → (N, M) uint8"""
    codes = np.empty(parts.shape[:2], np.uint8)
    for n in range(parts.shape[0]):
        for m in range(parts.shape[1]):
            nearest = squared_l2(parts[n], m, codebooks[m], 0)
            codes[n, m] = np.uint8(0)
            for c in range(1, codebooks.shape[1]):
                d = squared_l2(parts[n], m, codebooks[m], c)
                if d < nearest:
                    nearest, codes[n, m] = d, np.uint8(c)
    return codes


def decode(codes: np.ndarray, codebooks: np.ndarray, dim: int) -> np.ndarray:
    """The vectors that codes stand for. Shapes: (N, M) → (N, D) float32"""
    return codebooks[np.arange(len(codebooks)), codes].reshape(len(codes), -1)[:, :dim]


def pack(codes: np.ndarray) -> np.ndarray:
    """Two codes a byte, the first in the low half. Shapes: (N, M) → (N, M / 2) uint8"""
    return codes[:, ::2] | codes[:, 1::2] << 4


def unpack(packed: np.ndarray) -> np.ndarray:
    """Inverse of pack."""
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)


@kernel
def blocks_by_cell(cells, count, packed, bias):
    """Rows in blocks of 32, cell by cell: what fastscan.py reads. Places that are left over have row -1.

    Shapes   cells (N,), packed (N, M / 2), bias (N,)
             → starts (count + 1,), rows (B, 32) int32, codes (B, M / 2, 32) uint8, bias (B, 32) float32
    """
    sizes, starts = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
    for n in range(cells.shape[0]):
        sizes[cells[n]] += 1
    for c in range(count):
        starts[c + 1] = starts[c] + (sizes[c] + BLOCK - 1) // BLOCK
    rows = np.full((starts[count], BLOCK), -1, np.int32)
    codes = np.zeros((starts[count], packed.shape[1], BLOCK), np.uint8)
    biases = np.zeros((starts[count], BLOCK), np.float32)
    sizes[:] = 0
    for n in range(cells.shape[0]):
        block, r = starts[cells[n]] + sizes[cells[n]] // BLOCK, sizes[cells[n]] % BLOCK
        rows[block, r], biases[block, r] = n, bias[n]
        for p in range(packed.shape[1]):
            codes[block, p, r] = packed[n, p]
        sizes[cells[n]] += 1
    return starts, rows, codes, biases


def tables_plain(queries: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Inner products of each query's subvectors with all codewords. Shapes: (Q, D) → (Q, M, 16) float32"""
    return np.einsum("qmt,mct->qmc", cut(queries, len(codebooks)), codebooks)


@kernel(fastmath=ANY_ORDER)
def fill_table(queries, q, turned, table):
    """The same for row q, into `table`. Shapes: turned (M, w, 16), the codebooks with codewords last: one SIMD loop"""
    table[:] = np.float32(0.0)
    for t in range(queries.shape[1]):
        codewords, out = turned[t // turned.shape[1], t % turned.shape[1]], table[t // turned.shape[1]]
        for c in range(out.shape[0]):
            out[c] += queries[q, t] * codewords[c]


@kernel
def round_table(table, look_up):
    """Bytes with Σ_m table[m, j_m] ≈ base + step Σ_m look_up[m, j_m]; within M step / 2. → base, step"""
    base, spread = np.float32(0.0), np.float32(0.0)
    lows = np.empty(table.shape[0], np.float32)
    for m in range(table.shape[0]):
        low, high = table[m, 0], table[m, 0]
        for c in range(1, table.shape[1]):
            low, high = min(low, table[m, c]), max(high, table[m, c])
        lows[m] = low
        base += low
        spread = max(spread, high - low)
    scale = np.float32(255.0) / spread if spread > np.float32(0.0) else np.float32(0.0)
    for m in range(table.shape[0]):
        row, out, low = table[m], look_up[m], lows[m]
        for c in range(out.shape[0]):
            out[c] = np.uint8(np.int32((row[c] - low) * scale + np.float32(0.5)))
    return base, spread / np.float32(255.0)


@kernel
def scan_codes(
    look_up, base, step, factor, codes, bias, rows, starts, cells, probes, mask, filtered, keep, estimates, found
):
    """The `keep` rows of some cells with the smallest estimates, in any order; returns how many there are.

        estimate = probes[i] + bias - factor (base + step Σ_m look_up[m, code_m])

    Shapes   look_up (M, 16); codes, bias, rows, starts: see blocks_by_cell; cells, probes (P,): the cells to read and
             the query's distance from their centroids; mask (N,) where filtered → estimates, found: twice `keep`
             places, of which the first are written
    """
    size, limit = 0, np.float32(np.inf)
    sums, near = np.empty(BLOCK, np.uint16), np.empty(BLOCK, np.float32)
    for i in range(cells.shape[0]):
        probe = probes[i] - factor * base
        for block in range(starts[cells[i]], starts[cells[i] + 1]):
            add_up(look_up, codes[block], sums)
            if not any_near(probe, bias[block], factor * step, sums, limit, near):
                continue
            for r in range(BLOCK):
                if near[r] > limit:
                    continue
                row = rows[block, r]
                if row < 0 or (filtered and not mask[row]):
                    continue
                estimates[size], found[size] = near[r], row
                size += 1
                if size == 2 * keep:
                    size, limit = keep, keep_smallest(estimates, found, size, keep)
    if size > keep:
        keep_smallest(estimates, found, size, keep)
    return min(size, keep)


@inlined
def any_near(probe, bias, step, sums, limit, near):
    """The estimates of a block, into `near`, and whether any is at most the limit: one SIMD loop."""
    found = np.uint32(0)
    for r in range(BLOCK):
        near[r] = probe + bias[r] - step * np.float32(sums[r])
        found |= np.uint32(near[r] <= limit)
    return found != np.uint32(0)


@kernel
def keep_smallest(distances, labels, size, keep):
    """Move the `keep` smallest of `size` pairs to the front, in any order; returns the largest distance among them.

    Hoare's quickselect (1961). With twice as many places as are kept, and a selection whenever they are full, 80
    candidates of 6,000 rows cost a third of what a heap takes.
    """
    first, last = 0, size - 1
    while first < last:
        middle = (first + last) // 2
        d, label = distances[middle], labels[middle]
        i, j = first, last
        while i <= j:
            while before(distances[i], labels[i], d, label):
                i += 1
            while before(d, label, distances[j], labels[j]):
                j -= 1
            if i <= j:
                distances[i], distances[j] = distances[j], distances[i]
                labels[i], labels[j] = labels[j], labels[i]
                i += 1
                j -= 1
        if keep - 1 <= j:
            last = j
        elif keep - 1 >= i:
            first = i
        else:
            break
    most = distances[0]
    for place in range(1, keep):
        most = max(most, distances[place])
    return most
