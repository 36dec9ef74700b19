"""BM25's scores equal those of bm25s, word for word."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from minibert.metrics import mrr_at_k, recall_at_k
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.measures import measure
from minibert.retrieval.words import words
from minibert.stdlib_corpus import docstrings

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("k1, b", [(1.5, 0.75), (1.2, 0.75), (0.9, 0.4)])
def test_bm25_scores_equal_bm25s(k1, b):
    """Every score of 200 questions against 2,000 docstrings."""
    texts = [doc.text for doc in docstrings()][:2200]
    queries = [" ".join(words(text)[:8]) or "nothing" for text in texts[2000:]]
    index = BM25(k1, b)
    index.add(texts[:2000])
    with Peer("bm25s_index") as peer:
        peer.call("build_words", name="index", words=[words(text) for text in texts[:2000]], k1=k1, b=b)
        theirs = peer.call("scores", name="index", queries=[words(query) for query in queries])
    ours = np.stack([index.scores(query) for query in queries])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    print(f"{ours.size:,} scores: largest difference {np.abs(ours - theirs).max():.1e}")


def test_measures_of_one_answer_equal_trec_eval():
    """MRR@k and recall@k of rankings with one relevant id each, or without it."""
    rng = np.random.default_rng(3)
    ranked, relevant = np.stack([rng.permutation(30)[:20] for _ in range(50)]), rng.integers(0, 30, 50)
    judgements = {f"q{q}": {f"d{right}": 1} for q, right in enumerate(relevant)}
    run = {f"q{q}": {f"d{d}": float(-place) for place, d in enumerate(row)} for q, row in enumerate(ranked)}
    with Peer("trec_eval") as peer:
        theirs = peer.call("evaluate", judgements=judgements, run=run, cuts=(5, 20))
    for k in (5, 20):
        assert recall_at_k(ranked, relevant, k) == pytest.approx(np.mean([q[f"recall_{k}"] for q in theirs.values()]))
        cut = [q["recip_rank"] * (q["recip_rank"] * k >= 1) for q in theirs.values()]
        assert mrr_at_k(ranked, relevant, k) == pytest.approx(np.mean(cut))


def test_measures_equal_trec_eval():
    """Every measure of 300 random queries, with ties, unjudged and negative documents."""
    rng, cuts = np.random.default_rng(0), (1, 3, 5, 10, 100, 1000)
    names = {"p": "P", "recall": "recall", "map": "map_cut", "ndcg": "ndcg_cut"}
    judgements, run = {}, {}
    for q in range(300):
        documents = [f"d{i}" for i in rng.permutation(40)]
        judgements[f"q{q}"] = {d: int(rng.integers(-1, 4)) for d in documents[: rng.integers(1, 30)]}
        found = rng.permutation(documents)[: rng.integers(1, 40)].tolist()
        run[f"q{q}"] = {d: float(rng.integers(0, 8)) / 8 for d in found}
    with Peer("trec_eval") as peer:
        theirs = peer.call("evaluate", judgements=judgements, run=run, cuts=cuts)
    ours = measure(judgements, run, cuts)
    for query, values in ours.items():
        for name, value in values.items():
            kind, _, cut = name.partition("@")
            if kind == "mrr":
                rank = theirs[query]["recip_rank"]
                expected = rank if rank * int(cut) >= 1 else 0.0
            else:
                expected = theirs[query][f"{names[kind]}_{cut}"]
            assert value == pytest.approx(expected, rel=1e-12), (query, name)
    print(f"{sum(map(len, ours.values())):,} values of {len(ours)} queries: equal")
