"""ann.RPForest: a forest of trees that halve the space by hyperplanes (Annoy; Dasgupta & Freund 2008).

A leaf of a tree holds up to 64 rows. When it is full it is split by the plane midway between two means of its rows,
and becomes a node with two leaves. Trees differ by the order in which rows come to them and by the rows that the two
means start from. A search walks all trees at once: of all branches left aside so far, it takes next the one whose
plane is nearest to the query, until `search_k` rows have been measured.

    margin(x) = <plane, x> + offset
    priority of a branch = the least margin on the way to it, negative where the way crosses a plane

Trades   Quick to build and to add to, and a search stops after as many rows as one likes. A graph's search measures
         a tenth of the rows at equal recall.
Differs  Annoy builds each tree from all rows at once and cannot add to it; here trees grow row by row, in random
         order when the forest is fitted. Annoy gathers search_k rows, then measures them; here each is measured when
         it is met. Under ip the planes divide the vectors as they are; long vectors are found less well than by
         Annoy's transform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._jit import inlined, kernel
from .distance import distance, inner_product, squared_l2
from .exact import offer
from .fitted import HELD, Fitted
from .graph import grow
from .heap import pop, push
from .inputs import Allow, positive_int
from .simd import prefetch
from .tables import expect
from .visited import VisitedPool, next_epoch

if TYPE_CHECKING:
    from .recall import Recall

LEAF = 64
STEPS = 4  # of two-means: splits hardly change after
MOST_TREES = 10_000  # each takes room from the first row on: a file must not declare a billion
CHUNK = 256  # rows between two moments at which Ctrl-C can take effect


class Trees(NamedTuple):
    """The forest as the kernels take it. A child c ≥ 0 is the node c, a negative one the leaf -1 - c; so are roots."""

    roots: np.ndarray  # (T,) int32
    planes: np.ndarray  # (S, D) float32, of length 1; zero where equal rows were dealt out to both sides
    offsets: np.ndarray  # (S,) float32
    children: np.ndarray  # (S, 2) int32: where the margin is ≤ 0, and where it is > 0
    leaves: np.ndarray  # (L, 64) int32; places beyond the size are -1
    sizes: np.ndarray  # (L,) int32
    used: np.ndarray  # (2,) int64: how many nodes and leaves there are


class RPForest(Fitted):
    """Random-projection forest.

    trees    more find more and take more memory: about 8 + D / 8 bytes a row for each
    seed     of orders and splits: the same seed and the same adds give the same file
    """

    knob, effort = "search_k", 1000

    def __init__(self, dim: int, metric: str = "cosine", trees: int = 16, seed: int = 0):
        self.trees = positive_int(trees, "trees")
        if self.trees > MOST_TREES:
            raise ValueError(f"trees: expected at most {MOST_TREES}, got {trees}")
        self.seed = positive_int(seed, "seed", 0)
        self._visited = VisitedPool()
        super().__init__(dim, metric)

    def search(
        self, queries: ArrayLike, k: int = 10, search_k: int | None = None, allow: Allow | None = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of some `search_k` rows that the trees lead to (at least k); else as Index.search."""
        return self._answer(queries, k, search_k, allow, threads)

    def recall(
        self,
        queries: ArrayLike | None = None,
        k: int = 10,
        search_k: int | None = None,
        allow: Allow | None = None,
        threads: int = 1,
        sample: int = 1000,
    ) -> Recall:
        """As Index.recall."""
        return self._certify(queries, k, search_k, allow, threads, sample)

    # ---- building ----------------------------------------------------------------------------------------------------

    def _clear(self):
        super()._clear()
        self._forest = Trees(
            np.arange(-1, -1 - self.trees, -1, dtype=np.int32),
            np.empty((0, self.dim), np.float32),
            np.empty(0, np.float32),
            np.empty((0, 2), np.int32),
            np.full((self.trees, LEAF), -1, np.int32),
            np.zeros(self.trees, np.int32),
            np.array([0, self.trees]),
        )

    def _reserve_nodes(self, more):
        """Room for so many splits."""
        f = self._forest
        nodes, leaves = (f.used + more).tolist()
        planes, offsets, children = (grow(table, nodes) for table in (f.planes, f.offsets, f.children))
        self._forest = Trees(
            f.roots, planes, offsets, children, grow(f.leaves, leaves, -1), grow(f.sizes, leaves, 0), f.used
        )

    def _fit(self):
        rng = np.random.default_rng(self.seed)
        for tree in range(self.trees):
            order = rng.permutation(self._count)
            for start in range(0, self._count, CHUNK):
                rows = order[start : start + CHUNK]
                self._reserve_nodes(len(rows))
                insert(self._forest, tree, self._vectors, rows, rng.integers(2**31, size=len(rows)))

    def _extend(self):
        while self._held < self._count:
            rng = np.random.default_rng([self.seed, self._held])
            rows = np.arange(self._held, min(self._held + CHUNK, self._count))
            self._reserve_nodes(len(rows) * self.trees)
            extend(self._forest, self._vectors, rows, rng.integers(2**31, size=(self.trees, len(rows))), self._state)

    # ---- search ------------------------------------------------------------------------------------------------------

    def _scan(self, queries, search_k, allowed, heaps):
        filtered = allowed is not None
        mask, least = allowed if filtered else np.empty(0, np.bool_), max(search_k, heaps[0].shape[1])
        with self._visited.borrow(self._count) as visited:
            rows = self._metric, queries, self._vectors, self._ids
            search_trees(self._forest, *rows, least, mask, filtered, visited, *heaps)

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        return {**super()._facts(), "trees": self.trees}

    @classmethod
    def _from_facts(cls, facts):
        return cls(int(facts["dim"]), facts["metric"], int(facts["trees"]), int(facts["seed"]))._set_held(facts)

    def _tables(self):
        nodes, leaves = self._forest.used
        names = ("planes", "offsets", "children"), ("leaves", "sizes")
        parts = {name: getattr(self._forest, name)[:nodes] for name in names[0]}
        return {"roots": self._forest.roots, **parts, **{n: getattr(self._forest, n)[:leaves] for n in names[1]}}

    def _restore(self, tables):
        nodes, leaves = len(tables["offsets"]), len(tables["sizes"])
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "roots": (np.int32, (self.trees,)),
            "planes": (np.float32, (nodes, self.dim)),
            "offsets": (np.float32, (nodes,)),
            "children": (np.int32, (nodes, 2)),
            "leaves": (np.int32, (leaves, LEAF)),
            "sizes": (np.int32, (leaves,)),
        }
        parts = {name: expect(tables, name, *expected) for name, expected in shapes.items()}
        self._forest = Trees(**parts, used=np.array([nodes, leaves]))

    def _findings(self):
        """Every node and leaf hangs in one place, and every tree holds each row once."""
        f, (nodes, leaves) = self._forest, self._forest.used.tolist()
        children = np.concatenate([f.roots, f.children[:nodes].ravel()]).astype(np.int64)
        if not np.array_equal(np.sort(children), np.arange(-leaves, nodes)):
            return ["a node or a leaf of the trees hangs in no place or in two"]
        sizes, members = f.sizes[:leaves], f.leaves[:leaves]
        if ((sizes < 0) | (sizes > LEAF)).any():
            return [f"leaf {((sizes < 0) | (sizes > LEAF)).argmax()} has {sizes.min()} to {sizes.max()} rows"]
        if not (np.isfinite(f.planes[:nodes]).all() and np.isfinite(f.offsets[:nodes]).all()):
            return ["a plane is not finite"]
        if self._held and not tree_depths_end(f):
            return ["the nodes of a tree run in a circle"]
        rows = np.sort(members[np.arange(LEAF) < sizes[:, None]])
        expected = np.repeat(np.arange(self._held), self.trees)
        return [] if np.array_equal(rows, expected) else ["a row is not in every tree once"]


