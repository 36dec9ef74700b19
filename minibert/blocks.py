"""The encoder layer as a sequence of ops, and its backward pass as the same sequence read upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.ops import (
    attention,
    attention_backward,
    dropout,
    dropout_backward,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_backward,
    relu,
    relu_backward,
    rms_norm,
    rms_norm_backward,
)

if TYPE_CHECKING:
    from minibert.encoder import EncoderConfig
    from minibert.parameters import Parameters
    from minibert.ragged import Ragged

ACTIVATIONS = {
    "gelu": (gelu, gelu_backward),
    "gelu_tanh": (gelu_tanh, gelu_tanh_backward),
    "relu": (relu, relu_backward),
}


def encoder_layer(
    x: np.ndarray,
    p: Parameters,
    batch: Ragged,
    config: EncoderConfig,
    rng: np.random.Generator | None = None,
    rows: slice | np.ndarray = slice(None),
    bias: np.ndarray | None = None,
) -> tuple[np.ndarray, Any]:
    """One layer: self-attention, then a feed-forward network, each with a residual and a norm.

        post-norm   h = Norm(x + Attention(x))      y = Norm(h + FFN(h))         Vaswani 2017 section 3.1, BERT
        pre-norm    h = x + Attention(Norm(x))      y = h + FFN(Norm(h))         Xiong 2020 (arXiv:2002.04745), T5

    Source   names of the parameters `p` as in the BERT checkpoint, below encoder.layer.{i}.
    Shapes   x (T, D) → y (T, D), or only the wanted `rows` of y: all are attended to, the rest is spared
    Differs  query, key and value are one product: their weights lie next to each other
    """
    attend = _self_attention, (batch, rows, rng, bias)
    h, c_attention = _sublayer(attend, x, p, "attention.output.LayerNorm", config, rng, rows)
    y, c_ffn = _sublayer((_feed_forward, ()), h, p, "output.LayerNorm", config, rng)
    return y, (c_attention, c_ffn)


def encoder_layer_backward(
    dy: np.ndarray, cache: Any, config: EncoderConfig, d: Parameters, dbias: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of encoder_layer: dx; the parameters' gradients are added to `d`, that of the bias to `dbias`."""
    c_attention, c_ffn = cache
    dh = _sublayer_backward((_feed_forward_backward, ()), dy, c_ffn, "output.LayerNorm", config, d)
    attend = _self_attention_backward, (dbias,)
    return _sublayer_backward(attend, dh, c_attention, "attention.output.LayerNorm", config, d)


def _sublayer(function, x, p, norm, config, rng, rows=slice(None)):
    """x + function(x), with the norm after the sum or, of the function's input only, before."""
    call, arguments = function
    before, c_before = normalize(x, p, norm, config) if config.norm_first else (x, None)
    change, c_change = call(before, p, config, *arguments)
    change, mask = dropout(change, config.dropout, rng)
    y, c_after = x[rows] + change, None
    if not config.norm_first:
        y, c_after = normalize(y, p, norm, config)
    return y, (c_before, c_change, mask, c_after, rows)


def _sublayer_backward(function, dy, cache, norm, config, d):
    """Gradient of _sublayer: dx."""
    call, arguments = function
    c_before, c_change, mask, c_after, rows = cache
    if not config.norm_first:
        # forward: y = norm(sum)
        dy = normalize_backward(dy, c_after, d, norm, config)
    # forward: sum = x[rows] + dropout(function(before)): x feeds the function and, past it, the residual
    dx = call(dropout_backward(dy, mask), c_change, config, d, *arguments)
    if config.norm_first:
        # forward: before = norm(x)
        dx = normalize_backward(dx, c_before, d, norm, config)
    dx[rows] += dy
    return dx


def _self_attention(x, p, config, batch, rows, rng, bias):
    biases = p.stacked("attention.self.query.bias", 3) if config.biases else None
    qkv, c_qkv = linear(x, p.stacked("attention.self.query.weight", 3), biases)
    context, c_context = attention(qkv, batch, config.heads, config.dropout, rng, bias=bias, scaled=config.scaled)
    y, c_y = dense(context[rows], p, "attention.output.dense")
    return y, (c_qkv, c_context, c_y, context.shape, rows)


def _self_attention_backward(dy, cache, config, d, dbias):
    c_qkv, c_context, c_y, shape, rows = cache
    # forward: y = linear(context[rows])
    dcontext = np.zeros(shape, dy.dtype)
    dcontext[rows] = dense_backward(dy, c_y, d, "attention.output.dense")
    # forward: context = attention(linear(x))
    dqkv = attention_backward(dcontext, c_context, dbias)
    dx, dweight, dbiases = linear_backward(dqkv, c_qkv)
    d.stacked("attention.self.query.weight", 3)[...] += dweight
    if config.biases:
        d.stacked("attention.self.query.bias", 3)[...] += dbiases
    return dx


