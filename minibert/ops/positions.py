"""Where a token stands, as a vector that is not learned (Vaswani 2017, arXiv:1706.03762, section 3.5)."""

import numpy as np


def sinusoids(length: int, width: int) -> np.ndarray:
    """One row a position: sines and cosines of wavelengths from 2π to 10000 · 2π.

        y[t, 2i] = sin(t / 10000^(2i / D))          y[t, 2i + 1] = cos(t / 10000^(2i / D))

    For every shift k there is one matrix that turns y[t] into y[t + k], for all t: attention can learn "k tokens back".

    Shapes   → y (length, D), float64, exact to its rounding
    """
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    y = np.empty((length, width))
    y[:, 0::2] = np.sin(angles)
    y[:, 1::2] = np.cos(angles[:, : width // 2])
    return y
