"""BM25 (Robertson): a document is its word counts; a question finds those that share rare words with it.

    score(q, d) = Σ over the words t of q:  idf(t) · tf / (tf + k1 · (1 − b + b · |d| / mean |d|))
    idf(t)      = ln(1 + (N − n_t + ½) / (n_t + ½)),   n_t the number of documents that hold t

Nothing of a summand depends on the question, so each is computed once, when the index is built: a posting list holds,
for one word, the rows of the documents and these *impacts*. `scores` adds them up for all documents, which is the
definition; `search` gives the same first k without looking at most of them (MaxScore).

Source   Robertson & Zaragoza 2009, The Probabilistic Relevance Framework, eq. 3.15; Lucene's BM25Similarity for the
         idf, which is never negative, and for leaving out the constant k1 + 1; Turtle & Flood 1995 for MaxScore
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from ann.inputs import as_allowed, as_ids, positive_int
from ann.threads import run_threads
from minibert._jit import kernel
from minibert.checkpoint import CheckpointError, load_file, save_file
from minibert.retrieval.words import Vocabulary, words

SHORTER = 8  # so much shorter must a list of rows be for a binary search a row to pay
SLACK = 1e-5  # a sum of up to 80 float32 impacts is this exact


class Postings(NamedTuple):
    """For word t: the rows rows[starts[t]:starts[t + 1]], ascending, their impacts, and the highest of these.

    Shapes   starts (V + 1,) int64, rows (P,) int32, impacts (P,) float32, highest (V,) float32
    """

    starts: np.ndarray
    rows: np.ndarray
    impacts: np.ndarray
    highest: np.ndarray


class BM25:
    """Sparse index over texts. `ids` are the caller's names of the rows, as in `ann`: by default 0, 1, ….

    Units    k1 ≥ 0: how soon more of one word adds nothing (1.2 to 2); b in [0, 1]: how far length is discounted.
             stem maps a word to its stem, "connected" to "connect": the same function must be given to `load`
    Raises   ValueError: k1 or b out of range
    """

    def __init__(self, k1: float = 1.5, b: float = 0.75, stem: Callable[[str], str] | None = None):
        if not 0 <= k1 < np.inf or not 0 <= b <= 1:
            raise ValueError(f"expected k1 ≥ 0 and b in [0, 1], got {k1} and {b}")
        self.k1, self.b, self.stem = float(k1), float(b), stem
        self.build([])

    # ---- texts → postings --------------------------------------------------------------------------------------------

    def build(self, texts: Iterable[str], ids: Sequence[int] | None = None) -> BM25:
        """Index these texts, in place of what was indexed before; texts are read once, a block at a time.

        Raises   TypeError: a text is not a str; ValueError: ids are not as many integers ≥ 0, all different
        """
        vocabulary = Vocabulary()
        numbers, bounds = vocabulary.number(texts)
        if self.stem is not None:
            stems = [self.stem(word) for word in vocabulary]
            vocabulary = Vocabulary.of(dict.fromkeys(stems))
            numbers = vocabulary.find(stems).astype(np.int32)[numbers]
        count = len(bounds) - 1
        ids = np.arange(count) if ids is None else as_ids(ids)
        if len(ids) != count:
            raise ValueError(f"ids: expected one for each of {count} texts, got {len(ids)}")
        self.ids, self.vocabulary, self.lengths = ids, vocabulary, np.diff(bounds).astype(np.int32)
        self._weigh(*count_postings(numbers, bounds, len(vocabulary)))
        return self

    def _weigh(self, starts: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> None:
        """Impacts of postings whose words occur `counts` times in their documents."""
        documents = np.diff(starts)
        idf = np.log1p((len(self) - documents + 0.5) / (documents + 0.5))
        mean = self.lengths.mean() if self.lengths.any() else 1.0
        saturation = self.k1 * (1 - self.b + self.b * self.lengths / mean)
        impacts = (np.repeat(idf, documents) * (counts / (counts + saturation[rows]))).astype(np.float32)
        highest = np.zeros(len(documents), np.float32)
        np.maximum.at(highest, np.repeat(np.arange(len(documents)), documents), impacts)
        self._counts, self._postings = counts, Postings(starts, rows, impacts, highest)

    # ---- question → hits ---------------------------------------------------------------------------------------------

    def scores(self, query: str) -> np.ndarray:
        """(N,) float32: the score of every document, in the order of `ids`; what `search` must agree with."""
        scores = np.zeros(len(self), np.float32)
        for word, times in self._ask([query])[0].items():
            part = slice(*self._postings.starts[word : word + 2])
            scores[self._postings.rows[part]] += np.float32(times) * self._postings.impacts[part]
        return scores

    def search(self, queries: Sequence[str], k: int = 10, allow=None, threads: int = 1):
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
        allowed = as_allowed(allow, self.ids) if filtered else np.empty(0, np.bool_)
        asked = self._ask(queries)
        bounds = np.cumsum([0, *map(len, asked)])
        terms = np.array([word for query in asked for word in query], np.int64)
        weights = np.array([times for query in asked for times in query.values()], np.float32)
        rows, scores = np.full((len(asked), k), -1, np.int64), np.zeros((len(asked), k), np.float32)
        size = max(1, -(-len(asked) // threads))

        def answer(start):
            part = slice(start, start + size)
            found = rows[part], scores[part]
            search_batch(self._postings, bounds[start : start + size + 1], terms, weights, allowed, filtered, *found)

        room = len(self) > 0
        run_threads(answer, range(0, len(asked), size) if room else (), threads)
        return np.where(rows >= 0, self.ids[rows] if room else -1, -1), scores

    def _ask(self, queries: Sequence[str]) -> list[Counter[int]]:
        """For each question, the numbers of its words that some document holds, and how often it has them."""
        found = []
        for i, query in enumerate(queries):
            if not isinstance(query, str):
                raise TypeError(f"queries[{i}]: expected str, got {type(query).__name__} {query!r:.40}")
            found.append(words(query) if self.stem is None else list(map(self.stem, words(query))))
        numbers = iter(self.vocabulary.find([word for query in found for word in query]).tolist())
        return [Counter(n for n in islice(numbers, len(query)) if n >= 0) for query in found]

    def __len__(self) -> int:
        return len(self.ids)

    # ---- files -------------------------------------------------------------------------------------------------------

    def save(self, path, **facts: str) -> None:
        """Write one safetensors file, checksummed; a failure leaves the old one. facts: strings to keep with it."""
        tables = {
            "ids": self.ids,
            "lengths": self.lengths,
            "words": self.vocabulary.store[: self.vocabulary.starts[-1]],
        }
        tables |= {"word_starts": self.vocabulary.starts, "counts": self._counts}
        tables |= {"starts": self._postings.starts, "rows": self._postings.rows}
        own = {"format": "minibert-bm25 1", "k1": repr(self.k1), "b": repr(self.b), "stemmed": self._probe()}
        save_file(path, tables, {**facts, **own})

    @classmethod
    def load(cls, path, stem: Callable[[str], str] | None = None) -> tuple[BM25, dict[str, str]]:
        """(index, facts) from a file.

        Raises   FileNotFoundError; CheckpointError: damaged, no index, or written with another stemmer
        """
        tables, facts = load_file(path)
        if facts.get("format") != "minibert-bm25 1":
            raise CheckpointError(f"{path}: not a BM25 index")
        index = cls(float(facts["k1"]), float(facts["b"]), stem)
        if index._probe() != facts["stemmed"]:
            raise CheckpointError(f"{path}: written with another stemmer: {facts['stemmed']}, not {index._probe()}")
        index.ids, index.lengths = tables["ids"], tables["lengths"]
        index.vocabulary = Vocabulary(tables["words"], tables["word_starts"])
        index._weigh(tables["starts"], tables["rows"], tables["counts"])
        return index, {key: value for key, value in facts.items() if key not in ("format", "k1", "b", "stemmed")}

    def _probe(self) -> str:
        """What the stemmer makes of a few words: tells one from another."""
        probes = ("connected", "flies", "running", "universities")
        return " ".join(probes if self.stem is None else map(self.stem, probes))


@kernel
def count_postings(numbers, bounds, word_count):
    """Posting lists of the texts numbers[bounds[d]:bounds[d + 1]]: (starts (V + 1,), rows (P,), counts (P,) int32).

    A counting sort: how many documents hold each word, then every document's words to their places, in order.
    """
    starts = np.zeros(word_count + 1, np.int64)
    latest = np.full(word_count, -1, np.int32)  # the document that a word came in last
    for d in range(len(bounds) - 1):
        for i in range(bounds[d], bounds[d + 1]):
            if latest[numbers[i]] != d:
                latest[numbers[i]] = d
                starts[numbers[i] + 1] += 1
    for word in range(word_count):
        starts[word + 1] += starts[word]
    rows, counts = np.empty(starts[-1], np.int32), np.zeros(starts[-1], np.int32)
    end = starts[:-1].copy()
    latest[:] = -1
    for d in range(len(bounds) - 1):
        for i in range(bounds[d], bounds[d + 1]):
            word = numbers[i]
            if latest[word] != d:
                latest[word] = d
                rows[end[word]] = d
                end[word] += 1
            counts[end[word] - 1] += 1
    return starts, rows, counts


@kernel
def search_batch(postings, bounds, terms, weights, allowed, filtered, rows, scores):
    """The best rows and their scores of each query's terms[bounds[q]:bounds[q + 1]]."""
    documents = len(allowed) if filtered else np.int64(postings.rows.max()) + 1 if len(postings.rows) else 0
    sums, met = np.zeros(documents, np.float32), np.empty(documents, np.int32)
    for q in range(len(bounds) - 1):
        part = slice(bounds[q], bounds[q + 1])
        top_rows(postings, terms[part], weights[part], allowed, filtered, sums, met, rows[q], scores[q])


