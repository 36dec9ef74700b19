"""ann.IVFPQ: inverted lists of product codes, re-ranked by the vectors (Jégou 2011; FAISS's IVFPQ with refine).

A query reads the codes of the `nprobe` nearest cells, D / 4 bytes a row in place of 4 D, and keeps the `refine` · k
rows of smallest estimated distance (pq.py). These are measured with the vectors: distances are true, and only a
candidate that the estimate left out can be missed.

Trades   The fastest of the lists here, with the fewest bytes read. Recall is bounded by what `nprobe` cells and
         `refine` · k candidates hold. The vectors stay, in memory or in a mapped file, for re-ranking.
"""

import numpy as np

from ._jit import kernel
from .distance import IP, distance
from .exact import offer
from .graph import grow
from .inputs import positive_int
from .ivf import IVF
from .kmeans import nearest_centroids
from .pq import (
    CODEWORDS,
    blocks_by_cell,
    cut,
    decode,
    encode,
    fill_table,
    pack,
    round_table,
    scan_codes,
    train_codebooks,
    unpack,
)
from .tables import expect

SAMPLE = 256 * CODEWORDS  # residuals for k-means
ENCODED = 16384  # rows at a time


class IVFPQ(IVF):
    """Inverted lists of product codes.

    lists    cells, as in IVF
    M        subvectors, an even number of at most 256; by default one for 2 dimensions
    refine   candidates, for each result wanted, that are measured exactly
    """

    def __init__(
        self,
        dim: int,
        metric: str = "cosine",
        lists: int | None = None,
        M: int | None = None,
        refine: int = 4,
        seed: int = 0,
    ):
        even = 2 * -(-positive_int(dim, "dim") // 4)
        self.M = min(even, 256) if M is None else positive_int(M, "M", 2)
        if self.M % 2 or self.M > min(even, 256):
            raise ValueError(f"M: expected an even number of at most {min(even, 256)}, got {M}")
        self.refine = positive_int(refine, "refine")
        super().__init__(dim, metric, lists, seed)

    # ---- building ----------------------------------------------------------------------------------------------------

    def _clear(self):
        super()._clear()
        self._codebooks = np.zeros((self.M, CODEWORDS, -(-self.dim // self.M)), np.float32)
        self._codes = np.empty((0, self.M // 2), np.uint8)

    def _train(self, rng):
        super()._train(rng)
        rows = self._vectors[: self._count]
        if len(rows) > SAMPLE:
            rows = rows[np.sort(rng.choice(len(rows), SAMPLE, replace=False))]
        residuals = rows - self._centroids[nearest_centroids(rows, self._centroids)[0]]
        self._codebooks = train_codebooks(residuals, self.M, rng)

    def _place(self, first):
        super()._place(first)
        self._codes = grow(self._codes, self._count)
        for start in range(first, self._count, ENCODED):
            part = slice(start, min(start + ENCODED, self._count))
            residuals = self._vectors[part] - self._centroids[self._cells[part]]
            self._codes[part] = pack(encode(cut(residuals, self.M), self._codebooks))

    def _bias(self):
        """‖ŷ‖² + 2 <c, ŷ> of every row, zero under ip; its sum is over squares, so the codes fix it."""
        bias = np.zeros(self._held, np.float32)
        if self._metric != IP:
            for start in range(0, self._held, ENCODED):
                part = slice(start, min(start + ENCODED, self._held))
                coded = decode(unpack(self._codes[part]), self._codebooks, self.dim)
                bias[part] = np.einsum("nd,nd->n", coded, coded + 2 * self._centroids[self._cells[part]])
        return bias

    def _lists(self):
        if self._listed is None:
            cells, codes = self._cells[: self._held], self._codes[: self._held]
            starts, rows, codes, bias = blocks_by_cell(cells, len(self._centroids), codes, self._bias())
            self._listed = self._codebooks.transpose(0, 2, 1).copy(), codes, bias, rows, starts
        return self._listed

    # ---- search ------------------------------------------------------------------------------------------------------

    def _scan(self, queries, nprobe, allowed, heaps):
        filtered = allowed is not None
        mask = allowed if filtered else np.empty(0, np.bool_)
        candidates = min(self.refine * heaps[0].shape[1], self._held)
        codes = *self._lists(), *self._probe(queries, nprobe), mask, filtered, candidates
        search_codes(*codes, self._metric, queries, self._vectors, self._ids, *heaps)

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        return {**super()._facts(), "M": self.M, "refine": self.refine}

    @classmethod
    def _from_facts(cls, facts):
        lists, M, refine, seed = (int(facts[name]) for name in ("lists", "M", "refine", "seed"))
        return cls(int(facts["dim"]), facts["metric"], lists or None, M, refine, seed)._set_held(facts)

    def _tables(self):
        return {**super()._tables(), "codebooks": self._codebooks, "codes": self._codes[: self._held]}

    def _restore(self, tables):
        super()._restore(tables)
        self._codebooks = expect(tables, "codebooks", np.float32, self._codebooks.shape)
        self._codes = expect(tables, "codes", np.uint8, (self._held, self.M // 2))

    def _findings(self):
        return super()._findings() + ([] if np.isfinite(self._codebooks).all() else ["a codeword is not finite"])


@kernel
def search_codes(
    turned, codes, bias, rows, starts, cells, probes, mask, filtered, candidates,
    metric, queries, vectors, row_ids, distances, ids, sizes,
):  # fmt: skip
    """Estimate, then measure: merge the best candidates of each query's cells into its heap.

    Shapes   turned: see fill_table; cells and probes (Q, P), the rest as in scan_codes; heaps as in exact.py
    """
    factor = np.float32(1.0 if metric == IP else 2.0)
    table = np.empty((turned.shape[0], turned.shape[2]), np.float32)
    look_up = np.empty(table.shape, np.uint8)
    estimates, found = np.empty(2 * candidates, np.float32), np.empty(2 * candidates, np.int64)
    for q in range(queries.shape[0]):
        fill_table(queries, q, turned, table)
        base, step = round_table(table, look_up)
        stored, asked = (codes, bias, rows, starts), (cells[q], probes[q], mask, filtered)
        size = scan_codes(look_up, base, step, factor, *stored, *asked, candidates, estimates, found)
        for place in range(size):
            row = found[place]
            d = distance(metric, queries, q, vectors, row)
            sizes[q] = offer(distances[q], ids[q], sizes[q], d, row_ids[row])
