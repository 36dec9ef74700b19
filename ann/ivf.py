"""ann.IVF: inverted lists, the index that FAISS calls IVFFlat (Sivic & Zisserman 2003; Jégou 2011, section IV).

k-means divides the space into cells, each with a list of the rows in it. A query is compared with the centroids, then
with all rows of the `nprobe` nearest cells.

Trades   Few numbers beside the vectors (one a row), fast to build, easy to change. Slower than a graph at equal
         recall: a cell is read whole, and a neighbour just across its border is missed.
Differs  Cells are probed by squared distance under cosine too (rows and queries have length 1), under ip by inner
         product with the centroid, which is the mean inner product with the rows of the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._jit import kernel
from .distance import IP, L2, distance
from .exact import exact_search, offer
from .fitted import HELD, Fitted
from .graph import grow
from .inputs import Allow, positive_int
from .kmeans import kmeans, nearest_centroids
from .tables import expect

if TYPE_CHECKING:
    from .recall import Recall


class IVF(Fitted):
    """Inverted lists over k-means cells.

    lists    cells; by default 4 √N when it is fitted, with 39 rows a cell at least
    seed     of k-means: the same seed and the same adds give the same file
    """

    knob, effort = "nprobe", 8

    def __init__(self, dim: int, metric: str = "cosine", lists: int | None = None, seed: int = 0):
        self.lists = None if lists is None else positive_int(lists, "lists")
        self.seed = positive_int(seed, "seed", 0)
        super().__init__(dim, metric)

    def search(
        self, queries: ArrayLike, k: int = 10, nprobe: int | None = None, allow: Allow | None = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest live rows among those of the `nprobe` nearest cells of each query; else as Index.search."""
        return self._answer(queries, k, nprobe, allow, threads)

    def recall(
        self,
        queries: ArrayLike | None = None,
        k: int = 10,
        nprobe: int | None = None,
        allow: Allow | None = None,
        threads: int = 1,
        sample: int = 1000,
    ) -> Recall:
        """As Index.recall."""
        return self._certify(queries, k, nprobe, allow, threads, sample)

    @property
    def _most_effort(self):
        return max(1, len(self._centroids))

    # ---- building ----------------------------------------------------------------------------------------------------

    def _clear(self):
        super()._clear()
        self._centroids = np.empty((0, self.dim), np.float32)
        self._cells = np.empty(0, np.int32)  # the cell of each row
        self._listed = None

    def _fit(self):
        self._train(np.random.default_rng(self.seed))
        self._place(0)

    def _train(self, rng):
        lists = self.lists or round(4 * np.sqrt(self._count))
        lists = min(lists, self._count if self.lists else max(1, self._count // 39))
        self._centroids = kmeans(self._vectors[: self._count], lists, rng)

    def _extend(self):
        self._place(self._held)
        self._listed = None
        self._state[HELD] = self._count

    def _place(self, first):
        """Find the cells of the rows from the first one on."""
        self._cells = grow(self._cells, self._count)
        self._cells[first : self._count] = nearest_centroids(self._vectors[first : self._count], self._centroids)[0]

    def _lists(self):
        """The rows, cell by cell, and where each cell's start; built when they are first needed after a change."""
        if self._listed is None:
            self._listed = sort_by_cell(self._cells[: self._held], len(self._centroids))
        return self._listed

    # ---- search ------------------------------------------------------------------------------------------------------

    def _probe(self, queries, nprobe):
        """The nearest cells of each query, and their distances. Shapes: → (Q, nprobe) int64, (Q, nprobe) float32"""
        cells = np.arange(len(self._centroids))
        metric = IP if self._metric == IP else L2
        return exact_search(metric, queries, self._centroids, cells, cells, min(nprobe, len(cells)))

    def _scan(self, queries, nprobe, allowed, heaps):
        cells, _ = self._probe(queries, nprobe)
        # list by list, so that a list's rows are in the cache for all the queries that want them
        pairs = np.argsort(cells, axis=None, kind="stable")
        filtered = allowed is not None
        mask = allowed if filtered else np.empty(0, np.bool_)
        asking = pairs // cells.shape[1], cells.reshape(-1)[pairs]
        scan_lists(
            self._metric,
            queries,
            self._vectors,
            self._ids[: self._count],
            *self._lists(),
            *asking,
            mask,
            filtered,
            *heaps,
        )

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        return {**super()._facts(), "lists": self.lists or 0}

    @classmethod
    def _from_facts(cls, facts):
        return cls(
            int(facts["dim"]), facts["metric"], lists=int(facts["lists"]) or None, seed=int(facts["seed"])
        )._set_held(facts)

    def _tables(self):
        return {"centroids": self._centroids, "cells": self._cells[: self._held]}

    def _restore(self, tables):
        self._centroids = expect(tables, "centroids", np.float32, (None, self.dim))
        self._cells = expect(tables, "cells", np.int32, (self._held,))

    def _findings(self):
        """Every row held is in a cell."""
        cells = self._cells[: self._held]
        if not np.isfinite(self._centroids).all():
            return ["a centroid is not finite"]
        wrong = (cells < 0) | (cells >= len(self._centroids))
        return [f"row {wrong.argmax()} is in cell {cells[wrong.argmax()]}, which there is not"] if wrong.any() else []


@kernel
def sort_by_cell(cells, count):
    """Rows in the order of their cells, and where each cell's start: a counting sort. Shapes: → (N,), (count + 1,)"""
    starts = np.zeros(count + 1, np.int64)
    for n in range(cells.shape[0]):
        starts[cells[n] + 1] += 1
    for c in range(count):
        starts[c + 1] += starts[c]
    rows, place = np.empty(cells.shape[0], np.int64), starts.copy()
    for n in range(cells.shape[0]):
        rows[place[cells[n]]] = n
        place[cells[n]] += 1
    return rows, starts


@kernel
def scan_lists(metric, queries, vectors, row_ids, rows, starts, asking, cells, mask, filtered, distances, ids, sizes):
    """Merge the rows of cell cells[i] into the heaps of query asking[i], for every i.

    Shapes   rows (N,), starts (C + 1,): see sort_by_cell; asking, cells (P,); mask (N,) where filtered; heaps: exact.py
    """
    for i in range(asking.shape[0]):
        q = asking[i]
        for place in range(starts[cells[i]], starts[cells[i] + 1]):
            row = rows[place]
            if filtered and not mask[row]:
                continue
            d = distance(metric, queries, q, vectors, row)
            sizes[q] = offer(distances[q], ids[q], sizes[q], d, row_ids[row])
