"""SBERT's three objectives, a hundred steps each from the same weights, against PyTorch and transformers."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from helpers import tiny_tokenizer
from minibert import SentenceEncoder
from minibert.data import batches
from minibert.models import sbert
from minibert.sentence_network import SentenceEncoderConfig

pytestmark = pytest.mark.peers
WORDS = "cat dog mat log sat on the and a".split()
EXAMPLES, BATCH, STEPS, RATE = 80, 16, 100, 1e-3


def texts(rng):
    return " ".join(rng.choice(WORDS, rng.integers(1, 9)))


def examples(task):
    rng = np.random.default_rng(3)
    if task == "nli":
        return [(texts(rng), texts(rng), sbert.NLI_LABELS[rng.integers(3)]) for _ in range(EXAMPLES)]
    if task == "sts":
        return [(texts(rng), texts(rng), float(rng.random())) for _ in range(EXAMPLES)]
    return [(texts(rng), texts(rng), texts(rng)) for _ in range(EXAMPLES)]


def padded(encoder, column):
    batch = encoder.tokenize(list(column))[0]
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = batch.ids
    return ids, mask


@pytest.fixture(scope="module")
def peer():
    with Peer("torch_sbert") as peer:
        yield peer


@pytest.mark.parametrize(("task", "pooling"), [("nli", "mean"), ("sts", "cls"), ("triplets", "max"), ("sts", "mean")])
def test_a_hundred_steps_follow_pytorch(peer, task, pooling):
    """No dropout, AdamW at a constant rate, clipping: every loss within 1e-3, and it has learned."""
    tokenizer = tiny_tokenizer()
    sizes = dict(vocab_size=tokenizer.vocab_size, width=32, layers=2, heads=4, ffn=64, positions=16, dropout=0.0)
    config = SentenceEncoderConfig(**sizes, max_length=16, pooling=(pooling,))
    encoder = SentenceEncoder.create(tokenizer, config, seed=2)
    start = {name: array.copy() for name, array in encoder.parameters.items()}
    data, epochs = examples(task), STEPS * BATCH // EXAMPLES
    trainer = {"nli": sbert.train_nli, "sts": sbert.train_sts, "triplets": sbert.train_triplets}[task]
    history = trainer(
        encoder, data, epochs=epochs, batch_size=BATCH, learning_rate=RATE, schedule="constant", warmup=0,
        evaluate_every=1, progress=False,
    )  # fmt: skip
    losses = [record["loss"] for record in history]

    columns = 3 if task == "triplets" else 2
    numbers = [sbert.NLI_LABELS.index(x[2]) if task == "nli" else x[2] for x in data]
    labels = np.zeros(EXAMPLES) if task == "triplets" else np.array(numbers, np.int64 if task == "nli" else np.float32)
    steps = [
        ([padded(encoder, [data[i][k] for i in rows]) for k in range(columns)], labels[rows])
        for epoch in range(epochs)
        for rows in batches(EXAMPLES, BATCH, 0, epoch)
    ]
    classifier = sbert.with_classifier(SentenceEncoder.create(tokenizer, config), 3)[sbert.CLASSIFIER]
    peer.call(
        "create", tensors=start, classifier=classifier, learning_rate=RATE, weight_decay=0.01, pooling=pooling,
        vocab_size=sizes["vocab_size"], hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=16, layer_norm_eps=config.eps,
    )  # fmt: skip
    expected = peer.call("train", task=task, batches=steps)
    assert len(losses) == STEPS and np.mean(expected[-10:]) < 0.8 * np.mean(expected[:10])
    np.testing.assert_allclose(losses, expected, atol=1e-3)
