"""The whole path on real text, in a few minutes: the docstrings of Python's standard library, asked in plain English.

    docstrings → WordPiece vocabulary → dual encoder, trained → store on disk → answers, from other processes

Pairs are (summary or signature → the rest of the docstring). Some packages are kept apart: their questions are the
test, and their text is seen by neither vocabulary nor training. An answer competes with those of all packages.

Beside the encoder stand the other stages of a search, each of which needs no training: BM25, the two fused, and the
first of these put in order by their tokens.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import ann
import tokenizers
from minibert.metrics import mrr_at_k, recall_at_k
from minibert.models.dual_encoder import DualEncoder, DualEncoderConfig
from minibert.retrieval import BM25, Store
from minibert.retrieval.fusion import convex, reciprocal_rank
from minibert.retrieval.token_match import TokenMatch
from minibert.stdlib_corpus import Docstring, docstrings, pairs, training_pairs
from minibert.train import train_dual_encoder

HELD_OUT = 700  # docstrings, of whole packages
LARGEST_HELD_OUT = 150  # docstrings of one package, so that no single one is the test
VOCABULARY = 8000
MARK = "minibert demo"  # what the demo's store remembers, so that no other is ever removed
SIZES: dict[str, Any] = dict(
    width=256, layers=1, heads=4, ffn=256, dim=256, normalize=True, temperature=0.05, dropout=0.0
)
TRAINING: dict[str, Any] = dict(epochs=2, batch_size=256, learning_rate=5e-4, warmup=50)

FUSED = 100  # of each of two rankings
RERANKED = 30  # of the fused one

QUESTIONS = [
    "How do I compute the median of a list of numbers?",
    "Where does a temporary file go, and how do I name its directory?",
    "wait until a thread has finished",
    "read rows of a csv file as dictionaries",
    "escape special characters in a regular expression",
    "combine the parts of a path into one",
    "parse command line arguments",
    "send an e-mail message through an SMTP server",
    "How can I remove a directory with everything in it?",
    "Which function guesses the MIME type of a file from its name?",
]
ASKED = "How is the median of an even number of values computed?"

Ranked = tuple[np.ndarray, np.ndarray]  # ids and scores, best first
Search = Callable[..., list[Ranked]]  # (k, some of the questions) → the k best for each
ALL = slice(None)


class Stopwatch:
    """Named stages: their seconds, and how many things a second went through."""

    def __init__(self):
        self.rows: list[tuple[str, float, str]] = []

    @contextmanager
    def stage(self, name: str, count: int = 0, unit: str = "") -> Iterator[None]:
        """Time what runs inside, `count` things of this unit, and say that it runs."""
        print(f"… {name}", flush=True)
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.rows.append((name, seconds, f"{count / seconds:,.0f} {unit}/s" if count else ""))


def main(folder=None, seed: int = 0, progress: bool = True) -> int:
    """Run the demo in `folder` (a temporary one if None): model and store stay there. Returns the exit code.

    Units    seed: of the held-out packages, the weights and the order; the same seed gives the same metrics
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="minibert-demo-") as temporary:
            return main(temporary, seed, progress)
    folder, watch = Path(folder).resolve(), Stopwatch()
    clear_store(folder / "store")
    with watch.stage("read the docstrings of the standard library"):
        everything = docstrings()
        found, held_out = pairs(everything), held_out_packages(everything, seed)
        test = [i for i, (*_, doc) in enumerate(found) if doc.package in held_out]
        train_pairs = training_pairs([doc for doc in everything if doc.package not in held_out])
    texts = [text for pair in train_pairs for text in pair]
    with watch.stage(f"train a WordPiece vocabulary of {VOCABULARY}", sum(map(len, texts)), "characters"):
        tokenizer = tokenizers.WordPiece.train(texts, vocab_size=VOCABULARY, progress=progress)
    model = DualEncoder.create(tokenizer, DualEncoderConfig(tokenizer.vocab_size, **SIZES), seed)
    asked, answers = [found[i][0] for i in test], [answer for _, answer, _ in found]
    exact = ann.Exact(model.dim, model.metric)
    rows = {"untrained, exact search": evaluate(by_vectors(exact, *embed(model, asked, answers)), test)}
    seen = TRAINING["epochs"] * len(train_pairs)
    with watch.stage(f"train the dual encoder on {len(train_pairs)} pairs", seen, "pairs"):
        train_dual_encoder(model, train_pairs, **TRAINING, seed=seed, progress=progress)
    model.save(folder / "model")
    with watch.stage(f"ask {len(test)} questions in every way"):
        rows |= compare(model, asked, answers, test, seed)

    documents = [{"id": doc.name, "text": answer, "metadata": {"source": doc.file}} for _, answer, doc in found]
    with watch.stage(f"embed, store and index {len(documents)} documents", len(documents), "documents"):
        with Store.open(folder / "store", model) as store:
            store.remember(model=str(folder / "model"), made_by=MARK)
            store.add(documents, progress=progress)
    with watch.stage(f"answer {len(QUESTIONS)} questions in a second process"):
        questions = (f"--question={question}" for question in QUESTIONS)
        code = minibert("query", *questions, "--store", folder / "store", "-k", 1)
    with watch.stage("answer one question with a cited passage"):
        print(f"\n{ASKED}", flush=True)
        code = code or minibert("ask", ASKED, "--store", folder / "store", "--hybrid")
    report(rows, watch.rows, len(test), len(found))
    return code


