"""Ranking metrics against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import metrics
from minibert.metrics import mrr_at_k, recall_at_k, spearman


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_mrr_and_recall_equal_their_definitions(queries, width, k, seed):
    """One query at a time: 1 / rank and whether it is there at all, among the first k."""
    rng = np.random.default_rng(seed)
    ranked = np.array([rng.permutation(8)[:width] for _ in range(queries)])
    relevant = rng.integers(0, 8, queries)
    reciprocal = [0.0] * queries
    for i in range(queries):
        for place, found in enumerate(ranked[i][:k], 1):
            if found == relevant[i]:
                reciprocal[i] = 1 / place
    assert mrr_at_k(ranked, relevant, k) == pytest.approx(sum(reciprocal) / queries)
    assert recall_at_k(ranked, relevant, k) == pytest.approx(sum(r > 0 for r in reciprocal) / queries)


def test_metrics_of_a_known_ranking():
    """Ranks 1, 3 and none."""
    ranked = np.array([[5, 6, 7], [1, 2, 3], [0, 9, 8]])
    assert mrr_at_k(ranked, [5, 3, 4]) == pytest.approx((1 + 1 / 3) / 3)
    assert recall_at_k(ranked, [5, 3, 4]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(2,\)"):
        mrr_at_k(ranked, [5, 3])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_spearman_is_the_correlation_of_mean_ranks(pairs):
    """Ranks counted one by one, ties at the mean of their places; no correlation where all are equal."""
    a, b = np.array(pairs, float).T
    ranks = [np.array([sum(y < x for y in values) + (sum(values == x) - 1) / 2 for x in values]) for values in (a, b)]
    if min(len(set(a)), len(set(b))) == 1:
        with pytest.raises(ValueError, match="values that differ"):
            spearman(a, b)
    else:
        assert spearman(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)
        assert spearman(a, np.exp(a)) == pytest.approx(1)


def test_bleu_of_papineni_and_by_hand():
    """The example of Papineni 2002, section 2.1: clipping; brevity; smoothing by halves; nothing in common."""
    the = "the the the the the the the"
    assert metrics.bleu([the], ["the cat is on the mat"], longest=1) == pytest.approx(100 * 2 / 7)
    assert metrics.bleu(["a b c d e"], ["a b c d e"]) == pytest.approx(100)
    assert metrics.bleu(["a b c d"], ["a b c d e f g h"]) == pytest.approx(100 * np.exp(1 - 8 / 4))
    # 4 of 5 words, 2 of 4 pairs, no triple: ½ of 3, no four: ¼ of 2
    expected = 100 * (4 / 5 * 2 / 4 * (1 / 2) / 3 * (1 / 4) / 2) ** 0.25
    assert metrics.bleu(["a b x c d"], ["a b c y d c d"]) == pytest.approx(expected * np.exp(1 - 7 / 5))
    assert metrics.bleu(["x y z w"], ["a b c d"]) == metrics.bleu([""], ["a"]) == metrics.bleu(["a b"], ["a b"]) == 0
    with pytest.raises(ValueError, match="as many references as hypotheses, got 2 and 1"):
        metrics.bleu(["a"], ["a", "b"])


def test_words_13a_cut_punctuation_but_not_numbers():
    """As mteval-v13a: 1,000.5 is one word, a full stop and quotes are words of their own."""
    assert metrics.words_13a('He paid $1,000.5 (twice), "no-one" saw 3-4 &amp; more.') == [
        "He", "paid", "$", "1,000.5", "(", "twice", ")", ",",
        '"', "no-one", '"', "saw", "3", "-", "4", "&", "more", ".",
    ]  # fmt: skip
