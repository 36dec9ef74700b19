"""The transformer decoder: from what was said so far, and the source's vectors, to one vector a target token.

A layer differs from the encoder's in two ways. Its self-attention is causal: token t sees tokens 0 … t, so all of a
known target is trained in one pass and no token sees the answer it has to give. And between self-attention and
feed-forward network it looks at the source: queries from the target, keys and values from the encoder's last layer.

    h₁ = LayerNorm(x + SelfAttention(x))                      causal
    h₂ = LayerNorm(h₁ + CrossAttention(h₁, memory))           memory: the encoder's output
    y  = LayerNorm(h₂ + W₂ act(W₁ h₂))

A translation is not known beforehand: it grows by one token a step. No later token changes the keys and values of the
earlier ones, so `Decoding` keeps them, and a step costs one token instead of all.

Source   Vaswani 2017 (arXiv:1706.03762) section 3.1–3.3; parameters named as in BERT decoders with cross-attention
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.blocks import ACTIVATIONS, linear_shapes, norm_shapes
from minibert.ops import (
    attention,
    attention_backward,
    cross_attention,
    cross_attention_backward,
    dropout,
    dropout_backward,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_backward,
)
from minibert.ops.attention import attend
from minibert.parameters import Parameters
from minibert.ragged import Ragged

if TYPE_CHECKING:
    from minibert.encoder import EncoderConfig


def decoder(
    x: np.ndarray,
    memory: np.ndarray,
    p: Parameters,
    targets: Ragged,
    sources: Ragged,
    config: EncoderConfig,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Any]:
    """All layers. Target b is about source b.

    Shapes   x (T, D), memory (S, D) → y (T, D)
    """
    caches = []
    for i in range(config.layers):
        x, cache = decoder_layer(x, memory, p.sub(f"decoder.layer.{i}."), targets, sources, config, rng)
        caches.append(cache)
    return x, caches


def decoder_backward(
    dx: np.ndarray, caches: Any, config: EncoderConfig, d: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of decoder: (dx, dmemory); the parameters' are added to `d`."""
    dmemory: Any = 0
    for i in reversed(range(config.layers)):
        # every layer looks at the same memory: its gradients add up
        dx, dlayer = decoder_layer_backward(dx, caches[i], config, d.sub(f"decoder.layer.{i}."))
        dmemory = dmemory + dlayer
    return dx, dmemory


def decoder_layer(
    x: np.ndarray,
    memory: np.ndarray,
    p: Parameters,
    targets: Ragged,
    sources: Ragged,
    config: EncoderConfig,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Any]:
    """One post-norm layer, see above.

    Shapes   x (T, D), memory (S, D) → y (T, D)
    """
    activation, _ = ACTIVATIONS[config.activation]
    qkv, c_qkv = _stacked_linear(x, p, "attention.self.query", 3)
    context, c_self = attention(qkv, targets, config.heads, config.dropout, rng, causal=True)
    h1, c_attended = _add_and_norm(x, context, p, "attention.output", config, rng)

    q, c_q = _stacked_linear(h1, p, "crossattention.self.query", 1)
    kv, c_kv = _stacked_linear(memory, p, "crossattention.self.key", 2)
    context, c_cross = cross_attention(q, kv, targets, sources, config.heads, config.dropout, rng)
    h2, c_crossed = _add_and_norm(h1, context, p, "crossattention.output", config, rng)

    inner, c_inner = _stacked_linear(h2, p, "intermediate.dense", 1)
    active, c_active = activation(inner)
    y, c_output = _add_and_norm(h2, active, p, "output", config, rng)
    return y, (c_qkv, c_self, c_attended, c_q, c_kv, c_cross, c_crossed, c_inner, c_active, c_output)


