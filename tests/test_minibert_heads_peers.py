"""BERT's heads against transformers and sentence-transformers: folders both ways, scores, losses, every gradient."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from helpers import tiny_tokenizer
from minibert.encoder import encoder
from minibert.heads import next_sentence_head, word_scores
from minibert.models.bert import Bert
from minibert.models.classifier import Classifier
from minibert.models.cross_encoder import CrossEncoder
from minibert.models.headed import Examples
from minibert.models.reader import Reader
from minibert.models.tagger import Tagger
from minibert.pretraining import Masked
from minibert.ragged import Ragged

pytestmark = pytest.mark.peers
MODELS = {"sequence": Classifier, "token": Tagger, "span": Reader}
LENGTHS = [12, 3, 7, 7]


@pytest.fixture(scope="module")
def peer():
    with Peer("hf_heads", threads=2) as peer:
        yield peer


def settings(tokenizer, labels=3):
    return {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 24,
        "num_labels": labels,
    }


def theirs_folder(peer, tmp_path, head, labels=3):
    """A folder that transformers saved."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(tmp_path / "tokenizer.json")
    peer.call(
        "save", path=str(tmp_path / "theirs"), head=head, tokenizer=str(tmp_path / "tokenizer.json"),
        **settings(tokenizer, labels),
    )  # fmt: skip
    return str(tmp_path / "theirs")


def random_batch(tokenizer, rng):
    """A ragged batch of two segments, and the same padded for transformers."""
    batch = Ragged.from_sequences(
        [rng.integers(1, tokenizer.vocab_size, n).tolist() for n in LENGTHS]
    )  # 0 is [PAD], whose row transformers keeps
    batch.type_ids[:] = batch.positions > 2
    mask = np.arange(max(LENGTHS)) < batch.lengths[:, None]
    ids, types = np.zeros(mask.shape, np.int64), np.zeros(mask.shape, np.int64)
    ids[mask], types[mask] = batch.ids, batch.type_ids
    return batch, mask, {"ids": ids, "mask": mask.astype(np.int64), "types": types}


def targets_of(head, batch, mask, rng):
    """(our targets, transformers' by name)."""
    if head == "sequence":
        labels = rng.integers(0, 3, len(batch))
        return Examples(batch, labels), {"labels": labels}
    if head == "token":
        labels = rng.integers(-1, 3, len(batch.ids))
        theirs = np.full(mask.shape, -100)
        theirs[mask] = np.where(labels < 0, -100, labels)
        return Examples(batch, labels, per_token=True), {"labels": theirs}
    spans = np.array([[0, n - 1] for n in LENGTHS])
    return Examples(batch, spans), {"start_positions": spans[:, 0], "end_positions": spans[:, 1]}


@pytest.mark.parametrize("head", MODELS)
def test_heads_scores_loss_and_gradients_equal_transformers(peer, tmp_path, head):
    """Random weights: scores within 1e-5, the loss within 1e-5, every gradient within 1e-4, relative; both folders."""
    folder = theirs_folder(peer, tmp_path, head, labels=2 if head == "span" else 3)
    model, rng = MODELS[head].load(folder), np.random.default_rng(0)
    batch, mask, padded = random_batch(model.tokenizer, rng)
    examples, targets = targets_of(head, batch, mask, rng)
    if head == "span":  # transformers lets padding take part in the softmax: one length, then
        examples, mask = examples.take(np.array([2, 3])), mask[2:, :7]
        padded = {name: array[2:, :7] for name, array in padded.items()}
        targets = {name: array[2:] for name, array in targets.items()}
    theirs = peer.call("outputs", path=folder, head=head, **padded, **targets)
    names = ("start_logits", "end_logits") if head == "span" else ("logits",)
    expected = np.stack([theirs[name] for name in names], axis=-1) if head == "span" else theirs["logits"]
    expected = expected if head == "sequence" else expected[mask]
    np.testing.assert_allclose(model.outputs(examples.batch), expected, atol=1e-5 * np.abs(expected).max())

    loss, d = model.loss_and_gradients(examples)
    assert loss == pytest.approx(theirs["loss"], rel=1e-5)
    assert_gradients_equal(d, theirs["gradients"])
    model.save(tmp_path / "ours")
    again = peer.call("outputs", path=str(tmp_path / "ours"), head=head, **padded)
    for name in names:
        np.testing.assert_array_equal(again[name], theirs[name])


def test_pretraining_heads_equal_transformers(peer, tmp_path):
    """Scores of all words and of the next sentence, the loss, every gradient with the tied table's; both folders."""
    folder = theirs_folder(peer, tmp_path, "pretraining")
    model, rng = Bert.load(folder), np.random.default_rng(0)
    batch, mask, padded = random_batch(model.tokenizer, rng)
    rows, labels = np.array([1, 5, 13, 20]), np.array([0, 1, 1, 0])
    masked = Masked(batch, rows, rng.integers(1, model.tokenizer.vocab_size, len(rows)))
    targets = np.full(mask.shape, -100)
    targets[mask] = np.where(np.isin(np.arange(len(batch.ids)), rows), 0, -100)
    targets[targets == 0] = masked.words
    theirs = peer.call("outputs", path=folder, head="pretraining", **padded, labels=targets, next_sentence_label=labels)
    x, _ = encoder(model.parameters, model.config, batch)
    for ours, expected in (
        (word_scores(x, model.parameters, model.config), theirs["prediction_logits"][mask]),
        (next_sentence_head(x[batch.starts[:-1]], model.parameters)[0], theirs["seq_relationship_logits"]),
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())
    loss, d = model.masked_loss_and_gradients(masked, labels)
    assert loss == pytest.approx(theirs["loss"], rel=1e-5)
    assert_gradients_equal(d, theirs["gradients"])
    model.save(tmp_path / "ours")
    again = peer.call("outputs", path=str(tmp_path / "ours"), head="pretraining", **padded)
    for name in ("prediction_logits", "seq_relationship_logits"):
        np.testing.assert_array_equal(again[name], theirs[name])


def assert_gradients_equal(ours, theirs):
    """By name, within 1e-4 of the largest number; some are 0 but for rounding."""
    assert set(ours) == {name.removeprefix("bert.") for name in theirs}
    for name, gradient in theirs.items():
        difference = np.abs(ours[name.removeprefix("bert.")] - gradient).max()
        assert difference < max(1e-6, 1e-4 * np.abs(gradient).max()), name


def test_cross_encoder_opens_and_writes_the_librarys_folders(peer, tmp_path):
    """Logits and probabilities of pairs, some of them too long, on folders of either making."""
    base = theirs_folder(peer, tmp_path, "sequence", labels=1)
    peer.call("save_cross_encoder", path=str(tmp_path / "library"), base=base)
    query, documents = "the cat", ["a dog sat", "", "the mat " * 40, "cat"]
    for folder in (base, str(tmp_path / "library")):
        model = CrossEncoder.load(folder)
        model.save(tmp_path / "ours")
        for path in (folder, str(tmp_path / "ours")):
            logits, probabilities = peer.call("rank_scores", path=path, query=query, documents=documents)
            np.testing.assert_allclose(model.score(query, documents), logits, atol=1e-5)
            np.testing.assert_allclose(model.score(query, documents, "probability"), probabilities, atol=1e-6)
        tagger = Tagger.from_encoder(folder, labels=("O", "B-X"))
        np.testing.assert_array_equal(tagger.parameters.sub("encoder.").flat, model.parameters.sub("encoder.").flat)
