"""Every loss against its formula, its backward against central differences, the course's table, and bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import assert_gradient
from minibert import losses
from oracles import losses as oracle

TABLE = np.array([[4.3, 1.2, 0.05, 1.07], [0.18, 3.2, 0.09, 0.05], [0.85, 0.27, 2.2, 1.03], [0.23, 0.57, 0.12, 5.1]])


def vectors(rows, width=5, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, width))


U, V, W = vectors(4), vectors(4, seed=1), vectors(4, seed=2)
MORE = vectors(7, seed=3)
IDS = np.array([5, 6, 5, 7, 6, 8, 7])  # the third is the first's document again, the fifth the second's
NLI = vectors(3, 15, seed=4), vectors(1, 3, seed=5)[0]
CLASSES, GRADES = np.array([2, 0, 1, 2]), np.array([0.2, 1.0, -0.4, 0.2])
SCORES, TEACHER = vectors(4, 3, seed=6), 3 * vectors(4, 3, seed=7)
MATCHES = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])


def in_batch(**options):
    return lambda q, a: losses.in_batch_cross_entropy(q, a, 0.7, **options)


def matryoshka_backward(dtotal, cache):
    return tuple(losses.matryoshka_backward(dtotal, cache, losses.in_batch_cross_entropy_backward))


# name: (function of the differentiated arrays → (loss, cache), backward, the arrays, the formula of the same arrays)
CASES = {
    "margin contrastive": (
        lambda s: losses.margin_contrastive(s, MATCHES, 0.3),
        losses.margin_contrastive_backward,
        (TABLE,),
        lambda s: oracle.margin_contrastive(s, MATCHES, 0.3),
    ),
    "margin contrastive, in-batch, hard negatives, documents twice": (
        lambda q, a: losses.in_batch_margin_contrastive(q, a, 0.3, IDS),
        losses.in_batch_margin_contrastive_backward,
        (U, MORE),
        lambda q, a: oracle.margin_contrastive([[oracle.dot(x, y) for y in a] for x in q], IDS[:4, None] == IDS, 0.3),
    ),
    "in-batch": (
        in_batch(),
        losses.in_batch_cross_entropy_backward,
        (U, V),
        lambda q, a: oracle.in_batch_cross_entropy(q, a, 0.7),
    ),
    "in-batch, hard negatives": (
        in_batch(),
        losses.in_batch_cross_entropy_backward,
        (U, MORE),
        lambda q, a: oracle.in_batch_cross_entropy(q, a, 0.7),
    ),
    "in-batch, both directions, hard negatives, documents twice": (
        in_batch(ids=IDS, symmetric=True),
        losses.in_batch_cross_entropy_backward,
        (U, MORE),
        lambda q, a: oracle.in_batch_cross_entropy(q, a, 0.7, IDS, True),
    ),
    "softmax NLI": (
        lambda u, v, w, b: losses.softmax_nli(u, v, w, b, CLASSES),
        losses.softmax_nli_backward,
        (U, V, *NLI),
        lambda u, v, w, b: oracle.softmax_nli(u, v, w, b, CLASSES),
    ),
    "cosine MSE": (
        lambda u, v: losses.cosine_mse(u, v, GRADES),
        losses.cosine_mse_backward,
        (U, V),
        lambda u, v: oracle.cosine_mse(u, v, GRADES),
    ),
    "CoSENT": (
        lambda u, v: losses.cosent(u, v, GRADES, 5.0),
        losses.cosent_backward,
        (U, V),
        lambda u, v: oracle.cosent(u, v, GRADES, 5.0),
    ),
    "triplet": (
        losses.triplet,
        losses.triplet_backward,
        (U, V, W),
        lambda a, p, n: oracle.triplet(a, p, n, 1.0, "euclidean"),
    ),
    "triplet, cosine": (
        lambda a, p, n: losses.triplet(a, p, n, 0.4, "cosine"),
        losses.triplet_backward,
        (U, V, W),
        lambda a, p, n: oracle.triplet(a, p, n, 0.4, "cosine"),
    ),
    "MarginMSE": (
        lambda s: losses.margin_mse(s, TEACHER),
        losses.margin_mse_backward,
        (SCORES,),
        lambda s: oracle.margin_mse(s, TEACHER),
    ),
    "KL": (
        lambda s: losses.kl_distillation(s, TEACHER, 2.0),
        losses.kl_distillation_backward,
        (SCORES,),
        lambda s: oracle.kl_distillation(s, TEACHER, 2.0),
    ),
    "matryoshka": (
        lambda q, a: losses.matryoshka(in_batch(), (q, a), (2, 5), (0.5, 1.5)),
        matryoshka_backward,
        (U, V),
        lambda q, a: oracle.matryoshka(
            lambda q, a: oracle.in_batch_cross_entropy(q, a, 0.7), (q, a), (2, 5), (0.5, 1.5)
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_equals_its_formula(name):
    """One term at a time, in float64; and float32 stays float32."""
    forward, backward, arrays, formula = CASES[name]
    loss, _ = forward(*arrays)
    assert loss == pytest.approx(formula(*arrays), rel=1e-12)
    short, cache = forward(*(array.astype(np.float32) for array in arrays))
    gradients = backward(1.0, cache)
    for gradient in gradients if isinstance(gradients, tuple) else (gradients,):
        assert gradient.dtype == np.float32
    assert short == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_loss_backward_equals_central_differences(name):
    """In five random directions."""
    forward, backward, arrays, _ = CASES[name]
    for seed in range(5):
        assert_gradient(forward, backward, arrays, np.random.default_rng(seed))


def test_in_batch_cross_entropy_of_the_course_table():
    """Q1 … Q4 against A1 … A4, by hand.

    Row 1: e^4.3 = 73.69979, e^1.2 = 3.32012, e^0.05 = 1.05127, e^1.07 = 2.91538; their sum is 80.98656, so softmax is
    .91002 .04100 .01298 .03600, and −log .91002 = .09428. Likewise .12774, .53927, .02501 in the other rows; the loss
    is their mean, and the gradient (softmax − one-hot) / 4.
    """
    loss, cache = losses.diagonal_cross_entropy(TABLE)
    assert loss == pytest.approx((0.09428 + 0.12774 + 0.53927 + 0.02501) / 4, abs=1e-5)
    softmax = [
        [0.91002, 0.04100, 0.01298, 0.03600],
        [0.04295, 0.88008, 0.03925, 0.03771],
        [0.15118, 0.08465, 0.58317, 0.18100],
        [0.00748, 0.01051, 0.00670, 0.97530],
    ]
    expected = (np.array(softmax) - np.eye(4)) / 4
    np.testing.assert_allclose(losses.diagonal_cross_entropy_backward(1.0, cache), expected, atol=1e-5)


def test_margin_contrastive_of_the_course_table():
    """By hand, m = ½: matches 3.3² + 2.2² + 1.2² + 4.1² = 33.98, others .7² + .57² + .35² + .53² + .07² = 1.2232."""
    loss, cache = losses.margin_contrastive(TABLE)
    assert loss == pytest.approx(33.98 + 1.2232, abs=1e-12)
    expected = [[6.6, 1.4, 0, 1.14], [0, 4.4, 0, 0], [0.7, 0, 2.4, 1.06], [0, 0.14, 0, 8.2]]
    np.testing.assert_allclose(losses.margin_contrastive_backward(1.0, cache), expected, atol=1e-12)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=7), st.integers(0, 99))
def test_false_negatives_do_not_count(ids, seed):
    """A document that is there twice changes no loss by its second copy's score, whatever that is."""
    rng = np.random.default_rng(seed)
    ids, scores = np.array(ids), rng.standard_normal((len(ids), len(ids)))
    same = (ids[:, None] == ids) & ~np.eye(len(ids), dtype=bool)
    loss, cache = losses.diagonal_cross_entropy(scores, ids, symmetric=True)
    other, _ = losses.diagonal_cross_entropy(np.where(same, 50.0, scores), ids, symmetric=True)
    assert loss == other
    assert (losses.diagonal_cross_entropy_backward(1.0, cache)[same] == 0).all()


