"""Fusion of rankings, and maximal marginal relevance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.retrieval.fusion import convex, min_max, reciprocal_rank
from minibert.retrieval.mmr import mmr

rankings = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=1, max_size=3)


@given(rankings, st.sampled_from([1.0, 60.0]), st.data())
def test_reciprocal_rank_is_the_formula(lists, k, data):
    """Σ w / (k + rank) over the rankings that hold a document; best first, ties to the smaller id."""
    weights = data.draw(st.lists(st.floats(0, 3), min_size=len(lists), max_size=len(lists)))
    fused = reciprocal_rank(lists, k, weights)
    expected = {}
    for weight, ranking in zip(weights, lists, strict=True):
        for rank, i in enumerate(ranking, start=1):
            expected[i] = expected.get(i, 0.0) + weight / (k + rank)
    assert dict(zip(fused.ids.tolist(), fused.scores, strict=True)) == pytest.approx(expected)
    assert np.all((np.diff(fused.scores) < 0) | ((np.diff(fused.scores) == 0) & (np.diff(fused.ids) > 0)))
    np.testing.assert_allclose(fused.terms.sum(axis=1), fused.scores)


def test_reciprocal_rank_by_hand():
    """Second in both beats first in one; ranks and terms say why."""
    fused = reciprocal_rank([[1, 2], [3, 2]], k=1)
    assert fused.ids.tolist() == [2, 1, 3]
    assert fused.ranks.tolist() == [[2, 2], [1, 0], [0, 1]]
    np.testing.assert_allclose(fused.terms, [[1 / 3, 1 / 3], [1 / 2, 0], [0, 1 / 2]])


def test_convex_by_hand():
    """Scores on different scales count alike; one that found a document alone gives it its own share only."""
    fused = convex([[1, 2, 3], [3, 4]], [[10.0, 5.0, 0.0], [0.2, 0.1]])
    assert fused.ids.tolist() == [1, 3, 2, 4]
    np.testing.assert_allclose(fused.scores, [0.5, 0.5, 0.25, 0.0])
    assert convex([[1], [2]], [[3.0], [4.0]], weights=[1, 3]).ids.tolist() == [2, 1]


@given(rankings, st.floats(0.1, 10), st.floats(-5, 5))
def test_convex_ignores_scale_and_shift(lists, scale, shift):
    """a · scores + c gives the same ranking as scores."""
    scores = [[1.0 / (1 + i) for i in range(len(ranking))] for ranking in lists]
    moved = [[scale * s + shift for s in row] for row in scores]
    np.testing.assert_allclose(convex(lists, scores).terms, convex(lists, moved).terms, atol=1e-9)


def test_min_max_of_equal_scores_is_one():
    """What a ranking found counts, also where it cannot tell the documents apart."""
    assert min_max(np.array([2.0, 2.0])).tolist() == [1.0, 1.0]
    assert min_max(np.array([])).tolist() == []


@given(st.integers(1, 8), st.integers(1, 9), st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.integers(0, 2**32 - 1))
def test_mmr_is_the_formula(n, k, diversity, seed):
    """Each choice is the best of those left, against all that were selected before."""
    rng = np.random.default_rng(seed)
    relevance, vectors = rng.standard_normal(n), rng.standard_normal((n, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    places, penalties = mmr(relevance, vectors, k, diversity)
    selected = []
    for place, penalty in zip(places.tolist(), penalties, strict=True):
        repeats = [max((unit[i] @ unit[s] for s in selected), default=0.0) for i in range(n)]
        marginal = [(1 - diversity) * relevance[i] - diversity * repeats[i] for i in range(n)]
        assert marginal[place] >= max(marginal[i] for i in range(n) if i not in selected) - 1e-12
        assert penalty == pytest.approx(diversity * repeats[place])
        selected.append(place)
    assert len(set(selected)) == len(selected) == min(n, k)


def test_mmr_holds_back_a_copy_of_any_selected():
    """The third hit repeats the first, not the second: it still comes last."""
    vectors = np.array([[1, 0], [0, 1], [1, 0.01], [-1, -1]], float)
    places, _ = mmr(np.array([1.0, 0.9, 0.8, 0.1]), vectors, 4, diversity=0.5)
    assert places.tolist() == [0, 1, 3, 2]
    assert mmr(np.array([1.0, 0.9, 0.8, 0.1]), vectors, 4, diversity=0.0)[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: reciprocal_rank([[1, 1]]), "ranking 0: an id stands there twice"),
        (lambda: reciprocal_rank([[1]], k=0), "k above 0"),
        (lambda: reciprocal_rank([[1]], weights=[1, 2]), "weights: expected 1"),
        (lambda: reciprocal_rank([[1]], weights=[-1]), "≥ 0"),
        (lambda: convex([[1]], [[float("nan")]]), "finite scores"),
        (lambda: mmr(np.ones(2), np.ones((3, 2)), 1), "expected relevance"),
        (lambda: mmr(np.ones(2), np.full((2, 2), np.inf), 1), "finite"),
        (lambda: mmr(np.ones(2), np.ones((2, 2)), 0), "k ≥ 1"),
        (lambda: mmr(np.ones(2), np.ones((2, 2)), 1, 1.5), "diversity"),
    ],
)
def test_fusion_and_mmr_refuse_bad_input(call, message):
    """Errors say what was expected."""
    with pytest.raises(ValueError, match=message):
        call()
