"""Hierarchical navigable small world graphs: the kernels.

Source   Malkov & Yashunin 2016 (arXiv:1603.09320), Algorithms 1-5, here in the paper's order and letters: q a row or a
         query, ep entry points, W nearest found, C candidates, R selected, l_c a layer, L the top layer, e a neighbour.
         Levels, floor(-ln(unif(0, 1)) m_L) with m_L = 1 / ln(M), are drawn outside and passed in.

Where we leave the paper
- Order   Everything is ordered by (distance, row), so the graph and every answer are unique. In Algorithm 4 we keep e
          also when it is exactly as close to r as to q, as nmslib does.
- Tree    Shrinking a list can remove the last link to a row, and the paper's graphs do lose rows. Here each new row
          also gets a *parent*: the nearest row found that has fewer than M_max0 / 2 children. The links parent ↔ child
          are never dropped, so layer 0 holds a spanning tree both ways and every row is reachable from every other,
          always. It costs 4 bytes a row; on ordinary data the parent is the nearest neighbour, which is linked anyway.
- Copies  A row equal to one found on the highest layer it would be linked on is not linked: it joins a chain that hangs
          on that row (4 bytes a row). Linked, a hundred copies fill W, and a search that meets them sees nothing else.
- Pool    `search_layer` keeps W sorted and takes C as those of W not expanded yet. A candidate that fell out of W is
          farther than W's farthest, where the paper stops; so this is the paper's search with one queue for two.
          `search_layer_allowed` below it has the two queues, because a filter lets rows into C that W may not hold.
- Lists   keep_pruned is on while a row is inserted, off when an overfull list is shrunk: a list shrunk to fewer
          links has room for the next ones.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .distance import distance, same_row
from .graph import COUNT, ENTRY, UPPER, assign_ids, degree, neighborhood
from .heap import before, insert_sorted, pop, push
from .visited import next_epoch


class Parameters(NamedTuple):
    """How a graph is built; the paper's section 4.1 says how each was chosen."""

    M: int
    M_max0: int
    ef_construction: int
    heuristic: bool
    extend_candidates: bool
    keep_pruned: bool


# ---- Algorithm 1: INSERT ---------------------------------------------------------------------------------------------


@kernel
def insert(graph, parameters, q, visited, distances, labels):
    """Link row q into the graph; it becomes the entry point where it is the first row or has the top level.

        W ← ep;  for l_c = L … l+1: W ← search-layer(q, W, ef = 1)
        for l_c = min(L, l) … 0:
            W ← search-layer(q, W, ef_construction);  neighbors ← select-neighbors(q, W, M)
            link q and neighbors both ways;  shrink lists longer than M_max (layer 0: M_max0)

    distances, labels: room for W, ef_construction pairs.
    """
    entry_point = graph.state[ENTRY]
    if entry_point < 0:
        graph.state[ENTRY] = q
        return
    level, top = graph.levels[q], graph.levels[entry_point]
    size = enter(graph, graph.vectors, q, entry_point, distances, labels)
    for layer in range(top, level, -1):
        size = search_layer(graph, graph.vectors, q, distances[:1], labels[:1], size, layer, visited)
    for layer in range(min(top, level), -1, -1):
        size = search_layer(graph, graph.vectors, q, distances, labels, size, layer, visited)
        if layer == min(top, level) and hang_copy(graph, q, distances, labels, size):
            return
        links = neighborhood(graph, q, layer)
        count = select_neighbors(graph, parameters, q, distances, labels, size, layer, visited, links)
        if layer == 0:
            count = adopt(graph, parameters, q, labels, size, links, count)
        m_max = parameters.M_max0 if layer == 0 else parameters.M
        for place in range(count):
            connect(graph, links[place], q, layer, m_max)
    if level > top:
        graph.state[ENTRY] = q


@kernel
def hang_copy(graph, q, distances, labels, size):
    """Where W holds a row equal to q, put q at the head of that row's chain; returns whether it did."""
    to_itself = distance(graph.metric, graph.vectors, q, graph.vectors, q)
    for place in range(size):
        if distances[place] == to_itself and same_row(graph.vectors, q, labels[place]):
            original = labels[place]
            graph.copies[q] = graph.copies[original]
            graph.copies[original] = q
            return True
    return False


