"""How a store keeps its vectors: as they are, or a quarter of that.

    float32    4 D bytes, little-endian
    int8       scale = max_t |x_t| / 127, 4 bytes, then round(x_t / scale), D bytes: |x_t − scale · code_t| ≤ scale / 2

A score of a question of length 1 is then off by at most ½ · scale · √D. Measured on 9,800 of MiniLM: by 0.0004
(standard deviation), 0.0023 at most; of each ten nearest 9.95 are the same. The codes are the truth from then on: every
index is built from them, and exact search compares them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np

from minibert.retrieval.schema import SEE, StoreError

PRECISIONS = ("float32", "int8")
TOP = 127


class Codec:
    """Rows of `dim` numbers as bytes, and back."""

    def __init__(self, dim: int, precision: str = "float32"):
        if precision not in PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(map(repr, PRECISIONS))}, got {precision!r:.40}")
        self.dim, self.precision = dim, precision

    @property
    def size(self) -> int:
        """Bytes of a vector."""
        return 4 * self.dim if self.precision == "float32" else 4 + self.dim

    def pack(self, vectors: np.ndarray) -> list[bytes]:
        """Shapes: vectors (n, dim) float32, finite."""
        if self.precision == "float32":
            return [row.tobytes() for row in np.ascontiguousarray(vectors, "<f4")]
        scales = np.abs(vectors).max(axis=1, keepdims=True).astype("<f4") / np.float32(TOP)
        codes = np.rint(vectors / np.where(scales > 0, scales, 1)).clip(-TOP, TOP).astype(np.int8)
        return [scale.tobytes() + row.tobytes() for scale, row in zip(scales, codes, strict=True)]

    def unpack(self, blobs: Sequence[bytes]) -> np.ndarray:
        """(n, dim) float32 of what `pack` made.

        Raises   ValueError: bytes of another size
        """
        rows = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), self.size)
        if self.precision == "float32":
            return rows.view("<f4")
        return np.ascontiguousarray(rows[:, :4]).view("<f4") * rows[:, 4:].view(np.int8)

    def read(self, db: sqlite3.Connection, numbers: Sequence[int]) -> np.ndarray:
        """The stored vectors of chunks, (n, dim), in the order of their numbers given.

        Raises   StoreError: one that is missing or none
        """
        sql = "SELECT chunk, vector FROM vectors WHERE chunk IN (SELECT value FROM json_each(?))"
        blobs = dict(db.execute(sql, (json.dumps(numbers),)))
        try:
            vectors = self.unpack([blobs[number] for number in numbers])
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(f"vectors are missing or damaged: {SEE}") from error
        if not np.isfinite(vectors).all():
            raise StoreError(f"vectors are not finite: {SEE}")
        return vectors
