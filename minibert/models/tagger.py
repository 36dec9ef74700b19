"""The tagger: a label for every word, such as its part of speech or B-PER, I-PER, O for the names of persons.

Unlike the classifier it scores every token, not [CLS]. Labels are of words and tokens are parts of words: the first
part carries the word's label, in training and in use, and the others none. What is too long is read in windows.

Source   Devlin 2018 (arXiv:1810.04805) section 5.3 and figure 4 (d)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.metrics_labels import accuracy, entity_f1
from minibert.models.headed import Examples, HeadedModel, label_numbers
from minibert.ragged import Ragged
from tokenizers.inputs import check_words

OUTSIDE = "O"  # of a word without tokens, as a lone control character is


class Tagger(HeadedModel):
    """labels = Tagger.load(folder).predict([["Ada", "lives", "in", "Paris"]])"""

    kind, head = "tagger", "token"

    def predict(self, sentences: Sequence[Sequence[str]], progress: bool = False) -> list[list[str]]:
        """A label for every word of every sentence.

        A word without tokens gets "O", or the first label where there is no such.

        Raises   TypeError: a word that is no str, with its position
        """
        sentences = check_words(sentences, "sentences")
        batch, words = self._windows(sentences)
        best = self.outputs(batch, progress).argmax(axis=1)
        names = self.config.labels
        labels = [[OUTSIDE if OUTSIDE in names else names[0]] * len(sentence) for sentence in sentences]
        for row in np.flatnonzero(words[:, 0] >= 0):
            sentence, word = words[row]
            labels[sentence][word] = names[best[row]]
        return labels

    def examples(self, sentences: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> Examples:
        """Windows of sentences to learn from; those in which no word begins are left out.

        Raises   ValueError: another number of labels than of words, with the sentence, an unknown label, or labels
                 that are all equal
        """
        sentences = check_words(sentences, "sentences")
        if len(sentences) != len(labels):
            raise ValueError(f"expected labels of {len(sentences)} sentences, got {len(labels)}")
        for number, (sentence, own) in enumerate(zip(sentences, labels, strict=True)):
            if len(sentence) != len(own):
                raise ValueError(f"sentence {number}: expected {len(sentence)} labels, one a word, got {len(own)}")
        known = label_numbers([label for own in labels for label in own], self.config.labels)
        if len(known) and (known == known[0]).all():
            raise ValueError(f"expected labels that differ, got {self.config.labels[known[0]]!r} for all words")
        firsts = np.cumsum([0, *map(len, sentences)])
        batch, words = self._windows(sentences)
        at = words[:, 0] >= 0
        targets = np.full(len(batch.ids), -1)
        targets[at] = known[firsts[words[at, 0]] + words[at, 1]]
        owners = np.repeat(np.arange(len(batch)), batch.lengths)
        return Examples(batch, targets, per_token=True).take(np.unique(owners[at]))

    def evaluate(
        self, sentences: Sequence[Sequence[str]], labels: Sequence[Sequence[str]], strict: bool = False
    ) -> dict[str, float]:
        """precision, recall and f1 of entities, see `entity_f1`, and the accuracy of words.

        Raises   ValueError: as `entity_f1`, or a label that the tagger does not know, with the word's row, or none
        """
        words = [label for own in labels for label in own]
        label_numbers(words, self.config.labels)
        predicted = self.predict(sentences)
        scores = entity_f1(predicted, labels, strict)
        return scores | {"accuracy": accuracy([label for own in predicted for label in own], words)}

    def rows_read(self, examples: Examples) -> np.ndarray | slice:
        """The rows of tokens that carry a label."""
        return np.flatnonzero(examples.targets >= 0)

    def loss(self, scores: np.ndarray, examples: Examples) -> tuple[float, Any]:
        """Cross entropy of the labelled tokens."""
        return super().loss(scores, Examples(examples.batch, examples.targets[self.rows_read(examples)]))

    def _windows(self, sentences: list[list[str]]) -> tuple[Ragged, np.ndarray]:
        """(windows, the sentence and word that each token begins, −1 where it begins none).

        Shapes   n sentences → W ≥ n sequences of T tokens, words (T, 2)
        """
        batch = self.tokenizer.encode_batch(
            sentences, max_length=self.config.max_length, on_truncate="window", is_split_into_words=True
        )
        words = np.stack([np.repeat(batch.text_index, batch.lengths), batch.word_ids], axis=1)
        own = np.flatnonzero(batch.word_ids >= 0)
        later = np.zeros(len(words), bool)
        later[own[1:]] = (words[own[1:]] == words[own[:-1]]).all(axis=1)  # also where a window cuts a word
        words[later | (batch.word_ids < 0)] = -1
        return Ragged(batch.ids, batch.type_ids, batch.starts), words
