"""Measures of rankings, and the files of test collections."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.retrieval.measures import mean, measure, paired_bootstrap, ranking
from minibert.retrieval.trec import CollectionError, read_beir, read_qrels, read_run, without_self_hits, write_run
from oracles.trec import measures as oracle

documents = st.sampled_from([f"d{i}" for i in range(12)])
judgements = st.dictionaries(documents, st.integers(-1, 3), max_size=8)
scores = st.sampled_from([0.0, 1.0, 1.0 + 1e-9, -2.5]) | st.floats(-100, 100)
runs = st.dictionaries(documents, scores, max_size=12)


@given(judgements, runs, st.integers(1, 14))
def test_measures_are_their_definitions(judged, found, k):
    """P, recall, MRR, MAP and nDCG of one query, ties and unjudged documents included."""
    gains = [judged.get(id, 0) for id in ranking(found)]
    expected = oracle(gains, list(judged.values()), k)
    assert measure({"q": judged}, {"q": found}, [k])["q"] == pytest.approx(expected)


def test_ranking_breaks_ties_by_the_larger_id():
    """Scores that are equal in float32 are equal."""
    assert ranking({"a": 1.0, "b": 1.0 + 1e-9, "c": 2.0, "d": 0.5}) == ["c", "b", "a", "d"]


def test_measures_by_hand():
    """The recorded values of trec_eval for one small case."""
    judged = {"q1": {"a": 1, "b": 2, "c": 0, "d": -1}, "q2": {"a": 0}, "q3": {"a": 1}}
    values = measure(
        judged, {"q1": {"a": 0.5, "b": 0.5, "x": 0.7, "d": 0.9}, "q2": {"a": 1.0}, "q9": {"a": 1.0}}, [1, 3, 5]
    )
    assert values["q1"]["ndcg@3"] == pytest.approx(0.38009376671593426)
    assert values["q1"]["ndcg@5"] == pytest.approx(0.543791241910304)
    assert values["q1"]["map@5"] == pytest.approx(0.41666666666666663)
    assert values["q1"]["map@3"] == pytest.approx(0.16666666666666666)
    assert values["q1"]["mrr@3"] == pytest.approx(1 / 3) and values["q1"]["mrr@1"] == 0
    assert not any(values["q2"].values()) and not any(values["q3"].values())
    assert mean(values)["recall@5"] == pytest.approx(1 / 3)


@given(st.dictionaries(st.sampled_from(["q1", "q2", "q3"]), runs.filter(len), max_size=3))
def test_run_file_gives_the_run_back(tmp_path_factory, run):
    """Scores come back bit for bit, queries and documents by name."""
    path = tmp_path_factory.mktemp("trec") / "run.txt"
    write_run(path, run)
    assert read_run(path) == run


def test_beir_folder_is_read(tmp_path):
    """Corpus, queries and judgements, gzip or not, with the folder's usual names."""
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq 1\td1\t2\nq2\td2\t0\n")
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.write('{"_id": "d1", "title": "T", "text": "one"}\n\n{"_id": "d2", "text": ""}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q 1", "text": "what?"}\n')
    beir = read_beir(tmp_path)
    assert list(beir.documents()) == [
        {"id": "d1", "text": "one", "title": "T"},
        {"id": "d2", "text": "", "title": None},
    ]
    assert beir.queries == {"q 1": "what?"}
    assert beir.judgements == {"q 1": {"d1": 2}, "q2": {"d2": 0}}