def clear_store(path: Path) -> None:
    """Remove the store of an earlier demo; ValueError where something else stands in its place."""
    if path.exists():
        if Store.facts(path).get("made_by") != MARK:
            raise ValueError(f"{path}: is not a store that the demo made: name another folder")
        shutil.rmtree(path)


def held_out_packages(found: list[Docstring], seed: int) -> set[str]:
    """Packages drawn at random until they hold HELD_OUT docstrings; large ones are passed over."""
    sizes = Counter(doc.package for doc in found)
    held_out: set[str] = set()
    for package in np.random.default_rng(seed).permutation(sorted(sizes)):
        if sizes[package] <= LARGEST_HELD_OUT and sum(sizes[name] for name in held_out) < HELD_OUT:
            held_out.add(str(package))
    return held_out


def compare(model: DualEncoder, asked: list[str], answers: list[str], test: list[int], seed: int) -> dict[str, dict]:
    """A row for each way to search."""
    queries, vectors = embed(model, asked, answers)
    dense = by_vectors(ann.HNSW(model.dim, model.metric, seed=seed), queries, vectors)
    words = by_words(asked, answers)
    hybrid = fused(dense, words, convex)
    searches = {
        "trained, exact search": by_vectors(ann.Exact(model.dim, model.metric), queries, vectors),
        "trained, HNSW": dense,
        "BM25": words,
        "hybrid by ranks": fused(dense, words, lambda ids, scores: reciprocal_rank(ids)),
        "hybrid by scores": hybrid,
        f"its first {RERANKED}, reranked": reranked(hybrid, model, asked, answers),
    }
    return {name: evaluate(search, test) for name, search in searches.items()}


def embed(model: DualEncoder, asked: list[str], answers: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of questions and answers."""
    return model.encode_query(asked, on_truncate="silent"), model.encode_document(answers, on_truncate="silent")


def by_vectors(index, queries: np.ndarray, vectors: np.ndarray) -> Search:
    """The answers with the nearest vectors."""
    index.add(vectors)

    def search(k: int, some: slice = ALL) -> list[Ranked]:
        ids, distances = index.search(queries[some], k)
        return list(zip(ids, 1 - distances, strict=True))

    return search


def by_words(asked: list[str], answers: list[str]) -> Search:
    """The answers with the highest BM25 scores."""
    index = BM25()
    index.add(answers)

    def search(k: int, some: slice = ALL) -> list[Ranked]:
        found = zip(*index.search(asked[some], k), strict=True)
        return [(ids[ids >= 0], scores[ids >= 0]) for ids, scores in found]

    return search


def fused(dense: Search, sparse: Search, fuse: Callable) -> Search:
    """Both rankings made one; fuse(ids of each, scores of each)."""

    def search(k: int, some: slice = ALL) -> list[Ranked]:
        pairs = zip(dense(FUSED, some), sparse(FUSED, some), strict=True)
        rows = [fuse(*zip(*pair, strict=True)) for pair in pairs]
        return [(row.ids[:k], row.scores[:k]) for row in rows]

    return search


def reranked(first: Search, model: DualEncoder, asked: list[str], answers: list[str]) -> Search:
    """The first RERANKED of a ranking, put in order by their tokens."""
    match = TokenMatch(model, answers)

    def search(k: int, some: slice = ALL) -> list[Ranked]:
        rows = []
        for question, (ids, _) in zip(asked[some], first(RERANKED, some), strict=True):
            scores = match.score(question, [answers[i] for i in ids])
            order = np.argsort(-scores, kind="stable")[:k]
            rows.append((ids[order], scores[order]))
        return rows

    return search


def evaluate(search: Search, test: list[int]) -> dict[str, float]:
    """MRR@10 and recall@10 of the held-out questions over all answers, and questions a second of the search alone."""
    search(10, slice(1))  # compiled before the clock starts
    start = time.perf_counter()
    found = search(10)
    rate = len(test) / (time.perf_counter() - start)
    ranked = np.full((len(test), 10), -1)
    for row, (ids, _) in zip(ranked, found, strict=True):
        row[: len(ids)] = ids
    return {"MRR@10": mrr_at_k(ranked, test), "recall@10": recall_at_k(ranked, test), "questions/s": rate}


def minibert(*arguments) -> int:
    """Run the command in another process; its exit code."""
    return subprocess.run([sys.executable, "-m", "minibert.cli", *map(str, arguments)]).returncode


def report(rows: dict[str, dict[str, float]], stages, questions: int, answers: int) -> None:
    """Print the two tables."""
    print(f"\n{questions} questions of packages kept apart, each against {answers} answers")
    print(f"{'':26}{'MRR@10':>10}{'recall@10':>12}{'questions/s':>14}")
    for name, row in rows.items():
        print(f"{name:26}{row['MRR@10']:10.4f}{row['recall@10']:12.4f}{row['questions/s']:14,.0f}")
    print(f"\n{'stage':50}{'seconds':>10}{'throughput':>24}")
    for name, seconds, throughput in stages:
        print(f"{name:50}{seconds:10.1f}{throughput:>24}")
