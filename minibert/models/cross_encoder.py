"""The cross-encoder: reads a question and a document together and gives one score, how well the one answers the other.

Unlike a dual encoder, whose vectors of documents are made before any question is known, every layer lets the words of
the one look at the words of the other. That ranks better, and costs a pass through the network for every pair: it is
for the few documents that a first stage has found. A pair becomes

    [CLS] question [SEP] document [SEP] → encoder → [CLS] → pooler → one score

It opens the folders of sentence-transformers' CrossEncoder, which are transformers' with one label.

Source   Nogueira & Cho 2019 (arXiv:1901.04085); Humeau 2019 (Poly-encoders, arXiv:1905.01969) section 4.2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.heads import HeadConfig
from minibert.models.headed import Examples, HeadedModel
from minibert.ops import binary_cross_entropy, binary_cross_entropy_backward, sigmoid
from tokenizers.inputs import check_texts
from tokenizers.truncation import check_choice

if TYPE_CHECKING:
    from minibert.parameters import Parameters
    from tokenizers import Tokenizer

SCALES = "logit", "probability"


class CrossEncoder(HeadedModel):
    """scores = CrossEncoder.load(folder).score(question, documents)"""

    kind, head = "cross_encoder", "sequence"
    LABELS = ("LABEL_0",)  # as transformers names a single one

    def __init__(self, tokenizer: Tokenizer, config: HeadConfig, parameters: Parameters):
        if len(config.labels) != 1:
            raise ValueError(f"expected a cross-encoder's one label, got {len(config.labels)}")
        super().__init__(tokenizer, config, parameters)

    @classmethod
    def from_encoder(cls, folder: str | PathLike[str], seed: int = 0, **settings: Any) -> CrossEncoder:
        """As HeadedModel.from_encoder; there is one label, and it needs no name."""
        return super().from_encoder(folder, seed, **{"labels": cls.LABELS} | settings)

    def score(
        self,
        query: str,
        documents: Sequence[str],
        scale: str = "logit",
        progress: bool = False,
        on_truncate: str = "silent",
    ) -> np.ndarray:
        """How well each document answers a question: higher is better.

        Shapes   n documents → (n,) float32, also for n = 0
        Units    scale: "logit", any number, 0 where yes and no are even; or "probability", its sigmoid, 0 … 1, as
                 sentence-transformers' predict gives. on_truncate: pairs longer than max_length are cut, the longer
                 text first
        Raises   TypeError: a text that is no str, with its position; ValueError: an unknown scale
        """
        documents = check_texts(documents, "documents")
        return self.score_pairs([query] * len(documents), documents, scale, progress, on_truncate)

    def score_pairs(
        self,
        queries: Iterable[str],
        documents: Iterable[str],
        scale: str = "logit",
        progress: bool = False,
        on_truncate: str = "silent",
    ) -> np.ndarray:
        """The score of each question with the document in the same place; the rest as `score`."""
        check_choice("scale", scale, SCALES)
        scores = self.outputs(self.tokenize(queries, documents, on_truncate), progress)[:, 0]
        return sigmoid(scores) if scale == "probability" else scores

    def examples(self, queries: Sequence[str], documents: Sequence[str], labels: Sequence[float]) -> Examples:
        """Pairs to learn from; long ones are cut.

        Units    labels: 1 where the document answers the question, 0 where not, or a share between them
        Raises   ValueError: another number of each, or labels that are all equal: nothing then tells yes from no
        """
        targets = np.asarray(labels, np.float32)
        if len(targets) != len(documents):
            raise ValueError(f"expected as many labels as documents, {len(documents)}, got {len(targets)}")
        if len(targets) and (targets == targets[0]).all():
            raise ValueError(f"expected labels that differ, got {targets[0]} for all {len(targets)} pairs")
        return Examples(self.tokenize(queries, documents, "silent"), targets)

    def loss(self, scores: np.ndarray, examples: Examples) -> tuple[float, Any]:
        """Binary cross entropy of the one score."""
        return binary_cross_entropy(scores[:, 0], examples.targets)

    @staticmethod
    def loss_backward(dloss: float, cache: Any) -> np.ndarray:
        """Gradient of loss: dscores (B, 1)."""
        return binary_cross_entropy_backward(dloss, cache)[:, None]
