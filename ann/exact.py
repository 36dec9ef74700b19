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


@kernel
def scan(metric, queries, rows, products, row_ids, distances, ids, sizes):
    """Merge a block of rows into each query's k best.

    distances, ids (Q, k) are heaps with the worst on top, that is of (-distance, -id); sizes (Q,) says how full.

    Shapes   queries (Q, D), rows (N, D), products (Q, N) = queries rowsᵀ, row_ids (N,)
    """
    unit = np.float64(2.0) ** -22
    row_norms = np.empty(rows.shape[0], np.float64)
    for n in range(rows.shape[0]):
        row_norms[n] = norm(rows, n)
    for q in range(queries.shape[0]):
        q_norm = norm(queries, q)
        size = sizes[q]
        for n in range(rows.shape[0]):
            if size == distances.shape[1]:
                if metric == L2:
                    reach = q_norm + row_norms[n]
                    bound = q_norm * q_norm + row_norms[n] * row_norms[n] - 2.0 * products[q, n]
                    bound -= unit * ((rows.shape[1] + 8) * reach * reach + 1e-31)
                else:
                    bound = 1.0 - products[q, n] - unit * ((rows.shape[1] + 8) * q_norm * row_norms[n] + 1.0)
                if bound > -distances[q, 0]:
                    continue
                d = distance(metric, queries, q, rows, n)
                if not before(d, row_ids[n], -distances[q, 0], -ids[q, 0]):
                    continue
                size = pop(distances[q], ids[q], size)
            else:
                d = distance(metric, queries, q, rows, n)
            size = push(distances[q], ids[q], size, -d, -row_ids[n])
        sizes[q] = size


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


def exact_search(metric, queries, rows, row_ids, k, threads=1):
    """The k nearest rows of each query.

    Shapes   queries (Q, D), rows (N, D), row_ids (N,) → ids (Q, k) int64, distances (Q, k) float32
    """
    ids, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)

    def answer(start):
        part = slice(start, start + QUERIES)
        sizes = np.zeros(len(queries[part]), np.int64)
        for first in range(0, len(rows), BLOCK):
            block = rows[first : first + BLOCK]
            products = queries[part] @ block.T
            scan(
                metric,
                queries[part],
                block,
                products,
                row_ids[first : first + BLOCK],
                distances[part],
                ids[part],
                sizes,
            )
        sort_heaps(distances[part], ids[part], sizes)

    run_threads(answer, range(0, len(queries), QUERIES), threads)
    return ids, distances
