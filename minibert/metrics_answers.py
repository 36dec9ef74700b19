"""How good answers are: exact match and F1 over words as SQuAD counts them, and where to stop answering.

Source   Rajpurkar 2016 (arXiv:1606.05250) section 6.1, Rajpurkar 2018 (arXiv:1806.03822); the script evaluate-v2.0.py
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from minibert.formats import Question

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_words(text: str) -> list[str]:
    """What of an answer counts: lower case, no ASCII punctuation, no articles."""
    return ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split()


def exact_match(answer: str, expected: str) -> float:
    """1 where both are the same words, else 0."""
    return float(answer_words(answer) == answer_words(expected))


def answer_f1(answer: str, expected: str) -> float:
    """2 · common / (words of both), common words as often as both have them; without words 1 where both have none.

    >>> answer_f1("the Eiffel Tower", "Eiffel tower, Paris")
    0.8
    """
    ours, theirs = answer_words(answer), answer_words(expected)
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (Counter(ours) & Counter(theirs)).total() / (len(ours) + len(theirs))


def squad(
    questions: Sequence[Question],
    answers: Sequence[str],
    no_answer: Sequence[float] | None = None,
    threshold: float = 0.0,
) -> dict[str, float]:
    """exact and f1 of all questions and, apart, of those with and those without an answer, against the best right one.

    An answer is taken back where its no_answer passes the threshold. With no_answer given, also best_exact and best_f1,
    of the best threshold, and best_exact_threshold and best_f1_threshold.

    Units    0 … 100; answers: "" for none; no_answer: higher where none is likelier, such as a Reader's −margin
    Raises   ValueError: another number of answers or of no_answer than of questions, or none
    Differs  none: as in the script, equal values of no_answer are tried one by one when a threshold is looked for
    """
    for values in (answers, no_answer if no_answer is not None else answers):
        if len(values) != len(questions) or not len(questions):
            raise ValueError(f"expected one value for each of {len(questions)} questions, got {len(values)}")
    right = [[text for text, _ in q.answers if answer_words(text)] or [""] for q in questions]
    answerable = np.array([bool(q.answers) for q in questions])
    doubts = np.zeros(len(questions)) if no_answer is None else np.asarray(no_answer, np.float64)
    kept = ~(doubts > threshold)
    result, best = {}, {}
    for name, measure in (("exact", exact_match), ("f1", answer_f1)):
        raw = np.array([max(measure(a, text) for text in texts) for a, texts in zip(answers, right, strict=True)])
        scores = np.where(kept, raw, ~answerable)
        result[name] = 100 * scores.mean()
        for which, part in (("answerable", answerable), ("unanswerable", ~answerable)):
            if part.any():
                result[f"{name}_{which}"] = 100 * scores[part].mean()
        # answering one question more: its score where it has an answer, a loss where it has none and we give one
        gains = np.where(answerable, raw, -np.array([bool(a) for a in answers], float))
        best[f"best_{name}"], best[f"best_{name}_threshold"] = _best_threshold(gains, doubts, (~answerable).sum())
    return {key: float(value) for key, value in (result if no_answer is None else result | best).items()}


def _best_threshold(gains: np.ndarray, doubts: np.ndarray, silent: float) -> tuple[float, float]:
    """(the best score, the least threshold that gives it); `silent`: what answering nothing is worth."""
    order = np.argsort(doubts, kind="stable")
    totals = np.cumsum(gains[order])
    best = totals.argmax()
    if totals[best] <= 0:
        return 100 * silent / len(gains), 0.0
    return 100 * (silent + totals[best]) / len(gains), doubts[order[best]]
