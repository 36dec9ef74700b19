"""Every op: its backward against central differences in a random direction, its forward against the formula."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers import assert_gradient
from minibert import ops
from minibert.ops.activations import (
    gelu_fast,
    gelu_float32,
    gelu_plain,
    gelu_slope_fast,
    gelu_slope_float32,
    gelu_slope_plain,
)
from minibert.ops.embedding import scatter_add, scatter_add_fast
from minibert.ops.layer_norm import center, center_fast, normalize, normalize_fast
from minibert.ops.relative_bias import relative_buckets
from minibert.ops.softmax import scaled_softmax, scaled_softmax_plain, softmax_slope, softmax_slope_fast
from minibert.ragged import Ragged
from oracles import transformer as oracle
from strategies import matrices, ragged_batches

pytestmark = pytest.mark.kernels
RNG = np.random.default_rng(20)
X = RNG.standard_normal((6, 8))
IDS = np.array([3, 0, 3, 1, 4, 3])

# name: (function of the differentiated arrays → (y, cache), backward, the arrays)
CASES = {
    "linear": (ops.linear, ops.linear_backward, (X, RNG.standard_normal((5, 8)), RNG.standard_normal(5))),
    "embedding": (lambda t: ops.embedding(IDS, t), ops.embedding_backward, (RNG.standard_normal((5, 4)),)),
    "layer_norm": (
        lambda x, g, b: ops.layer_norm(x, g, b, 1e-5),
        ops.layer_norm_backward,
        (X, RNG.standard_normal(8), RNG.standard_normal(8)),
    ),
    "gelu": (ops.gelu, ops.gelu_backward, (X,)),
    "gelu_tanh": (ops.gelu_tanh, ops.gelu_tanh_backward, (X,)),
    "tanh": (ops.tanh, ops.tanh_backward, (X,)),
    "rms_norm": (lambda x, g: ops.rms_norm(x, g, 1e-5), ops.rms_norm_backward, (X, RNG.standard_normal(8))),
    "relative_bias": (
        lambda table: ops.relative_bias(table, 7, 5),
        ops.relative_bias_backward,
        (RNG.standard_normal((8, 3)),),
    ),
    "linear without bias": (
        lambda x, w: ops.linear(x, w),
        lambda dy, cache: ops.linear_backward(dy, cache)[:2],
        (X, RNG.standard_normal((5, 8))),
    ),
    "relu": (ops.relu, ops.relu_backward, (X,)),
    "softmax": (ops.softmax, ops.softmax_backward, (X,)),
    "l2_normalize": (ops.l2_normalize, ops.l2_normalize_backward, (X,)),
    "similarity": (ops.similarity, ops.similarity_backward, (X, RNG.standard_normal((7, 8)))),
    "cross_entropy": (lambda s: ops.cross_entropy(s, IDS), ops.cross_entropy_backward, (X,)),
    "cross_entropy, smoothed": (lambda s: ops.cross_entropy(s, IDS, 0.3), ops.cross_entropy_backward, (X,)),
    "projected_cross_entropy": (
        lambda x, table: ops.projected_cross_entropy(x, table, IDS % 5, 0.3),
        ops.projected_cross_entropy_backward,
        (X, RNG.standard_normal((5, 8))),
    ),
    "projected_cross_entropy, with a bias": (
        lambda x, table, bias: ops.projected_cross_entropy(x, table, IDS % 5, bias=bias),
        ops.projected_cross_entropy_backward,
        (X, RNG.standard_normal((5, 8)), RNG.standard_normal(5)),
    ),
    "dropout": (
        lambda x: ops.dropout(x, 0.4, np.random.default_rng(5)),
        ops.dropout_backward,
        (X,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_ops_backward_is_the_derivative(name):
    """The directional derivative by central differences equals the gradient's."""
    forward, backward, arrays = CASES[name]
    assert_gradient(forward, backward, arrays, np.random.default_rng(7))


