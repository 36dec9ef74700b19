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

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ann.inputs import MAX_ID, as_allowed, as_ids, positive_int
from ann.threads import run_threads
from minibert._jit import kernel
from minibert.checkpoint import CheckpointError, load_file, save_file
from minibert.retrieval.words import Vocabulary, words

FORMAT = "minibert-bm25 1"
SHORTER = 8  # so much shorter must a list of rows be for a binary search a row to pay
EPSILON = 2.0**-23  # of float32
MAX_K1 = 1e6  # beyond, impacts vanish in float32


class Postings(NamedTuple):
    """For word t: the rows rows[starts[t]:starts[t + 1]], ascending, their impacts, and the highest of these.

    Shapes   starts (V + 1,) int64, rows (P,) int32, impacts (P,) float32, highest (V,) float32
    """

    starts: np.ndarray
    rows: np.ndarray
    impacts: np.ndarray
    highest: np.ndarray


class Counted(NamedTuple):
    """The same lists with how often the word occurs, which is what the index keeps when documents come and go."""

    starts: np.ndarray
    rows: np.ndarray
    counts: np.ndarray


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
def join_postings(old, new):
    """Posting lists of old documents and of new ones, whose rows are all larger: word by word, old before new."""
    starts = new.starts.copy()
    for word in range(len(starts)):
        starts[word] += old.starts[min(word, len(old.starts) - 1)]
    rows, counts = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for word in range(len(starts) - 1):
        at = starts[word]
        if word < len(old.starts) - 1:
            for place in range(old.starts[word], old.starts[word + 1]):
                rows[at], counts[at] = old.rows[place], old.counts[place]
                at += 1
        for place in range(new.starts[word], new.starts[word + 1]):
            rows[at], counts[at] = new.rows[place], new.counts[place]
            at += 1
    return Counted(starts, rows, counts)


@kernel
def highest_impacts(starts, impacts):
    """(V,) float32: the largest impact of each list, 0 of an empty one."""
    highest = np.zeros(len(starts) - 1, np.float32)
    for word in range(len(starts) - 1):
        for place in range(starts[word], starts[word + 1]):
            highest[word] = max(highest[word], impacts[place])
    return highest


@kernel
def search_batch(postings, documents, bounds, terms, weights, allowed, filtered, rows, scores):
    """The best rows and their scores of each query's terms[bounds[q]:bounds[q + 1]]."""
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
            threshold = kth_largest(sums, met, count, k) * (1 - size * EPSILON)  # a float32 sum is that exact
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
    """How many documents hold a word."""
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
    """The k-th largest sum of the first `count` rows met."""
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
