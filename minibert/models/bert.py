"""BERT itself: an encoder that learns from plain text, before it is fine-tuned for anything.

Unlike the models that start from it, it needs no labels: it tells words that were hidden from it, from both sides, and
whether one text followed another. What it learns stands in the encoder; the two heads are there to teach it.

    [CLS] the [MASK] sat [SEP] it slept [SEP] ──encoder──▶ masked rows ──▶ scores of all words    + mean cross entropy
                                                          [CLS] ──pooler──▶ follows, or not        + mean cross entropy

Source   Devlin 2018 (arXiv:1810.04805) section 3.1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minibert.encoder import encoder, encoder_backward, initialize
from minibert.heads import (
    HeadConfig,
    next_sentence_head,
    next_sentence_head_backward,
    word_loss,
    word_loss_backward,
    word_scores,
)
from minibert.models.headed import Examples, HeadedModel
from minibert.ops import cross_entropy, cross_entropy_backward, softmax
from minibert.parameters import Parameters
from minibert.pretraining import MASKS, Masked, mask_words, sentence_pairs
from minibert.ragged import Ragged

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SEQUENCES_A_PASS, ROWS = 64, 256  # in evaluation; rows of the scores of all words at a time


class Bert(HeadedModel):
    """What all others start from.

    model = Bert.create(tokenizer, config)
    fit(model, model.examples(documents), epochs=10, learning_rate=5e-4)
    model.save(folder)
    """

    kind, head = "bert", "pretraining"

    @classmethod
    def create(cls, tokenizer: Tokenizer, config: HeadConfig, seed: int = 0) -> Bert:
        """As HeadedModel.create, with small word vectors: the same table scores the words."""
        parameters = Parameters(config.shapes)
        initialize(parameters, np.random.default_rng(seed), words=0.02)
        return cls(tokenizer, config, parameters)

    def examples(self, documents: Sequence[str], seed: int = 0) -> Examples:
        """Pairs of texts of documents, see `sentence_pairs`, whose words are not masked yet."""
        return Examples(*sentence_pairs(documents, self.tokenizer, self.config.max_length, seed))

    def loss_and_gradients(  # type: ignore[override]  # masks have to be drawn
        self, examples: Examples, rng: np.random.Generator
    ) -> tuple[float, Parameters]:
        """Mean loss of both tasks over some pairs, and its gradients; `rng` draws masks, then dropout."""
        examples = examples.by_length()
        return self.masked_loss_and_gradients(mask_words(examples.batch, self.tokenizer, rng), examples.targets, rng)

    def masked_loss_and_gradients(
        self, masked: Masked, labels: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[float, Parameters]:
        """The same where masks are drawn already: mean over the masked words, plus mean over the pairs."""
        p, config = self.parameters, self.config
        count = len(masked.batch)
        x, c_encoder = self._rows_read(masked, rng)
        next_scores, c_next = next_sentence_head(x[:count], p)
        next_loss, c_next_loss = cross_entropy(next_scores, labels)
        words_loss, c_words = word_loss(x[count:], p, config, masked.words)

        d = p.zeros_like()
        dcls = next_sentence_head_backward(cross_entropy_backward(1.0, c_next_loss), c_next, d)
        dwords = word_loss_backward(1.0, c_words, config, d)
        encoder_backward(np.concatenate([dcls, dwords]), c_encoder, config, d)
        return float(words_loss + next_loss), d

    def evaluate(self, examples: Examples, seed: int = 0) -> dict[str, float]:
        """How well both tasks go on other text: losses, the words' perplexity, shares of what is told right.

        Units    held_out_perplexity: e to the mean loss of a masked word; masks are those of `seed`
        """
        rng, config = np.random.default_rng(seed), self.config
        words_loss, words_right, words, next_loss, next_right = 0.0, 0, 0, 0.0, 0
        order = np.argsort(examples.batch.lengths, kind="stable")
        for start in range(0, len(order), SEQUENCES_A_PASS):
            part = examples.take(order[start : start + SEQUENCES_A_PASS])
            masked = mask_words(part.batch, self.tokenizer, rng)
            x, _ = self._rows_read(masked)
            scores, _ = next_sentence_head(x[: len(part)], self.parameters)
            next_loss += float(cross_entropy(scores, part.targets)[0]) * len(part)
            next_right += int((scores.argmax(axis=1) == part.targets).sum())
            for at in range(0, len(masked.words), ROWS):
                own = masked.words[at : at + ROWS]
                scores = word_scores(x[len(part) + at :][: len(own)], self.parameters, config)
                words_loss += float(cross_entropy(scores, own)[0]) * len(own)
                words_right += int((scores.argmax(axis=1) == own).sum())
            words += len(masked.words)
        return {
            "held_out_loss": words_loss / words + next_loss / len(order),
            "held_out_perplexity": float(np.exp(words_loss / words)),
            "word_accuracy": words_right / words,
            "next_accuracy": next_right / len(order),
        }

    def fill(self, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
        """For each [MASK] of a text, the `count` most probable tokens with their probabilities.

        Raises   ValueError: no [MASK], or a text longer than max_length
        """
        masks = [name for name in MASKS if name in self.tokenizer.special_tokens]
        batch = self.tokenizer.encode_batch([text], None, self.config.max_length, "raise", allowed_special=masks)
        rows = np.flatnonzero(np.isin(batch.ids, [self.tokenizer.special_tokens[name] for name in masks]))
        if not len(rows):
            raise ValueError(f"expected a text with {' or '.join(MASKS)}, got {text[:40]!r}")
        ragged = Ragged(batch.ids, batch.type_ids, batch.starts)
        x, _ = encoder(self.parameters, self.config, ragged, rows=rows)
        probabilities, _ = softmax(word_scores(x, self.parameters, self.config))
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        return [
            [(self.tokenizer.id_to_token(int(i)) or "", float(own[i])) for i in row]
            for own, row in zip(probabilities, best, strict=True)
        ]

    def _rows_read(self, masked: Masked, rng: np.random.Generator | None = None):
        """The last layer's rows of [CLS], then those of the masked words."""
        rows = np.concatenate([masked.batch.starts[:-1], masked.rows])
        return encoder(self.parameters, self.config, masked.batch, rng, rows)
