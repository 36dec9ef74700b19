"""From the vectors of all tokens to one vector per sequence: the six ways of sentence-transformers."""

from typing import Any

import numpy as np

from minibert.ragged import Ragged


def cls_pooling(x: np.ndarray, batch: Ragged) -> tuple[np.ndarray, Any]:
    """The vector of the first token, [CLS], stands for its sequence (Devlin 2018, section 3).

    Shapes   x (T, D) → y (B, D)
    """
    return x[batch.starts[:-1]], (x.shape, batch)


def cls_pooling_backward(dy: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of cls_pooling: dx, zero but for the first rows."""
    shape, batch = cache
    dx = np.zeros(shape, dy.dtype)
    # forward: y = x[first rows]
    dx[batch.starts[:-1]] = dy
    return dx


def mean_pooling(x: np.ndarray, batch: Ragged) -> tuple[np.ndarray, Any]:
    """The mean of all token vectors, special tokens included (Reimers & Gurevych 2019, section 3).

    Shapes   x (T, D) → y (B, D)

    >>> mean_pooling(np.array([[1.0], [3.0], [5.0]]), Ragged.from_sequences([[7, 8], [9]]))[0]
    array([[2.],
           [5.]])
    """
    sums = np.add.reduceat(x, batch.starts[:-1], axis=0)
    return sums / batch.lengths[:, None].astype(x.dtype), batch


def mean_pooling_backward(dy: np.ndarray, batch: Ragged) -> np.ndarray:
    """Gradient of mean_pooling: dx, an equal share for every row of the sequence."""
    # forward: y = sum of rows / length
    return np.repeat(dy / batch.lengths[:, None].astype(dy.dtype), batch.lengths, axis=0)


def sqrt_mean_pooling(x: np.ndarray, batch: Ragged) -> tuple[np.ndarray, Any]:
    """The sum of all token vectors over the square root of their count, as in Cer 2018 (USE, arXiv:1803.11175).

    Shapes   x (T, D) → y (B, D)
    """
    sums = np.add.reduceat(x, batch.starts[:-1], axis=0)
    return sums / np.sqrt(batch.lengths[:, None]).astype(x.dtype), batch


def sqrt_mean_pooling_backward(dy: np.ndarray, batch: Ragged) -> np.ndarray:
    """Gradient of sqrt_mean_pooling: dx."""
    # forward: y = sum of rows / √length
    return np.repeat(dy / np.sqrt(batch.lengths[:, None]).astype(dy.dtype), batch.lengths, axis=0)


def weighted_mean_pooling(x: np.ndarray, batch: Ragged, skipped: int = 0) -> tuple[np.ndarray, Any]:
    """The mean weighted by position, later tokens more (Muennighoff 2022, SGPT, arXiv:2202.08904, eq. 1).

        y = Σ_t t x_t / Σ_t t,   t from 1 + skipped

    Shapes   x (T, D) → y (B, D)
    Units    skipped: tokens of every sequence that stood before these and are left out
    """
    weights = (batch.positions + 1 + skipped).astype(x.dtype)
    weights /= np.repeat(np.add.reduceat(weights, batch.starts[:-1]), batch.lengths)
    return np.add.reduceat(x * weights[:, None], batch.starts[:-1], axis=0), (weights, batch)


def weighted_mean_pooling_backward(dy: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of weighted_mean_pooling: dx."""
    weights, batch = cache
    # forward: y = sum of weights · rows
    return np.repeat(dy, batch.lengths, axis=0) * weights[:, None]


def max_pooling(x: np.ndarray, batch: Ragged) -> tuple[np.ndarray, Any]:
    """The largest value of each column (Reimers & Gurevych 2019, section 3).

    Shapes   x (T, D) → y (B, D)
    """
    y = np.maximum.reduceat(x, batch.starts[:-1], axis=0)
    return y, (x, y, batch)


def max_pooling_backward(dy: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of max_pooling: dx, all of it for the first of equal values."""
    x, y, batch = cache
    # forward: y = the largest of each column
    reaches = x == np.repeat(y, batch.lengths, axis=0)
    before = np.cumsum(reaches, axis=0) - reaches  # how many stood above, in earlier sequences too
    first = reaches & (before == np.repeat(before[batch.starts[:-1]], batch.lengths, axis=0))
    return np.repeat(dy, batch.lengths, axis=0) * first


def last_pooling(x: np.ndarray, batch: Ragged) -> tuple[np.ndarray, Any]:
    """The vector of the last token, which has seen all others in a causal model.

    Shapes   x (T, D) → y (B, D)
    """
    return x[batch.starts[1:] - 1], (x.shape, batch)


def last_pooling_backward(dy: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of last_pooling: dx, zero but for the last rows."""
    shape, batch = cache
    dx = np.zeros(shape, dy.dtype)
    # forward: y = x[last rows]
    dx[batch.starts[1:] - 1] = dy
    return dx
