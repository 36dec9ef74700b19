"""The nearest-neighbour index beside a store: derived from it, so it may be lost, and is never trusted blindly."""

from __future__ import annotations

import sqlite3
import warnings
from pathlib import Path

import numpy as np

import ann
from minibert.retrieval.schema import StoreError

ADD_AT_ONCE = 8192  # vectors read from SQLite into one call of index.add
TOKEN, REMOVED = "generation", "removed"  # in the index file's metadata


def latest_generation(db: sqlite3.Connection) -> str:
    """The token of the last commit; "" before the first."""
    row = db.execute("SELECT token FROM generations ORDER BY number DESC LIMIT 1").fetchone()
    return row[0] if row else ""


class FollowingIndex:
    """An ann index that holds exactly the vectors of the generation its metadata names."""

    def __init__(self, index: ann.HNSW | ann.Exact):
        self.index = index
        self.saved = ""  # the generation that the file holds

    @classmethod
    def load(cls, path: Path, db: sqlite3.Connection, dim: int, metric: str) -> FollowingIndex:
        """The index of `path`, caught up; built anew where it is missing or another's, with one warning that says so.

        Raises   StoreError: a damaged file. It could be built anew as well, but a disk that loses bytes is worth a stop
        """
        reason = "is missing"
        if path.exists():
            try:
                following = cls(ann.load(path))
            except (OSError, ann.CorruptIndexError) as error:
                raise StoreError(f"{error}. The documents are whole: delete {path}, and it is built anew") from error
            reason = following._why_foreign(db, dim, metric)
        if reason:
            following = cls(ann.HNSW(dim, metric=metric))
        else:
            following.saved = following.index.metadata[TOKEN]
        added, removed = following.follow(db)
        if reason and added:
            warnings.warn(f"{path} {reason}: built anew from the store's {added} vectors", stacklevel=2)
        elif added or removed:
            warnings.warn(f"{path} is behind the store: {added} vectors added, {removed} removed", stacklevel=2)
        return following

    def _why_foreign(self, db: sqlite3.Connection, dim: int, metric: str) -> str:
        """Why the file is not an index of this store's past; "" when it is one."""
        if (self.index.dim, self.index.metric) != (dim, metric):
            return f"holds {self.index.dim} dimensions under {self.index.metric}, the store {dim} under {metric}"
        token = self.index.metadata.get(TOKEN, "")
        if db.execute("SELECT 1 FROM generations WHERE token = ?", (token,)).fetchone() is None:
            return "was not made from this store"
        return ""

    def follow(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Catch up with the last commit: (vectors added, vectors removed). Call inside a transaction."""
        token = latest_generation(db)
        if self.index.metadata.get(TOKEN, "") == token:
            return 0, 0
        stored = np.array([number for (number,) in db.execute("SELECT number FROM chunks ORDER BY number")], np.int64)
        gone = np.setdiff1d(self.index.ids, stored)
        missing = np.setdiff1d(stored, self.index.ids)
        if len(gone):
            self._remove(gone)
        for i in range(0, len(missing), ADD_AT_ONCE):
            ids = missing[i : i + ADD_AT_ONCE]
            self.index.add(_vectors(db, ids, self.index.dim), ids)
        self.index.metadata[TOKEN] = token
        return len(missing), len(gone)

    def _remove(self, gone: np.ndarray) -> None:
        self.index.remove(gone)
        # HNSW keeps removed rows as way-marks: once they are the greater part, they go.
        removed = int(self.index.metadata.get(REMOVED, 0)) + len(gone)
        if removed > len(self.index):
            self.index.compact()
            removed = 0
        self.index.metadata[REMOVED] = str(removed)

    def save(self, path: Path) -> None:
        """Write the file unless it holds this generation already."""
        token = self.index.metadata.get(TOKEN, "")
        if token != self.saved:
            self.index.save(path)
            self.saved = token


def _vectors(db: sqlite3.Connection, ids: np.ndarray, dim: int) -> np.ndarray:
    """The vectors of these chunks, (len(ids), dim); ids ascend."""
    wanted = set(ids.tolist())
    rows = db.execute(
        "SELECT chunk, vector FROM vectors WHERE chunk BETWEEN ? AND ? ORDER BY chunk", (int(ids[0]), int(ids[-1]))
    )
    blobs = [blob for chunk, blob in rows if chunk in wanted]
    return np.frombuffer(b"".join(blobs), "<f4").reshape(len(ids), dim)