def _feed_forward(x, p, config):
    """W₂ act(W₁ x); gated: W₂ (act(W₁ x) · V x), Shazeer 2020 (arXiv:2002.05202) eq. 6."""
    inner, c_inner = dense(x, p, "intermediate.dense")
    active, c_active = ACTIVATIONS[config.activation][0](inner)
    gate = None
    if config.gated:
        value, c_value = dense(x, p, "intermediate.value")
        active, gate = active * value, (active, value, c_value)
    y, c_y = dense(active, p, "output.dense")
    return y, (c_inner, c_active, gate, c_y)


def _feed_forward_backward(dy, cache, config, d):
    c_inner, c_active, gate, c_y = cache
    dx: Any = 0
    # forward: y = linear(act(inner)), or gated linear(act(inner) · value)
    dactive = dense_backward(dy, c_y, d, "output.dense")
    if config.gated:
        active, value, c_value = gate
        dx = dense_backward(dactive * active, c_value, d, "intermediate.value")
        dactive = dactive * value
    dinner = ACTIVATIONS[config.activation][1](dactive, c_active)
    return dense_backward(dinner, c_inner, d, "intermediate.dense") + dx


def attention_weights(cache: Any) -> np.ndarray:
    """Where the heads looked, from the cache of an encoder_layer over one sequence: (H, T, T)."""
    (_, (_, (_, _, blocks), *_), *_), _ = cache
    (_, attended), *_ = blocks
    return attended.weights[0]


def encoder_layer_shapes(
    width: int, ffn: int, inner: int = 0, norm: str = "layer", biases: bool = True, gated: bool = False
) -> dict[str, tuple[int, ...]]:
    """{name: shape} of one layer; query, key and value first, so that they are one (3 · inner, D) matrix.

    Units    inner: width of all heads together, 0 for the layer's own width
    """
    inner = inner or width
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"attention.self.{part}.weight": (inner, width) for part in ("query", "key", "value")}
    shapes |= {f"attention.self.{part}.bias": (inner,) for part in ("query", "key", "value")}
    shapes |= linear_shapes("attention.output.dense", width, inner)
    shapes |= norm_shapes("attention.output.LayerNorm", width, norm)
    shapes |= linear_shapes("intermediate.dense", ffn, width)
    if gated:
        shapes |= linear_shapes("intermediate.value", ffn, width)
    shapes |= linear_shapes("output.dense", width, ffn) | norm_shapes("output.LayerNorm", width, norm)
    return {name: shape for name, shape in shapes.items() if biases or "LayerNorm" in name or name.endswith("weight")}


def linear_shapes(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one linear layer's parameters."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm_shapes(name: str, width: int, norm: str = "layer") -> dict[str, tuple[int, ...]]:
    """Shapes of one norm's parameters; the root mean square's has no bias."""
    names = ("weight", "bias") if norm == "layer" else ("weight",)
    return {f"{name}.{part}": (width,) for part in names}


def normalize(x: np.ndarray, p: Parameters, name: str, config: EncoderConfig) -> tuple[np.ndarray, Any]:
    """The configured norm, with the parameters of that name."""
    if config.norm == "rms":
        return rms_norm(x, p[f"{name}.weight"], config.eps)
    return layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], config.eps)


def normalize_backward(dy: np.ndarray, cache: Any, d: Parameters, name: str, config: EncoderConfig) -> np.ndarray:
    """Gradient of normalize: dx; the parameters' gradients are added to `d`."""
    backward = rms_norm_backward if config.norm == "rms" else layer_norm_backward
    dx, dgamma, *dbeta = backward(dy, cache)
    d[f"{name}.weight"][...] += dgamma
    if dbeta:
        d[f"{name}.bias"][...] += dbeta[0]
    return dx


def dense(x: np.ndarray, p: Parameters, name: str) -> tuple[np.ndarray, Any]:
    """`linear` with the parameters of that name."""
    return linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def dense_backward(dy: np.ndarray, cache: Any, d: Parameters, name: str) -> np.ndarray:
    """Gradient of dense: dx; the parameters' gradients are added to `d`."""
    dx, dweight, dbias = linear_backward(dy, cache)
    d[f"{name}.weight"][...] += dweight
    if f"{name}.bias" in d:
        d[f"{name}.bias"][...] += dbias
    return dx
