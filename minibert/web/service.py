"""One open store for many requests.

A Store belongs to the thread that opened it, so this one has a thread of its own, to which all others hand their
searches; a search takes milliseconds. What takes longer and needs no store, a chat model above all, runs in the
request's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.retrieval import rag
from minibert.retrieval.chunk import Span
from minibert.retrieval.extractive import BestSentence, rank_sentences
from minibert.retrieval.search import Hits, Reranker
from minibert.retrieval.store import Store
from minibert.web.forms import Query
from minibert.web.highlight import find_words, telling_words


@dataclass(frozen=True)
class Found:
    """What the page shows of a search.

    tokens      of the question, with their ids: None where the encoder has no tokenizer
    marked      for each hit, spans of the question's words; best: of the sentence that answers best, or None
    similarity  (1 + hits, 1 + hits): cosines of the question and the hits; None unless asked for
    """

    query: Query
    hits: Hits
    tokens: list[tuple[str, int | None]]
    marked: list[list[Span]]
    best: list[Span | None]
    similarity: np.ndarray | None
    answer: rag.Answer | None


class Service:
    """A store, opened by `open_store` in the store's own thread, with a generator and perhaps a reranker."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        generator: rag.Generator | None = None,
        reranker: Reranker | None = None,
        budget: int = rag.BUDGET,
    ):
        self._thread = ThreadPoolExecutor(1, "store")
        try:
            self._store = self._thread.submit(open_store).result()
        except BaseException:
            self._thread.shutdown()
            raise
        self.encoder, self.path = self._store.encoder, self._store.path.resolve()
        self.fingerprint = Store.facts(self.path)["encoder"]  # the encoder's own reads all its weights each time
        self.generator, self.reranker, self.budget = generator or BestSentence(self.encoder), reranker, budget

    def close(self) -> None:
        """Close the store, and let go of its thread."""
        self._thread.submit(self._store.close).result()
        self._thread.shutdown()

    def count(self) -> int:
        """How many documents there are."""
        return self._thread.submit(len, self._store).result()

    def document(self, id: str) -> dict[str, Any] | None:
        """The document of this id, see `Store.document`."""
        return self._thread.submit(self._store.document, id).result()

    def hits(self, query: Query) -> Hits:
        """The hits alone.

        Raises   ValueError: as `Store.search`, or a reranker is asked for and there is none
        """
        if query.rerank and self.reranker is None:
            raise ValueError("rerank: the server was started without a reranker")
        options = query.options | {"rerank": self.reranker if query.rerank else None}
        return self._thread.submit(self._store.search, query.q, **options).result()

    def answer(self, query: Query, hits: Hits | None = None) -> rag.Answer:
        """An answer from the hits of this query; see `rag.answer`."""
        hits = self.hits(query) if hits is None else hits
        return rag.answer(query.q, hits, self.generator, self.budget, rag.counter(self.encoder))

    def search(self, query: Query) -> Found:
        """The hits with all that is shown of them."""
        hits = self.hits(query)
        texts = [hit.text for hit in hits]
        wanted = telling_words(query.q, hits)
        best: list[Span | None] = [None] * len(hits)
        for sentence in reversed(rank_sentences(query.q, texts, self.encoder)):
            best[sentence.passage] = sentence.span
        return Found(
            query,
            hits,
            self._tokens(query.q),
            [find_words(text, wanted) for text in texts],
            best,
            self._similarity(query.q, texts) if query.similarity else None,
            self.answer(query, hits) if query.answer else None,
        )

    def _tokens(self, question: str) -> list[tuple[str, int | None]]:
        tokenizer = getattr(self.encoder, "tokenizer", None)
        if tokenizer is None:
            return [(word, None) for word in question.split()]
        encoding = tokenizer.encode(question)
        return list(zip(encoding.tokens, map(int, encoding.ids), strict=True))

    def _similarity(self, question: str, texts: list[str]) -> np.ndarray:
        """Of the passages alone, without the title that stands before them in the store."""
        vectors = [self.encoder.encode_query([question]), *([self.encoder.encode_document(texts)] if texts else [])]
        rows = np.concatenate(vectors).astype(np.float64)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return (rows @ rows.T).clip(-1, 1)
