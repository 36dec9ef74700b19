"""The dual encoder against its PyTorch twin: forward, every gradient, fifty steps of Adam."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from minibert.checkpoint import from_torch_encoder
from minibert.models.dual_encoder import DOCUMENT, QUERY, DualEncoder, DualEncoderConfig, tower
from minibert.optim import Adam
from minibert.parameters import Parameters
from minibert.ragged import Ragged

pytestmark = pytest.mark.peers
SIZES = {"vocab_size": 2000, "width": 512, "dim": 128, "heads": 8, "layers": 3}
CONFIG = DualEncoderConfig(
    **SIZES, ffn=2048, positions=0, segments=0, activation="relu", embedding_norm=False, final_norm=True, dropout=0.0,
    eps=1e-5,
)  # fmt: skip
LEARNING_RATE = 1e-4
# A bias on every key shifts all attention scores of a row alike, and one on every document all its similarities:
# softmax does not see it, the gradient is 0, and what either side computes is rounding.
WITHOUT_EFFECT = ("attention.self.key.bias", "document.encoder.norm.bias", "document.projection.bias")


@pytest.fixture
def twins():
    """The PyTorch twin, and our model with its weights."""
    with Peer("torch_encoder", threads=2) as peer:
        states = peer.call("create", **SIZES, seed=0, learning_rate=LEARNING_RATE)
        yield peer, DualEncoder(None, CONFIG, in_our_names(states))


def in_our_names(states):
    parameters = Parameters(CONFIG.shapes)
    parameters.load(
        {
            side + name: tensor
            for side, state in zip((QUERY, DOCUMENT), states, strict=True)
            for name, tensor in from_torch_encoder(state).items()
        }
    )
    return parameters


def random_batch(rng, size=16, longest=12):
    """Questions and answers of 1 … longest tokens: ours ragged, the twin's padded and masked."""
    ours, theirs = [], {}
    for side in ("question", "answer"):
        lengths = rng.integers(1, longest + 1, size)
        ragged = Ragged.from_sequences([rng.integers(0, SIZES["vocab_size"], n).tolist() for n in lengths])
        mask = np.arange(longest) < lengths[:, None]
        ids = np.zeros(mask.shape, np.int64)
        ids[mask] = ragged.ids
        ours.append(ragged)
        theirs |= {f"{side}_ids": ids, f"{side}_mask": mask}
    return ours, theirs


def relative(ours, theirs):
    """Largest difference, relative to the largest number."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def test_dual_encoder_forward_and_gradients_equal_pytorch(twins):
    """Vectors within 1e-5, every gradient within 1e-4, relative."""
    peer, model = twins
    ours, theirs = random_batch(np.random.default_rng(1))
    expected = peer.call("loss_and_gradients", **theirs)
    for side, batch, name in zip((QUERY, DOCUMENT), ours, ("queries", "documents"), strict=True):
        vectors, _ = tower(model.parameters.sub(side), CONFIG, batch)
        assert relative(vectors, expected[name]) < 1e-5, name
    loss, gradients = model.loss_and_gradients(*ours)
    assert loss == pytest.approx(expected["loss"], rel=1e-5)
    expected_gradients = in_our_names(expected["gradients"])
    for name in gradients:
        if name.endswith(WITHOUT_EFFECT):
            assert max(np.abs(gradients[name]).max(), np.abs(expected_gradients[name]).max()) < 1e-6, name
        else:
            assert relative(gradients[name], expected_gradients[name]) < 1e-4, name


def test_dual_encoder_fifty_adam_steps_follow_pytorch(twins):
    """The same data in the same order: every loss within 1e-3."""
    peer, model = twins
    rng = np.random.default_rng(2)
    few = [random_batch(rng) for _ in range(5)]
    batches = [few[step % 5] for step in range(50)]
    expected = peer.call("train", batches=[theirs for _, theirs in batches])
    adam, losses = Adam(model.parameters.flat), []
    for ours, _ in batches:
        loss, gradients = model.loss_and_gradients(*ours)
        adam.step(model.parameters.flat, gradients.flat, LEARNING_RATE)
        losses.append(loss)
    assert expected[-1] < 0.5 * expected[0]  # it does learn: the comparison is not of standing still
    np.testing.assert_allclose(losses, expected, atol=1e-3)
