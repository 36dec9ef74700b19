"""The reranker out of an encoder's tokens: its formula, word by word, and its use in a store."""

import numpy as np
import pytest

from helpers import tiny_tokenizer
from minibert.encoder import encoder
from minibert.models.dual_encoder import DOCUMENT, QUERY, DualEncoder, DualEncoderConfig
from minibert.retrieval import Store
from minibert.retrieval.token_match import TokenMatch

PASSAGES = ["the cat sat on the mat", "a dog sat on a log", "the dog and the cat", "the log"]


@pytest.fixture(scope="module")
def model():
    tokenizer = tiny_tokenizer()
    config = DualEncoderConfig(tokenizer.vocab_size, width=16, layers=2, heads=2, ffn=16, dim=8)
    model = DualEncoder.create(tokenizer, config, seed=1)
    model.parameters.sub(DOCUMENT).flat[...] += np.random.default_rng(2).normal(0, 0.1, len(model.parameters.flat) // 2)
    return model


def vectors(model, side, text):
    """Unit vectors of a text's tokens, one pass through the definition of the encoder."""
    rows = encoder(model.parameters.sub(side), model.config, model.tokenize([text]), rows=slice(None))[0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_token_match_scores_by_the_formula(model):
    """Σ idf · the best cosine, over Σ idf; idf from the passages that hold each token, none of special tokens."""
    match = TokenMatch(model, PASSAGES)
    held = [set(model.tokenizer.encode(text).ids) for text in PASSAGES]
    for question in ("the cat", "a log on the dog", "sat"):
        ids = model.tokenizer.encode(question).ids
        expected = []
        for passage in PASSAGES:
            q, d = vectors(model, QUERY, question), vectors(model, DOCUMENT, passage)
            n = [sum(id in other for other in held) for id in ids]
            idf = [np.log(1 + (len(PASSAGES) - x + 0.5) / (x + 0.5)) for x in n]
            idf[0] = idf[-1] = 0.0
            expected.append(sum(w * max(d @ row) for w, row in zip(idf, q, strict=True)) / sum(idf))
        np.testing.assert_allclose(match.score(question, PASSAGES), expected, rtol=1e-4, atol=1e-6)


def test_token_match_of_nothing(model):
    """No passages, and a question of no word."""
    match = TokenMatch(model, PASSAGES)
    assert match.score("the cat", []).shape == (0,)
    assert match.score("", PASSAGES).tolist() == [0, 0, 0, 0]


def test_token_match_orders_a_stores_hits(model, tmp_path):
    """As `rerank=` of a search."""
    match = TokenMatch(model, PASSAGES)
    with Store.open(tmp_path, model) as store:
        store.add({"id": str(i), "text": text} for i, text in enumerate(PASSAGES))
        hits = store.search("the dog", rerank=match)
    scores = match.score("the dog", PASSAGES)
    assert [int(hit.id) for hit in hits] == np.argsort(-scores, kind="stable").tolist()
