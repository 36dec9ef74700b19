"""The encoder when nothing is learned: the vectors of `encoder`, without caches, in buffers that serve every batch.

What differs from the definition in encoder.py is when memory is touched, not what is computed: biases are added where
the next pass reads anyway (ops/fused.py), attention writes straight into its heads' columns, nothing is allocated.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike

from minibert.blocks import normalize
from minibert.encoder import EncoderConfig, embed, encoder
from minibert.ops import linear
from minibert.ops.fused import add_norm, bias_gelu, bias_relu
from minibert.ops.int8 import Int8Weight, int8_linear, padded_rows
from minibert.ops.softmax import scaled_softmax
from minibert.parameters import Parameters
from minibert.ragged import Ragged

ACTIVATIONS = {"gelu": bias_gelu, "relu": bias_relu}
LEAST_ROWS = 16, 64
FEW_ROWS = 64
# where rows are tried: the first of them, how many more than the least
PLACES = (0, 0), (1, 1), (5, 2), (6, 3), (7, 5), (12, 7), (13, 11), (29, 15), (31, 30)
SCORES = 1 << 20  # numbers of one block of attention scores, unless a single sequence needs more: 4 MB


class Buffers:
    """Arrays by name that grow to the largest batch seen; one for each thread. `least_rows`: of every product."""

    def __init__(self, least_rows: int = 1):
        self.least_rows = least_rows
        self._arrays: dict[str, np.ndarray] = {}

    def get(self, name: str, rows: int, width: int, dtype: DTypeLike = np.float32) -> np.ndarray:
        """(rows, width) of whatever numbers were there before."""
        if name not in self._arrays or self._arrays[name].size < rows * width:
            self._arrays[name] = np.empty(rows * width, dtype)
        return self._arrays[name][: rows * width].reshape(rows, width)


def least_rows(config: EncoderConfig, *others: tuple[int, int]) -> int | None:
    """How many rows every product needs for a row's bits not to depend on the other rows; None: no number does.

    OpenBLAS's AVX-512 kernels sum every row alike from a few rows on; its AVX2 kernels treat 12 rows in two ways, and
    which one a row meets depends on its place. Which is the case is found by trying, on the shapes of this encoder's
    products and on the others (outputs, inputs).
    """
    if not covers(config):
        return None
    width, ffn, inner = config.width, config.ffn, config.heads * config.head_width or config.width
    shapes = (3 * inner, width), (width, inner), (ffn, width), (width, ffn), *others
    found = [rows_that_agree(*shape) for shape in shapes]
    return None if None in found else max(rows for rows in found if rows is not None)


def product(x: np.ndarray, weight: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """x Wᵀ, the product that everything here is made of.

    Of few rows as (W xᵀ)ᵀ: OpenBLAS need not turn the weights then, 1.4 times as fast for 16 rows, 1.2 for 64.
    """
    if len(x) > FEW_ROWS:
        return np.matmul(x, weight.T, out=out)
    out = np.empty((len(x), len(weight)), x.dtype) if out is None else out
    out[...] = (weight @ x.T).T
    return out


@lru_cache
def rows_that_agree(outputs: int, inputs: int) -> int | None:
    """The first of LEAST_ROWS from which x Wᵀ gave each row the same bits in every place and company tried."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((outputs, inputs), np.float32)
    x = rng.standard_normal((2 * LEAST_ROWS[-1], inputs), np.float32)
    whole = product(x, weight)

    def agrees(first: int, rows: int) -> bool:
        some, expected = x[first : first + rows], whole[first : first + rows]
        return np.array_equal(product(some, weight), expected) and np.array_equal(linear(some, weight)[0], expected)

    for least in LEAST_ROWS:
        if all(agrees(first, least + more) for first, more in PLACES):
            return least
    return None


def covers(config: EncoderConfig) -> bool:
    """Whether this path follows such an encoder; the others take the definition's."""
    variants = config.norm, config.norm_first, config.gated, config.biases, config.scaled, config.position == "relative"
    return config.activation in ACTIVATIONS and variants == ("layer", False, False, True, True, False)


