"""What BERT with a head is made of: a tokenizer, an encoder, a head, and their folder.

Unlike a sentence encoder, whose one output is a vector for every purpose, each of the models below answers one
question: classifier.py, tagger.py, reader.py, cross_encoder.py, and bert.py itself, which all others start from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from minibert import head_folder
from minibert.data import batches
from minibert.encoder import encoder, encoder_backward, initialize
from minibert.heads import HEADS, HeadConfig, pooler
from minibert.inference import Buffers, infer, least_rows
from minibert.models.saved import SavedModel, check_vocabulary
from minibert.ops import cross_entropy, cross_entropy_backward
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.train import digest, train

if TYPE_CHECKING:
    from typing_extensions import Self

    from tokenizers import Tokenizer

TOKENS_A_PASS = 1024


@dataclass(frozen=True)
class Examples:
    """What a model learns from.

    Shapes   batch of B sequences, T tokens; targets (B, …), or (T,) where each token has one
    """

    batch: Ragged
    targets: np.ndarray
    per_token: bool = False

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: np.ndarray) -> Examples:
        """The named examples, in the given order."""
        targets = self.targets[self.batch.rows_of(rows) if self.per_token else rows]
        return Examples(self.batch.take(rows), targets, self.per_token)

    def by_length(self) -> Examples:
        """The same examples, short ones first, as attention wants them."""
        return self.take(np.argsort(self.batch.lengths, kind="stable"))


def label_numbers(labels: Sequence[str], known: tuple[str, ...]) -> np.ndarray:
    """Each label's place among the known ones.

    Raises   ValueError: a label that is not known, with its position
    """
    numbers = {label: i for i, label in enumerate(known)}
    for row, label in enumerate(labels):
        if label not in numbers:
            raise ValueError(f"expected a label of {', '.join(known)}, got {label!r} in row {row}")
    return np.array([numbers[label] for label in labels], np.int64)


class HeadedModel(SavedModel):
    """A tokenizer, a configuration and weights, of encoder and head.

    model = Classifier.load(folder)                                        # one that was trained before
    model = Classifier.from_encoder(folder, labels=("bad", "good"))        # any BERT's or sentence encoder's folder
    """

    head: ClassVar[str]
    config_class = HeadConfig

    def __init__(self, tokenizer: Tokenizer, config: HeadConfig, parameters: Parameters):
        check_vocabulary(tokenizer, config)
        if config.head != self.head:
            raise ValueError(f"expected a configuration with the head {self.head!r}, got {config.head!r}")
        super().__init__(tokenizer, config, parameters)

    @classmethod
    def create(cls, tokenizer: Tokenizer, config: HeadConfig, seed: int = 0) -> Self:
        """An untrained model, its weights drawn with this seed.

        Raises   ValueError: the configuration's vocabulary is smaller than the tokenizer's, or its head another one
        """
        parameters = Parameters(config.shapes)
        initialize(parameters, np.random.default_rng(seed))
        return cls(tokenizer, config, parameters)

    @classmethod
    def from_encoder(cls, folder: str | PathLike[str], seed: int = 0, **settings: Any) -> Self:
        """The encoder of any BERT or sentence-transformers folder under a head whose weights are drawn.

        Units    settings: labels, max_length, dropout, in place of the folder's
        Raises   FileNotFoundError; CheckpointError: as SentenceEncoder.load; ValueError: a setting that cannot be
        """
        tokenizer, config, tensors = head_folder.load_encoder(folder, head=cls.head, **settings)
        model = cls.create(tokenizer, config, seed)
        model.parameters.load(dict(model.parameters) | tensors)
        return model

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read a folder that `save`, or transformers with the same head, wrote.

        Raises   FileNotFoundError; CheckpointError: another head, or names the file and what does not fit
        """
        return cls(*head_folder.load(folder, cls.head))

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a folder that `load` and transformers open.

        Raises   OSError: the disk is full, or the folder cannot be written; the old files are as they were
        """
        head_folder.save(folder, self.tokenizer, self.config, self.parameters)

    def tokenize(self, texts: Iterable[str], pairs: Iterable[str] | None = None, on_truncate: str = "warn") -> Ragged:
        """Texts or pairs of texts → ids, the longer one cut until both fit into max_length."""
        batch = self.tokenizer.encode_batch(texts, pairs, self.config.max_length, on_truncate)
        return Ragged(batch.ids, batch.type_ids, batch.starts)

    def outputs(self, batch: Ragged, progress: bool = False) -> np.ndarray:
        """The head's scores when nothing is learned, in the batch's order; a row's bits do not depend on its company.

        Shapes   batch of B sequences, T tokens → (B, labels) of the head "sequence", else (T, labels) or (T, 2)
        """
        from tqdm import tqdm

        p, config = self.parameters, self.config
        whole = config.head == "sequence"
        scores = np.empty((len(batch) if whole else len(batch.ids), len(config.outputs)), np.float32)
        weight, bias = p[f"{config.output_layer}.weight"], p[f"{config.output_layer}.bias"]
        buffers = Buffers(least_rows(config, (config.width, config.width)) or 1)
        order = np.argsort(batch.lengths, kind="stable")
        passes = (np.cumsum(batch.lengths[order]) - 1) // TOKENS_A_PASS
        chunks = np.split(order, np.flatnonzero(np.diff(passes)) + 1) if len(order) else []
        for chunk in tqdm(chunks, config.head, unit="batch", disable=not progress):
            part = batch.take(chunk)
            x = infer(p, config, part, buffers, rows=part.starts[:-1] if whole else None)
            if whole:
                padded = np.zeros((max(len(x), buffers.least_rows), config.width), x.dtype)
                padded[: len(x)] = x
                x = pooler(padded, p)[0][: len(x)]
            # not a matrix product: of so few columns its bits depend on how many rows there are
            scores[chunk if whole else batch.rows_of(chunk)] = np.einsum("td,ld->tl", x, weight) + bias
        return scores

    def loss_and_gradients(
        self, examples: Examples, rng: np.random.Generator | None = None
    ) -> tuple[float, Parameters]:
        """Mean loss over some examples, and its gradients; `rng` draws the dropout."""
        p, config = self.parameters, self.config
        examples = examples.by_length()
        x, c_encoder = encoder(p, config, examples.batch, rng, self.rows_read(examples))
        scores, c_head = HEADS[config.head][0](x, p, config, rng)
        loss, c_loss = self.loss(scores, examples)

        d = p.zeros_like()
        dx = HEADS[config.head][1](self.loss_backward(1.0, c_loss), c_head, d)
        encoder_backward(dx, c_encoder, config, d)
        return float(loss), d

    def rows_read(self, examples: Examples) -> np.ndarray | slice:
        """The rows of the last layer that the loss reads: those of [CLS]."""
        return examples.batch.starts[:-1]

    def loss(self, scores: np.ndarray, examples: Examples) -> tuple[float, Any]:
        """What training minimises: by default the cross entropy of labels."""
        return cross_entropy(scores, examples.targets)

    @staticmethod
    def loss_backward(dloss: float, cache: Any) -> np.ndarray:
        """Gradient of loss: dscores."""
        return cross_entropy_backward(dloss, cache)


def fit(
    model: HeadedModel,
    examples: Examples,
    *,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    weight_decay: float = 0.01,
    seed: int = 0,
    **options: Any,
) -> list[dict[str, float]]:
    """Train a model with a head, in place: all weights, AdamW, a linear schedule (Devlin 2018, appendix A).

    Returns  the history, see `train`, whose `options` are taken too
    Raises   ValueError: no examples; the rest as `train`
    """
    if not len(examples):
        raise ValueError("expected at least one example, got none")
    return train(
        model.parameters,
        lambda rows, rng: model.loss_and_gradients(examples.take(rows), rng),
        lambda epoch: batches(len(examples), batch_size, seed, epoch, smallest=1),
        epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay, seed=seed,
        settings={
            "batch_size": batch_size, "config": str(model.config), "data": digest(examples.batch, examples.targets),
        },
        **options,
    )  # fmt: skip
