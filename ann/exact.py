"""Exact search: every query against every row. The ground truth of the other indexes.

A matrix product is many times faster than comparing pairs, but ‖q‖² + ‖x‖² - 2 <q, x> cancels where q and x are near:
there its error is larger than the distance. So the product only gives a *lower bound*,

    bound(q, x) = distance by product - slack
    slack       = 2^-22 ((D + 8) (‖q‖ + ‖x‖)² + 1e-31)           l2
                = 2^-22 ((D + 8) ‖q‖ ‖x‖ + 1)                     ip, cosine

and a row whose bound is not above the k-th best distance so far is measured again, term by term (distance.py). Both the
product and the measurement are within (D + 4) 2^-24 (‖q‖ + ‖x‖)² of the true distance (ip: ‖q‖ ‖x‖), so twice that
would do; the slack is twice as wide again, and the constant covers underflow and the subtraction from 1. The
answer is therefore that of the plain double loop, bit for bit, whatever BLAS does; for N rows about k ln(N / k) a query
are measured twice.
"""

import numpy as np

from ._jit import kernel
from .distance import L2, distance
from .heap import before, pop, push
from .threads import run_threads

BLOCK = 2048  # rows a matrix product; with 128 queries the products take 1 MB, and stay in the second-level cache
QUERIES = 128
FEW = 8  # queries below which reading every row once is all there is to gain: no product then


@kernel
def scan_products(metric, queries, rows, products, row_ids, distances, ids, sizes):
    """Merge a block of rows into each query's k best, measuring the rows that the products do not rule out.

    distances, ids (Q, k) are heaps with the worst on top, that is of (-distance, -id); sizes (Q,) says how full.

    Shapes   queries (Q, D), rows (N, D), products (Q, N) = queries rowsᵀ, row_ids (N,)
    """
    unit = np.float64(2.0) ** -22
    row_norms = np.empty(rows.shape[0], np.float64)
    for n in range(rows.shape[0]):
        row_norms[n] = norm(rows, n)
    for q in range(queries.shape[0]):
        q_norm = norm(queries, q)
        for n in range(rows.shape[0]):
            if sizes[q] == distances.shape[1]:
                if metric == L2:
                    reach = q_norm + row_norms[n]
                    bound = q_norm * q_norm + row_norms[n] * row_norms[n] - 2.0 * products[q, n]
                    bound -= unit * ((rows.shape[1] + 8) * reach * reach + 1e-31)
                else:
                    bound = 1.0 - products[q, n] - unit * ((rows.shape[1] + 8) * q_norm * row_norms[n] + 1.0)
                if bound > -distances[q, 0]:
                    continue
            sizes[q] = offer(distances[q], ids[q], sizes[q], distance(metric, queries, q, rows, n), row_ids[n])


@kernel
def scan_rows(metric, queries, vectors, rows, row_ids, distances, ids, sizes):
    """The same for a few queries, without products: every row is measured, while it is in the cache.

    Shapes   queries (Q, D), vectors (·, D), rows (N,) positions in vectors and row_ids
    """
    for row in rows:
        for q in range(queries.shape[0]):
            d = distance(metric, queries, q, vectors, row)
            sizes[q] = offer(distances[q], ids[q], sizes[q], d, row_ids[row])


@kernel(forceinline=True)
def offer(distances, ids, size, d, row_id):
    """Put a pair on the heap of the k best, where it belongs there; returns the heap's size."""
    if size == distances.shape[0]:
        if not before(d, row_id, -distances[0], -ids[0]):
            return size
        size = pop(distances, ids, size)
    return push(distances, ids, size, -d, -row_id)


@kernel
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


def exact_search(metric, queries, vectors, row_ids, rows, k, threads=1):
    """The k nearest of some rows to each query; inf and -1 where there are fewer.

    Shapes   queries (Q, D), vectors (·, D), row_ids (·,), rows (N,) positions in both
             → ids (Q, k) int64, distances (Q, k) float32
    """
    ids, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)

    def answer(start):
        part = slice(start, start + QUERIES)
        out = distances[part], ids[part], np.zeros(len(queries[part]), np.int64)
        if len(queries) < FEW:
            scan_rows(metric, queries[part], vectors, rows, row_ids, *out)
        else:
            for first in range(0, len(rows), BLOCK):
                chosen = rows[first : first + BLOCK]
                block = vectors[chosen]
                scan_products(metric, queries[part], block, queries[part] @ block.T, row_ids[chosen], *out)
        sort_heaps(*out)

    run_threads(answer, range(0, len(queries), QUERIES), threads)
    return ids, distances
