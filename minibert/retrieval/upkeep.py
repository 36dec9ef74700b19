"""Looking after a store: what is wrong with it, mending that, giving back room, and what it takes.

A document is the truth about itself: from its text, passages and vectors can be made anew, and from these the indexes.
So a repair never takes away a document; what it cannot mend stays, and `check` goes on telling.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from minibert.retrieval import schema
from minibert.retrieval.documents import digest, is_json
from minibert.retrieval.index import INDEX, WORDS, Following, FollowingVectors, FollowingWords, latest_generation
from minibert.retrieval.schema import StoreError, transaction

if TYPE_CHECKING:
    from minibert.retrieval.store import Store

FIELDS = ("id", "title", "text", "metadata", "format")
ORPHANS = {  # rows that belong to none
    "passages": "FROM chunks WHERE document NOT IN (SELECT number FROM documents)",
    "vectors": "FROM vectors WHERE chunk NOT IN (SELECT number FROM chunks)",
}


class Recorded:
    """In place of an encoder, what a store's facts say of its own: enough to look after it, not to search or add.

    Raises   StoreError: facts of no store
    """

    def __init__(self, facts: dict[str, str]):
        if "encoder" not in facts:
            raise StoreError("the store was never finished: it has no encoder yet")
        self.fingerprint, self.dim, self.metric = facts["encoder"], int(facts["dim"]), facts["metric"]

    def encode_query(self, texts: list[str]) -> NoReturn:
        """Raises   StoreError: always."""
        raise StoreError("the store was opened without its encoder")

    encode_document = encode_query


def check(store: Store) -> list[str]:
    """What `Store.check` finds."""
    if findings := _pages(store):
        return findings
    with transaction(store._db, store._file):
        findings = [f"document {document['id']!r} {fault}" for document, fault in _faults(store)]
        for name, rows in ORPHANS.items():
            if count := store._db.execute(f"SELECT count(*) {rows}").fetchone()[0]:
                findings.append(f"{count} {name} belong to nothing")
        for path, read in _files(store).items():
            findings += [f"{path} {fault}" for fault in _index_faults(store, path, read)]
    return findings


def repair(store: Store) -> list[str]:
    """What `Store.repair` does."""
    if pages := _pages(store):
        raise StoreError(f"{'; '.join(pages[:3])}. The file itself is damaged: restore a copy of it")
    if not (findings := check(store)):
        return []
    with transaction(store._db, store._file):
        faulty = {document["number"]: document for document, _ in _faults(store)}
        broken = [path for path, read in _files(store).items() if any(_index_faults(store, path, read))]
    with store._commit():
        for rows in ORPHANS.values():
            store._db.execute(f"DELETE {rows}")
    for document in faulty.values():
        if not is_json(document["metadata"]):
            with store._commit():  # to add it again must find it changed
                store._db.execute("UPDATE documents SET digest = x'' WHERE number = ?", (document["number"],))
            continue
        embedded = list(store._embed([{**document, "digest": digest(document)}]))
        with store._commit():
            store._db.execute("DELETE FROM documents WHERE number = ?", (document["number"],))
            store._insert(*embedded[0])
    _rebuild(store, broken)
    return findings


def compact(store: Store) -> tuple[int, int]:
    """What `Store.compact` does."""
    before = sum(_sizes(store).values())
    with transaction(store._db, store._file, write=True):
        store._db.execute("DELETE FROM generations WHERE number < (SELECT max(number) FROM generations)")
    with schema.named(store._file):
        store._db.execute("VACUUM")
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _rebuild(store, list(_files(store)))
    return before, sum(_sizes(store).values())


def stats(store: Store) -> dict[str, Any]:
    """What `Store.stats` tells."""
    with transaction(store._db, store._file):
        counts = {
            table: store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("documents", "chunks")
        }
        facts = schema.read_meta(store._db)
    sizes = _sizes(store)
    per_passage = {
        f"{name} bytes a passage": size / max(1, counts["chunks"]) for name, size in sizes.items() if "-" not in name
    }
    encoder = {name: facts[name] for name in ("encoder", "dim", "metric", "precision")}
    return {**counts, **encoder, "bytes of a vector": store._codec.size, **sizes, **per_passage}


def _pages(store: Store) -> list[str]:
    """What SQLite finds wrong with its own file."""
    with schema.named(store._file):
        rows = [text for (text,) in store._db.execute("PRAGMA integrity_check(10)")]
    return [] if rows == ["ok"] else [f"{store._file}: {' '.join(text.split())}" for text in rows]


def _faults(store: Store) -> Iterator[tuple[dict[str, Any], str]]:
    """Documents that are not whole, and what is wrong with each."""
    sql = "SELECT start, end, vector FROM chunks LEFT JOIN vectors ON chunk = chunks.number WHERE document = ?"
    # Text as bytes: damaged ones must not stop the check.
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in FIELDS)
    for number, told, *fields in store._db.execute(f"SELECT number, digest, {columns} FROM documents ORDER BY number"):
        decoded = (field if field is None else field.decode("utf-8", "replace") for field in fields)
        document: dict[str, Any] = {"number": number, **dict(zip(FIELDS, decoded, strict=True))}
        chunks = store._db.execute(sql, (number,)).fetchall()
        if digest(document) != told:
            yield document, "is not what was stored: its digest differs"
        if not is_json(document["metadata"]):
            yield document, "has metadata that are no JSON: add it again"
        if not chunks:
            yield document, "has no passages"
        for start, end, blob in chunks:
            if not 0 <= start < end <= len(document["text"]):
                yield document, f"has a passage [{start}:{end}] that lies outside its text"
            if blob is None:
                yield document, f"has no vector for its passage [{start}:{end}]"
            elif len(blob) != store._codec.size or not np.isfinite(store._codec.unpack([blob])).all():
                yield document, f"has a vector that is none, for its passage [{start}:{end}]"


def _files(store: Store) -> dict[Path, Callable[[Path], Following]]:
    """The index files that there are, and what reads each."""
    vectors = partial(FollowingVectors.read, codec=store._codec, metric=store.encoder.metric)
    readers: dict[Path, Callable[[Path], Following]] = {
        store.path / INDEX: vectors,
        store.path / WORDS: FollowingWords.read,
    }
    return {path: read for path, read in readers.items() if path.exists()}


def _index_faults(store: Store, path: Path, read: Callable[[Path], Following]) -> Iterator[str]:
    """What is wrong with an index file. To be behind is no fault: the next search catches it up."""
    try:
        following = read(path)
    except StoreError as error:
        yield f"cannot be read: {error}"
        return
    if reason := following.why_foreign(store._db):
        yield reason
    elif following.generation == latest_generation(store._db):
        numbers = [number for (number,) in store._db.execute("SELECT number FROM chunks ORDER BY number")]
        if np.sort(following.index.ids).tolist() != numbers:
            yield "does not hold the passages of the generation that it names"
    yield from following.check()


def _rebuild(store: Store, paths: list[Path]) -> None:
    """Build these index files anew from the store, and catch up the others that there are."""
    names = {path.name for path in _files(store)}
    for path in paths:
        path.unlink(missing_ok=True)
    store._indexes.forget()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are missing, or behind
        store._indexes.load(store._db, store._file, vectors=INDEX in names, words=WORDS in names)
    store.save_indexes()


def _sizes(store: Store) -> dict[str, int]:
    """Bytes of each file of the folder."""
    return {path.name: path.stat().st_size for path in sorted(store.path.iterdir()) if path.is_file()}
