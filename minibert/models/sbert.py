"""SBERT's training: one network reads two or three texts, and a loss compares their vectors.

Unlike a cross-encoder, which reads both texts at once and must do so again for every pair, the network never sees a
pair: it is run on each text alone (Siamese), so a vector can be kept and compared with any other. Unlike the dual
encoder the sides share all weights. `sentence_encoder.py` has the model, this file how it learns, by the kind of data:

    train_nli        premise, hypothesis, label     softmax over (u, v, |u − v|)
    train_sts        two texts, score               cosine to score, or CoSENT
    train_triplets   anchor, positive, negative     nearer by a margin
    train_pairs      two texts that belong together, perhaps hard negatives: in-batch cross entropy of cosines

Source   Reimers & Gurevych 2019 (SBERT, arXiv:1908.10084) section 3; pairs: Henderson 2017 (arXiv:1705.00652)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from minibert import losses
from minibert.data import batches
from minibert.formats import NLI_LABELS
from minibert.gradcache import Side, loss_through
from minibert.metrics import spearman
from minibert.models.headed import label_numbers
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.sentence_network import sentence_vectors, sentence_vectors_backward
from minibert.train import check_rows_meet, digest, numbered, train

CLASSIFIER, BIAS = "classifier.weight", "classifier.bias"


def train_nli(
    encoder: SentenceEncoder,
    examples: Sequence[tuple[str, str, str]],
    *,
    labels: tuple[str, ...] = NLI_LABELS,
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder, in place, to tell how a hypothesis relates to its premise: (premise, hypothesis, label).

    Options, Returns, Raises   as train_siamese; ValueError: a label not among `labels`, with its row, or only one label
    """
    targets = label_numbers([label for _, _, label in examples], labels)
    _check_differ(targets, "labels")
    parameters = with_classifier(encoder, len(labels), options.get("seed", 0))
    columns = [example[:2] for example in examples]
    settings = {"task": "nli", "labels": list(labels)}
    objective = nli_objective(parameters, targets)
    return train_siamese(encoder, columns, *objective, targets, settings, parameters=parameters, **options)


def train_sts(
    encoder: SentenceEncoder, examples: Sequence[tuple[str, str, float]], *, loss: str = "cosine_mse", **options: Any
) -> list[dict[str, float]]:
    """Train an encoder, in place, on graded pairs: (text, text, score).

    Units    scores: −1 … 1 for loss="cosine_mse"; any for "cosent", which sees their order alone
    Options, Returns, Raises   as train_siamese; ValueError: another loss, or scores that are all equal or outside
    """
    known: dict[str, Callable] = {"cosine_mse": losses.cosine_mse, "cosent": losses.cosent}
    if loss not in known:
        raise ValueError(f"expected a loss of {', '.join(known)}, got {loss!r}")
    forward, backward = known[loss], getattr(losses, f"{loss}_backward")
    scores = np.array([score for _, _, score in examples], np.float32)
    _check_differ(scores, "scores")
    outside = np.flatnonzero(np.abs(scores) > 1) if loss == "cosine_mse" else np.empty(0, np.int64)
    if len(outside):
        raise ValueError(f"expected scores in −1 … 1, as cosines are, got {scores[outside[0]]} in example {outside[0]}")
    return train_siamese(
        encoder,
        [(first, second) for first, second, _ in examples],
        lambda rows, u, v: forward(u, v, scores[rows]),
        lambda dloss, cache, d: backward(dloss, cache),
        scores,
        {"task": "sts", "loss": loss},
        **options,
    )


