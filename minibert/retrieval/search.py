"""What happens between a question and its hits: stages, each of which takes a ranking and gives one.

    where ──▶ dense  ──┐
         └──▶ sparse ──┴▶ fusion ──▶ rerank ──▶ diversity ──▶ hits

dense: nearest vectors (HNSW, or all of them). sparse: BM25. fusion: the two made one. rerank: a model reads question
and passage together. diversity: maximal marginal relevance. All but the first are asked for. Each stage notes, at each
passage, which rank and score it gave and why, so that a hit explains itself.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ann.inputs import positive_int
from minibert.retrieval.filters import compile_where
from minibert.retrieval.fusion import Fused, convex, min_max, reciprocal_rank
from minibert.retrieval.mmr import mmr
from minibert.retrieval.passages import find_unknown

if TYPE_CHECKING:
    from minibert.retrieval.store import Encoder

CANDIDATES = 100  # passages handed on from stage to stage, unless asked otherwise
FUSIONS = ("reciprocal rank", "convex")
STAGES = ("dense", "sparse")  # what is fused, in the order of weights


@dataclass(frozen=True)
class Hit:
    """A passage that answers a question: `text` is the document's text[span[0] : span[1]]; a higher score is better.

    source is what to cite: the metadata's "source", else the title, else the id. context: the headings that it stands
    under, where the store cuts by structure. stages says how the hit was found, one entry a stage of the search that
    gave it a rank (from 1):

        dense      score: the encoder's similarity; exact: all vectors that may be a hit were scanned
        sparse     score: BM25; terms: what each word of the question gave to it
        fusion     score; terms: what dense and sparse gave to it
        rerank     score: the model's
        diversity  score: (1 − diversity) · relevance − penalty; relevance: the score before, brought to [0, 1];
                   penalty: for what it repeats of the hits before it
    """

    id: str
    text: str
    score: float
    source: str
    span: tuple[int, int]
    stages: dict[str, dict[str, Any]]
    context: str = ""


class Hits(list):
    """Hits, best first. times: milliseconds by stage, of the whole batch; matching: how many passages met `where`."""

    times: dict[str, float]
    matching: int | None


class Reranker(Protocol):
    """A model that reads a question and a passage together, such as a cross encoder."""

    def score(self, query: str, documents: list[str]) -> Sequence[float]:
        """How well each document answers: higher is better."""


@dataclass(frozen=True)
class Plan:
    """What a search is asked to do; see `Store.search_batch`.

    Raises   ValueError: an option that cannot be
    """

    k: int = 10
    exact: bool = False
    where: dict[str, Any] | None = None
    hybrid: bool = False
    fusion: str = FUSIONS[0]
    weights: Sequence[float] | None = None
    rerank: Reranker | None = None
    diversity: float = 0.0
    candidates: int | None = None

    def __post_init__(self):
        positive_int(self.k, "k")
        if self.candidates is not None:
            positive_int(self.candidates, "candidates", least=self.k)
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion: expected one of {', '.join(map(repr, FUSIONS))}, got {self.fusion!r}")
        if not self.hybrid and (self.weights is not None or self.fusion != FUSIONS[0]):
            raise ValueError("fusion and weights are of a hybrid search: expected hybrid=True")
        if not isinstance(self.diversity, Real) or not 0 <= self.diversity <= 1:
            raise ValueError(f"expected diversity in [0, 1], got {self.diversity!r:.40}")

    @property
    def depth(self) -> int:
        """How many passages the first stages give."""
        later = self.hybrid or self.rerank is not None or self.diversity > 0
        return self.candidates or (max(CANDIDATES, self.k) if later else self.k)


@dataclass
class Ranking:
    """Passages of one question, best first, and what each stage noted of each.

    Shapes   numbers (n,) int64: of the chunks; scores (n,) float64: higher is better
    """

    numbers: np.ndarray
    scores: np.ndarray
    notes: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def note(self, stage: str, **columns: Sequence[Any]) -> None:
        """Add a stage's rank and columns to the notes of the passages, which are in its order."""
        for place, number in enumerate(self.numbers.tolist()):
            entry = {"rank": place + 1, **{name: column[place] for name, column in columns.items()}}
            self.notes.setdefault(number, {})[stage] = entry


class Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times[stage] = self.times.get(stage, 0.0) + 1000 * (time.perf_counter() - start)


def check_questions(encoder: Encoder, questions: Sequence[str], hybrid: bool) -> list[int]:
    """Places of the questions that the encoder knows a word of; all others are refused, or left to the words."""
    if isinstance(questions, (str, bytes)):
        raise TypeError(f"expected a list of texts, got {questions!r:.80}")
    for i, question in enumerate(questions, start=1):
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"expected a question, got {question!r} (question {i})")
    unknown = set(find_unknown(encoder, list(questions)))
    if unknown and not hybrid:
        at = min(unknown)
        raise ValueError(f"question {at + 1}: none of its words is in the encoder's vocabulary: {questions[at]!r:.80}")
    return [i for i in range(len(questions)) if i not in unknown]


