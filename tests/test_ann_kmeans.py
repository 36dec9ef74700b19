"""ann's k-means and product codes against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ann import pq
from ann.fastscan import add_up, add_up_plain
from ann.kmeans import group_means, kmeans, nearest_centroids, seeds

pytestmark = pytest.mark.kernels


def integers(seed, n, dim, low=-4, high=5):
    """Rows of small integers: their distances are exact in float32."""
    return np.random.default_rng(seed).integers(low, high, (n, dim)).astype(np.float32)


def seeds_plain(rows, draws):
    """k-means++ by its definition: the first where the cumulative squared distance passes the draw."""
    picked = [int(draws[0] * len(rows))]
    for draw in draws[1:]:
        nearest = np.min([((rows - rows[p]) ** 2).sum(axis=1) for p in picked], axis=0)
        total = np.cumsum(nearest)
        picked.append(int(np.searchsorted(total, draw * total[-1], "right")) if total[-1] else int(draw * len(rows)))
    return picked


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 8))
def test_seeds_equal_definition(seed, n, k):
    """Each draw picks the row that the definition does, also where every row is a seed already."""
    rows, draws = integers(seed, n, 2, -1, 2), np.random.default_rng(seed).random(k)
    assert seeds(rows, draws).tolist() == seeds_plain(rows, draws)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 9))
def test_kmeans_ends_in_a_fixed_point(seed, n, k):
    """Every centroid is the mean of its rows, none is idle while a row is badly served, and the seed decides."""
    rows = integers(seed, n, 3)
    centroids = kmeans(rows, k, np.random.default_rng(seed), iterations=50)
    assert np.array_equal(centroids, kmeans(rows, k, np.random.default_rng(seed), iterations=50))
    owners, distances = nearest_centroids(rows, centroids)
    plain = ((rows[:, None].astype(float) - centroids) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances, plain.min(axis=1), atol=1e-4)
    means, counts = group_means(rows, owners, k)
    if len(np.unique(rows, axis=0)) >= k:
        assert np.array_equal(means[counts > 0], centroids[counts > 0])
    else:
        assert distances.max() == 0


def test_kmeans_finds_clusters():
    """Ten clusters far apart, one of them six times as large as the others: a centroid in each."""
    rng = np.random.default_rng(0)
    sizes = [60, *[10] * 9]
    rows = np.concatenate([rng.normal(50 * c, 1, (n, 4)) for c, n in enumerate(sizes)]).astype(np.float32)
    centroids = np.sort(kmeans(rows, 10, rng)[:, 0])
    np.testing.assert_allclose(centroids, 50 * np.arange(10), atol=2)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_add_up_equals_plain(seed, pairs):
    """The SIMD form gives the plain form's integers, up to the largest sums there can be."""
    rng = np.random.default_rng(seed)
    table, block = rng.integers(0, 256, (2 * pairs, 16), np.uint8), rng.integers(0, 256, (pairs, 32), np.uint8)
    sums, plain = np.ones(32, np.uint16), np.zeros(32, np.uint16)
    add_up(table, block, sums)
    add_up_plain(table, block, plain)
    codes = np.stack([block & 15, block >> 4], axis=1).reshape(2 * pairs, 32)
    assert np.array_equal(sums, plain)
    assert np.array_equal(sums, table[np.arange(2 * pairs)[:, None], codes].sum(axis=0))
    table[:], block[:] = 255, 0
    add_up(np.full((256, 16), 255, np.uint8), np.zeros((128, 32), np.uint8), sums)
    assert (sums == 256 * 255).all()


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 20))
def test_codes_are_nearest(seed, dim, n):
    """encode picks the nearest codeword of the plain form; decode gives it back; packing loses nothing."""
    M = 2 * -(-dim // 4)
    rows, books = integers(seed, n, dim), integers(seed + 1, M * 16, -(-dim // M)).reshape(M, 16, -1)
    codes = pq.encode(pq.cut(rows, M), books)
    assert np.array_equal(codes, pq.encode_plain(rows, books))
    assert np.array_equal(pq.unpack(pq.pack(codes)), codes)
    expected = np.stack([books[m, codes[:, m]] for m in range(M)], axis=1).reshape(n, -1)[:, :dim]
    assert np.array_equal(pq.decode(codes, books, dim), expected)


def look_ups(queries, books):
    """The rounded tables of the first query, as scan_codes takes them, and the plain table."""
    table, look_up = np.empty(books.shape[:2], np.float32), np.empty(books.shape[:2], np.uint8)
    pq.fill_table(queries, 0, books.transpose(0, 2, 1).copy(), table)
    return look_up, *pq.round_table(table, look_up), table


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_tables_are_within_their_rounding(seed, dim):
    """fill_table is the plain form; the bytes give sums within M step / 2 of it, and a constant table exactly."""
    M = 2 * -(-dim // 4)
    queries, books = integers(seed, 1, dim), integers(seed + 1, M * 16, -(-dim // M)).reshape(M, 16, -1)
    for scale in (np.float32(1), np.float32(0)):
        look_up, base, step, table = look_ups(queries * scale, books)
        assert np.array_equal(table, pq.tables_plain(queries * scale, books)[0])
        codes = np.random.default_rng(seed).integers(0, 16, (20, M))
        rounded = base + step * look_up[np.arange(M), codes].sum(axis=1)
        sums = table[np.arange(M), codes].sum(axis=1)
        assert np.abs(rounded - sums).max() <= M * step / 2 * (1 + 1e-3) + 1e-4


@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 40), st.booleans())
def test_scan_codes_keeps_the_smallest(seed, n, keep, filtered):
    """The rows of the cells read with the smallest estimates, ties to the smaller row, only allowed ones."""
    rng = np.random.default_rng(seed)
    M, cells, bias = 4, rng.integers(0, 5, n), rng.integers(0, 9, n).astype(np.float32)
    codes, look_up = rng.integers(0, 16, (n, M)).astype(np.uint8), rng.integers(0, 9, (M, 16)).astype(np.uint8)
    starts, rows, blocks, biases = pq.blocks_by_cell(cells.astype(np.int32), 5, pq.pack(codes), bias)
    asked, probes = np.array([3, 0, 4]), np.array([2, 0, 1], np.float32)
    mask = rng.random(n) < 0.5
    room = np.empty(2 * keep, np.float32), np.empty(2 * keep, np.int64)
    one = np.float32(1), np.float32(1), np.float32(2)
    size = pq.scan_codes(look_up, *one, blocks, biases, rows, starts, asked, probes, mask, filtered, keep, *room)
    sums = look_up[np.arange(M), codes].sum(axis=1)
    expected = sorted(
        (probes[list(asked).index(cells[row])] + bias[row] - 2 * (1 + sums[row]), row)
        for row in range(n)
        if cells[row] in asked and (mask[row] or not filtered)
    )
    assert sorted(room[1][:size].tolist()) == sorted(row for _, row in expected[:keep])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), min_size=1, max_size=60, unique=True), st.data())
def test_keep_smallest(pairs, data):
    """The smallest pairs come first, in any order, and the largest distance among them is returned."""
    keep = data.draw(st.integers(1, len(pairs)))
    distances, labels = np.array(pairs, np.float32)[:, 0].copy(), np.array(pairs)[:, 1].copy()
    most = pq.keep_smallest(distances, labels, len(pairs), keep)
    expected = sorted(pairs)[:keep]
    assert sorted(zip(distances[:keep].tolist(), labels[:keep].tolist(), strict=True)) == expected
    assert most == expected[-1][0]
