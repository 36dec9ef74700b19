"""What a sentence encoder computes: encoder → pooling → dense layers and normalisation, and all of it backwards.

Source   Reimers & Gurevych 2019 (SBERT, arXiv:1908.10084), section 3; the modules are those of sentence-transformers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.blocks import linear_shapes
from minibert.encoder import EncoderConfig, check_sizes, encoder, encoder_backward
from minibert.inference import Buffers, infer
from minibert.ops import (
    cls_pooling,
    cls_pooling_backward,
    gelu,
    gelu_backward,
    l2_normalize,
    l2_normalize_backward,
    last_pooling,
    last_pooling_backward,
    linear,
    linear_backward,
    max_pooling,
    max_pooling_backward,
    mean_pooling,
    mean_pooling_backward,
    relu,
    relu_backward,
    sqrt_mean_pooling,
    sqrt_mean_pooling_backward,
    tanh,
    tanh_backward,
    weighted_mean_pooling,
    weighted_mean_pooling_backward,
)
from minibert.parameters import Parameters
from minibert.ragged import Ragged

POOLINGS = {
    "cls": (cls_pooling, cls_pooling_backward),
    "max": (max_pooling, max_pooling_backward),
    "mean": (mean_pooling, mean_pooling_backward),
    "mean_sqrt_len_tokens": (sqrt_mean_pooling, sqrt_mean_pooling_backward),
    "weightedmean": (weighted_mean_pooling, weighted_mean_pooling_backward),
    "lasttoken": (last_pooling, last_pooling_backward),
}
DENSE_ACTIVATIONS = {
    "identity": (lambda x: (x, None), lambda dy, _: dy),
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
    "gelu": (gelu, gelu_backward),
}
METRICS = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


@dataclass(frozen=True)
class Dense:
    """A module of sentence-transformers: y = activation(W x + b)."""

    width: int
    bias: bool = True
    activation: str = "tanh"


@dataclass(frozen=True)
class Normalize:
    """A module of sentence-transformers: unit vectors."""


@dataclass(frozen=True)
class SentenceEncoderConfig(EncoderConfig):
    """An encoder's configuration, and what becomes of its token vectors.

    Units    max_length: longest text in tokens, specials included; pooling: one or more of POOLINGS, side by side;
             include_prompt: whether a prompt's tokens are pooled too; head: modules after pooling, in order; prompts:
             name → what is put before a text; similarity: how vectors are meant to be compared; truncate_dim: how many
             of their first numbers are kept (Kusupati 2022, Matryoshka, arXiv:2205.13147), None for all
    Raises   ValueError: also for max_length beyond the positions, an unknown pooling, activation or similarity, or a
             truncate_dim outside 1 … the width
    """

    max_length: int = 64
    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    head: tuple[Dense | Normalize, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    similarity: str = "cosine"
    truncate_dim: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_sizes(self, 1, "max_length")
        if self.positions and self.max_length > self.positions:
            raise ValueError(f"expected a max_length of at most {self.positions} positions, got {self.max_length}")
        activations = [module.activation for module in self.head if isinstance(module, Dense)]
        for name, values, known in (
            ("pooling", self.pooling, POOLINGS),
            ("activation of a dense module", activations, DENSE_ACTIVATIONS),
            ("similarity", [self.similarity], METRICS),
            ("default_prompt", [self.default_prompt or ""], {"", *self.prompts}),
        ):
            if unknown := [value for value in values if value not in known]:
                raise ValueError(f"expected {name} of {', '.join(known)}, got {unknown[0]!r}")
        if not self.pooling:
            raise ValueError("expected at least one pooling, got none")
        if self.truncate_dim is not None and not 1 <= self.truncate_dim <= self.full_dim:
            raise ValueError(f"expected a truncate_dim in 1 … {self.full_dim}, got {self.truncate_dim}")

    @property
    def full_dim(self) -> int:
        """Width of the vectors before truncation."""
        widths = [module.width for module in self.head if isinstance(module, Dense)]
        return widths[-1] if widths else len(self.pooling) * self.width

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter: the encoder's, and those of module i as {i}_Dense.linear.…, counted as in modules.json."""
        shapes, width = super().shapes, len(self.pooling) * self.width
        for name, module in self.dense_modules():
            layer = linear_shapes(f"{name}.linear", module.width, width)
            shapes |= {key: shape for key, shape in layer.items() if module.bias or key.endswith("weight")}
            width = module.width
        return shapes

    def dense_modules(self) -> list[tuple[str, Dense]]:
        """The dense modules with their folders' names; encoder and pooling are modules 0 and 1."""
        return [(f"{i}_Dense", module) for i, module in enumerate(self.head, 2) if isinstance(module, Dense)]


