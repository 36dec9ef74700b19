"""ann.HNSW: the graph and the answers against the paper's algorithms in plain Python, and the laws of the index."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import ann
from ann.distance import distance
from ann.hnsw_index import draw_levels
from ann.hnsw_search import search_layer, search_layer_allowed, search_layer_many
from ann.keys import distance_of, key, row_of
from ann.visited import VisitedPool, next_epoch
from helpers import interpreted
from oracles import ann as oracle

pytestmark = pytest.mark.kernels
N = 60 if interpreted() else 1500

# rows of small integers: every sum is exact in float32, ties and copies are everywhere
integer_rows = st.integers(1, 3).flatmap(
    lambda dim: st.lists(st.lists(st.integers(-3, 3), min_size=dim, max_size=dim), min_size=1, max_size=60)
)
options = st.fixed_dictionaries(
    {
        "M": st.integers(2, 5),
        "ef_construction": st.integers(1, 20),
        "heuristic": st.booleans(),
        "extend_candidates": st.booleans(),
        "keep_pruned": st.booleans(),
    }
)


def gaussian(seed, n, dim):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def clusters(seed, n, dim, groups=20, low=6):
    """A mixture of Gaussians that each vary in `low` directions only; the seed chooses the rows, not the mixture."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    centres, bases = fixed.standard_normal((groups, dim)), fixed.standard_normal((groups, low, dim))
    chosen = rng.integers(0, groups, n)
    spread = np.einsum("nl,nld->nd", rng.standard_normal((n, low)), bases[chosen])
    return (centres[chosen] + 0.5 * spread).astype(np.float32)


def links_of(index):
    """links[row][layer], as the oracle keeps them."""
    graph, out = index._graph(), []
    for row in range(index._count):
        first, level = graph.upper_start[row], graph.levels[row]
        lists = [graph.neighbors0[row], *(graph.upper[first + layer] for layer in range(level))]
        out.append([[int(e) for e in links if e >= 0] for links in lists])
    return out


def paper_graph(rows, index):
    parameters = index._parameters
    flags = parameters.heuristic, parameters.extend_candidates, parameters.keep_pruned
    graph = oracle.HNSW(index.metric, index.M, index.ef_construction, *flags)
    for row, level in zip(rows, draw_levels(index.seed, 0, len(rows), index.M).tolist(), strict=True):
        graph.insert(row, level)
    return graph


@given(integer_rows, options, st.sampled_from(["l2", "ip"]), st.integers(0, 99))
@example([[i % 7, i % 5] for i in range(60)], {"M": 2, "ef_construction": 8}, "l2", 0)
def test_hnsw_graph_equals_paper(rows, chosen, metric, seed):
    """The same levels give the graph of Algorithms 1, 2, 3 and 4, link by link, and Algorithm 5's answers."""
    index = ann.HNSW(len(rows[0]), metric, seed=seed, **chosen)
    index.add(rows)
    paper = paper_graph(rows, index)
    assert links_of(index) == paper.links
    assert index._entry_point == paper.entry_point
    assert index._parent[: len(rows)].tolist() == paper.parent
    for ef in (1, 4, 70):
        ids, distances = index.search(rows[:5], k=ef, ef=ef)
        for row in range(len(rows[:5])):
            expected = paper.knn_search(rows[row], ef, min(ef, len(rows)))
            assert ids[row][: len(expected)].tolist() == [i for _, i in expected]
            assert distances[row][: len(expected)].tolist() == [d for d, _ in expected]


@given(integer_rows, options, st.integers(2, 20), st.integers(0, 99))
def test_hnsw_batches_equal_their_definition(rows, chosen, size, seed):
    """Rows that are inserted together: the graph of INSERT's four parts in plain Python, copies among them too."""
    index = ann.HNSW(len(rows[0]), "l2", seed=seed, **chosen)
    index._places = lambda most: np.arange(index._count, index._count + min(most, size if index._count else 1))
    index.add(rows)
    paper = oracle.HNSW("l2", index.M, *index._parameters[2:])
    levels = draw_levels(seed, 0, len(rows), index.M).tolist()
    for start, stop in [(0, 1), *((start, start + size) for start in range(1, len(rows), size))]:
        paper.insert_batch(rows[start:stop], levels[start:stop])
    assert links_of(index) == paper.links and index._entry_point == paper.entry_point
    assert index._parent[: len(rows)].tolist() == paper.parent and index.check() == []