@kernel
def connect(graph, e, q, layer, m_max):
    """Add the link e → q; where e's list is full, keep its tree links and choose the others by Algorithm 4."""
    links = neighborhood(graph, e, layer)
    size = degree(links)
    if size < m_max:
        links[size] = q
        return
    distances, labels = np.empty(m_max + 1, np.float32), np.empty(m_max + 1, np.int64)
    kept = np.empty(m_max, np.int32)
    r, count = 0, 0
    for place in range(m_max + 1):
        row = links[place] if place < m_max else q
        if layer == 0 and (graph.parent[row] == e or graph.parent[e] == row):
            kept[r] = row
            r += 1
        else:
            insert_sorted(distances, labels, count, distance(graph.metric, graph.vectors, e, graph.vectors, row), row)
            count += 1
    r = select_neighbors_heuristic(graph, distances, labels, count, kept, r, m_max, False)
    links[:r] = kept[:r]
    links[r:] = np.int32(-1)


@kernel
def adopt(graph, parameters, q, labels, size, links, count):
    """Give q a parent, and add it to q's links where it is not among them; returns the number of links.

    The parent is the first row of W with a place for a child. Where all of W is full, walk down the tree from W's
    nearest; q mod limit picks the branch, which keeps the tree shallow.
    """
    limit = max(1, parameters.M_max0 // 2)
    parent = np.int64(-1)
    for place in range(size):
        if children(graph, labels[place], q, limit)[0] < limit:
            parent = labels[place]
            break
    if parent < 0:
        parent = labels[0]
        total, child = children(graph, parent, q, limit)
        while total >= limit:
            parent = np.int64(child)
            total, child = children(graph, parent, q, limit)
    graph.parent[q] = parent
    for place in range(count):
        if links[place] == parent:
            return count
    links[count] = parent
    return count + 1


@kernel
def children(graph, e, q, limit):
    """How many children row e has, and its child number q mod limit (-1 where there are fewer)."""
    links = graph.neighbors0[e]
    total, chosen = 0, -1
    for place in range(degree(links)):
        if graph.parent[links[place]] == e:
            if total == q % limit:
                chosen = links[place]
            total += 1
    return total, chosen


@kernel
def insert_batch(graph, parameters, ids, live, new_ids, dead, visited):
    """Insert the rows after the last one, give them the new ids, and take those of the rows `dead`: all in one step."""
    distances = np.empty(parameters.ef_construction, np.float32)
    labels = np.empty(parameters.ef_construction, np.int64)
    first = graph.state[COUNT]
    for q in range(first, first + new_ids.shape[0]):
        insert(graph, parameters, q, visited, distances, labels)
        graph.state[UPPER] += graph.levels[q]
    assign_ids(ids, live, graph.state, new_ids, dead)


# ---- Algorithm 2: SEARCH-LAYER ---------------------------------------------------------------------------------------


@kernel
def enter(graph, queries, q, entry_point, distances, labels):
    """W ← {entry point}; returns 1, its size."""
    distances[0] = distance(graph.metric, queries, q, graph.vectors, entry_point)
    labels[0] = entry_point
    return 1


@kernel
def search_layer(graph, queries, q, distances, labels, size, layer, visited):
    """The ef nearest rows to query q that a best-first walk finds on a layer; ef is the length of `distances`.

        C ← W ← ep
        while C not empty:
            c ← nearest of C;  stop where c is farther than W's farthest
            for e in neighbourhood(c), not visited:  where e is nearer than W's farthest, or |W| < ef:
                add e to C and W;  drop W's farthest where |W| > ef

    In: the `size` entry points. Out: W, sorted; returns |W|. While the walk runs, a label is 2 row + expanded, which
    sorts as the row does: C is the even labels.
    """
    ef = distances.shape[0]
    epoch = next_epoch(visited)
    for place in range(size):
        visited[labels[place] + 1] = epoch
        labels[place] *= 2
    fresh = np.empty(graph.neighbors0.shape[1], np.int32)
    place = 0
    while place < size:
        if labels[place] & 1:
            place += 1
            continue
        labels[place] |= 1
        place += 1
        links = neighborhood(graph, labels[place - 1] >> 1, layer)
        for link in range(unseen(links, visited, epoch, fresh)):
            e = np.int64(fresh[link])
            d = distance(graph.metric, queries, q, graph.vectors, e)
            if size < ef or before(d, 2 * e, distances[ef - 1], labels[ef - 1]):
                place = min(place, insert_sorted(distances, labels, size, d, 2 * e))
                size = min(size + 1, ef)
    for place in range(size):
        labels[place] >>= 1
    return size


@kernel(forceinline=True)
def unseen(links, visited, epoch, fresh):
    """Rows of a list that this search meets for the first time, into `fresh`; returns how many.

    Without branches, and apart from the distances: a CPU that need not guess which rows are new loads the vectors of
    several at once. Building takes 0.76 of the time it takes with both in one loop (20k x 128, Zen 4).
    """
    count = 0
    for place in range(links.shape[0]):
        e = links[place]
        if e < 0:
            break
        fresh[count] = e
        count += visited[e + 1] != epoch
        visited[e + 1] = epoch
    return count


@kernel
def search_layer_allowed(graph, queries, q, distances, labels, size, allowed, visited):
    """`search_layer` on layer 0 for a filter: W holds only rows that are allowed or have an allowed copy, C holds all.

    Equal to `search_layer` where all are allowed. Goes on while |W| < ef: as every row can be reached, W ends with ef
    rows, or all there are.
    """
    ef = distances.shape[0]
    epoch = next_epoch(visited)
    capacity = graph.parent.shape[0]
    c_distances, c_labels = np.empty(capacity, np.float32), np.empty(capacity, np.int64)
    w_distances, w_labels = np.empty(ef + 1, np.float32), np.empty(ef + 1, np.int64)  # farthest on top: negated
    fresh = np.empty(graph.neighbors0.shape[1], np.int32)
    c_size, w_size = 0, 0
    for place in range(size):
        visited[labels[place] + 1] = epoch
        c_size = push(c_distances, c_labels, c_size, distances[place], labels[place])
        if any_allowed(graph, labels[place], allowed):
            w_size = push(w_distances, w_labels, w_size, -distances[place], -labels[place])
    while c_size > 0:
        d, c = c_distances[0], c_labels[0]
        if w_size == ef and before(-w_distances[0], -w_labels[0], d, c):
            break
        c_size = pop(c_distances, c_labels, c_size)
        links = neighborhood(graph, c, 0)
        for link in range(unseen(links, visited, epoch, fresh)):
            e = np.int64(fresh[link])
            d = distance(graph.metric, queries, q, graph.vectors, e)
            if w_size < ef or before(d, e, -w_distances[0], -w_labels[0]):
                c_size = push(c_distances, c_labels, c_size, d, e)
                if any_allowed(graph, e, allowed):
                    w_size = push(w_distances, w_labels, w_size, -d, -e)
                    if w_size > ef:
                        w_size = pop(w_distances, w_labels, w_size)
    size = w_size
    while w_size > 0:
        distances[w_size - 1], labels[w_size - 1] = -w_distances[0], -w_labels[0]
        w_size = pop(w_distances, w_labels, w_size)
    return size


@kernel
def any_allowed(graph, row, allowed):
    """Whether a row or one of its copies is allowed."""
    while row >= 0:
        if allowed[row]:
            return True
        row = np.int64(graph.copies[row])
    return False


# ---- Algorithms 3 and 4: SELECT-NEIGHBORS ----------------------------------------------------------------------------


@kernel
def select_neighbors(graph, parameters, q, distances, labels, size, layer, visited, links):
    """M neighbours of q out of W, into `links`, by Algorithm 3 or 4; returns how many."""
    if not parameters.heuristic:
        return select_neighbors_simple(labels, size, links, parameters.M)
    if parameters.extend_candidates:
        distances, labels, size = extend_candidates(graph, q, distances, labels, size, layer, visited)
    m, keep_pruned = parameters.M, parameters.keep_pruned
    return select_neighbors_heuristic(graph, distances, labels, size, links, 0, m, keep_pruned)


@kernel
def select_neighbors_simple(labels, size, R, M):
    """Algorithm 3: the M nearest of the sorted candidates, into R; returns |R|."""
    count = min(size, M)
    for place in range(count):
        R[place] = labels[place]
    return count


@kernel
def select_neighbors_heuristic(graph, distances, labels, size, R, r, M, keep_pruned):
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
        if is_diverse(graph, distances[place], labels[place], R, r):
            R[r] = labels[place]
            r += 1
    if keep_pruned:
        for place in range(size):
            if r >= M:
                break
            if not contains(R, chosen_before, r, labels[place]):
                R[r] = labels[place]
                r += 1
    return r


@kernel(forceinline=True)
def is_diverse(graph, d, e, R, r):
    """Whether e, at distance d from q, is at least as near to q as to every row of R."""
    for place in range(r):
        if distance(graph.metric, graph.vectors, e, graph.vectors, R[place]) < d:
            return False
    return True


@kernel
def contains(R, start, stop, e):
    """Whether e is among R[start:stop]."""
    for place in range(start, stop):
        if R[place] == e:
            return True
    return False


@kernel
def extend_candidates(graph, q, distances, labels, size, layer, visited):
    """Algorithm 4, lines 3-7: W and the neighbours of W, sorted, in new arrays. For extremely clustered data."""
    room = size * (1 + neighborhood(graph, labels[0], layer).shape[0])
    out_distances, out_labels = np.empty(room, np.float32), np.empty(room, np.int64)
    out_distances[:size], out_labels[:size] = distances[:size], labels[:size]
    epoch = next_epoch(visited)
    visited[q + 1] = epoch
    for place in range(size):
        visited[labels[place] + 1] = epoch
    total = size
    for place in range(size):
        links = neighborhood(graph, labels[place], layer)
        for link in range(degree(links)):
            e = np.int64(links[link])
            if visited[e + 1] != epoch:
                visited[e + 1] = epoch
                d = distance(graph.metric, graph.vectors, q, graph.vectors, e)
                insert_sorted(out_distances, out_labels, total, d, e)
                total += 1
    return out_distances, out_labels, total


# ---- Algorithm 5: K-NN-SEARCH ----------------------------------------------------------------------------------------


@kernel
def knn_search(graph, queries, q, distances, labels, allowed, filtered, visited):
    """The ef nearest allowed rows found for query q, sorted; returns how many. ef is the length of `distances`.

    W ← ep;  for l_c = L … 1: W ← search-layer(q, W, ef = 1);  W ← search-layer(q, W, ef, 0)
    """
    entry_point = graph.state[ENTRY]
    size = enter(graph, queries, q, entry_point, distances, labels)
    for layer in range(graph.levels[entry_point], 0, -1):
        size = search_layer(graph, queries, q, distances[:1], labels[:1], size, layer, visited)
    if filtered:
        return search_layer_allowed(graph, queries, q, distances, labels, size, allowed, visited)
    return search_layer(graph, queries, q, distances, labels, size, 0, visited)


@kernel
def search_batch(graph, queries, ef, allowed, filtered, row_ids, ids, distances, visited):
    """Algorithm 5 for each query, into ids (Q, k) and distances (Q, k); places without a result stay as they are."""
    w_distances, w_labels = np.empty(ef, np.float32), np.empty(ef, np.int64)
    for q in range(queries.shape[0]):
        size = knn_search(graph, queries, q, w_distances, w_labels, allowed, filtered, visited)
        name(graph, w_distances, w_labels, size, allowed, filtered, row_ids, ids[q], distances[q])


@kernel
def name(graph, w_distances, w_labels, size, allowed, filtered, row_ids, ids, distances):
    """The first k of W and its rows' copies by (distance, id), into ids (k,) and distances (k,)."""
    k, count = ids.shape[0], 0
    for place in range(size):
        d, row = w_distances[place], w_labels[place]
        if count == k and d > distances[k - 1]:
            break
        while row >= 0:
            if not filtered or allowed[row]:
                if count < k or before(d, row_ids[row], distances[k - 1], ids[k - 1]):
                    insert_sorted(distances, ids, count, d, row_ids[row])
                    count = min(count + 1, k)
            row = np.int64(graph.copies[row])
