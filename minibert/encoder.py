"""The transformer encoder: ids in, one contextual vector per token out.

Its configuration covers BERT (Devlin 2018: token + position + segment embeddings, layer norm, GELU) and PyTorch's plain
`TransformerEncoder` (Vaswani 2017: ReLU, a last layer norm, no positions unless one adds them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minibert.blocks import (
    ACTIVATIONS,
    attention_weights,
    encoder_layer,
    encoder_layer_backward,
    encoder_layer_shapes,
    linear_shapes,
    norm_shapes,
)
from minibert.ops import (
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    layer_norm,
    layer_norm_backward,
)
from minibert.parameters import Parameters
from minibert.ragged import Ragged

WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
SEGMENTS = "embeddings.token_type_embeddings.weight"


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and variants.

    Units    width D, ffn F, heads H (D divisible by H), layers; positions: longest sequence, 0 for no position
             embeddings; segments: 2 in BERT, 0 for none; pooler: BERT's layer over [CLS], kept with the weights, which
             no vector of tokens depends on; dropout: rate while training; eps: of the layer norms
    Raises   ValueError: a size that is not whole or too small, width not divisible by heads, an unknown activation,
             dropout outside [0, 1), or eps ≤ 0
    """

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
    dropout: float = 0.1
    eps: float = 1e-12

    def __post_init__(self):
        check_sizes(self, 1, "vocab_size", "width", "layers", "heads", "ffn")
        check_sizes(self, 0, "positions", "segments")
        if not 0 <= self.dropout < 1 or not self.eps > 0:
            raise ValueError(f"expected dropout in [0, 1) and eps above 0, got {self.dropout} and {self.eps}")
        if self.width % self.heads:
            raise ValueError(f"expected a width divisible by {self.heads} heads, got {self.width}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"expected an activation of {', '.join(ACTIVATIONS)}, got {self.activation!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name, as in the BERT checkpoint, and shape."""
        shapes = {WORDS: (self.vocab_size, self.width)}
        if self.positions:
            shapes[POSITIONS] = (self.positions, self.width)
        if self.segments:
            shapes[SEGMENTS] = (self.segments, self.width)
        if self.embedding_norm:
            shapes |= norm_shapes("embeddings.LayerNorm", self.width)
        for i in range(self.layers):
            layer = encoder_layer_shapes(self.width, self.ffn)
            shapes |= {f"encoder.layer.{i}.{name}": shape for name, shape in layer.items()}
        if self.final_norm:
            shapes |= norm_shapes("encoder.norm", self.width)
        if self.pooler:
            shapes |= linear_shapes("pooler.dense", self.width, self.width)
        return shapes


def check_sizes(config, least: int, *names: str) -> None:
    """ValueError for a setting that is no whole number of at least `least`."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"expected {name} to be a whole number of at least {least}, got {value!r}")


# Devlin 2018 section 3: 109,482,240 and 335,141,888 parameters
BERT_BASE = EncoderConfig(30522, width=768, layers=12, heads=12, ffn=3072, positions=512, pooler=True)
BERT_LARGE = EncoderConfig(30522, width=1024, layers=24, heads=16, ffn=4096, positions=512, pooler=True)

ORTHOGONAL = ("attention.self.value.weight", "attention.output.dense.weight", "projection.weight")


def initialize(parameters: Parameters, rng: np.random.Generator) -> None:
    """Fresh weights that make the vector of [CLS] a random projection of its sequence's bag of words.

    Word vectors are unit normal; queries and keys small, so that attention starts even; value, output and projection
    orthogonal (Saxe 2013, arXiv:1312.6120), so that their product keeps all inner products; the rest normal with
    deviation 0.02; biases 0, layer-norm gains 1.

    Differs  BERT draws everything with deviation 0.02. With a few thousand pairs that start learns next to nothing: on
             docstrings, after 2 epochs, MRR@10 on held-out modules was 0.001 with it and 0.12 with this one
    """
    for name, array in parameters.items():
        if name.endswith(".bias"):
            array[...] = 0
        elif "norm." in name.lower():
            array[...] = 1
        elif name.endswith(ORTHOGONAL):
            array[...] = orthogonal(*array.shape, rng)
        else:
            array[...] = (1.0 if name == WORDS else 0.02) * rng.standard_normal(array.shape)


def orthogonal(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """A matrix (rows, columns) whose shorter side is orthonormal, drawn evenly over all such matrices."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # QR alone is not even (Mezzadri 2007)
    return q if rows >= columns else q.T


def hidden_states(p: Parameters, config: EncoderConfig, batch: Ragged):
    """What every layer says of every token, and where its heads look.

    Shapes   batch of one sequence of T tokens → states: layers + 1 of (T, D); weights: layers of (H, T, T)
    Differs  states[0] is the word's row of the table alone, the same wherever the word stands; in transformers it has
             position and segment added and is normalised, as what enters layer 1 here too
    """
    states, weights = [embedding(batch.ids, p[WORDS])[0]], []
    x, _ = embed(p, config, batch)
    for i in range(config.layers):
        x, cache = encoder_layer(x, p.sub(f"encoder.layer.{i}."), batch, config)
        states.append(x)
        weights.append(attention_weights(cache))
    if config.final_norm:
        states[-1], _ = layer_norm(x, p["encoder.norm.weight"], p["encoder.norm.bias"], config.eps)
    return states, weights


def encoder(p: Parameters, config: EncoderConfig, batch: Ragged, rng=None, rows=slice(None)):
    """Contextual vectors of all tokens of a batch.

    Shapes   batch of B sequences, T tokens → x (T, D), or only the wanted `rows` of it, such as those of [CLS]
    Raises   ValueError: a sequence longer than the positions, or an id or segment out of range
    """
    x, embeddings_cache = embed(p, config, batch, rng)
    layer_caches = []
    for i in range(config.layers):
        wanted = rows if i == config.layers - 1 else slice(None)
        x, cache = encoder_layer(x, p.sub(f"encoder.layer.{i}."), batch, config, rng, wanted)
        layer_caches.append(cache)
    norm_cache = None
    if config.final_norm:
        x, norm_cache = layer_norm(x, p["encoder.norm.weight"], p["encoder.norm.bias"], config.eps)
    return x, (embeddings_cache, layer_caches, norm_cache)


def encoder_backward(dx: np.ndarray, cache, config: EncoderConfig, d: Parameters) -> None:
    """Gradients of encoder, added to `d`."""
    embeddings_cache, layer_caches, norm_cache = cache
    if config.final_norm:
        # forward: x = norm(x)
        dx, dgamma, dbeta = layer_norm_backward(dx, norm_cache)
        d["encoder.norm.weight"][...] += dgamma
        d["encoder.norm.bias"][...] += dbeta
    for i in reversed(range(config.layers)):
        dx = encoder_layer_backward(dx, layer_caches[i], config, d.sub(f"encoder.layer.{i}."))
    embed_backward(dx, embeddings_cache, config, d)


def embed(p: Parameters, config: EncoderConfig, batch: Ragged, rng: np.random.Generator | None = None):
    """Static input vectors: token + position + segment, then layer norm and dropout (Devlin 2018, figure 2).

    Shapes   batch of T tokens → x (T, D)
    """
    x, words = embedding(batch.ids, p[WORDS])
    positions = segments = norm = None
    if config.positions:
        check_lengths(batch, config.positions)
        rows, positions = embedding(batch.positions, p[POSITIONS])
        x = x + rows
    if config.segments:
        rows, segments = embedding(batch.type_ids, p[SEGMENTS])
        x = x + rows
    if config.embedding_norm:
        x, norm = layer_norm(x, p["embeddings.LayerNorm.weight"], p["embeddings.LayerNorm.bias"], config.eps)
    x, mask = dropout(x, config.dropout, rng)
    return x, (words, positions, segments, norm, mask)


def embed_backward(dx: np.ndarray, cache, config: EncoderConfig, d: Parameters) -> None:
    """Gradients of embed, added to `d`."""
    words, positions, segments, norm, mask = cache
    # forward: x = dropout(norm(words + positions + segments))
    dx = dropout_backward(dx, mask)
    if config.embedding_norm:
        dx, dgamma, dbeta = layer_norm_backward(dx, norm)
        d["embeddings.LayerNorm.weight"][...] += dgamma
        d["embeddings.LayerNorm.bias"][...] += dbeta
    # a sum hands its gradient to every term
    d[WORDS][...] += embedding_backward(dx, words)
    if config.positions:
        d[POSITIONS][...] += embedding_backward(dx, positions)
    if config.segments:
        d[SEGMENTS][...] += embedding_backward(dx, segments)


def check_lengths(batch: Ragged, positions: int) -> None:
    """ValueError for a sequence of more tokens than there are positions."""
    long = np.flatnonzero(batch.lengths > positions)
    if len(long):
        raise ValueError(
            f"expected at most {positions} tokens a sequence, got {batch.lengths[long[0]]} in sequence {long[0]}"
        )
