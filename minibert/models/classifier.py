"""The classifier: a label for a text, or for a pair of texts.

Unlike the cross-encoder, which gives one number to rank by, it chooses among named classes that exclude each other:
sentiment and topic of a text, entailment or paraphrase of a pair. A softmax over the scores of [CLS] says how surely.

Source   Devlin 2018 (arXiv:1810.04805) section 4.1, figure 4 (a) and (b)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from minibert.metrics_labels import accuracy, f1, matthews
from minibert.models.headed import Examples, HeadedModel, label_numbers
from minibert.ops import softmax


class Classifier(HeadedModel):
    """labels = Classifier.load(folder).predict(texts)"""

    kind, head = "classifier", "sequence"

    def predict(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        progress: bool = False,
        on_truncate: str = "warn",
    ) -> list[str]:
        """The most probable label of each text, or pair; of equally probable ones the first.

        Raises   TypeError: a text that is no str, with its position; ValueError: on_truncate="raise" and a long text
        """
        best = self._scores(texts, pairs, progress, on_truncate).argmax(axis=1)
        return [self.config.labels[i] for i in best]

    def probabilities(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        progress: bool = False,
        on_truncate: str = "warn",
    ) -> np.ndarray:
        """How probable each label is.

        Shapes   n texts → (n, labels), rows sum to 1, in the order of config.labels
        """
        return softmax(self._scores(texts, pairs, progress, on_truncate))[0]

    def examples(self, texts: Sequence[str], labels: Sequence[str], pairs: Sequence[str] | None = None) -> Examples:
        """Texts, or pairs, to learn from; long ones are cut.

        Raises   ValueError: another number of labels than of texts, an unknown label, or labels that are all equal
        """
        targets = label_numbers(labels, self.config.labels)
        if len(targets) != len(texts):
            raise ValueError(f"expected as many labels as texts, {len(texts)}, got {len(targets)}")
        if len(targets) and (targets == targets[0]).all():
            raise ValueError(f"expected labels that differ, got {labels[0]!r} for all {len(targets)} texts")
        return Examples(self.tokenize(texts, pairs, "silent"), targets)

    def evaluate(
        self, texts: Sequence[str], labels: Sequence[str], pairs: Iterable[str] | None = None
    ) -> dict[str, float]:
        """accuracy, macro_f1 and matthews of what is predicted; long texts are cut.

        Raises   ValueError: a label that the classifier does not know, with its row, or none at all
        """
        label_numbers(labels, self.config.labels)
        predicted = self.predict(texts, pairs, on_truncate="silent")
        measures = {"accuracy": accuracy, "macro_f1": f1, "matthews": matthews}
        return {name: measure(predicted, labels) for name, measure in measures.items()}

    def _scores(self, texts, pairs, progress: bool, on_truncate: str) -> np.ndarray:
        return self.outputs(self.tokenize(texts, pairs, on_truncate), progress)
