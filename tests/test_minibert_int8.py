"""Products of 8-bit codes: equal to their formula, within the bound of rounding, and an encoder that uses them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import tiny_tokenizer
from minibert import SentenceEncoder, SentenceEncoderConfig
from minibert.ops import int8
from minibert.ops.int8 import Int8Weight, int8_linear, multiply, multiply_plain, padded_rows
from minibert.sentence_network import Normalize

pytestmark = pytest.mark.kernels
sizes = st.tuples(st.integers(1, 14), st.integers(1, 70), st.integers(1, 9))


def matrices(shape, seed):
    """x (T, I), W (O, I) with rows of different scales, one of x and one of W zero, one of each of one sign."""
    rng, (rows, outputs, inputs) = np.random.default_rng(seed), shape
    x, w = (
        rng.standard_normal((n, inputs), np.float32) * np.exp(rng.normal(0, 3, (n, 1)).astype(np.float32))
        for n in (rows, outputs)
    )
    x[rows // 2], w[outputs // 2] = 0, 0
    x[-1], w[-1] = np.abs(x[-1]), -np.abs(w[-1])
    return x, w


def product(x, w):
    weight = Int8Weight(w)
    codes = np.full((padded_rows(len(x)), weight.padded_width), 77, np.int8)  # whatever was there before
    return int8_linear(x, weight, codes, np.empty((len(x), len(w)), np.float32))


@settings(max_examples=40)
@given(sizes, st.integers(0, 2**32 - 1))
@example((13, 129, 260), 0)
def test_product_is_within_what_rounding_may_cost(shape, seed):
    """|y − x Wᵀ| ≤ Σ (s/2 |w| + t/2 |x| + s t/4), a step of each code being s and t."""
    x, w = matrices(shape, seed)
    s, t = (np.ptp(m.astype(float), axis=1) / 255 for m in (x, w))
    bound = s[:, None] / 2 * np.abs(w).sum(1) + np.abs(x).sum(1)[:, None] * t / 2 + s[:, None] * t * x.shape[1] / 4
    exact = x.astype(float) @ w.T.astype(float)
    size = np.abs(x).sum(1)[:, None] * np.abs(w).max(1)
    assert (np.abs(product(x, w) - exact) <= 1.01 * bound + 1e-5 * size).all()


@pytest.mark.skipif(not int8.HAS_BYTE_TILES, reason="needs the compiler and a CPU with VNNI")
@settings(max_examples=40)
@given(sizes, st.integers(0, 2**32 - 1))
@example((13, 129, 260), 0)
def test_tiles_equal_the_formula(shape, seed):
    rng, (rows, outputs, inputs) = np.random.default_rng(seed), shape
    codes = rng.integers(-128, 128, (padded_rows(rows), -(-inputs // 4) * 4), np.int8)
    u, rows_of_w = rng.integers(0, 256, (outputs, inputs), np.uint8), rng.random((3, outputs), np.float32)
    low, step, sums = rng.random((3, rows), np.float32)
    ours, plain = np.empty((2, rows, outputs), np.float32)
    multiply(codes, low, step, sums, int8.tiles(u), rows_of_w, 128 * u.sum(1, dtype=np.int32), ours)
    multiply_plain(codes[:rows, :inputs], low, step, sums, u.astype(np.float32), rows_of_w, plain)
    np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)


@given(st.integers(1, 13), st.integers(0, 99))
def test_a_row_has_the_same_bits_in_any_company(rows, seed):
    x, w = matrices((13, 70, 9), seed)
    chosen = np.random.default_rng(seed).permutation(13)[:rows]
    if int8.HAS_BYTE_TILES:
        np.testing.assert_array_equal(product(x[chosen], w), product(x, w)[chosen])
    else:  # the products are BLAS's
        np.testing.assert_allclose(product(x[chosen], w), product(x, w)[chosen], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = tiny_tokenizer()
    config = SentenceEncoderConfig(tokenizer.vocab_size, width=32, ffn=64, heads=4, head=(Normalize(),))
    path = tmp_path_factory.mktemp("encoder")
    SentenceEncoder.create(tokenizer, config).save(path)
    return path


def test_encoder_in_8_bits_is_near_and_its_own(folder):
    texts = ["", "a cat sat", "the dog and the cat", "mat " * 40]
    plain, coded = SentenceEncoder.load(folder), SentenceEncoder.load(folder, quantize="int8")
    vectors, exact = coded.encode(texts), plain.encode(texts)
    assert ((vectors * exact).sum(1) > 0.999).all() and not np.array_equal(vectors, exact)
    assert plain.fingerprint != coded.fingerprint and plain.parts != coded.parts
    np.testing.assert_array_equal(coded.encode(texts[::-1], threads=2)[::-1], vectors)


def test_weights_behind_codes_cannot_change(folder):
    coded = SentenceEncoder.load(folder, quantize="int8")
    with pytest.raises(ValueError, match="read-only"):
        coded.parameters["embeddings.LayerNorm.weight"][...] = 0


def test_what_cannot_be_quantized_is_refused(folder):
    with pytest.raises(ValueError, match="expected quantize of 'int8' or None, got 'int4'"):
        SentenceEncoder.load(folder, quantize="int4")
    model = SentenceEncoder.load(folder)
    gated = dataclasses.replace(model.config, gated=True)
    with pytest.raises(ValueError, match="expected an encoder of BERT's kind"):
        SentenceEncoder(model.tokenizer, gated, SentenceEncoder.create(model.tokenizer, gated).parameters, "int8")