@kernel
def tree_depths_end(forest):
    """Whether walking down from the roots meets every node: with one place for each, a circle is what cannot be met."""
    stack, met = np.empty(forest.used[0] + forest.roots.shape[0], np.int64), 0
    size = 0
    for root in forest.roots:
        if root >= 0:
            stack[size] = root
            size += 1
    while size > 0:
        size -= 1
        node = stack[size]
        met += 1
        for side in range(2):
            if forest.children[node, side] >= 0:
                stack[size] = forest.children[node, side]
                size += 1
    return met == forest.used[0]


# ---- growing ---------------------------------------------------------------------------------------------------------


@kernel
def insert(forest, tree, vectors, rows, draws):
    """Put rows into a tree, splitting the leaves that are full. draws (n,): where a split by row n starts from."""
    for n in range(rows.shape[0]):
        row = rows[n]
        parent, side, child = np.int64(-1), 0, np.int64(forest.roots[tree])
        while True:
            while child >= 0:
                parent, side = child, side_of(forest, child, vectors, row)
                child = np.int64(forest.children[parent, side])
            leaf = -1 - child
            if forest.sizes[leaf] < LEAF:
                break
            child = split(forest, leaf, vectors, draws[n])
            if parent < 0:
                forest.roots[tree] = child
            else:
                forest.children[parent, side] = child
        forest.leaves[leaf, forest.sizes[leaf]] = row
        forest.sizes[leaf] += 1


@kernel
def extend(forest, vectors, rows, draws, state):
    """Put the rows after the last one held into every tree. Shapes: draws (T, n)"""
    for tree in range(draws.shape[0]):
        insert(forest, tree, vectors, rows, draws[tree])
    state[HELD] += rows.shape[0]


@inlined
def margin_of(forest, node, vectors, row):
    """On which side of a node's plane a vector lies, and how far from it."""
    return inner_product(forest.planes, node, vectors, row) + forest.offsets[node]


