"""Plain definitions for ann: loops over float64 numbers. The HNSW graph is the paper's, deviating as hnsw.py does."""

import heapq
import math


def distance(metric, a, b):
    """The formulas of ann/distance.py, summed without rounding."""
    a, b = [float(t) for t in a], [float(t) for t in b]
    if metric == "l2":
        return math.fsum((s - t) ** 2 for s, t in zip(a, b, strict=True))
    product = math.fsum(s * t for s, t in zip(a, b, strict=True))
    if metric == "ip":
        return 1 - product
    lengths = math.sqrt(math.fsum(s * s for s in a)) * math.sqrt(math.fsum(t * t for t in b))
    return 1 - product / lengths if lengths else 1.0


def nearest(metric, query, vectors, ids, k):
    """The k smallest (distance, id)."""
    return sorted((distance(metric, query, v), i) for v, i in zip(vectors, ids, strict=True))[:k]


class HNSW:
    """Algorithms 1-5 of Malkov & Yashunin with heaps and sets. links[row][layer] is a list of rows."""

    def __init__(self, metric, M, ef_construction, heuristic=True, extend_candidates=False, keep_pruned=True):
        self.metric, self.M, self.ef_construction = metric, M, ef_construction
        self.heuristic, self.extend, self.keep_pruned = heuristic, extend_candidates, keep_pruned
        self.vectors, self.links, self.parent, self.children = [], [], [], []
        self.chains, self.hanging = {}, set()
        self.entry_point = -1

    def far(self, a, row):
        return distance(self.metric, a, self.vectors[row])

    def insert(self, vector, level):
        self.insert_batch([vector], [level])

    def insert_batch(self, vectors, levels):
        """All walk the graph as it is, meet those before them and choose; all get parents; all get links back."""
        batch = range(len(self.vectors), len(self.vectors) + len(vectors))
        for vector, level in zip(vectors, levels, strict=True):
            self.vectors.append(vector)
            self.links.append([[] for _ in range(level + 1)])
            self.parent.append(-1)
        found = [self.find(q) if self.entry_point >= 0 else ([], None) for q in batch]
        chosen = {}
        for q, (W, original) in zip(batch, found, strict=True):
            twins = [e for e in batch if e < q and list(self.vectors[e]) == list(self.vectors[q])]
            if original is None and twins:
                twin = found[twins[0] - batch[0]][1]
                original = twins[0] if twin is None else twin
            found[q - batch[0]] = W, original
            if original is None:
                linked = [e for e in batch if e < q and found[e - batch[0]][1] is None]
                W += [(self.far(self.vectors[q], e), e) for e in linked]
                W[:] = sorted(W)[: self.ef_construction]
                chosen[q] = self.select_neighbors(q, W, 0)
        for q, (W, original) in zip(batch, found, strict=True):
            if original is not None:
                self.links[q] = [[] for _ in self.links[q]]
                self.chains.setdefault(original, []).append(q)
                self.hanging.add(q)
            elif self.entry_point < 0:
                self.parent[q] = self.entry_point = q
            else:
                self.links[q][0] = list(chosen[q])
                self.parent[q] = self.find_parent(q, W)
                if self.parent[q] not in self.links[q][0]:
                    self.links[q][0].append(self.parent[q])
                self.connect(self.parent[q], q, 0)
                if len(self.links[q]) > len(self.links[self.entry_point]):
                    self.entry_point = q
        for q in batch:
            for layer, links in enumerate(self.links[q]):
                for e in links if layer else chosen.get(q, []):
                    if not (layer == 0 and e == self.parent[q]):
                        self.connect(e, q, layer)

    def find(self, q):
        """(W of layer 0, None) after choosing q's neighbours above it, or (W, a row equal to q)."""
        vector, level, top = self.vectors[q], len(self.links[q]) - 1, len(self.links[self.entry_point]) - 1
        W = [(self.far(vector, self.entry_point), self.entry_point)]
        for layer in range(top, level, -1):
            W = self.search_layer(vector, W, 1, layer)
        for layer in range(min(top, level), -1, -1):
            W = self.search_layer(vector, W, self.ef_construction, layer)
            equal = [e for _, e in W if list(self.vectors[e]) == list(vector)]
            if layer == min(top, level) and equal:
                return W, equal[0]
            if layer:
                self.links[q][layer] = self.select_neighbors(q, W, layer)
        return W, None

    def find_parent(self, q, W):
        limit = max(1, self.M)  # M_max0 / 2

        def children(e):
            return [c for c in self.links[e][0] if self.parent[c] == e != c]

        for _, e in W:
            if len(children(e)) < limit:
                return e
        e = W[0][1]
        while len(children(e)) >= limit:
            e = children(e)[q % limit]
        return e

    def connect(self, e, q, layer):
        most = 2 * self.M if layer == 0 else self.M
        rows = self.links[e][layer] + [q]
        if len(rows) <= most:
            self.links[e][layer] = rows
            return
        tree = [r for r in rows if layer == 0 and (self.parent[r] == e or self.parent[e] == r)]
        rest = sorted((self.far(self.vectors[e], r), r) for r in rows if r not in tree)
        self.links[e][layer] = self.heuristic_choice(rest, most, tree, keep_pruned=False)

    def search_layer(self, q, entry_points, ef, layer):
        visited = {e for _, e in entry_points}
        C = list(entry_points)
        heapq.heapify(C)
        W = [(-d, -e) for d, e in entry_points]
        heapq.heapify(W)
        while C:
            c = heapq.heappop(C)
            if c > (-W[0][0], -W[0][1]):
                break
            for e in self.links[c[1]][layer]:
                if e in visited:
                    continue
                visited.add(e)
                pair = (self.far(q, e), e)
                if len(W) < ef or pair < (-W[0][0], -W[0][1]):
                    heapq.heappush(C, pair)
                    heapq.heappush(W, (-pair[0], -e))
                    if len(W) > ef:
                        heapq.heappop(W)
        return sorted((-d, -e) for d, e in W)

    def select_neighbors(self, q, W, layer):
        if not self.heuristic:
            return [e for _, e in W[: self.M]]
        if self.extend:
            rows = {e for _, e in W} | {a for _, e in W for a in self.links[e][layer]}
            W = sorted((self.far(self.vectors[q], e), e) for e in rows - {q})
        return self.heuristic_choice(W, self.M, [], self.keep_pruned)

    def heuristic_choice(self, candidates, M, chosen, keep_pruned):
        R, pruned = list(chosen), []
        for d, e in candidates:
            if len(R) < M and all(self.far(self.vectors[e], r) >= d for r in R):
                R.append(e)
            else:
                pruned.append(e)
        return R + pruned[: M - len(R)] if keep_pruned else R

    def knn_search(self, q, k, ef):
        W = [(self.far(q, self.entry_point), self.entry_point)]
        for layer in range(len(self.links[self.entry_point]) - 1, 0, -1):
            W = self.search_layer(q, W, 1, layer)
        W = self.search_layer(q, W, ef, 0)
        return sorted((d, r) for d, e in W for r in [e, *self.chains.get(e, [])])[:k]
