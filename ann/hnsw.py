"""Hierarchical navigable small world graphs: the kernels that build them; hnsw_search.py has those that walk.

Source   Malkov & Yashunin 2016 (arXiv:1603.09320), Algorithms 1, 3 and 4, here in the paper's order and letters: q a
         row or a query, ep entry points, W nearest found, C candidates, R selected, l_c a layer, L the top layer, e a
         neighbour. Levels, floor(-ln(unif(0, 1)) m_L) with m_L = 1 / ln(M), are drawn outside and passed in.

Where we leave the paper
- Order   Everything is ordered by (distance, row), so the graph and every answer are unique. In Algorithm 4 we keep e
          also when it is exactly as close to r as to q, as nmslib does.
- Batch   INSERT is cut in four, and a batch of rows goes through each part together: all walk through the graph as it
          was, on any number of threads; then each also meets the rows of its batch before it, and chooses; then all
          enter the tree below, one by one; then every list that gets new links is written by one thread. So the graph
          does not depend on the threads. A row misses none of those before it, as in the paper, but for layers
          above 0. A batch is 2 % of the rows; a row that rises above the top ends it.
- Tree    Shrinking a list can remove the last link to a row, and the paper's graphs do lose rows. Here each new row
          also gets a *parent*: the nearest row found that has fewer than M_max0 / 2 children. The links parent ↔ child
          are never dropped, so layer 0 holds a spanning tree both ways and every row is reachable from every other,
          always. It costs 4 bytes a row; on ordinary data the parent is the nearest neighbour, which is linked anyway.
- Copies  A row equal to one found on the highest layer it would be linked on is not linked: it joins a chain that hangs
          on that row (4 bytes a row). Linked, a hundred copies fill W, and a search that meets them sees nothing else.
- Lists   keep_pruned is on while a row is inserted, off when an overfull list is shrunk: a list shrunk to fewer
          links has room for the next ones.
"""

from typing import NamedTuple

import numpy as np

from ._jit import bare, inlined, kernel
from .distance import distance, same_row
from .graph import COUNT, ENTRY, LAST_ID, LIVE, UPPER, VACANT, degree, neighborhood
from .hnsw_search import descend, enter, search_layer, search_layer_many
from .keys import distance_of, insert_key, key, row_of
from .simd import prefetch


class Parameters(NamedTuple):
    """How a graph is built; the paper's section 4.1 says how each was chosen."""

    M: int
    M_max0: int
    ef_construction: int
    heuristic: bool
    extend_candidates: bool
    keep_pruned: bool


# ---- Algorithm 1: INSERT ---------------------------------------------------------------------------------------------
#
#     W ← ep;  for l_c = L … l+1: W ← search-layer(q, W, ef = 1)
#     for l_c = min(L, l) … 0:
#         W ← search-layer(q, W, ef_construction);  neighbors ← select-neighbors(q, W, M)
#         link q and neighbors both ways;  shrink lists longer than M_max (layer 0: M_max0)
#
# Parts 1 and 2 write what nobody reads yet; part 3 makes the new rows part of the graph, and leaves it whole; part 4
# adds the links back to them.


@kernel
def find_neighbors(graph, parameters, rows, W, sizes, originals, visited):
    """Part 1, for any share of a batch: walk, choose each row's neighbours above layer 0, and look for a copy of it.

    Out      W (B, ef_construction), sizes (B,): what the walk on layer 0 found; originals (B,): an equal row, or -1
    Shapes   rows (B,)
    """
    entry_point = graph.state[ENTRY]
    top = graph.levels[entry_point]
    fresh = np.empty(graph.neighbors0.shape[1], np.int32)
    for b in range(rows.shape[0]):
        q, w = rows[b], W[b]
        level = min(top, graph.levels[q])
        drop_links(graph, q)  # those of an interrupted add
        size = descend(graph, graph.points, q, level, w, visited[0], fresh)
        for layer in range(level, 0, -1):
            size = search_layer(graph, graph.points, q, w, size, layer, visited[0], fresh)
            if layer == level:
                originals[b] = find_copy(graph, q, w, size)
            if originals[b] < 0:
                select_neighbors(graph, parameters, q, w, size, layer, visited[0], neighborhood(graph, q, layer))
        sizes[b] = size if originals[b] < 0 else 0
    search_layer_many(graph, graph.points, rows, W, sizes, visited)
    for b in range(rows.shape[0]):
        if originals[b] < 0 and min(top, graph.levels[rows[b]]) == 0:
            originals[b] = find_copy(graph, rows[b], W[b], sizes[b])


