"""Learning which pairs to join: the kernels give what counting anew gives, whatever the tables' sizes."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenizers import learn
from tokenizers.count import Words
from tokenizers.learn import learn_merges, learn_plainly
from tokenizers.pairs import CODE_BITS, CODE_MASK

LETTERS = "abc"
CORPORA = st.dictionaries(st.text(LETTERS, min_size=1, max_size=9), st.integers(1, 4), min_size=1, max_size=12)


def words_of(corpus, letters=LETTERS):
    """Words of {str: count}, each letter a unit."""
    units = np.array([letters.index(c) for word in corpus for c in word], np.uint32)
    starts = np.cumsum([0, *map(len, corpus)])
    return Words(units, starts, np.array([*corpus.values()], np.int64))


def learned(corpus, tokens, vocab_size, min_frequency=1, **options):
    """(merges as strings, tokens) by the kernels; tokens must begin with the letters."""
    tokens, table = list(tokens), np.arange(len(LETTERS), dtype=np.int32)
    keys = learn_merges(words_of(corpus), table, table, tokens, vocab_size, min_frequency, **options)
    return [(tokens[key >> CODE_BITS], tokens[key & CODE_MASK]) for key in keys.tolist()], tokens


@pytest.mark.kernels
@given(CORPORA, st.integers(0, 30), st.integers(1, 4), st.sampled_from([2, 4, 100]))
@example({"aaaaa": 2, "aaab": 1, "baa": 3}, 9, 1, 2)
@example({"abab": 3, "ababa": 1, "bab": 2, "aabb": 1}, 9, 1, 100)
def test_learning_equals_the_plain_algorithm(corpus, more, min_frequency, fall):
    """Followed pairs and a heap choose what a full recount chooses, however often the whole corpus is looked at."""
    tokens = list(LETTERS)
    merges = learn_plainly([(list(word), n) for word, n in corpus.items()], tokens, 3 + more, min_frequency)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "FALL", fall)
        patch.setattr(learn, "SKETCH", 2)
        patch.setattr(learn, "STEP", 3)
        patch.setattr(learn, "ROOM", 4)
        assert learned(corpus, LETTERS, 3 + more, min_frequency) == (merges, tokens)


@pytest.mark.kernels
@given(CORPORA, st.integers(0, 20), st.integers(2, 5))
@example({"abcabc": 1, "bcab": 1, "cab": 1}, 20, 3)
def test_learning_by_string_equals_counting_anew(corpus, more, longest):
    """sentencepiece's rule: ties to the shorter, then the smaller string; nothing twice, nothing longer than asked."""
    words, tokens, merges, dropped = [(list(word), n) for word, n in corpus.items()], list(LETTERS), [], set()
    while len(tokens) < 3 + more:
        pairs = {}
        for word, n in words:
            for pair in zip(word, word[1:], strict=False):
                if len("".join(pair)) <= longest and pair not in dropped:
                    pairs[pair] = pairs.get(pair, 0) + n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], len("".join(pair)), "".join(pair), tokens.index(pair[0])))
        if "".join(best) in tokens:
            dropped.add(best)
            continue
        merges.append(best)
        tokens.append("".join(best))
        words = [(learn.join(word, best, tokens[-1]), n) for word, n in words]
    assert learned(corpus, LETTERS, 3 + more, by_string=True, longest=longest) == (merges, tokens)


def test_learning_counts_beyond_32_bits():
    """A pair that stands together 2^40 times goes before one of 2^31 + 1, whatever their ids."""
    merges, tokens = learned({"ab": 2**31 + 1, "bc": 2**40}, LETTERS, 5)
    assert merges == [("b", "c"), ("a", "b")] and tokens == ["a", "b", "c", "bc", "ab"]


@pytest.mark.kernels
def test_learning_joins_a_token_made_before():
    """aa + a makes a token that is there, be it a special one: its id is used again, the join is kept."""
    corpus = {"aaab": 5, "aaa": 3, "baaa": 4, "aaabaaab": 2}
    tokens = [*LETTERS, "aaa", "<s>"]
    plain = list(tokens)
    merges = learn_plainly([(list(word), n) for word, n in corpus.items()], plain, 12)
    assert learned(corpus, tokens, 12) == (merges, plain) and ("aa", "a") in merges and plain.count("aaa") == 1


@pytest.mark.kernels
def test_learning_trusts_no_hash(monkeypatch):
    """Where all strings have one hash, every join is looked up by its string."""
    corpus = {"abcab": 2, "cab": 3, "bcb": 1}
    honest = learned(corpus, LETTERS, 9)
    monkeypatch.setattr(learn, "hash_string", lambda string: 0)
    assert learned(corpus, LETTERS, 9) == honest


def test_learning_long_words_in_near_linear_time():
    """A word of 100,000 letters is as good as 100,000 letters in words: no join walks through it."""
    rng = np.random.default_rng(0)
    word = "".join(rng.choice([*LETTERS], 20_000))
    merges, tokens = learned({word: 1}, LETTERS, 200)
    assert len(tokens) == 200 and len(merges) >= 197
