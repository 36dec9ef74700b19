"""Losses of sentence encoders, over the vectors of two or three texts that belong together."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibert.ops import (
    cross_entropy,
    cross_entropy_backward,
    linear,
    linear_backward,
    row_cosines,
    row_cosines_backward,
)


def softmax_nli(
    u: np.ndarray, v: np.ndarray, weight: np.ndarray, bias: np.ndarray, labels: np.ndarray
) -> tuple[float, Any]:
    """Which of C relations two sentences have, from their vectors and how far they are apart.

        o = W (u, v, |u − v|) + b,   loss = −mean_i log softmax(o_i)[label_i]

    Source   Reimers & Gurevych 2019 (SBERT, arXiv:1908.10084) section 3, classification objective
    Shapes   u (B, D), v (B, D), weight W (C, 3D), bias b (C,), labels (B,) in 0 … C − 1 → loss ()
    Raises   ValueError: shapes that do not fit, or a label outside 0 … C − 1, with its row
    Differs  a bias, as in sentence-transformers; the paper's formula has none
    """
    _check_rows(u, v)
    if weight.shape[1] != 3 * u.shape[1] or len(labels) != len(u):
        raise ValueError(
            f"expected weights (C, {3 * u.shape[1]}) and {len(u)} labels, got {weight.shape} and {len(labels)}"
        )
    scores, linear_cache = linear(np.concatenate((u, v, np.abs(u - v)), axis=1), weight, bias)
    loss, loss_cache = cross_entropy(scores, labels)
    return loss, (np.sign(u - v), linear_cache, loss_cache)


def softmax_nli_backward(dloss: float, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of softmax_nli: (du, dv, dweight, dbias)."""
    sign, linear_cache, loss_cache = cache
    # forward: loss = cross_entropy(linear((u, v, |u − v|)))
    dfeatures, dweight, dbias = linear_backward(cross_entropy_backward(dloss, loss_cache), linear_cache)
    du, dv, dapart = np.split(dfeatures, 3, axis=1)
    # forward: apart = |u − v|, whose slope is 0 where it is 0
    return du + sign * dapart, dv - sign * dapart, dweight, dbias


def cosine_mse(u: np.ndarray, v: np.ndarray, labels: np.ndarray) -> tuple[float, Any]:
    """The cosine of two sentences to the similarity that people gave them.

        loss = mean_i (cos(u_i, v_i) − y_i)²

    Source   Reimers & Gurevych 2019, section 3, regression objective
    Shapes   u (B, D), v (B, D), labels y (B,) → loss ()
    Units    labels in −1 … 1: scores of 0 … 5 divided by 5
    Raises   ValueError: other shapes, or a label outside −1 … 1, with its row
    """
    labels = np.asarray(labels)
    outside = np.flatnonzero(np.abs(labels) > 1)
    if len(outside):
        raise ValueError(f"expected labels in −1 … 1, as cosines are, got {labels[outside[0]]} in row {outside[0]}")
    cosines, cache = row_cosines(u, v)
    if labels.shape != cosines.shape:
        raise ValueError(f"expected {len(cosines)} labels, got labels of shape {labels.shape}")
    error = cosines - labels.astype(cosines.dtype)
    return np.mean(error**2), (error, cache)