@given(ragged_batches(), st.sampled_from([0.0, 0.3]), st.integers(0, 2**32 - 1))
def test_attention_and_pooling_backward_are_derivatives(batch, rate, seed):
    """Attention, with and without dropped weights, and both poolings, on ragged batches."""
    rng = np.random.default_rng(seed)
    qkv = rng.standard_normal((len(batch.ids), 12))

    def attend(qkv):
        return ops.attention(qkv, batch, 2, rate, np.random.default_rng(seed))

    assert_gradient(attend, ops.attention_backward, (qkv,), rng)
    assert_gradient(lambda x: ops.cls_pooling(x, batch), ops.cls_pooling_backward, (qkv,), rng)
    assert_gradient(lambda x: ops.mean_pooling(x, batch), ops.mean_pooling_backward, (qkv,), rng)


@given(ragged_batches(), st.integers(0, 2**32 - 1))
def test_attention_equals_the_padded_masked_formula(batch, seed):
    """A ragged batch gives the rows that padding and masking give."""
    qkv = np.random.default_rng(seed).standard_normal((len(batch.ids), 12))
    ours, _ = ops.attention(qkv, batch, 2)
    longest = batch.lengths.max()
    mask = np.arange(longest) < batch.lengths[:, None]
    padded = np.zeros((len(batch), longest, 12))
    padded[mask] = qkv
    theirs = oracle.padded_attention(*np.split(padded, 3, axis=2), 2, mask)[mask]
    np.testing.assert_allclose(ours, theirs, atol=1e-13 * longest)


@st.composite
def paired_batches(draw):
    """As many targets as sources, often pairs of the same two lengths next to each other."""
    pairs = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
    pairs += draw(st.sampled_from([[], pairs[-1:], pairs]))
    return tuple(Ragged.from_sequences([[0] * n for n in lengths]) for lengths in zip(*pairs, strict=True))


@given(paired_batches(), st.sampled_from([0.0, 0.3]), st.integers(0, 2**32 - 1))
def test_causal_and_cross_attention_backward_are_derivatives(batches, rate, seed):
    """With and without dropped weights, on ragged batches."""
    targets, sources = batches
    rng = np.random.default_rng(seed)
    qkv, q, kv = (
        rng.standard_normal(s) for s in ((len(targets.ids), 12), (len(targets.ids), 4), (len(sources.ids), 8))
    )

    def causal(qkv):
        return ops.attention(qkv, targets, 2, rate, np.random.default_rng(seed), causal=True)

    def cross(q, kv):
        return ops.cross_attention(q, kv, targets, sources, 2, rate, np.random.default_rng(seed))

    assert_gradient(causal, ops.attention_backward, (qkv,), rng)
    assert_gradient(cross, ops.cross_attention_backward, (q, kv), rng)


@given(paired_batches(), st.integers(0, 2**32 - 1))
def test_causal_and_cross_attention_equal_the_masked_formula(batches, seed):
    """Sequence by sequence: no token sees a later one of its target, or another pair's source."""
    targets, sources = batches
    rng = np.random.default_rng(seed)
    qkv, kv = rng.standard_normal((len(targets.ids), 12)), rng.standard_normal((len(sources.ids), 8))
    causal, _ = ops.attention(qkv, targets, 2, causal=True)
    cross, _ = ops.cross_attention(qkv[:, :4], kv, targets, sources, 2)
    for b in range(len(targets)):
        rows, source_rows = slice(*targets.starts[b : b + 2]), slice(*sources.starts[b : b + 2])
        q, k, v = np.split(qkv[rows], 3, axis=1)
        expected = oracle.masked_attention(q, k, v, 2, lambda i, j: j <= i)
        np.testing.assert_allclose(causal[rows], expected, atol=1e-13)
        k, v = np.split(kv[source_rows], 2, axis=1)
        expected = oracle.masked_attention(q, k, v, 2, lambda i, j: True)
        np.testing.assert_allclose(cross[rows], expected, atol=1e-13)


