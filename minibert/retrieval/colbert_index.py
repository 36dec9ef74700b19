"""The index of late interaction: documents of many vectors, compressed, changed at any time, searched in three steps.

    probe     each token of the query names the centroids nearest to it; documents with a token there are candidates
    estimate  a candidate's MaxSim with every token moved to its centroid leaves the best `candidates`
    score     these are decoded, and MaxSim orders them;  exact=True decodes and scores every document instead

Documents come in young: their vectors are kept whole and every search scores them. When the young are a sixteenth of
all tokens, and at least 8,192, centroids are fitted to them, added to those there are, and the young are coded. What is
coded is never coded again, nothing is embedded again, and a subject that is new to the index gets centroids of its own.

Source   Santhanam 2022 (PLAID, arXiv:2205.09707); codes: residual_codes.py
Differs  the authors fit all centroids once, before the first document, and their index grows by rebuilding
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike

from ann.files import FORMAT, VERSION, CorruptIndexError, read_tables, write_tables
from ann.inputs import MAX_ID, as_allowed, as_ids, positive_int
from ann.ivf import sort_by_cell
from ann.kmeans import kmeans, nearest_centroids
from ann.tables import expect
from ann.threads import run_threads
from minibert._jit import kernel
from minibert.ops import max_sim
from minibert.ragged import TokenVectors
from minibert.retrieval.residual_codes import BITS, decode, encode, fit_levels

KIND = "ColBERTIndex"
YOUNG, SHARE = 8192, 16  # tokens that stay young at least, and the share of all that they may be: 1 / SHARE
CENTROIDS = 4  # times √tokens
SAMPLE, ITERATIONS = 32, 4  # of k-means: rows a centroid, steps
BLOCK = 1 << 14  # tokens decoded at a time
PROBES, CANDIDATES = 4, 256


@dataclass(frozen=True)
class _Coded:
    """The first documents: C centroids, L levels of each, and the owner and code of each of their R tokens."""

    starts: np.ndarray  # (N + 1,) int64
    owners: np.ndarray  # (R,) int32
    codes: np.ndarray  # (R, ·) uint8
    centroids: np.ndarray  # (C, D) float32
    levels: np.ndarray  # (C, L) float32

    @cached_property
    def lists(self) -> tuple[np.ndarray, np.ndarray]:
        """The documents of each centroid's tokens, and where each centroid's start."""
        rows, starts = sort_by_cell(self.owners, len(self.centroids))
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))[rows], starts

    def vectors(self, documents: np.ndarray) -> TokenVectors:
        """The documents' tokens, decoded."""
        rows, starts = _rows_of(self.starts, documents)
        return TokenVectors(decode(self.owners[rows], self.codes[rows], self.centroids, self.levels), starts)


@dataclass(frozen=True)
class _Held:
    """All that an index holds at one moment. A change makes another one, so that a search sees one or the other.

    Shapes   ids (N,) int64, −1 for a removed document: first those of `coded`, then those of `young`
    """

    ids: np.ndarray
    coded: _Coded
    young: TokenVectors

    @property
    def tokens(self) -> int:
        return len(self.coded.owners) + len(self.young.rows)

    def vectors(self, documents: np.ndarray) -> TokenVectors:
        """The tokens of documents, ascending."""
        first_young = len(self.coded.starts) - 1
        coded = self.coded.vectors(documents[documents < first_young])
        rows, starts = _rows_of(self.young.starts, documents[documents >= first_young] - first_young)
        return _join(coded, TokenVectors(self.young.rows[rows], starts))

    def blocks(self, documents: np.ndarray):
        """The documents in parts of some BLOCK tokens."""
        lengths = np.concatenate((np.diff(self.coded.starts), np.diff(self.young.starts)))[documents]
        parts = (np.cumsum(lengths) - 1) // BLOCK
        return np.split(documents, np.flatnonzero(np.diff(parts)) + 1) if len(documents) else []


