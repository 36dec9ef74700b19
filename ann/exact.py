"""Exact search: every query against every row. The ground truth of the other indexes.

A matrix product is many times faster than comparing pairs, but ‖q‖² + ‖x‖² - 2 <q, x> cancels where q and x are near:
there its error is larger than the distance. So the product only gives a *lower bound*,

    bound(q, x) = distance by product - slack
    slack       = 2^-22 ((D + 8) (‖q‖ + ‖x‖)² + 1e-31)           l2
                = 2^-22 ((D + 8) ‖q‖ ‖x‖ + 1)                     ip, cosine

and a row whose bound is not above the k-th best distance so far is measured again, term by term (distance.py). Both the
product and the measurement are within (D + 4) 2^-24 (‖q‖ + ‖x‖)² of the true distance (ip: ‖q‖ ‖x‖), so twice that
would do; the slack is twice as wide again, which leaves room for comparing bounds in float32, and the constant covers
underflow and the subtraction from 1. The answer is therefore that of the plain double loop, bit for bit, whatever BLAS
does; for N rows about k ln(N / k) a query are measured twice.

One SIMD loop rules out a group of rows: what depends on the row alone stands left, what depends on the query right,

    ‖x‖² - 2 <q, x> ≤ worst - ‖q‖² + slack        l2
         -    <q, x> ≤ worst - 1 + slack           ip, cosine      slack: with the longest row of the block
"""

import numpy as np

from ._jit import inlined, kernel
from .distance import ANY_ORDER, L2, distance
from .heap import before, pop, push
from .threads import run_threads

BLOCK = 1024  # rows a matrix product; with 256 queries the products take 1 MB, and stay in the second-level cache
QUERIES = 256
GROUP = 64  # rows that one SIMD loop rules out
FEW = 8  # queries below which reading every row once is all there is to gain: no product then


@kernel
def scan_products(metric, queries, rows, products, row_ids, distances, ids, sizes):
    """Merge a block of rows into each query's k best, measuring the rows that the products do not rule out.

    distances, ids (Q, k) are heaps with the worst on top, that is of (-distance, -id); sizes (Q,) says how full.

    Shapes   queries (Q, D), rows (N, D), products (Q, N) = queries rowsᵀ, row_ids (N,)
    """
    squares, longest = np.zeros(rows.shape[0], np.float32), np.float64(0.0)
    for n in range(rows.shape[0]):
        row_norm = norm(rows, n)
        longest = max(longest, row_norm)
        if metric == L2:
            squares[n] = np.float32(row_norm * row_norm)
    factor = np.float32(2.0 if metric == L2 else 1.0)
    for q in range(queries.shape[0]):
        q_norm = norm(queries, q)
        for first in range(0, rows.shape[0], GROUP):
            last = min(first + GROUP, rows.shape[0])
            full = sizes[q] == distances.shape[1]
            limit = score_limit(metric, -distances[q, 0], q_norm, longest, rows.shape[1])
            if full and not any_below(squares[first:last], products[q, first:last], factor, limit):
                continue
            for n in range(first, last):
                if sizes[q] == distances.shape[1]:
                    limit = score_limit(metric, -distances[q, 0], q_norm, longest, rows.shape[1])
                    if squares[n] - factor * products[q, n] > limit:
                        continue
                sizes[q] = offer(distances[q], ids[q], sizes[q], distance(metric, queries, q, rows, n), row_ids[n])


@inlined
def any_below(squares, products, factor, limit):
    """Whether any score squares[n] - factor products[n] is at most the limit."""
    below = np.uint32(0)
    for n in range(squares.shape[0]):
        below |= np.uint32(squares[n] - factor * products[n] <= limit)
    return below != np.uint32(0)