def decoder_layer_backward(
    dy: np.ndarray, cache: Any, config: EncoderConfig, d: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of decoder_layer: (dx, dmemory); the parameters' are added to `d`."""
    c_qkv, c_self, c_attended, c_q, c_kv, c_cross, c_crossed, c_inner, c_active, c_output = cache
    _, activation_backward = ACTIVATIONS[config.activation]
    # forward: y = add_and_norm(h2, activation(linear(h2))): h2 feeds the network and, past it, the residual
    dh2, dactive = _add_and_norm_backward(dy, c_output, d, "output")
    dh2 = dh2 + _stacked_linear_backward(activation_backward(dactive, c_active), c_inner, d, "intermediate.dense", 1)
    # forward: h2 = add_and_norm(h1, cross_attention(linear(h1), linear(memory)))
    dh1, dcontext = _add_and_norm_backward(dh2, c_crossed, d, "crossattention.output")
    dq, dkv = cross_attention_backward(dcontext, c_cross)
    dmemory = _stacked_linear_backward(dkv, c_kv, d, "crossattention.self.key", 2)
    dh1 = dh1 + _stacked_linear_backward(dq, c_q, d, "crossattention.self.query", 1)
    # forward: h1 = add_and_norm(x, attention(linear(x)))
    dx, dcontext = _add_and_norm_backward(dh1, c_attended, d, "attention.output")
    dqkv = attention_backward(dcontext, c_self)
    return dx + _stacked_linear_backward(dqkv, c_qkv, d, "attention.self.query", 3), dmemory


def decoder_layer_shapes(width: int, ffn: int) -> dict[str, tuple[int, ...]]:
    """The parameters of one layer; query, key and value stand together: they are one product, or two of them are."""
    shapes: dict[str, tuple[int, ...]] = {}
    for block in ("attention", "crossattention"):
        shapes |= {f"{block}.self.{part}.weight": (width, width) for part in ("query", "key", "value")}
        shapes |= {f"{block}.self.{part}.bias": (width,) for part in ("query", "key", "value")}
        shapes |= linear_shapes(f"{block}.output.dense", width, width) | norm_shapes(f"{block}.output.LayerNorm", width)
    shapes |= linear_shapes("intermediate.dense", ffn, width)
    return shapes | linear_shapes("output.dense", width, ffn) | norm_shapes("output.LayerNorm", width)


class Decoding:
    """A batch of B sentences half way: `beam` beginnings of a translation each, all of one length, and their caches.

    Row b · beam + j is beginning j of sentence b.
    """

    def __init__(self, memory: np.ndarray, p: Parameters, sources: Ragged, config: EncoderConfig, beam: int = 1):
        """Nothing is said yet; the source's keys and values, which stay the same, are computed once."""
        self.config, self.beam = config, beam
        self._of_sources(sources)
        self.layers = [p.sub(f"decoder.layer.{i}.") for i in range(config.layers)]
        self.source_kv = [_stacked_linear(memory, layer, "crossattention.self.key", 2)[0] for layer in self.layers]
        empty = np.empty((len(sources) * beam, config.heads, 0, config.width // config.heads), memory.dtype)
        self.keys, self.values = [empty] * config.layers, [empty] * config.layers

    def step(self, x: np.ndarray) -> np.ndarray:
        """One token further: the last rows that `decoder` would give for the beginnings with this token.

        Shapes   x (B · beam, D), the vectors of the new tokens → y (B · beam, D)
        """
        heads, config = self.config.heads, self.config
        activation, _ = ACTIVATIONS[config.activation]
        for i, p in enumerate(self.layers):
            qkv, _ = _stacked_linear(x, p, "attention.self.query", 3)
            q, k, v = qkv.reshape(len(x), 3, heads, 1, -1).swapaxes(0, 1)
            self.keys[i] = np.concatenate((self.keys[i], k), axis=2)
            self.values[i] = np.concatenate((self.values[i], v), axis=2)
            context, _ = attend(q, self.keys[i], self.values[i])
            x, _ = _add_and_norm(x, context.reshape(x.shape), p, "attention.output", config, None)
            q, _ = _stacked_linear(x, p, "crossattention.self.query", 1)
            context, _ = cross_attention(q, self.source_kv[i], self.beams, self.sources, heads)
            x, _ = _add_and_norm(x, context, p, "crossattention.output", config, None)
            inner, _ = _stacked_linear(x, p, "intermediate.dense", 1)
            x, _ = _add_and_norm(x, activation(inner)[0], p, "output", config, None)
        return x

    def select(self, sentences: np.ndarray, rows: np.ndarray) -> None:
        """Go on with these sentences alone, and with these beginnings (rows of now) as their new ones.

        Shapes   sentences (B',), ascending; rows (B' · beam,), of those sentences
        """
        if len(sentences) < len(self.sources):
            kept = self.sources.rows_of(sentences)
            self.source_kv = [kv[kept] for kv in self.source_kv]
            self._of_sources(self.sources.take(sentences))
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]

    def _of_sources(self, sources: Ragged) -> None:
        # the beginnings of a sentence look at the same source, as if they were the tokens of one target
        self.sources, self.beams = sources, Ragged.from_sequences([[0] * self.beam] * len(sources))


def _add_and_norm(x, inner, p, name, config, rng):
    """LayerNorm(x + dropout(linear(inner)))."""
    outer, c_dense = _stacked_linear(inner, p, f"{name}.dense", 1)
    outer, mask = dropout(outer, config.dropout, rng)
    outer = x + outer
    y, c_norm = layer_norm(outer, p[f"{name}.LayerNorm.weight"], p[f"{name}.LayerNorm.bias"], config.eps)
    return y, (c_dense, mask, c_norm)


def _add_and_norm_backward(dy, cache, d, name):
    """(dx, dinner)."""
    c_dense, mask, c_norm = cache
    dsum, dgamma, dbeta = layer_norm_backward(dy, c_norm)
    d[f"{name}.LayerNorm.weight"][...] += dgamma
    d[f"{name}.LayerNorm.bias"][...] += dbeta
    return dsum, _stacked_linear_backward(dropout_backward(dsum, mask), c_dense, d, f"{name}.dense", 1)


def _stacked_linear(x, p, name, count):
    """`count` neighbouring layers as one product."""
    return linear(x, p.stacked(f"{name}.weight", count), p.stacked(f"{name}.bias", count))


def _stacked_linear_backward(dy, cache, d, name, count):
    dx, dweight, dbias = linear_backward(dy, cache)
    d.stacked(f"{name}.weight", count)[...] += dweight
    d.stacked(f"{name}.bias", count)[...] += dbias
    return dx
