"""ann.HNSW: the index around the kernels of hnsw.py."""

import numpy as np

from .exact import exact_search
from .graph import ENTRY, UPPER, Graph, aligned_empty, grow, list_width
from .hnsw import Parameters, insert_batch, search_batch
from .index import Index, number
from .inputs import positive_int
from .threads import run_threads
from .visited import VisitedPool

MAX_LEVEL = 60  # beyond any level that a 64-bit uniform draw can give with M ≥ 2


class HNSW(Index):
    """Hierarchical navigable small world graph: approximate search in about logarithmic time.

    M                links a new row gets on each layer (2 M on layer 0): 8-48, more for higher recall and width
    ef_construction  candidates kept while inserting: 100-500, more makes a better graph and a slower build
    seed             of the levels: the same seed and the same adds give the same file, byte for byte
    heuristic        choose neighbours by Algorithm 4, with its extend_candidates and keep_pruned; else by Algorithm 3

    Removed rows stay as way-marks, and take memory and time, until `compact`.
    """

    def __init__(
        self,
        dim,
        metric="cosine",
        M=16,
        ef_construction=200,
        seed=0,
        heuristic=True,
        extend_candidates=False,
        keep_pruned=True,
    ):
        M, ef_construction = positive_int(M, "M", 2), positive_int(ef_construction, "ef_construction")
        flags = bool(heuristic), bool(extend_candidates), bool(keep_pruned)
        self._parameters = Parameters(M, 2 * M, max(ef_construction, M), *flags)
        self.seed = positive_int(seed, "seed", 0)
        self._visited = VisitedPool()
        super().__init__(dim, metric)

    @property
    def M(self):
        """Links a new row gets on each layer."""
        return self._parameters.M

    @property
    def ef_construction(self):
        """Candidates kept while inserting."""
        return self._parameters.ef_construction

    _upper_count, _entry_point = number(UPPER), number(ENTRY)

    # ---- storage -----------------------------------------------------------------------------------------------------

    def _clear(self):
        super()._clear()
        widths = list_width(self._parameters.M_max0), list_width(self.M)
        self._neighbors0, self._upper = (aligned_empty((0, width), np.int32) for width in widths)
        self._upper_start, self._levels = np.empty(0, np.int32), np.empty(0, np.int8)
        self._parent, self._copies = np.empty(0, np.int32), np.empty(0, np.int32)

    def _reserve(self, rows):
        super()._reserve(rows)
        self._neighbors0 = grow(self._neighbors0, rows, -1)
        self._upper_start, self._parent, self._copies = (
            grow(a, rows, -1) for a in (self._upper_start, self._parent, self._copies)
        )
        self._levels = grow(self._levels, rows, 0)

    def _graph(self):
        """The arrays as the kernels take them."""
        links = self._neighbors0, self._upper, self._upper_start
        return Graph(self._metric, self._vectors, *links, self._levels, self._parent, self._copies, self._state)

    # ---- Algorithm 1 -------------------------------------------------------------------------------------------------

    def _link(self, new_ids, dead):
        start, upper_count = self._count, self._upper_count
        stop = start + len(new_ids)
        levels = draw_levels(self.seed, start, stop, self.M)
        end = upper_count + np.cumsum(levels, dtype=np.int64)
        self._levels[start:stop] = levels
        self._upper_start[start:stop] = np.where(levels > 0, end - levels, -1)
        self._upper = grow(self._upper, int(end[-1]), -1)
        names = self._ids, self._live, new_ids, dead
        with self._visited.borrow(len(self._parent)) as visited:
            insert_batch(self._graph(), self._parameters, *names, visited)

    # ---- Algorithm 5 -------------------------------------------------------------------------------------------------

    def _search(self, queries, ids, distances, ef, allowed, threads):
        count, ef = self._count, max(ef, ids.shape[1])
        filtered = allowed is not None
        if filtered and self._better_exact(int(allowed.sum()), ef):
            rows = np.flatnonzero(allowed)
            found = exact_search(self._metric, queries, self._vectors, self._ids, rows, ids.shape[1], threads)
            ids[:], distances[:] = found
            return
        graph, row_ids = self._graph(), self._ids[:count]
        allowed = allowed if filtered else np.empty(0, np.bool_)
        ef = min(ef, count)
        size = -(-len(queries) // (1 if threads == 1 else 4 * threads))

        def answer(start):
            part = slice(start, start + size)
            out = ids[part], distances[part]
            with self._visited.borrow(count) as visited:
                search_batch(graph, queries[part], ef, allowed, filtered, row_ids, *out, visited)

        run_threads(answer, range(0, len(queries), size), threads)

    def _better_exact(self, allowed, ef):
        """Whether comparing with all allowed rows is faster than a walk that has to pass the others.

        The walk expands about ef N / allowed rows. Measured for N of 10k to 40k, D of 32 to 384, ef of 20 to 200: at
        ef 64 the two take the same time at 2 to 5 allowed rows in 10, at fewer for one query a call than for 200.
        """
        return allowed * allowed <= 32 * ef * self._count

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        facts = {name: int(value) for name, value in self._parameters._asdict().items() if name != "M_max0"}
        return {**facts, "seed": self.seed, "entry_point": self._entry_point}

    @classmethod
    def _from_facts(cls, facts):
        names = ("M", "ef_construction", "seed", "heuristic", "extend_candidates", "keep_pruned")
        index = cls(int(facts["dim"]), facts["metric"], **{name: int(facts[name]) for name in names})
        index._state[ENTRY] = int(facts["entry_point"])
        return index

    def _tables(self):
        count = self._count
        return {
            "neighbors0": self._neighbors0[:count],
            "upper": self._upper[: self._upper_count],
            "upper_start": self._upper_start[:count],
            "parent": self._parent[:count],
            "copies": self._copies[:count],
            "levels": self._levels[:count],
        }

    def _restore(self, tables):
        for name, table in self._tables().items():
            got = tables[name]
            rows = len(got) if name == "upper" else self._count
            if got.dtype != table.dtype or got.shape != (rows, *table.shape[1:]):
                raise ValueError(
                    f"{name}: expected {table.dtype} {(rows, *table.shape[1:])}, got {got.dtype} {got.shape}"
                )
            setattr(self, f"_{name}", got)
        self._state[UPPER] = len(self._upper)


def draw_levels(seed, start, stop, M):
    """Levels of rows start … stop - 1: floor(-ln(u) m_L), m_L = 1 / ln(M), u uniform in (0, 1].

    Row r takes the r-th draw of the generator, so that adding in any batches gives the same levels.
    """
    m_L = 1.0 / np.log(M)
    u = 1.0 - np.random.Generator(np.random.PCG64(seed).advance(start)).random(stop - start)
    return np.minimum(-np.log(u) * m_L, MAX_LEVEL).astype(np.int8)
