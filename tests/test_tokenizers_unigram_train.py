"""Learning a Unigram model: seeds, expectation, pruning, each against its formula."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oracles import unigram_train as oracle
from tokenizers.count import WordCounter
from tokenizers.suffix_array import repeats, sort_suffixes
from tokenizers.unigram_train import (
    Pieces,
    alternatives,
    count_best,
    digamma,
    expected_counts_plainly,
    finish,
    learn_pieces,
    loss_plainly,
    losses,
)

CORPORA = st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 4), min_size=1, max_size=10)


def counted(corpus):
    """count.Words of {word: count}."""
    counter = WordCounter(np.uint32)
    counter.add(list(corpus), list(corpus.values()))
    return counter.result()


def names(pieces):
    """The present pieces' strings."""
    text = "".join(map(chr, pieces.words.units.tolist()))
    rows = zip(pieces.lattice.example.tolist(), pieces.lattice.length.tolist(), strict=False)
    return [text[at : at + n] for at, n in rows]


@pytest.mark.kernels
@given(CORPORA, st.integers(2, 9))
@example({"aaaa": 1, "aa": 1}, 3)
@example({"ab": 2, "cab": 1}, 9)
def test_repeats_are_all_repeated_strings(corpus, longest):
    """The nodes of the suffix tree, each with its count, found by listing all strings."""
    words = counted(corpus)
    order, text = sort_suffixes(words, longest + 2), "".join(corpus)
    found = repeats(words, order, longest)
    strings = [text[order[k] : order[k] + n] for k, n in zip(found.first, found.length, strict=True)]
    assert dict(zip(strings, found.count.tolist(), strict=True)) == oracle.repeated(corpus, longest)
    assert len(set(strings)) == len(strings)


@given(CORPORA)
def test_suffixes_are_sorted(corpus):
    """By their first characters, the end of a word before any of them."""
    text = "".join(corpus)
    ends = np.repeat(np.cumsum(list(map(len, corpus))), list(map(len, corpus)))
    suffixes = [text[i : ends[i]][:8] for i in sort_suffixes(counted(corpus), 8)]
    assert suffixes == sorted(suffixes)


@pytest.mark.kernels
@given(CORPORA, st.integers(0, 20))
def test_expected_counts_equal_the_formula(corpus, seed_size):
    """Forward and backward sums over the lattice that the suffixes gave, and the log likelihood."""
    pieces = Pieces(counted(corpus), 5, seed_size)
    expected = pieces.expected_counts()
    plain, total = expected_counts_plainly(corpus, dict(zip(names(pieces), pieces.scores.tolist(), strict=True)))
    assert np.allclose(expected[:-1], [plain[name] for name in names(pieces)], rtol=1e-9, atol=0)
    assert math.isclose(pieces.log_likelihood, total, rel_tol=1e-9)
    lengths = pieces.lattice.length[:-1]
    assert math.isclose(expected[:-1] @ lengths, sum(len(word) * n for word, n in corpus.items()), rel_tol=1e-9)


@pytest.mark.kernels
def test_expected_counts_of_long_words_do_not_underflow():
    """The probability of 3,000 letters is far below the smallest number; its logarithm is right, counts add up."""
    rng = np.random.default_rng(0)
    corpus = {"".join(rng.choice([*"abcdefgh"], 3000)): 2, "abc": 3}
    pieces = Pieces(counted(corpus), 6, 500)
    expected = pieces.expected_counts()
    scores = dict(zip(names(pieces), pieces.scores.tolist(), strict=True))
    total = sum(n * oracle.log_likelihood(word, scores) for word, n in corpus.items())
    assert total < -10_000 and math.isclose(pieces.log_likelihood, total, rel_tol=1e-12)
    assert math.isclose(expected[:-1] @ pieces.lattice.length[:-1], 6009, rel_tol=1e-9)


@pytest.mark.kernels
@given(CORPORA, st.integers(0, 20))
def test_losses_equal_the_formula(corpus, seed_size):
    """The best cut of a piece into others, and what the corpus loses where that stands for it."""
    pieces = Pieces(counted(corpus), 5, seed_size)
    size, scores = len(pieces.scores), pieces.with_unknown()
    counts, score, loss = np.zeros(size + 1), np.empty(size), np.zeros(size)
    parts, starts = np.empty(int(pieces.lattice.length.sum()), np.int32), np.empty(size + 1, np.int64)
    count_best(pieces.lattice, scores, pieces.forward, pieces.lifts, counts)
    alternatives(pieces.lattice, scores, pieces.forward, pieces.lifts, score, parts, starts)
    losses(counts, counts.sum(), parts, starts, loss)
    by_name = dict(zip(names(pieces), pieces.scores.tolist(), strict=True))
    of_name = dict(zip(names(pieces), counts.tolist(), strict=False))
    for p, name in enumerate(by_name):
        total, found = oracle.best_parts(name, by_name)
        cut = [names(pieces)[q] for q in parts[starts[p] : starts[p + 1]]][::-1]
        assert bool(cut) == bool(found)
        if cut:
            assert math.isclose(score[p], total) and "".join(cut) == name
            assert math.isclose(sum(by_name[part] for part in cut), total)
            if counts[p] > 0:
                assert math.isclose(loss[p], loss_plainly(name, cut, of_name), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.kernels
@given(CORPORA, st.integers(1, 12))
def test_learned_pieces_are_as_many_as_asked_for_and_cut_the_corpus(corpus, more):
    """All required characters and the best of the others, by falling score; each a string of the corpus."""
    required = sorted({ord(c) for word in corpus for c in word})
    found = learn_pieces(counted(corpus), required, len(required) + more, 4)
    assert len(found) <= len(required) + more and {chr(c) for c in required} <= {piece for piece, _ in found}
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert all(any(piece in word for word in corpus) and len(piece) <= 4 for piece, _ in found)


def test_finish_puts_missing_characters_below_all_others():
    """The more frequent one higher; where there is no room the best pieces stay."""
    found = finish({"ab": -1.0, "a": -3.0, "abc": -2.0}, map(ord, "abc"), 4)
    assert found == [("ab", -1.0), ("c", -3.0 + 1e-4), ("a", -3.0), ("b", -3.0)]


def test_digamma_equals_known_values():
    """ψ(1) = -γ, ψ(1/2) = -γ - 2 log 2, ψ(x + 1) = ψ(x) + 1/x; near log x for large x."""
    gamma = 0.5772156649015329
    assert np.allclose(digamma([1, 0.5]), [-gamma, -gamma - 2 * math.log(2)], rtol=0, atol=1e-9)
    x = np.array([0.5, 1.7, 6.9, 7.0, 1e3, 1e9])
    assert np.allclose(digamma(x + 1), digamma(x) + 1 / x, rtol=1e-9) and math.isclose(digamma(1e9), math.log(1e9))
