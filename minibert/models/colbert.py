"""ColBERT: every token keeps a vector of its own, and query and document meet only in the score.

Unlike the dual encoder, whose one vector must hold all that a document may ever be asked for, a document keeps as many
vectors as tokens, 128 wide, and each token of the query looks for its match among them (`max_sim`). One network serves
both sides, which a marker after [CLS] tells apart:

    query     [CLS] [Q] q₁ … qₙ [SEP] [MASK] … [MASK]   filled up to 32 tokens: what a mask becomes is a term that the
                                                        query lacks, or weight on one it has (query augmentation)
    document  [CLS] [D] d₁ … dₘ [SEP]                   the vectors of punctuation are dropped

Loss     cross entropy of each query's own document against the others of the batch and further hard negatives
Pooling  none: linear projection without bias, unit vectors
Recipe   version 1: triples with BM25's negatives; version 2 (Santhanam 2021): a cross encoder's scores of 64 passages
         a query are distilled by KL, negatives mined by ColBERT itself; `minibert.retrieval.ColBERTIndex` compresses

Source   Khattab & Zaharia 2020 (arXiv:2004.12832); Santhanam 2021 (ColBERTv2, arXiv:2112.01488)
Differs  other tokens attend to the masks, as to all tokens; in the authors' code masks attend and are not attended to
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.data import batches
from minibert.encoder import EncoderConfig, check_sizes, encoder, encoder_backward, initialize
from minibert.inference import Buffers, infer
from minibert.losses import (
    diagonal_cross_entropy,
    diagonal_cross_entropy_backward,
    kl_distillation,
    kl_distillation_backward,
)
from minibert.models.distillation import finite_scores, own
from minibert.models.saved import SavedModel, check_vocabulary, copy_encoder, encoder_settings
from minibert.ops import (
    l2_normalize,
    l2_normalize_backward,
    linear,
    linear_backward,
    max_sim,
    max_sim_backward,
)
from minibert.parameters import Parameters
from minibert.ragged import Ragged, TokenVectors
from minibert.train import check_rows_meet, digest, numbered, train

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROJECTION = "projection.weight"
MASK = "[MASK]"
SEQUENCES_A_PASS = 64


@dataclass(frozen=True)
class ColBERTConfig(EncoderConfig):
    """An encoder's configuration, and what late interaction adds.

    Units    dim: width of a token's vector; query_length: tokens of every query, markers and masks included;
             max_length: longest document in tokens; query_marker, document_marker: tokens of the vocabulary
    Raises   ValueError: also where a length passes the positions or cannot hold [CLS], the marker and [SEP]
    """

    dim: int = 128
    query_length: int = 32
    max_length: int = 180
    query_marker: str = "[unused0]"
    document_marker: str = "[unused1]"

    def __post_init__(self):
        super().__post_init__()
        check_sizes(self, 1, "dim")
        check_sizes(self, 3, "query_length", "max_length")
        longest = max(self.query_length, self.max_length)
        if self.positions and longest > self.positions:
            raise ValueError(f"expected lengths of at most {self.positions} positions, got {longest}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter."""
        return super().shapes | {PROJECTION: (self.dim, self.width)}


