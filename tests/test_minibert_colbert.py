"""Late interaction: the score and its gradients, the two sides' tokens, training, saving, re-ranking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import HashEncoder, assert_gradient, marked_tokenizer
from minibert.checkpoint import CheckpointError
from minibert.models.colbert import ColBERT, ColBERTConfig, token_vectors
from minibert.models.saved import MODEL
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.ops import max_sim, max_sim_backward
from minibert.ops.max_sim import match_slope, match_slope_fast, segment_max, segment_max_fast
from minibert.optim import Adam
from minibert.parameters import Parameters
from minibert.ragged import Ragged, TokenVectors
from minibert.retrieval import Store
from minibert.sentence_network import SentenceEncoderConfig

TEXTS = ["The cat sat on the mat.", "a dog sat, on a log!", "the dog and the cat"]
SIZES = dict(width=16, layers=1, heads=2, ffn=16, positions=16, dim=8, query_length=8, max_length=12)


def new_model(**changes):
    tok = marked_tokenizer(TEXTS)
    return ColBERT.create(tok, ColBERTConfig(tok.vocab_size, **SIZES | changes))


def doubled(model):
    """The same model in float64."""
    return ColBERT(model.tokenizer, model.config, model.parameters.astype(np.float64))


@st.composite
def token_vector_batches(draw, dim=3):
    """Up to 4 texts of 1 to 5 tokens; whole numbers, so that products tie."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(-2, 3, (sum(lengths), dim)).astype(np.float64)
    return TokenVectors(rows, np.cumsum([0, *lengths]))


@given(token_vector_batches(), token_vector_batches())
def test_max_sim_equals_equation_3(queries, documents):
    """Token by token, pair by pair."""
    expected = [
        [sum(max(float(q @ d) for d in documents[j]) for q in queries[i]) for j in range(len(documents))]
        for i in range(len(queries))
    ]
    np.testing.assert_array_equal(max_sim(queries, documents)[0], expected)


@pytest.mark.kernels
@given(token_vector_batches(), token_vector_batches())
def test_max_sim_kernels_equal_the_plain_forms(queries, documents):
    """Best, matches (the first of equal ones) and both gradients."""
    products = queries.rows @ documents.rows.T
    plain, fast = segment_max(products, documents.starts), segment_max_fast(products, documents.starts)
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_array_equal(a, b)
    args = plain[0], plain[1], queries.rows, documents.rows
    for a, b in zip(match_slope(*args), match_slope_fast(*args), strict=True):
        np.testing.assert_array_equal(a, b)


def test_max_sim_gradients_are_derivatives():
    """Where no two products tie."""
    rng = np.random.default_rng(0)
    starts = np.array([0, 2, 5]), np.array([0, 1, 5, 9])

    def forward(q, d):
        return max_sim(TokenVectors(q, starts[0]), TokenVectors(d, starts[1]))

    assert_gradient(forward, max_sim_backward, [rng.standard_normal((n, 4)) for n in (5, 9)], rng)


def test_colbert_tokens_are_the_papers():
    """Query: marker, then masks up to its length; document: marker, punctuation without a vector."""
    model = new_model()
    ids = model.tokenizer.token_to_id
    query, document = model.tokenize_query(["cat mat", "dog"]), model.tokenize_document(TEXTS[:2])
    assert query.lengths.tolist() == [8, 8] and document.lengths.tolist() == [10, 11]
    assert query.ids[:2].tolist() == [ids("[CLS]"), ids("[unused0]")]
    dog = query.ids[8:].tolist()
    assert dog[dog.index(ids("[SEP]")) + 1 :] == [ids("[MASK]")] * (7 - dog.index(ids("[SEP]"))) != []
    assert document.ids[1] == document.ids[11] == ids("[unused1]")
    vectors = model.encode_document(TEXTS[:2])
    assert np.diff(vectors.starts).tolist() == [9, 9]  # without the full stop; without comma and exclamation mark
    np.testing.assert_allclose(np.linalg.norm(vectors.rows, axis=1), 1, rtol=1e-6)


def test_colbert_encodes_as_it_trains():
    """The inference path gives the training path's vectors, in the texts' order; no text gives none."""
    model = new_model()
    texts = [*TEXTS, "a cat"]
    batch = model.tokenize_document(texts)
    kept = ~np.isin(batch.ids, [model.tokenizer.token_to_id(mark) for mark in ".,!"])
    expected, _ = token_vectors(model.parameters, model.config, batch, kept)
    got = model.encode_document(texts)
    np.testing.assert_array_equal(got.starts, expected.starts)
    np.testing.assert_allclose(got.rows, expected.rows, atol=2e-6)
    for text, alone in enumerate(texts):
        np.testing.assert_allclose(model.encode_document([alone]).rows, got[text], atol=2e-6)
    assert len(model.encode_query([])) == 0 and model.encode_query([]).rows.shape == (0, 8)


