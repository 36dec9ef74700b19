"""Gradient caching equals the whole batch; the dual encoder's options: hard negatives, ids, both directions."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import tiny_tokenizer
from minibert import losses
from minibert.gradcache import Side, loss_through
from minibert.models.dual_encoder import QUERY, DualEncoder, DualEncoderConfig, tower, tower_backward
from minibert.train import train_dual_encoder

WORDS = "cat dog mat log sat on the and a".split()
PAIRS = [(f"the {a} and {b}", f"{b} on a {a}") for a in WORDS for b in WORDS[:3]]


def dual_encoder(dropout=0.0, dtype=np.float64, **changes):
    tokenizer = tiny_tokenizer()
    sizes = dict(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, ffn=16, dim=8) | changes
    config = DualEncoderConfig(**sizes, normalize=True, temperature=0.1, dropout=dropout)
    model = DualEncoder.create(tokenizer, config, seed=1)
    model.parameters = model.parameters.astype(dtype)
    return model


def sides(model, pairs=PAIRS):
    return tuple(model.tokenize(list(texts)) for texts in zip(*pairs, strict=True))


@given(st.integers(1, 30), st.booleans())
def test_gradcache_equals_the_whole_batch(part, symmetric):
    """Any size of parts, one text or more than all: the same loss and gradients up to float64's rounding."""
    model = dual_encoder()
    ids = np.arange(len(PAIRS)) % 20
    loss, d = model.loss_and_gradients(*sides(model), ids=ids, symmetric=symmetric)
    cached_loss, cached = model.loss_and_gradients(*sides(model), ids=ids, symmetric=symmetric, part=part)
    assert cached_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(cached.flat, d.flat, rtol=1e-9, atol=1e-12)


def test_gradcache_draws_the_same_dropout_twice():
    """With masks: the gradients of one pass over all parts that keeps every cache, each part from its seed."""
    model = dual_encoder(dropout=0.3)
    p, config, d = model.parameters.sub(QUERY), model.config, model.parameters.zeros_like()
    batch, (target,) = sides(model)[0], np.random.default_rng(0).standard_normal((1, len(PAIRS), 8))

    def loss(vectors):
        return np.sum((vectors - target) ** 2), vectors

    def loss_backward(dloss, vectors):
        return [2 * dloss * (vectors - target)]

    side = Side(
        batch,
        lambda part, rng: tower(p, config, part, rng),
        lambda dvectors, cache: tower_backward(dvectors, cache, config, d.sub(QUERY)),
    )
    value = loss_through([side], loss, loss_backward, np.random.default_rng(4), part=8)

    rng, whole, expected = np.random.default_rng(4), 0.0, model.parameters.zeros_like()
    parts = [np.arange(len(PAIRS))[i : i + 8] for i in range(0, len(PAIRS), 8)]
    for seed, rows in [(rng.integers(2**63), rows) for rows in parts]:
        vectors, cache = tower(p, config, batch.take(rows), np.random.default_rng(seed))
        whole += np.sum((vectors - target[rows]) ** 2)
        tower_backward(2 * (vectors - target[rows]), cache, config, expected.sub(QUERY))
    assert value == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(d.flat, expected.flat, rtol=1e-12)


def test_gradcache_holds_one_part_at_a_time():
    """Eight times the pairs: the whole batch needs several times the memory, parts of 16 hardly more."""
    model = dual_encoder(dtype=np.float32, ffn=256)

    def peak(pairs, part):
        batch = sides(model, pairs)
        tracemalloc.start()
        model.loss_and_gradients(*batch, part=part)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = PAIRS[:16], (PAIRS * 5)[:128]
    assert peak(many, None) > 5 * peak(few, None)
    assert peak(many, 16) < 2 * peak(few, None)


def test_scores_in_blocks_equal_all_scores():
    """In-batch cross entropy of more rows than a block has is that of the whole matrix, in both directions."""
    rng = np.random.default_rng(0)
    q, a, ids = rng.standard_normal((300, 4)), rng.standard_normal((310, 4)), rng.integers(0, 99, 310)
    loss, (dq, da) = losses.in_batch_cross_entropy(q, a, 0.5, ids, symmetric=True)
    whole, cache = losses.diagonal_cross_entropy(q @ a.T / 0.5, ids, symmetric=True)
    dscores = losses.diagonal_cross_entropy_backward(1.0, cache) / 0.5
    assert loss == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(dq, dscores @ a, atol=1e-14)
    np.testing.assert_allclose(da, dscores.T @ q, atol=1e-14)