def test_duplicate_positives_without_ids_pull_apart():
    """The same document twice is its own negative: the loss cannot fall below log 2. With ids it can, to 0."""
    vectors = np.array([[30.0, 0], [30.0, 0]])
    assert losses.in_batch_cross_entropy(vectors, vectors)[0] == pytest.approx(np.log(2))
    loss, cache = losses.in_batch_cross_entropy(vectors, vectors, ids=np.array([1, 1]), symmetric=True)
    assert loss == 0 and not np.any(losses.in_batch_cross_entropy_backward(1.0, cache))


def test_all_equal_labels_have_a_rule():
    """CoSENT has no order to learn, loss 0; the others are what their formula says."""
    loss, cache = losses.cosent(U, V, np.full(4, 0.5))
    assert loss == 0 and not np.any(losses.cosent_backward(1.0, cache))
    assert losses.margin_contrastive(TABLE, np.zeros((4, 4)))[0] == pytest.approx(((TABLE - 0.5).clip(0) ** 2).sum())
    assert losses.cosine_mse(U, U, np.ones(4))[0] == pytest.approx(0, abs=1e-30)
    assert losses.softmax_nli(U, V, *NLI, np.zeros(4, int))[0] > 0


def test_equal_vectors_have_finite_gradients():
    """Distance 0, and zero rows: the slope is taken as 0."""
    zero = np.zeros((2, 3))
    for distance in ("euclidean", "cosine"):
        loss, cache = losses.triplet(zero, zero, zero, 1.0, distance)
        assert loss == 1 and all(np.isfinite(d).all() for d in losses.triplet_backward(1.0, cache))
    _, cache = losses.cosine_mse(zero, zero, np.ones(2))
    assert all(np.isfinite(d).all() for d in losses.cosine_mse_backward(1.0, cache))