@kernel
def choose_neighbors(graph, parameters, rows, start, stop, W, sizes, originals, chosen, visited):
    """Part 2, for the rows [start, stop) of a batch: they meet those before them, and choose neighbours on layer 0.

    In, out  W, sizes: what the walk found, then also the batch's rows
    Out      chosen (B, M): neighbours, then -1
    """
    for b in range(start, stop):
        if originals[b] >= 0:
            continue
        q, w, size = rows[b], W[b], sizes[b]
        for earlier in range(b):
            if originals[earlier] < 0:
                e = rows[earlier]
                found = key(distance(graph.walk, graph.points, q, graph.points, e), e)
                if size < w.shape[0] or found < w[size - 1]:
                    insert_key(w, size, found)
                    size = min(size + 1, w.shape[0])
        sizes[b] = size
        select_neighbors(graph, parameters, q, w, size, 0, visited, chosen[b])


@bare
def find_copy(graph, q, W, size):
    """The first row of W that is equal to q; -1 where there is none."""
    to_itself = distance(graph.walk, graph.points, q, graph.points, q)
    for place in range(size):
        if distance_of(W[place]) == to_itself and same_row(graph.vectors, q, row_of(W[place])):
            return row_of(W[place])
    return np.int64(-1)


@kernel
def commit(graph, parameters, rows, W, sizes, originals, chosen, ids, live, new_ids, dead):
    """Part 3: each row gets a parent, or hangs on its original; the rows get the new ids, and those of `dead` die.

    Rows are vacant ones, or those after the last one.
    """
    state = graph.state
    candidates, kept = np.empty(parameters.M_max0 + 1, np.uint64), np.empty(parameters.M_max0, np.int32)
    for row in dead:
        ids[row], live[row] = np.int64(-1), False
    for b in range(rows.shape[0]):
        q = np.int64(rows[b])
        if originals[b] >= 0:
            hang(graph, q, originals[b])
        elif state[ENTRY] < 0:
            graph.parent[q], state[ENTRY] = q, q
        else:
            for place in range(parameters.M):
                graph.neighbors0[q, place] = chosen[b, place]
            adopt(graph, parameters, q, W[b], sizes[b])
            connect(graph, graph.parent[q], q, 0, parameters.M_max0, candidates, kept)
            if graph.levels[q] > graph.levels[state[ENTRY]]:
                state[ENTRY] = q
        if q < state[COUNT]:
            state[VACANT] -= 1
        else:
            state[COUNT] += 1
            state[UPPER] += graph.levels[q]
        ids[q], live[q] = new_ids[b], True
        state[LAST_ID] = max(state[LAST_ID], new_ids[b])
    state[LIVE] += rows.shape[0] - dead.shape[0]


@bare
def drop_links(graph, q):
    """Empty q's own lists on all its layers."""
    for layer in range(graph.levels[q] + 1):
        neighborhood(graph, q, layer)[:] = np.int32(-1)


@bare
def hang(graph, q, original):
    """Put q at the head of the chain of copies of a linked row; q's own links are dropped."""
    drop_links(graph, q)
    graph.parent[q], graph.copies[q] = np.int32(-1), graph.copies[original]
    graph.copies[original] = q


@kernel
def link_back(graph, parameters, rows, chosen, part, parts):
    """Part 4: add the new rows to their neighbours' lists; thread `part` of `parts` writes those of its own rows."""
    candidates, kept = np.empty(parameters.M_max0 + 1, np.uint64), np.empty(parameters.M_max0, np.int32)
    for b in range(rows.shape[0]):
        q = rows[b]
        for layer in range(graph.levels[q], -1, -1):
            links = neighborhood(graph, q, layer) if layer else chosen[b]  # q's list on layer 0 may grow meanwhile
            m_max = parameters.M_max0 if layer == 0 else parameters.M
            for place in range(links.shape[0]):
                e = links[place]
                if e < 0:
                    break
                tree = layer == 0 and graph.parent[q] == e  # linked by part 3
                if e % parts == part and not tree:
                    connect(graph, e, q, layer, m_max, candidates, kept)


@bare
def connect(graph, e, q, layer, m_max, candidates, kept):
    """Add the link e → q; where e's list is full, keep its tree links and choose the others by Algorithm 4."""
    links = neighborhood(graph, e, layer)
    size = degree(links)
    if size < m_max:
        links[size] = q
        return
    for place in range(m_max):
        prefetch(graph.points, np.int64(links[place]))
    r, count = 0, 0
    for place in range(m_max + 1):
        row = links[place] if place < m_max else q
        if layer == 0 and (graph.parent[row] == e or graph.parent[e] == row):
            kept[r] = row
            r += 1
        else:
            insert_key(candidates, count, key(distance(graph.walk, graph.points, e, graph.points, row), row))
            count += 1
    r = select_neighbors_heuristic(graph, candidates, count, kept, r, m_max, False)
    for place in range(links.shape[0]):
        links[place] = kept[place] if place < r else np.int32(-1)