def matching(db: sqlite3.Connection, where: dict[str, Any]) -> np.ndarray:
    """Numbers of the passages whose document's metadata meet a condition, ascending."""
    condition, values = compile_where(where, "documents.metadata")
    sql = f"SELECT chunks.number FROM chunks JOIN documents ON documents.number = document WHERE {condition}"
    return np.sort(np.array([number for (number,) in db.execute(sql, values)], np.int64))


def dense(index: Any, vectors: np.ndarray, plan: Plan, allow: np.ndarray | None) -> list[Ranking]:
    """The passages with the nearest vectors, for each question."""
    ids, distances = index.search(vectors, k=_depth(plan, index), allow=allow)
    exact = plan.exact or index.scans(plan.depth, None if allow is None else len(allow))
    rankings = [_ranking(row, 1.0 - distance.astype(np.float64)) for row, distance in zip(ids, distances, strict=True)]
    for ranking in rankings:
        ranking.note("dense", score=ranking.scores.tolist(), exact=[exact] * len(ranking.numbers))
    return rankings


def sparse(index: Any, questions: Sequence[str], plan: Plan, allow: np.ndarray | None) -> list[Ranking]:
    """The passages with the highest BM25 scores, for each question."""
    rankings = [
        _ranking(*row) for row in zip(*index.search(questions, k=_depth(plan, index), allow=allow), strict=True)
    ]
    for question, ranking in zip(questions, rankings, strict=True):
        words, values = index.terms(question, ranking.numbers)
        terms = [{word: value for word, value in zip(words, row, strict=True) if value} for row in values.tolist()]
        ranking.note("sparse", score=ranking.scores.tolist(), terms=terms)
    return rankings


def _depth(plan: Plan, index) -> int:
    """Where more is asked for than there is, all: an index makes room for as many as it is asked for."""
    return max(1, min(plan.depth, len(index)))


def _ranking(numbers: np.ndarray, scores: np.ndarray) -> Ranking:
    found = numbers >= 0
    return Ranking(numbers[found], scores[found].astype(np.float64))


def fuse(rankings: Sequence[Ranking], plan: Plan) -> Ranking:
    """One ranking of the dense and the sparse one; the terms say what each gave."""
    numbers = [ranking.numbers for ranking in rankings]
    if plan.fusion == "convex":
        fused: Fused = convex(numbers, [ranking.scores for ranking in rankings], plan.weights)
    else:
        fused = reciprocal_rank(numbers, weights=plan.weights)
    out = Ranking(fused.ids[: plan.depth], fused.scores[: plan.depth])
    for number in out.numbers.tolist():
        out.notes[number] = {stage: note for r in rankings for stage, note in r.notes.get(number, {}).items()}
    terms = [dict(zip(STAGES, row, strict=True)) for row in fused.terms.tolist()]
    out.note("fusion", score=out.scores.tolist(), terms=terms)
    return out


def rerank(ranking: Ranking, question: str, model: Reranker, texts: Callable[[Sequence[int]], list[str]]) -> Ranking:
    """The same passages by the model's scores; equal scores keep their order.

    Raises   ValueError: the model does not give one finite number a passage
    """
    if not len(ranking.numbers):
        return ranking
    passages = texts(ranking.numbers.tolist())
    scores = np.asarray(model.score(question, passages), np.float64)
    if scores.shape != (len(passages),) or not np.isfinite(scores).all():
        raise ValueError(f"the reranker gave shape {scores.shape}, expected {len(passages)} finite scores")
    order = np.argsort(-scores, kind="stable")
    out = Ranking(ranking.numbers[order], scores[order], ranking.notes)
    out.note("rerank", score=out.scores.tolist())
    return out


def diversify(ranking: Ranking, vectors: Callable[[list[int]], np.ndarray], plan: Plan) -> Ranking:
    """The k passages of maximal marginal relevance, which is the ranking's score brought to [0, 1]."""
    if not len(ranking.numbers):
        return ranking
    relevance = min_max(ranking.scores)
    places, penalties = mmr(relevance, vectors(ranking.numbers.tolist()), plan.k, plan.diversity)
    out = Ranking(ranking.numbers[places], ranking.scores[places], ranking.notes)
    marginal = (1 - plan.diversity) * relevance[places] - penalties
    told = {"score": marginal, "relevance": relevance[places], "penalty": penalties}
    out.note("diversity", **{name: values.tolist() for name, values in told.items()})
    return out
