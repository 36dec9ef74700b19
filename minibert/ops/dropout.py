"""Dropout (Srivastava 2014), scaled while training so that inference needs nothing."""

import numpy as np


def dropout(x: np.ndarray, rate: float, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Set a share of the numbers to 0 and scale the others up; without a generator (inference) the identity.

        y = x · m,   m = 0 with probability `rate`, else 1 / (1 − rate)

    Raises   ValueError: rate outside [0, 1)
    """
    if not 0 <= rate < 1:
        raise ValueError(f"expected a dropout rate in [0, 1), got {rate}")
    if rng is None or rate == 0:
        return x, None
    mask = (rng.random(x.shape, dtype=np.float32) >= rate) * x.dtype.type(1 / (1 - rate))
    return x * mask, mask


def dropout_backward(dy: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Gradient of dropout: dx, through the same mask."""
    # forward: y = x * mask
    return dy if mask is None else dy * mask
