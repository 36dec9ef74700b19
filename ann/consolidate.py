"""Removed rows leave the graph: the links that went through them are mended, and their places are used again.

A removed row stays for a while as a way-mark. When more than an eighth are such, one pass over the graph drops them:

    for each row p with a removed neighbour, on each layer:
        candidates ← p's other neighbours, and the neighbours of the removed ones
        p's links  ← select-neighbors-heuristic(p, candidates, M_max), filled up to M

and then the tree: a row whose parent is gone gets a new one, the first of its links that is in it and has room.

Source   Singh et al. 2021, FreshDiskANN (arXiv:2105.09613), Algorithm 4, "delete consolidation"
Differs  their graph may fall apart; here the spanning tree (hnsw.py) is mended too, so every row stays reachable.
         Everything is written to new tables, while searches read the old ones.
"""

import numpy as np

from ._jit import kernel
from .distance import distance
from .graph import COUNT, ENTRY, GONE, VACANT, degree, neighborhood
from .hnsw import children, connect, contains, select_neighbors_heuristic
from .keys import insert_key, key, row_of
from .visited import next_epoch


@kernel
def settle_copies(graph, ids, live):
    """Let a live copy take the place of a removed row that has one, and the removed copies leave their chains."""
    for row in range(graph.state[COUNT]):
        if graph.parent[row] < 0:
            continue
        last, copy = np.int64(row), np.int64(graph.copies[row])
        while copy >= 0:
            following = np.int64(graph.copies[copy])
            if live[copy] and not live[row]:
                ids[row], live[row] = ids[copy], True
                ids[copy], live[copy] = np.int64(-1), False
            if not live[copy]:
                graph.copies[last] = following
                vacate(graph, copy)
            else:
                last = copy
            copy = following


@kernel
def vacate(graph, row):
    """Free a row's place."""
    graph.parent[row], graph.copies[row] = GONE, np.int32(-1)
    for layer in range(graph.levels[row] + 1):
        neighborhood(graph, row, layer)[:] = np.int32(-1)
    graph.state[VACANT] += 1


@kernel
def bypass(graph, parameters, mended, live, start, stop, visited):
    """The new links of the rows [start, stop), into the graph `mended`."""
    width = graph.neighbors0.shape[1]
    candidates, kept = np.empty(width * (1 + width), np.uint64), np.empty(width, np.int32)
    for p in range(start, stop):
        if graph.parent[p] < 0 or not live[p]:
            continue
        for layer in range(graph.levels[p] + 1):
            links = neighborhood(graph, p, layer)
            size = degree(links)
            hurt = False
            for place in range(size):
                hurt |= not live[links[place]]
            if not hurt:
                continue
            epoch = next_epoch(visited)
            visited[p + 1] = epoch
            r, count = 0, 0
            for place in range(size):
                e = np.int64(links[place])
                if live[e] and layer == 0 and (graph.parent[e] == p or graph.parent[p] == e):
                    visited[e + 1] = epoch
                    kept[r] = e
                    r += 1
            for place in range(size):
                e = np.int64(links[place])
                count = offer(graph, p, e, live, candidates, count, visited, epoch)
                if not live[e]:
                    around = neighborhood(graph, e, layer)
                    for link in range(degree(around)):
                        count = offer(graph, p, np.int64(around[link]), live, candidates, count, visited, epoch)
            m_max = parameters.M_max0 if layer == 0 else parameters.M
            r = select_neighbors_heuristic(graph, candidates, count, kept, r, m_max, False)
            for place in range(count):  # at least as many as a new row gets, while there are any
                if r < parameters.M and not contains(kept, 0, r, row_of(candidates[place])):
                    kept[r] = row_of(candidates[place])
                    r += 1
            new = neighborhood(mended, p, layer)
            new[:r] = kept[:r]
            new[r:] = np.int32(-1)


@kernel
def offer(graph, p, e, live, candidates, count, visited, epoch):
    """Add a live row not met before to the candidates; returns how many they are."""
    if visited[e + 1] == epoch or not live[e]:
        return count
    visited[e + 1] = epoch
    insert_key(candidates, count, key(distance(graph.walk, graph.points, p, graph.points, e), e))
    return count + 1


@kernel
def drop_removed(graph, parameters, live):
    """Vacate the removed rows, give their children new parents, and find a new entry point where it is gone."""
    count = graph.state[COUNT]
    for row in range(count):
        if graph.parent[row] >= 0 and not live[row]:
            vacate(graph, row)
    root = np.int64(-1)
    for row in range(count):
        if graph.parent[row] == row:
            root = np.int64(row)
    for row in range(count):
        if root < 0 and is_orphan(graph, row):
            root = np.int64(row)
            graph.parent[row] = row
    for row in range(count):
        if is_orphan(graph, row):
            adopt_orphan(graph, parameters, row, root)
    if graph.parent[graph.state[ENTRY]] < 0:
        graph.state[ENTRY] = root
        for row in range(count):
            if graph.parent[row] >= 0 and graph.levels[row] > graph.levels[graph.state[ENTRY]]:
                graph.state[ENTRY] = row


@kernel
def is_orphan(graph, row):
    """Whether a linked row's parent is vacant."""
    return graph.parent[row] >= 0 and graph.parent[graph.parent[row]] < 0


@kernel
def adopt_orphan(graph, parameters, q, root):
    """Give q a parent among its links, or else down the tree from the root, as `adopt` does."""
    candidates, kept = np.empty(parameters.M_max0 + 1, np.uint64), np.empty(parameters.M_max0, np.int32)
    limit = max(1, parameters.M_max0 // 2)
    links, parent = graph.neighbors0[q], np.int64(-1)
    for place in range(degree(links)):
        e = np.int64(links[place])
        if children(graph, e, q, limit)[0] < limit and in_tree(graph, e):
            parent = e
            break
    if parent < 0:
        parent = root
        total, child = children(graph, parent, q, limit)
        while total >= limit:
            parent = np.int64(child)
            total, child = children(graph, parent, q, limit)
    graph.parent[q] = parent
    if not contains(graph.neighbors0[parent], 0, degree(graph.neighbors0[parent]), q):
        connect(graph, parent, q, 0, parameters.M_max0, candidates, kept)
    if not contains(links, 0, degree(links), parent):
        connect(graph, q, parent, 0, parameters.M_max0, candidates, kept)


@kernel
def in_tree(graph, row):
    """Whether the way up from a row ends at the root."""
    while graph.parent[row] != row:
        if graph.parent[row] < 0:
            return False
        row = np.int64(graph.parent[row])
    return True
