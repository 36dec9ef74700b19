"""The encoder–decoder: against the textbook form, gradients against differences, steps with a cache against all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.encoder_decoder import (
    EncoderDecoderConfig,
    Speaker,
    decode,
    encode,
    initialize,
    loss_and_gradients,
    shift_right,
)
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from oracles import transformer as oracle

pytestmark = pytest.mark.kernels
V, BOS = 11, 1
CONFIG = EncoderDecoderConfig(V, width=8, layers=2, heads=2, ffn=12, positions=7, dropout=0.0)
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def p():
    """Float64 parameters with nothing at 0 or 1, so that no term hides."""
    parameters = Parameters(CONFIG.shapes, dtype=np.float64)
    parameters.flat[...] = 0.5 * np.random.default_rng(0).standard_normal(parameters.flat.size)
    return parameters


def random_batch(rng, lengths):
    return Ragged.from_sequences([rng.integers(0, V, n).tolist() for n in lengths])


def rows(array, batch, b):
    return array[batch.starts[b] : batch.starts[b + 1]]


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_encoder_decoder_equals_the_textbook_pair_by_pair(p, lengths, seed):
    """A ragged batch gives every pair the scores that the formula gives it alone."""
    rng = np.random.default_rng(seed)
    sources, targets = (random_batch(rng, side) for side in zip(*lengths, strict=True))
    memory, _ = encode(p, CONFIG, sources)
    x, _ = decode(p, CONFIG, memory, sources, targets)
    for b in range(len(lengths)):
        expected = oracle.encoder_decoder(p, CONFIG, rows(sources.ids, sources, b), rows(targets.ids, targets, b))
        np.testing.assert_allclose(rows(x, targets, b) @ p[WORDS].T, expected, atol=1e-10)


def test_encoder_decoder_gradients_are_derivatives(p):
    """The smoothed loss's change in a random direction of each tensor equals its gradient, with dropout on."""
    config = EncoderDecoderConfig(V, width=8, layers=2, heads=2, ffn=12, positions=7, dropout=0.2)
    p = p.astype(np.float64)
    rng = np.random.default_rng(3)
    sources, targets = random_batch(rng, [3, 1, 6, 6]), random_batch(rng, [2, 6, 2, 6])

    def loss():
        return loss_and_gradients(p, config, sources, targets, BOS, 0.1, np.random.default_rng(9))

    gradients, step = loss()[1], 1e-5
    for name in p:
        tensor, direction = p[name], rng.standard_normal(p[name].shape)
        ends = []
        for sign in (1, -1):
            tensor += sign * step * direction
            ends.append(loss()[0])
            tensor -= sign * step * direction
        numeric, analytic = (ends[0] - ends[1]) / (2 * step), np.sum(gradients[name] * direction)
        assert abs(numeric - analytic) < 1e-7 * (1 + np.abs(gradients[name] * direction).sum()), name


def test_loss_does_not_depend_on_the_order_of_the_pairs(p):
    """Sorting inside is not seen outside."""
    rng = np.random.default_rng(4)
    sources, targets = random_batch(rng, [3, 1, 6, 6]), random_batch(rng, [2, 6, 2, 6])
    loss, gradients = loss_and_gradients(p, CONFIG, sources, targets, BOS, 0.1)
    order = np.array([2, 0, 3, 1])
    again, others = loss_and_gradients(p, CONFIG, sources.take(order), targets.take(order), BOS, 0.1)
    assert again == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(others.flat, gradients.flat, atol=1e-12)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_a_step_with_the_cache_equals_the_whole_decoder(p, lengths, beam, seed):
    """Beginnings are reordered and sentences drop out on the way: the scores are those of all of it from scratch."""
    rng = np.random.default_rng(seed)
    sources = random_batch(rng, lengths)
    speaker = Speaker(p, CONFIG, sources, beam)
    left = np.arange(len(lengths))
    said = np.zeros((len(lengths) * beam, 0), int)
    for _ in range(4):
        said = np.concatenate((said, rng.integers(0, V, (len(said), 1))), axis=1)
        scores = speaker.step(said[:, -1])
        repeated = sources.take(np.repeat(left, beam))
        memory, _ = encode(p, CONFIG, repeated)
        x, _ = decode(p, CONFIG, memory, repeated, Ragged.from_sequences(said.tolist()))
        last = x.reshape(*said.shape, -1)[:, -1]
        np.testing.assert_allclose(scores, last @ p[WORDS].T, atol=1e-11)
        kept = np.flatnonzero(rng.random(len(left)) < 0.8)
        parents = (kept[:, None] * beam + rng.integers(0, beam, (len(kept), beam))).ravel()
        speaker.select(kept, parents)
        left, said = left[kept], said[parents]
        if not len(left):
            break


def test_encoder_decoder_refuses_what_cannot_be(p):
    """Long sequences, foreign ids and settings of other models, with their places."""
    one = Ragged.from_sequences([[1]])
    for batch, message in (
        (Ragged.from_sequences([[1], [1] * 8]), "at most 7 tokens a sequence, got 8 in sequence 1"),
        (Ragged.from_sequences([[1, 11]]), "ids in 0 … 10, got 11 at position 1"),
    ):
        with pytest.raises(ValueError, match=message):
            encode(p, CONFIG, batch)
        with pytest.raises(ValueError, match=message):
            decode(p, CONFIG, np.zeros((1, 8)), one, batch)
    with pytest.raises(ValueError, match=r"targets in 0 … 10, got 11 in row 0"):
        loss_and_gradients(p, CONFIG, one, Ragged.from_sequences([[11]]), BOS)
    with pytest.raises(ValueError, match="got 1 targets and 2 sources"):
        decode(p, CONFIG, np.zeros((2, 8)), Ragged.from_sequences([[1], [1]]), one)
    speaker = Speaker(p, CONFIG, one)
    for _ in range(7):
        speaker.step(np.array([2]))
    with pytest.raises(ValueError, match="at most 7 tokens, got one more"):
        speaker.step(np.array([2]))
    for change in ({"positions": 0}, {"segments": 2}, {"final_norm": True}):
        with pytest.raises(ValueError, match="in the model of 2017"):
            EncoderDecoderConfig(V, **change)


def test_shift_right_and_fresh_weights():
    """<bos> enters and the last token leaves, sequence by sequence; scaled words and matrices have their spread."""
    shifted = shift_right(Ragged.from_sequences([[5, 6, 7], [8]]), BOS)
    assert shifted.ids.tolist() == [BOS, 5, 6, BOS]
    config = EncoderDecoderConfig(3000, width=64, layers=1, heads=4, ffn=96)
    parameters = Parameters(config.shapes)
    initialize(parameters, np.random.default_rng(0))
    assert 8 * parameters[WORDS].std() == pytest.approx(1, rel=0.02)
    matrix = parameters["decoder.layer.0.intermediate.dense.weight"]
    assert np.abs(matrix).max() <= (6 / 160) ** 0.5 and matrix.std() == pytest.approx((2 / 160) ** 0.5, rel=0.05)
    assert not parameters["decoder.layer.0.crossattention.self.key.bias"].any()