def train_triplets(
    encoder: SentenceEncoder,
    examples: Sequence[tuple[str, str, str]],
    *,
    margin: float = 1.0,
    distance: str = "euclidean",
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder, in place, on (anchor, positive, negative): see losses.triplet.

    Options, Returns, Raises   as train_siamese
    """
    return train_siamese(
        encoder,
        examples,
        lambda rows, a, p, n: losses.triplet(a, p, n, margin, distance),
        lambda dloss, cache, d: losses.triplet_backward(dloss, cache),
        np.empty(0),
        {"task": "triplets", "margin": margin, "distance": distance},
        **options,
    )


def train_pairs(
    encoder: SentenceEncoder,
    examples: Sequence[tuple[str, ...]],
    *,
    temperature: float = 0.05,
    ids: Sequence[Sequence[Hashable]] | str | None = None,
    symmetric: bool = False,
    dims: Sequence[int] | None = None,
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder, in place, on (text, its match, hard negatives …), as many negatives in every example.

    ids, symmetric: as in train_dual_encoder. dims: the loss is summed over vectors cut to these widths (Matryoshka), so
    that `truncate_dim` may later be any of them.

    Options, Returns, Raises   as train_siamese; ValueError: fewer than 2 examples, a batch or micro-batch of one
    """
    check_rows_meet(len(examples), options.get("batch_size", 32), options.get("micro_batch"))
    keys = [] if ids is None else numbered([e[1:] for e in examples] if ids == "text" else ids)[1]
    if ids is not None and [len(row) for row in keys] != [len(e) - 1 for e in examples]:
        raise ValueError("expected an id for each text but the first of each example, got another number of them")

    def cross_entropy(rows):
        def loss(anchors, *others):
            marks = np.array([keys[row] for row in rows]).T.ravel() if keys else None
            value, cache = losses.in_batch_cross_entropy(anchors, np.concatenate(others), temperature, marks, symmetric)
            return value, (cache, len(others))

        return loss

    def cross_entropy_backward(dloss, cache):
        danchors, dothers = losses.in_batch_cross_entropy_backward(dloss, cache[0])
        return danchors, *np.split(dothers, cache[1])

    def loss(rows, *vectors):
        widths = dims or (vectors[0].shape[1],)  # one width, the whole: then only the vectors' lengths are taken away
        return losses.matryoshka(cross_entropy(rows), vectors, widths)

    def loss_backward(dloss, cache, d):
        return losses.matryoshka_backward(dloss, cache, cross_entropy_backward)

    data = np.array(list(chain.from_iterable(keys)), np.int64)
    settings = {"task": "pairs", "temperature": temperature, "symmetric": symmetric, "dims": list(dims or ())}
    return train_siamese(encoder, examples, loss, loss_backward, data, settings, smallest=2, **options)


def train_siamese(
    encoder: SentenceEncoder,
    examples: Sequence[tuple[str, ...]],
    loss: Callable,
    loss_backward: Callable,
    data: np.ndarray,
    settings: dict,
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 2e-5,
    weight_decay: float = 0.01,
    seed: int = 0,
    grad_cache: int | None = None,
    parameters: Parameters | None = None,
    smallest: int = 1,
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder, in place, with any loss over the vectors of the texts of each example. Long texts are cut.

    loss(rows, vectors of the first texts, of the second, …) → (loss, cache); loss_backward(dloss, cache, d) → their
    gradients, those of other parameters being added to d.

    Returns  the history, see `train`, whose `options` are taken too
    Units    batch_size: examples; grad_cache: texts that pass at once, see `gradcache`; learning_rate: by default the
             paper's, for a network that was trained before; data, settings: what else resuming must find unchanged;
             parameters: the encoder's and more, from `with_classifier`; smallest: last batch of an epoch that is used
    Raises   ValueError: no examples, or examples of unlike numbers of texts; the rest as `train`
    """
    if not examples or len({len(example) for example in examples}) != 1:
        raise ValueError(f"expected examples of as many texts each, got {sorted({len(e) for e in examples})} texts")
    texts, table = numbered(examples)
    sequences, _ = encoder.features(encoder.tokenize(texts, "silent")[0])
    places = np.array(table)
    parameters = encoder.parameters if parameters is None else parameters

    def loss_and_gradients(rows, rng):
        d = parameters.zeros_like()
        batch = sequences.take(places[rows].T.ravel())
        return siamese_pass(encoder, batch, len(rows), loss, loss_backward, rows, d, rng, grad_cache), d

    settings = settings | {
        "batch_size": batch_size, "grad_cache": grad_cache, "config": str(encoder.config),
        "data": digest(sequences, places, data),
    }  # fmt: skip
    return train(
        parameters,
        loss_and_gradients,
        lambda epoch: batches(len(examples), batch_size, seed, epoch, smallest),
        epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay, seed=seed, settings=settings, **options,
    )  # fmt: skip


def sts_spearman(encoder: SentenceEncoder, examples: Sequence[tuple[str, str, float]]) -> float:
    """Spearman's rank correlation of cosines with the scores of graded pairs: the measure of section 4."""
    first, second, scores = zip(*examples, strict=True)
    u, v = (encoder.encode(side, normalize=True, on_truncate="silent") for side in (first, second))
    return spearman((u * v).sum(axis=1), np.array(scores))


def siamese_pass(
    encoder: SentenceEncoder,
    batch: Ragged,
    count: int,
    loss: Callable,
    loss_backward: Callable,
    rows: np.ndarray,
    d: Parameters,
    rng: np.random.Generator | None = None,
    part: int | None = None,
) -> float:
    """The loss of a batch whose first `count` texts are the examples' first, the next their second, …; adds to `d`.

    All of them are one side of `loss_through`: one network, one pass.
    """
    p, config = encoder.parameters, encoder.config

    def split_loss(vectors):
        return loss(rows, *np.split(vectors, len(vectors) // count))

    def split_loss_backward(dloss, cache):
        return (np.concatenate(loss_backward(dloss, cache, d)),)

    side = Side(
        batch,
        lambda some, rng: sentence_vectors(p, config, some, rng),
        lambda dvectors, cache: sentence_vectors_backward(dvectors, cache, config, d),
    )
    return loss_through([side], split_loss, split_loss_backward, rng, part)


def nli_objective(parameters: Parameters, targets: np.ndarray) -> tuple[Callable, Callable]:
    """softmax_nli with the classifier among these parameters, and its backward, as train_siamese asks for them."""
    weight, bias = parameters[CLASSIFIER], parameters[BIAS]

    def loss(rows, u, v):
        return losses.softmax_nli(u, v, weight, bias, targets[rows])

    def loss_backward(dloss, cache, d):
        du, dv, dweight, dbias = losses.softmax_nli_backward(dloss, cache)
        d[CLASSIFIER][...] += dweight
        d[BIAS][...] += dbias
        return du, dv

    return loss, loss_backward


def with_classifier(encoder: SentenceEncoder, classes: int, seed: int = 0) -> Parameters:
    """The encoder's parameters and a classifier's over (u, v, |u − v|) in one vector; the encoder's become views of it.

    Shapes   classifier.weight (classes, 3D), drawn with deviation (3D)^−½; classifier.bias (classes,), 0
    """
    width = 3 * encoder.config.full_dim
    shapes = encoder.config.shapes | {CLASSIFIER: (classes, width), BIAS: (classes,)}
    whole = Parameters(shapes, dtype=encoder.parameters.flat.dtype)
    own = encoder.parameters.flat.size
    whole.flat[:own] = encoder.parameters.flat
    whole[CLASSIFIER][...] = np.random.default_rng([seed, 3]).standard_normal((classes, width)) / np.sqrt(width)
    encoder.parameters = Parameters(encoder.config.shapes, whole.flat[:own])
    return whole


def _check_differ(values: np.ndarray, name: str) -> None:
    if len(values) and (values == values[0]).all():
        raise ValueError(f"expected {name} that differ, got {values[0]} for all {len(values)} examples")
