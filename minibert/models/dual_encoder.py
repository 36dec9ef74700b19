"""The dual encoder: two BERT-like towers, one for questions and one for answers, that meet in one vector space.

Unlike a sentence encoder, which maps any two similar sentences close to each other with one network, it ranks answers
to a question: the two sides differ in kind, so each has weights of its own. A tower is

    ids → token + position + segment embeddings → encoder layers → vector of [CLS] → linear projection

and a question scores an answer by the inner product of their vectors, S = Q Aᵀ. Both towers start from equal
weights, as in Karpukhin 2020 (DPR, arXiv:2004.04906): a word then means the same on both sides from the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert import losses
from minibert.blocks import linear_shapes
from minibert.encoder import EncoderConfig, check_sizes, encoder, encoder_backward, initialize
from minibert.gradcache import Side, loss_through
from minibert.inference import Buffers, infer
from minibert.models.saved import SavedModel, check_vocabulary, copy_encoder, encoder_settings
from minibert.ops import l2_normalize, l2_normalize_backward, linear, linear_backward
from minibert.parameters import Parameters
from minibert.ragged import Ragged

if TYPE_CHECKING:
    from tokenizers import Tokenizer

QUERY, DOCUMENT = "query.", "document."
SEQUENCES_A_PASS = 64


@dataclass(frozen=True)
class DualEncoderConfig(EncoderConfig):
    """An encoder's configuration, and what a tower adds.

    Units    dim: width of the projected vectors; max_length: longest text in tokens, specials included; normalize: unit
             vectors, so that scores are cosines; temperature: the scores are divided by it in the loss
    Raises   ValueError: also where max_length passes the positions or cannot hold [CLS] and [SEP]
    """

    dim: int = 128
    max_length: int = 64
    normalize: bool = False
    temperature: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_sizes(self, 1, "dim", "max_length")
        if not self.temperature > 0:
            raise ValueError(f"expected a temperature above 0, got {self.temperature}")
        longest = self.positions or self.max_length
        if not 2 <= self.max_length <= longest:
            raise ValueError(f"expected a max_length in 2 … {longest}, got {self.max_length}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter of both towers."""
        tower = super().shapes | linear_shapes("projection", self.dim, self.width)
        return {side + name: shape for side in (QUERY, DOCUMENT) for name, shape in tower.items()}


def tower(
    p: Parameters, config: DualEncoderConfig, batch: Ragged, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, Any]:
    """One vector per sequence: [CLS] of the last layer, projected.

    Shapes   batch of B sequences → vectors (B, dim), in the batch's order
    """
    batch, back = batch.by_length()
    cls, encoder_cache = encoder(p, config, batch, rng, rows=batch.starts[:-1])
    vectors, linear_cache = linear(cls, p["projection.weight"], p["projection.bias"])
    norm_cache = None
    if config.normalize:
        vectors, norm_cache = l2_normalize(vectors)
    return vectors[back], (encoder_cache, linear_cache, norm_cache, back)


def infer_tower(p: Parameters, config: DualEncoderConfig, batch: Ragged, buffers: Buffers) -> np.ndarray:
    """`tower` when nothing is learned, of a batch sorted by length, without a cache."""
    cls = infer(p, config, batch, buffers, rows=batch.starts[:-1])
    vectors, _ = linear(cls, p["projection.weight"], p["projection.bias"])
    return l2_normalize(vectors)[0] if config.normalize else vectors


def tower_backward(dvectors: np.ndarray, cache: Any, config: DualEncoderConfig, d: Parameters) -> None:
    """Gradients of tower, added to `d`."""
    encoder_cache, linear_cache, norm_cache, back = cache
    # forward: vectors = normalize(linear(cls))[back]
    dsorted = np.empty_like(dvectors)
    dsorted[back] = dvectors
    if config.normalize:
        dsorted = l2_normalize_backward(dsorted, norm_cache)
    dcls, dweight, dbias = linear_backward(dsorted, linear_cache)
    d["projection.weight"][...] += dweight
    d["projection.bias"][...] += dbias
    encoder_backward(dcls, encoder_cache, config, d)