def sentence_vectors(
    p: Parameters,
    config: SentenceEncoderConfig,
    batch: Ragged,
    rng: np.random.Generator | None = None,
    skipped: int = 0,
) -> tuple[np.ndarray, Any]:
    """One vector per sequence, before truncation.

    Shapes   batch of B sequences → vectors (B, full_dim), in the batch's order
    Units    skipped: tokens at the start of every sequence that are not pooled
    """
    batch, back = batch.by_length()
    x, encoder_cache = encoder(p, config, batch, rng)
    x, pool_cache = pool(x, config, batch, skipped)
    x, head_caches = head(x, p, config)
    return x[back], (encoder_cache, pool_cache, head_caches, back)


def infer_sentences(
    p: Parameters, config: SentenceEncoderConfig, batch: Ragged, buffers: Buffers, skipped: int = 0
) -> np.ndarray:
    """`sentence_vectors` when nothing is learned, of a batch sorted by length, without a cache."""
    only_cls = config.pooling == ("cls",) and not skipped
    x = infer(p, config, batch, buffers, rows=batch.starts[:-1] if only_cls else None)
    if not only_cls:
        x, _ = pool(x, config, batch, skipped)
    padded = np.zeros((max(len(x), buffers.least_rows), x.shape[1]), x.dtype)
    padded[: len(x)] = x
    return head(padded, p, config)[0][: len(x)]


def sentence_vectors_backward(dvectors: np.ndarray, cache: Any, config: SentenceEncoderConfig, d: Parameters) -> None:
    """Gradients of sentence_vectors, added to `d`."""
    encoder_cache, pool_cache, head_caches, back = cache
    # forward: vectors = head(pool(encoder(batch)))[back]
    dx = np.empty_like(dvectors)
    dx[back] = dvectors
    dx = head_backward(dx, head_caches, config, d)
    dx = pool_backward(dx, pool_cache, config)
    encoder_backward(dx, encoder_cache, config, d)


def pool(x: np.ndarray, config: SentenceEncoderConfig, batch: Ragged, skipped: int = 0) -> tuple[np.ndarray, Any]:
    """The configured poolings of all tokens but the first `skipped`, side by side: (T, D) → (B, poolings · D)."""
    shape, rows = x.shape, None
    if skipped:
        batch, rows = batch.without_first(skipped)
        x = x[rows]
    outputs = [POOLINGS[name][0](x, batch, *([skipped] if name == "weightedmean" else [])) for name in config.pooling]
    return np.concatenate([y for y, _ in outputs], axis=1), (shape, rows, [cache for _, cache in outputs])


def pool_backward(dy: np.ndarray, cache: Any, config: SentenceEncoderConfig) -> np.ndarray:
    """Gradient of pool: dx."""
    shape, rows, caches = cache
    # forward: y = concatenate(poolings(x[rows]))
    parts = np.split(dy, len(caches), axis=1)
    total: Any = sum(POOLINGS[name][1](*args) for name, *args in zip(config.pooling, parts, caches, strict=True))
    if rows is None:
        return total
    dx = np.zeros(shape, dy.dtype)
    dx[rows] = total
    return dx


def head(x: np.ndarray, p: Parameters, config: SentenceEncoderConfig) -> tuple[np.ndarray, list]:
    """The modules after pooling, in order."""
    caches = []
    for i, module in enumerate(config.head, 2):
        if isinstance(module, Dense):
            weight = p[f"{i}_Dense.linear.weight"]
            bias = p[f"{i}_Dense.linear.bias"] if module.bias else np.zeros(module.width, x.dtype)
            x, linear_cache = linear(x, weight, bias)
            x, cache = DENSE_ACTIVATIONS[module.activation][0](x)
            caches.append((linear_cache, cache))
        else:
            x, cache = l2_normalize(x)
            caches.append(cache)
    return x, caches


def head_backward(dx: np.ndarray, caches: Any, config: SentenceEncoderConfig, d: Parameters) -> np.ndarray:
    """Gradient of head: dx; the parameters' gradients are added to `d`."""
    for i, module in reversed(list(enumerate(config.head, 2))):
        cache = caches[i - 2]
        if isinstance(module, Dense):
            # forward: x = activation(linear(x))
            dx = DENSE_ACTIVATIONS[module.activation][1](dx, cache[1])
            dx, dweight, dbias = linear_backward(dx, cache[0])
            d[f"{i}_Dense.linear.weight"][...] += dweight
            if module.bias:
                d[f"{i}_Dense.linear.bias"][...] += dbias
        else:
            dx = l2_normalize_backward(dx, cache)
    return dx
