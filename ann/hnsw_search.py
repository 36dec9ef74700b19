"""Hierarchical navigable small world graphs: the kernels that walk them; hnsw.py has those that build.

Source   Malkov & Yashunin 2016 (arXiv:1603.09320), Algorithms 2 and 5, in the paper's letters, as in hnsw.py

Where we leave the paper
- Pool    `search_layer` keeps W sorted and takes C as those of W not expanded yet. A candidate that fell out of W is
          farther than W's farthest, where the paper stops; so this is the paper's search with one queue for two.
          `search_layer_allowed` below it has the two queues, because a filter lets rows into C that W may not hold.
- Codes   The graph may be built and walked on codes (`points`) of the vectors; the nearest found are then measured
          again on the vectors (`refine`).
"""

import numpy as np

from ._jit import bare, inlined, kernel
from .distance import distance
from .graph import ENTRY, neighborhood
from .heap import before, insert_sorted, pop, push
from .keys import EXPANDED, distance_of, insert_key, key, row_of
from .simd import prefetch
from .visited import next_epoch

GROUP = 256  # queries that a thread searches together


# ---- Algorithm 2: SEARCH-LAYER ---------------------------------------------------------------------------------------


@bare
def search_layer(graph, queries, q, W, size, layer, visited, fresh):
    """The ef nearest rows to query q that a best-first walk finds on a layer; ef is the length of W.

        C ← W ← ep
        while C not empty:
            c ← nearest of C;  stop where c is farther than W's farthest
            for e in neighbourhood(c), not visited:  where e is nearer than W's farthest, or |W| < ef:
                add e to C and W;  drop W's farthest where |W| > ef

    In: the `size` entry points. Out: W, sorted keys (keys.py); returns |W|. C is the keys of W not marked as expanded.
    """
    epoch = enter(W, size, visited)
    place = 0
    while place < size:
        if W[place] & EXPANDED:
            place += 1
            continue
        W[place] |= EXPANDED
        count = unseen(graph, row_of(W[place]), layer, visited, epoch, fresh)
        place, size = measure(graph, queries, q, fresh, count, W, place + 1, size)
    return size


@inlined
def enter(W, size, visited):
    """Start a walk from the entry points W[:size]; returns its epoch."""
    epoch = next_epoch(visited)
    for place in range(size):
        visited[row_of(W[place]) + 1] = epoch
        W[place] &= ~EXPANDED
    return epoch


@inlined
def unseen(graph, row, layer, visited, epoch, fresh):
    """Neighbours that this walk meets for the first time, into `fresh`, their vectors on the way; returns how many.

    Without branches, and apart from the distances: a CPU that need not guess which rows are new loads the vectors of
    several at once. Building takes 0.76 of the time it takes with both in one loop (20k x 128, Zen 4).
    """
    links = neighborhood(graph, row, layer)
    count = 0
    for place in range(links.shape[0]):
        e = links[place]
        if e < 0:
            break
        fresh[count] = e
        count += visited[e + 1] != epoch
        visited[e + 1] = epoch
    for place in range(count):
        prefetch(graph.points, np.int64(fresh[place]))
    return count


@inlined
def measure(graph, queries, q, fresh, count, W, place, size):
    """Put the fresh rows that belong there into W; returns the first place that may not be expanded, and |W|."""
    ef = W.shape[0]
    for link in range(count):
        e = np.int64(fresh[link])
        found = key(distance(graph.walk, queries, q, graph.points, e), e)
        if size < ef or found < W[ef - 1]:
            place = min(place, insert_key(W, size, found))
            size = min(size + 1, ef)
    return place, size


@kernel
def search_layer_many(graph, queries, rows, W, sizes, visited):
    """`search_layer` on layer 0 for many queries, of which several walk in turn while the vectors of the others come.

    Each walk is that of `search_layer`, step by step; how many, see LANES in visited.py.

    In, out  W (B, ef), sizes (B,): entry points, then what was found
    Shapes   rows (B,) places in queries; visited (LANES, N + 1)
    """
    lanes = visited.shape[0]
    walk, place, count = np.full(lanes, -1), np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    epoch, fresh = np.empty(lanes, np.uint8), np.empty((lanes, graph.neighbors0.shape[1]), np.int32)
    walk_in_turn(graph, queries, rows, W, sizes, visited, walk, place, count, epoch, fresh)


@bare
def walk_in_turn(graph, queries, rows, W, sizes, visited, walk, place, count, epoch, fresh):
    """The walks."""
    lanes = visited.shape[0]
    begun, walking = 0, True
    while walking:
        walking = False
        for lane in range(lanes):
            if walk[lane] < 0:
                if begun == rows.shape[0]:
                    continue
                walk[lane] = begun
                epoch[lane], place[lane], count[lane] = enter(W[begun], sizes[begun], visited[lane]), 0, 0
                begun += 1
            walking = True
            b = walk[lane]
            if count[lane] >= 0:  # their vectors have been asked for: measure them, and ask for the next row's links
                place[lane], sizes[b] = measure(
                    graph, queries, rows[b], fresh[lane], count[lane], W[b], place[lane], sizes[b]
                )
                while place[lane] < sizes[b] and W[b, place[lane]] & EXPANDED:
                    place[lane] += 1
                if place[lane] == sizes[b]:
                    walk[lane] = -1
                    continue
                prefetch(graph.neighbors0, row_of(W[b, place[lane]]))
                count[lane] = -1
            else:
                W[b, place[lane]] |= EXPANDED
                row = row_of(W[b, place[lane]])
                count[lane] = unseen(graph, row, 0, visited[lane], epoch[lane], fresh[lane])
                place[lane] += 1


