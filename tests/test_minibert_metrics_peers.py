"""Metrics of labels, entities and similarities against scikit-learn, seqeval and scipy, on random data with ties."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from minibert.metrics import pearson, spearman
from minibert.metrics_labels import accuracy, entity_f1, f1, matthews

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def peer():
    with Peer("label_metrics") as peer:
        yield peer


def test_label_metrics_equal_scikit_learns(peer):
    """50 lists of 1 to 40 labels."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        both = rng.choice(list("abcde")[: rng.integers(1, 6)], (2, rng.integers(1, 41))).tolist()
        theirs = peer.call("labels", predicted=both[0], expected=both[1])
        ours = {"accuracy": accuracy(*both), "matthews": matthews(*both)}
        ours |= {average: f1(*both, average) for average in ("macro", "micro")}
        assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("strict", [False, True])
def test_entity_f1_equals_seqevals(peer, strict):
    """50 sets of sentences whose tags follow no rule, so that every transition occurs."""
    rng = np.random.default_rng(1)
    tags = ["O", "B-X", "I-X", "B-Y", "I-Y"] + ([] if strict else ["E-X", "S-X", "S-Y", "E-Y"])
    for _ in range(50):
        lengths = rng.integers(1, 12, 5)
        expected = [rng.choice(tags, n).tolist() for n in lengths]
        predicted = [[t if rng.random() < 0.7 else str(rng.choice(tags)) for t in own] for own in expected]
        theirs = peer.call("entity_scores", predicted=predicted, expected=expected, strict=strict)
        assert entity_f1(predicted, expected, strict) == pytest.approx(theirs, abs=1e-12)


def test_correlations_equal_scipys(peer):
    """50 lists with many ties."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        a, b = rng.integers(0, 6, (2, rng.integers(3, 30))).astype(float)
        a[:2], b[:2] = (0, 1), (1, 0)
        ours = pearson(a, b), spearman(a, b)
        assert ours == pytest.approx(peer.call("correlations", a=a, b=b), abs=1e-12)