@bare
def adopt(graph, parameters, q, W, size):
    """Give q a parent, and add it to q's links where it is not among them.

    The parent is the first row of W with a place for a child. Where all of W is full, walk down the tree from W's
    nearest; q mod limit picks the branch, which keeps the tree shallow.
    """
    limit = max(1, parameters.M_max0 // 2)
    parent = np.int64(-1)
    for place in range(size):
        if children(graph, row_of(W[place]), q, limit)[0] < limit:
            parent = row_of(W[place])
            break
    if parent < 0:
        parent = row_of(W[0])
        total, child = children(graph, parent, q, limit)
        while total >= limit:
            parent = np.int64(child)
            total, child = children(graph, parent, q, limit)
    graph.parent[q] = parent
    links = graph.neighbors0[q]
    size = degree(links)
    if not contains(links, 0, size, parent):
        links[size] = parent


@bare
def children(graph, e, q, limit):
    """How many children row e has, and its child number q mod limit (-1 where there are fewer)."""
    links = graph.neighbors0[e]
    total, chosen = 0, -1
    for place in range(degree(links)):
        if graph.parent[links[place]] == e and links[place] != e:
            if total == q % limit:
                chosen = links[place]
            total += 1
    return total, chosen


# ---- Algorithms 3 and 4: SELECT-NEIGHBORS ----------------------------------------------------------------------------


@kernel
def select_neighbors(graph, parameters, q, W, size, layer, visited, links):
    """M neighbours of q out of W, into `links`, by Algorithm 3 or 4; returns how many."""
    if not parameters.heuristic:
        return select_neighbors_simple(W, size, links, parameters.M)
    if parameters.extend_candidates:
        W, size = extend_candidates(graph, q, W, size, layer, visited)
    return select_neighbors_heuristic(graph, W, size, links, 0, parameters.M, parameters.keep_pruned)


@bare
def select_neighbors_simple(W, size, R, M):
    """Algorithm 3: the M nearest of the sorted candidates, into R; returns |R|."""
    count = min(size, M)
    for place in range(count):
        R[place] = row_of(W[place])
    return count


@bare
def select_neighbors_heuristic(graph, W, size, R, r, M, keep_pruned):
    """Algorithm 4: near candidates in different directions, into R; returns |R| ≤ M.

        for e in candidates, nearest first, while |R| < M:
            R ← R ∪ {e}  where e is nearer to q than to every r in R,  else  W_d ← W_d ∪ {e}
        keep_pruned: fill R up with the nearest of W_d

    In: `size` candidates sorted by their distance from q, and R[:r], chosen already.
    """
    chosen_before = r
    for place in range(size):
        if r >= M:
            break
        if is_diverse(graph, distance_of(W[place]), row_of(W[place]), R, r):
            R[r] = row_of(W[place])
            r += 1
    if keep_pruned:
        for place in range(size):
            if r >= M:
                break
            if not contains(R, chosen_before, r, row_of(W[place])):
                R[r] = row_of(W[place])
                r += 1
    return r


@inlined
def is_diverse(graph, d, e, R, r):
    """Whether e, at distance d from q, is at least as near to q as to every row of R."""
    for place in range(r):
        if distance(graph.walk, graph.points, e, graph.points, np.int64(R[place])) < d:
            return False
    return True


@bare
def contains(R, start, stop, e):
    """Whether e is among R[start:stop]."""
    for place in range(start, stop):
        if R[place] == e:
            return True
    return False


@kernel
def extend_candidates(graph, q, W, size, layer, visited):
    """Algorithm 4, lines 3-7: W and the neighbours of W, sorted, in a new array. For extremely clustered data."""
    room = size * (1 + (graph.upper if layer else graph.neighbors0).shape[1])
    extended = np.empty(room, np.uint64)
    extended[:size] = W[:size]
    epoch = enter(extended, size, visited)
    visited[q + 1] = epoch
    total = size
    for place in range(size):
        links = neighborhood(graph, row_of(W[place]), layer)
        for link in range(degree(links)):
            e = np.int64(links[link])
            if visited[e + 1] != epoch:
                visited[e + 1] = epoch
                insert_key(extended, total, key(distance(graph.walk, graph.points, q, graph.points, e), e))
                total += 1
    return extended, total