@kernel
def search_layer_allowed(graph, queries, q, W, size, allowed, visited, fresh):
    """`search_layer` on layer 0 for a filter: W holds only rows that are allowed or have an allowed copy, C holds all.

    Equal to `search_layer` where all are allowed. Goes on while |W| < ef: as every row can be reached, W ends with ef
    rows, or all there are.
    """
    ef = W.shape[0]
    epoch = enter(W, size, visited)
    c_distances, c_labels = np.empty(graph.parent.shape[0], np.float32), np.empty(graph.parent.shape[0], np.int64)
    c_size, w_size = 0, 0
    for place in range(size):  # an entry point that is not allowed leaves W
        entry = W[place]
        c_size = push(c_distances, c_labels, c_size, distance_of(entry), row_of(entry))
        if any_allowed(graph, row_of(entry), allowed):
            W[w_size] = entry
            w_size += 1
    while c_size > 0:
        d, c = c_distances[0], c_labels[0]
        if w_size == ef and W[ef - 1] < key(d, c):
            break
        c_size = pop(c_distances, c_labels, c_size)
        count = unseen(graph, c, 0, visited, epoch, fresh)
        for link in range(count):
            e = np.int64(fresh[link])
            d = distance(graph.walk, queries, q, graph.points, e)
            if w_size < ef or key(d, e) < W[ef - 1]:
                c_size = push(c_distances, c_labels, c_size, d, e)
                if any_allowed(graph, e, allowed):
                    insert_key(W, w_size, key(d, e))
                    w_size = min(w_size + 1, ef)
    return w_size


@bare
def any_allowed(graph, row, allowed):
    """Whether a row or one of its copies is allowed."""
    while row >= 0:
        if allowed[row]:
            return True
        row = np.int64(graph.copies[row])
    return False


# ---- Algorithm 5: K-NN-SEARCH ----------------------------------------------------------------------------------------


@bare
def descend(graph, queries, q, level, W, visited, fresh):
    """Put the entry point for a layer into W; returns 1. For l_c = L … level+1: W ← search-layer(q, W, ef = 1)"""
    entry_point = graph.state[ENTRY]
    W[0] = key(distance(graph.walk, queries, q, graph.points, entry_point), entry_point)
    size = 1
    for layer in range(graph.levels[entry_point], level, -1):
        size = search_layer(graph, queries, q, W[:1], size, layer, visited, fresh)
    return size


@kernel
def search_batch(graph, queries, points, ef, refined, allowed, filtered, sifted, row_ids, ids, distances, visited):
    """Algorithm 5 for each query, into ids (Q, k) and distances (Q, k); places without a result stay as they are.

    refined   how many of W are measured again on the vectors, or 0
    filtered  only the rows of the mask `allowed` are results; sifted: nearly all are, so walk as if all were, a quarter
              wider, and start again with the filter where less than ef are left
    Shapes    queries (Q, D), and as points: the same, or their codes
    """
    wide = ef + ef // 4 if sifted else ef
    W, sizes = np.empty((min(GROUP, queries.shape[0]), wide), np.uint64), np.empty(GROUP, np.int64)
    fresh = np.empty(graph.neighbors0.shape[1], np.int32)
    for first in range(0, queries.shape[0], GROUP):
        rows = np.arange(first, min(first + GROUP, queries.shape[0]))
        for b in range(rows.shape[0]):
            sizes[b] = descend(graph, points, rows[b], 0, W[b], visited[0], fresh)
        if sifted or not filtered:
            search_layer_many(graph, points, rows, W, sizes, visited)
        for b in range(rows.shape[0]):
            q, w = rows[b], W[b, :ef]
            if sifted:
                found = sizes[b]
                sizes[b] = sift(graph, W[b], found, allowed)
                if sizes[b] < ef and found == wide:
                    sizes[b] = descend(graph, points, q, 0, w, visited[0], fresh)
                    sizes[b] = search_layer_allowed(graph, points, q, w, sizes[b], allowed, visited[0], fresh)
            elif filtered:
                sizes[b] = search_layer_allowed(graph, points, q, w, sizes[b], allowed, visited[0], fresh)
            size = min(sizes[b], ef)
            if refined:
                size = refine(graph, queries, q, w, min(size, refined))
            name(graph, w, size, allowed, filtered, row_ids, ids[q], distances[q])


@bare
def sift(graph, W, size, allowed):
    """Keep what is allowed, or has an allowed copy; returns how many."""
    kept = 0
    for place in range(size):
        if any_allowed(graph, row_of(W[place]), allowed):
            W[kept] = W[place]
            kept += 1
    return kept


@bare
def refine(graph, queries, q, W, size):
    """Measure the first `size` of W on the vectors, and sort them by that; returns `size`."""
    for place in range(size):
        prefetch(graph.vectors, row_of(W[place]))
    for place in range(size):
        e = row_of(W[place])
        insert_key(W, place, key(distance(graph.metric, queries, q, graph.vectors, e), e))
    return size


@bare
def name(graph, W, size, allowed, filtered, row_ids, ids, distances):
    """The first k of W and its rows' copies by (distance, id), into ids (k,) and distances (k,)."""
    k, count = ids.shape[0], 0
    for place in range(size):
        d, row = distance_of(W[place]), row_of(W[place])
        if count == k and d > distances[k - 1]:
            break
        while row >= 0:
            if not filtered or allowed[row]:
                if count < k or before(d, row_ids[row], distances[k - 1], ids[k - 1]):
                    insert_sorted(distances, ids, count, d, row_ids[row])
                    count = min(count + 1, k)
            row = np.int64(graph.copies[row])
