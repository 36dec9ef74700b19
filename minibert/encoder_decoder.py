"""The transformer of 2017: an encoder that reads the source, a decoder that writes the target, one table of words.

    source ids ──embed──▶ encoder layers ──▶ memory ─────┐
    target ids, shifted right ──embed──▶ decoder layers ─┴▶ vectors ──· Eᵀ──▶ scores of every next token

Trained with the true target shifted by one: from <bos> y₁ … yₙ it has to say y₁ … yₙ <eos>, all positions at once
(teacher forcing: Williams & Zipser 1989). The same matrix E holds the words of the source, those of the target, and
scores the next token (tied three ways: Press & Wolf 2017, arXiv:1608.05859), so both languages share a vocabulary.

Unlike BERT: no segments, positions that are not learned, √D on the words, no layer norm on the embeddings, ReLU.

Source   Vaswani 2017 (arXiv:1706.03762)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.blocks import encoder_layer, encoder_layer_backward, encoder_layer_shapes
from minibert.decoder import Decoding, decoder, decoder_backward, decoder_layer_shapes
from minibert.encoder import WORDS, EncoderConfig, check_lengths
from minibert.ops import (
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    projected_cross_entropy,
    projected_cross_entropy_backward,
    sinusoids,
)
from minibert.parameters import Parameters
from minibert.ragged import Ragged


@dataclass(frozen=True)
class EncoderDecoderConfig(EncoderConfig):
    """Sizes of both halves.

    Units    layers: of the encoder, and as many of the decoder; positions: longest source or target in tokens, <eos>
             included; the rest as in EncoderConfig
    Raises   ValueError: as EncoderConfig, or a setting that the model of 2017 has not
    """

    width: int = 256
    layers: int = 3
    ffn: int = 1024
    positions: int = 256
    segments: int = 0
    activation: str = "relu"
    embedding_norm: bool = False
    eps: float = 1e-5

    def __post_init__(self):
        super().__post_init__()
        if not self.positions or self.segments or self.embedding_norm or self.final_norm:
            raise ValueError("expected positions, and no segments, embedding_norm or final_norm, in the model of 2017")
        variants = self.norm, self.norm_first, self.gated, self.biases, self.scaled, self.head_width, self.position
        if variants != ("layer", False, False, True, True, 0, "learned"):
            raise ValueError("expected post-norm layers of the model of 2017, got one of their variants")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name, as in the BERT checkpoint, and shape."""
        shapes: dict[str, tuple[int, ...]] = {WORDS: (self.vocab_size, self.width)}
        for half, layer_shapes in (("encoder", encoder_layer_shapes), ("decoder", decoder_layer_shapes)):
            layer = layer_shapes(self.width, self.ffn)
            for i in range(self.layers):
                shapes |= {f"{half}.layer.{i}.{name}": shape for name, shape in layer.items()}
        return shapes


def initialize(parameters: Parameters, rng: np.random.Generator) -> None:
    """Fresh weights: words normal with variance 1/D, matrices even in ±√(6 / (rows + columns)), biases 0, gains 1.

    Source   Glorot & Bengio 2010 eq. 16; words as in the authors' tensor2tensor: √D · E then has variance 1
    """
    for name, array in parameters.items():
        if name.endswith(".bias"):
            array[...] = 0
        elif "LayerNorm" in name:
            array[...] = 1
        elif name == WORDS:
            array[...] = rng.standard_normal(array.shape) * array.shape[1] ** -0.5
        else:
            limit = (6 / sum(array.shape)) ** 0.5
            array[...] = rng.uniform(-limit, limit, array.shape)


