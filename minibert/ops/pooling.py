"""From the vectors of all tokens to one vector per sequence."""

import numpy as np

from minibert.ragged import Ragged


def cls_pooling(x: np.ndarray, batch: Ragged):
    """The vector of the first token, [CLS], stands for its sequence (Devlin 2018, section 3).

    Shapes   x (T, D) → y (B, D)
    """
    return x[batch.starts[:-1]], (x.shape, batch)


def cls_pooling_backward(dy: np.ndarray, cache) -> np.ndarray:
    """Gradient of cls_pooling: dx, zero but for the first rows."""
    shape, batch = cache
    dx = np.zeros(shape, dy.dtype)
    # forward: y = x[first rows]
    dx[batch.starts[:-1]] = dy
    return dx


def mean_pooling(x: np.ndarray, batch: Ragged):
    """The mean of all token vectors, special tokens included (Reimers & Gurevych 2019, section 3).

    Shapes   x (T, D) → y (B, D)
    """
    sums = np.add.reduceat(x, batch.starts[:-1], axis=0)
    return sums / batch.lengths[:, None].astype(x.dtype), batch


def mean_pooling_backward(dy: np.ndarray, batch: Ragged) -> np.ndarray:
    """Gradient of mean_pooling: dx, an equal share for every row of the sequence."""
    # forward: y = sum of rows / length
    return np.repeat(dy / batch.lengths[:, None].astype(dy.dtype), batch.lengths, axis=0)
