"""An HNSW search step by step, in plain Python: what the walk on each layer measures and expands, for pictures.

Unlike the kernels of hnsw_search.py, which find the same, it keeps the paper's two queues C and W as they are written
there, and notes all that it does.

Source   Malkov & Yashunin 2016 (arXiv:1603.09320), Algorithms 2 and 5
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from .distance import distance
from .graph import GONE, Graph, neighborhood
from .inputs import as_vectors, positive_int

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .hnsw_index import HNSW


@dataclass(frozen=True)
class Walk:
    """Algorithm 2 on one layer, by row numbers (row r has the id index.ids[r]).

    measured  rows whose distance from the query was computed, in that order, the entry point first
    expanded  rows whose neighbours were looked at, in that order
    found     W at the end, nearest first
    """

    layer: int
    measured: list[int]
    expanded: list[int]
    found: list[int]


def trace(index: HNSW, query: ArrayLike, ef: int) -> list[Walk]:
    """Algorithm 5 for one query: a Walk a layer, from the top one to layer 0, where ef rows are found.

    Shapes   query (D,)
    Raises   ValueError: see inputs.py; an index that is empty, or holds removed rows
    """
    ef = positive_int(ef, "ef")
    if not len(index) or len(index) < index._count:
        state = "removed ones: compact() it first" if len(index) else "none"
        raise ValueError(f"expected an index of rows that are all live, got {state}")
    points = as_vectors(np.atleast_2d(query), index.dim, index.metric, "query")
    index._normalize(points)
    if index._bits:
        points = index._quantizer.encode_queries(points)
    graph, entry_point, walks = index._graph(), index._entry_point, []

    def far(row):
        return distance(graph.walk, points, 0, graph.points, row)

    W = [(far(entry_point), entry_point)]
    for layer in range(int(graph.levels[entry_point]), -1, -1):
        walk, W = search_layer(graph, far, W, ef if layer == 0 else 1, layer)
        walks.append(walk)
    return walks


def search_layer(
    graph: Graph, far: Callable[[int], float], entry_points: list[tuple[float, int]], ef: int, layer: int
) -> tuple[Walk, list[tuple[float, int]]]:
    """Algorithm 2 in the paper's lines: (Walk, W), where W holds (distance, row) sorted."""
    measured = [row for _, row in entry_points]
    visited, C, W, expanded = set(measured), list(entry_points), list(entry_points), []
    while C:
        d, c = heappop(C)
        if (d, c) > W[-1]:
            break
        expanded.append(c)
        for e in neighbors(graph, c, layer):
            if e in visited:
                continue
            visited.add(e)
            measured.append(e)
            d = far(e)
            if len(W) < ef or (d, e) < W[-1]:
                heappush(C, (d, e))
                insort(W, (d, e))
                del W[ef:]
    return Walk(layer, measured, expanded, [row for _, row in W]), W


def neighbors(graph: Graph, row: int, layer: int) -> list[int]:
    """The links of a row on a layer."""
    links = neighborhood(graph, row, layer)
    return [int(e) for e in links if e >= 0]


def rows_of(index: HNSW, layer: int) -> list[int]:
    """The rows that are linked on a layer: all of those on layer 0, but for copies of others."""
    levels, parent = index._levels[: index._count], index._parent[: index._count]
    linked = parent >= 0 if layer == 0 else (levels >= layer) & (parent > GONE)
    return np.flatnonzero(linked).tolist()
