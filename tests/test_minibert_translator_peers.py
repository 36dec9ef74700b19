"""The encoder–decoder against its PyTorch twin, and BLEU against sacreBLEU."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import Peer
from benchmarks.translation import pad
from minibert import metrics
from minibert.encoder_decoder import EncoderDecoderConfig, Speaker, decode, encode, loss_and_gradients, shift_right
from minibert.ops import sinusoids
from minibert.optim import Adam
from minibert.parameters import Parameters
from minibert.ragged import Ragged

pytestmark = pytest.mark.peers
SIZES = {"vocab_size": 500, "width": 64, "layers": 2, "heads": 4, "ffn": 128, "positions": 40, "dropout": 0.0}
CONFIG = EncoderDecoderConfig(**SIZES)
WORDS = "embeddings.word_embeddings.weight"
BOS, SMOOTHING = 1, 0.1
# A bias on every key shifts all scores of a row alike: softmax does not see it, both gradients are rounding.
WITHOUT_EFFECT = ("attention.self.key.bias",)


@pytest.fixture(scope="module")
def peer():
    with Peer("torch_translator") as peer:
        yield peer


@pytest.fixture
def twins(peer):
    """The PyTorch twin, and our parameters, which are its."""
    parameters = Parameters(CONFIG.shapes)
    rng = np.random.default_rng(0)
    for name, array in parameters.items():  # nothing at 0 or 1, or a mix-up would go unseen
        array[...] = ("LayerNorm.weight" in name) + rng.standard_normal(array.shape) * array.shape[-1] ** -0.5
    places = sinusoids(SIZES["positions"], SIZES["width"]).astype(np.float32)
    peer.call("create", tensors=dict(parameters), config=SIZES, places=places)
    return peer, parameters


def random_batch(rng, count=24, longest=15):
    """Sources and targets of 1 … longest tokens."""
    return [
        Ragged.from_sequences([rng.integers(3, 500, n).tolist() for n in rng.integers(1, longest + 1, count)])
        for _ in range(2)
    ]


def relative(ours, theirs):
    """Largest difference, relative to the largest number."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def test_encoder_decoder_forward_and_gradients_equal_pytorch(twins):
    """Every next token's scores within 1e-5, every gradient of the smoothed loss within 1e-4, relative."""
    peer, p = twins
    sources, targets = random_batch(np.random.default_rng(1))
    batch = pad(sources, targets, BOS, SMOOTHING)
    theirs = peer.call("scores", **{name: batch[name] for name in ("sources", "source_mask", "inputs")})
    memory, _ = encode(p, CONFIG, sources)
    x, _ = decode(p, CONFIG, memory, sources, shift_right(targets, BOS))
    assert relative(x @ p[WORDS].T, theirs[batch["labels"] >= 0]) < 1e-5

    expected = peer.call("loss_and_gradients", **batch)
    loss, gradients = loss_and_gradients(p, CONFIG, sources, targets, BOS, SMOOTHING)
    assert loss == pytest.approx(expected["loss"], rel=1e-5)
    assert set(gradients) == set(expected["gradients"])
    for name in gradients:
        ours, theirs = gradients[name], expected["gradients"][name]
        if name.endswith(WITHOUT_EFFECT):
            assert max(np.abs(ours).max(), np.abs(theirs).max()) < 1e-6, name
        else:
            assert relative(ours, theirs) < 1e-4, name


def test_encoder_decoder_sixty_steps_follow_pytorch(twins):
    """The same batches at the same rates: every loss within 1e-3, and at the end the same next tokens."""
    peer, p = twins
    rng = np.random.default_rng(2)
    few = [random_batch(rng) for _ in range(4)]
    batches, rates = [few[step % 4] for step in range(60)], [1e-3 * min(1, step / 20) for step in range(60)]
    expected = peer.call("train", batches=[pad(*batch, BOS, SMOOTHING) for batch in batches], rates=rates)["losses"]
    adam, losses = Adam(p.flat, beta2=0.98, eps=1e-9), []
    for batch, rate in zip(batches, rates, strict=True):
        loss, gradients = loss_and_gradients(p, CONFIG, *batch, BOS, SMOOTHING)
        adam.step(p.flat, gradients.flat, rate)
        losses.append(loss)
    assert expected[-1] < 0.7 * expected[0]  # it does learn: the comparison is not of standing still
    np.testing.assert_allclose(losses, expected, atol=1e-3)
    weights = peer.call("weights")
    assert max(relative(p[name], weights[name]) for name in p if not name.endswith(WITHOUT_EFFECT)) < 1e-2


def test_steps_with_the_cache_score_as_pytorch(twins):
    """Token after token with kept keys and values: the scores that the twin gives the whole target at once."""
    peer, p = twins
    rng = np.random.default_rng(3)
    sources, _ = random_batch(rng, 8)
    targets = Ragged.from_sequences(rng.integers(3, 500, (8, 10)).tolist())
    batch = pad(sources, targets, BOS, SMOOTHING)
    theirs = peer.call("scores", **{name: batch[name] for name in ("sources", "source_mask", "inputs")})
    speaker = Speaker(p, CONFIG, sources)
    for t in range(10):
        assert relative(speaker.step(batch["inputs"][:, t]), theirs[:, t]) < 1e-5


def odd_texts(rng, count):
    """Words, numbers, punctuation, entities and blanks in any order."""
    words = (
        " ",
        " the",
        " a",
        " of",
        "&quot;",
        "&amp;",
        "&lt;",
        "<skipped>",
        "-\n",
        "1,000.5",
        "...",
        "e.g.",
        "&amp;quot;",
    )
    parts = [*"ab 0159.,-'!?\"()$&;:/[]{}~|`^_\\é…\n\t\x85\u2028\u00a0中", *words]
    return ["".join(rng.choice(parts, rng.integers(0, 25))) for _ in range(count)]


def test_bleu_equals_sacrebleu():
    """Words of odd texts one by one; corpora of all sizes, of few and of many matches; real captions."""
    rng = np.random.default_rng(4)
    with Peer("sacrebleu_bleu") as peer:
        texts = odd_texts(rng, 5000)
        for text, theirs in zip(texts, peer.call("words", texts=texts), strict=True):
            assert metrics.words_13a(text) == theirs, repr(text)
        for size in (1, 2, 3, 5, 30, 2000):
            for noise in (0.0, 0.1, 0.5, 1.0):
                references = odd_texts(rng, size)
                hypotheses = [
                    " ".join(word for word in text.split(" ") if rng.random() >= noise / 2)
                    if rng.random() >= noise
                    else other
                    for text, other in zip(references, odd_texts(rng, size), strict=True)
                ]
                theirs = peer.call("corpus_bleu", hypotheses=hypotheses, references=references)
                assert metrics.bleu(hypotheses, references) == pytest.approx(theirs, rel=1e-9, abs=1e-9)
        if data := os.environ.get("MINIBERT_DATA"):
            with gzip.open(Path(data) / "multi30k" / "val.en.gz", "rt", encoding="utf-8") as lines:
                captions = lines.read().split("\n")
            theirs = peer.call("corpus_bleu", hypotheses=captions[1:], references=captions[:-1])
            assert metrics.bleu(captions[1:], captions[:-1]) == pytest.approx(theirs, rel=1e-9)
