"""ann.NSW: navigable small world, one layer of undirected links (Malkov 2014; NMSLIB's sw-graph).

A new row is linked, both ways, with the `neighbors` rows that a search finds nearest to it. Links are never taken
away: those of the early rows, made while the index was sparse, are the long ones that a walk covers distance by, and
no row can become unreachable.

Trades   The simplest graph there is, and the origin of HNSW. Without layers a walk starts far away; without pruning
         early rows collect hundreds of links, which every walk has to measure. HNSW is faster at every recall.
Differs  The paper walks greedily from m random rows and gathers k results (its Algorithm 2); here one walk starts at
         `ENTRIES` rows, spread evenly over the order of insertion, and keeps ef candidates, as NMSLIB does.
"""

from typing import NamedTuple

import numpy as np

from ._jit import inlined, kernel
from .distance import distance
from .graph import COUNT, UPPER, aligned_empty, assign_ids, grow
from .heap import before, pop, push
from .index import Index, number
from .inputs import MAX_EF, positive_int
from .tables import expect
from .threads import run_threads
from .visited import VisitedPool, next_epoch

ENTRIES = 16
WIDTH = 16  # places in a block of links: one cache line. The last one holds the next block of the row, or -1


class Links(NamedTuple):
    """The graph as the kernels take it. Row r's links are in the chain of blocks that starts at first[r]."""

    metric: int
    vectors: np.ndarray  # (N, D) float32
    first: np.ndarray  # (N,) int32
    blocks: np.ndarray  # (B, 16) int32; a chain's links come without gaps, its last places are -1
    state: np.ndarray  # see graph.py; [UPPER] counts the blocks


