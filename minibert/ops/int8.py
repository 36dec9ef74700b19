"""x Wᵀ on codes of 8 bits, for inference: whole numbers are multiplied, and scaled once at the end.

    x ≈ l + s q, w ≈ m + t u     q and u in 0 … 255; the least number and a step of every row of x and of W
    y = Σ x w ≈ s (t Σ q u + m Σ q) + l Σ (m + t u)

The sums are exact, so that a row's result does not depend on the other rows.

Source   Jacob 2018, arXiv:1712.05877, equations 1 and 7; ranges by row: Dettmers 2022, arXiv:2208.07339, section 2.1
"""

import numpy as np

from minibert._jit import kernel
from minibert.simd import COLUMNS, DEPTH, HAS_BYTE_TILES, ROWS, byte_tile

FASTMATH = {"nnan", "nsz", "reassoc", "contract"}
MIDDLE = np.float32(128)  # codes of x are kept as q − 128: the instruction's one side is signed


class Int8Weight:
    """A weight's codes.

    Shapes   weight (O, I) float32 → len O; steps t, least m and row sums Σ (m + t u), (3, O) float32; middle: 128 Σ u,
             (O,) int32; codes: u, in tiles where there is a kernel for them
    """

    def __init__(self, weight: np.ndarray):
        m, t = ranges(weight)
        u = np.rint((weight - m[:, None]) / t[:, None])
        total = u.sum(axis=1)
        self.shape = weight.shape
        self.rows = np.stack([t, m, m * np.float32(weight.shape[1]) + t * total])
        self.middle = (MIDDLE * total).astype(np.int32)
        self.codes = tiles(u.astype(np.uint8)) if HAS_BYTE_TILES else u

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def padded_width(self) -> int:
        """How many codes a row of x needs."""
        return -(-self.shape[1] // DEPTH) * DEPTH


def ranges(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(least number, step) of every row: 255 steps reach its greatest; a row of equal numbers needs none."""
    low, high = x.min(axis=1), x.max(axis=1)
    return low, np.where(high > low, (high - low) / np.float32(255), np.float32(1))


def tiles(u: np.ndarray) -> np.ndarray:
    """Codes (O, I) in the order byte_tile reads them: (O / 64, I / 4, 64, 4), filled up with zeros."""
    rows, width = u.shape
    padded = np.zeros((-(-rows // COLUMNS) * COLUMNS, -(-width // DEPTH) * DEPTH), np.uint8)
    padded[:rows, :width] = u
    return np.ascontiguousarray(padded.reshape(-1, COLUMNS, padded.shape[1] // DEPTH, DEPTH).transpose(0, 2, 1, 3))


def padded_rows(rows: int) -> int:
    """Rows of x in whole tiles."""
    return -(-rows // ROWS) * ROWS


def int8_linear(x: np.ndarray, weight: Int8Weight, codes: np.ndarray, out: np.ndarray) -> np.ndarray:
    """y ≈ x Wᵀ, into `out`.

    Shapes   x (T, I) float32, codes (padded_rows(T), weight.padded_width) int8: room to work in → out (T, O) float32
    """
    low, step = ranges(x)
    sums = np.empty_like(low)
    encode_rows(x, low, step, codes, sums)
    if HAS_BYTE_TILES:
        multiply(codes, low, step, sums, weight.codes, weight.rows, weight.middle, out)
    else:
        multiply_plain(codes[: len(x), : x.shape[1]], low, step, sums, weight.codes, weight.rows, out)
    return out


@kernel(fastmath=FASTMATH, error_model="numpy")
def encode_rows(x, low, step, codes, sums):
    """q = round((x − l) / s), kept as q − 128, and Σ q."""
    for r in range(len(x)):
        row, code = x[r], codes[r]
        inverse, least, total = np.float32(1) / step[r], low[r], np.float32(0)
        for d in range(len(row)):
            q = np.rint((row[d] - least) * inverse)
            code[d] = np.int8(np.int32(q - MIDDLE))
            total += q
        sums[r] = total


def multiply_plain(
    codes: np.ndarray,
    low: np.ndarray,
    step: np.ndarray,
    sums: np.ndarray,
    u: np.ndarray,
    rows: np.ndarray,
    out: np.ndarray,
) -> None:
    """The formula, the products by BLAS: float32 holds the codes, which are whole numbers."""
    t, m, w = rows
    products = (codes + MIDDLE) @ u.T
    out[...] = step[:, None] * (t * products + m * sums[:, None]) + low[:, None] * w


@kernel(fastmath=FASTMATH, error_model="numpy")
def multiply(codes, low, step, sums, u, rows, middle, out):
    """`multiply_plain` in tiles of 6 rows and 64 columns, whose sums stay in registers."""
    height, width = out.shape
    products = np.empty((ROWS, COLUMNS), np.int32)
    for panel in range(len(u)):
        first = panel * COLUMNS
        last = min(first + COLUMNS, width)
        t, m, w, more = rows[0, first:last], rows[1, first:last], rows[2, first:last], middle[first:last]
        for top in range(0, height, ROWS):
            byte_tile(codes, top, u, panel, products)
            for r in range(min(ROWS, height - top)):
                s, least, total = step[top + r], low[top + r], sums[top + r]
                row, product = out[top + r, first:last], products[r]
                for c in range(len(t)):
                    whole = np.float32(np.int32(product[c] + more[c]))
                    row[c] = s * (t[c] * whole + m[c] * total) + least * w[c]
