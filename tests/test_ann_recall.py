"""The recall certificate: the share is right, the interval holds what it says, and tune finds the least setting."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from ann_classes import every, small

import ann
from ann.recall import Recall, interval


def gaussian(seed, n, dim):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def recall_plain(index, exact, queries, k, effort, allow=None):
    """By the definition: ids at most as far as the k-th true one, per true one."""
    got = index.search(queries, k, effort, allow)[1]
    truth = exact.search(queries, k, allow=allow)[1]
    shares = []
    for found, true in zip(got, truth, strict=True):
        true = true[np.isfinite(true)]
        shares.append(sum(d <= true[-1] for d in found if np.isfinite(d)) / len(true) if len(true) else 1.0)
    return np.mean(shares)


@pytest.fixture(scope="module")
def pair():
    rows = gaussian(0, 3000, 12)
    index, exact = ann.IVF(12, "l2", lists=64), ann.Exact(12, "l2")
    index.add(rows), exact.add(rows)
    return index, exact


@pytest.mark.parametrize("nprobe", [1, 4, 64])
@pytest.mark.parametrize("allow", [None, np.arange(0, 3000, 3), np.arange(4)])
def test_recall_equals_definition(pair, nprobe, allow):
    """The mean share over queries, under a filter too, and as a number: it compares, adds, and formats."""
    index, exact = pair
    queries = gaussian(1, 100, 12)
    recall = index.recall(queries, 10, nprobe, allow=allow)
    assert recall == pytest.approx(recall_plain(index, exact, queries, 10, nprobe, allow))
    assert (
        isinstance(recall, float) and 0 <= recall.low <= recall <= recall.high <= 1 and recall + 1 == float(recall) + 1
    )
    assert (recall.k, recall.effort, recall.queries, recall.rows) == (10, nprobe, 100, 3000)
    assert index.certificate is recall and f"{recall:.4f}" in repr(index)


def test_recall_of_a_sample_leaves_out_the_row_itself(pair):
    """Rows of the index that ask for their neighbours: the same as asking with them and striking out their own ids."""
    index, exact = pair
    recall = index.recall(sample=200, k=5, nprobe=2)
    drawn = np.random.default_rng(0).permutation(3000)[:200]
    rows = gaussian(0, 3000, 12)[drawn]
    got, truth = index.search(rows, 6, 2), exact.search(rows, 6)
    shares = []
    for own, ids, distances, true_ids, true in zip(drawn, *got, *truth, strict=True):
        found, worst = distances[ids != own][:5], true[true_ids != own][:5][-1]
        shares.append((found <= worst).sum() / 5)
    assert recall == pytest.approx(np.mean(shares)) and recall.queries == 200
    assert index.recall(sample=10**6, nprobe=64) == 1.0 and index.certificate.queries == 3000


def test_interval_covers_the_truth():
    """95 of 100 intervals hold the mean they were drawn around, whether a query's k trials go together or not."""
    rng = np.random.default_rng(0)
    for p in (0.5, 0.9, 0.99):
        for together in (False, True):
            held = 0
            for _ in range(400):
                trials = rng.random((300, 1 if together else 10)) < p
                low, high = interval(np.repeat(trials, 10 if together else 1, axis=1).mean(axis=1), 10)
                held += low <= p <= high
            assert held / 400 > 0.92, (p, together)
    low, high = interval(np.ones(300), 10)
    assert high == 1.0 and 0.98 < low < 0.99
    assert interval(np.empty(0), 10) == (0.0, 1.0) and interval(np.zeros(5), 10)[0] == 0.0


@every
def test_tune_finds_the_least_setting(make, tmp_path):
    """The lower bound reaches the target, a smaller setting's does not; searches use it, and files keep it."""
    index = small(make, 12, "l2")
    index.add(gaussian(0, 2000, 12))
    recall = index.tune(0.9, k=10, sample=300)
    assert recall.low >= 0.9 and recall.effort == index.effort
    least = 1 if index.knob == "nprobe" else 10
    below = min(int(index.effort / 1.06), index.effort - 2)
    if below >= least:
        assert index.recall(sample=300, k=10, **{index.knob: below}).low < 0.9
    index.certificate = recall
    index.save(tmp_path / "a")
    loaded = ann.load(tmp_path / "a")
    assert loaded.effort == index.effort and repr(loaded) == repr(index)
    assert loaded.certificate.facts() == recall.facts()
    queries = gaussian(1, 20, 12)
    named = loaded.search(queries, 10, **{index.knob: index.effort})
    assert np.array_equal(loaded.search(queries, 10)[0], named[0])


def test_tune_says_what_cannot_be_had(pair):
    """Targets outside (0, 1), and those that so few queries cannot make certain."""
    index, _ = pair
    for target in (0, 1, 1.2):
        with pytest.raises(ValueError, match="target_recall: expected a number between 0 and 1"):
            index.tune(target)
    effort = index.effort
    with pytest.raises(ValueError, match="0.999 is not certain with 50 queries: at nprobe 64 recall is 1.0000"):
        index.tune(0.999, sample=50)
    assert index.effort == effort


@every
def test_certificate_of_nothing(make):
    """An empty index, no queries, nothing allowed: recall 1, by definition, with an interval that says nothing."""
    index = make(3)
    assert index.recall() == 1.0 and index.certificate.low == 0.0
    assert index.recall(gaussian(0, 4, 3)) == 1.0
    index.add(gaussian(0, 9, 3))
    assert index.recall(np.empty((0, 3))) == 1.0 and index.recall(allow=[]) == 1.0 and index.recall(k=50) == 1.0


@pytest.mark.parametrize(
    "facts",
    [
        {"effort": "0"},
        {"effort": "x"},
        {"certificate": "{"},
        {"certificate": '{"k": 3}'},
        {"certificate": "[" * 100_000},
    ],
    ids=lambda facts: str(facts)[:40],
)
def test_false_certificates_are_refused(pair, facts, tmp_path):
    """A file whose setting or certificate cannot be."""
    from ann.files import read_tables, write_tables

    pair[0].save(tmp_path / "a")
    tables, true = read_tables(tmp_path / "a")
    write_tables(tmp_path / "a", tables, {**true, **facts})
    with pytest.raises(ann.CorruptIndexError):
        ann.load(tmp_path / "a")


def test_recall_is_immutable_facts():
    """facts() gives back the same certificate, and so do copy and pickle."""
    recall = Recall(0.5, 0.4, 0.6, 10, 64, 100, 1000)
    for again in (Recall(**recall.facts()), deepcopy(recall), pickle.loads(pickle.dumps(recall))):
        assert again == recall and again.facts() == recall.facts()


def test_recall_and_tune_take_a_function_as_searches_do():
    """A function of an id allows what the array of the ids it says yes to allows."""
    index = ann.HNSW(4, seed=1)
    index.add(np.random.default_rng(0).standard_normal((200, 4)))
    even, queries = np.arange(0, 200, 2), np.random.default_rng(1).standard_normal((50, 4))
    of_function, of_ids = (index.recall(queries, k=3, allow=allow) for allow in (lambda i: i % 2 == 0, even))
    assert of_function.facts() == of_ids.facts()
    assert index.tune(0.5, k=3, queries=queries, allow=lambda i: i % 2 == 0) >= 0.5