class DualEncoder(SavedModel):
    """Two towers, their tokenizer and their configuration.

    model = DualEncoder.load(folder)
    scores = model.encode_query(questions) @ model.encode_document(answers).T
    """

    kind, config_class = "dual_encoder", DualEncoderConfig

    @classmethod
    def create(cls, tokenizer: Tokenizer, config: DualEncoderConfig, seed: int = 0) -> DualEncoder:
        """Untrained towers with equal weights, drawn with this seed.

        Raises   ValueError: the configuration's vocabulary is smaller than the tokenizer's
        """
        check_vocabulary(tokenizer, config)
        parameters = Parameters(config.shapes)
        initialize(parameters.sub(QUERY), np.random.default_rng(seed))
        parameters.sub(DOCUMENT).flat[...] = parameters.sub(QUERY).flat
        return cls(tokenizer, config, parameters)

    @classmethod
    def from_encoder(cls, model: SavedModel, seed: int = 0, **settings: Any) -> DualEncoder:
        """Two towers with a pre-trained encoder's weights, such as a `SentenceEncoder`'s, and a drawn projection.

        Units    settings: what DualEncoderConfig adds to an encoder's, and dropout; dim is by default the width
        """
        settings = encoder_settings(model) | {"dim": model.config.width} | settings
        made = cls.create(model.tokenizer, DualEncoderConfig(**settings), seed)
        for side in (QUERY, DOCUMENT):
            copy_encoder(model, made.parameters.sub(side))
        return made

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.config.dim

    @property
    def metric(self) -> str:
        """What the vectors are compared by: "cosine" where they are normalised, else "ip"."""
        return "cosine" if self.config.normalize else "ip"

    def encode_query(self, texts: Iterable[str], progress: bool = False, on_truncate: str = "warn") -> np.ndarray:
        """Vectors of questions.

        Shapes   n texts → (n, dim) float32, also for n = 0
        Raises   TypeError: a text that is no string, with its position; ValueError: on_truncate="raise" and a long text
        """
        return self._encode(QUERY, texts, progress, on_truncate)

    def encode_document(self, texts: Iterable[str], progress: bool = False, on_truncate: str = "warn") -> np.ndarray:
        """Vectors of answers; shapes and errors as in `encode_query`."""
        return self._encode(DOCUMENT, texts, progress, on_truncate)

    def tokenize(self, texts: Iterable[str], on_truncate: str = "warn") -> Ragged:
        """Texts → ids, cut at max_length."""
        batch = self.tokenizer.encode_batch(texts, max_length=self.config.max_length, on_truncate=on_truncate)
        return Ragged(batch.ids, batch.type_ids, batch.starts)

    def loss_and_gradients(
        self,
        questions: Ragged,
        documents: Ragged,
        rng: np.random.Generator | None = None,
        *,
        ids: np.ndarray | None = None,
        symmetric: bool = False,
        margin: float | None = None,
        part: int | None = None,
    ) -> tuple[float, Parameters]:
        """Loss of B questions and their documents, and its gradients; `rng` draws the dropout.

        In-batch cross entropy, or with a margin the margin contrastive loss.

        Shapes   questions: B sequences; documents: N ≥ B, from B on hard negatives
        Units    ids, symmetric, margin: see minibert.losses.contrastive; part: sequences that pass through a tower at
                 once, see loss_through
        Raises   ValueError: a margin, which is one of cosines, where vectors have any length, or symmetric as well
        """
        if margin is not None and (symmetric or not self.config.normalize):
            raise ValueError(
                "expected normalize=True and symmetric=False with a margin: it is one of cosines, both ways"
            )
        p, config, d = self.parameters, self.config, self.parameters.zeros_like()

        def side(name: str, batch: Ragged) -> Side:
            return Side(
                batch,
                lambda part, rng: tower(p.sub(name), config, part, rng),
                lambda dvectors, cache: tower_backward(dvectors, cache, config, d.sub(name)),
            )

        def cross_entropy(q, a):
            return losses.in_batch_cross_entropy(q, a, config.temperature, ids, symmetric)

        def margin_contrastive(q, a):
            assert margin is not None
            return losses.in_batch_margin_contrastive(q, a, margin, ids)

        loss, backward = cross_entropy, losses.in_batch_cross_entropy_backward
        if margin is not None:
            loss, backward = margin_contrastive, losses.in_batch_margin_contrastive_backward
        sides = side(QUERY, questions), side(DOCUMENT, documents)
        return loss_through(sides, loss, backward, rng, part), d

    def _encode(self, side: str, texts, progress: bool, on_truncate: str) -> np.ndarray:
        from tqdm import tqdm

        if isinstance(texts, str):
            raise TypeError("expected a list of texts, got a str")
        texts = list(texts)
        vectors = np.empty((len(texts), self.dim), np.float32)
        if not texts:
            return vectors
        batch = self.tokenize(texts, on_truncate)
        p = self.parameters.sub(side)
        buffers = Buffers()
        order = np.argsort(batch.lengths, kind="stable")
        for start in tqdm(range(0, len(order), SEQUENCES_A_PASS), "embed", unit="batch", disable=not progress):
            chunk = order[start : start + SEQUENCES_A_PASS]
            vectors[chunk] = infer_tower(p, self.config, batch.take(chunk), buffers)
        return vectors