def test_colbert_gradients_are_derivatives():
    """The loss's change in a random direction of each tensor equals that tensor's gradient, with dropout on."""
    model = doubled(new_model(dropout=0.2))
    queries, documents = model.tokenize_query(["cat mat", "dog"]), model.tokenize_document(TEXTS)
    rng, step = np.random.default_rng(3), 1e-6

    def loss_and_gradients():
        return model.loss_and_gradients(queries, documents, np.random.default_rng(9))

    _, gradients = loss_and_gradients()
    for name, tensor in model.parameters.items():
        direction, ends = rng.standard_normal(tensor.shape), []
        for sign in (1, -1):
            tensor += sign * step * direction
            ends.append(loss_and_gradients()[0])
            tensor -= sign * step * direction
        terms = gradients[name] * direction
        assert abs((ends[0] - ends[1]) / (2 * step) - terms.sum()) < 1e-6 * (1 + np.abs(terms).sum()), name


def test_colbert_learns_saves_and_loads(tmp_path):
    """The loss falls; what was saved scores alike; another kind of model and a damaged file are refused."""
    model = new_model()
    queries, documents = model.tokenize_query(["cat mat", "dog log", "dog cat"]), model.tokenize_document(TEXTS)
    adam, losses = Adam(model.parameters.flat), []
    for _ in range(20):
        loss, gradients = model.loss_and_gradients(queries, documents)
        adam.step(model.parameters.flat, gradients.flat, 1e-2)
        losses.append(loss)
    assert losses[-1] < 0.1 * losses[0]
    model.save(tmp_path)
    loaded = ColBERT.load(tmp_path)
    assert loaded.fingerprint == model.fingerprint
    np.testing.assert_array_equal(loaded.score("dog log", TEXTS), model.score("dog log", TEXTS))
    content = bytearray((tmp_path / MODEL).read_bytes())
    content[-5] ^= 1
    (tmp_path / MODEL).write_bytes(content)
    with pytest.raises(CheckpointError, match="altered"):
        ColBERT.load(tmp_path)


def test_colbert_starts_from_an_encoder():
    """A sentence encoder's weights, all of them, and a projection of its own."""
    tok = marked_tokenizer(TEXTS)
    sizes = {key: SIZES[key] for key in ("width", "layers", "heads", "ffn", "positions")}
    encoder = SentenceEncoder.create(tok, SentenceEncoderConfig(tok.vocab_size, **sizes, max_length=16))
    model = ColBERT.from_encoder(encoder, dim=8, query_length=8, max_length=12)
    for name, tensor in encoder.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], tensor)
    assert model.encode_query(["cat"]).rows.shape == (8, 8)


def test_colbert_reranks_a_store(tmp_path):
    """The store's hits come in the model's order, with its scores."""
    model = new_model()
    with Store.open(tmp_path / "store", HashEncoder()) as store:
        store.add([{"id": str(i), "text": text} for i, text in enumerate(TEXTS)])
        hits = store.search("dog log", k=3, rerank=model)
    expected = sorted(((float(score), str(i)) for i, score in enumerate(model.score("dog log", TEXTS))), reverse=True)
    assert [hit.source for hit in hits] == [i for _, i in expected]
    np.testing.assert_allclose([hit.score for hit in hits], [score for score, _ in expected], rtol=1e-5)
    assert model.score("dog", []).shape == (0,)


def test_colbert_refuses_what_cannot_be_right():
    """Sizes, vocabularies, texts and batches; each error says what was expected and got."""
    for changes, message in (
        ({"query_length": 2}, "query_length to be a whole number of at least 3"),
        ({"max_length": 17}, "at most 16 positions, got 17"),
        ({"dim": 0}, "dim to be a whole number"),
        ({"query_marker": "[Q]"}, r"got none \[Q\]"),
    ):
        with pytest.raises(ValueError, match=message):
            new_model(**changes)
    model = new_model()
    with pytest.raises(TypeError, match="a list of texts, got a str"):
        model.encode_query("cat")
    with pytest.raises(ValueError, match="longer than 7 tokens"):
        model.encode_query(["the cat sat on the mat"], on_truncate="raise")
    one = Ragged.from_sequences([[2, 3]])
    with pytest.raises(ValueError, match=r"at least 2 and as many documents, got \(1, 1\)"):
        model.loss_and_gradients(one, one)
    with pytest.raises(ValueError, match="none in text 1"):
        TokenVectors(np.ones((2, 3), np.float32), np.array([0, 1, 1, 2]))
    with pytest.raises(IndexError, match="a text in 0 … 0, got 3"):
        TokenVectors(np.ones((2, 3), np.float32), np.array([0, 2]))[3]
    with pytest.raises(ValueError, match="do not fit the model"):
        Parameters(model.config.shapes).load({})