@pytest.mark.parametrize(
    "read, line, message",
    [
        (read_qrels, "q1 0 d1", "file:2: expected a whole number as relevance, got 'd1'"),
        (read_qrels, "q1 0 d1 1.5", "file:2: expected a whole number"),
        (read_qrels, "q1 d1", "file:2: expected 3 or 4 columns, got 2"),
        (read_qrels, "q0 0 d0 1", "file:2: document 'd0' is judged twice"),
        (read_run, "q1 Q0 d1 1 x tag", "file:2: expected a finite score, got 'x'"),
        (read_run, "q1 Q0 d1 1 inf tag", "file:2: expected a finite score"),
        (read_run, "q1 Q0 d1 1 0.5", "file:2: expected 6 columns"),
        (read_run, "q0 Q0 d0 2 0.5 tag", "file:2: document 'd0' stands there twice"),
    ],
)
def test_collection_files_name_the_wrong_line(tmp_path, read, line, message):
    """File, line number, expected and got."""
    first = "q0 0 d0 1" if read is read_qrels else "q0 Q0 d0 1 0.5 tag"
    path = tmp_path / "file"
    path.write_text(f"{first}\n{line}\n")
    with pytest.raises(CollectionError, match=message):
        read(path)


@pytest.mark.parametrize(
    "corpus, message",
    [
        ("{", "corpus.jsonl:1: not JSON"),
        ("[]", "corpus.jsonl:1: expected an object"),
        ('{"_id": 3, "text": "x"}', 'corpus.jsonl:1: expected "_id"'),
        ('{"_id": "a"}', 'corpus.jsonl:1: expected "text"'),
    ],
)
def test_beir_names_the_wrong_line(tmp_path, corpus, message):
    """A corpus that is not BEIR's, or is missing."""
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "x"}) + "\n")
    (tmp_path / "qrels.tsv").write_text("q 0 d 1\n")
    with pytest.raises(CollectionError, match="lacks corpus.jsonl"):
        read_beir(tmp_path)
    (tmp_path / "corpus.jsonl").write_text(corpus + "\n")
    with pytest.raises(CollectionError, match=message):
        list(read_beir(tmp_path).documents())


def test_run_refuses_what_its_file_cannot_hold(tmp_path):
    """White space in an id would shift the columns; the old file stays."""
    write_run(tmp_path / "run", {"q": {"d": 1.0}})
    with pytest.raises(ValueError, match="without white space"):
        write_run(tmp_path / "run", {"q": {"a b": 1.0}})
    assert read_run(tmp_path / "run") == {"q": {"d": 1.0}}


def test_self_hits_are_left_out():
    """A question that is its own nearest neighbour proves nothing."""
    run = {"a": {"a": 1.0, "b": 0.5}}
    assert without_self_hits(run, {"a": {"b": 1}}) == {"a": {"b": 0.5}}
    assert without_self_hits(run, {"a": {"b": 1}, "b": {"b": 0}}) == run  # ids by chance equal, as in Cranfield


def test_paired_bootstrap_tells_chance_from_difference():
    """A constant gain is sure; equal runs and noise around 0 are not."""
    rng = np.random.default_rng(0)
    a = rng.random(100)
    sure = paired_bootstrap(a, a + 0.1 + 0.01 * rng.random(100), np.random.default_rng(1), 1000)
    assert sure.p < 0.01 and sure.low > 0.09
    noise = paired_bootstrap(a, a + rng.standard_normal(100), np.random.default_rng(1), 1000)
    assert noise.p > 0.01 and noise.low < noise.mean < noise.high
    assert paired_bootstrap(a, a, np.random.default_rng(1), 100).p == 1.0
    assert paired_bootstrap(a, a + 1, np.random.default_rng(1), 100) == paired_bootstrap(
        a, a + 1, np.random.default_rng(1), 100
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: measure({"q": {}}, {}, [0]), "cuts ≥ 1"),
        (lambda: measure({"q": {}}, {"q": {"d": float("nan")}}), "'d' has a score that is not a number"),
        (lambda: mean({}), "got none"),
        (lambda: paired_bootstrap([1.0], [1.0, 2.0], np.random.default_rng(0)), "shapes"),
        (lambda: paired_bootstrap([], [], np.random.default_rng(0)), "shapes"),
    ],
)
def test_measures_refuse_bad_input(call, message):
    """Errors say what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