@given(integer_rows, options, st.sampled_from(["l2", "ip", "cosine"]))
def test_hnsw_is_sound(rows, chosen, metric):
    """Whatever the rows and settings, check() finds nothing: links in order, every row reachable."""
    index = ann.HNSW(len(rows[0]), metric, **chosen)
    index.add(rows)
    assert index.check() == []


@given(integer_rows, options, st.sampled_from(["l2", "ip", "cosine"]), st.data())
def test_hnsw_is_exact_where_ef_covers_all(rows, chosen, metric, data):
    """As every row can be reached, ef ≥ N finds what exact search finds, filtered or not, with rows removed or not."""
    index, exact = ann.HNSW(len(rows[0]), metric, **chosen), ann.Exact(len(rows[0]), metric)
    index._better_exact = lambda allowed, ef: False  # always walk the graph
    ids = np.random.default_rng(len(rows)).permutation(len(rows))
    for each in (index, exact):
        each.add(rows, ids)
    removed = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True, max_size=len(rows) - 1))
    allow = data.draw(st.none() | st.lists(st.integers(0, len(rows)), unique=True))
    for each in (index, exact):
        each.remove(removed)
    got, expected = (each.search(rows[:4], k=7, ef=len(rows), allow=allow) for each in (index, exact))
    assert np.array_equal(got[0], expected[0]) and np.array_equal(got[1], expected[1])


def test_hnsw_golden_graph():
    """A recorded graph: 14 points on two lines, M = 2. Changes only where the algorithm does."""
    points = [[i, 0] for i in range(0, 14, 2)] + [[i, 9] for i in range(1, 14, 2)]
    index = ann.HNSW(2, "l2", M=2, ef_construction=6, seed=3)
    index.add(points)
    assert index._levels[:14].tolist() == GOLDEN_LEVELS
    assert links_of(index) == GOLDEN_LINKS


def test_hnsw_levels_follow_the_paper():
    """P(level ≥ l) = M^-l: within four standard deviations for 100,000 draws; drawn alike in one batch or many."""
    levels = draw_levels(0, 0, 100_000, 16)
    for level in (1, 2, 3):
        p = 16.0**-level
        assert abs((levels >= level).mean() - p) < 4 * np.sqrt(p / 100_000)
    parts = [draw_levels(0, start, start + 1000, 16) for start in range(0, 10_000, 1000)]
    assert np.array_equal(np.concatenate(parts), levels[:10_000])


def test_search_layer_allowed_equals_search_layer():
    """The paper's two queues and our one pool find the same rows where all are allowed."""
    index = ann.HNSW(6, "l2", M=4, ef_construction=20)
    index.add(clusters(0, N, 6))
    graph, queries, allowed = index._graph(), clusters(1, 20, 6), np.ones(N, np.bool_)
    visited, fresh = np.zeros(N + 1, np.uint8), np.empty(graph.neighbors0.shape[1], np.int32)
    for q in range(20):
        found = []
        for search, extra in ((search_layer, 0), (search_layer_allowed, allowed)):
            W = np.empty(13, np.uint64)
            W[0] = key(distance(0, queries, q, graph.vectors, 0), 0)
            size = search(graph, queries, q, W, 1, extra, visited, fresh)
            found.append([(float(distance_of(w)), int(row_of(w))) for w in W[:size]])
        assert found[0] == found[1]


