"""Vectors whose first numbers are vectors by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minibert.ops import l2_normalize, l2_normalize_backward


def matryoshka(
    loss: Callable, vectors: Sequence[np.ndarray], dims: Sequence[int], weights: Sequence[float] | None = None
) -> tuple[float, Any]:
    """Any loss over vectors, summed over truncations of them to several widths, each made unit vectors again.

        total = Σ_k w_k loss(normalize(x[:, :d_k]) for x in vectors)

    Source   Kusupati 2022 (Matryoshka representation learning, arXiv:2205.13147)
    Shapes   loss(*vectors) → (loss, cache); vectors: arrays (B, D); dims d_k in 1 … D; weights w_k, by default 1 → ()
    Raises   ValueError: no dims, one outside 1 … D, or another number of weights
    """
    width = vectors[0].shape[1]
    weights = [1.0] * len(dims) if weights is None else weights
    if not dims or len(weights) != len(dims) or not all(1 <= dim <= width for dim in dims):
        raise ValueError(f"expected dims in 1 … {width} and a weight for each, got {dims} and {weights}")
    total, caches = 0.0, []
    for dim, weight in zip(dims, weights, strict=True):
        short, norm_caches = zip(*(l2_normalize(x[:, :dim]) for x in vectors), strict=True)
        value, cache = loss(*short)
        total = total + weight * value
        caches.append((dim, weight, norm_caches, cache))
    return total, (caches, [x.shape for x in vectors])


def matryoshka_backward(dtotal: float, cache: Any, loss_backward: Callable) -> list[np.ndarray]:
    """Gradients of matryoshka, one for each of the vectors; loss_backward(dloss, cache) is that of the loss."""
    caches, shapes = cache
    gradients: list[np.ndarray] = []
    for dim, weight, norm_caches, loss_cache in caches:
        # forward: total = Σ weight · loss(normalize(x[:, :dim]))
        dshort = loss_backward(dtotal * weight, loss_cache)
        gradients = gradients or [np.zeros(shape, d.dtype) for shape, d in zip(shapes, dshort, strict=True)]
        for gradient, d, norm_cache in zip(gradients, dshort, norm_caches, strict=True):
            gradient[:, :dim] += l2_normalize_backward(d, norm_cache)
    return gradients