@kernel
def top_rows(postings, terms, weights, allowed, filtered, sums, met, rows, scores):
    """MaxScore, a word at a time: the rarest words first; sums holds zeros before and after.

    bound(t) ← the most that words t, t + 1, … can add to a document
    while bound(t) ≥ the k-th best sum:  add word t to every document that holds it       any may still get in
    for the words that are left:         add word t to the documents met that may still get among the first k
    """
    k, size = len(rows), len(terms)
    most = np.empty(size, np.float32)
    for t in range(size):
        most[t] = weights[t] * postings.highest[terms[t]]
    order = np.argsort(-most, kind="mergesort")
    bound = np.zeros(size + 1)
    for t in range(size - 1, -1, -1):
        bound[t] = bound[t + 1] + most[order[t]]
    count, threshold, t = 0, 0.0, 0
    while t < size and bound[t] >= threshold:
        word, weight = terms[order[t]], weights[order[t]]
        for place in range(postings.starts[word], postings.starts[word + 1]):
            row = postings.rows[place]
            if filtered and not allowed[row]:
                continue
            if sums[row] == 0:
                met[count] = row
                count += 1
            sums[row] += weight * postings.impacts[place]
        t += 1
        if t < size and k <= count and SHORTER * count < length(postings, terms[order[t]]):
            threshold = kth_largest(sums, met, count, k) * (1 - SLACK)
    kept = met[:count] if t == size else np.sort(met[:count])
    while t < size:
        kept = kept[sums[kept] + bound[t] >= threshold]
        add_to(sums, kept, postings, terms[order[t]], weights[order[t]])
        t += 1
    size = 0
    for row in kept:
        if size < k or sums[row] > scores[size - 1] or (sums[row] == scores[size - 1] and row < rows[size - 1]):
            size = insert(rows, scores, size, row, sums[row])
    sums[met[:count]] = 0


