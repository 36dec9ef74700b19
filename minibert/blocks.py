"""The encoder layer as a sequence of ops, and its backward pass as the same sequence read upwards."""

import numpy as np

from minibert.ops import (
    attention,
    attention_backward,
    dropout,
    dropout_backward,
    gelu,
    gelu_backward,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_backward,
    relu,
    relu_backward,
)

ACTIVATIONS = {"gelu": (gelu, gelu_backward), "relu": (relu, relu_backward)}


def encoder_layer(x, p, batch, config, rng=None, rows=slice(None)):
    """One post-norm layer: self-attention, then a feed-forward network, each with a residual and a layer norm.

        h = LayerNorm(x + Attention(x))
        y = LayerNorm(h + W₂ act(W₁ h))

    Source   Vaswani 2017 section 3.1; names of the parameters `p` as in the BERT checkpoint, below encoder.layer.{i}.
    Shapes   x (T, D) → y (T, D), or only the wanted `rows` of y: all are attended to, the rest is spared
    Differs  query, key and value are one product: their weights lie next to each other
    """
    activation, _ = ACTIVATIONS[config.activation]
    qkv, c_qkv = linear(x, p.stacked("attention.self.query.weight", 3), p.stacked("attention.self.query.bias", 3))
    context, c_attention = attention(qkv, batch, config.heads, config.dropout, rng)
    attended, c_dense = _linear(context[rows], p, "attention.output.dense")
    attended, mask_attended = dropout(attended, config.dropout, rng)
    h, c_norm1 = _norm(x[rows] + attended, p, "attention.output.LayerNorm", config)

    inner, c_inner = _linear(h, p, "intermediate.dense")
    active, c_active = activation(inner)
    outer, c_outer = _linear(active, p, "output.dense")
    outer, mask_outer = dropout(outer, config.dropout, rng)
    y, c_norm2 = _norm(h + outer, p, "output.LayerNorm", config)
    caches = c_qkv, c_attention, c_dense, mask_attended, c_norm1, c_inner, c_active, c_outer, mask_outer, c_norm2
    return y, (caches, x.shape, rows)


def encoder_layer_backward(dy, cache, config, d):
    """Gradient of encoder_layer: dx; the parameters' gradients are added to `d`."""
    caches, shape, rows = cache
    c_qkv, c_attention, c_dense, mask_attended, c_norm1, c_inner, c_active, c_outer, mask_outer, c_norm2 = caches
    _, activation_backward = ACTIVATIONS[config.activation]
    # forward: y = norm(h + dropout(outer))
    dsum = _norm_backward(dy, c_norm2, d, "output.LayerNorm")
    dactive = _linear_backward(dropout_backward(dsum, mask_outer), c_outer, d, "output.dense")
    dinner = activation_backward(dactive, c_active)
    # h feeds the network and, past it, the residual
    dh = dsum + _linear_backward(dinner, c_inner, d, "intermediate.dense")
    # forward: h = norm(x[rows] + dropout(attended))
    dsum = _norm_backward(dh, c_norm1, d, "attention.output.LayerNorm")
    # forward: attended = linear(context[rows])
    dcontext = np.zeros(shape, dy.dtype)
    dcontext[rows] = _linear_backward(dropout_backward(dsum, mask_attended), c_dense, d, "attention.output.dense")
    dqkv = attention_backward(dcontext, c_attention)
    dx, dweight, dbias = linear_backward(dqkv, c_qkv)
    d.stacked("attention.self.query.weight", 3)[...] += dweight
    d.stacked("attention.self.query.bias", 3)[...] += dbias
    dx[rows] += dsum
    return dx


def attention_weights(cache) -> np.ndarray:
    """Where the heads looked, from the cache of an encoder_layer over one sequence: (H, T, T)."""
    (_, (_, _, blocks), *_), _, _ = cache
    (_, attended), *_ = blocks
    return attended.weights[0]


def encoder_layer_shapes(width: int, ffn: int) -> dict[str, tuple[int, ...]]:
    """The parameters of one layer; query, key and value first, so that they are one (3D, D) matrix."""
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"attention.self.{part}.weight": (width, width) for part in ("query", "key", "value")}
    shapes |= {f"attention.self.{part}.bias": (width,) for part in ("query", "key", "value")}
    shapes |= linear_shapes("attention.output.dense", width, width) | norm_shapes("attention.output.LayerNorm", width)
    shapes |= linear_shapes("intermediate.dense", ffn, width)
    shapes |= linear_shapes("output.dense", width, ffn) | norm_shapes("output.LayerNorm", width)
    return shapes


def linear_shapes(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one linear layer's parameters."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one layer norm's parameters."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(x, p, name):
    return linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def _linear_backward(dy, cache, d, name):
    dx, dweight, dbias = linear_backward(dy, cache)
    d[f"{name}.weight"][...] += dweight
    d[f"{name}.bias"][...] += dbias
    return dx


def _norm(x, p, name, config):
    return layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], config.eps)


def _norm_backward(dy, cache, d, name):
    dx, dgamma, dbeta = layer_norm_backward(dy, cache)
    d[f"{name}.weight"][...] += dgamma
    d[f"{name}.bias"][...] += dbeta
    return dx
