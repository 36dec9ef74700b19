"""Stages of a search: words beside vectors, conditions, a second model, diversity; and what hits say of them."""

import json
import warnings

import numpy as np
import pytest

import ann.hnsw_index
from helpers import HashEncoder
from minibert.retrieval import Store, StoreError
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.evaluate import collection_runs
from minibert.retrieval.fusion import convex, reciprocal_rank
from minibert.retrieval.measures import mean, measure
from minibert.retrieval.trec import read_beir

ENCODER = HashEncoder()
WORDS = [f"word{i}" for i in range(40)]
LANGUAGES = ("de", "en", "fr")


def documents(count, seed=0):
    """Documents of random words with a year and a language."""
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"d{i}",
            "text": " ".join([f"d{i}", *rng.choice(WORDS, 8)]),
            "metadata": {"year": 2000 + i % 10, "lang": LANGUAGES[i % 3], "é": i % 2},
        }
        for i in range(count)
    ]


class Shared:
    """A reranker that counts the letters that question and passage share."""

    def score(self, query, documents):
        return [len(set(query) & set(text)) + len(text) / 1000 for text in documents]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("store"), ENCODER) as store:
        store.add(documents(60))
        yield store


def test_hybrid_fuses_what_both_stages_found(store):
    """The order is that of reciprocal rank fusion over the store's dense ranking and BM25's; terms add up."""
    question = "word1 word2 d7"
    texts = [d["text"] for d in documents(60)]
    words = BM25()
    words.add(texts)
    by_words = [f"d{i}" for i in words.search([question], 60)[0][0] if i >= 0]
    by_vectors = [hit.id for hit in store.search(question, k=60)]
    number = {d["id"]: i for i, d in enumerate(documents(60))}
    fused = reciprocal_rank([[number[id] for id in ids] for ids in (by_vectors, by_words)])
    hits = store.search(question, k=20, hybrid=True)
    assert [hit.id for hit in hits] == [f"d{i}" for i in fused.ids[:20]]
    np.testing.assert_allclose([hit.score for hit in hits], fused.scores[:20])
    for rank, hit in enumerate(hits, start=1):
        fusion = hit.stages["fusion"]
        assert fusion["rank"] == rank and fusion["score"] == hit.score
        assert sum(fusion["terms"].values()) == pytest.approx(hit.score)
        assert hit.stages["dense"]["rank"] == by_vectors.index(hit.id) + 1
        assert ("sparse" in hit.stages) == (hit.id in by_words)
        if "sparse" in hit.stages:
            terms = hit.stages["sparse"]["terms"]
            assert sum(terms.values()) == pytest.approx(hit.stages["sparse"]["score"])
            assert terms.keys() == set(question.split()) & set(hit.text.split())
    assert set(hits.times) == {"encode", "dense", "sparse", "fusion", "read"}


def test_hybrid_by_convex_scores_and_weights(store):
    """Weights of vectors and words: one of them alone gives that stage's order."""
    question = "word3 word4 d9"
    dense, hybrid = (store.search(question, k=60, candidates=60, **o) for o in ({}, {"hybrid": True}))
    alone = store.search(question, k=60, hybrid=True, fusion="convex", weights=(1, 0))
    assert [hit.id for hit in alone][:30] == [hit.id for hit in dense][:30]
    sparse = sorted((h for h in hybrid if "sparse" in h.stages), key=lambda h: h.stages["sparse"]["rank"])
    found = store.search(question, k=60, hybrid=True, fusion="convex", weights=(0, 1))
    scores = [h.stages["sparse"]["score"] for h in sparse]
    expected = convex([[int(h.id[1:]) for h in sparse]], [scores], [1])
    np.testing.assert_allclose([h.score for h in found[: len(sparse)]], expected.scores)


def test_hybrid_answers_a_question_the_encoder_does_not_know(tmp_path):
    """All words unknown to the tokenizer: refused by vectors, found by words."""
    from helpers import tiny_tokenizer
    from minibert.models.dual_encoder import DualEncoder, DualEncoderConfig

    tokenizer = tiny_tokenizer()
    config = DualEncoderConfig(tokenizer.vocab_size, width=8, layers=1, heads=2, ffn=8, dim=4)
    with Store.open(tmp_path, DualEncoder.create(tokenizer, config)) as store:
        store.add([{"id": "a", "text": "the cat sat ZZZ"}, {"id": "b", "text": "a dog"}])
        with pytest.raises(ValueError, match="none of its words"):
            store.search("ZZZ")
        hits = store.search("ZZZ", hybrid=True)
    assert [hit.id for hit in hits] == ["a"] and "dense" not in hits[0].stages


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"hybrid": True}, {"rerank": Shared()}, {"diversity": 0.5}])
def test_where_excludes_at_every_stage(store, options):
    """No hit breaks the condition, and all that meet it are there."""
    where = {"year": {"$gte": 2005}, "$or": [{"lang": "de"}, {"é": 1}]}
    meet = {
        d["id"]
        for d in documents(60)
        if d["metadata"]["year"] >= 2005 and (d["metadata"]["lang"] == "de" or d["metadata"]["é"] == 1)
    }
    hits = store.search("word1 word5", k=60, where=where, **options)
    assert {hit.id for hit in hits} == meet and hits.matching == len(meet)
    assert store.search("word1", where={"year": 1900}, **options) == []


@pytest.mark.parametrize(
    ("options", "exact"), [({}, False), ({"exact": True}, True), ({"where": {"year": 2003}}, True)]
)
def test_hits_tell_whether_all_vectors_were_scanned(store, monkeypatch, options, exact):
    """Exact where asked for, and where so few passages meet the condition that HNSW scans them."""
    monkeypatch.setattr(ann.HNSW, "effort", 1)
    scanned, scan = [], ann.hnsw_index.exact_search
    monkeypatch.setattr(ann.hnsw_index, "exact_search", lambda *a: scanned.append(a) or scan(*a))
    assert store.search("word1", k=1, **options)[0].stages["dense"]["exact"] is exact
    assert bool(scanned) == ("where" in options)


