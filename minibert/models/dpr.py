"""DPR, dense passage retrieval: the dual encoder, taught with the passages that word matching gets wrong.

Unlike a sentence encoder (SBERT, USE), which is taught what is alike, it is taught what answers: questions and passages
go through two BERTs, whose [CLS] vectors score by inner product. What made it beat BM25 is where the negatives come
from:

    in-batch   the other questions' passages, for nothing: easy, for they are about something else
    hard       of each question, the passage that BM25 ranks highest among those that do not answer it: the same words,
               another meaning

Loss     −log softmax of the right passage's score among all passages of the batch
Pooling  [CLS], without a projection
Recipe   both towers from BERT; one hard negative a question, batches of 128; 2e-5 with linear decay, 40 epochs

Source   Karpukhin 2020 (arXiv:2004.04906) sections 3.2 and 5.2
Differs  the towers end in a projection, which starts as a rotation: all inner products are as they would be without
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minibert.models.dual_encoder import DualEncoder
from minibert.train import train_dual_encoder


def hard_negatives(
    pairs: Sequence[tuple[str, str]],
    passages: Sequence[str],
    rankings: np.ndarray,
    negatives: int = 1,
    answers: Callable[[int, str], bool] | None = None,
) -> list[tuple[str, ...]]:
    """(question, its passage, negatives …) of every pair: the best-ranked passages that do not answer it.

    answers(pair, passage): whether a passage answers pair number `pair` too, such as one that holds the answer's text;
    by default only the passages that are some pair's answer to the same question do.

    Shapes   rankings (pairs, k): numbers of passages, best first, −1 for none: such as BM25's `search` gives
    Raises   ValueError: as many rankings expected as pairs; a ranking with too few passages that do not answer
    """
    if len(rankings) != len(pairs):
        raise ValueError(f"expected a ranking for each of {len(pairs)} pairs, got {len(rankings)}")
    right: dict[str, set[str]] = {}
    for question, passage in pairs:
        right.setdefault(question, set()).add(passage)
    examples = []
    for number, ((question, passage), ranking) in enumerate(zip(pairs, rankings.tolist(), strict=True)):
        found = (passages[i] for i in ranking if i >= 0)
        wrong = [p for p in found if p not in right[question] and not (answers and answers(number, p))]
        if len(wrong) < negatives:
            raise ValueError(f"expected {negatives} passages that do not answer pair {number}, got {len(wrong)}")
        examples.append((question, passage, *wrong[:negatives]))
    return examples


def train_dpr(model: DualEncoder, examples: Sequence[tuple[str, ...]], **options: Any) -> list[dict[str, float]]:
    """Train both towers on what `hard_negatives` gives; a passage twice in a batch is no negative of its own.

    Options, Returns, Raises   as `train_dual_encoder`
    """
    recipe: dict[str, Any] = {"epochs": 40, "batch_size": 128, "learning_rate": 2e-5, "ids": "text"}
    return train_dual_encoder(model, examples, **recipe | options)
