"""Metrics of labels, entities and answers: recorded values of the libraries, formulas, laws, bad input."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import ROOT
from minibert.formats import Question
from minibert.metrics import pearson, spearman
from minibert.metrics_answers import answer_f1, exact_match, squad
from minibert.metrics_labels import accuracy, entities, entity_f1, f1, matthews

GOLDEN = json.loads((ROOT / "tests" / "golden" / "metrics.json").read_text("utf-8"))
LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1, max_size=30)
TAGS = st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y", "E-X", "S-Y"]), max_size=9)
VALUES = st.lists(st.tuples(*[st.sampled_from([0, 1, 2, 2.5, 1e-9, 1e9])] * 2), min_size=2, max_size=12)


@pytest.mark.parametrize("case", GOLDEN["labels"])
def test_label_metrics_equal_scikit_learns_recorded_values(case):
    """Accuracy, F1 in three averages, Matthews' correlation; one label alone among them."""
    both = case["predicted"], case["expected"]
    assert accuracy(*both) == pytest.approx(case["accuracy"], abs=1e-12)
    for average in ("macro", "micro", "a"):
        assert f1(*both, average) == pytest.approx(case[average], abs=1e-12)
    assert matthews(*both) == pytest.approx(case["matthews"], abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN["tags"])
def test_entity_f1_equals_seqevals_recorded_values(case):
    """In the lenient mode of conlleval and, for IOB2, in the strict one."""
    for mode in {"lenient", "strict"} & case.keys():
        ours = entity_f1(case["predicted"], case["expected"], strict=mode == "strict")
        assert ours == pytest.approx(case[mode], abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN["squad"])
def test_squad_equals_the_scripts_recorded_values(case):
    """All and some unanswerable, thresholds, best thresholds, equal values of no_answer among them."""
    questions = [as_question(texts) for texts in case["right"]]
    ours = squad(questions, case["answers"], case["no_answer"], case["threshold"])
    assert ours == pytest.approx(case["expected"], abs=1e-9)
    without = squad(questions, case["answers"])
    assert not any(name.startswith("best") for name in without)


def as_question(texts):
    """A question with these answers, wherever they stand."""
    context = " ".join(texts)
    starts = [sum(len(text) + 1 for text in texts[:i]) for i in range(len(texts))]
    return Question("q", "?", context, tuple((text, start) for text, start in zip(texts, starts, strict=True) if text))


@pytest.mark.parametrize("case", GOLDEN["correlations"])
def test_correlations_equal_scipys_recorded_values(case):
    """With ties."""
    assert pearson(case["a"], case["b"]) == pytest.approx(case["pearson"], abs=1e-12)
    assert spearman(case["a"], case["b"]) == pytest.approx(case["spearman"], abs=1e-12)


@given(LABELS)
def test_label_metrics_equal_their_definitions(pairs):
    """Counted label by label; Matthews' is the correlation of the one-hot tables."""
    predicted, expected = (list(side) for side in zip(*pairs, strict=True))
    assert accuracy(predicted, expected) == sum(p == e for p, e in pairs) / len(pairs)
    scores = []
    for label in {*predicted, *expected}:
        right = sum(p == e == label for p, e in pairs)
        scores.append(2 * right / (predicted.count(label) + expected.count(label)))
        assert f1(predicted, expected, label) == pytest.approx(scores[-1])
    assert f1(predicted, expected) == pytest.approx(sum(scores) / len(scores))
    assert f1(predicted, expected, "micro") == accuracy(predicted, expected)
    one_hot = [np.array([[float(x == label) for label in "abcd"] for x in side]) for side in (predicted, expected)]
    p, e = (table - table.mean(axis=0) for table in one_hot)
    spread = math.sqrt((p * p).sum() * (e * e).sum())
    assert matthews(predicted, expected) == pytest.approx((p * e).sum() / spread if spread > 1e-9 else 0, abs=1e-9)


@given(TAGS)
def test_entities_cover_their_words_and_no_others(tags):
    """Entities do not overlap, every tag but O is in one; those of the strict mode begin with B."""
    found = entities(tags)
    places = [place for _, start, end in found for place in range(start, end)]
    assert places == [place for place, tag in enumerate(tags) if tag != "O"]
    assert all(tags[start][0] != "O" and {tag[2:] for tag in tags[start:end]} == {kind} for kind, start, end in found)
    strict = entities([tag for tag in tags if tag[0] in "OBI"], strict=True)
    own = [tag for tag in tags if tag[0] in "OBI"]
    assert strict == [entity for entity in entities(own) if own[entity[1]][0] == "B"]


@given(st.lists(TAGS, min_size=1, max_size=4))
def test_entity_f1_of_the_right_tags_is_one(sentences):
    """And of none at all 0."""
    scores = entity_f1(sentences, sentences)
    assert set(scores.values()) == {1.0 if any(tag != "O" for tags in sentences for tag in tags) else 0.0}
    nothing = entity_f1([["O"] * len(tags) for tags in sentences], sentences)
    assert nothing["f1"] == 0


WORDS = st.lists(st.sampled_from(["the", "Paris", "paris", "a", "U.S.", "1,000", "cat"]), max_size=5).map(" ".join)


@given(WORDS, WORDS)
def test_answer_f1_is_symmetric_and_one_for_equal_words(a, b):
    """Whatever the case, punctuation and articles."""
    assert answer_f1(a, b) == answer_f1(b, a)
    assert 0 <= answer_f1(a, b) <= 1
    assert exact_match(a, f"The {a.upper()}!") == answer_f1(a, f"an ({a.lower()}).") == 1
    if exact_match(a, b):
        assert answer_f1(a, b) == 1
    words = [Counter(text.lower().replace(".", "").replace(",", "").split()) for text in (a, b)]
    for counts in words:
        del counts["the"], counts["a"]
    if all(words):
        assert answer_f1(a, b) == pytest.approx(2 * (words[0] & words[1]).total() / sum(w.total() for w in words))


@given(VALUES)
def test_pearson_is_the_correlation(pairs):
    """numpy's; the same for any scale, none where all values are equal."""
    a, b = np.array(pairs, float).T
    if min(len(set(a)), len(set(b))) == 1:
        with pytest.raises(ValueError, match="values that differ"):
            pearson(a, b)
    else:
        assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
        assert pearson(a * 1e200, b * 1e-200) == pytest.approx(pearson(a, b), abs=1e-12)
        assert -1 <= pearson(a, b) <= 1


def test_bad_input_is_told():
    """Lengths that differ, nothing to measure, NaN."""
    question = Question("q", "?", "x")
    for call, message in (
        (lambda: accuracy(["a"], ["a", "b"]), "got 1 and 2"),
        (lambda: f1([], []), "got 0 and 0"),
        (lambda: entity_f1([["O"]], []), "as many predicted sentences as right ones, 0, got 1"),
        (lambda: entity_f1([["O"]], [["O", "O"]]), "sentence 0: expected 2 tags, got 1"),
        (lambda: squad([question], []), "one value for each of 1 questions, got 0"),
        (lambda: squad([], []), "one value for each of 0 questions, got 0"),
        (lambda: squad([question], [""], [0.1, 0.2]), "one value for each of 1 questions, got 2"),
        (lambda: pearson([1.0], [2.0]), "at least two, got 1 and 1"),
        (lambda: pearson([1.0, math.nan], [1.0, 2.0]), "finite values"),
        (lambda: spearman([1.0, math.nan], [1.0, 2.0]), "got NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
