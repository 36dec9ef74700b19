"""Late interaction: the score of a query and a document, each given by the vectors of its tokens."""

from itertools import pairwise
from typing import Any

import numpy as np

from minibert._jit import kernel
from minibert.ragged import TokenVectors


def max_sim(queries: TokenVectors, documents: TokenVectors) -> tuple[np.ndarray, Any]:
    """Every token of the query takes the token of the document that is most like it; their products add up.

        S_ij = Σ_{q in query i} max_{d in document j} q · d

    Source   Khattab & Zaharia 2020 (ColBERT, arXiv:2004.12832) eq. 3
    Shapes   B queries, N documents → S (B, N)
    """
    products = queries.rows @ documents.rows.T
    best, matches = segment_max_fast(products, documents.starts)
    scores = np.add.reduceat(best, queries.starts[:-1], axis=0) if len(queries) else best
    return scores, (queries, documents, matches)


def max_sim_backward(dscores: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of max_sim, of the rows: (dqueries, ddocuments)."""
    queries, documents, matches = cache
    # forward: scores = sum of best over each query's tokens
    dbest = np.repeat(dscores, np.diff(queries.starts), axis=0)
    # forward: best[t, j] = queries[t] · documents[matches[t, j]]; what was not the best has no gradient
    return match_slope_fast(dbest, matches, queries.rows, documents.rows)


def segment_max(products: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each row's numbers within each segment of columns, and its column: the first of equal ones.

    Shapes   products (T, S), starts (N + 1,) → best (T, N), matches (T, N)
    """
    matches = np.empty((len(products), len(starts) - 1), np.int64)
    for j, (first, last) in enumerate(pairwise(starts)):
        matches[:, j] = first + products[:, first:last].argmax(axis=1)
    return np.take_along_axis(products, matches, axis=1), matches


@kernel
def segment_max_fast(products, starts):
    """`segment_max` in one pass over memory."""
    rows, segments = len(products), len(starts) - 1
    best, matches = np.empty((rows, segments), products.dtype), np.empty((rows, segments), np.int64)
    for t in range(rows):
        for j in range(segments):
            top, match = products[t, starts[j]], starts[j]
            for s in range(starts[j] + 1, starts[j + 1]):
                if products[t, s] > top:
                    top, match = products[t, s], s
            best[t, j], matches[t, j] = top, match
    return best, matches


def match_slope(
    dbest: np.ndarray, matches: np.ndarray, queries: np.ndarray, documents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of queries and documents whose products at the matches have the gradient dbest."""
    dproducts = np.zeros((len(queries), len(documents)), dbest.dtype)
    np.put_along_axis(dproducts, matches, dbest, axis=1)
    return dproducts @ documents, dproducts.T @ queries


@kernel
def match_slope_fast(dbest, matches, queries, documents):
    """`match_slope` of the matches alone."""
    dqueries, ddocuments = np.zeros_like(queries), np.zeros_like(documents)
    for t in range(len(matches)):
        for j in range(matches.shape[1]):
            s, slope = matches[t, j], dbest[t, j]
            for d in range(queries.shape[1]):
                dqueries[t, d] += slope * documents[s, d]
                ddocuments[s, d] += slope * queries[t, d]
    return dqueries, ddocuments
