"""From the model's scores of the next token to a whole text: greedy and beam search.

A decoder gives log P(yₜ | y₁ … yₜ₋₁, source). The text wanted is the most probable one, but there are Vⁿ of n tokens.

Greedy search takes the best token at each step and never goes back. Beam search keeps the `beam` best beginnings of a
sentence. At each step all of them are continued by every token, and the beam · V candidates are ranked by

    log P(y₁ … yₜ) = log P(y₁ … yₜ₋₁) + log P(yₜ | y₁ … yₜ₋₁)

Those among the first `beam` that end, with <eos>, are finished; the best `beam` that do not end go on. A sentence is
done when `beam` texts are finished. Every token costs probability, so the short ones would win; they are compared by

    score(Y) = log P(Y) / lp(Y),   lp(Y) = (5 + |Y|)^α / (5 + 1)^α          Wu 2016 (arXiv:1609.08144) eq. 14

with α = 0.6, |Y| counting <eos>, and without that paper's coverage penalty. At its longest length a text has to end:
only <eos> is then considered. Search has no model of its own: it asks a `speaker` that knows the beginnings,

    speaker.step(tokens)             one token more of every beginning → scores (N, V) of the token after it
    speaker.select(sentences, rows)  go on with these sentences, and these beginnings in place of the present ones

so that it can be tested on tables of probabilities. Beam search with `beam=1` is greedy search.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from minibert._jit import kernel


class Speaker(Protocol):
    """What a search asks of a model; `encoder_decoder.Speaker` is one."""

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Scores (N, V) of what comes after these tokens (N,), the newest of each beginning."""

    def select(self, sentences: np.ndarray, rows: np.ndarray) -> None:
        """Go on with these sentences, and these beginnings in place of the present ones."""


class Hypothesis(NamedTuple):
    """A text that was found: its ids without <eos>, log P, and the score it was chosen by."""

    ids: list[int]
    log_probability: float
    score: float


def greedy_search(speaker: Speaker, limits: np.ndarray, bos: int, eos: int, alpha: float = 0.6) -> list[Hypothesis]:
    """The best token at each step, for each sentence on its own.

    Shapes   limits (B,): most tokens of each text, <eos> included → B texts
    """
    count = len(limits)
    alive, tokens = np.arange(count), np.full(count, bos)
    ids: list[list[int]] = [[] for _ in range(count)]
    totals = np.zeros(count)
    length = 0
    while len(alive):
        length += 1
        scores = speaker.step(tokens)
        tokens = np.where(limits[alive] == length, eos, scores.argmax(axis=1))
        totals[alive] += scores[np.arange(len(alive)), tokens] - log_sum_exp(scores)
        for sentence, token in zip(alive.tolist(), tokens.tolist(), strict=True):
            ids[sentence].append(token)
        going = np.flatnonzero(tokens != eos)
        alive, tokens = alive[going], tokens[going]
        speaker.select(going, going)
    return [
        Hypothesis(text[:-1], total, total / length_penalty(len(text), alpha))
        for text, total in zip(ids, totals.tolist(), strict=True)
    ]


def beam_search(
    speaker: Speaker, limits: np.ndarray, bos: int, eos: int, beam: int = 4, alpha: float = 0.6
) -> list[list[Hypothesis]]:
    """The finished texts of each sentence, best first; ties go to the one finished first.

    Shapes   limits (B,): most tokens of each text, <eos> included → B lists of at least one text
    """
    alive = np.arange(len(limits))  # the sentences not yet done; row b · beam + j is beginning j of sentence alive[b]
    totals = np.full((len(limits), beam), -np.inf)
    totals[:, 0] = 0.0  # all beginnings are <bos>: one is enough
    ids = np.full((len(limits), beam, 1), bos)
    finished: list[list[Hypothesis]] = [[] for _ in limits]
    while len(alive):
        length = ids.shape[2]  # of the texts that this step gives, <eos> included
        scores = speaker.step(ids[:, :, -1].ravel())
        must_end = np.repeat(limits[alive] == length, beam)
        candidates, tokens = best_continuations(scores, 2 * beam, must_end, eos)
        candidates = (totals[:, :, None] + candidates.reshape(len(alive), beam, -1)).reshape(len(alive), -1)
        candidates, places = top_k_fast(candidates, min(2 * beam, candidates.shape[1]))
        parents = places // tokens.shape[1]
        tokens = np.take_along_axis(tokens.reshape(len(alive), -1), places, axis=1)

        ends = tokens == eos
        for b, j in np.argwhere(ends[:, :beam] & (candidates[:, :beam] > -np.inf)).tolist():
            total = float(candidates[b, j])
            text = ids[b, parents[b, j], 1:].tolist()
            finished[alive[b]].append(Hypothesis(text, total, total / length_penalty(length, alpha)))
        done = np.array([len(finished[sentence]) >= beam for sentence in alive]) | (limits[alive] == length)

        going = np.flatnonzero(~done)
        first = np.argsort(ends[going], axis=1, kind="stable")[:, :beam]  # the best that do not end
        totals, tokens, parents = (
            np.take_along_axis(array[going], first, axis=1) for array in (candidates, tokens, parents)
        )
        ids = np.concatenate((np.take_along_axis(ids[going], parents[:, :, None], axis=1), tokens[:, :, None]), axis=2)
        speaker.select(going, (going[:, None] * beam + parents).ravel())
        alive = alive[going]
    return [sorted(texts, key=lambda text: -text.score) for texts in finished]


def length_penalty(length: int, alpha: float) -> float:
    """Wu 2016 eq. 14; 1 for α = 0 and for one token."""
    return ((5 + length) / 6) ** alpha


def best_continuations(scores: np.ndarray, k: int, must_end: np.ndarray, eos: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most probable next tokens of every beginning, <eos> alone where it must end.

    Shapes   scores (N, V), must_end (N,) → log-probabilities (N, ≤ k) float64, best first, and tokens (N, ≤ k)
    """
    values, tokens = top_k_fast(scores, min(k, scores.shape[1]))
    values = values - log_sum_exp(scores)[:, None]
    if must_end.any():
        ending = scores[must_end, eos] - log_sum_exp(scores[must_end])
        values[must_end], tokens[must_end] = -np.inf, 0
        values[must_end, 0], tokens[must_end, 0] = ending, eos
    return values, tokens


def log_sum_exp(scores: np.ndarray) -> np.ndarray:
    """log Σ_j exp(scores_ij), (N,) float64."""
    top = scores.max(axis=1, keepdims=True)
    return (top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))).astype(np.float64)


def top_k(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of every row, largest first, ties to the smaller place: (values, places), (N, k)."""
    places = np.argsort(-x, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(x, places, axis=1), places


@kernel
def top_k_fast(x, k):
    """`top_k` in one pass over each row, inserting what beats the k-th so far."""
    rows, width = x.shape
    values = np.empty((rows, k), x.dtype)
    places = np.empty((rows, k), np.int64)
    for r in range(rows):
        held = 0
        for i in range(width):
            if held == k and x[r, i] <= values[r, k - 1]:
                continue
            at = min(held, k - 1)
            while at > 0 and values[r, at - 1] < x[r, i]:
                values[r, at] = values[r, at - 1]
                places[r, at] = places[r, at - 1]
                at -= 1
            values[r, at] = x[r, i]
            places[r, at] = i
            held = min(held + 1, k)
    return values, places