@inlined
def score_limit(metric, worst, q_norm, longest, dim):
    """The largest score of a row that may belong to the k best, rows of the block being at most `longest`."""
    unit = np.float64(2.0) ** -22
    if metric == L2:
        reach = q_norm + longest
        return np.float32(worst - q_norm * q_norm + unit * ((dim + 8) * reach * reach + 1e-31))
    return np.float32(worst - 1.0 + unit * ((dim + 8) * q_norm * longest + 1.0))


@kernel
def scan_rows(metric, queries, vectors, rows, row_ids, distances, ids, sizes):
    """The same for a few queries, without products: every row is measured, while it is in the cache.

    Shapes   queries (Q, D), vectors (·, D), rows (N,) positions in vectors and row_ids
    """
    for row in rows:
        for q in range(queries.shape[0]):
            d = distance(metric, queries, q, vectors, row)
            sizes[q] = offer(distances[q], ids[q], sizes[q], d, row_ids[row])


@inlined
def offer(distances, ids, size, d, row_id):
    """Put a pair on the heap of the k best, where it belongs there; returns the heap's size."""
    if size == distances.shape[0]:
        if not before(d, row_id, -distances[0], -ids[0]):
            return size
        size = pop(distances, ids, size)
    return push(distances, ids, size, -d, -row_id)


@kernel(fastmath=ANY_ORDER)
def norm(a, i):
    """Length of row i."""
    total = np.float64(0.0)
    for t in range(a.shape[1]):
        total += np.float64(a[i, t]) * np.float64(a[i, t])
    return np.sqrt(total)


@kernel
def sort_heaps(distances, ids, sizes):
    """Turn each query's heap of (-distance, -id) into its results, nearest first; unused places get inf and -1."""
    for q in range(distances.shape[0]):
        size, k = sizes[q], distances.shape[1]
        for place in range(size, k):
            distances[q, place], ids[q, place] = np.float32(np.inf), np.int64(-1)
        while size > 0:
            d, label = -distances[q, 0], -ids[q, 0]
            size = pop(distances[q], ids[q], size)
            distances[q, size], ids[q, size] = d, label


def scan(
    metric: int,
    queries: np.ndarray,
    vectors: np.ndarray,
    row_ids: np.ndarray,
    rows: np.ndarray,
    distances: np.ndarray,
    ids: np.ndarray,
    sizes: np.ndarray,
) -> None:
    """Merge some rows into the heaps of each query's k best: by products, or row by row for a few queries.

    Shapes   queries (Q, D), vectors (·, D), row_ids (·,), rows (N,) positions in both, ascending; heaps: scan_products
    """
    if len(queries) < FEW:
        scan_rows(metric, queries, vectors, rows, row_ids, distances, ids, sizes)
        return
    room = np.empty(len(queries) * BLOCK, np.float32)
    for first in range(0, len(rows), BLOCK):
        some = rows[first : first + BLOCK]
        neighbours = some[-1] - some[0] == len(some) - 1
        chosen = slice(some[0], some[-1] + 1) if neighbours else some  # of neighbours no copy
        block = vectors[chosen]
        products = room[: len(queries) * len(block)].reshape(-1, len(block))
        np.matmul(queries, block.T, out=products)
        scan_products(metric, queries, block, products, row_ids[chosen], distances, ids, sizes)


def exact_search(
    metric: int,
    queries: np.ndarray,
    vectors: np.ndarray,
    row_ids: np.ndarray,
    rows: np.ndarray,
    k: int,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of some rows to each query; inf and -1 where there are fewer.

    Shapes   queries (Q, D), vectors (·, D), row_ids (·,), rows (N,) positions in both, ascending
             → ids (Q, k) int64, distances (Q, k) float32
    """
    ids, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)

    def answer(start):
        part = slice(start, start + QUERIES)
        heaps = distances[part], ids[part], np.zeros(len(queries[part]), np.int64)
        scan(metric, queries[part], vectors, row_ids, rows, *heaps)
        sort_heaps(*heaps)

    run_threads(answer, range(0, len(queries), QUERIES), threads)
    return ids, distances
