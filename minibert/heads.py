"""What stands on the encoder and turns the vectors of tokens into an answer: BERT's heads, forward beside backward.

    pretraining   masked tokens: dense, activation, norm, then the scores of all words by the table they came from;
                  [CLS]: pooled, then whether the second text followed the first
    sequence      [CLS]: pooled, then a score a label           classes of texts and pairs, cross-encoders
    token         every token: a score a label                  parts of speech, named entities
    span          every token: as first and as last of an answer

Parameters are named as in the checkpoints of Hugging Face, without the prefix "bert." of the encoder's.

Source   Devlin 2018 (arXiv:1810.04805) sections 3.1 and 4, figure 4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.blocks import (
    ACTIVATIONS,
    dense,
    dense_backward,
    linear_shapes,
    norm_shapes,
    normalize,
    normalize_backward,
)
from minibert.encoder import WORDS, EncoderConfig, check_sizes
from minibert.ops import (
    dropout,
    dropout_backward,
    projected_cross_entropy,
    projected_cross_entropy_backward,
    tanh,
    tanh_backward,
)
from minibert.parameters import Parameters

POOLER, CLASSIFIER, SPAN, NEXT = "pooler.dense", "classifier", "qa_outputs", "cls.seq_relationship"
TRANSFORM, TRANSFORM_NORM = "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"
WORDS_BIAS = "cls.predictions.bias"
ARCHITECTURES = {  # the classes of transformers that have these heads
    "pretraining": "BertForPreTraining",
    "sequence": "BertForSequenceClassification",
    "token": "BertForTokenClassification",
    "span": "BertForQuestionAnswering",
}


@dataclass(frozen=True)
class HeadConfig(EncoderConfig):
    """An encoder's configuration, and what stands on it.

    Units    head: one of ARCHITECTURES; labels: names of the classes, of the heads "sequence" and "token"; max_length:
             longest text, pair or window in tokens, specials included
    Raises   ValueError: also an unknown head, labels that are missing, repeated or not asked for, or a max_length
             beyond the positions; TypeError: labels in one str, whose letters would be taken for them
    """

    head: str = "sequence"
    labels: tuple[str, ...] = ()
    max_length: int = 64

    def __post_init__(self):
        super().__post_init__()
        check_sizes(self, 3, "max_length")
        if self.positions and self.max_length > self.positions:
            raise ValueError(f"expected a max_length of at most {self.positions} positions, got {self.max_length}")
        if self.head not in ARCHITECTURES:
            raise ValueError(f"expected a head of {', '.join(ARCHITECTURES)}, got {self.head!r}")
        if isinstance(self.labels, str):
            raise TypeError(f"expected several labels, got the str {self.labels!r}")
        labelled = self.head in ("sequence", "token")
        if labelled != bool(self.labels) or len(set(self.labels)) < len(self.labels):
            expected = "labels that differ" if labelled else "no labels"
            raise ValueError(f"expected {expected} for the head {self.head!r}, got {list(self.labels)}")
        if self.pooler:
            raise ValueError("expected pooler to be False: the heads that need one bring it")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the scores of the head are of."""
        return self.labels or ("first", "last")

    @property
    def output_layer(self) -> str:
        """The name of the last layer, which gives the scores."""
        return SPAN if self.head == "span" else CLASSIFIER

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter: the encoder's, then the head's."""
        shapes = super().shapes
        if self.head in ("sequence", "pretraining"):
            shapes |= linear_shapes(POOLER, self.width, self.width)
        if self.head == "pretraining":
            shapes |= linear_shapes(TRANSFORM, self.width, self.width) | norm_shapes(TRANSFORM_NORM, self.width)
            shapes |= {WORDS_BIAS: (self.vocab_size,)} | linear_shapes(NEXT, 2, self.width)
        else:
            shapes |= linear_shapes(self.output_layer, len(self.outputs), self.width)
        return shapes


def pooler(cls: np.ndarray, p: Parameters) -> tuple[np.ndarray, Any]:
    """The vector of a whole sequence: tanh of a dense layer over its [CLS].

    Shapes   cls (B, D) → (B, D)
    """
    x, c_dense = dense(cls, p, POOLER)
    y, c_tanh = tanh(x)
    return y, (c_dense, c_tanh)


def pooler_backward(dy: np.ndarray, cache: Any, d: Parameters) -> np.ndarray:
    """Gradient of pooler: dcls; the parameters' gradients are added to `d`."""
    c_dense, c_tanh = cache
    # forward: y = tanh(dense(cls))
    return dense_backward(tanh_backward(dy, c_tanh), c_dense, d, POOLER)


