"""ann's other indexes against FAISS, Annoy and NMSLIB at equal settings; graphs brought over from hnswlib and FAISS."""

import numpy as np
import pytest

import ann
from benchmarks.ann import tie_aware_recall
from benchmarks.ann_rivals import pairs
from benchmarks.peers import Peer
from benchmarks.vectors import mixture

pytestmark = pytest.mark.peers
ROWS, DIM = 8000, 32


@pytest.fixture(scope="module")
def peer():
    with Peer("ann_rivals") as peer:
        peer.call("keep", name="rows", vectors=mixture(ROWS, DIM, 0, groups=100))
        peer.call("keep", name="queries", vectors=mixture(300, DIM, 1, groups=100))
        yield peer


@pytest.mark.parametrize("pair", pairs(ROWS, DIM), ids=lambda pair: pair.ours)
def test_recall_not_below_the_library(peer, pair):
    """At the same setting, recall@10 is at least the library's - .02; of exact search, every distance is the same."""
    rows, queries = mixture(ROWS, DIM, 0, groups=100), mixture(300, DIM, 1, groups=100)
    ours, exact = getattr(ann, pair.ours)(DIM, "l2", **pair.options), ann.Exact(DIM, "l2")
    for index in (ours, exact):
        index.add(rows)
    truth = exact.search(queries, 10)[1]
    peer.call("build", name=pair.ours, vectors="rows", library=pair.library, **pair.their_options)
    for effort in pair.efforts[:4]:
        theirs = peer.call("search", name=pair.ours, queries="queries", k=10, effort=effort)
        found = ours.search(queries, 10, **{ours.knob: effort})[1]
        assert tie_aware_recall(found, truth) >= tie_aware_recall(theirs, truth) - 0.02
        if pair.ours == "Exact":
            lengths = np.linalg.norm(queries, axis=1).max() + np.linalg.norm(rows, axis=1).max()
            np.testing.assert_allclose(found, theirs, atol=4 * (DIM + 4) * 2.0**-24 * lengths**2)


@pytest.mark.parametrize("effort", [10, 40])
@pytest.mark.parametrize(
    "library, metric", [("hnswlib", "l2"), ("hnswlib", "cosine"), ("hnswlib", "ip"), ("faiss", "l2"), ("faiss", "ip")]
)
def test_a_graph_brought_over_finds_the_same(peer, library, metric, effort, tmp_path):
    """The library's own ids at the same ef, 99.5 of 100; under ip, where links are added, recall not below its own."""
    rows, queries = mixture(ROWS, DIM, 0, groups=100), mixture(300, DIM, 1, groups=100)
    asked = {"vectors": rows, "path": str(tmp_path / "a"), "library": library, "metric": metric, "queries": queries}
    theirs = peer.call("save_hnsw", k=10, effort=effort, **asked)
    index = ann.from_hnswlib(tmp_path / "a", metric) if library == "hnswlib" else ann.from_faiss(tmp_path / "a")
    assert index.check() == [] and index.metric == metric and len(index) == ROWS
    ids = index.search(queries, 10, effort)[0]
    if metric != "ip":
        assert int(index.metadata["links added"]) <= 20
        assert (ids == theirs).mean() > 0.995
    exact = ann.Exact(DIM, metric)
    exact.add(rows, np.arange(ROWS) * 3)
    truth = exact.search(queries, 10)[0]
    shares = [np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, truth, strict=True)]) for found in (ids, theirs)]
    assert shares[0] >= shares[1] - 0.002