def test_cross_attention_refuses_unpaired_batches():
    """Every target has a source."""
    one, two = Ragged.from_sequences([[0]]), Ragged.from_sequences([[0], [0]])
    with pytest.raises(ValueError, match="got 1 targets and 2 sources"):
        ops.cross_attention(np.zeros((1, 4)), np.zeros((2, 8)), one, two, 2)


@given(matrices(), st.sampled_from([0.0, 0.1, 0.9]))
def test_cross_entropy_equals_its_formula(x, smoothing):
    """Labels, smoothed or not, term by term, also over several blocks of rows."""
    x = np.tile(x / 10, (7, 1))
    targets = np.arange(len(x)) % x.shape[1]
    loss, _ = ops.cross_entropy(x, targets, smoothing)
    assert loss == pytest.approx(oracle.smoothed_cross_entropy(x, targets, smoothing), rel=1e-12)
    with pytest.raises(ValueError, match=r"smoothing in \[0, 1\), got 1"):
        ops.cross_entropy(x, targets, 1)


def test_projected_cross_entropy_equals_its_two_steps():
    """Some rows at a time: the loss and gradients of all scores at once."""
    rng = np.random.default_rng(2)
    x, table, targets = rng.standard_normal((600, 4)), rng.standard_normal((7, 4)), rng.integers(0, 7, 600)
    loss, cache = ops.projected_cross_entropy(x, table, targets, 0.1)
    scores, scores_cache = ops.similarity(x, table)
    expected, loss_cache = ops.cross_entropy(scores, targets, 0.1)
    assert loss == pytest.approx(expected, rel=1e-13)
    gradients = ops.similarity_backward(ops.cross_entropy_backward(2.0, loss_cache), scores_cache)
    for ours, theirs in zip(ops.projected_cross_entropy_backward(2.0, cache), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-15)
    with pytest.raises(ValueError, match="at least one row"):
        ops.projected_cross_entropy(x[:0], table, targets[:0])


@given(st.integers(0, 40), st.integers(1, 9))
def test_sinusoids_equal_their_formula_and_turn_by_one_matrix(length, width):
    """Every number; and y[t + 3] is the same rotation of y[t] for all t."""
    y = ops.sinusoids(length, width)
    expected = [[oracle.sinusoid(t, column, width) for column in range(width)] for t in range(length)]
    np.testing.assert_allclose(y, np.reshape(expected, (length, width)), atol=1e-13)
    if width % 2 == 0 and length > 3:
        angles = 3 / 10000 ** (np.arange(0, width, 2) / width)
        sine, cosine = y[:-3, 0::2], y[:-3, 1::2]
        np.testing.assert_allclose(y[3:, 0::2], sine * np.cos(angles) + cosine * np.sin(angles), atol=1e-13)


@given(matrices())
def test_softmax_layer_norm_and_gelu_equal_their_formulas(x):
    """Row by row, number by number."""
    np.testing.assert_allclose(ops.softmax(x)[0], [oracle.softmax(row) for row in x], rtol=1e-12, atol=1e-300)
    gamma, beta = np.linspace(-1, 2, x.shape[1]), np.linspace(0, 1, x.shape[1])
    expected = [oracle.layer_norm(row, gamma, beta, 1e-5) for row in x]
    scale = np.abs(x).max() * x.shape[1] * np.finfo(float).eps / np.sqrt(1e-5)  # the mean's rounding error, amplified
    np.testing.assert_allclose(ops.layer_norm(x, gamma, beta, 1e-5)[0], expected, atol=1e-12 + 10 * scale)
    np.testing.assert_allclose(ops.gelu(x)[0], np.vectorize(oracle.gelu)(x), rtol=1e-14)


@given(matrices(), st.floats(-1e3, 1e3))
def test_softmax_is_blind_to_a_shift_and_sums_to_one(x, shift):
    """Adding one number to a row changes nothing."""
    y, _ = ops.softmax(x)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(ops.softmax(x + shift)[0], y, atol=1e-12)


