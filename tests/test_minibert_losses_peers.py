"""Every loss and AdamW against sentence-transformers, PyTorch and transformers: values, gradients, schedules."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from minibert import losses, optim
from minibert.ops import (
    l2_normalize,
    l2_normalize_backward,
    row_cosines,
    row_cosines_backward,
    similarity,
    similarity_backward,
)
from minibert.parameters import Parameters

pytestmark = pytest.mark.peers
RNG = np.random.default_rng(8)
U, V, W, X = RNG.standard_normal((4, 6, 5))
GRADES = np.array([0.2, 1.0, 0.4, 0.2, 0.9, 0.0])
CLASSES = np.array([2, 0, 1, 2, 1, 1])
NLI = RNG.standard_normal((3, 15)), RNG.standard_normal(3)
TEACHER = 3 * RNG.standard_normal((6, 3))


def on_cosines(**options):
    """In-batch cross entropy of unit vectors, and its backward to the vectors themselves."""

    def forward(queries, *documents):
        units, caches = zip(*map(l2_normalize, (queries, *documents)), strict=True)
        loss, cache = losses.in_batch_cross_entropy(units[0], np.concatenate(units[1:]), 0.05, **options)
        return loss, (caches, cache, len(queries))

    def backward(dloss, cache):
        caches, cache, count = cache
        dqueries, ddocuments = losses.in_batch_cross_entropy_backward(dloss, cache)
        parts = [dqueries, *np.split(ddocuments, len(ddocuments) // count)]
        return [l2_normalize_backward(d, c) for d, c in zip(parts, caches, strict=True)]

    return forward, backward


def on_scores(loss, loss_backward, *arguments):
    """A loss over each query's scores with its own candidates, and its backward to the vectors."""

    def forward(queries, *candidates):
        scores = np.stack([(queries * c).sum(axis=1) for c in candidates], axis=1)
        value, cache = loss(scores, TEACHER[:, : scores.shape[1]], *arguments)
        return value, (queries, candidates, cache)

    def backward(dloss, cache):
        queries, candidates, cache = cache
        d = loss_backward(dloss, cache)
        columns = [d[:, [j]] for j in range(d.shape[1])]
        return [sum(s * c for s, c in zip(columns, candidates, strict=True)), *(s * queries for s in columns)]

    return forward, backward


def matryoshka():
    def inner(q, a):
        scores, cache = similarity(q, a)
        loss, loss_cache = losses.diagonal_cross_entropy(20 * scores)
        return loss, (cache, loss_cache)

    def inner_backward(dloss, cache):
        return similarity_backward(20 * losses.diagonal_cross_entropy_backward(dloss, cache[1]), cache[0])

    return (
        lambda *vectors: losses.matryoshka(inner, vectors, (5, 3, 2), (1.0, 0.5, 2.0)),
        lambda dloss, cache: losses.matryoshka_backward(dloss, cache, inner_backward),
    )


def margin_contrastive():
    """The library's is half of it, and has a margin on the distance 1 − cosine."""

    def forward(u, v):
        cosines, cache = row_cosines(u, v)
        loss, loss_cache = losses.margin_contrastive(cosines, CLASSES > 1, margin=0.3)
        return loss / 2, (cache, loss_cache)

    def backward(dloss, cache):
        return row_cosines_backward(losses.margin_contrastive_backward(dloss / 2, cache[1]), cache[0])

    return forward, backward


