"""How well an encoder finds what belongs to a question: among all answers of pairs, or in a test collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import ann
from minibert.metrics import mrr_at_k, recall_at_k
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.fusion import reciprocal_rank
from minibert.retrieval.measures import Run, mean, measure
from minibert.retrieval.trec import Beir

if TYPE_CHECKING:
    from minibert.models.cross_encoder import CrossEncoder
    from minibert.models.dual_encoder import DualEncoder
    from minibert.models.sentence_encoder import SentenceEncoder


def evaluate_pairs(
    encoder: SentenceEncoder | DualEncoder, pairs: Sequence[tuple[str, str]], k: int = 10
) -> dict[str, float]:
    """MRR@k and recall@k of exact search; an answer that several questions share counts once in the collection.

    Raises   ValueError: no pairs
    """
    if not pairs:
        raise ValueError("expected pairs to evaluate, got none")
    number = {answer: i for i, answer in enumerate(dict.fromkeys(answer for _, answer in pairs))}
    index = ann.Exact(encoder.dim, metric=encoder.metric)
    index.add(encoder.encode_document(list(number)))
    ranked, _ = index.search(encoder.encode_query([question for question, _ in pairs]), k=k)
    relevant = np.array([number[answer] for _, answer in pairs])
    return {f"mrr@{k}": mrr_at_k(ranked, relevant, k), f"recall@{k}": recall_at_k(ranked, relevant, k)}


def evaluate_reranker(model: CrossEncoder, rows: Sequence[tuple[str, str, float]], k: int = 10) -> dict[str, float]:
    """MRR@k and MAP@k of a cross-encoder's order of each question's documents, where one at least answers it.

    Shapes   rows: (question, document, label), above 0.5 where it answers
    Raises   ValueError: no question has an answer
    """
    judgements: dict[str, dict[str, int]] = {}
    for number, (question, _, label) in enumerate(rows):
        judgements.setdefault(question, {})[str(number)] = int(label > 0.5)
    judgements = {question: judged for question, judged in judgements.items() if any(judged.values())}
    if not judgements:
        raise ValueError(f"expected a question with an answer, got none in {len(rows)} rows")
    kept = [(number, row) for number, row in enumerate(rows) if row[0] in judgements]
    scores = model.score_pairs([row[0] for _, row in kept], [row[1] for _, row in kept])
    run: dict[str, dict[str, float]] = {}
    for (number, (question, *_)), score in zip(kept, scores.tolist(), strict=True):
        run.setdefault(question, {})[str(number)] = score
    means = mean(measure(judgements, run, [k]))
    return {name: means[name] for name in (f"mrr@{k}", f"map@{k}")}


def collection_runs(
    encoder: SentenceEncoder | DualEncoder, collection: Beir, depth: int = 1000, progress: bool = False
) -> dict[str, Run]:
    """Runs of the judged queries, by name: "exact" and "hnsw" over vectors, "bm25" over words, "hybrid" of both.

    A document is its title and text in one line; what is longer than the encoder reads is cut, as is usual there. The
    difference of "hnsw" from "exact" is the index's, that of "exact" from a better run the model's.
    Raises   ValueError: no judged query has a text
    """
    names, texts = [], []
    for document in collection.documents():
        names.append(document["id"])
        texts.append(" ".join(filter(None, (document["title"], document["text"]))))
    queries = {id: text for id, text in collection.queries.items() if id in collection.judgements}
    if not queries or not texts:
        raise ValueError(f"expected documents and judged queries, got {len(texts)} and {len(queries)}")
    documents = encoder.encode_document(texts, progress=progress, on_truncate="silent")
    vectors = encoder.encode_query(list(queries.values()), on_truncate="silent")
    runs, rows = {}, {}
    for name, kind in (("exact", ann.Exact), ("hnsw", ann.HNSW)):
        index = kind(encoder.dim, metric=encoder.metric)
        index.add(documents)
        ids, distances = index.search(vectors, k=depth, ef=depth)
        rows[name], runs[name] = ids, _run(queries, names, ids, 1.0 - distances)
    words = BM25()
    words.add(texts)
    rows["bm25"], scores = words.search(list(queries.values()), k=depth)
    runs["bm25"] = _run(queries, names, rows["bm25"], scores)
    fused = [reciprocal_rank([a[a >= 0], b[b >= 0]]) for a, b in zip(rows["exact"], rows["bm25"], strict=True)]
    runs["hybrid"] = _run(queries, names, [f.ids[:depth] for f in fused], [f.scores[:depth] for f in fused])
    return runs


def _run(queries: dict[str, str], names: list[str], ids, scores) -> Run:
    """Rows and scores of each query as {query: {document: score}}."""
    return {
        query: {names[row]: float(score) for row, score in zip(found, found_scores, strict=True) if row >= 0}
        for query, found, found_scores in zip(queries, ids, scores, strict=True)
    }
