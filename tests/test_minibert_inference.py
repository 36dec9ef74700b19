"""The encoder for inference: the same vectors as the definition, the same bits in any company."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers import tiny_tokenizer
from minibert import SentenceEncoder, SentenceEncoderConfig, inference, runtime
from minibert.encoder import EncoderConfig, encoder
from minibert.inference import Buffers, infer, least_rows
from minibert.ops import fused
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.sentence_network import Dense, Normalize
from strategies import ragged_batches

pytestmark = pytest.mark.kernels
BERT_LIKE = EncoderConfig(11, width=8, layers=2, heads=2, ffn=12, positions=6, dropout=0.0)
TORCH_LIKE = EncoderConfig(
    11, width=8, layers=2, heads=2, ffn=12, positions=0, segments=0, activation="relu", embedding_norm=False,
    final_norm=True, dropout=0.0, eps=1e-5,
)  # fmt: skip


def random_parameters(config, seed=0):
    """Float32 parameters with nothing at 0 or 1, so that no term hides."""
    parameters = Parameters(config.shapes)
    parameters.flat[...] = 0.5 * np.random.default_rng(seed).standard_normal(parameters.flat.size)
    return parameters


@pytest.mark.parametrize("config", [BERT_LIKE, TORCH_LIKE], ids=["bert", "torch"])
@settings(max_examples=20)
@given(batch=ragged_batches(), least=st.sampled_from([1, 16]), block=st.sampled_from([1, 1 << 20]))
def test_infer_equals_the_encoder(config, batch, least, block):
    """All rows, and those of [CLS] alone, with short products padded or not, attention in one block or many."""
    parameters, buffers = random_parameters(config), Buffers(least)
    batch, _ = batch.by_length()
    expected, _ = encoder(parameters, config, batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "SCORES", block)
        for _ in range(2):  # the second time in used buffers
            np.testing.assert_allclose(infer(parameters, config, batch, buffers), expected, atol=2e-5)
        cls = batch.starts[:-1]
        np.testing.assert_allclose(infer(parameters, config, batch, buffers, cls), expected[cls], atol=2e-5)


VALUES = st.floats(-30, 30, width=32)


def rows(width):
    return st.integers(1, 5).flatmap(lambda n: arrays(np.float32, (n, width), elements=VALUES))


@given(rows(9), rows(9))
@example(np.linspace(-12, 12, 9 * 500, dtype=np.float32).reshape(-1, 9), np.zeros((1, 9), np.float32))
def test_fused_gelu_and_relu_equal_their_formulas(x, bias):
    """Within 1e-6, relative where that is more, up to where the polynomials end and beyond."""
    for fast, plain in ((fused.bias_gelu, fused.bias_gelu_plain), (fused.bias_relu, fused.bias_relu)):
        ours, exact = x.copy(), x.astype(float)
        fast(ours, bias[0])
        plain(exact, bias[0].astype(float))
        np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1.5e-6)


@given(rows(10), st.integers(0, 2**32 - 1))
def test_fused_add_norm_equals_its_formula(x, seed):
    """LayerNorm(x + y + bias), off by the rounding of the sum."""
    rng = np.random.default_rng(seed)
    y, (bias, gamma, beta) = rng.standard_normal(x.shape, np.float32), rng.standard_normal((3, 10), np.float32)
    ours, exact = x.copy(), x.astype(float)
    fused.add_norm(ours, y, bias, gamma, beta, np.float32(1e-3))
    fused.add_norm_plain(exact, y, bias, gamma, beta, float(np.float32(1e-3)))
    np.testing.assert_allclose(ours, exact, atol=4e-6 * (1 + np.abs(x).max() / np.sqrt(1e-3)))


@pytest.fixture(scope="module")
def model():
    tokenizer = tiny_tokenizer()
    config = SentenceEncoderConfig(
        tokenizer.vocab_size, width=64, layers=2, heads=4, ffn=128, positions=40, max_length=40,
        head=(Dense(32), Normalize()),
    )  # fmt: skip
    parameters = Parameters(config.shapes)
    parameters.flat[...] = 0.2 * np.random.default_rng(5).standard_normal(parameters.flat.size)
    return SentenceEncoder(tokenizer, config, parameters)


def random_texts(count, seed=0):
    rng = np.random.default_rng(seed)
    words = ["the", "cat", "sat", "dog", "mat", "log", "on"]
    return [" ".join(rng.choice(words, n)) for n in rng.integers(0, 30, count)]


@pytest.mark.parametrize("invariant", [True, False], ids=["blas-as-it-is", "one-by-one"])
def test_same_text_same_bits(model, monkeypatch, invariant):
    """Whatever the other texts, their order, the passes and the threads."""
    if not invariant:
        monkeypatch.setattr("minibert.models.sentence_encoder.least_rows", lambda *_: None)
    texts = random_texts(40)
    vectors = model.encode(texts, deterministic=True)
    assert len(np.unique(vectors, axis=0)) > 30
    np.testing.assert_array_equal(model.encode(texts[::-1], deterministic=True, threads=3)[::-1], vectors)
    for i in range(0, 40, 7):
        np.testing.assert_array_equal(model.encode([texts[i]], deterministic=True)[0], vectors[i])
    few = model.encode(texts[3:20], deterministic=True)
    np.testing.assert_array_equal(few, vectors[3:20])
    np.testing.assert_allclose(model.encode(texts, deterministic=False), vectors, atol=1e-6)


def row_by_row(x, weight):
    return np.array([(row * weight).sum(axis=1) for row in x])


def test_least_rows_are_found_by_trying(monkeypatch):
    """A product whose rows depend on their place is found out; one whose rows do not is not."""
    config = dataclasses.replace(BERT_LIKE, width=32, ffn=64)
    inference.rows_that_agree.cache_clear()
    monkeypatch.setattr(inference, "product", row_by_row)
    monkeypatch.setattr(inference, "linear", lambda x, weight: (row_by_row(x, weight), None))
    assert least_rows(config) == 16
    inference.rows_that_agree.cache_clear()
    monkeypatch.setattr(inference, "product", lambda x, weight: x @ weight.T + np.arange(len(x))[:, None])
    assert least_rows(config) is None
    inference.rows_that_agree.cache_clear()


def test_one_blas_thread_holds_inside_and_is_undone():
    """Blocks within blocks, and after an error."""
    before = runtime.one_blas_thread.threads
    with pytest.raises(KeyError), runtime.one_blas_thread, runtime.one_blas_thread:
        assert runtime.openblas() is None or runtime.openblas()[1] == 1
        assert runtime.one_blas_thread.threads == before
        raise KeyError
    assert runtime.openblas() is None or runtime.openblas()[1] == before


def test_encode_raises_what_a_thread_raised(model):
    """An id that the table does not hold: with one thread and with several."""
    broken = SentenceEncoder(model.tokenizer, model.config, model.parameters)
    broken.tokenize = lambda *_: (Ragged.from_sequences([[1], [999]] * 600), np.arange(1200), np.zeros(1200, bool))
    with pytest.raises(ValueError, match="at least one thread, got 0"):
        model.encode(["a"], threads=0)
    for threads in (1, 2):
        with pytest.raises(ValueError, match="got 999 at position"):
            broken.encode(["a"], threads=threads)
