"""Losses that teach a model the scores of another, usually of a cross-encoder."""

from __future__ import annotations

from typing import Any

import numpy as np


def margin_mse(scores: np.ndarray, teacher: np.ndarray) -> tuple[float, Any]:
    """The student's margin between positive and negative to the teacher's; levels may differ, units may not.

        loss = mean_ij ((s_i0 − s_ij) − (t_i0 − t_ij))²,   j ≥ 1

    Source   Hofstätter 2020 (arXiv:2010.02666), with any number of negatives
    Shapes   scores s (B, 1 + negatives), teacher t likewise: the positive's in column 0 → loss ()
    Raises   ValueError: other shapes than each other, or no negative
    """
    _check_scores(scores, teacher)
    error = scores[:, :1] - scores[:, 1:] - (teacher[:, :1] - teacher[:, 1:]).astype(scores.dtype)
    return np.mean(error**2), error


def margin_mse_backward(dloss: float, error: np.ndarray) -> np.ndarray:
    """Gradient of margin_mse: dscores."""
    # forward: loss = mean of error²,   error = s_i0 − s_ij − teacher's
    derror = error * error.dtype.type(2 * dloss / error.size)
    return np.concatenate((derror.sum(axis=1, keepdims=True), -derror), axis=1)


def kl_distillation(scores: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> tuple[float, Any]:
    """The student's distribution over the candidates of a query to the teacher's.

        loss = T² mean_i Σ_j p_ij (log p_ij − log q_ij),   p = softmax(t / T),   q = softmax(s / T)

    Source   Hinton 2015 (arXiv:1503.02531) section 2, whose T² keeps the gradient's size; Wang 2022 (E5,
             arXiv:2212.03533) with T = 1
    Shapes   scores s (B, N), teacher t (B, N) → loss ()
    Units    temperature T > 0, for both sides
    Raises   ValueError: other shapes than each other, a single candidate, or T ≤ 0
    """
    _check_scores(scores, teacher)
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    heat = scores.dtype.type(temperature)
    log_p, log_q = (_log_softmax(rows / heat) for rows in (teacher.astype(scores.dtype), scores))
    p = np.exp(log_p)
    # where p is 0 its term is 0, also against −∞ − log q
    terms = np.where(p > 0, p * (log_p - log_q), 0)
    return heat**2 * terms.sum() / len(scores), (p, log_q, heat)


def kl_distillation_backward(dloss: float, cache: Any) -> np.ndarray:
    """Gradient of kl_distillation: dscores = T (q − p) / B."""
    p, log_q, heat = cache
    # forward: loss = −T² mean_i Σ_j p_ij log softmax(s_i / T)_j + constant
    return (np.exp(log_q) - p) * (heat * heat.dtype.type(dloss / len(p)))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _check_scores(scores: np.ndarray, teacher: np.ndarray) -> None:
    if scores.shape != teacher.shape or scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"expected scores (B, N) of at least 2 candidates, and as many of the teacher, got {scores.shape} and "
            f"{teacher.shape}"
        )
