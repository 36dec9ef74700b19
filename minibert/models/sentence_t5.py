"""Sentence-T5: the encoder half of a model that was trained to write, averaged.

Unlike SBERT, which takes BERT's [CLS] or mean, it takes T5's encoder, trained by filling in spans with a decoder behind
it: relative positions, no biases, norms before. Mean pooling is best there (T5 has no [CLS]), followed by a projection
to 768 and unit vectors. Unlike USE, which learns all tasks at once, it learns in two stages, from much and noisy to
little and clean:

    1  question and answer of community sites, 2 billion: the batch's other answers are the negatives
    2  NLI, premise and entailed hypothesis, the contradicting hypothesis a hard negative

Loss     in-batch softmax of cosines, temperature 0.01
Pooling  mean, projection without bias, unit vectors
Recipe   Adafactor, 1e-3 with linear decay, batches of 2,048 in stage 1, 512 in stage 2

Source   Ni 2021 (arXiv:2108.08877); T5: Raffel 2020 (arXiv:1910.10683); the encoder half by configuration (hf_t5.py)
Differs  AdamW; reads and writes sentence-transformers' folders of it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minibert import hf_t5
from minibert.models.sbert import train_pairs
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.sentence_network import Dense, Normalize, SentenceEncoderConfig
from minibert.train import of_stage

TEMPERATURE = 0.01


def sentence_t5_config(vocab_size: int, dim: int = 768, **sizes: Any) -> SentenceEncoderConfig:
    """T5's encoder (version 1.0, by default of the base size), mean pooling, projection and unit vectors."""
    base: dict[str, Any] = {"width": 768, "layers": 12, "heads": 12, "ffn": 3072, "max_length": 256}
    base |= {"activation": "relu", "eps": 1e-6}
    head = (Dense(dim, bias=False, activation="identity"), Normalize())
    return SentenceEncoderConfig(vocab_size, pooling=("mean",), head=head, **hf_t5.VARIANT, **base | sizes)


def train_two_stages(
    encoder: SentenceEncoder,
    pairs: Sequence[tuple[str, str]],
    triplets: Sequence[tuple[str, str, str]],
    *,
    epochs: tuple[int, int] = (1, 1),
    learning_rates: tuple[float, float] = (1e-3, 1e-3),
    batch_sizes: tuple[int, int] = (2048, 512),
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder, in place, first on pairs, then on (premise, entailed, contradicting); no pairs: stage 2 alone.

    Returns  the histories of both stages, see `train`; each record also has its stage, each stage a folder in `folder`
    Options, Raises   as `train_pairs`
    """
    history = []
    for stage, examples in enumerate((pairs, triplets), 1):
        if examples:
            settings = {"epochs": epochs, "learning_rate": learning_rates, "batch_size": batch_sizes}
            recipe: dict[str, Any] = {name: values[stage - 1] for name, values in settings.items()}
            recipe |= {"temperature": TEMPERATURE, "ids": "text"}
            records = train_pairs(encoder, examples, **recipe | of_stage(options, stage))
            history += [{"stage": stage, **record} for record in records]
    return history


def nli_triplets(examples: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """(premise, entailed, contradicting) of every premise that has both, from (premise, hypothesis, label).

    The n-th entailed hypothesis of a premise goes with its n-th contradicting one.
    """
    sides: dict[str, dict[str, list[str]]] = {}
    for premise, hypothesis, label in examples:
        sides.setdefault(premise, {}).setdefault(label, []).append(hypothesis)
    return [
        (premise, entailed, contradicting)
        for premise, by_label in sides.items()
        for entailed, contradicting in zip(
            by_label.get("entailment", ()), by_label.get("contradiction", ()), strict=False
        )
    ]
