"""What hnswlib's own Python tests do (bindings_test_{recall,filter,replace,pickle}.py), written against ann."""

import numpy as np
import pytest
from ann_classes import everything

import ann

DIM, N = 16, 2000


def uniform(seed, n=N):
    return np.random.default_rng(seed).random((n, DIM), np.float32)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_recall_against_brute_force(metric):
    """Recall of 10 neighbours above .95 against exact search, in two halves, saved and loaded between them."""
    index, exact = ann.HNSW(DIM, metric, M=16, ef_construction=200), ann.Exact(DIM, metric)
    rows, queries = uniform(0), uniform(1, 100)
    for half in (rows[: N // 2], rows[N // 2 :]):
        index.add(half), exact.add(half)
    ids, truth = index.search(queries, 10, ef=200)[0], exact.search(queries, 10)[0]
    assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(ids, truth, strict=True)]) > 0.95


def test_elements_come_back_after_a_reload(tmp_path):
    """Every row finds itself before and after saving and loading, and more rows can follow."""
    index, rows = ann.HNSW(DIM, "l2", M=16, ef_construction=100), uniform(0)
    index.add(rows[: N // 2])
    assert (index.search(rows[: N // 2], 1, 10)[0][:, 0] == np.arange(N // 2)).mean() == 1.0
    index.save(tmp_path / "a")
    again = ann.load(tmp_path / "a")
    again.add(rows[N // 2 :])
    assert (again.search(rows, 1, 10)[0][:, 0] == np.arange(N)).mean() == 1.0
    assert again.check() == []


@pytest.mark.parametrize("make", [ann.Exact, ann.HNSW])
def test_filter_by_a_function(make):
    """Only even labels: none that is odd comes back, and all ten are there; the same rows as brute force filters."""
    index, exact, rows = make(DIM, "l2"), ann.Exact(DIM, "l2"), uniform(0)
    index.add(rows), exact.add(rows)
    ids, _ = index.search(rows[:50], 10, allow=lambda i: i % 2 == 0, **everything(index))
    truth, _ = exact.search(rows[:50], 10, allow=np.arange(0, N, 2))
    assert (ids % 2 == 0).all() and np.array_equal(ids, truth)


def test_replaced_rows_take_the_place_of_deleted_ones():
    """Delete half, add as many under other ids: the deleted are gone, the new are found, the index has not grown."""
    index, rows, new = ann.HNSW(DIM, "l2", M=16, ef_construction=100), uniform(0), uniform(2, N // 2)
    index.add(rows)
    index.remove(np.arange(N // 2))
    assert (index.search(rows, 5)[0] >= N // 2).all()
    index.add(new, np.arange(N, N + N // 2))
    assert len(index) == N and index._count <= N * 9 // 8
    assert (index.search(new, 1, 50)[0][:, 0] == np.arange(N, N + N // 2)).mean() == 1.0
    assert (index.search(rows, 5)[0] >= N // 2).all() and index.check() == []


def test_persistence_without_pickle(tmp_path):
    """A loaded index answers as the saved one and keeps its settings; what pickle writes is refused as a file."""
    import pickle

    index = ann.HNSW(DIM, "cosine", M=12, ef_construction=80, seed=5)
    index.add(uniform(0))
    index.remove([3, 5])
    index.save(tmp_path / "a")
    again = ann.load(tmp_path / "a")
    assert (again.M, again.ef_construction, again.seed, len(again)) == (12, 80, 5, N - 2)
    for got, expected in zip(again.search(uniform(1, 50), 10), index.search(uniform(1, 50), 10), strict=True):
        assert np.array_equal(got, expected)
    (tmp_path / "b").write_bytes(pickle.dumps({"rows": [1, 2, 3]}))
    with pytest.raises(ann.CorruptIndexError):
        ann.load(tmp_path / "b")