@kernel
def side_of(forest, node, vectors, row):
    """Where a row goes. On the plane itself, where copies gather, it goes by the bits of its number."""
    margin = margin_of(forest, node, vectors, row)
    if margin == np.float32(0.0):
        return (row * 40503 + node) >> 3 & 1
    return 1 if margin > np.float32(0.0) else 0


@kernel
def split(forest, leaf, vectors, draw):
    """Turn a full leaf into a node and two leaves; returns the node."""
    node, other = forest.used[0], forest.used[1]
    rows = forest.leaves[leaf].copy()
    sides = np.empty(LEAF, np.int64)
    if not plane_between(forest, node, vectors, rows, draw, sides):
        forest.planes[node, :], forest.offsets[node] = np.float32(0.0), np.float32(0.0)
        for place in range(LEAF):  # equal rows: no plane divides them
            sides[place] = place & 1
    forest.leaves[leaf, :], forest.sizes[leaf], forest.sizes[other] = np.int32(-1), 0, 0
    for place in range(LEAF):
        to = other if sides[place] else leaf
        forest.leaves[to, forest.sizes[to]] = rows[place]
        forest.sizes[to] += 1
    forest.children[node, 0], forest.children[node, 1] = -1 - leaf, -1 - other
    forest.used[0] += 1
    forest.used[1] += 1
    return node


@kernel
def plane_between(forest, node, vectors, rows, draw, sides):
    """The plane midway between two means of some rows, and their sides; False where it leaves a side empty."""
    dim = vectors.shape[1]
    means, counts = np.empty((2, dim), np.float32), np.empty(2, np.int64)
    first = draw % LEAF
    second = (first + 1 + draw // LEAF % (LEAF - 1)) % LEAF
    means[0], means[1] = vectors[rows[first]], vectors[rows[second]]
    for _ in range(STEPS):
        for place in range(LEAF):
            nearer = squared_l2(means, 0, vectors, rows[place]) > squared_l2(means, 1, vectors, rows[place])
            sides[place] = 1 if nearer else 0
        counts[1] = sides.sum()
        counts[0] = LEAF - counts[1]
        if counts[0] == 0 or counts[1] == 0:
            return False
        means[:] = np.float32(0.0)
        for place in range(LEAF):
            for t in range(dim):
                means[sides[place], t] += vectors[rows[place], t] / np.float32(counts[sides[place]])
    total, offset = np.float64(0.0), np.float64(0.0)
    for t in range(dim):
        difference = np.float64(means[1, t]) - np.float64(means[0, t])
        total += difference * difference
        offset -= difference * (np.float64(means[1, t]) + np.float64(means[0, t])) / 2.0
    length = np.sqrt(total)
    if length == 0.0:
        return False
    for t in range(dim):
        forest.planes[node, t] = np.float32((np.float64(means[1, t]) - np.float64(means[0, t])) / length)
    forest.offsets[node] = np.float32(offset / length)
    ones = 0
    for place in range(LEAF):
        sides[place] = side_of(forest, node, vectors, rows[place])
        ones += sides[place]
    return 0 < ones < LEAF


# ---- searching -------------------------------------------------------------------------------------------------------


@kernel
def search_trees(forest, metric, queries, vectors, row_ids, search_k, mask, filtered, visited, distances, ids, sizes):
    """Merge rows into the heap of each query, best branch first, until search_k have been measured. Heaps: exact.py"""
    priorities = np.empty(forest.used[0] + forest.roots.shape[0], np.float32)
    branches, fresh = np.empty(priorities.shape[0], np.int64), np.empty(LEAF, np.int64)
    for q in range(queries.shape[0]):
        epoch, measured, waiting = next_epoch(visited), 0, 0
        for tree in range(forest.roots.shape[0]):
            waiting = push(priorities, branches, waiting, np.float32(-np.inf), np.int64(forest.roots[tree]))
        while waiting > 0 and measured < search_k:
            priority, child = -priorities[0], branches[0]
            waiting = pop(priorities, branches, waiting)
            while child >= 0:
                margin = margin_of(forest, child, queries, q)
                side = 1 if margin > np.float32(0.0) else 0
                beyond = min(priority, -abs(margin))
                waiting = push(priorities, branches, waiting, -beyond, np.int64(forest.children[child, 1 - side]))
                priority, child = min(priority, abs(margin)), np.int64(forest.children[child, side])
            leaf, new = -1 - child, 0
            for place in range(forest.sizes[leaf]):
                row = np.int64(forest.leaves[leaf, place])
                if visited[row + 1] == epoch or (filtered and not mask[row]):
                    continue
                visited[row + 1] = epoch
                fresh[new] = row
                prefetch(vectors, row)
                new += 1
            for place in range(new):
                d = distance(metric, queries, q, vectors, fresh[place])
                sizes[q] = offer(distances[q], ids[q], sizes[q], d, row_ids[fresh[place]])
            measured += new
