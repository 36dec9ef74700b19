"""USE, the universal sentence encoder: one network whose vectors serve every task, because several tasks trained it.

It stands before BERT: nothing is pre-trained on masked words; pairs of sentences that belong together (a remark and its
reply, a sentence and its neighbour, premise and hypothesis) are all there is to learn from. It comes in two variants
behind the same training, and what SBERT took from it is the plan, one network for both sentences (Siamese):

    transformer       the encoder of 2017, its token vectors summed and divided by √length          better, O(length²)
    deep averaging    the vectors of words and of pairs of neighbours (bigrams), summed and divided by √length, through
                      a few dense layers: an encoder without layers                                 faster, O(length)

Loss     softmax over the replies of the batch (`sbert.train_pairs`), softmax over (u, v, |u − v|) (`sbert.train_nli`)
Pooling  sum / √length
Recipe   all tasks at once from random weights; sentences compared by the angle, 1 − arccos(cos) / π

Source   Cer 2018 (arXiv:1803.11175); deep averaging: Iyyer 2015; both losses: Yang 2018 (arXiv:1804.07754)
Differs  subword tokens, where the paper has words; bigrams share the rows of a table by a hash; of the three tasks the
         neighbours of a sentence are pairs like remark and reply
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import numpy as np

from minibert.models.saved import SavedModel
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.ragged import Ragged
from minibert.sentence_network import Dense, Normalize, SentenceEncoderConfig

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: neighbouring products fall far apart (Knuth 6.4)
HIGH = np.uint64(32)


@dataclass(frozen=True)
class USEConfig(SentenceEncoderConfig):
    """A sentence encoder's configuration, and the bigrams.

    Units    layers: 0 for deep averaging; bigrams: rows of their table, the last of the vocab_size; 0 for none
    Raises   ValueError: also where there are bigrams beside layers, which would read them as words, or no row is left
    """

    LEAST_LAYERS: ClassVar[int] = 0

    bigrams: int = 0

    def __post_init__(self):
        # from a file: lists and dictionaries
        object.__setattr__(self, "pooling", tuple(self.pooling))
        object.__setattr__(self, "head", tuple(_module(module) for module in self.head))
        super().__post_init__()
        if not 0 <= self.bigrams < self.vocab_size or (self.bigrams and self.layers):
            raise ValueError(
                f"expected bigrams in 0 … {self.vocab_size - 1}, and none beside layers, got {self.bigrams} and "
                f"{self.layers} layers"
            )


def transformer_config(vocab_size: int, width: int = 512, layers: int = 6, dim: int = 512, **sizes: Any) -> USEConfig:
    """The transformer variant, in the sizes of the base model of 2017 and with USE's 512 numbers a sentence."""
    sizes = {"heads": 8, "ffn": 4 * width, "positions": 256, "max_length": 64} | sizes
    vaswani: dict[str, Any] = {
        "position": "sinusoidal",
        "activation": "relu",
        "embedding_norm": False,
        "segments": 0,
        "eps": 1e-6,
    }
    head = (Dense(dim, activation="identity"), Normalize())
    return USEConfig(vocab_size, width, layers, pooling=("mean_sqrt_len_tokens",), head=head, **vaswani, **sizes)


def averaging_config(
    vocab_size: int,
    width: int = 512,
    hidden: tuple[int, ...] = (512, 512),
    dim: int = 512,
    bigrams: int = 1 << 15,
    **sizes: Any,
) -> USEConfig:
    """The deep averaging variant. Units: hidden: widths of the dense layers before the last, which is dim wide"""
    bare: dict[str, Any] = {"heads": 1, "ffn": 1, "positions": 0, "segments": 0, "embedding_norm": False}
    dense = tuple(Dense(size, activation="relu") for size in hidden)
    head: tuple[Dense | Normalize, ...] = (*dense, Dense(dim, activation="identity"), Normalize())
    pooling = ("mean_sqrt_len_tokens",)
    return USEConfig(vocab_size + bigrams, width, 0, pooling=pooling, head=head, bigrams=bigrams, **bare, **sizes)


class USE(SentenceEncoder):
    """A sentence encoder of either variant.

    encoder = USE.create(tokenizer, averaging_config(tokenizer.vocab_size))
    """

    kind, config_class = "use", USEConfig
    save = SavedModel.save  # no folder of sentence-transformers' has these

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> USE:  # type: ignore[override]  # no truncate_dim
        """Read the folder that `save` wrote; errors as in SavedModel.load."""
        return super(SentenceEncoder, cls).load(folder)

    def features(self, batch: Ragged, skipped: int = 0) -> tuple[Ragged, int]:
        """Each text's tokens, then their bigrams; without the skipped tokens, which without layers no other sees."""
        if not self.config.bigrams:
            return batch, skipped
        kept, _ = batch.without_first(skipped)
        return with_bigrams(kept, self.config.bigrams, self.config.vocab_size), 0


def with_bigrams(batch: Ragged, bigrams: int, vocab_size: int) -> Ragged:
    """Each sequence, then a number in vocab_size − bigrams … vocab_size − 1 for each two neighbours: n → 2n − 1 ids."""
    left = np.delete(np.arange(len(batch.ids)), batch.starts[1:] - 1)  # every token but the last of its sequence
    pairs = batch.ids[left].astype(np.uint64) << HIGH | batch.ids[left + 1].astype(np.uint64)
    hashed = ((pairs * MULTIPLIER) >> HIGH) % np.uint64(bigrams)
    ids = np.empty(2 * len(batch.ids) - len(batch), np.int32)
    starts = 2 * batch.starts - np.arange(len(batch) + 1)
    words = np.arange(len(batch.ids)) + np.repeat(starts[:-1] - batch.starts[:-1], batch.lengths)
    ids[words] = batch.ids
    ids[np.delete(np.arange(len(ids)), words)] = hashed.astype(np.int32) + (vocab_size - bigrams)
    return Ragged(ids, np.zeros_like(ids), starts)


def angular_similarity(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """1 − arccos(cos) / π of all pairs of unit vectors: 1 for equal, ½ for unrelated ones. Shapes: → (U, V)

    Unlike the cosine it tells near vectors apart: around 1 the cosine is flat.
    """
    return 1 - np.arccos(np.clip(u @ v.T, -1, 1)) / np.pi


def _module(module) -> Dense | Normalize:
    if isinstance(module, dict):
        return Dense(**module) if module else Normalize()
    return module
