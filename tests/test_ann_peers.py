"""ann.HNSW against hnswlib, on rows that vary in few directions: the graph must be no worse."""

import numpy as np
import pytest

import ann
from benchmarks.ann import mixture, tie_aware_recall
from benchmarks.peers import Peer

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def peer():
    with Peer("hnswlib_index") as peer:
        yield peer


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_hnsw_recall_not_below_hnswlib(peer, metric):
    """recall@10 ≥ hnswlib's - .005 at equal M, ef_construction and ef, 10,000 x 64."""
    vectors, queries = mixture(10_000, 64, 0, groups=100), mixture(500, 64, 1, groups=100)
    ours, exact = ann.HNSW(64, metric, M=16, ef_construction=100), ann.Exact(64, metric)
    ours.add(vectors)
    exact.add(vectors)
    truth = exact.search(queries, 10)[1]
    peer.call("keep", name="rows", vectors=vectors)
    peer.call("keep", name="queries", vectors=queries)
    peer.call("build", name=metric, vectors="rows", metric=metric, M=16, ef_construction=100)
    for ef in (10, 20, 40, 80, 160):
        theirs = tie_aware_recall(peer.call("search", name=metric, queries="queries", k=10, ef=ef)[1], truth)
        assert tie_aware_recall(ours.search(queries, 10, ef)[1], truth) >= theirs - 0.005


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_distances_equal_hnswlib(peer, metric):
    """The same units: squared l2, 1 - <q, x>, 1 - cos. Both sum 32 products in float32: (D + 2) u Σ|term| each."""
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((300, 32), np.float32), rng.standard_normal((20, 32), np.float32)
    exact = ann.Exact(32, metric)
    exact.add(vectors)
    peer.call("keep", name="few", vectors=vectors)
    peer.call("keep", name="asked", vectors=queries)
    peer.call("build", name="few", vectors="few", metric=metric)
    ids, distances = peer.call("search", name="few", queries="asked", k=5, ef=300)
    ours = exact.search(queries, 5)
    terms = 2 * (np.linalg.norm(vectors, axis=1).max() + np.linalg.norm(queries, axis=1).max()) ** 2
    np.testing.assert_allclose(ours[1], distances, atol=2 * 34 * 2.0**-24 * terms)
    assert np.array_equal(ours[0], ids.astype(np.int64))
