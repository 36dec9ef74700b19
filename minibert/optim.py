"""Adam (Kingma & Ba 2014), AdamW, gradient clipping and the warm-up schedules, on one flat vector of parameters."""

from __future__ import annotations

import math

import numpy as np

from minibert._jit import kernel
from minibert.parameters import Parameters


class Adam:
    """Adam, Algorithm 1.

        m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²
        θ ← θ − α · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

    Source   arXiv:1412.6980
    Shapes   θ, g, m, v (P,); t counts the steps taken
    Raises   ValueError: a learning rate that is negative or not finite
    """

    def __init__(self, flat: np.ndarray, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
        self.m = np.zeros_like(flat)
        self.v = np.zeros_like(flat)
        self.t = 0
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def step(self, flat: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """One update of `flat`, in place."""
        if not 0 <= learning_rate < np.inf:
            raise ValueError(f"expected a learning rate of 0 or more, got {learning_rate}")
        self.t += 1
        real = flat.dtype.type
        rate = real(learning_rate / (1 - self.beta1**self.t))
        root = real((1 - self.beta2**self.t) ** -0.5)
        share1, share2, eps = real(1 - self.beta1), real(1 - self.beta2), real(self.eps)
        adam_update_fast(flat, gradient, self.m, self.v, rate, root, share1, share2, eps)


def adam_update(
    theta: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    rate: float,
    root: float,
    share1: float,
    share2: float,
    eps: float,
) -> None:
    """Adam's three lines, in place; rate = α / (1 − β₁ᵗ), root = 1 / √(1 − β₂ᵗ), share = 1 − β."""
    m += share1 * (g - m)
    v += share2 * (g * g - v)
    theta -= rate * m / (np.sqrt(v) * root + eps)


@kernel(error_model="numpy")  # without a check for division by zero, which stops vectorising
def adam_update_fast(theta, g, m, v, rate, root, share1, share2, eps):
    """`adam_update` in one pass over memory: 5 times as fast for 1 and for 8 million parameters."""
    for i in range(len(theta)):
        m[i] += share1 * (g[i] - m[i])
        v[i] += share2 * (g[i] * g[i] - v[i])
        theta[i] -= rate * m[i] / (np.sqrt(v[i]) * root + eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: before each step the matrices, and nothing else, shrink.

        θ ← θ − α λ θ,   then Adam's step

    Source   Loshchilov & Hutter 2017 (arXiv:1711.05101) Algorithm 2; what decays: `decays`
    Units    weight_decay λ ≥ 0, taken times the learning rate as in PyTorch; with 0 it is Adam, bit for bit
    Raises   ValueError: a weight decay that is negative or not finite
    """

    def __init__(self, parameters: Parameters, weight_decay: float = 0.01, **options: float):
        if not 0 <= weight_decay < np.inf:
            raise ValueError(f"expected a weight decay of 0 or more, got {weight_decay}")
        super().__init__(parameters.flat, **options)
        self.weight_decay = weight_decay
        self.decayed, end = [], 0
        for name, array in parameters.items():
            start, end = end, end + array.size
            if decays(name):
                self.decayed.append(slice(start, end))

    def step(self, flat: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """One update of `flat`, in place."""
        if self.weight_decay:
            for part in self.decayed:
                flat[part] *= flat.dtype.type(1 - learning_rate * self.weight_decay)
        super().step(flat, gradient, learning_rate)


def decays(name: str) -> bool:
    """Whether a parameter of this name decays: all but biases and the gains of norms (Devlin 2018, appendix A.2)."""
    return "bias" not in name and "norm." not in name.lower()


def clip_by_norm(gradient: np.ndarray, limit: float) -> float:
    """Scale the whole gradient down, in place, where its norm passes the limit; returns the norm before.

        g ← g · min(1, limit / ‖g‖)          Pascanu 2013 (arXiv:1211.5063) Algorithm 1

    Raises   ValueError: limit ≤ 0; FloatingPointError: a norm that is not finite
    """
    if not limit > 0:
        raise ValueError(f"expected a clipping norm above 0, got {limit}")
    norm = float(np.sqrt(np.dot(gradient, gradient)))
    if not np.isfinite(norm):
        raise FloatingPointError(f"the gradient's norm is {norm}")
    if norm > limit:
        gradient *= gradient.dtype.type(limit / norm)
    return norm


def warmup_inverse_sqrt(step: int, warmup: int, total: int | None = None) -> float:
    """Share of the peak learning rate at a step: up in a line over `warmup` steps, then down as 1 / √step.

        min(t / warmup, √(warmup / t)),   t = step + 1

    Source   Vaswani 2017 (arXiv:1706.03762) eq. 3, whose rate is this times a peak of (D · warmup)^−½
    Units    step counts from 0; warmup below 1 counts as 1; how long training lasts makes no difference
    """
    warmup = max(1, warmup)
    return min((step + 1) / warmup, (warmup / (step + 1)) ** 0.5)


def warmup_constant(step: int, warmup: int, total: int | None = None) -> float:
    """Share of the peak learning rate at a step: up in a line over `warmup` steps, then all of it."""
    return min(1.0, (step + 1) / max(1, warmup))


def warmup_linear(step: int, warmup: int, total: int) -> float:
    """Share of the peak learning rate at a step: up in a line over `warmup` steps, then down in a line to 0 at `total`.

    Source   Devlin 2018, appendix A.2
    Units    step counts from 0; the first step takes 1 / warmup of the peak

    >>> [warmup_linear(step, warmup=2, total=6) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Share of the peak learning rate at a step: up in a line over `warmup` steps, then half a cosine to 0 at `total`.

        ½ (1 + cos(π (step − warmup) / (total − warmup)))

    Source   Loshchilov & Hutter 2016 (SGDR, arXiv:1608.03983) eq. 5, without restarts
    Units    as warmup_linear
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


SCHEDULES = {
    "linear": warmup_linear,
    "cosine": warmup_cosine,
    "inverse_sqrt": warmup_inverse_sqrt,
    "constant": warmup_constant,
}