@given(st.floats(50, 1e4))
def test_losses_stay_finite_at_large_scores(size):
    """Exponentials of large numbers are never taken."""
    scores = size * TABLE
    values = [
        losses.diagonal_cross_entropy(scores, symmetric=True),
        losses.kl_distillation(scores, -scores),
        losses.cosent(U, V, GRADES, size),
    ]
    assert np.isfinite([value for value, _ in values]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.in_batch_cross_entropy(U[:1], U[:1]), "at least 2 and as many documents"),
        (lambda: losses.in_batch_cross_entropy(U, U[:3]), "at least 2 and as many documents"),
        (lambda: losses.in_batch_cross_entropy(U[:0], U), "at least 2 and as many documents"),
        (lambda: losses.in_batch_cross_entropy(U[:1], U, symmetric=True), "at least 2 queries"),
        (lambda: losses.in_batch_cross_entropy(U, U, 0.0), "temperature above 0, got 0.0"),
        (lambda: losses.in_batch_cross_entropy(U, U, np.nan), "temperature above 0, got nan"),
        (lambda: losses.in_batch_cross_entropy(U, U, ids=IDS), "an id for each of 4 documents"),
        (lambda: losses.margin_contrastive(TABLE[:1, :1]), "at least 2 and as many documents"),
        (lambda: losses.margin_contrastive(TABLE, MATCHES[0]), r"scores of shape \(4, 4\), got \(4,\)"),
        (lambda: losses.margin_contrastive(TABLE, 2 * MATCHES), "labels 0 and 1, got 2"),
        (lambda: losses.margin_contrastive(TABLE, margin=1.5), "margin in −1 … 1, as cosines are, got 1.5"),
        (lambda: losses.softmax_nli(U, V, *NLI, CLASSES + 1), "targets in 0 … 2, got 3 in row 0"),
        (lambda: losses.softmax_nli(U, V[:3], *NLI, CLASSES), "on both sides"),
        (lambda: losses.softmax_nli(U, V, NLI[0][:, :5], NLI[1], CLASSES), r"weights \(C, 15\)"),
        (lambda: losses.cosine_mse(U, V, 5 * GRADES), "labels in −1 … 1, as cosines are, got 5.0 in row 1"),
        (lambda: losses.cosine_mse(U, V, GRADES[:3]), "4 labels"),
        (lambda: losses.cosent(U, V, GRADES, 0), "scale above 0, got 0"),
        (lambda: losses.cosent(U, V, GRADES[:3]), "4 labels"),
        (lambda: losses.triplet(U, V, W, -1), "margin of 0 or more, got -1"),
        (lambda: losses.triplet(U, V, W, 1, "l1"), "euclidean, cosine, got 'l1'"),
        (lambda: losses.triplet(U, V, MORE), "on both sides"),
        (lambda: losses.margin_mse(SCORES[:, :1], TEACHER[:, :1]), "at least 2 candidates"),
        (lambda: losses.kl_distillation(SCORES, TEACHER, 0), "temperature above 0, got 0"),
        (lambda: losses.kl_distillation(SCORES, TEACHER[:2]), "as many of the teacher"),
        (lambda: losses.matryoshka(in_batch(), (U, V), (6,)), "dims in 1 … 5"),
        (lambda: losses.matryoshka(in_batch(), (U, V), ()), "dims in 1 … 5"),
    ],
)
def test_losses_refuse_what_cannot_be(call, message):
    """A batch of one, shapes, labels, temperatures, margins."""
    with pytest.raises(ValueError, match=message):
        call()