# name: ((forward, backward), the vectors, sentence-transformers' loss, its labels, its options, arrays of the loss)
CASES = {
    "in-batch": (on_cosines(), (U, V), "MultipleNegativesRankingLoss", None, {}),
    "hard negatives": (on_cosines(), (U, V, W, X), "MultipleNegativesRankingLoss", None, {}),
    "symmetric": (on_cosines(symmetric=True), (U, V), "MultipleNegativesSymmetricRankingLoss", None, {}),
    "margin contrastive": (
        margin_contrastive(),
        (U, V),
        "ContrastiveLoss",
        (CLASSES > 1).astype(np.int64),
        {"margin": 0.7, "size_average": False},
    ),
    "softmax NLI": (
        (lambda u, v, w, b: losses.softmax_nli(u, v, w, b, CLASSES), losses.softmax_nli_backward),
        (U, V),
        "SoftmaxLoss",
        CLASSES,
        {"embedding_dimension": 5, "num_labels": 3},
    ),
    "cosine MSE": (
        (lambda u, v: losses.cosine_mse(u, v, GRADES), losses.cosine_mse_backward),
        (U, V),
        "CosineSimilarityLoss",
        GRADES,
        {},
    ),
    "CoSENT": ((lambda u, v: losses.cosent(u, v, GRADES), losses.cosent_backward), (U, V), "CoSENTLoss", GRADES, {}),
    "triplet": (
        (lambda *rows: losses.triplet(*rows, 1.0), losses.triplet_backward),
        (U, V, W),
        "TripletLoss",
        None,
        {"distance": "EUCLIDEAN", "margin": 1.0},
    ),
    "triplet, cosine": (
        (lambda *rows: losses.triplet(*rows, 0.5, "cosine"), losses.triplet_backward),
        (U, V, W),
        "TripletLoss",
        None,
        {"distance": "COSINE", "margin": 0.5},
    ),
    "MarginMSE": (
        on_scores(losses.margin_mse, losses.margin_mse_backward),
        (U, V, W, X),
        "MarginMSELoss",
        TEACHER,
        {},
    ),
    "KL": (
        on_scores(losses.kl_distillation, losses.kl_distillation_backward, 2.0),
        (U, V, W, X),
        "DistillKLDivLoss",
        TEACHER,
        {"temperature": 2.0},
    ),
    "matryoshka": (
        matryoshka(),
        (U, V),
        "MatryoshkaLoss",
        None,
        {"inner": "MultipleNegativesRankingLoss", "matryoshka_dims": [5, 3, 2], "matryoshka_weights": [1.0, 0.5, 2.0]},
    ),
}


@pytest.fixture(scope="module")
def peer():
    with Peer("st_losses") as peer:
        yield peer


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_equal_sentence_transformers(peer, name):
    """In float64; PyTorch's distances add 1e-6 to every difference, hence the bound."""
    (forward, backward), vectors, theirs, labels, options = CASES[name]
    arrays = NLI if name == "softmax NLI" else ()
    expected, gradients = peer.call(
        "loss_and_gradients", name=theirs, vectors=list(vectors), labels=labels, options=options, arrays=list(arrays)
    )
    loss, cache = forward(*vectors, *arrays)
    assert loss == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(backward(1.0, cache), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "options"),
    [("in_batch_cross_entropy", {"temperature": 0.3}), ("in_batch_margin_contrastive", {"margin": 0.2})],
)
def test_documents_that_answer_alike_equal_pytorch(peer, loss, options):
    """Two documents of one id, and hard negatives: left out by cross entropy, matches of the margin loss."""
    queries, documents = (l2_normalize(rows)[0] for rows in (U, np.concatenate((V, W))))
    ids = np.array([0, 1, 2, 1, 4, 5, 6, 0, 8, 9, 4, 4])
    expected, gradients = peer.call("in_batch", queries=queries, documents=documents, ids=ids, **options)
    value, cache = getattr(losses, loss)(queries, documents, ids=ids, **options)
    assert value == pytest.approx(expected, rel=1e-12)
    for ours, theirs in zip(getattr(losses, f"{loss}_backward")(1.0, cache), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_adamw_equals_pytorch(peer):
    """Matrices with decay, biases without, over twenty steps of a falling rate."""
    p = Parameters({"a.weight": (4, 3), "a.bias": (4,)}, dtype=np.float64)
    p.flat[...] = RNG.standard_normal(16)
    gradients, rates = RNG.standard_normal((20, 16)), np.linspace(0.1, 0.01, 20)
    expected = [
        peer.call("adamw", theta=p.flat[part].copy(), gradients=gradients[:, part], rates=rates, weight_decay=decay)
        for part, decay in ((slice(0, 12), 0.1), (slice(12, 16), 0.0))
    ]
    adam = optim.AdamW(p, 0.1)
    for gradient, rate in zip(gradients, rates, strict=True):
        adam.step(p.flat, gradient, rate)
    np.testing.assert_allclose(p.flat, np.concatenate(expected), rtol=1e-10)


def test_schedules_equal_transformers(peer):
    """Linear and cosine, after warm-up; during it ours is a step ahead: the first step has a rate above 0."""
    for name, shares in zip(("linear", "cosine"), peer.call("schedules", warmup=4, total=20), strict=True):
        ours = [optim.SCHEDULES[name](step, 4, 20) for step in range(20)]
        np.testing.assert_allclose(ours[4:], shares[3:-1], atol=1e-12)
        np.testing.assert_allclose(ours[:4], shares[:4], atol=1e-12)