def test_hnsw_filter_that_hides_all_the_nearest():
    """Nearly all rows are allowed, but none of those that a walk without the filter ends with: it starts again."""
    index, rows = ann.HNSW(2, "l2", M=4, ef_construction=10), gaussian(0, 160, 2)
    index._better_exact = lambda allowed, ef: False  # always walk the graph
    index.add(rows)
    nearest = np.argsort(((rows - rows[0]) ** 2).sum(axis=1))
    ids, _ = index.search(rows[:1], k=5, ef=8, allow=nearest[20:])
    assert (ids >= 0).all() and not np.isin(ids, nearest[:20]).any()


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("kind", ["all", "half", "shuffled", "groups", "pairs", "few"])
def test_hnsw_copies_hide_nothing(kind, metric):
    """All rows identical, half of them, ten groups, pairs, or fewer rows than M: every row finds itself or a copy."""
    rng, x = np.random.default_rng(0), gaussian(0, 10 if kind == "few" else N, 16)
    half = len(x) // 2
    if kind == "all":
        x[:] = x[0]
    elif kind == "half":
        x[:half] = x[0]
    elif kind == "shuffled":
        x[rng.permutation(len(x))[:half]] = x[0]
    elif kind == "groups":
        x[:half] = x[rng.integers(0, 10, half)]
    elif kind == "pairs":
        x[half : 2 * half] = x[:half]
    index = ann.HNSW(16, metric)
    index.add(x)
    ids, _ = index.search(x, k=1)
    assert (x[ids[:, 0]] == x).all()
    assert index.check() == []


def test_hnsw_recall():
    """recall@10 on clustered rows at ef 64, measured 0.998; a fault in the heuristic or the walk shows at once."""
    index = ann.HNSW(16, "l2")
    index.add(clusters(0, N, 16))
    assert index.recall(clusters(1, 50, 16), 10, 64) > 0.98


def test_recall_counts_ties():
    """A row as near as the k-th true one counts: with copies everywhere recall is 1, whichever copies came back."""
    index = ann.HNSW(2, "l2")
    index.add(np.repeat(gaussian(0, 10, 2), 10, axis=0))
    assert index.recall(gaussian(1, 20, 2), k=5) == 1.0
    assert index.recall(np.empty((0, 2)), k=5) == 1.0
    assert ann.HNSW(2).recall(gaussian(1, 3, 2), k=5) == 1.0


def test_recall_shows_a_bad_graph():
    """With its long links cut, the index's own recall falls."""
    index = ann.HNSW(8, "l2", M=4, ef_construction=8)
    index.add(clusters(0, N, 8))
    index._neighbors0[:N, 1:] = -1
    assert index.recall(clusters(1, 30, 8), 10, 10) < 0.9