def token_vectors(
    p: Parameters, config: ColBERTConfig, batch: Ragged, kept: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[TokenVectors, Any]:
    """Unit vectors of the tokens that are kept, in the batch's order.

    Shapes   batch of T tokens, kept (T,) bool → K vectors of dim numbers
    """
    order = np.argsort(batch.lengths, kind="stable")
    x, encoder_cache = encoder(p, config, batch.take(order), rng)
    x, linear_cache = linear(x, p[PROJECTION])
    x, norm_cache = l2_normalize(x)
    rows = np.argsort(batch.rows_of(order))[kept]
    return TokenVectors(x[rows], kept_starts(batch, kept)), (encoder_cache, linear_cache, norm_cache, rows, x.shape)


def token_vectors_backward(drows: np.ndarray, cache: Any, config: ColBERTConfig, d: Parameters) -> None:
    """Gradients of token_vectors, added to `d`."""
    encoder_cache, linear_cache, norm_cache, rows, shape = cache
    # forward: vectors = l2_normalize(linear(encoder(batch)))[rows]
    dx = np.zeros(shape, drows.dtype)
    dx[rows] = drows
    dx, dweight, _ = linear_backward(l2_normalize_backward(dx, norm_cache), linear_cache)
    d[PROJECTION][...] += dweight
    encoder_backward(dx, encoder_cache, config, d)


def kept_starts(batch: Ragged, kept: np.ndarray) -> np.ndarray:
    """Where each sequence starts once only the kept tokens are left: (B + 1,)."""
    return np.concatenate(([0], np.cumsum(kept)))[batch.starts]


class ColBERT(SavedModel):
    """One encoder, its tokenizer and its configuration.

    model = ColBERT.load(folder)
    scores = model.score(question, passages)            # also as `rerank=` of a store
    """

    kind, config_class = "colbert", ColBERTConfig

    def __init__(self, tokenizer: Tokenizer, config: ColBERTConfig, parameters: Parameters):
        check_vocabulary(tokenizer, config)
        super().__init__(tokenizer, config, parameters)
        names = config.query_marker, config.document_marker, MASK
        if missing := [name for name in names if name not in tokenizer.vocab]:
            raise ValueError(f"expected a vocabulary with the tokens {', '.join(names)}, got none {missing[0]}")
        self._query_marker, self._document_marker, self._mask = (tokenizer.vocab[name] for name in names)
        marks = [id for token, id in tokenizer.vocab.items() if len(token) == 1 and token in string.punctuation]
        self._punctuation = np.array(sorted(marks), np.int32)

    @classmethod
    def create(cls, tokenizer: Tokenizer, config: ColBERTConfig, seed: int = 0) -> ColBERT:
        """An untrained model, its weights drawn with this seed.

        Raises   ValueError: the vocabulary is larger than the configuration's, or lacks a marker or [MASK]
        """
        parameters = Parameters(config.shapes)
        initialize(parameters, np.random.default_rng(seed))
        return cls(tokenizer, config, parameters)

    @classmethod
    def from_encoder(cls, model: SavedModel, seed: int = 0, **settings: Any) -> ColBERT:
        """A pre-trained encoder, such as a `SentenceEncoder`'s, with a projection drawn with this seed.

        Units    settings: what ColBERTConfig adds to an encoder's, and dropout
        """
        made = cls.create(model.tokenizer, ColBERTConfig(**encoder_settings(model) | settings), seed)
        copy_encoder(model, made.parameters)
        return made

    @property
    def dim(self) -> int:
        """Width of a token's vector."""
        return self.config.dim

    def encode_query(self, texts: Iterable[str], progress: bool = False, on_truncate: str = "warn") -> TokenVectors:
        """Vectors of questions, query_length each.

        Raises   TypeError: a text that is no string, with its position; ValueError: on_truncate="raise" and a long text
        """
        return self._encode(self.tokenize_query(texts, on_truncate), False, progress)

    def encode_document(self, texts: Iterable[str], progress: bool = False, on_truncate: str = "warn") -> TokenVectors:
        """Vectors of passages, one for each token but punctuation; errors as in `encode_query`."""
        return self._encode(self.tokenize_document(texts, on_truncate), True, progress)

    def score(self, query: str, documents: list[str]) -> np.ndarray:
        """How well each document answers the query: (N,), at most query_length."""
        if not len(documents):
            return np.empty(0, np.float32)
        queries = self.encode_query([query], on_truncate="silent")
        return max_sim(queries, self.encode_document(documents, on_truncate="silent"))[0][0]

    def tokenize_query(self, texts: Iterable[str], on_truncate: str = "warn") -> Ragged:
        """Questions → ids, each query_length long: cut, or filled up with [MASK]."""
        ids, starts = self._tokenize(texts, self._query_marker, self.config.query_length, on_truncate)
        missing = self.config.query_length - np.diff(starts)
        ids = np.insert(ids, np.repeat(starts[1:], missing), self._mask)
        return Ragged(ids, np.zeros_like(ids), np.arange(len(starts)) * self.config.query_length)

    def tokenize_document(self, texts: Iterable[str], on_truncate: str = "warn") -> Ragged:
        """Passages → ids, cut at max_length."""
        ids, starts = self._tokenize(texts, self._document_marker, self.config.max_length, on_truncate)
        return Ragged(ids, np.zeros_like(ids), starts)

    def scores(
        self, queries: Ragged, documents: Ragged, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, Any]:
        """MaxSim of all queries and documents while training; `rng` draws the dropout. Shapes: → (B, N), cache"""
        p, config = self.parameters, self.config
        q, q_cache = token_vectors(p, config, queries, self._kept(queries, False), rng)
        a, a_cache = token_vectors(p, config, documents, self._kept(documents, True), rng)
        scores, scores_cache = max_sim(q, a)
        return scores, (q_cache, a_cache, scores_cache)

    def scores_backward(self, dscores: np.ndarray, cache: Any, d: Parameters) -> None:
        """Gradients of scores, added to `d`."""
        q_cache, a_cache, scores_cache = cache
        # forward: scores = max_sim(token_vectors(queries), token_vectors(documents))
        dq, da = max_sim_backward(dscores, scores_cache)
        token_vectors_backward(da, a_cache, self.config, d)
        token_vectors_backward(dq, q_cache, self.config, d)

    def loss_and_gradients(
        self, queries: Ragged, documents: Ragged, rng: np.random.Generator | None = None, ids: np.ndarray | None = None
    ) -> tuple[float, Parameters]:
        """Cross entropy of B queries, whose documents are in the same rows; further documents are negatives of all.

        Shapes   ids (N,): see diagonal_cross_entropy
        Raises   ValueError: fewer documents than queries, or a single one: there is nothing to tell it from
        """
        scores, cache = self.scores(queries, documents, rng)
        loss, loss_cache = diagonal_cross_entropy(scores, ids)
        d = self.parameters.zeros_like()
        self.scores_backward(diagonal_cross_entropy_backward(1.0, loss_cache), cache, d)
        return float(loss), d

    def _tokenize(self, texts, marker: int, longest: int, on_truncate: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids and starts, with the marker behind [CLS]."""
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, got a str")
        batch = self.tokenizer.encode_batch(list(texts), max_length=longest - 1, on_truncate=on_truncate)
        return np.insert(batch.ids, batch.starts[:-1] + 1, marker), batch.starts + np.arange(len(batch.starts))

    def _kept(self, batch: Ragged, document: bool) -> np.ndarray:
        """Whether each token keeps its vector."""
        return ~np.isin(batch.ids, self._punctuation) if document else np.ones(len(batch.ids), bool)

    def _encode(self, batch: Ragged, document: bool, progress: bool) -> TokenVectors:
        from tqdm import tqdm

        kept = self._kept(batch, document)
        starts, places = kept_starts(batch, kept), np.cumsum(kept) - 1
        rows, buffers = np.empty((starts[-1], self.dim), np.float32), Buffers()
        order = np.argsort(batch.lengths, kind="stable")
        for first in tqdm(range(0, len(order), SEQUENCES_A_PASS), "embed", unit="batch", disable=not progress):
            chunk = order[first : first + SEQUENCES_A_PASS]
            of_chunk = batch.rows_of(chunk)
            x = infer(self.parameters, self.config, batch.take(chunk), buffers)[kept[of_chunk]]
            rows[places[of_chunk[kept[of_chunk]]]] = l2_normalize(linear(x, self.parameters[PROJECTION])[0])[0]
        return TokenVectors(rows, starts)


def train_colbert(
    model: ColBERT,
    examples: Sequence[tuple[str, ...]],
    *,
    teacher: np.ndarray | None = None,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 1e-5,
    seed: int = 0,
    **options: Any,
) -> list[dict[str, float]]:
    """Train, in place, on (question, right passage, hard negatives …), as many passages in every example.

    The loss is the cross entropy over all passages of the batch; a passage that stands twice is no negative of its own.
    With a teacher's scores the KL divergence over each question's own passages is added, as in version 2.

    Shapes   teacher (examples, passages of each)
    Returns  the history, see `train`, whose `options` are taken too
    Raises   ValueError: fewer than 2 examples, a batch or micro-batch of one, unlike numbers of passages, or scores of
             another shape; the rest as `train`
    """
    check_rows_meet(len(examples), batch_size, options.get("micro_batch"))
    if len(widths := {len(example) for example in examples}) != 1 or min(widths) < 2:
        raise ValueError(f"expected a question and as many passages in every example, got {sorted(widths)} texts")
    questions = model.tokenize_query([example[0] for example in examples], "silent")
    texts, table = numbered(example[1:] for example in examples)
    passages, places = model.tokenize_document(texts, "silent"), np.array(table)
    if teacher is not None:
        teacher = finite_scores(teacher, places.shape)

    def loss_and_gradients(rows, rng):
        columns = places[rows].T.ravel()
        scores, cache = model.scores(questions.take(rows), passages.take(columns), rng)
        loss, loss_cache = diagonal_cross_entropy(scores, columns)
        dscores = diagonal_cross_entropy_backward(1.0, loss_cache)
        if teacher is not None:
            more, kl_cache = kl_distillation(own(scores), teacher[rows])
            loss, own(dscores)[...] = loss + more, own(dscores) + kl_distillation_backward(1.0, kl_cache)
        d = model.parameters.zeros_like()
        model.scores_backward(dscores, cache, d)
        return float(loss), d

    data = digest(questions, passages, places, np.empty(0) if teacher is None else teacher)
    return train(
        model.parameters,
        loss_and_gradients,
        lambda epoch: batches(len(examples), batch_size, seed, epoch),
        epochs=epochs, learning_rate=learning_rate, seed=seed,
        settings={"batch_size": batch_size, "config": str(model.config), "data": data},
        **options,
    )  # fmt: skip