def infer(
    p: Parameters, config: EncoderConfig, batch: Ragged, buffers: Buffers, rows: np.ndarray | None = None
) -> np.ndarray:
    """Contextual vectors of all tokens of a batch, or of the wanted `rows` alone: as `encoder` without a generator.

    Shapes   batch of B sequences, T tokens → x (T, D), float32
    Units    p: Parameters, or an encoder's Int8Parameters
    Raises   ValueError: as `encoder`
    """
    if not covers(config) or p.flat.dtype != np.float32:
        return encoder(p, config, batch, rows=slice(None) if rows is None else rows)[0]
    x, _ = embed(p, config, batch)
    for i in range(config.layers):
        x = layer(x, p.sub(f"encoder.layer.{i}."), config, batch, buffers, rows if i == config.layers - 1 else None)
    if config.final_norm:
        x, _ = normalize(x, p, "encoder.norm", config)
    return x


def layer(
    x: np.ndarray, p: Parameters, config: EncoderConfig, batch: Ragged, buffers: Buffers, rows: np.ndarray | None = None
) -> np.ndarray:
    """`encoder_layer` for inference; x is overwritten."""
    eps = np.float32(config.eps)
    qkv = _product(x, p.stacked("attention.self.query.weight", 3), buffers, "inner")
    qkv += p.stacked("attention.self.query.bias", 3)
    context = buffers.get("context", len(x), qkv.shape[1] // 3)
    attend(qkv, context, batch, config.heads, buffers)
    if rows is not None:
        x, context = x[rows], context[rows]
    attended = _product(context, p["attention.output.dense.weight"], buffers, "outer")
    _add_norm(x, attended, p, "attention.output", eps)
    inner = _product(x, p["intermediate.dense.weight"], buffers, "inner")
    ACTIVATIONS[config.activation](inner, p["intermediate.dense.bias"])
    outer = _product(inner, p["output.dense.weight"], buffers, "outer")
    _add_norm(x, outer, p, "output", eps)
    return x


def attend(qkv: np.ndarray, out: np.ndarray, batch: Ragged, heads: int, buffers: Buffers) -> None:
    """`attention` without its cache, into `out` (T, D), in blocks whose scores stay in the processor's cache."""
    d = out.shape[1] // heads
    scale = np.float32(1 / np.sqrt(d))
    for run, count, length in batch.runs:
        some = max(1, SCORES // (heads * length * length))
        for first in range(0, count, some):
            here = min(some, count - first)
            block = slice(run.start + first * length, run.start + (first + here) * length)
            q, k, v = qkv[block].reshape(here, length, 3, heads, d).transpose(2, 0, 3, 1, 4)
            scores = buffers.get("scores", here * heads * length, length)
            weights = scores.reshape(here, heads, length, length)
            np.matmul(q, k.swapaxes(-1, -2), out=weights)
            scaled_softmax(scores, scale, buffers.get("powers", 1, length, np.int32)[0])
            np.matmul(weights, v, out=out[block].reshape(here, length, heads, d).swapaxes(1, 2))


def _product(x: np.ndarray, weight: np.ndarray | Int8Weight, buffers: Buffers, name: str) -> np.ndarray:
    """x Wᵀ in the buffer of that name; of fewer than `buffers.least_rows` rows as the first rows of so many."""
    if isinstance(weight, Int8Weight):
        codes = buffers.get("codes", padded_rows(len(x)), weight.padded_width, np.int8)
        return int8_linear(x, weight, codes, buffers.get(name, len(x), len(weight)))
    rows = max(len(x), buffers.least_rows)
    if rows > len(x):
        padded = buffers.get("padded", rows, x.shape[1])
        padded[: len(x)], padded[len(x) :] = x, 0
        return product(padded, weight, buffers.get(name, rows, len(weight)))[: len(x)]
    return product(x, weight, buffers.get(name, rows, len(weight)))


def _add_norm(x, y, p: Parameters, name: str, eps: np.float32) -> None:
    norm = p[f"{name}.LayerNorm.weight"], p[f"{name}.LayerNorm.bias"]
    add_norm(x, y, p[f"{name}.dense.bias"], *norm, eps)
