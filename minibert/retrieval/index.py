"""The indexes beside a store: derived from it, so they may be lost, and are never trusted blindly.

index.ann    HNSW over the passages' vectors        index.bm25    BM25 over their words, made when first asked for
"""

from __future__ import annotations

import sqlite3
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

import ann
from ann.index import Index as AnnIndex
from minibert import runtime
from minibert.checkpoint import CheckpointError
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.schema import StoreError, transaction
from minibert.retrieval.vectors import Codec

ADD_AT_ONCE = 8192  # rows read from SQLite into one call of index.add
TOKEN = "generation"  # in the index file's metadata
INDEX, WORDS = "index.ann", "index.bm25"


def latest_generation(db: sqlite3.Connection) -> str:
    """The token of the last commit; "" before the first."""
    row = db.execute("SELECT token FROM generations ORDER BY number DESC LIMIT 1").fetchone()
    return row[0] if row else ""


class Following(ABC):
    """An index that holds exactly the passages of the generation its metadata names. A subclass reads and adds them."""

    rows = "rows"  # what a warning calls what is added
    _options: dict[str, Any] = {}  # of index.add

    def __init__(self, index: Any):
        self.index = index
        self.saved = ""  # the generation that the file holds

    @property
    def generation(self) -> str:
        """The token of the generation that the index holds; "" before the first."""
        return self.index.metadata.get(TOKEN, "")

    def check(self) -> list[str]:
        """What is wrong inside the index, beyond what reading the file shows."""
        return []

    def follow(self, db: sqlite3.Connection, progress: bool = False) -> tuple[int, int]:
        """Catch up with the last commit: (rows added, rows removed). Call inside a transaction."""
        from tqdm import tqdm

        token = latest_generation(db)
        if self.generation == token:
            return 0, 0
        stored = np.array([number for (number,) in db.execute("SELECT number FROM chunks ORDER BY number")], np.int64)
        gone = np.setdiff1d(self.index.ids, stored)
        missing = np.setdiff1d(stored, self.index.ids)
        if len(gone):
            self.index.remove(gone)
        with tqdm(total=len(missing), desc="index", unit=f" {self.rows}", disable=not progress) as bar:
            for i in range(0, len(missing), ADD_AT_ONCE):
                ids = missing[i : i + ADD_AT_ONCE]
                self.index.add(self._read(db, ids), ids, **self._options)
                bar.update(len(ids))
        self.index.metadata[TOKEN] = token
        return len(missing), len(gone)

    def save(self, path: Path) -> None:
        """Write the file unless it holds this generation already."""
        if self.generation != self.saved:
            self.index.save(path)
            self.saved = self.generation

    @abstractmethod
    def _read(self, db: sqlite3.Connection, ids: np.ndarray) -> Any:
        """What `index.add` takes for these chunks; ids ascend."""

    def why_foreign(self, db: sqlite3.Connection) -> str:
        """Why the index is not one of this store's past; "" when it is."""
        known = db.execute("SELECT 1 FROM generations WHERE token = ?", (self.generation,)).fetchone()
        return "" if known else "was not made from this store"

    def _caught_up(self, path: Path, db: sqlite3.Connection, fresh: Following) -> Following:
        """This index, or the fresh one where this is another's, holding the last commit; one warning says so."""
        reason = self.why_foreign(db) if path.exists() else "is missing"
        following = fresh if reason else self
        following.saved = following.generation
        added, removed = following.follow(db)
        if reason and added:
            warnings.warn(f"{path} {reason}: built anew from the store's {added} {self.rows}", stacklevel=2)
        elif added or removed:
            warnings.warn(f"{path} is behind the store: {added} {self.rows} added, {removed} removed", stacklevel=2)
        return following