class NSW(Index):
    """Navigable small world graph.

    neighbors        rows that a new one is linked with: the paper's f, 3 times the inner dimension of the data
    ef_construction  candidates kept while inserting

    Removed rows stay as way-marks, and take memory and time, until `compact`.
    """

    def __init__(self, dim: int, metric: str = "cosine", neighbors: int = 15, ef_construction: int = 100):
        self.neighbors = positive_int(neighbors, "neighbors")
        self.ef_construction = max(positive_int(ef_construction, "ef_construction", most=MAX_EF), self.neighbors)
        self._visited = VisitedPool()
        super().__init__(dim, metric)

    _block_count = number(UPPER)

    def _clear(self):
        super()._clear()
        self._first = np.empty(0, np.int32)
        self._blocks = aligned_empty((0, WIDTH), np.int32)

    def _reserve(self, rows):
        super()._reserve(rows)
        self._first = grow(self._first, rows, -1)

    def _graph_of_links(self):
        return Links(self._metric, self._vectors, self._first, self._blocks, self._state)

    def _link(self, new_ids, dead):
        own = -(-self.neighbors // (WIDTH - 1))
        most = len(new_ids) * (own + self.neighbors)  # each of a row's links may open a block at the other end
        self._blocks = grow(self._blocks, self._block_count + most, -1)
        with self._visited.borrow(len(self._first)) as visited:
            names = self._ids, self._live, new_ids, dead
            insert(self._graph_of_links(), self.neighbors, self.ef_construction, *names, visited)

    def _search(self, queries, ids, distances, ef, allowed, threads):
        count, ef = self._count, min(max(ef, ids.shape[1]), len(self))
        filtered = allowed is not None
        mask, graph = allowed if filtered else np.empty(0, np.bool_), self._graph_of_links()
        size = -(-len(queries) // threads)

        def answer(start):
            part = slice(start, start + size)
            with self._visited.borrow(count) as visited:
                search(graph, queries[part], ef, mask, filtered, self._ids, ids[part], distances[part], visited)

        run_threads(answer, range(0, len(queries), size), threads)

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        return {"neighbors": self.neighbors, "ef_construction": self.ef_construction}

    @classmethod
    def _from_facts(cls, facts):
        return cls(int(facts["dim"]), facts["metric"], int(facts["neighbors"]), int(facts["ef_construction"]))

    def _tables(self):
        return {"first": self._first[: self._count], "blocks": self._blocks[: self._block_count]}

    def _restore(self, tables):
        self._first = expect(tables, "first", np.int32, (self._count,))
        self._blocks = expect(tables, "blocks", np.int32, (None, WIDTH))
        self._state[UPPER] = len(self._blocks)

    def _findings(self):
        """Every block in one chain, links in range and both ways."""
        count, first, blocks = self._count, self._first[: self._count], self._blocks[: self._block_count]
        owner, chain = np.full(len(blocks), -1, np.int64), []
        rows, heads = np.arange(count), first
        while len(rows):
            if (heads < 0).any() or (heads >= len(blocks)).any() or (owner[heads] >= 0).any():
                return [f"row {rows[0]}: a chain of blocks leads out of the table or meets another"]
            owner[heads] = rows
            if len(np.unique(heads)) != len(heads):
                return ["two rows share a block of links"]
            chain.append(heads)
            going = blocks[heads, -1] >= 0
            rows, heads = rows[going], blocks[heads[going], -1]
        if (owner < 0).any():
            return [f"block {owner.argmin()} belongs to no row"]
        links = blocks[:, :-1]
        wrong = (links < -1) | (links >= count) | (links == owner[:, None])
        if wrong.any():
            return [f"row {owner[wrong.any(axis=1).argmax()]}: a link leads out of the table or to the row itself"]
        used = links >= 0
        if (used[:, 1:] & ~used[:, :-1]).any() or (~used[:, -1] & (blocks[:, -1] != -1)).any():
            return ["a link follows the end of a list"]
        pairs = np.stack([np.repeat(owner, used.sum(axis=1)), links[used]])
        keys, back = np.sort(pairs[0] * count + pairs[1]), np.sort(pairs[1] * count + pairs[0])
        if not np.array_equal(keys, back) or (keys[1:] == keys[:-1]).any():
            return ["a link is there twice, or does not lead both ways"]
        return []


@kernel
def insert(graph, neighbors, ef, ids, live, new_ids, dead, visited):
    """Link the rows after the last one, one after the other, and name them."""
    distances, found = np.empty(ef, np.float32), np.empty(ef, np.int64)
    for n in range(new_ids.shape[0]):
        row = graph.state[COUNT] + n
        size = walk(graph, row, graph.vectors, row, distances, found, np.empty(0, np.bool_), False, visited)
        graph.first[row] = new_block(graph)
        for place in range(min(size, neighbors)):
            add_link(graph, row, found[place])
            add_link(graph, found[place], row)
    assign_ids(ids, live, graph.state, new_ids, dead)


@inlined
def new_block(graph):
    """Take the next block of the table."""
    block = graph.state[UPPER]
    graph.blocks[block, :] = np.int32(-1)
    graph.state[UPPER] += 1
    return block


@kernel
def add_link(graph, row, other):
    """Append to a row's chain of blocks."""
    block = graph.first[row]
    while graph.blocks[block, WIDTH - 1] >= 0:
        block = graph.blocks[block, WIDTH - 1]
    place = 0
    while place < WIDTH - 1 and graph.blocks[block, place] >= 0:
        place += 1
    if place == WIDTH - 1:
        following = new_block(graph)
        graph.blocks[block, WIDTH - 1] = following
        block, place = following, 0
    graph.blocks[block, place] = other


@kernel
def walk(graph, count, queries, q, distances, found, mask, filtered, visited):
    """The ef nearest of the first `count` rows that a best-first walk finds; ef is the length of `distances`.

        C ← W ← the entry points
        while C not empty:
            c ← nearest of C;  stop where c is farther than W's farthest and |W| = ef
            for e linked with c, not visited:  where e is nearer than W's farthest, or |W| < ef:
                add e to C and, if allowed, to W;  drop W's farthest where |W| > ef

    Out: W, sorted; returns |W|.
    """
    ef, epoch = distances.shape[0], next_epoch(visited)
    c_distances, c_rows, c_size = np.empty(count, np.float32), np.empty(count, np.int64), 0
    w_distances, w_rows, w_size = (
        np.empty(ef + 1, np.float32),
        np.empty(ef + 1, np.int64),
        0,
    )  # negated: farthest on top
    met = np.empty(max(WIDTH - 1, ENTRIES), np.int64)
    for entry in range(min(ENTRIES, count)):
        met[entry] = entry * count // min(ENTRIES, count)
        visited[met[entry] + 1] = epoch
    size, block = min(ENTRIES, count), np.int64(-1)
    while True:
        for place in range(size):
            e = met[place]
            d = distance(graph.metric, queries, q, graph.vectors, e)
            if w_size < ef or before(d, e, -w_distances[0], -w_rows[0]):
                c_size = push(c_distances, c_rows, c_size, d, e)
                if not filtered or mask[e]:
                    w_size = push(w_distances, w_rows, w_size, -d, -e)
                    if w_size > ef:
                        w_size = pop(w_distances, w_rows, w_size)
        if block < 0:  # the row's links are done: on to the nearest candidate
            if c_size == 0 or (w_size == ef and before(-w_distances[0], -w_rows[0], c_distances[0], c_rows[0])):
                break
            block = np.int64(graph.first[c_rows[0]])
            c_size = pop(c_distances, c_rows, c_size)
        size = 0
        for place in range(WIDTH - 1):
            e = np.int64(graph.blocks[block, place])
            if e < 0:
                break
            if visited[e + 1] != epoch:
                visited[e + 1] = epoch
                met[size] = e
                size += 1
        block = np.int64(graph.blocks[block, WIDTH - 1])
    size = w_size
    while w_size > 0:
        distances[w_size - 1], found[w_size - 1] = -w_distances[0], -w_rows[0]
        w_size = pop(w_distances, w_rows, w_size)
    return size


@kernel
def search(graph, queries, ef, mask, filtered, row_ids, ids, distances, visited):
    """The k nearest rows of each query, equal distances by smaller id. Shapes: ids, distances (Q, k)"""
    near, found = np.empty(ef, np.float32), np.empty(ef, np.int64)
    for q in range(queries.shape[0]):
        size = walk(graph, graph.state[COUNT], queries, q, near, found, mask, filtered, visited)
        for place in range(size):
            found[place] = row_ids[found[place]]
        # rows at one distance come by row: sort them by id
        for place in range(1, size):
            d, label, hole = near[place], found[place], place
            while hole > 0 and before(d, label, near[hole - 1], found[hole - 1]):
                near[hole], found[hole] = near[hole - 1], found[hole - 1]
                hole -= 1
            near[hole], found[hole] = d, label
        for place in range(min(size, ids.shape[1])):
            ids[q, place], distances[q, place] = found[place], near[place]
