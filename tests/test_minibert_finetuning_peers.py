"""A hundred steps of every task with a head against PyTorch: same start, batches, optimizer; losses and weights."""

import numpy as np
import pytest

from benchmarks.finetuning import Task, compare, padded
from benchmarks.peers import Peer
from helpers import tiny_tokenizer
from minibert.data import batches
from minibert.heads import HeadConfig
from minibert.models.bert import Bert
from minibert.models.classifier import Classifier
from minibert.models.cross_encoder import CrossEncoder
from minibert.models.headed import Examples, fit
from minibert.models.reader import Reader
from minibert.models.tagger import Tagger
from minibert.optim import SCHEDULES
from minibert.pretraining import mask_words
from minibert.ragged import Ragged

pytestmark = pytest.mark.peers
TOKENIZER = tiny_tokenizer()
LABELS = {Classifier: ("a", "b", "c"), CrossEncoder: ("LABEL_0",), Tagger: ("O", "B-X", "I-X")}
OPTIONS = {"epochs": 10, "batch_size": 8, "learning_rate": 1e-3, "warmup": 10}


def new_model(kind):
    sizes = dict(width=32, layers=2, heads=4, ffn=64, positions=24, max_length=24, dropout=0.0)
    return kind.create(
        TOKENIZER, HeadConfig(TOKENIZER.vocab_size, **sizes, head=kind.head, labels=LABELS.get(kind, ()))
    )


def random_batch(rng):
    lengths = rng.integers(3, 20, 80)
    batch = Ragged.from_sequences([rng.integers(5, TOKENIZER.vocab_size, n).tolist() for n in lengths])
    batch.type_ids[:] = batch.positions > 4
    return batch


@pytest.mark.parametrize("kind", [Classifier, CrossEncoder, Tagger, Reader])
def test_a_hundred_steps_of_fine_tuning_follow_pytorch(kind):
    """Losses within 1e-3 in every step; the weights end where PyTorch's do."""
    rng, model = np.random.default_rng(0), new_model(kind)
    batch = random_batch(rng)
    targets = {
        Classifier: lambda: rng.integers(0, 3, len(batch)),
        CrossEncoder: lambda: rng.integers(0, 2, len(batch)).astype(np.float32),
        Tagger: lambda: rng.integers(-1, 3, len(batch.ids)),
        Reader: lambda: rng.integers(0, batch.lengths[:, None], (len(batch), 2)),
    }[kind]()
    examples = Examples(batch, targets, per_token=kind is Tagger)
    ours, theirs, _, _, twin = compare(Task(model, examples, OPTIONS, None))
    assert len(ours) == 100 and ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    np.testing.assert_allclose(model.parameters.flat, twin.parameters.flat, atol=2e-2)


def test_a_hundred_steps_of_pretraining_follow_pytorch(tmp_path):
    """The same masks on both sides: losses of both tasks together within 1e-3 in every step."""
    model, rng = new_model(Bert), np.random.default_rng(0)
    batch = random_batch(rng)
    examples = Examples(batch, rng.integers(0, 2, len(batch)))
    model.save(tmp_path)
    steps, order = [], [rows for epoch in range(10) for rows in batches(len(batch), 8, 0, epoch)]
    for step, rows in enumerate(order):
        part = examples.take(rows).by_length()
        masked = mask_words(part.batch, TOKENIZER, np.random.default_rng([0, step, 1, 0]))
        words = np.full(len(part.batch.ids), -100)
        words[masked.rows] = masked.words
        arrays = padded(Examples(masked.batch, words, per_token=True), "token")
        arrays["words"], arrays["targets"] = arrays["targets"], part.targets
        steps.append(arrays | {"rate": 1e-3 * SCHEDULES["linear"](step, 10, 100)})
    with Peer("torch_finetuning") as peer:
        peer.call("create", path=str(tmp_path), head="pretraining", weight_decay=0.01)
        theirs, _ = peer.call("train", steps=steps)
    history = fit(model, examples, **OPTIONS, evaluate_every=1, progress=False)
    np.testing.assert_allclose([record["loss"] for record in history], theirs, atol=1e-3)
    assert theirs[-1] < theirs[0]
