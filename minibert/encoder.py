"""The transformer encoder: ids in, one contextual vector per token out.

Its configuration covers the encoders of this field's history: that of 2017 (Vaswani: sinusoidal positions, ReLU), BERT
(Devlin 2018: learned positions, segments, GELU), pre-norm ones, and T5's (Raffel 2020: relative positions as a bias on
the scores, root mean square norm, no biases, in version 1.1 gated GELU); and PyTorch's plain `TransformerEncoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from minibert.blocks import (
    ACTIVATIONS,
    attention_weights,
    encoder_layer,
    encoder_layer_backward,
    encoder_layer_shapes,
    linear_shapes,
    norm_shapes,
    normalize,
    normalize_backward,
)
from minibert.ops import (
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    relative_bias,
    relative_bias_backward,
    sinusoids,
)
from minibert.parameters import Parameters
from minibert.ragged import Ragged

WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
SEGMENTS = "embeddings.token_type_embeddings.weight"
RELATIVE = "encoder.relative_attention_bias.weight"
NORMS = "layer", "rms"
POSITION_KINDS = "learned", "sinusoidal", "relative"


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and variants.

    Units    width D, ffn F, heads H, layers; head_width: 0 for D / H; positions: longest sequence, 0 for no position
             embeddings (relative positions have no longest); position: "learned" rows of a table, "sinusoidal" with the
             words multiplied by √D, or "relative": a bias by distance in `buckets`, up to `farthest`; segments: 2 in
             BERT, 0 for none; activation: "gelu", "gelu_tanh" or "relu"; gated: times a second product; norm: "layer"
             or "rms"; norm_first: before attention and feed-forward network, not after; biases: of linear layers;
             scaled: scores by 1/√d; pooler: BERT's layer over [CLS], kept with the weights, which no vector of tokens
             depends on; dropout: rate while training; eps: of the norms
    Raises   ValueError: a size that is not whole or too small, width not divisible by heads, an unknown choice, dropout
             outside [0, 1), or eps ≤ 0

    >>> sum(int(np.prod(shape)) for shape in BERT_BASE.shapes.values())
    109482240
    """

    LEAST_LAYERS: ClassVar[int] = 1  # none: static vectors, for the deep averaging of `models.use`

    vocab_size: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    ffn: int = 512
    positions: int = 64
    segments: int = 2
    activation: str = "gelu"
    embedding_norm: bool = True
    final_norm: bool = False
    pooler: bool = False
    head_width: int = 0
    position: str = "learned"
    buckets: int = 32
    farthest: int = 128
    gated: bool = False
    norm: str = "layer"
    norm_first: bool = False
    biases: bool = True
    scaled: bool = True
    dropout: float = 0.1
    eps: float = 1e-12

    def __post_init__(self):
        check_sizes(self, 1, "vocab_size", "width", "heads", "ffn")
        check_sizes(self, self.LEAST_LAYERS, "layers")
        check_sizes(self, 0, "positions", "segments", "head_width")
        check_sizes(self, 4, "buckets", "farthest")
        if not 0 <= self.dropout < 1 or not self.eps > 0:
            raise ValueError(f"expected dropout in [0, 1) and eps above 0, got {self.dropout} and {self.eps}")
        if not self.head_width and self.width % self.heads:
            raise ValueError(f"expected a width divisible by {self.heads} heads, got {self.width}")
        if self.position == "relative" and (self.buckets % 4 or self.farthest <= self.buckets // 4):
            raise ValueError(f"expected buckets in fours and farthest beyond, got {self.buckets} and {self.farthest}")
        for name, known in (("activation", ACTIVATIONS), ("norm", NORMS), ("position", POSITION_KINDS)):
            if getattr(self, name) not in known:
                article = "an" if name[0] in "aeiou" else "a"
                raise ValueError(f"expected {article} {name} of {', '.join(known)}, got {getattr(self, name)!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name, as in the BERT checkpoint, and shape."""
        shapes: dict[str, tuple[int, ...]] = {WORDS: (self.vocab_size, self.width)}
        if self.positions and self.position == "learned":
            shapes[POSITIONS] = (self.positions, self.width)
        if self.segments:
            shapes[SEGMENTS] = (self.segments, self.width)
        if self.embedding_norm:
            shapes |= norm_shapes("embeddings.LayerNorm", self.width, self.norm)
        if self.position == "relative":
            shapes[RELATIVE] = (self.buckets, self.heads)
        inner = self.heads * self.head_width
        layer = encoder_layer_shapes(self.width, self.ffn, inner, self.norm, self.biases, self.gated)
        for i in range(self.layers):
            shapes |= {f"encoder.layer.{i}.{name}": shape for name, shape in layer.items()}
        if self.final_norm:
            shapes |= norm_shapes("encoder.norm", self.width, self.norm)
        if self.pooler:
            shapes |= linear_shapes("pooler.dense", self.width, self.width)
        return shapes


def check_sizes(config: object, least: int, *names: str) -> None:
    """ValueError for a setting that is no whole number of at least `least`."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"expected {name} to be a whole number of at least {least}, got {value!r}")


# Devlin 2018 section 3: 109,482,240 and 335,141,888 parameters
BERT_BASE = EncoderConfig(30522, width=768, layers=12, heads=12, ffn=3072, positions=512, pooler=True)
BERT_LARGE = EncoderConfig(30522, width=1024, layers=24, heads=16, ffn=4096, positions=512, pooler=True)

ORTHOGONAL = ("attention.self.value.weight", "attention.output.dense.weight", "projection.weight")


def initialize(parameters: Parameters, rng: np.random.Generator, words: float = 1.0) -> None:
    """Fresh weights that make the vector of [CLS] a random projection of its sequence's bag of words.

    Word vectors are unit normal; queries and keys small, so that attention starts even; value, output and projection
    orthogonal (Saxe 2013, arXiv:1312.6120), so that their product keeps all inner products; the rest normal with
    deviation 0.02; biases 0, layer-norm gains 1.

    Units    words: deviation of the word vectors; BERT's 0.02 where the same table also scores words
    Differs  BERT draws everything with deviation 0.02. With a few thousand pairs that start learns next to nothing: on
             docstrings, after 2 epochs, MRR@10 on held-out modules was 0.001 with it and 0.12 with this one
    """
    for name, array in parameters.items():
        if name.endswith(".bias"):
            array[...] = 0
        elif "norm." in name.lower():
            array[...] = 1
        elif name.endswith(ORTHOGONAL):
            rows, columns = array.shape
            array[...] = orthogonal(rows, columns, rng)
        else:
            array[...] = (words if name == WORDS else 0.02) * rng.standard_normal(array.shape)


def orthogonal(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """A matrix (rows, columns) whose shorter side is orthonormal, drawn evenly over all such matrices."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # QR alone is not even (Mezzadri 2007)
    return q if rows >= columns else q.T


def hidden_states(p: Parameters, config: EncoderConfig, batch: Ragged) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What every layer says of every token, and where its heads look.

    Shapes   batch of one sequence of T tokens → states: layers + 1 of (T, D); weights: layers of (H, T, T)
    Differs  states[0] is the word's row of the table alone, the same wherever the word stands; in transformers it has
             position and segment added and is normalised, as what enters layer 1 here too
    """
    states, weights = [embedding(batch.ids, p[WORDS])[0]], []
    x, _ = embed(p, config, batch)
    bias, _ = _bias(p, config, batch)
    for i in range(config.layers):
        x, cache = encoder_layer(x, p.sub(f"encoder.layer.{i}."), batch, config, bias=bias)
        states.append(x)
        weights.append(attention_weights(cache))
    if config.final_norm:
        states[-1], _ = normalize(x, p, "encoder.norm", config)
    return states, weights


def encoder(
    p: Parameters,
    config: EncoderConfig,
    batch: Ragged,
    rng: np.random.Generator | None = None,
    rows: slice | np.ndarray = slice(None),
) -> tuple[np.ndarray, Any]:
    """Contextual vectors of all tokens of a batch.

    Shapes   batch of B sequences, T tokens → x (T, D), or only the wanted `rows` of it, such as those of [CLS]
    Raises   ValueError: a sequence longer than the positions, an id or segment out of range, or a row wanted twice, of
             which encoder_backward would lose a gradient
    """
    if not isinstance(rows, slice) and len(np.unique(rows)) < len(rows):
        raise ValueError(f"expected rows that differ, got {len(rows)} of which {len(np.unique(rows))} differ")
    x, embeddings_cache = embed(p, config, batch, rng)
    bias, bias_cache = _bias(p, config, batch)
    layer_caches = []
    for i in range(config.layers):
        wanted = rows if i == config.layers - 1 else slice(None)
        x, cache = encoder_layer(x, p.sub(f"encoder.layer.{i}."), batch, config, rng, wanted, bias)
        layer_caches.append(cache)
    norm_cache = mask = None
    if config.final_norm:
        x, norm_cache = normalize(x, p, "encoder.norm", config)
    if config.norm_first:  # a post-norm layer has dropped what it gave already
        x, mask = dropout(x, config.dropout, rng)
    return x, (embeddings_cache, bias, bias_cache, layer_caches, norm_cache, mask)


def encoder_backward(dx: np.ndarray, cache: Any, config: EncoderConfig, d: Parameters) -> None:
    """Gradients of encoder, added to `d`."""
    embeddings_cache, bias, bias_cache, layer_caches, norm_cache, mask = cache
    # forward: x = dropout(norm(x))
    dx = dropout_backward(dx, mask)
    if config.final_norm:
        dx = normalize_backward(dx, norm_cache, d, "encoder.norm", config)
    dbias = None if bias is None else np.zeros_like(bias)  # every layer adds the same bias: its gradients add up
    for i in reversed(range(config.layers)):
        dx = encoder_layer_backward(dx, layer_caches[i], config, d.sub(f"encoder.layer.{i}."), dbias)
    if dbias is not None:
        d[RELATIVE][...] += relative_bias_backward(dbias, bias_cache)
    embed_backward(dx, embeddings_cache, config, d)


def _bias(p: Parameters, config: EncoderConfig, batch: Ragged):
    """The bias by distance of every layer, or None."""
    if config.position != "relative":
        return None, None
    return relative_bias(p[RELATIVE], int(batch.lengths.max()), config.farthest)


def embed(
    p: Parameters, config: EncoderConfig, batch: Ragged, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """Static input vectors: token + position + segment, then norm and dropout (Devlin 2018, figure 2).

    Shapes   batch of T tokens → x (T, D)
    """
    x, words = embedding(batch.ids, p[WORDS])
    positions = segments = norm = None
    if config.positions and config.position != "relative":
        check_lengths(batch, config.positions)
        if config.position == "sinusoidal":
            table = sinusoids(int(batch.lengths.max()), config.width).astype(x.dtype)
            x = x * x.dtype.type(config.width**0.5) + table[batch.positions]
        else:
            rows, positions = embedding(batch.positions, p[POSITIONS])
            x = x + rows
    if config.segments:
        rows, segments = embedding(batch.type_ids, p[SEGMENTS])
        x = x + rows
    if config.embedding_norm:
        x, norm = normalize(x, p, "embeddings.LayerNorm", config)
    x, mask = dropout(x, config.dropout, rng)
    return x, (words, positions, segments, norm, mask)


def embed_backward(dx: np.ndarray, cache: Any, config: EncoderConfig, d: Parameters) -> None:
    """Gradients of embed, added to `d`."""
    words, positions, segments, norm, mask = cache
    # forward: x = dropout(norm(words + positions + segments))
    dx = dropout_backward(dx, mask)
    if norm is not None:
        dx = normalize_backward(dx, norm, d, "embeddings.LayerNorm", config)
    # a sum hands its gradient to every term
    if segments is not None:
        embedding_backward(dx, segments, d[SEGMENTS])
    if positions is not None:
        embedding_backward(dx, positions, d[POSITIONS])
    if config.positions and config.position == "sinusoidal":
        # forward: √D · words + sinusoids
        dx = dx * dx.dtype.type(config.width**0.5)
    embedding_backward(dx, words, d[WORDS])


def check_lengths(batch: Ragged, positions: int) -> None:
    """ValueError for a sequence of more tokens than there are positions."""
    long = np.flatnonzero(batch.lengths > positions)
    if len(long):
        raise ValueError(
            f"expected at most {positions} tokens a sequence, got {batch.lengths[long[0]]} in sequence {long[0]}"
        )
