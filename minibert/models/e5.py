"""E5: a sentence encoder that is told which side a text is on, and learns from pairs nobody labelled.

Unlike Sentence-T5, whose first stage takes what the web asks and answers, E5 takes any two texts that stand together
(title and text, question and answer, post and reply: 1.3 billion pairs), and keeps those that a first model, trained on
them all, still finds among its best: a consistency filter. Unlike DPR's two towers, one network reads both sides; a
prefix says which: "query: " or "passage: ". Tasks without sides take "query: " for both.

Loss     stage 1: softmax of cosines over the batch, temperature 0.01. Stage 2: D_KL(cross-encoder ‖ student) over each
         question's passages + 0.2 · the loss of stage 1 with hard negatives
Pooling  mean, cosine
Recipe   stage 1: batches of 32,768, 20,000 steps. Stage 2: MS MARCO, NQ and NLI, 8 negatives, batches of 256, 3 epochs

Source   Wang 2022 (arXiv:2212.03533)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minibert.models.distillation import train_distilled
from minibert.models.sbert import train_pairs
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.ops import l2_normalize
from minibert.train import numbered

QUERY, PASSAGE = "query: ", "passage: "
TEMPERATURE, CONTRAST = 0.01, 0.2
KEPT = 2  # a pair is consistent when its passage is among so many best of all
BLOCK = 256  # questions scored at a time


def e5(encoder: SentenceEncoder) -> SentenceEncoder:
    """The same encoder, weights shared, whose `encode_query` and `encode_document` put the prefixes before a text."""
    prompts = {"query": QUERY, "passage": PASSAGE}
    config = replace(encoder.config, prompts=prompts, default_prompt=None, include_prompt=True, similarity="cosine")
    return type(encoder)(encoder.tokenizer, config, encoder.parameters)


def prefixed(examples: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """(question, passages …) as the network reads them."""
    return [(QUERY + question, *(PASSAGE + passage for passage in passages)) for question, *passages in examples]


def train_weak(encoder: SentenceEncoder, pairs: Sequence[tuple[str, str]], **options: Any) -> list[dict[str, float]]:
    """Stage 1, on pairs that stand together; a passage twice in a batch is no negative of its own.

    Options, Returns, Raises   as `train_pairs`
    """
    recipe: dict[str, Any] = {"epochs": 1, "temperature": TEMPERATURE, "ids": "text"}
    return train_pairs(encoder, prefixed(pairs), **recipe | options)


def train_supervised(
    encoder: SentenceEncoder, examples: Sequence[tuple[str, ...]], teacher: np.ndarray, **options: Any
) -> list[dict[str, float]]:
    """Stage 2, on (question, right passage, hard negatives …) and a cross-encoder's scores of the passages.

    Shapes   teacher (examples, passages of each)
    Options, Returns, Raises   as `train_distilled`
    """
    recipe = {"epochs": 3, "temperature": TEMPERATURE, "contrast": CONTRAST}
    return train_distilled(encoder, prefixed(examples), teacher, **recipe | options)


def consistent(encoder: SentenceEncoder, pairs: Sequence[tuple[str, str]], kept: int = KEPT) -> list[tuple[str, str]]:
    """The pairs whose passage the encoder ranks among the first `kept` of all distinct passages, for their question.

    A model forgets noise last: what it cannot find after one pass over noisy pairs is likely no pair.

    Raises   ValueError: kept below 1
    """
    if kept < 1:
        raise ValueError(f"expected at least 1 passage to look among, got {kept}")
    if not pairs:
        return []
    texts, table = numbered([passage] for _, passage in pairs)
    questions, _ = l2_normalize(encoder.encode_query([question for question, _ in pairs], on_truncate="silent"))
    passages, _ = l2_normalize(encoder.encode_document(texts, on_truncate="silent"))
    right, better = np.array(table), np.empty(len(pairs), np.int64)
    for first in range(0, len(pairs), BLOCK):
        block = slice(first, first + BLOCK)
        scores = questions[block] @ passages.T
        better[block] = (scores > np.take_along_axis(scores, right[block], axis=1)).sum(axis=1)
    return [pair for pair, count in zip(pairs, better.tolist(), strict=True) if count < kept]
