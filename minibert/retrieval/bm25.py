"""BM25 (Robertson): a document is its word counts; a question finds those that share rare words with it.

    score(q, d) = Σ over the words t of q:  idf(t) · tf / (tf + k1 · (1 − b + b · |d| / mean |d|))
    idf(t)      = ln(1 + (N − n_t + ½) / (n_t + ½)),   n_t the number of documents that hold t

Nothing of a summand depends on the question, so each is computed once, when the index is built: a posting list holds,
for one word, the rows of the documents and these *impacts*. `scores` adds them up for all documents, which is the
definition; `search` gives the same first k without looking at most of them (MaxScore, postings.py).

Source   Robertson & Zaragoza 2009, The Probabilistic Relevance Framework, eq. 3.15; Lucene's BM25Similarity for the
         idf, which is never negative, and for leaving out the constant k1 + 1
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike

from ann.inputs import MAX_ID, as_allowed, as_ids, positive_int
from ann.threads import run_threads
from minibert.checkpoint import CheckpointError, load_file, save_file
from minibert.retrieval.postings import (
    Counted,
    Postings,
    count_postings,
    highest_impacts,
    join_postings,
    search_batch,
)
from minibert.retrieval.words import Vocabulary, words

FORMAT = "minibert-bm25 1"
MAX_K1 = 1e6  # beyond, impacts vanish in float32


class BM25:
    """Sparse index over texts. `ids` are the caller's names of the rows, as in `ann`: by default 0, 1, ….

    Units    k1 in [0, 1e6]: how soon more of one word adds nothing (1.2 to 2); b in [0, 1]: how far length is
             discounted; stem maps a word to its stem, "connected" to "connect": `load` must be given the same function
    Raises   ValueError: k1 or b out of range
    """

    def __init__(self, k1: float = 1.5, b: float = 0.75, stem: Callable[[str], str] | None = None):
        if not 0 <= k1 <= MAX_K1 or not 0 <= b <= 1:
            raise ValueError(f"expected k1 in [0, {MAX_K1:g}] and b in [0, 1], got {k1} and {b}")
        self.k1, self.b, self.stem = float(k1), float(b), stem
        self.metadata: dict[str, str] = {}
        self.ids, self.lengths = np.empty(0, np.int64), np.empty(0, np.int32)
        self.vocabulary = Vocabulary()
        self._counted = Counted(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
        self._weighed: Postings | None = None

    # ---- texts → postings --------------------------------------------------------------------------------------------

    def add(self, texts: Iterable[str], ids: ArrayLike | None = None) -> np.ndarray:
        """Add texts, read once, a block at a time, and return their ids; an id that is there already is replaced.

        ids      integers ≥ 0, all different; by default the numbers after the largest id
        Raises   TypeError: a text is not a str; ValueError: ids are not as many such integers
        """
        numbers, bounds = self._number(texts)
        count = len(bounds) - 1
        latest = int(self.ids.max(initial=-1))
        if ids is None and latest > MAX_ID - count:
            raise ValueError(f"ids: no {count} numbers are left after id {latest}; pass ids")
        given = np.arange(count) + latest + 1 if ids is None else as_ids(ids)
        if len(given) != count:
            raise ValueError(f"ids: expected one for each of {count} texts, got {len(given)}")
        self.remove(np.intersect1d(given, self.ids))
        starts, rows, counts = count_postings(numbers, bounds, len(self.vocabulary))
        new = Counted(starts, rows + np.int32(len(self)), counts)
        self._counted = join_postings(self._counted, new) if len(self) else new
        self.ids = np.concatenate([self.ids, given])
        self.lengths = np.concatenate([self.lengths, np.diff(bounds).astype(np.int32)])
        self._weighed = None
        return given

    def remove(self, ids: ArrayLike) -> None:
        """Remove texts by id; nothing of them is left but their words' places in the vocabulary.

        Raises   ValueError: an id that is not in the index; nothing has been removed then
        """
        gone = as_ids(ids)
        if unknown := np.setdiff1d(gone, self.ids).tolist():
            raise ValueError(f"ids: id {unknown[0]} is not in the index")
        if len(gone):
            kept = ~np.isin(self.ids, gone)
            starts, rows, counts = self._counted
            live = kept[rows]
            place = np.cumsum(kept, dtype=np.int32) - 1
            self._counted = Counted(np.append(0, np.cumsum(live))[starts], place[rows[live]], counts[live])
            self.ids, self.lengths, self._weighed = self.ids[kept], self.lengths[kept], None

    def _number(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the texts' words, or of their stems, and where each text's start."""
        if self.stem is None:
            return self.vocabulary.number(texts)
        found = Vocabulary()
        numbers, bounds = found.number(texts)
        return self.vocabulary.add(list(map(self.stem, found)))[numbers], bounds

    @property
    def _postings(self) -> Postings:
        """Postings with the impacts of the present documents."""
        if self._weighed is None:
            starts, rows, counts = self._counted
            documents = np.diff(starts)
            idf = np.log1p((len(self) - documents + 0.5) / (documents + 0.5))
            mean = self.lengths.mean() if self.lengths.any() else 1.0
            saturation = self.k1 * (1 - self.b + self.b * self.lengths / mean)
            impacts = (np.repeat(idf, documents) * (counts / (counts + saturation[rows]))).astype(np.float32)
            self._weighed = Postings(starts, rows, impacts, highest_impacts(starts, impacts))
        return self._weighed

    # ---- question → hits ---------------------------------------------------------------------------------------------

    def scores(self, query: str) -> np.ndarray:
        """(N,) float32: the score of every document, in the order of `ids`; what `search` must agree with."""
        scores = np.zeros(len(self), np.float32)
        postings = self._postings
        for word, times in self._ask([query])[0].items():
            part = slice(*postings.starts[word : word + 2])
            scores[postings.rows[part]] += np.float32(times) * postings.impacts[part]
        return scores

    def search(
        self, queries: Sequence[str], k: int = 10, allow: ArrayLike | None = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k documents with the highest scores: ids and scores, best first, equal scores in the order of `ids`.

        A document that shares no word with the question is no hit.
        allow    only these documents: an array of ids, or a boolean mask aligned with `ids`
        Shapes   Q queries → ids (Q, k) int64, scores (Q, k) float32; -1 and 0 where there are fewer than k hits
        Raises   TypeError: queries are not a sequence of str; ValueError: k < 1, or allow misfits
        """
        k, threads = positive_int(k, "k"), positive_int(threads, "threads")
        if isinstance(queries, (str, bytes)):
            raise TypeError(f"queries: expected a sequence of str, got {queries!r:.80}")
        filtered = allow is not None
        allowed = np.empty(0, np.bool_) if allow is None else as_allowed(allow, self.ids)
        asked = self._ask(queries)
        bounds = np.cumsum([0, *map(len, asked)])
        terms = np.array([word for query in asked for word in query], np.int64)
        weights = np.array([times for query in asked for times in query.values()], np.float32)
        rows, scores = np.full((len(asked), k), -1, np.int64), np.zeros((len(asked), k), np.float32)
        size = max(1, -(-len(asked) // threads))

        postings, documents = self._postings, len(self)

        def answer(start):
            part = slice(start, start + size)
            found = rows[part], scores[part]
            asks = bounds[start : start + size + 1], terms, weights
            search_batch(postings, documents, *asks, allowed, filtered, *found)

        room = len(self) > 0
        run_threads(answer, range(0, len(asked), size) if room else (), threads)
        return np.where(rows >= 0, self.ids[rows] if room else -1, -1), scores

    def terms(self, query: str, ids: ArrayLike) -> tuple[list[str], np.ndarray]:
        """The question's words that some document holds, and what each gives to the scores of these documents.

        Shapes   n ids → W words, (n, W) float32, each row of which adds up to the document's score
        Raises   ValueError: an id that is not in the index
        """
        ids = as_ids(ids)
        ascending = (self.ids[1:] > self.ids[:-1]).all()  # as a store's do: spares the sort of all
        order = None if ascending else np.argsort(self.ids)
        places = np.searchsorted(self.ids, ids, sorter=order)
        places = places[places < len(self)]
        rows = places if order is None else order[places]
        if len(rows) < len(ids) or (self.ids[rows] != ids).any():
            raise ValueError(f"ids: id {np.setdiff1d(ids, self.ids)[0]} is not in the index")
        asked, postings = self._ask([query])[0], self._postings
        values = np.zeros((len(ids), len(asked)), np.float32)
        for column, (word, times) in zip(values.T, asked.items(), strict=True):
            part = slice(*postings.starts[word : word + 2])
            holders = postings.rows[part]
            places = np.searchsorted(holders, rows)
            held = np.flatnonzero(places < len(holders))
            held = held[holders[places[held]] == rows[held]]
            column[held] = np.float32(times) * postings.impacts[part][places[held]]
        return [self.vocabulary[word] for word in asked], values

    def _ask(self, queries: Sequence[str]) -> list[Counter[int]]:
        """For each question, the numbers of its words that some document holds, and how often it has them."""
        found = []
        for i, query in enumerate(queries):
            if not isinstance(query, str):
                raise TypeError(f"queries[{i}]: expected str, got {type(query).__name__} {query!r:.40}")
            found.append(words(query) if self.stem is None else list(map(self.stem, words(query))))
        numbers = iter(self.vocabulary.find([word for query in found for word in query]).tolist())
        held = len(self._counted.starts) - 1  # an add that was refused may have left words that no document holds
        return [Counter(n for n in islice(numbers, len(query)) if 0 <= n < held) for query in found]

    def __len__(self) -> int:
        return len(self.ids)

    # ---- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write one safetensors file, checksummed; a failure leaves the old one."""
        vocabulary, counted = self.vocabulary, self._counted
        words = {"words": vocabulary.store[: vocabulary.starts[-1]], "word_starts": vocabulary.starts}
        about = {"format": FORMAT, "k1": repr(self.k1), "b": repr(self.b), "stems": self._probe()}
        about["user"] = json.dumps(self.metadata)
        save_file(path, {"ids": self.ids, "lengths": self.lengths, **words, **counted._asdict()}, about)

    @classmethod
    def load(cls, path: str | PathLike[str], stem: Callable[[str], str] | None = None) -> BM25:
        """The index of a file.

        Raises   FileNotFoundError; CheckpointError: damaged, no index, or written with another stemmer
        """
        tables, about = load_file(path)
        if about.get("format") != FORMAT:
            raise CheckpointError(f"{path}: not a BM25 index")
        index = cls(float(about["k1"]), float(about["b"]), stem)
        if index._probe() != about["stems"]:
            raise CheckpointError(f"{path}: written with another stemmer: {about['stems']}, not {index._probe()}")
        index.ids, index.lengths = tables["ids"], tables["lengths"]
        index.vocabulary = Vocabulary(tables["words"], tables["word_starts"])
        index._counted = Counted(tables["starts"], tables["rows"], tables["counts"])
        if not index._is_sound():
            raise CheckpointError(f"{path}: its posting lists do not fit its words and documents")
        index.metadata = json.loads(about["user"])
        return index

    def _is_sound(self) -> bool:
        """Whether every list lies inside its array, and every row is a document."""
        starts, rows, counts = self._counted
        lists = 1 <= len(starts) <= len(self.vocabulary) + 1 and starts[0] == 0 and bool(np.all(np.diff(starts) >= 0))
        rows_fit = len(rows) == len(counts) == starts[-1] and 0 <= rows.min(initial=0)
        return lists and rows_fit and rows.max(initial=-1) < len(self) and len(self.ids) == len(self.lengths)

    def _probe(self) -> str:
        """What the stemmer makes of a few words: tells one from another."""
        probes = ("connected", "flies", "running", "universities")
        return " ".join(probes if self.stem is None else map(self.stem, probes))
