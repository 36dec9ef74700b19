"""Scores of every query against every document, and cosines of rows that belong together."""

from typing import Any

import numpy as np

from minibert.ops.l2_norm import l2_normalize, l2_normalize_backward


def similarity(queries: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, Any]:
    """Inner products of all pairs.

        S = Q Aᵀ,   S_ij = q_i · a_j

    Shapes   queries (B, D), documents (N, D) → S (B, N)
    """
    return queries @ documents.T, (queries, documents)


def similarity_backward(dscores: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of similarity: (dqueries, ddocuments)."""
    queries, documents = cache
    # forward: scores = queries @ documents.T
    return dscores @ documents, dscores.T @ queries


def row_cosines(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, Any]:
    """Cosines of the rows that stand at the same place; 0 for a zero row.

        y_i = u_i · v_i / (‖u_i‖ ‖v_i‖)

    Shapes   u (B, D), v (B, D) → y (B,)
    Raises   ValueError: other shapes than each other
    """
    if u.shape != v.shape:
        raise ValueError(f"expected as many rows, as wide, on both sides, got {u.shape} and {v.shape}")
    unit_u, u_cache = l2_normalize(u)
    unit_v, v_cache = l2_normalize(v)
    return (unit_u * unit_v).sum(axis=1), (unit_u, unit_v, u_cache, v_cache)


def row_cosines_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of row_cosines: (du, dv)."""
    unit_u, unit_v, u_cache, v_cache = cache
    # forward: y = sum of unit_u * unit_v
    du = l2_normalize_backward(dy[:, None] * unit_v, u_cache)
    dv = l2_normalize_backward(dy[:, None] * unit_u, v_cache)
    return du, dv
