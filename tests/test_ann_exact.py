"""ann: distances, heaps and exact search against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ann
from ann.distance import METRICS, distance, normalize_rows
from ann.exact import FEW, exact_search, scan_products, sort_heaps
from ann.heap import insert_sorted, pop, push
from helpers import interpreted
from oracles import ann as oracle

pytestmark = pytest.mark.kernels
U = 2.0**-24  # float32's unit roundoff


def rows(seed, n, dim, scale=1.0):
    return (np.random.default_rng(seed).standard_normal((n, dim)) * scale).astype(np.float32)


@given(st.integers(0, 2**32), st.integers(1, 70), st.sampled_from(METRICS), st.sampled_from([1e-15, 1.0, 1e15]))
def test_distance_equals_formula(seed, dim, metric, scale):
    """Within (D + 2) u Σ|term| of the exact sum, in whatever order the CPU adds."""
    a, b = rows(seed, 1, dim, scale), rows(seed + 1, 1, dim, scale)
    if metric == "cosine":
        normalize_rows(a), normalize_rows(b)
    a64, b64 = a[0].astype(np.float64), b[0].astype(np.float64)
    got = float(distance(METRICS.index(metric), a, 0, b, 0))
    if metric == "l2":
        assert abs(got - oracle.distance("l2", a64, b64)) <= (dim + 2) * U * ((a64 - b64) ** 2).sum()
    else:
        true = oracle.distance("ip", a64, b64)
        bound = (dim + 2) * U * np.abs(a64 * b64).sum() + 2 * U
        assert abs(got - (max(true, 0.0) if metric == "cosine" else true)) <= bound + U * abs(true)


@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([1e-42, 1e-25, 1.0, 1e37]))
def test_cosine_ignores_length(seed, dim, scale):
    """A vector's length changes nothing, from subnormal numbers to those whose square overflows."""
    x, q = rows(seed, 5, dim), rows(seed + 1, 3, dim)
    x[np.abs(x) < 0.1] = 0.5
    index = ann.Exact(dim)
    index.add(x * np.float32(scale))
    ids, distances = index.search(q, 5)
    for i, d, query in zip(ids, distances, q, strict=True):
        true = [oracle.distance("cosine", query, (x * np.float32(scale))[row]) for row in i]
        np.testing.assert_allclose(d, true, atol=(2 * dim + 12) * U)
        assert (np.diff(d) >= 0).all() and (d >= 0).all()


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=40))
def test_heap_sorts(pairs):
    """Pushed in any order, pairs come out by distance, then label; pushed negated, in reverse."""
    for sign in (1, -1):
        distances, labels, size, out = np.empty(40, np.float32), np.empty(40, np.int64), 0, []
        for d, label in pairs:
            size = push(distances, labels, size, np.float32(sign * d), np.int64(sign * label))
        while size:
            out.append((sign * int(distances[0]), sign * int(labels[0])))
            size = pop(distances, labels, size)
        assert out == sorted(pairs, reverse=sign < 0)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=40), st.integers(1, 10))
def test_insert_sorted_keeps_smallest(pairs, capacity):
    """The sorted array holds the `capacity` smallest pairs."""
    distances, labels, size = np.empty(capacity, np.float32), np.empty(capacity, np.int64), 0
    for d, label in pairs:
        if size < capacity or (d, label) < (distances[-1], labels[-1]):
            place = insert_sorted(distances, labels, size, np.float32(d), np.int64(label))
            size = min(size + 1, capacity)
            assert (distances[place], labels[place]) == (d, label)
    assert list(zip(distances[:size].tolist(), labels[:size].tolist(), strict=True)) == sorted(pairs)[:capacity]


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 5), st.integers(1, 20), st.sampled_from(["l2", "ip"]))
def test_exact_equals_loops(seed, n, dim, k, metric):
    """On small integers, where float32 is exact, ids and distances equal the definition: ties go to the smaller id."""
    rng = np.random.default_rng(seed)
    queries = FEW if seed % 2 else 4  # by products, and row by row
    x, q, ids = rng.integers(-2, 3, (n, dim)), rng.integers(-2, 3, (queries, dim)), rng.permutation(1000)[:n]
    index = ann.Exact(dim, metric)
    index.add(x, ids)
    got_ids, got = index.search(q, k)
    assert got_ids.shape == got.shape == (queries, k) and got_ids.dtype == np.int64 and got.dtype == np.float32
    for row in range(queries):
        expected = oracle.nearest(metric, q[row], x, ids.tolist(), k)
        missing = k - len(expected)
        assert got_ids[row].tolist() == [i for _, i in expected] + [-1] * missing
        assert got[row].tolist() == [d for d, _ in expected] + [np.inf] * missing


@pytest.mark.parametrize("offset", [0, 2**12, 2**18])
def test_exact_does_not_cancel(offset):
    """Far from the origin, where ‖q‖² + ‖x‖² - 2 <q, x> loses every digit of the distance, answers stay exact."""
    rng = np.random.default_rng(0)
    x, q = offset + rng.integers(0, 9, (300, 16)), offset + rng.integers(0, 9, (FEW, 16))
    index = ann.Exact(16, "l2")
    index.add(x)
    ids, distances = index.search(q, 10)
    for row in range(FEW):
        expected = oracle.nearest("l2", q[row] - offset, x - offset, range(300), 10)
        assert list(zip(distances[row].tolist(), ids[row].tolist(), strict=True)) == expected


@given(st.integers(0, 2**32), st.sampled_from(METRICS), st.sampled_from([1e-18, 1e-3, 1.0, 1e3, 1e17]))
def test_exact_does_not_depend_on_blas(seed, metric, scale):
    """Products that are off by as much as the bound allows give the answers of the double loop, bit for bit."""
    dim, code = 24, METRICS.index(metric)
    x, q = rows(seed, 80, dim, scale), rows(seed + 1, 3, dim, scale)
    x += q[0]  # near, so that l2 cancels
    if metric == "cosine":
        normalize_rows(x), normalize_rows(q)
    products = q.astype(np.float64) @ x.T.astype(np.float64)
    error = (
        dim * U * np.linalg.norm(q.astype(np.float64), axis=1)[:, None] * np.linalg.norm(x.astype(np.float64), axis=1)
    )
    products = (products + error * np.random.default_rng(seed).choice([-1, 1], error.shape)).astype(np.float32)
    ids, distances, sizes = np.empty((3, 7), np.int64), np.empty((3, 7), np.float32), np.zeros(3, np.int64)
    scan_products(code, q, x, products, np.arange(80), distances, ids, sizes)
    sort_heaps(distances, ids, sizes)
    for row in range(3):
        expected = sorted((distance(code, q, row, x, n), n) for n in range(80))[:7]
        assert list(zip(distances[row], ids[row], strict=True)) == expected


def test_exact_search_blocks_do_not_show():
    """Several blocks of rows and queries, on one thread or three, give what one query at a time gives."""
    n = 300 if interpreted() else 5000
    x, q = rows(0, n, 8), rows(1, 300, 8)
    ids, distances = exact_search(0, q, x, np.arange(n), np.arange(n), 5)
    for threads in (1, 3):
        again = exact_search(0, q, x, np.arange(n), np.arange(n), 5, threads)
        assert np.array_equal(ids, again[0]) and np.array_equal(distances, again[1])
    for row in (0, 127, 128, 299):
        one = exact_search(0, q[row : row + 1], x, np.arange(n), np.arange(n), 5)
        assert np.array_equal(one[0][0], ids[row]) and np.array_equal(one[1][0], distances[row])
