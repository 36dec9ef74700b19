"""Relative positions as a bias on attention scores (Raffel 2020, T5, arXiv:1910.10683, section 2.1)."""

from typing import Any

import numpy as np

from minibert.ops.embedding import embedding, embedding_backward


def relative_bias(table: np.ndarray, longest: int, farthest: int) -> tuple[np.ndarray, Any]:
    """What each head adds to the score of token i for token j, by their distance j − i.

        y[j − i + longest − 1] = table[bucket(j − i)]

    Shapes   table (buckets, H) → y (2 · longest − 1, H), for sequences of up to `longest` tokens
    Units    farthest: from this distance on all tokens share one bucket on each side
    """
    distances = np.arange(1 - longest, longest)
    return embedding(relative_buckets(distances, len(table), farthest), table)


relative_bias_backward = embedding_backward


def relative_buckets(distances: np.ndarray, buckets: int, farthest: int) -> np.ndarray:
    """The bucket of each distance: half of them for tokens behind, half for tokens ahead.

    Of each half, the first half holds one distance a bucket, the rest grows by a constant factor up to `farthest`.
    Source   Raffel 2020; the rounding, in float32, is that of the authors' code
    """
    half = buckets // 2
    exact = half // 2
    away = np.abs(distances)
    grown = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact))
    grown = grown / np.float32(np.log(farthest / exact)) * np.float32(half - exact)
    far = np.minimum(exact + grown.astype(np.int64), half - 1)
    return np.where(away < exact, away, far) + np.where(distances > 0, half, 0)


def spread(bias: np.ndarray, length: int) -> np.ndarray:
    """The bias of every pair of tokens of one sequence: (2 · longest − 1, H) → (H, length, length)."""
    return bias[_places(bias, length)].transpose(2, 0, 1)


def spread_backward(dpairs: np.ndarray, dbias: np.ndarray) -> None:
    """Gradient of spread, added to dbias: pairs of one distance share a row."""
    # forward: pairs = bias[j - i + longest - 1]
    np.add.at(dbias, _places(dbias, dpairs.shape[-1]), dpairs.transpose(1, 2, 0))


def _places(bias: np.ndarray, length: int) -> np.ndarray:
    at = np.arange(length)
    return at[None, :] - at[:, None] + (len(bias) - 1) // 2