def trained(examples, **options):
    model = dual_encoder(dtype=np.float32)
    options = dict(epochs=4, batch_size=9, learning_rate=5e-3, warmup=3, progress=False) | options
    return model, train_dual_encoder(model, examples, **options)


def test_train_dual_encoder_takes_hard_negatives():
    """They enter the loss of a batch as further columns, any number of them, in the order documented."""
    negatives = [tuple(f"{word} {b}" for word in WORDS[: i % 3]) for i, (_, b) in enumerate(PAIRS)]
    examples = [pair + more for pair, more in zip(PAIRS, negatives, strict=True)]
    seen = []
    model = dual_encoder()
    inner = model.loss_and_gradients
    model.loss_and_gradients = lambda q, a, *rng, **how: (seen.append((len(q), len(a))), inner(q, a, *rng, **how))[1]
    train_dual_encoder(model, examples, epochs=1, batch_size=9, progress=False)
    assert sum(queries for queries, _ in seen) == len(PAIRS)
    assert sum(documents for _, documents in seen) == len(PAIRS) + sum(map(len, negatives))
    easy, hard = trained(PAIRS), trained(examples)
    assert hard[1][0]["loss"] > easy[1][0]["loss"]  # more to be told from


def test_train_dual_encoder_leaves_out_false_negatives():
    """All questions with one answer: by its text, or by an id, nothing is left to learn; without, log of the batch."""
    examples = [(question, "the mat") for question, _ in PAIRS]
    assert trained(examples, epochs=1)[1][0]["loss"] == pytest.approx(np.log(9), rel=1e-3)
    assert trained(examples, epochs=1, ids="text")[1][0]["loss"] == 0
    assert trained(PAIRS, epochs=1, ids=[["same"]] * len(PAIRS))[1][0]["loss"] == 0
    unlike = trained(PAIRS, epochs=1, ids=[[i] for i in range(len(PAIRS))])[1]
    assert unlike == trained(PAIRS, epochs=1)[1]


def test_train_dual_encoder_with_gradcache_follows_the_whole_batch():
    """Both directions: the same losses, within float32's rounding as it grows over twelve steps."""
    _, whole = trained(PAIRS, symmetric=True)
    _, parts = trained(PAIRS, symmetric=True, grad_cache=4)
    np.testing.assert_allclose([r["loss"] for r in parts], [r["loss"] for r in whole], rtol=1e-3)


def test_train_dual_encoder_learns_by_the_margin_contrastive_loss():
    """The sum falls; cached it is the same."""
    _, whole = trained(PAIRS, margin=0.5)
    assert whole[-1]["loss"] < 0.8 * whole[0]["loss"]
    _, parts = trained(PAIRS, margin=0.5, grad_cache=4)
    np.testing.assert_allclose([r["loss"] for r in parts], [r["loss"] for r in whole], rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "a batch size of 2, got 27 and 1"),
        ({"examples": [("q",), ("q", "a")]}, r"a question and a document, got \('q',\) in example 0"),
        ({"ids": [[1]] * 26}, "an id for each document"),
        ({"ids": [[1, 2]] * 27}, "an id for each document"),
        ({"grad_cache": 0}, "parts of at least 1 sequence, got 0"),
        ({"margin": 0.5, "symmetric": True}, "symmetric=False with a margin"),
        ({"learning_rate": 0}, "learning rate above 0"),
    ],
)
def test_train_dual_encoder_refuses_what_cannot_be(options, message):
    """A batch of one, an example of one text, ids that do not fit."""
    with pytest.raises(ValueError, match=message):
        trained(**{"examples": PAIRS} | options)


def test_dual_encoder_config_refuses_temperature_0():
    """The loss would divide by it."""
    with pytest.raises(ValueError, match="temperature above 0, got 0"):
        dataclasses.replace(dual_encoder().config, temperature=0)
