"""The tables of a store, and connections to them.

    meta         format, encoder, dim, metric, precision, how it is cut, and what the user wants remembered
    documents    what was given: id, title, text, metadata (JSON), format; its digest, and how it was cut
    chunks       spans of the documents' texts: the text itself stands once, in documents; the headings above
    vectors      one a chunk, see vectors.py
    generations  one row a commit; its token marks this history, whatever folder it is copied to

A chunk's number is never given twice (AUTOINCREMENT) and its vector never changes. Hence an index built from an
earlier generation is caught up by set difference: numbers it lacks are added, numbers that are gone are removed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minibert.retrieval.store import Encoder

FORMAT = "2"
FACTS = {
    "format",
    "encoder",
    "parts",
    "dim",
    "metric",
    "precision",
    "chunk",
    "chunk_size",
    "overlap",
}  # the store's own
SEE = "`minibert store check` tells more"
BUSY_SECONDS = 5.0  # how long to wait for another writer

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT, text TEXT NOT NULL, metadata TEXT NOT NULL,
    format TEXT NOT NULL, digest BLOB NOT NULL, cut TEXT NOT NULL);
CREATE TABLE chunks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    start INTEGER NOT NULL, end INTEGER NOT NULL, context TEXT NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document);
CREATE TABLE vectors (chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, vector BLOB NOT NULL);
CREATE TABLE generations (number INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL);
"""


class StoreError(ValueError):
    """A store that cannot be opened, read or written: the message names the file and the reason."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode: readers keep their snapshot while one writer works; a commit is on the disk."""
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    db.execute("PRAGMA page_size = 8192")  # of a new file: 5 vectors of 384 floats a page, where 4,096 bytes hold 2
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def refuse_empty(path: Path) -> None:
    """SQLite would take a truncated file for a new database. Another process that makes the store needs a moment."""
    for _ in range(20):
        if not path.exists() or path.stat().st_size:
            return
        time.sleep(0.02)
    raise StoreError(f"{path} is empty: truncated? Restore it, or delete it to begin a new store")


def close(db: sqlite3.Connection, path: Path) -> None:
    """Close a connection; a second time does no harm."""
    with named(path):
        db.close()


@contextmanager
def named(path: Path) -> Iterator[None]:
    """SQLite's errors become StoreError, which names the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {_reason(error)}") from error


@contextmanager
def transaction(db: sqlite3.Connection, path: Path, write: bool = False) -> Iterator[None]:
    """All or nothing; a reader sees one generation throughout. SQLite's errors become StoreError."""
    with named(path):
        db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # SQLite itself rolls back when the disk is full
                db.execute("ROLLBACK")
            raise


def _reason(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return "another process is writing to this store; try again when it is done"
    if "full" in text or "disk I/O" in text:
        return f"cannot be written ({text}): is the disk full? What was committed before is kept"
    if "readonly" in text or "unable to open" in text:
        return f"{text}: the folder must be one to write in, even to search, as SQLite keeps its locks there"
    if "thread" in text:
        return "this Store was opened in another thread: open one for each thread"
    return text


def create_tables(db: sqlite3.Connection, facts: dict[str, str]) -> None:
    """Make the tables of a new store; call inside a write transaction."""
    for statement in TABLES.split(";"):
        db.execute(statement)
    write_meta(db, {"format": FORMAT, **facts})


def has_tables(db: sqlite3.Connection) -> bool:
    """Whether a store was made in this file."""
    return db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0] == 1


def read_meta(db: sqlite3.Connection) -> dict[str, str]:
    """The facts that a store remembers."""
    return dict(db.execute("SELECT key, value FROM meta"))


def write_meta(db: sqlite3.Connection, facts: dict[str, str]) -> None:
    """Keep facts, in place of those of the same names."""
    db.executemany(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", facts.items()
    )


def open_file(file: Path) -> sqlite3.Connection:
    """A connection to a store's file, new or not; StoreError where it is none."""
    refuse_empty(file)
    with named(file):
        return connect(file)


def create_or_check(db: sqlite3.Connection, file: Path, encoder: Encoder, wished: dict[str, str]) -> dict[str, str]:
    """Make the tables of a new store with the facts wished; refuse another format's or encoder's; the store's facts."""
    mine = {"encoder": encoder.fingerprint, "dim": str(encoder.dim), "metric": encoder.metric}
    with transaction(db, file):
        meta = read_meta(db) if has_tables(db) else {}
    if not meta:
        facts = {**mine, "parts": json.dumps(getattr(encoder, "parts", {})), **wished}
        with transaction(db, file, write=True):
            if not has_tables(db):
                create_tables(db, facts)
            meta = read_meta(db)
    if meta.get("format") != FORMAT:
        remedy = "another version made it: ingest into a new folder"
        raise StoreError(f"{file}: expected format {FORMAT}, got {meta.get('format')}; {remedy}")
    if any(meta[key] != value for key, value in mine.items()):
        wrote, asks = (f"{facts['encoder']} ({facts['metric']}, {facts['dim']})" for facts in (meta, mine))
        before, now = json.loads(meta["parts"]), getattr(encoder, "parts", {})  # not read before: it hashes all weights
        differ = ", ".join(part for part in now if now[part] != before.get(part))
        raise StoreError(
            f"{file}: written with the encoder {wrote}; this one is {asks}, and their vectors don't compare"
            + (f". What differs: {differ}" if differ else "")
        )
    return meta