def cosine_mse_backward(dloss: float, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of cosine_mse: (du, dv)."""
    error, cache = cache
    # forward: loss = mean of error²
    return row_cosines_backward(error * error.dtype.type(2 * dloss / len(error)), cache)


def cosent(u: np.ndarray, v: np.ndarray, labels: np.ndarray, scale: float = 20.0) -> tuple[float, Any]:
    """Only the order of the similarities counts: the pair labelled more alike is to have the greater cosine.

        loss = log (1 + Σ_{y_i > y_j} exp(λ (c_j − c_i))),   c = cos(u, v)

    Source   Su 2022, CoSENT (kexue.fm/archives/8847); also the order loss of sentence-transformers
    Shapes   u (B, D), v (B, D), labels y (B,), of any unit → loss (), 0 where all labels are equal
    Units    scale λ > 0: 1 / temperature
    Raises   ValueError: other shapes, or λ ≤ 0
    """
    if not scale > 0:
        raise ValueError(f"expected a scale above 0, got {scale}")
    cosines, cache = row_cosines(u, v)
    labels = np.asarray(labels)
    if labels.shape != cosines.shape:
        raise ValueError(f"expected {len(cosines)} labels, got labels of shape {labels.shape}")
    powers = cosines.dtype.type(scale) * (cosines - cosines[:, None])  # [i, j] = λ (c_j − c_i)
    powers = np.where(labels[:, None] > labels, powers, cosines.dtype.type(-np.inf))
    top = np.maximum(powers.max(initial=0), 0)
    shares = np.exp(powers - top)
    total = np.exp(-top) + shares.sum()
    return top + np.log(total), (shares / total, scale, cache)


def cosent_backward(dloss: float, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of cosent: (du, dv)."""
    shares, scale, cache = cache
    # forward: loss = log (1 + Σ exp(powers)),   powers[i, j] = λ (c_j − c_i)
    dcosines = shares.dtype.type(dloss * scale) * (shares.sum(axis=0) - shares.sum(axis=1))
    return row_cosines_backward(dcosines, cache)


def triplet(
    anchors: np.ndarray, positives: np.ndarray, negatives: np.ndarray, margin: float = 1.0, distance: str = "euclidean"
) -> tuple[float, Any]:
    """The positive nearer to the anchor than the negative, by a margin.

        loss = mean_i max(0, d(a_i, p_i) − d(a_i, n_i) + ε)

    Source   Reimers & Gurevych 2019, section 3, triplet objective, with ε = 1 and Euclidean distance; Schroff 2015
    Shapes   anchors a, positives p, negatives n (B, D) → loss ()
    Units    margin ε ≥ 0, in the unit of the distance: "euclidean", or "cosine", 1 − cos, in 0 … 2
    Raises   ValueError: other shapes than each other, an unknown distance, or a margin below 0

    >>> float(triplet(np.zeros((1, 2)), np.array([[3.0, 4.0]]), np.array([[0.0, 5.5]]), margin=1.0)[0])
    0.5
    """
    if distance not in DISTANCES:
        raise ValueError(f"expected a distance of {', '.join(DISTANCES)}, got {distance!r}")
    if not margin >= 0:
        raise ValueError(f"expected a margin of 0 or more, got {margin}")
    forward, _ = DISTANCES[distance]
    near, near_cache = forward(anchors, positives)
    far, far_cache = forward(anchors, negatives)
    over = np.maximum(0, near - far + near.dtype.type(margin))
    return over.mean(), (over, near_cache, far_cache, distance)


def triplet_backward(dloss: float, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of triplet: (danchors, dpositives, dnegatives); rows that keep the margin get 0."""
    over, near_cache, far_cache, distance = cache
    _, backward = DISTANCES[distance]
    # forward: loss = mean of max(0, near − far + ε)
    dover = (over > 0) * over.dtype.type(dloss / len(over))
    danchors, dpositives = backward(dover, near_cache)
    dfar, dnegatives = backward(-dover, far_cache)
    return danchors + dfar, dpositives, dnegatives


def _euclidean(u: np.ndarray, v: np.ndarray):
    """Distances of rows: ‖u_i − v_i‖."""
    _check_rows(u, v)
    apart = u - v
    distances = np.sqrt((apart * apart).sum(axis=1))
    return distances, (apart, distances)


def _euclidean_backward(dy: np.ndarray, cache):
    apart, distances = cache
    # forward: y = ‖apart‖, whose slope is taken as 0 where it is 0
    slope = np.divide(dy, distances, out=np.zeros_like(dy), where=distances > 0)
    du = slope[:, None] * apart
    return du, -du


def _cosine_distance(u: np.ndarray, v: np.ndarray):
    cosines, cache = row_cosines(u, v)
    return 1 - cosines, cache


DISTANCES = {
    "euclidean": (_euclidean, _euclidean_backward),
    "cosine": (_cosine_distance, lambda dy, cache: row_cosines_backward(-dy, cache)),
}


def _check_rows(u: np.ndarray, v: np.ndarray) -> None:
    if u.shape != v.shape:
        raise ValueError(f"expected as many rows, as wide, on both sides, got {u.shape} and {v.shape}")
