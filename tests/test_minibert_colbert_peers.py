"""ColBERT against its PyTorch twin: scores, every gradient, a hundred steps of Adam."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from helpers import marked_tokenizer
from minibert.models.colbert import ColBERT, ColBERTConfig
from minibert.ops import max_sim
from minibert.optim import Adam

pytestmark = pytest.mark.peers
TEXTS = ["The cat sat on the mat.", "a dog sat, on a log!", "the dog and the cat"]
SIZES = dict(width=16, layers=2, heads=2, ffn=16, positions=16, dim=8, query_length=8, max_length=12, dropout=0.0)
THEIR_SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 16,
}  # fmt: skip
QUERIES = ["cat mat", "dog log", "a dog and a cat sat"]
KEY_BIAS = "attention.self.key.bias"  # softmax does not see it: both sides' gradients are rounding


def padded(batch):
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = batch.ids
    return ids, mask


def test_colbert_follows_pytorch():
    """The same weights: scores within 1e-5, gradients within 1e-4, relative; a hundred losses within 1e-3."""
    tok = marked_tokenizer(TEXTS)
    model = ColBERT.create(tok, ColBERTConfig(tok.vocab_size, **SIZES), seed=1)
    queries, documents = model.tokenize_query(QUERIES, "silent"), model.tokenize_document(TEXTS)
    (q_ids, q_mask), (d_ids, d_mask) = padded(queries), padded(documents)
    marks = [tok.token_to_id(mark) for mark in ".,!"]
    batch = {"query_ids": q_ids, "query_mask": q_mask, "document_ids": d_ids, "document_mask": d_mask}
    batch["document_kept"] = d_mask & ~np.isin(d_ids, marks)
    with Peer("torch_colbert") as peer:
        state = {name: tensor.copy() for name, tensor in model.parameters.items()}
        peer.call("create", state=state, learning_rate=1e-3, vocab_size=tok.vocab_size, **THEIR_SIZES)
        expected = peer.call("loss_and_gradients", **batch)
        vectors = model.encode_query(QUERIES, on_truncate="silent"), model.encode_document(TEXTS)
        np.testing.assert_allclose(max_sim(*vectors)[0], expected["scores"], rtol=1e-5)
        loss, gradients = model.loss_and_gradients(queries, documents)
        assert loss == pytest.approx(expected["loss"], rel=1e-5)
        for name in gradients:
            theirs = expected["gradients"][name]
            scale = np.abs(theirs).max() if not name.endswith(KEY_BIAS) else 0
            np.testing.assert_allclose(gradients[name], theirs, atol=1e-4 * scale + 1e-7, err_msg=name)
        theirs = peer.call("train", batches=[batch] * 100)
    adam, ours = Adam(model.parameters.flat), []
    for _ in range(100):
        loss, gradients = model.loss_and_gradients(queries, documents)
        adam.step(model.parameters.flat, gradients.flat, 1e-3)
        ours.append(loss)
    assert theirs[-1] < 0.5 * theirs[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