class ColBERTIndex:
    """Documents by the vectors of their tokens.

    index = ColBERTIndex(model.dim)
    index.add(model.encode_document(passages))
    ids, scores = index.search(model.encode_query(questions), k=10)

    Units    bits: of each number of a token's vector, 1, 2 or 4; None keeps vectors as they are, and every search is
             exact; seed: of k-means: the same calls make the same file; metadata: the caller's strings, kept in files
    """

    def __init__(self, dim: int, bits: int | None = 2, seed: int = 0):
        self.dim, self.seed = positive_int(dim, "dim"), positive_int(seed, "seed", 0)
        if bits is not None and bits not in BITS:
            raise ValueError(f"bits: expected one of {', '.join(map(str, BITS))}, or None, got {bits!r}")
        self.bits = bits
        self.metadata: dict[str, str] = {}
        self._next_id, self._writer = 0, threading.Lock()
        none, b = np.zeros(1, np.int64), bits or 1
        codes, levels = np.empty((0, -(-dim * b // 8)), np.uint8), np.empty((0, 1 << b), np.float32)
        coded = _Coded(none, np.empty(0, np.int32), codes, np.empty((0, dim), np.float32), levels)
        self._held = _Held(np.empty(0, np.int64), coded, TokenVectors(np.empty((0, dim), np.float32), none))

    def __len__(self) -> int:
        """How many documents can be found."""
        return int(np.count_nonzero(self._held.ids >= 0))

    @property
    def ids(self) -> np.ndarray:
        """Ids of the documents, in the order of their adding."""
        ids = self._held.ids
        return ids[ids >= 0]

    def vectors(self, id: int) -> np.ndarray:
        """The vectors that the index holds of a document, decoded where they are coded. KeyError: no such document"""
        held = self._held
        place = np.flatnonzero((held.ids == id) & (held.ids >= 0))
        if not len(place):
            raise KeyError(id)
        return held.vectors(place).rows

    # ---- changes -----------------------------------------------------------------------------------------------------

    def add(self, documents: TokenVectors, ids: ArrayLike | None = None) -> np.ndarray:
        """Add documents and return their ids; an id that is in the index already is replaced.

        Shapes   n documents; ids (n,) integers ≥ 0, by default the numbers after the largest id ever used
        Raises   ValueError: another width, a row that is no unit vector, as many ids expected as documents, or an id
                 twice. Nothing has been added then
        """
        self._check(documents, "documents")
        given = None if ids is None else as_ids(ids)
        if given is not None and len(given) != len(documents):
            raise ValueError(f"ids: expected one for each of {len(documents)} documents, got {len(given)}")
        with self._writer:
            if given is None:
                first, count = self._next_id, len(documents)
                if count > max(0, MAX_ID - first):
                    raise ValueError(f"ids: no {count} numbers are left after id {first - 1}; pass ids")
                given = np.arange(first, first + count, dtype=np.int64)
            held = self._held
            left = np.where(np.isin(held.ids, given), -1, held.ids)
            held = _Held(np.concatenate((left, given)), held.coded, _join(held.young, documents))
            self._held = self._settled(held)
            self._next_id = max(self._next_id, int(given.max(initial=-1)) + 1)
        return given

    def remove(self, ids: ArrayLike) -> None:
        """Remove documents by id.

        Raises   ValueError: an id that is not in the index; nothing has been removed then
        """
        gone = as_ids(ids)
        with self._writer:
            held = self._held
            if not (known := np.isin(gone, held.ids)).all():
                position = int(known.argmin())
                raise ValueError(f"ids: id {gone[position]} at position {position} is not in the index")
            left = np.where(np.isin(held.ids, gone), -1, held.ids)
            self._held = self._settled(replace(held, ids=left))

    def _settled(self, held: _Held) -> _Held:
        """Without removed documents once they are half of all, and the young coded once they are many."""
        if 2 * np.count_nonzero(held.ids < 0) > len(held.ids):
            held = _without_removed(held)
        if self.bits is not None and len(held.young.rows) >= max(YOUNG, held.tokens // SHARE):
            held = self._coded(held, self.bits)
        return held

    def _coded(self, held: _Held, bits: int) -> _Held:
        """Centroids for the young added to those there are, and the young coded by all of them."""
        coded, rows = held.coded, held.young.rows
        rng = np.random.default_rng([self.seed, len(coded.owners)])
        wanted = round(CENTROIDS * np.sqrt(held.tokens))
        share = wanted * len(rows) // (2 * held.tokens)  # where older documents, now perhaps removed, have had them all
        count = min(len(rows), max(1, share, wanted - len(coded.centroids)))
        fresh = kmeans(rows, count, rng, ITERATIONS, SAMPLE)
        sample = rows[: SAMPLE * count]
        levels = fit_levels(sample - fresh[nearest_centroids(sample, fresh)[0]], bits, rng)
        centroids = np.concatenate((coded.centroids, fresh))
        levels = np.concatenate((coded.levels, np.tile(levels, (count, 1))))
        owners, codes = encode(rows, centroids, levels)
        starts = np.concatenate((coded.starts, coded.starts[-1] + held.young.starts[1:]))
        owners, codes = np.concatenate((coded.owners, owners)), np.concatenate((coded.codes, codes))
        none = TokenVectors(rows[:0], np.zeros(1, np.int64))
        return _Held(held.ids, _Coded(starts, owners, codes, centroids, levels), none)

    # ---- search ------------------------------------------------------------------------------------------------------

    def search(
        self,
        queries: TokenVectors,
        k: int = 10,
        exact: bool = False,
        probes: int = PROBES,
        candidates: int = CANDIDATES,
        allow: ArrayLike | None = None,
        threads: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k documents of highest MaxSim with each query, best first, equal scores by the smaller id.

        exact       score every document, with the vectors that the index holds
        probes      centroids that each token of the query looks at: more is slower and finds more
        candidates  documents that are decoded and scored, at least k; the young come on top
        allow       only these: an array of ids, or a boolean mask aligned with `index.ids`
        Shapes      Q queries → ids (Q, k) int64, scores (Q, k) float32; −1 and −inf where fewer documents are found
        """
        self._check(queries, "queries")
        k, probes, threads = positive_int(k, "k"), positive_int(probes, "probes"), positive_int(threads, "threads")
        candidates = max(k, positive_int(candidates, "candidates"))
        held = self._held
        allowed = held.ids >= 0 if allow is None else as_allowed(allow, held.ids)
        ids, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)

        def answer(query: int) -> None:
            asked = TokenVectors(queries[query], np.array([0, len(queries[query])]))
            places = np.flatnonzero(allowed)
            if not exact:
                places = _candidates(held, asked.rows, allowed, probes, candidates)
            parts = [max_sim(asked, held.vectors(part))[0][0] for part in held.blocks(places)]
            found, got = held.ids[places], np.concatenate([np.empty(0, np.float32), *parts])
            best = np.lexsort((found, -got))[:k]
            ids[query, : len(best)], scores[query, : len(best)] = found[best], got[best]

        run_threads(answer, range(len(queries)), threads)
        return ids, scores

    def _check(self, vectors: TokenVectors, name: str) -> None:
        if vectors.rows.shape[1] != self.dim or vectors.rows.dtype != np.float32:
            got = f"{vectors.rows.dtype} {vectors.rows.shape}"
            raise ValueError(f"{name}: expected float32 rows of {self.dim} numbers, got {got}")
        squares = np.einsum("td,td->t", vectors.rows, vectors.rows)
        if not (wrong := ~(np.abs(squares - 1) < 1e-3)).any():
            return
        row = int(wrong.argmax())
        text = int(np.searchsorted(vectors.starts, row, side="right")) - 1
        raise ValueError(
            f"{name}: expected unit vectors, got length {squares[row] ** 0.5:.4g} in row {row}, text {text}"
        )

    # ---- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write one checksummed file; a failed save leaves the file that was there. Format: ann/files.py."""
        with self._writer:
            held = self._held
            tables = {
                "ids": held.ids,
                **{name: getattr(held.coded, name) for name in ("starts", "owners", "codes", "centroids", "levels")},
                "young": held.young.rows,
                "young_starts": held.young.starts,
            }
            facts = {"dim": self.dim, "bits": self.bits or 0, "seed": self.seed, "next_id": self._next_id}
            about = {"format": FORMAT, "format_version": VERSION, "class": KIND, "user": json.dumps(self.metadata)}
            write_tables(path, tables, {name: str(value) for name, value in facts.items()} | about)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ColBERTIndex:
        """Read what `save` wrote.

        Raises   FileNotFoundError; CorruptIndexError: another kind of file, or a damaged one
        """
        tables, facts = read_tables(path)
        try:
            if facts["class"] != KIND:
                raise ValueError(f"expected a {KIND}, got a {facts['class']}")
            index = cls(int(facts["dim"]), int(facts["bits"]) or None, int(facts["seed"]))
            index._next_id, index.metadata = int(facts["next_id"]), json.loads(facts["user"])
            index._restore(tables)
            return index
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise CorruptIndexError(f"{path}: {error}") from error

    def _restore(self, tables: dict[str, np.ndarray]) -> None:
        """Take over tables whose structure is sound; ValueError, KeyError otherwise."""
        held, dim = self._held, self.dim
        starts, young_starts = (expect(tables, name, np.int64, (None,)) for name in ("starts", "young_starts"))
        ids = expect(tables, "ids", np.int64, (len(starts) + len(young_starts) - 2,))
        owners = expect(tables, "owners", np.int32, (int(starts[-1]),))
        codes = expect(tables, "codes", np.uint8, (len(owners), held.coded.codes.shape[1]))
        centroids = expect(tables, "centroids", np.float32, (None, dim))
        levels = expect(tables, "levels", np.float32, (len(centroids), held.coded.levels.shape[1]))
        young = TokenVectors(expect(tables, "young", np.float32, (int(young_starts[-1]), dim)), young_starts)
        self._check(young, "young")
        as_ids(ids[ids >= 0])
        for wrong, message in (
            (starts[0] != 0 or (np.diff(starts) <= 0).any(), "starts do not ascend from 0"),
            ((owners < 0).any() or (owners >= len(centroids)).any(), "a token's centroid does not exist"),
            (not np.isfinite(centroids).all() or not np.isfinite(levels).all(), "a centroid or level is not finite"),
            (int(ids.max(initial=-1)) >= self._next_id, "next_id is among the ids"),
        ):
            if wrong:
                raise ValueError(message)
        self._held = _Held(ids, _Coded(starts, owners, codes, centroids, levels), young)


def _candidates(held: _Held, query: np.ndarray, allowed: np.ndarray, probes: int, candidates: int) -> np.ndarray:
    """Places of the documents to score, ascending: the most promising coded ones, and all young ones."""
    coded = held.coded
    count = len(coded.starts) - 1
    young = np.flatnonzero(allowed[count:]) + count
    if not count:
        return young
    products = coded.centroids @ query.T
    probes = min(probes, len(products))
    cells = np.unique(np.argpartition(-products, probes - 1, axis=0)[:probes])
    documents, starts = coded.lists
    met = np.zeros(count, bool)
    for cell in cells.tolist():
        met[documents[starts[cell] : starts[cell + 1]]] = True
    places = np.flatnonzero(met & allowed[:count])
    if len(places) > candidates:
        estimates = estimate_fast(products, coded.owners, coded.starts, places)
        places = np.sort(places[np.argsort(-estimates, kind="stable")[:candidates]])
    return np.concatenate((places, young))


def estimate(products: np.ndarray, owners: np.ndarray, starts: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """MaxSim of one query with documents whose tokens stand where their centroids do.

    Shapes   products (C, Tq): of centroids and the query's tokens; owners (R,), starts (N + 1,), documents (n,) → (n,)
    """
    return np.array([products[owners[starts[n] : starts[n + 1]]].max(axis=0).sum() for n in documents], np.float32)


@kernel
def estimate_fast(products, owners, starts, documents):
    """`estimate`, token by token."""
    out, best = np.empty(len(documents), np.float32), np.empty(products.shape[1], np.float32)
    for i in range(len(documents)):
        best[:] = -np.inf
        for t in range(starts[documents[i]], starts[documents[i] + 1]):
            row = products[owners[t]]
            for q in range(len(best)):
                best[q] = max(best[q], row[q])
        total = np.float32(0.0)
        for q in range(len(best)):
            total += best[q]
        out[i] = total
    return out


def _without_removed(held: _Held) -> _Held:
    """The living documents alone, and the centroids that their tokens have."""
    coded, living = held.coded, np.flatnonzero(held.ids >= 0)
    count = len(coded.starts) - 1
    rows, starts = _rows_of(coded.starts, living[living < count])
    young_rows, young_starts = _rows_of(held.young.starts, living[living >= count] - count)
    used, owners = np.unique(coded.owners[rows], return_inverse=True)
    left = _Coded(starts, owners.astype(np.int32), coded.codes[rows], coded.centroids[used], coded.levels[used])
    return _Held(held.ids[living], left, TokenVectors(held.young.rows[young_rows], young_starts))


def _rows_of(starts: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows of some texts, and where each text starts among them."""
    lengths = np.diff(starts)[texts]
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    return np.arange(bounds[-1]) + np.repeat(starts[texts] - bounds[:-1], lengths), bounds


def _join(a: TokenVectors, b: TokenVectors) -> TokenVectors:
    """The texts of a, then those of b."""
    return TokenVectors(np.concatenate((a.rows, b.rows)), np.concatenate((a.starts, a.starts[-1] + b.starts[1:])))