@given(matrices(), st.sampled_from([np.float32, np.float64]))
def test_ops_fast_twins_equal_their_definitions(x, dtype):
    """Compiled and plain forms agree to rounding in both precisions."""
    x = x.astype(dtype)
    tolerance = 64 * np.finfo(dtype).eps
    gamma = np.linspace(-1, 2, x.shape[1], dtype=dtype)
    plain, fast = normalize(x, gamma, gamma, dtype(0.1)), normalize_fast(x, gamma, gamma, dtype(0.1))
    for a, b in zip(plain, fast, strict=True):
        assert b.dtype == dtype
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * (1 + np.abs(x).max()))
    bound = tolerance * (1 + np.abs(x).max()) * (1 + np.abs(fast[2]).max())
    np.testing.assert_allclose(
        center_fast(x, *fast[1:], gamma), center(x, *fast[1:], gamma), rtol=tolerance, atol=bound
    )
    np.testing.assert_allclose(gelu_fast(x), gelu_plain(x), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gelu_slope_fast(x, x), gelu_slope_plain(x, x), rtol=tolerance, atol=bound)
    ids = np.arange(len(x)) % 3
    a, b = np.zeros((3, x.shape[1]), dtype), np.zeros((3, x.shape[1]), dtype)
    scatter_add(a, ids, x)
    scatter_add_fast(b, ids, x)
    np.testing.assert_allclose(a, b, atol=tolerance * np.abs(x).sum())


def test_dropout_keeps_the_mean_and_its_share():
    """A share 1 − rate survives, scaled so that the mean stays; without a generator nothing happens."""
    x = np.ones((400, 500), np.float32)
    y, _ = ops.dropout(x, 0.3, np.random.default_rng(1))
    deviation = np.sqrt(0.3 * 0.7 / x.size)
    assert abs((y > 0).mean() - 0.7) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / 0.7
    assert ops.dropout(x, 0.3, None)[0] is x


def test_l2_normalize_gives_unit_rows_and_leaves_zero():
    """Length one, or zero where there is no direction."""
    y, _ = ops.l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(y, [[0.6, 0.8], [0, 0]])


def test_l2_normalize_and_relu_backward_at_their_corners():
    """Below eps the divisor is constant; at 0 the rectifier's slope is 0."""
    dy = np.array([[1.0, 2.0]])
    _, cache = ops.l2_normalize(np.array([[3e-13, 4e-13]]), eps=1e-12)
    np.testing.assert_allclose(ops.l2_normalize_backward(dy, cache), dy / 1e-12)
    assert ops.relu_backward(np.array([1.0, 1.0, 1.0]), np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0, 1]


def test_cross_entropy_of_the_course_table():
    """The course's 4 × 4 scores: the loss by its formula, and the gradient (softmax − identity) / 4."""
    scores = np.array(
        [[4.3, 1.2, 0.05, 1.07], [0.18, 3.2, 0.09, 0.05], [0.85, 0.27, 2.2, 1.03], [0.23, 0.57, 0.12, 5.1]]
    )
    loss, cache = ops.cross_entropy(scores, np.arange(4))
    assert loss == pytest.approx(oracle.diagonal_cross_entropy(scores), rel=1e-14)
    expected = (np.array([oracle.softmax(row) for row in scores]) - np.eye(4)) / 4
    np.testing.assert_allclose(ops.cross_entropy_backward(1.0, cache), expected, atol=1e-16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.embedding(np.array([0, 5]), np.zeros((5, 2))), r"0 … 4, got 5 at position 1"),
        (lambda: ops.embedding(np.array([-1]), np.zeros((5, 2))), r"got -1 at position 0"),
        (lambda: ops.cross_entropy(np.zeros((2, 3)), np.array([0, 3])), r"0 … 2, got 3 in row 1"),
        (lambda: ops.dropout(np.zeros(3), 1.0, None), r"\[0, 1\), got 1.0"),
    ],
)
def test_ops_refuse_what_cannot_be_right(call, message):
    """The error says expected, got and where."""
    with pytest.raises(ValueError, match=message):
        call()


