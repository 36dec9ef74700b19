"""Scores of every query against every document."""

import numpy as np


def similarity(queries: np.ndarray, documents: np.ndarray):
    """Inner products of all pairs.

        S = Q Aᵀ,   S_ij = q_i · a_j

    Shapes   queries (B, D), documents (N, D) → S (B, N)
    """
    return queries @ documents.T, (queries, documents)


def similarity_backward(dscores: np.ndarray, cache):
    """Gradients of similarity: (dqueries, ddocuments)."""
    queries, documents = cache
    # forward: scores = queries @ documents.T
    return dscores @ documents, dscores.T @ queries
