"""SBERT's training: gradients through the Siamese network, each kind of data, what is refused."""

import numpy as np
import pytest

from helpers import tiny_tokenizer
from minibert import SentenceEncoder, losses
from minibert.checkpoint import CheckpointError
from minibert.models import sbert
from minibert.sentence_network import SentenceEncoderConfig, sentence_vectors

TOPICS = ["cat dog mat log".split(), "sat on the and".split()]  # texts are alike when their words are of one topic
SAME = [(a, f"{b} {c}") for topic in TOPICS for a in topic for b in topic for c in topic if a not in (b, c) and b < c]
TRIPLETS = [(a, b, SAME[(i + len(SAME) // 2) % len(SAME)][1]) for i, (a, b) in enumerate(SAME)]
OTHERS = [(a, n) for a, _, n in TRIPLETS]
NLI = [(a, b, "entailment") for a, b in SAME] + [(a, n, "contradiction") for a, n in OTHERS]
STS = [(a, b, 0.9) for a, b in SAME] + [(a, n, 0.1) for a, n in OTHERS]


def new_encoder(dtype=np.float32, **changes):
    tokenizer = tiny_tokenizer()
    sizes = dict(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, ffn=16, max_length=16, positions=16)
    encoder = SentenceEncoder.create(tokenizer, SentenceEncoderConfig(**sizes | {"dropout": 0.0} | changes), seed=3)
    encoder.parameters = encoder.parameters.astype(dtype)
    return encoder


def gap(encoder):
    """How much nearer texts of one topic are than texts of two: a difference of mean cosines."""
    means = []
    for pairs in (SAME, OTHERS):
        u, v = (encoder.encode([pair[side] for pair in pairs], normalize=True) for side in (0, 1))
        means.append((u * v).sum(axis=1).mean())
    return means[0] - means[1]


@pytest.mark.parametrize("pooling", [("mean",), ("cls",), ("max",), ("mean", "max")])
def test_siamese_gradients_equal_central_differences(pooling):
    """NLI's softmax through both runs of the network, down to the embeddings, in random directions; cached and not."""
    encoder = new_encoder(np.float64, pooling=pooling)
    whole = sbert.with_classifier(encoder, 3)
    whole.flat[...] += 0.1 * np.random.default_rng(0).standard_normal(whole.flat.size)
    labels = np.array([0, 2, 1, 1])
    batch = encoder.tokenize([text for text, _ in SAME[:4]] + [other for _, _, other in TRIPLETS[2:6]])[0]

    loss, loss_backward = sbert.nli_objective(whole, labels)
    rows = np.array([2, 0, 3, 1])

    def run(part=None):
        d = whole.zeros_like()
        return sbert.siamese_pass(encoder, batch, 4, loss, loss_backward, rows, d, part=part), d.flat

    value, gradient = run()
    u, v = np.split(sentence_vectors(encoder.parameters, encoder.config, batch)[0], 2)
    assert value == losses.softmax_nli(u, v, whole[sbert.CLASSIFIER], whole[sbert.BIAS], labels[rows])[0]
    np.testing.assert_allclose(run(part=3)[1], gradient, atol=1e-12)
    for seed in range(3):
        direction, h = np.random.default_rng(seed).standard_normal(whole.flat.size), 1e-6
        whole.flat[...] += h * direction
        above, _ = run()
        whole.flat[...] -= 2 * h * direction
        below, _ = run()
        whole.flat[...] += h * direction
        assert (above - below) / (2 * h) == pytest.approx(gradient @ direction, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("task", "data", "options"),
    [
        (sbert.train_nli, NLI, {}),
        (sbert.train_sts, STS, {}),
        (sbert.train_sts, STS, {"loss": "cosent"}),
        (sbert.train_triplets, TRIPLETS, {}),
        (sbert.train_triplets, TRIPLETS, {"distance": "cosine", "margin": 0.5}),
        (sbert.train_pairs, SAME, {"ids": [[a in TOPICS[0]] for a, _ in SAME], "symmetric": True}),
        (
            sbert.train_pairs,
            TRIPLETS,
            {"dims": (16, 4), "ids": [[a in TOPICS[0], a not in TOPICS[0]] for a, *_ in SAME]},
        ),
    ],
)
def test_training_brings_alike_together_and_others_apart(task, data, options):
    """After some epochs of any of the tasks, and every time with the same bits; the encoder is trained in place."""
    encoder, again = new_encoder(), new_encoder()
    before = gap(encoder)
    options = options | dict(epochs=12, batch_size=8, learning_rate=3e-3, warmup=5, progress=False)
    history = task(encoder, data, **options)
    if task is not sbert.train_nli:  # whose softmax weighs |u − v|, and asks nothing of cosines
        assert gap(encoder) > before + 0.15
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert task(again, data, **options) == history
    assert (again.parameters.flat == encoder.parameters.flat).all()


def test_nli_training_resumes_with_its_classifier_and_leaves_a_plain_encoder(tmp_path):
    """The checkpoint holds both; the saved folder only the encoder."""
    options = dict(epochs=2, batch_size=8, learning_rate=1e-3, progress=False)
    whole, killed, resumed = new_encoder(dropout=0.2), new_encoder(dropout=0.2), new_encoder(dropout=0.2)
    history = sbert.train_nli(whole, NLI, **options)
    calls = iter(range(100))

    def evaluate():
        if next(calls):
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        sbert.train_nli(killed, NLI, **options, folder=tmp_path, checkpoint_every=2, evaluate=evaluate)
    assert sbert.train_nli(resumed, NLI, **options, folder=tmp_path, resume=True) == history
    assert (resumed.parameters.flat == whole.parameters.flat).all()
    whole.save(tmp_path / "model")
    loaded = SentenceEncoder.load(tmp_path / "model")
    assert list(loaded.parameters) == list(loaded.config.shapes)
    np.testing.assert_array_equal(loaded.encode(TOPICS[0]), whole.encode(TOPICS[0]))
    with pytest.raises(CheckpointError, match="task 'nli', now 'triplets'"):
        sbert.train_triplets(new_encoder(), TRIPLETS, **options, folder=tmp_path, resume=True)


def test_matryoshka_training_makes_the_first_numbers_count():
    """Cut to 4 of 16 numbers, vectors trained for that tell topics apart better than vectors that were not."""
    options = dict(epochs=12, batch_size=8, learning_rate=3e-3, warmup=5, ids="text", progress=False)
    gaps = []
    for dims in (None, (16, 4)):
        encoder = new_encoder()
        sbert.train_pairs(encoder, TRIPLETS, dims=dims, **options)
        short = SentenceEncoder(encoder.tokenizer, new_encoder(truncate_dim=4).config, encoder.parameters)
        gaps.append(gap(short))
    assert gaps[1] > gaps[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, **o: sbert.train_nli(e, [*NLI, ("a", "b", "maybe")], **o), "maybe"),
        (lambda e, **o: sbert.train_nli(e, NLI[:9], **o), "labels that differ, got 0 for all 9"),
        (lambda e, **o: sbert.train_sts(e, [(a, b, 0.5) for a, b in SAME], **o), "scores that differ, got 0.5"),
        (
            lambda e, **o: sbert.train_sts(e, [*STS, ("a", "b", 1.5)], **o),
            f"scores in −1 … 1.*1.5 in example {len(STS)}",
        ),
        (lambda e, **o: sbert.train_sts(e, STS, loss="mse", **o), "cosine_mse, cosent, got 'mse'"),
        (lambda e, **o: sbert.train_triplets(e, [], **o), "examples of as many texts each"),
        (lambda e, **o: sbert.train_pairs(e, [*SAME, TRIPLETS[0]], **o), r"as many texts each, got \[2, 3\]"),
        (lambda e, **o: sbert.train_pairs(e, SAME[:1], **o), "at least 2 pairs"),
        (lambda e, **o: sbert.train_pairs(e, SAME, batch_size=1, **o), "at least 2 pairs and a batch size of 2"),
        (lambda e, **o: sbert.train_pairs(e, SAME[:7], batch_size=4, micro_batch=2, **o), "2 of a batch of 3"),
        (lambda e, **o: sbert.train_pairs(e, SAME[:6], batch_size=4, micro_batch=1, **o), "1 of a batch of 4"),
        (lambda e, **o: sbert.train_pairs(e, SAME, ids=[[1]], **o), "an id for each text"),
        (lambda e, **o: sbert.train_pairs(e, SAME[:2], ids=[[1], [2, 3]], **o), "an id for each text"),
        (
            lambda e, **o: sbert.train_pairs(e, [*SAME, TRIPLETS[0]], ids="text", **o),
            r"as many texts each, got \[2, 3\]",
        ),
        (lambda e, **o: sbert.train_pairs(e, SAME, temperature=0, **o), "temperature above 0, got 0"),
        (lambda e, **o: sbert.train_pairs(e, SAME, dims=(17,), **o), r"dims in 1 … 16"),
        (lambda e, **o: sbert.train_triplets(e, TRIPLETS, **o | {"learning_rate": 0}), "learning rate above 0"),
    ],
)
def test_training_refuses_what_cannot_be(call, message):
    """Labels, scores, shapes, a batch of one, temperature and learning rate 0."""
    with pytest.raises(ValueError, match=message):
        call(new_encoder(), epochs=1, learning_rate=1e-3, progress=False)


def test_training_names_weights_that_are_not_finite():
    """A damaged encoder is told from damaged data."""
    encoder = new_encoder()
    encoder.parameters["embeddings.LayerNorm.weight"][3] = np.nan
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="weights embeddings.LayerNorm.weight"):
        sbert.train_triplets(encoder, TRIPLETS, epochs=1, progress=False)