@given(st.sampled_from([(8, 5), (32, 128), (12, 20)]), st.integers(-300, 300))
def test_relative_buckets_are_those_of_the_formula(sizes, distance):
    """One distance at a time; the formula in float64 may round a boundary the other way only where it is exact."""
    ours = relative_buckets(np.array([distance]), *sizes)[0]
    assert ours == oracle.relative_bucket(distance, *sizes) or abs(distance) in (10, 20, 16, 32, 64)


@given(ragged_batches(), st.integers(0, 2**32 - 1))
def test_attention_by_distance_has_the_right_gradients(batch, seed):
    """Scores with a bias by distance and without 1/√d: gradients of both, on ragged batches."""
    rng = np.random.default_rng(seed)
    qkv, bias = rng.standard_normal((len(batch.ids), 12)), rng.standard_normal((2 * batch.lengths.max() - 1, 2))

    def backward(dy, cache):
        dbias = np.zeros_like(bias)
        return ops.attention_backward(dy, cache, dbias), dbias

    assert_gradient(lambda x, b: ops.attention(x, batch, 2, bias=b, scaled=False), backward, (qkv, bias), rng)


VALUES = st.floats(-30, 30, width=32)


def float32_rows(width):
    return st.integers(1, 5).flatmap(lambda n: arrays(np.float32, (n, width), elements=VALUES))


@given(float32_rows(9))
@example(np.linspace(-12, 12, 9 * 500, dtype=np.float32).reshape(-1, 9))
def test_gelu_in_float32_equals_its_formula(x):
    """Value and slope by the rational function, up to where it ends and beyond."""
    exact = x.astype(float)
    np.testing.assert_allclose(gelu_float32(x), gelu_plain(exact), rtol=1e-6, atol=1.5e-6)
    np.testing.assert_allclose(
        gelu_slope_float32(np.ones_like(x), x), gelu_slope_plain(np.ones(x.shape), exact), atol=4e-6
    )


@given(st.sampled_from([1, 3, 4, 7, 33]).flatmap(float32_rows), st.sampled_from([0.125, 1.0, 40.0]))
def test_softmax_in_float32_equals_its_formula(x, scale):
    """Rows of any width that sum to 1; nothing overflows, and −inf weighs exactly 0."""
    ours, exact, room = x.copy(), x.astype(float), np.empty(x.shape[1], np.int32)
    scaled_softmax(ours, np.float32(scale), room)
    scaled_softmax_plain(exact, scale)
    np.testing.assert_allclose(ours, exact, rtol=1e-5 * (1 + scale), atol=1e-30)
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-5)
    hidden = np.concatenate((x, np.full((len(x), 2), -np.inf, np.float32)), axis=1)
    y, _ = ops.softmax(hidden)
    assert not y[:, -2:].any()
    np.testing.assert_allclose(y[:, :-2], ops.softmax(x)[0], rtol=1e-6)
    slopes = softmax_slope_fast(x, y[:, :-2].copy()), softmax_slope(x.astype(float), y[:, :-2].astype(float))
    np.testing.assert_allclose(*slopes, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", range(1, 10))
def test_softmax_of_large_scores_wherever_the_largest_stands(width, dtype):
    """Scores thousands apart: 1 for the largest, 0 for all others, at every place of every width."""
    y, _ = ops.softmax(np.eye(width, dtype=dtype) * 4000)
    np.testing.assert_array_equal(y, np.eye(width))


def test_max_pooling_backward_gives_the_first_of_equal_values_all():
    """The second of two equal rows gets nothing, in each sequence."""
    batch = Ragged.from_sequences([[1, 1, 1], [1, 1]])
    x = np.array([[0.0], [2.0], [2.0], [3.0], [3.0]])
    _, cache = ops.max_pooling(x, batch)
    assert ops.max_pooling_backward(np.array([[5.0], [7.0]]), cache)[:, 0].tolist() == [0, 5, 0, 7, 0]
