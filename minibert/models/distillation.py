"""A cross-encoder's judgement put into the vectors of a sentence encoder.

Unlike labels, which call one passage right and all others wrong, a teacher that reads question and passage together
says how wrong each is. Examples are those of `sbert.train_pairs`, (question, right passage, negatives …), and each has
the teacher's scores of its own passages:

    "kl"          their distribution over the question's passages (E5, ColBERTv2)
    "margin_mse"  their distances from the right one (Hofstätter 2020): levels may differ, units may not

Source   Hofstätter 2020 (arXiv:2010.02666); Wang 2022 (E5, arXiv:2212.03533) section 4.2; losses/distillation.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert import losses
from minibert.models.sbert import train_siamese
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.ops import l2_normalize, l2_normalize_backward, similarity, similarity_backward
from minibert.train import numbered

DISTILLATIONS = {
    "kl": (losses.kl_distillation, losses.kl_distillation_backward),
    "margin_mse": (losses.margin_mse, losses.margin_mse_backward),
}


def train_distilled(
    encoder: SentenceEncoder,
    examples: Sequence[tuple[str, ...]],
    teacher: np.ndarray,
    *,
    loss: str = "kl",
    temperature: float = 0.05,
    contrast: float = 0.0,
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder, in place, to score the passages of each question as its teacher does.

        loss = distillation(cosines of own passages / temperature, teacher) + contrast · in-batch cross entropy

    Shapes   teacher (examples, passages of each): the right one's score first
    Units    loss: one of DISTILLATIONS; temperature > 0: of the cosines; contrast ≥ 0: how much the labels count,
             to which a passage that stands twice in a batch is no negative of its own
    Options, Returns, Raises   as train_siamese; ValueError: another loss, scores that are not finite, or of other shape
    """
    if loss not in DISTILLATIONS:
        raise ValueError(f"expected a loss of {', '.join(DISTILLATIONS)}, got {loss!r}")
    if not temperature > 0 or not contrast >= 0:
        raise ValueError(f"expected a temperature above 0 and contrast of 0 or more, got {temperature} and {contrast}")
    teacher = finite_scores(teacher, (len(examples), len(examples[0]) - 1 if examples else 0))
    distil, distil_backward = DISTILLATIONS[loss]
    _, numbers = numbered(example[1:] for example in examples)

    def forward(rows, questions, *passages):
        units, norm_caches = zip(*map(l2_normalize, (questions, np.concatenate(passages))), strict=True)
        scores, scores_cache = similarity(*units)
        scores = scores / scores.dtype.type(temperature)
        value, distil_cache = distil(own(scores).copy(), teacher[rows])
        labels_cache = None
        if contrast:
            ids = np.array([numbers[row] for row in rows]).T.ravel()
            more, labels_cache = losses.diagonal_cross_entropy(scores, ids)
            value = value + contrast * more
        return value, (norm_caches, scores_cache, scores, distil_cache, labels_cache)

    def backward(dloss, cache, d):
        norm_caches, scores_cache, scores, distil_cache, labels_cache = cache
        # forward: loss = distil(own(scores)) + contrast · cross_entropy(scores)
        if contrast:
            dscores = losses.diagonal_cross_entropy_backward(dloss * contrast, labels_cache)
        else:
            dscores = np.zeros_like(scores)
        own(dscores)[...] += distil_backward(dloss, distil_cache)
        # forward: scores = cosines / temperature
        dunits = similarity_backward(dscores / dscores.dtype.type(temperature), scores_cache)
        dquestions, dpassages = (l2_normalize_backward(dy, c) for dy, c in zip(dunits, norm_caches, strict=True))
        return dquestions, *np.split(dpassages, dpassages.shape[0] // dquestions.shape[0])

    settings = {"task": "distillation", "loss": loss, "temperature": temperature, "contrast": contrast}
    return train_siamese(encoder, examples, forward, backward, teacher, settings, **options)


def finite_scores(teacher: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A teacher's scores in float32. ValueError: another shape, or scores that are not finite"""
    scores = np.asarray(teacher, np.float32)
    if scores.shape != shape or not (finite := np.isfinite(scores).all(axis=1)).all():
        got = scores.shape if scores.shape != shape else f"{scores[finite.argmin()]} in row {finite.argmin()}"
        raise ValueError(f"expected finite scores of shape {shape}, got {got}")
    return scores


def own(scores: np.ndarray) -> np.ndarray:
    """Each question's scores of its own passages, a view: of B questions, passage c of question i is column c · B + i.

    Shapes   scores (B, n · B) → (B, n)
    """
    count = len(scores)
    return np.einsum("ici->ic", scores.reshape(count, -1, count))
