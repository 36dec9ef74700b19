"""Greedy and beam search on tables of probabilities, against trying every text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.beam import beam_search, greedy_search, length_penalty, top_k, top_k_fast
from oracles import beam as oracle

pytestmark = pytest.mark.kernels
V, BOS, EOS = 4, 1, 0


class Table:
    """A speaker without a model: the scores after a text are drawn from (seed of its sentence, text)."""

    def __init__(self, seeds, beam=1):
        self.seeds, self.beam = np.asarray(seeds), beam
        self.texts = [()] * (len(seeds) * beam)
        self.started = False

    def step(self, tokens):
        if self.started:
            self.texts = [(*text, int(token)) for text, token in zip(self.texts, tokens, strict=True)]
        self.started = True
        seeds = np.repeat(self.seeds, self.beam)
        return np.array([scores_after(seed, text) for seed, text in zip(seeds, self.texts, strict=True)])

    def select(self, sentences, rows):
        self.seeds = self.seeds[sentences]
        self.texts = [self.texts[row] for row in rows]


def scores_after(seed, text):
    return 2 * np.random.default_rng([seed, *text]).standard_normal(V)


def log_probabilities(seed):
    def after(text):
        scores = scores_after(seed, text)
        return scores - np.log(np.exp(scores).sum())

    return after


def find(seeds, limits, beam, alpha=0.6):
    return beam_search(Table(seeds, beam), np.array(limits), BOS, EOS, beam, alpha)


many = st.lists(st.tuples(st.integers(0, 999), st.integers(1, 5)), min_size=1, max_size=4)


@given(st.integers(0, 999), st.integers(1, 4), st.sampled_from([0.0, 0.6, 1.0]))
def test_a_beam_that_holds_all_beginnings_finds_the_best_text(seed, limit, alpha):
    """With room for everything, what is found are all texts, the best one first: no text scores above it."""
    texts = oracle.every_text(log_probabilities(seed), limit, EOS)
    [found] = find([seed], [limit], V**limit, alpha)
    assert {tuple(text.ids) for text in found} == set(texts)
    for text in found:
        expected = texts[tuple(text.ids)]
        assert text.log_probability == pytest.approx(expected, abs=1e-10)
        assert text.score == pytest.approx(oracle.score(text.ids, expected, alpha), abs=1e-10)
    assert found[0].score == max(text.score for text in found)


@given(many)
def test_greedy_equals_its_oracle_and_a_beam_of_one(sentences):
    """The best token at each step; a beam of one goes the same way, batches and all."""
    seeds, limits = zip(*sentences, strict=True)
    greedy = greedy_search(Table(seeds), np.array(limits), BOS, EOS)
    for seed, limit, text, one in zip(seeds, limits, greedy, find(seeds, limits, 1), strict=True):
        ids, total = oracle.greedy(log_probabilities(seed), limit, EOS)
        assert tuple(text.ids) == ids and text.log_probability == pytest.approx(total, abs=1e-10)
        assert [one[0].ids, len(one)] == [text.ids, 1]
        assert one[0][1:] == pytest.approx(text[1:], abs=1e-10)


@given(many, st.integers(1, 5))
def test_a_sentence_does_not_see_the_others_of_its_batch(sentences, beam):
    """Alone, in company and in another order: the same texts and scores."""
    seeds, limits = zip(*sentences, strict=True)
    together = find(seeds, limits, beam)
    assert together[::-1] == find(seeds[::-1], limits[::-1], beam)
    for seed, limit, texts in zip(seeds, limits, together, strict=True):
        assert [texts] == find([seed], [limit], beam)
        assert len({tuple(text.ids) for text in texts}) == len(texts) >= 1
        assert max(len(text.ids) for text in texts) < limit


def test_wider_beams_find_better_texts_on_the_whole():
    """No law for one sentence, since a beam may lose the way that greedy search took; for many it is plain."""
    seeds, limits = range(200), [6] * 200
    greedy = np.array([text.score for text in greedy_search(Table(seeds), np.array(limits), BOS, EOS)])
    beams = [np.array([texts[0].score for texts in find(seeds, limits, beam)]) for beam in (2, 4, 16)]
    means = [scores.mean() for scores in (greedy, *beams)]
    assert means == sorted(means) and (beams[-1] >= greedy).mean() > 0.98


def test_length_penalty_has_the_published_form():
    """1 for one token; 11 tokens at α = 1 count as (5 + 11) / 6."""
    assert length_penalty(1, 0.6) == 1 == length_penalty(9, 0)
    assert length_penalty(11, 1) == pytest.approx(16 / 6)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_top_k_fast_equals_its_definition(rows, width, k, seed):
    """Values and places, ties to the smaller place, −inf among them."""
    k = min(k, width)
    x = np.random.default_rng(seed).choice([-np.inf, -1.0, 0.0, 0.5, 2.0], (rows, width))
    for ours, plain in zip(top_k_fast(x, k), top_k(x, k), strict=True):
        np.testing.assert_array_equal(ours, plain)