def loss_and_gradients(
    p: Parameters,
    config: EncoderDecoderConfig,
    sources: Ragged,
    targets: Ragged,
    bos: int,
    smoothing: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[float, Parameters]:
    """Cross entropy of every target token, given its source and the tokens before it; and all gradients.

    Shapes   sources, targets: B sequences each, both with <eos> at their ends → loss (), gradients as p
    """
    order = np.lexsort((sources.lengths, targets.lengths))  # pairs of the same two lengths stand together
    sources, targets = sources.take(order), targets.take(order)
    memory, encode_cache = encode(p, config, sources, rng)
    x, decode_cache = decode(p, config, memory, sources, shift_right(targets, bos), rng)
    loss, loss_cache = projected_cross_entropy(x, p[WORDS], targets.ids, smoothing)

    d = p.zeros_like()
    dx, dwords = projected_cross_entropy_backward(1.0, loss_cache)
    d[WORDS][...] += dwords
    dmemory = decode_backward(dx, decode_cache, config, d)
    encode_backward(dmemory, encode_cache, config, d)
    return float(loss), d


def encode(
    p: Parameters, config: EncoderDecoderConfig, sources: Ragged, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """Vectors of the source's tokens, in its context.

    Shapes   S tokens → memory (S, D)
    Raises   ValueError: a sequence longer than the positions, or an id out of range
    """
    x, embed_cache = embed(p, config, sources, rng)
    caches = []
    for i in range(config.layers):
        x, cache = encoder_layer(x, p.sub(f"encoder.layer.{i}."), sources, config, rng)
        caches.append(cache)
    return x, (embed_cache, caches)


def encode_backward(dmemory: np.ndarray, cache: Any, config: EncoderDecoderConfig, d: Parameters) -> None:
    """Gradients of encode, added to `d`."""
    embed_cache, caches = cache
    for i in reversed(range(config.layers)):
        dmemory = encoder_layer_backward(dmemory, caches[i], config, d.sub(f"encoder.layer.{i}."))
    embed_backward(dmemory, embed_cache, d)


def decode(
    p: Parameters,
    config: EncoderDecoderConfig,
    memory: np.ndarray,
    sources: Ragged,
    inputs: Ragged,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Any]:
    """Vectors of the target's tokens, from which E scores the token after each.

    Shapes   memory (S, D), inputs of T tokens, <bos> first → x (T, D)
    """
    x, embed_cache = embed(p, config, inputs, rng)
    x, decoder_cache = decoder(x, memory, p, inputs, sources, config, rng)
    return x, (embed_cache, decoder_cache)


def decode_backward(dx: np.ndarray, cache: Any, config: EncoderDecoderConfig, d: Parameters) -> np.ndarray:
    """Gradient of decode: dmemory; the parameters' are added to `d`."""
    embed_cache, decoder_cache = cache
    dx, dmemory = decoder_backward(dx, decoder_cache, config, d)
    embed_backward(dx, embed_cache, d)
    return dmemory


def embed(
    p: Parameters, config: EncoderDecoderConfig, batch: Ragged, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """Words and places: √D · E[ids] + sinusoids, then dropout (Vaswani 2017, sections 3.4 and 5.4).

    Shapes   T tokens → x (T, D)
    """
    check_lengths(batch, config.positions)
    rows, words = embedding(batch.ids, p[WORDS])
    scale = rows.dtype.type(config.width**0.5)
    places = sinusoids(int(batch.lengths.max(initial=0)), config.width).astype(rows.dtype)
    x, mask = dropout(scale * rows + places[batch.positions], config.dropout, rng)
    return x, (words, scale, mask)


def embed_backward(dx: np.ndarray, cache: Any, d: Parameters) -> None:
    """Gradients of embed, added to `d`."""
    words, scale, mask = cache
    # forward: x = dropout(scale * E[ids] + places)
    d[WORDS][...] += embedding_backward(scale * dropout_backward(dx, mask), words)


class Speaker:
    """Translations of B sources half said, `beam` beginnings each: whom `minibert.beam` asks for the next token."""

    def __init__(self, p: Parameters, config: EncoderDecoderConfig, sources: Ragged, beam: int = 1):
        self.p, self.config = p, config
        memory, _ = encode(p, config, sources)
        self.decoding = Decoding(memory, p, sources, config, beam)
        self.places = sinusoids(config.positions, config.width).astype(memory.dtype)
        self.length = 0

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Scores of the token after the beginnings, which these tokens go on.

        Shapes   tokens (B · beam,) → scores (B · beam, V)
        Raises   ValueError: more tokens than positions, or an id out of range
        """
        if self.length == self.config.positions:
            raise ValueError(f"expected at most {self.config.positions} tokens, got one more")
        rows, _ = embedding(tokens, self.p[WORDS])
        x = rows.dtype.type(self.config.width**0.5) * rows + self.places[self.length]
        self.length += 1
        return self.decoding.step(x) @ self.p[WORDS].T

    def select(self, sentences: np.ndarray, rows: np.ndarray) -> None:
        """Go on with these sentences and beginnings; see Decoding.select."""
        self.decoding.select(sentences, rows)


def shift_right(targets: Ragged, bos: int) -> Ragged:
    """What the decoder reads while it has to say the targets: <bos>, then all but their last token."""
    ids = np.empty_like(targets.ids)
    ids[1:] = targets.ids[:-1]
    ids[targets.starts[:-1]] = bos
    return Ragged(ids, targets.type_ids, targets.starts)
