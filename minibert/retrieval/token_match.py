"""A reranker out of an encoder that is there already: every token of the question looks for its like in the passage.

    score(q, d) = Σ_i idf(q_i) · max_j cos(q_i, d_j)  /  Σ_i idf(q_i)

Unlike ColBERT (models/colbert.py), whose token vectors are trained to be compared so, it takes those of the encoder's
last layer as they come. The weights then matter: without them "the" counts as much as the word that was asked for.

Source   Zhang 2020 (BERTScore, arXiv:1904.09675): recall, with importance weighting
Differs  idf is BM25's (bm25.py), over the passages; special tokens have weight 0, as they have there
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minibert.inference import Buffers, infer
from minibert.models.dual_encoder import DOCUMENT, QUERY, DualEncoder
from minibert.ops import l2_normalize, max_sim
from minibert.ragged import Ragged, TokenVectors


class TokenMatch:
    """Scores passages by the token vectors of a dual encoder's towers; idf is counted in the `passages` given."""

    def __init__(self, model: DualEncoder, passages: Sequence[str]):
        self.model = model
        batch = model.tokenize(passages, "silent")
        own = np.repeat(np.arange(len(passages)), batch.lengths)
        vocab_size = model.config.vocab_size
        held = np.unique(own * vocab_size + batch.ids) % vocab_size
        documents = np.bincount(held, minlength=vocab_size)
        self.idf = np.log1p((len(passages) - documents + 0.5) / (documents + 0.5)).astype(np.float32)
        self.idf[model.tokenizer.encode("").ids] = 0

    def score(self, query: str, documents: list[str]) -> np.ndarray:
        """Shapes   n passages → (n,) float32 in −1 … 1, 0 for a question of no weight; also for n = 0."""
        if not documents:
            return np.empty(0, np.float32)
        asked = self.model.tokenize([query], "silent")
        weights = self.idf[asked.ids]
        weights = weights / max(float(weights.sum()), 1e-12)
        batch, back = self.model.tokenize(documents, "silent").by_length()
        # A weight ≥ 0 of a token of the question may as well stand in its vector: the maximum is over passages' tokens.
        queries = TokenVectors(weights[:, None] * self._vectors(QUERY, asked), asked.starts)
        scores, _ = max_sim(queries, TokenVectors(self._vectors(DOCUMENT, batch), batch.starts))
        return scores[0][back]

    def _vectors(self, side: str, batch: Ragged) -> np.ndarray:
        """Unit vectors (T, D) of all tokens, of the last layer."""
        return l2_normalize(infer(self.model.parameters.sub(side), self.model.config, batch, Buffers()))[0]
