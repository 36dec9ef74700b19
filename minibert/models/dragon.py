"""DRAGON: a dual encoder that is taught by several retrievers, the simple ones first.

Unlike DPR, whose positives are people's labels and whose negatives are one retriever's, and unlike E5, which copies a
cross encoder's scores, it needs no labels: any text can be a question, and what answers it is what a teacher ranks
first. A teacher is any ranking: BM25, another dual encoder, late interaction, a cross encoder.

    positive  one of a teacher's first 10          hard negative  one of the same teacher's ranks 46 … 50

One teacher's errors would be learned; several teachers disagree in their errors and agree in what is right. And a
student that sees the strongest teacher first learns less than one that is led to it: progressive label augmentation
trains in as many stages as there are teachers, of which stage t draws from the first t.

Loss     in-batch cross entropy with the hard negative
Pooling  [CLS] of two towers, inner product
Recipe   from RetroMAE's BERT; MS MARCO's passages, questions cut from them and generated; five teachers: uniCOIL,
         Contriever, GTR, ColBERTv2, SPLADE++; 3e-5, batches of 4,096, 20,000 steps a stage

Source   Lin 2023 (How to train your DRAGON, arXiv:2302.07452) section 3
Differs  the towers end in a projection (dpr.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.models.dual_encoder import DualEncoder
from minibert.train import of_stage, train_dual_encoder

POSITIVES, NEGATIVES = (0, 10), (45, 50)  # ranks of a teacher's, from 0


def augmented(
    questions: Sequence[str],
    passages: Sequence[str],
    teachers: Sequence[np.ndarray],
    rng: np.random.Generator,
    positives: tuple[int, int] = POSITIVES,
    negatives: tuple[int, int] = NEGATIVES,
) -> list[tuple[str, str, str]]:
    """(question, positive, negative) for every question, each of one teacher drawn for it.

    Shapes   teachers: rankings (Q, ≥ the last rank) of passage numbers, best first
    Raises   ValueError: no teacher, a ranking that is too short or holds −1, or ranks that overlap or are none
    """
    if not 0 <= positives[0] < positives[1] <= negatives[0] < negatives[1] or not teachers:
        raise ValueError(f"expected teachers, and positives before negatives, got {positives} and {negatives}")
    for number, ranking in enumerate(teachers):
        wanted = len(questions), negatives[1]
        if ranking.ndim != 2 or len(ranking) != wanted[0] or ranking.shape[1] < wanted[1]:
            raise ValueError(f"expected rankings of shape {wanted}, got {ranking.shape} of teacher {number}")
        short = np.flatnonzero((ranking[:, : wanted[1]] < 0).any(axis=1))
        if len(short):
            raise ValueError(f"expected {wanted[1]} passages, got fewer of teacher {number} for question {short[0]}")
    rows = np.arange(len(questions))
    rankings = np.stack([ranking[:, : negatives[1]] for ranking in teachers])
    drawn = rankings[rng.integers(0, len(teachers), len(rows)), rows]
    right, wrong = (drawn[rows, rng.integers(*ranks, len(rows))] for ranks in (positives, negatives))
    return [(q, passages[p], passages[n]) for q, p, n in zip(questions, right, wrong, strict=True)]


def train_dragon(
    model: DualEncoder,
    questions: Sequence[str],
    passages: Sequence[str],
    teachers: Sequence[np.ndarray],
    *,
    stages: Sequence[int] | None = None,
    positives: tuple[int, int] = POSITIVES,
    negatives: tuple[int, int] = NEGATIVES,
    seed: int = 0,
    **options: Any,
) -> list[dict[str, float]]:
    """Train both towers in stages; each draws a label for every question anew, from more teachers than the one before.

    Returns  the histories of all stages, see `train`; each record also has its stage
    Units    stages: how many of the teachers each draws from, by default 1, 2, …, all; options: of each stage,
             which has a folder of its own in `folder`
    Raises   ValueError: a stage without or with too many teachers; the rest as `augmented` and `train_dual_encoder`
    """
    stages = range(1, len(teachers) + 1) if stages is None else stages
    if wrong := [count for count in stages if not 1 <= count <= len(teachers)]:
        raise ValueError(f"expected stages of 1 … {len(teachers)} teachers, got {wrong[0]}")
    options = {"epochs": 1, "batch_size": 64, "learning_rate": 3e-5} | options
    history = []
    for stage, count in enumerate(stages):
        rng = np.random.default_rng([seed, stage])
        examples = augmented(questions, passages, teachers[:count], rng, positives, negatives)
        records = train_dual_encoder(model, examples, ids="text", seed=seed + stage, **of_stage(options, stage))
        history += [{"stage": stage, **record} for record in records]
    return history