@kernel
def length(postings, word):
    return postings.starts[word + 1] - postings.starts[word]


@kernel
def add_to(sums, kept, postings, word, weight):
    """Add one word to the sums of the rows `kept`, ascending: one binary search each, in what is left of the list.

    Where kept is long, reading the whole list is faster; other rows whose sum is not 0 may grow then, too.
    """
    place, stop = postings.starts[word], postings.starts[word + 1]
    if SHORTER * len(kept) > stop - place:
        for p in range(place, stop):
            if sums[postings.rows[p]] != 0:
                sums[postings.rows[p]] += weight * postings.impacts[p]
        return
    for row in kept:
        place += np.searchsorted(postings.rows[place:stop], row)
        if place == stop:
            break
        if postings.rows[place] == row:
            sums[row] += weight * postings.impacts[place]


@kernel
def kth_largest(sums, met, count, k):
    values = -sums[met[:count]]
    return -np.partition(values, k - 1)[k - 1]


@kernel
def insert(rows, scores, size, row, score):
    """Insert into the `size` best, by score and then by row; the last one falls out where there is no room."""
    place = min(size, len(rows) - 1)
    while place > 0 and (score > scores[place - 1] or (score == scores[place - 1] and row < rows[place - 1])):
        rows[place], scores[place] = rows[place - 1], scores[place - 1]
        place -= 1
    rows[place], scores[place] = row, score
    return min(size + 1, len(rows))