class FollowingVectors(Following):
    """An ann index of the passages' vectors."""

    rows = "vectors"

    def __init__(self, index: AnnIndex, codec: Codec, metric: str):
        super().__init__(index)
        self._codec, self._metric = codec, metric
        if isinstance(index, ann.HNSW):  # the same file on any threads
            self._options = {"threads": runtime.one_blas_thread.threads}

    @classmethod
    def load(cls, path: Path, db: sqlite3.Connection, codec: Codec, metric: str) -> Following:
        """The index of `path`, caught up; built anew where it is missing or another's, with one warning that says so.

        Raises   StoreError: a damaged file. It could be built anew as well, but a disk that loses bytes is worth a stop
        """
        fresh = cls(ann.HNSW(codec.dim, metric=metric, quantize="int8"), codec, metric)
        return (cls.read(path, codec, metric) if path.exists() else fresh)._caught_up(path, db, fresh)

    @classmethod
    def read(cls, path: Path, codec: Codec, metric: str) -> Following:
        """The index of a file, mapped into memory; StoreError: damaged."""
        try:
            return cls(ann.load(path, mmap=True), codec, metric)
        except (OSError, ann.CorruptIndexError) as error:
            raise _damaged(path, error) from error

    def check(self) -> list[str]:
        """What `ann` finds wrong with the graph."""
        return self.index.check()

    def why_foreign(self, db: sqlite3.Connection) -> str:
        """As Following.why_foreign; first of all, vectors of another width or metric are foreign."""
        dim, metric = self._codec.dim, self._metric
        if (self.index.dim, self.index.metric) != (dim, metric):
            return f"holds {self.index.dim} dimensions under {self.index.metric}, the store {dim} under {metric}"
        return super().why_foreign(db)

    def _read(self, db: sqlite3.Connection, ids: np.ndarray) -> np.ndarray:
        return self._codec.read(db, ids.tolist())


class FollowingWords(Following):
    """A BM25 index of the passages' words, those of their title and headings among them."""

    rows = "passages"

    @classmethod
    def load(cls, path: Path, db: sqlite3.Connection) -> Following:
        """As `FollowingVectors.load`, but without a warning where the file is missing: no search asked for it yet."""
        fresh = cls(BM25())
        if not path.exists():
            fresh.follow(db)
            return fresh
        return cls.read(path)._caught_up(path, db, fresh)

    @classmethod
    def read(cls, path: Path) -> Following:
        """The index of a file; StoreError: damaged."""
        try:
            return cls(BM25.load(path))
        except (OSError, CheckpointError) as error:
            raise _damaged(path, error) from error

    def _read(self, db: sqlite3.Connection, ids: np.ndarray) -> list[str]:
        sql = (
            "SELECT chunks.number, ifnull(title || char(10), '') || context || char(10) || "
            "substr(text, start + 1, end - start) FROM chunks "
            "JOIN documents ON documents.number = document WHERE chunks.number BETWEEN ? AND ? ORDER BY chunks.number"
        )
        wanted = set(ids.tolist())
        return [text for number, text in db.execute(sql, (int(ids[0]), int(ids[-1]))) if number in wanted]


class Indexes:
    """The indexes of an open store, each read or built when it is first asked for."""

    def __init__(self, folder: Path, codec: Codec, metric: str):
        self._folder, self._codec, self._metric = folder, codec, metric
        self.forget()

    def forget(self) -> None:
        """Let go of them: what is asked for next is read anew."""
        self._hnsw: Following | None = None
        self._exact: Following | None = None
        self._words: Following | None = None

    def load(self, db: sqlite3.Connection, file: Path, vectors: bool, words: bool) -> None:
        """Read the index files asked for, and say what is wrong with them; to build one anew blocks no writer.

        SQLite's snapshot begins with the first query, here after the file was read: so the generation of a file that
        another process has just written is known.
        """
        if vectors and self._hnsw is None:
            with transaction(db, file):
                self.vectors(db)
        if words and self._words is None:
            with transaction(db, file):
                self.words(db)

    def vectors(self, db: sqlite3.Connection, exact: bool = False) -> Any:
        """HNSW, or all vectors to be scanned, holding this transaction's generation."""
        codec, metric = self._codec, self._metric
        if exact:
            following = self._exact or FollowingVectors(ann.Exact(codec.dim, metric=metric), codec, metric)
            self._exact = following
        else:
            following = self._hnsw or FollowingVectors.load(self._folder / INDEX, db, codec, metric)
            self._hnsw = following
        following.follow(db)
        return following.index

    def words(self, db: sqlite3.Connection) -> BM25:
        """BM25, holding this transaction's generation."""
        if self._words is None:
            self._words = FollowingWords.load(self._folder / WORDS, db)
        self._words.follow(db)
        return self._words.index

    def save(self, db: sqlite3.Connection, file: Path, progress: bool = False) -> None:
        """Catch up with the last commit and write the files that are behind."""
        for following, name in ((self._hnsw, INDEX), (self._words, WORDS)):
            if following is not None:
                with transaction(db, file):
                    following.follow(db, progress)
                try:
                    following.save(self._folder / name)
                except OSError as error:
                    raise StoreError(
                        f"{self._folder / name}: cannot be written ({error.strerror or error}). "
                        "All documents are stored; the index is built again at the next search"
                    ) from error


def _damaged(path: Path, error: Exception) -> StoreError:
    remedy = f"delete {path}, and it is built anew (`minibert store repair` does both)"
    return StoreError(f"{error}. The documents are whole: {remedy}")
