"""Search by trying every text. Imports nothing of the project."""

import itertools
import math


def every_text(log_probabilities, limit, eos):
    """{text without <eos>: log P} of all texts of at most `limit` tokens, <eos> included.

    log_probabilities(text) → one log-probability a token, of what follows that text.
    """
    texts = {}
    tokens = range(len(log_probabilities(())))
    for length in range(limit):
        for text in itertools.product([t for t in tokens if t != eos], repeat=length):
            whole = (*text, eos)
            texts[text] = sum(log_probabilities(whole[:t])[whole[t]] for t in range(len(whole)))
    return texts


def score(text, log_p, alpha):
    """Wu 2016 eq. 14, |Y| with <eos>, without coverage."""
    return log_p / (math.pow(5 + len(text) + 1, alpha) / math.pow(5 + 1, alpha))


def greedy(log_probabilities, limit, eos):
    """The best token at each step; at the limit <eos>."""
    text, total = (), 0.0
    while True:
        row = list(log_probabilities(text))
        best = eos if len(text) + 1 == limit else row.index(max(row))
        total += row[best]
        if best == eos:
            return text, total
        text = (*text, best)
