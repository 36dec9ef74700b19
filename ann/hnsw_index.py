"""ann.HNSW: the index around the kernels of hnsw.py."""

from copy import copy
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from .consolidate import bypass, drop_removed, settle_copies
from .exact import exact_search
from .graph import ENTRY, GONE, UPPER, VACANT, Graph, aligned_empty, grow, list_width
from .hnsw import Parameters, choose_neighbors, commit, find_neighbors, link_back
from .hnsw_search import search_batch
from .index import CHUNK, Index, number
from .inputs import MAX_EF, positive_int
from .quantize import BITS, Quantizer, refined, walk_metric, width
from .threads import run_threads
from .visited import LANES, VisitedPool

BATCH = 256  # rows inserted together at most: each is compared with all those before it
MAX_LEVEL = 60  # beyond any level that a 64-bit uniform draw can give with M ≥ 2


class HNSW(Index):
    """Hierarchical navigable small world graph: approximate search in about logarithmic time.

    M                links a new row gets on each layer (2 M on layer 0): 8-48, more for higher recall and width
    ef_construction  candidates kept while inserting: 100-500, more makes a better graph and a slower build
    seed             of the levels: the same seed and the same calls give the same file, byte for byte, on any threads
    quantize         None, "int8" or "int4": build and walk on codes (quantize.py), measure the nearest exactly. Needs
                     D or D / 2 bytes a row more, for a search two to four times as fast
    heuristic        choose neighbours by Algorithm 4, with its extend_candidates and keep_pruned; else by Algorithm 3
    """

    def __init__(
        self,
        dim: int,
        metric: str = "cosine",
        M: int = 16,
        ef_construction: int = 200,
        seed: int = 0,
        quantize: str | None = None,
        heuristic: bool = True,
        extend_candidates: bool = False,
        keep_pruned: bool = True,
    ):
        M, ef_construction = positive_int(M, "M", 2), positive_int(ef_construction, "ef_construction", most=MAX_EF)
        flags = bool(heuristic), bool(extend_candidates), bool(keep_pruned)
        if quantize not in BITS:
            raise ValueError(f'quantize: expected None, "int8" or "int4", got {quantize!r}')
        self._parameters = Parameters(M, 2 * M, max(ef_construction, M), *flags)
        self.seed, self.quantize, self._bits = positive_int(seed, "seed", 0), quantize, BITS[quantize]
        self._visited = VisitedPool(LANES)
        super().__init__(dim, metric)

    @property
    def M(self) -> int:
        """Links a new row gets on each layer."""
        return self._parameters.M

    @property
    def ef_construction(self) -> int:
        """Candidates kept while inserting."""
        return self._parameters.ef_construction

    _upper_count, _entry_point, _vacant_count = number(UPPER), number(ENTRY), number(VACANT)

    # ---- storage -----------------------------------------------------------------------------------------------------

    def _clear(self):
        super()._clear()
        widths = list_width(self._parameters.M_max0), list_width(self.M)
        self._neighbors0, self._upper = (aligned_empty((0, width), np.int32) for width in widths)
        self._upper_start, self._levels = np.empty(0, np.int32), np.empty(0, np.int8)
        self._parent, self._copies = np.empty(0, np.int32), np.empty(0, np.int32)
        self._fitted = 0
        if self._bits:
            self._quantizer = Quantizer(self._bits, self._metric, np.zeros(self.dim, np.float32), 1.0)
            self._codes = aligned_empty((0, width(self._bits, self.dim)), np.int8 if self._bits == 8 else np.uint8)

    def _reserve(self, rows):
        super()._reserve(rows)
        self._neighbors0 = grow(self._neighbors0, rows, -1)
        self._upper_start, self._parent, self._copies = (
            grow(a, rows, -1) for a in (self._upper_start, self._parent, self._copies)
        )
        self._levels = grow(self._levels, rows, 0)
        if self._bits:
            self._codes = grow(self._codes, rows)

    def _graph(self):
        """The arrays as the kernels take them."""
        points = self._codes if self._bits else self._vectors
        measured = self._metric, self._vectors, walk_metric(self._bits, self._metric), points
        links = self._neighbors0, self._upper, self._upper_start
        return Graph(*measured, *links, self._levels, self._parent, self._copies, self._state)

    # ---- Algorithm 1 -------------------------------------------------------------------------------------------------

    def _append(self, vectors, ids, threads=1, progress=False):
        """Add checked, normalized rows, batch by batch: a batch searches the graph of those before."""
        threads = positive_int(threads, "threads")
        self._reserve(self._count + max(0, len(vectors) - self._vacant_count))
        if self._bits and len(vectors):
            self._fit(vectors)
        vectors += np.float32(0.0)  # -0.0 becomes 0.0: equal rows then have equal bytes
        start = 0
        with tqdm(total=len(vectors), unit="row", disable=not progress) as bar:
            while start < len(vectors):
                rows = self._places(len(vectors) - start)
                batch, new_ids = vectors[start : start + len(rows)], ids[start : start + len(rows)]
                self._vectors[rows] = batch
                if self._bits:
                    self._codes[rows] = self._quantizer.encode(batch)
                self._take_over(rows, new_ids, partial(self._insert_batch, rows, new_ids, threads))
                start += len(rows)
                bar.update(len(rows))
        self._removed()

    def _fit(self, vectors):
        """Fit the codes to the rows and those to come, where these are the first, double them or leave the range."""
        if len(self) + len(vectors) < 2 * self._fitted and self._quantizer.suits(vectors):
            return
        live = self._vectors[: self._count][self._live[: self._count]]
        quantizer = Quantizer.fit(self._bits, self._metric, np.concatenate([live, vectors]))
        codes = aligned_empty(self._codes.shape, self._codes.dtype)
        for start in range(0, self._count, CHUNK):
            part = slice(start, min(start + CHUNK, self._count))
            codes[part] = quantizer.encode(self._vectors[part])
        fitted = {"_quantizer": quantizer, "_codes": codes, "_fitted": len(live) + len(vectors)}
        self._lock.exclusively(vars(self).update, fitted)

    def _places(self, most):
        """Rows for the next batch: vacant ones, else new ones; 2 % of those there are, one by one below a hundred.

        A row that rises above the top layer ends its batch, so that the next find it there.
        """
        size = min(most, max(1, min(BATCH, self._count // 50)))
        vacant = np.flatnonzero(self._parent[: self._count] == GONE)[:size] if self._vacant_count else ()
        if len(vacant):
            return vacant  # levels stay with the places, and the top layer has been built for them
        rows = np.arange(self._count, self._count + size)
        levels = draw_levels(self.seed, self._count, self._count + size, self.M)
        above = levels > (self._levels[self._entry_point] if self._entry_point >= 0 else -1)
        return rows[: above.argmax() + 1] if above.any() else rows

    def _insert_batch(self, rows, new_ids, threads, dead):
        if rows[0] >= self._count:
            self._make_levels(rows)
        graph, parameters, size = self._graph(), self._parameters, len(rows)
        threads = min(threads, size)
        W, sizes = np.empty((size, self.ef_construction), np.uint64), np.zeros(size, np.int64)
        originals, chosen = np.full(size, -1, np.int64), np.full((size, self.M), -1, np.int32)
        share = -(-size // threads)

        def find(start):
            part = slice(start, start + share)
            with self._visited.borrow(len(self._parent)) as visited:
                find_neighbors(graph, parameters, rows[part], W[part], sizes[part], originals[part], visited)

        def choose(start):
            stop = min(start + share, size)
            with self._visited.borrow(len(self._parent)) as visited:
                choose_neighbors(graph, parameters, rows, start, stop, W, sizes, originals, chosen, visited[0])

        def enter():
            commit(graph, parameters, rows, W, sizes, originals, chosen, self._ids, self._live, new_ids, dead)
            run_threads(link, range(threads), threads)  # an interrupt here costs only some links

        def link(part):
            link_back(graph, parameters, rows, chosen, part, threads)

        if self._entry_point >= 0:
            run_threads(find, range(0, size, share), threads)
        copies_in_batch(self._vectors[rows], rows, originals)
        run_threads(choose, range(0, size, share), threads)
        self._lock.exclusively(enter)

    def _make_levels(self, rows):
        """Draw the levels of new rows and make room for their upper lists."""
        start, stop = int(rows[0]), int(rows[-1]) + 1
        levels = draw_levels(self.seed, start, stop, self.M)
        end = self._upper_count + np.cumsum(levels, dtype=np.int64)
        self._levels[start:stop] = levels
        self._upper_start[start:stop] = np.where(levels > 0, end - levels, -1)
        self._upper = grow(self._upper, int(end[-1]), -1)

    # ---- removal -----------------------------------------------------------------------------------------------------

    def _has_removed(self):
        return len(self) + self._vacant_count < self._count

    def _removed(self):
        super()._removed()
        self._consolidate()

    def _consolidate(self, threads=1):
        """Drop the removed rows from the graph, where they are more than an eighth of it (consolidate.py)."""
        count, gone = self._count, self._count - len(self) - self._vacant_count
        if gone * 8 <= len(self):
            return
        fresh = copy(self)
        for name in ("_ids", "_live", "_upper", "_parent", "_copies", "_state"):
            setattr(fresh, name, getattr(self, name).copy())
        fresh._rows, fresh._neighbors0 = None, aligned_empty(self._neighbors0.shape, np.int32)
        fresh._neighbors0[:] = self._neighbors0
        graph, live = fresh._graph(), fresh._live
        settle_copies(graph, fresh._ids, live)
        old = graph._replace(neighbors0=self._neighbors0, upper=self._upper)

        def mend(start):
            with self._visited.borrow(count) as visited:
                bypass(old, self._parameters, graph, live, start, min(start + CHUNK, count), visited[0])

        run_threads(mend, range(0, count, CHUNK), threads)
        drop_removed(graph, self._parameters, live)
        self._lock.exclusively(vars(self).update, vars(fresh))

    # ---- Algorithm 5 -------------------------------------------------------------------------------------------------

    def _search(self, queries, ids, distances, ef, allowed, threads):
        count, ef, k = self._count, max(ef, ids.shape[1]), ids.shape[1]
        filtered = allowed is not None
        matching = int(allowed.sum()) if filtered else len(self)
        if filtered and self._better_exact(matching, ef):
            rows = np.flatnonzero(allowed)
            found = exact_search(self._metric, queries, self._vectors, self._ids, rows, k, threads)
            ids[:], distances[:] = found
            return
        graph, row_ids = self._graph(), self._ids[:count]
        sifted = filtered and matching * 8 >= count * 7
        allowed = allowed if filtered else np.empty(0, np.bool_)
        points = self._quantizer.encode_queries(queries) if self._bits else queries
        ef, measured = min(ef, count), refined(self._bits, k)
        size = -(-len(queries) // (1 if threads == 1 else 4 * threads))

        def answer(start):
            part = slice(start, start + size)
            asked, out = (queries[part], points[part], ef, measured), (ids[part], distances[part])
            with self._visited.borrow(count) as visited:
                search_batch(graph, *asked, allowed, filtered, sifted, row_ids, *out, visited)

        run_threads(answer, range(0, len(queries), size), threads)

    def scans(self, k: int, allowed: int | None = None) -> bool:
        """Whether a search for k among so many allowed rows, by default all, compares with each and so is exact."""
        filtered = allowed is not None or self._has_removed()
        return filtered and self._better_exact(len(self) if allowed is None else allowed, max(self.effort, k))

    def _better_exact(self, allowed, ef):
        """Whether comparing with all allowed rows is faster than a walk that has to pass the others.

        The walk expands about ef N / allowed rows. Measured for N of 10k to 40k, D of 32 to 384, ef of 20 to 200: at
        ef 64 the two take the same time at 2 to 5 allowed rows in 10, at fewer for one query a call than for 200.
        """
        return allowed * allowed <= 32 * ef * self._count

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        facts = {name: int(value) for name, value in self._parameters._asdict().items() if name != "M_max0"}
        facts.update(seed=self.seed, entry_point=self._entry_point, bits=self._bits, fitted=self._fitted)
        return facts

    @classmethod
    def _from_facts(cls, facts):
        names = ("M", "ef_construction", "seed", "heuristic", "extend_candidates", "keep_pruned")
        quantize = {bits: name for name, bits in BITS.items()}[int(facts.get("bits", 0))]
        options: dict[str, Any] = {name: int(facts[name]) for name in names}
        index = cls(int(facts["dim"]), facts["metric"], quantize=quantize, **options)
        index._state[ENTRY], index._fitted = int(facts["entry_point"]), int(facts.get("fitted", 0))
        return index

    def _tables(self):
        count = self._count
        tables = {
            "neighbors0": self._neighbors0[:count],
            "upper": self._upper[: self._upper_count],
            "upper_start": self._upper_start[:count],
            "parent": self._parent[:count],
            "copies": self._copies[:count],
            "levels": self._levels[:count],
        }
        if self._bits:
            offset, step = self._quantizer.offset, np.array([self._quantizer.step])
            tables.update(codes=self._codes[:count], offset=offset, step=step)
        return tables

    def _restore(self, tables):
        for name, table in self._tables().items():
            got = tables[name]
            rows = {"upper": len(got), "offset": self.dim, "step": 1}.get(name, self._count)
            shape = rows, *table.shape[1:]
            if got.dtype != table.dtype or got.shape != shape:
                raise ValueError(f"{name}: expected {table.dtype} {shape}, got {got.dtype} {got.shape}")
            if name not in ("offset", "step"):
                setattr(self, f"_{name}", got)
        if self._bits:
            self._quantizer = Quantizer(self._bits, self._metric, tables["offset"], tables["step"][0])
        self._state[UPPER] = len(self._upper)
        self._state[VACANT] = (self._parent == GONE).sum()


def copies_in_batch(vectors: np.ndarray, rows: np.ndarray, originals: np.ndarray) -> None:
    """Rows equal to an earlier one of their batch: their original is that row, or its original."""
    _, first, which = np.unique(vectors.view(f"V{vectors.strides[0]}")[:, 0], return_index=True, return_inverse=True)
    again = np.flatnonzero((first[which] != np.arange(len(rows))) & (originals < 0))
    of = first[which][again]
    originals[again] = np.where(originals[of] >= 0, originals[of], rows[of])


def draw_levels(seed: int, start: int, stop: int, M: int) -> np.ndarray:
    """Levels of rows start … stop - 1: floor(-ln(u) m_L), m_L = 1 / ln(M), u uniform in (0, 1].

    Row r takes the r-th draw of the generator, so that adding in any batches gives the same levels.
    """
    m_L = 1.0 / np.log(M)
    u = 1.0 - np.random.Generator(np.random.PCG64(seed).advance(start)).random(stop - start)
    return np.minimum(-np.log(u) * m_L, MAX_LEVEL).astype(np.int8)