def sequence_head(
    cls: np.ndarray, p: Parameters, config: HeadConfig, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """Scores of the labels of whole sequences.

    Shapes   cls (B, D), the rows of [CLS] → (B, labels)
    """
    pooled, c_pooler = pooler(cls, p)
    kept, mask = dropout(pooled, config.dropout, rng)
    scores, c_dense = dense(kept, p, CLASSIFIER)
    return scores, (c_pooler, mask, c_dense)


def sequence_head_backward(dscores: np.ndarray, cache: Any, d: Parameters) -> np.ndarray:
    """Gradient of sequence_head: dcls; the parameters' gradients are added to `d`."""
    c_pooler, mask, c_dense = cache
    # forward: scores = dense(dropout(pooler(cls)))
    dpooled = dropout_backward(dense_backward(dscores, c_dense, d, CLASSIFIER), mask)
    return pooler_backward(dpooled, c_pooler, d)


def token_head(
    x: np.ndarray, p: Parameters, config: HeadConfig, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """Scores of the labels of tokens.

    Shapes   x (T, D) → (T, labels)
    """
    kept, mask = dropout(x, config.dropout, rng)
    scores, c_dense = dense(kept, p, CLASSIFIER)
    return scores, (mask, c_dense)


def token_head_backward(dscores: np.ndarray, cache: Any, d: Parameters) -> np.ndarray:
    """Gradient of token_head: dx; the parameters' gradients are added to `d`."""
    mask, c_dense = cache
    # forward: scores = dense(dropout(x))
    return dropout_backward(dense_backward(dscores, c_dense, d, CLASSIFIER), mask)


def span_head(
    x: np.ndarray, p: Parameters, config: HeadConfig, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """Scores of tokens as the first and as the last of an answer; no dropout.

    Shapes   x (T, D) → (T, 2)
    """
    return dense(x, p, SPAN)


def span_head_backward(dscores: np.ndarray, cache: Any, d: Parameters) -> np.ndarray:
    """Gradient of span_head: dx; the parameters' gradients are added to `d`."""
    # forward: scores = dense(x)
    return dense_backward(dscores, cache, d, SPAN)


HEADS = {
    "sequence": (sequence_head, sequence_head_backward),
    "token": (token_head, token_head_backward),
    "span": (span_head, span_head_backward),
}


def next_sentence_head(cls: np.ndarray, p: Parameters) -> tuple[np.ndarray, Any]:
    """Scores that the second text follows the first (0), or was drawn from elsewhere (1).

    Shapes   cls (B, D), the rows of [CLS] → (B, 2)
    """
    pooled, c_pooler = pooler(cls, p)
    scores, c_dense = dense(pooled, p, NEXT)
    return scores, (c_pooler, c_dense)


def next_sentence_head_backward(dscores: np.ndarray, cache: Any, d: Parameters) -> np.ndarray:
    """Gradient of next_sentence_head: dcls; the parameters' gradients are added to `d`."""
    c_pooler, c_dense = cache
    # forward: scores = dense(pooler(cls))
    return pooler_backward(dense_backward(dscores, c_dense, d, NEXT), c_pooler, d)


def word_vectors(x: np.ndarray, p: Parameters, config: HeadConfig) -> tuple[np.ndarray, Any]:
    """What is compared with the table of words to tell a masked one: a dense layer, the activation, a norm.

    Shapes   x (T, D) → (T, D)
    """
    inner, c_dense = dense(x, p, TRANSFORM)
    active, c_active = ACTIVATIONS[config.activation][0](inner)
    y, c_norm = normalize(active, p, TRANSFORM_NORM, config)
    return y, (c_dense, c_active, c_norm)


def word_vectors_backward(dy: np.ndarray, cache: Any, config: HeadConfig, d: Parameters) -> np.ndarray:
    """Gradient of word_vectors: dx; the parameters' gradients are added to `d`."""
    c_dense, c_active, c_norm = cache
    # forward: y = norm(activation(dense(x)))
    dactive = normalize_backward(dy, c_norm, d, TRANSFORM_NORM, config)
    return dense_backward(ACTIVATIONS[config.activation][1](dactive, c_active), c_dense, d, TRANSFORM)


def word_scores(x: np.ndarray, p: Parameters, config: HeadConfig) -> np.ndarray:
    """Scores of all words at some places; the table that words enter by tells them apart here, too.

    Shapes   x (T, D) → (T, V)
    """
    return word_vectors(x, p, config)[0] @ p[WORDS].T + p[WORDS_BIAS]


def word_loss(x: np.ndarray, p: Parameters, config: HeadConfig, targets: np.ndarray) -> tuple[float, Any]:
    """cross_entropy(word_scores(x), targets), without the scores of all rows at once.

    Shapes   x (T, D): the masked places alone, targets (T,) → loss ()
    """
    vectors, c_vectors = word_vectors(x, p, config)
    loss, c_loss = projected_cross_entropy(vectors, p[WORDS], targets, bias=p[WORDS_BIAS])
    return loss, (c_vectors, c_loss)


def word_loss_backward(dloss: float, cache: Any, config: HeadConfig, d: Parameters) -> np.ndarray:
    """Gradient of word_loss: dx; the parameters' gradients are added to `d`, the table's among them."""
    c_vectors, c_loss = cache
    # forward: loss = projected_cross_entropy(word_vectors(x), table, targets, bias)
    dvectors, dtable, dbias = projected_cross_entropy_backward(dloss, c_loss)
    d[WORDS][...] += dtable
    d[WORDS_BIAS][...] += dbias
    return word_vectors_backward(dvectors, c_vectors, config, d)
