"""ann's codes, keys and SIMD sums equal their formulas; an index that walks on codes finds as much as on vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ann_hnsw import clusters

import ann
from ann.distance import IP, L2, distance
from ann.keys import distance_of, insert_key, key, row_of
from ann.quantize import Quantizer, refined
from helpers import interpreted

pytestmark = pytest.mark.kernels
N = 60 if interpreted() else 1500


@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_code_distances_equal_their_formulas(lines, seed):
    """Integer sums over rows of whole cache lines, from the least to the largest codes there are."""
    rng = np.random.default_rng(seed)
    low, high = rng.integers(0, 128, (2, 2, 64 * lines))
    low[0, ::3], high[1, ::3] = 0, 127
    signed = (low - high).astype(np.int8)
    nibbles = (low % 16 | high % 16 << 4).astype(np.uint8)
    halves = np.concatenate([low % 16, high % 16], axis=1)
    low = low.astype(np.int8)
    assert distance(L2, low, 0, low, 1) == np.float32(((low[0].astype(int) - low[1]) ** 2).sum())
    assert distance(IP, signed, 0, signed, 1) == np.float32(-(signed[0].astype(int) * signed[1]).sum())
    assert distance(L2, nibbles, 0, nibbles, 1) == np.float32(((halves[0] - halves[1]) ** 2).sum())
    assert distance(IP, nibbles, 0, nibbles, 1) == np.float32(-((halves[0] - 8) * (halves[1] - 8)).sum())


pairs = st.tuples(st.floats(width=32, allow_nan=False).map(lambda d: d + 0.0), st.integers(0, 2**31 - 1))


@given(st.lists(pairs, min_size=1, max_size=30, unique=True))
def test_keys_sort_as_pairs(given_pairs):
    """Keys come back as (distance, row) and sort like them; insert_key keeps the least of them in order."""
    made = [np.uint64(key(np.float32(d), row)) for d, row in given_pairs]
    assert [(float(distance_of(k)), int(row_of(k))) for k in made] == given_pairs
    room, size = np.empty(-(-len(made) // 2), np.uint64), 0
    for k in made:
        if size < len(room) or k < room[-1]:
            insert_key(room, size, k)
            size = min(size + 1, len(room))
    kept = [(float(distance_of(k)), int(row_of(k))) for k in room[:size]]
    assert kept == sorted(given_pairs)[: len(room)]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("metric", [L2, IP])
def test_quantizer_rounds_to_the_nearest_code(bits, metric):
    """In range a code is half a step off at most; beyond, it is the last code; what fills a row up counts nothing."""
    x = clusters(0, 200, 37)
    quantizer = Quantizer.fit(bits, metric, x)
    codes = quantizer.encode(x)
    assert codes.shape == (200, 64)
    if bits == 4:
        codes = np.concatenate([codes & 15, codes >> 4], axis=1)
    back = (codes.astype(np.float32) - quantizer.shift)[:, :37] * quantizer.step + quantizer.offset
    ends = quantizer.offset + np.outer([quantizer.low, quantizer.top], np.full(37, quantizer.step))
    assert ((x >= ends[0]) & (x <= ends[1])).mean() > 0.98 and (codes[:, 37:] == quantizer.shift).all()
    assert np.abs(back - np.clip(x, *ends)).max() <= 0.5001 * quantizer.step


@pytest.mark.parametrize("quantize", ["int8", "int4"])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_codes_keep_recall(quantize, metric):
    """recall@10 within .02 of a walk on vectors, exact distances, and every row finds itself under l2 and cosine."""
    plain, coded = ann.HNSW(24, metric), ann.HNSW(24, metric, quantize=quantize)
    x, queries = clusters(0, N, 24), clusters(1, 40, 24)
    for index in (plain, coded):
        index.add(x)
    ids, distances = coded.search(queries)
    assert coded.recall(queries, 10, 64) >= plain.recall(queries, 10, 64) - 0.02
    exact = ann.Exact(24, metric)
    exact.add(x)
    for row in range(len(queries)):
        of = dict(zip(*(a[0].tolist() for a in exact.search(queries[row : row + 1], N)), strict=True))
        assert [of[i] for i in ids[row].tolist()] == distances[row].tolist()
    if metric != "ip":
        assert (coded.search(x, 1)[0][:, 0] == np.arange(N)).all()


def test_codes_follow_their_rows():
    """Codes are fitted anew when the rows have doubled: rows far outside the first range are found."""
    index = ann.HNSW(4, "l2", quantize="int8")
    index.add(clusters(0, 30, 4))
    far = 1000 + 100 * clusters(1, 60, 4)
    ids = index.add(far)
    assert (index.search(far, 1)[0][:, 0] == ids).all() and index.check() == []


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_codes_follow_rows_that_leave_their_range(quantize):
    """A second batch far from the first: every row of both still finds itself."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((N, 16)).astype(np.float32)
    rows[N // 2 :] += 10
    index = ann.HNSW(16, "l2", quantize=quantize)
    index.add(rows[: N // 2 + 1])
    index.add(rows[N // 2 + 1 :])
    assert np.array_equal(index.search(rows, k=1)[0][:, 0], np.arange(N))


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_one_far_row_does_not_coarsen_all_codes(quantize):
    """A row at 100,000 among rows near 0: the others still find themselves."""
    rows = np.random.default_rng(0).standard_normal((1500, 16)).astype(np.float32)
    rows[5] = 1e5
    codes = Quantizer.fit(8 if quantize == "int8" else 4, L2, rows)
    assert codes.suits(rows) and codes.step < 1
    if not interpreted():
        index = ann.HNSW(16, "l2", quantize=quantize)
        index.add(rows)
        assert np.array_equal(index.search(rows, k=1)[0][:, 0], np.arange(1500))


def test_refined_covers_k():
    """As many are measured exactly as are asked for, and more."""
    assert all(refined(bits, k) > k for bits in (8, 4) for k in (1, 10, 100)) and refined(0, 10) == 0