def test_rerank_orders_the_candidates_by_the_model(store):
    """The candidates of the stage before, in the order of the model's scores."""
    question, model = "word1 d11", Shared()
    before = store.search(question, k=30, candidates=30)
    hits = store.search(question, k=30, rerank=model, candidates=30)
    scores = model.score(question, [hit.text for hit in before])
    assert [hit.id for hit in hits] == [before[i].id for i in np.argsort(-np.array(scores), kind="stable")]
    assert all(hit.score == hit.stages["rerank"]["score"] for hit in hits)
    assert store.search(question, k=3, rerank=model, candidates=30) == hits[:3]


def test_rerank_refuses_scores_that_do_not_fit(store):
    """A model that gives too few scores, or NaN."""

    class Broken:
        def __init__(self, scores):
            self.score = lambda query, documents: scores(len(documents))

    for scores in (lambda n: [1.0], lambda n: [float("nan")] * n):
        with pytest.raises(ValueError, match="the reranker gave"):
            store.search("word1", rerank=Broken(scores))


def test_diversity_holds_back_what_repeats(tmp_path):
    """Of two equal passages the second comes after another one; the penalty says so."""
    given = [("a", "cats sleep"), ("b", "cats sleep"), ("c", "cats hunt mice"), ("d", "rain falls")]
    with Store.open(tmp_path, ENCODER) as store:
        store.add({"id": id, "text": text} for id, text in given)
        plain = store.search("cats sleep", k=4)
        hits = store.search("cats sleep", k=4, diversity=0.6)
    assert [hit.id for hit in plain][:2] == ["a", "b"]
    assert hits[0].id == "a" and hits[-1].id == "b"
    for hit in hits:
        note = hit.stages["diversity"]
        assert note["score"] == pytest.approx(0.4 * note["relevance"] - note["penalty"])
    assert hits[0].stages["diversity"]["penalty"] == 0
    assert hits[-1].stages["diversity"]["penalty"] == pytest.approx(0.6)


def test_words_follow_adds_deletes_and_reopening(tmp_path):
    """The sparse side loses what is deleted and gains what is added, also after reopening, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for turn in range(3):
            with Store.open(tmp_path, ENCODER) as store:
                store.add([{"id": f"n{turn}", "text": f"unique{turn} thing"}])
                assert store.search(f"unique{turn}", hybrid=True)[0].id == f"n{turn}"
                if turn:
                    store.delete([f"n{turn - 1}"])
                    hits = store.search(f"unique{turn - 1}", hybrid=True)
                    assert all("sparse" not in hit.stages for hit in hits)
    assert (tmp_path / "index.bm25").is_file()


def test_a_damaged_words_file_is_named(tmp_path):
    """A flipped byte stops hybrid search with the remedy; the remedy works."""
    with Store.open(tmp_path, ENCODER) as store:
        store.add(documents(5))
        store.search("word1", hybrid=True)
    path = tmp_path / "index.bm25"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with Store.open(tmp_path, ENCODER) as store:
        assert store.search("word1")
        with pytest.raises(StoreError, match="index.bm25.* delete .*index.bm25"):
            store.search("word1", hybrid=True)
    path.unlink()
    with Store.open(tmp_path, ENCODER) as store:
        assert store.search("word1", hybrid=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 3}, "candidates: expected an integer ≥ 10, got 3"),
        ({"candidates": float("nan")}, "candidates: expected an integer ≥ 10, got nan"),
        ({"k": "5"}, "k: expected an integer ≥ 1, got '5'"),
        ({"diversity": "0.5"}, "diversity in"),
        ({"diversity": float("nan")}, "diversity in"),
        ({"fusion": "sum", "hybrid": True}, "fusion: expected one of"),
        ({"diversity": 1.5}, "diversity in"),
        ({"where": {"year": {"$near": 3}}}, "where.year: expected an operator"),
        ({"weights": (1, 2, 3), "hybrid": True}, "weights: expected 2"),
        ({"weights": (1, 2)}, "expected hybrid=True"),
        ({"fusion": "convex"}, "expected hybrid=True"),
        ({"where": {"a": "\ud800"}}, r"where.a.\$eq: a lone surrogate at position 0"),
    ],
)
def test_search_refuses_impossible_options(store, options, message):
    """Each option that cannot be, with what was expected."""
    with pytest.raises(ValueError, match=message):
        store.search("word1", **options)


def test_collection_runs_are_what_each_index_finds(tmp_path):
    """Exact and HNSW agree on a small collection; every document that is its own question comes first."""
    given = documents(30)
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": d["id"], "title": f"title{d['id']}", "text": d["text"]}) + "\n" for d in given)
    )
    (tmp_path / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": f"titled{i} {given[i]['text']}"}) + "\n" for i in range(5))
        + json.dumps({"_id": "unjudged", "text": "word1"})
    )
    (tmp_path / "qrels.tsv").write_text("".join(f"q{i} 0 d{i} 1\n" for i in range(5)))
    collection = read_beir(tmp_path)
    runs = collection_runs(ENCODER, collection, depth=30)
    assert list(runs) == ["exact", "hnsw", "bm25", "hybrid"]
    assert all(run.keys() == collection.judgements.keys() for run in runs.values())
    assert runs["exact"] == runs["hnsw"]
    for name, run in runs.items():
        assert mean(measure(collection.judgements, run, [1]))["mrr@1"] == 1.0, name