@pytest.mark.parametrize("threads", [2, 5])
def test_hnsw_threads_do_not_show(threads):
    """Any number of threads gives the answers of one."""
    index, queries = ann.HNSW(8), gaussian(1, 41, 8)
    index.add(gaussian(0, N, 8))
    for allow in (None, np.arange(0, N, 2)):
        one, many = index.search(queries, allow=allow), index.search(queries, allow=allow, threads=threads)
        assert np.array_equal(one[0], many[0]) and np.array_equal(one[1], many[1])


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
def test_hnsw_build_threads_do_not_show(quantize, tmp_path):
    """Built on one thread or three, in the same calls: the same bytes in the file."""
    x = clusters(0, N, 5)
    for threads in (1, 3):
        index = ann.HNSW(5, seed=4, M=4, ef_construction=30, quantize=quantize)
        for start in (0, N // 2):
            index.add(x[start : start + N // 2], threads=threads)
        index.save(tmp_path / str(threads))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes() and index.check() == []


def test_hnsw_compact_is_a_new_index():
    """After compact the graph is that of a new index which was given only the live rows."""
    x, whole, fewer = gaussian(0, N // 5, 5), ann.HNSW(5, seed=4), ann.HNSW(5, seed=4)
    whole.add(x)
    fewer.add(np.concatenate([gaussian(9, 20, 5), x]))
    fewer.remove(np.arange(20))
    fewer.compact()
    assert links_of(fewer) == links_of(whole)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_hnsw_filter_keeps_recall(share):
    """At every selectivity: only allowed rows, min(k, allowed) of them, recall of the unfiltered search or better."""
    index, queries = ann.HNSW(16, "l2"), clusters(1, 40, 16)
    index.add(clusters(0, N, 16), np.arange(N) * 3)
    mask = np.random.default_rng(2).random(N) < share
    for walk in (False, True):
        if walk:
            index._better_exact = lambda allowed, ef: False
        ids, distances = index.search(queries, allow=mask)
        by_id = index.search(queries, allow=index.ids[mask])
        assert np.array_equal(ids, by_id[0]) and np.array_equal(distances, by_id[1])
        assert np.isin(ids[ids >= 0], index.ids[mask]).all()
        assert ((ids >= 0).sum(axis=1) == min(10, mask.sum())).all()
        assert index.recall(queries, 10, 64, allow=mask) > 0.98


def test_hnsw_removed_entry_point_and_all():
    """Without the entry point, then without any row, then filled again: answers stay right."""
    x = gaussian(0, 50, 4)
    index = ann.HNSW(4, "l2", M=3)
    index.add(x)
    index.remove([index._entry_point])
    gone = int(np.setdiff1d(np.arange(50), index.ids)[0])
    ids, _ = index.search(x, k=50)
    assert gone not in ids and (ids[:, -1] == -1).all() and len(set(ids[0][:49])) == 49
    index.remove(index.ids)
    assert len(index) == 0 and (index.search(x, k=3)[0] == -1).all() and index.check() == []
    index.add(x, np.arange(50))
    assert (index.search(x, k=1)[0][:, 0] == np.arange(50)).all() and index.check() == []


def test_hnsw_churn():
    """40 rounds that replace 5 % of the rows lose none, and recall stays within .01 of a fresh build."""
    n, rng = N, np.random.default_rng(0)
    index, fresh, x = ann.HNSW(16, "l2"), ann.HNSW(16, "l2"), gaussian(0, N, 16)
    index.add(x)
    for _ in range(40 if not interpreted() else 4):
        rows = rng.choice(n, n // 20, replace=False)
        x[rows] = gaussian(rng.integers(1 << 30), len(rows), 16)
        index.add(x[rows], rows)
    assert (index.search(x, k=1, ef=50)[0][:, 0] == np.arange(n)).all()
    assert index.check() == []
    fresh.add(x)
    queries = gaussian(2, 50, 16)
    assert index.recall(queries, 10, 64) >= fresh.recall(queries, 10, 64) - 0.01


def test_visited_epochs_wrap():
    """More searches than stamps: the array is cleared and nothing old counts as seen."""
    with VisitedPool(2).borrow(3) as visited:
        seen = []
        for _ in range(600):
            epoch = next_epoch(visited[1])
            seen.append(int((visited[1, 1:] == epoch).sum()))
            visited[1, 2] = epoch
    assert seen == [0] * 600


def test_search_layer_many_equals_search_layer():
    """Walks that take turns find, each, what they find alone: more walks than lanes, some of one row."""
    index = ann.HNSW(6, "l2", M=4, ef_construction=20)
    index.add(clusters(0, N, 6))
    graph, queries, rows = index._graph(), clusters(1, 20, 6), np.array([3, 3, *range(18)])
    W = np.array([[key(distance(0, queries, q, graph.vectors, 5), 5)] * 9 for q in rows], np.uint64)
    sizes = np.array([q % 5 > 0 for q in rows], np.int64)
    alone, sizes_alone, visited = W.copy(), sizes.copy(), np.zeros((4, N + 1), np.uint8)
    fresh = np.empty(graph.neighbors0.shape[1], np.int32)
    search_layer_many(graph, queries, rows, W, sizes, visited)
    for b, q in enumerate(rows):
        sizes_alone[b] = search_layer(graph, queries, q, alone[b], sizes_alone[b], 0, visited[2], fresh)
        assert np.array_equal(W[b, : sizes[b]], alone[b, : sizes_alone[b]])
    assert np.array_equal(sizes, sizes_alone)


GOLDEN_LEVELS = [0, 0, 2, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1]
GOLDEN_LINKS = [
    [[1, 2, 7]],
    [[0, 2, 7]],
    [[1, 3, 9], [3, 8], []],
    [[2, 4, 10], [2, 11]],
    [[3, 5, 11]],
    [[4, 3, 6, 12]],
    [[5, 4, 13]],
    [[0, 1, 8]],
    [[7, 1, 9], [11, 2]],
    [[8, 2, 10]],
    [[9, 3, 11]],
    [[10, 4, 12], [13, 8]],
    [[11, 5, 13]],
    [[12, 6], [11, 8]],
]
