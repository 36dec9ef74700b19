"""A store: one folder that takes documents in and finds their passages again, also in another process.

    store.sqlite   documents, chunks and vectors: the truth        index.ann   HNSW over the vectors: derived

Every call of `add` and `delete` is one transaction: after kill -9 or a full disk the store holds what was committed
before, whole. The index file is written when the store is closed; where it is missing or behind, it is built anew or
caught up at the first search; a damaged one is an error that says so.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import ann
from minibert.retrieval import schema
from minibert.retrieval.chunk import Chunk, chunk_text, count_tokens, count_words
from minibert.retrieval.index import FollowingIndex
from minibert.retrieval.schema import StoreError, transaction

FILE = "store.sqlite"
INDEX = "index.ann"
DOCUMENTS_AT_ONCE = 64  # embedded together
FIELDS = {"id", "text", "title", "metadata"}
Chunking = Callable[[str, str | None], list[Chunk]]  # text, title → chunks


@dataclass(frozen=True)
class Hit:
    """A passage that answers a question: `text` is the document's text[span[0] : span[1]]; a higher score is better."""

    id: str
    text: str
    score: float
    source: str
    span: tuple[int, int]
    stages: dict[str, dict[str, Any]]


class Store:
    """Documents, their passages and vectors in one folder. Use as a context manager, or close it.

    Units    score: the encoder's similarity, inner product or cosine
    Raises   StoreError: the files cannot be read or written, another process is writing, or another encoder wrote them
    """

    def __init__(self, path: Path, encoder, db: sqlite3.Connection, chunking: Chunking):
        self.path = path
        self.encoder = encoder
        self._db = db
        self._file = path / FILE
        self._hnsw: FollowingIndex | None = None
        self._exact: FollowingIndex | None = None
        self._chunking = chunking

    @classmethod
    def open(cls, path, encoder, *, create: bool = True, chunk_size: int | None = None, overlap: int = 0) -> Store:
        """Open the store in folder `path`, or make it.

        chunk_size and overlap are counted in tokens where the encoder names its `tokenizer` and `config.max_length`,
        else in words; by default a chunk is what the encoder can read at once, else 100 words.
        """
        path = Path(path)
        chunking = _chunking(encoder, chunk_size, overlap)
        if not create and not (path / FILE).is_file():
            raise StoreError(f"{path}: no store there")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: cannot make the store's folder: {error.strerror}") from error
        db = _connect(path / FILE)
        try:
            _create_or_check(db, path / FILE, encoder)
        except BaseException:
            db.close()
            raise
        return cls(path, encoder, db, chunking)

    @staticmethod
    def facts(path) -> dict[str, str]:
        """What the store at `path` remembers, to be read before its encoder is loaded."""
        file = Path(path) / FILE
        if not file.is_file():
            raise StoreError(f"{path}: no store there")
        with contextlib.closing(_connect(file)) as db, transaction(db, file):
            return schema.read_meta(db) if schema.has_tables(db) else {}

    def remember(self, **facts: str) -> None:
        """Keep facts of your own, such as where the encoder was loaded from.

        Raises   ValueError: a name that the store itself uses
        """
        if taken := {"format", "encoder", "dim", "metric"} & facts.keys():
            raise ValueError(f"expected names that the store does not use itself, got {sorted(taken)}")
        with transaction(self._db, self._file, write=True):
            schema.write_meta(self._db, facts)

    def add(self, documents: Iterable[dict[str, Any]], progress: bool = False) -> int:
        """Chunk, embed and store documents {id, text, title?, metadata?} in one transaction; returns how many.

        An id that is stored already is replaced. A title is embedded before each of its document's passages.
        Raises   ValueError: no documents, an empty one, or one that is not such a dict; then nothing is stored
        """
        from tqdm import tqdm

        checked = (_check(document, i) for i, document in enumerate(documents))
        count = 0
        with self._commit(), tqdm(unit=" documents", disable=not progress) as bar:
            while batch := list(islice(checked, DOCUMENTS_AT_ONCE)):
                self._insert(batch)
                bar.update(len(batch))
                count += len(batch)
            if not count:
                raise ValueError("expected documents to add, got none: the corpus is empty")
        return count

    def delete(self, ids: Iterable[str]) -> int:
        """Remove documents in one transaction; returns how many there were (an unknown id is none)."""
        with self._commit():
            return sum(self._db.execute("DELETE FROM documents WHERE id = ?", (id,)).rowcount for id in _list(ids))

    def search(self, query: str, k: int = 10, exact: bool = False) -> list[Hit]:
        """The k passages nearest to the question, best first; several may be of one document."""
        return self.search_batch([query], k, exact)[0]

    def search_batch(self, queries: Sequence[str], k: int = 10, exact: bool = False) -> list[list[Hit]]:
        """One list of hits a question; exact=True scans all vectors, otherwise HNSW finds (nearly always) the same."""
        if k < 1:
            raise ValueError(f"expected k ≥ 1, got {k}")
        for i, query in enumerate(queries):
            if not isinstance(query, str) or not query.strip():
                raise ValueError(f"expected a question, got {query!r} (number {i})")
        vectors = self.encoder.encode_query(list(queries))
        with transaction(self._db, self._file):
            if not self._db.execute("SELECT 1 FROM documents LIMIT 1").fetchone():
                raise StoreError(f"{self.path}: the store holds no documents")
            ids, distances = self._following(exact).index.search(vectors, k=k)
            return [self._hits(row_ids, row, exact) for row_ids, row in zip(ids.tolist(), distances, strict=True)]

    def close(self) -> None:
        """Write the index file if it is behind, and let go of the store."""
        try:
            if self._hnsw is not None:
                with transaction(self._db, self._file):
                    self._hnsw.follow(self._db)
                self._hnsw.save(self.path / INDEX)
        except OSError as error:
            raise StoreError(
                f"{self.path / INDEX}: cannot be written ({error.strerror or error}). "
                "All documents are stored; the index is built again at the next search"
            ) from error
        finally:
            self._hnsw = None
            self._db.close()

    def __len__(self) -> int:
        with transaction(self._db, self._file):
            return self._db.execute("SELECT count(*) FROM documents").fetchone()[0]

    def __enter__(self) -> Store:
        return self

    def __exit__(self, exc_type, exc, traceback) -> None:
        if exc_type is None:
            self.close()
        else:  # what went wrong is the message; the index is caught up at the next search
            self._db.close()

    @contextlib.contextmanager
    def _commit(self) -> Iterator[None]:
        """A write transaction that ends in a new generation."""
        with transaction(self._db, self._file, write=True):
            if self._hnsw is None:  # what is wrong with the index file is found, and said, before it falls behind
                self._following(exact=False)
            yield
            self._db.execute("INSERT INTO generations (token) VALUES (?)", (secrets.token_hex(8),))

    def _insert(self, documents: list[dict[str, Any]]) -> None:
        """Embed a batch of checked documents and write them with their chunks and vectors."""
        chunks = [self._chunking(document["text"], document["title"]) for document in documents]
        texts = [
            f"{document['title']}\n{chunk.text}" if document["title"] else chunk.text
            for document, its_chunks in zip(documents, chunks, strict=True)
            for chunk in its_chunks
        ]
        vectors = np.ascontiguousarray(self.encoder.encode_document(texts), "<f4")
        if vectors.shape != (len(texts), self.encoder.dim) or not np.isfinite(vectors).all():
            raise ValueError(
                f"expected finite vectors of shape {(len(texts), self.encoder.dim)} for the documents "
                f"{documents[0]['id']!r} to {documents[-1]['id']!r}, got shape {vectors.shape}"
            )
        rows = iter(vectors)
        for document, its_chunks in zip(documents, chunks, strict=True):
            number = self._replace_document(document)
            for chunk in its_chunks:
                at = (number, chunk.start, chunk.end)
                chunk_number = self._db.execute(
                    "INSERT INTO chunks (document, start, end) VALUES (?, ?, ?)", at
                ).lastrowid
                self._db.execute("INSERT INTO vectors VALUES (?, ?)", (chunk_number, next(rows).tobytes()))

    def _replace_document(self, document: dict[str, Any]) -> int:
        self._db.execute("DELETE FROM documents WHERE id = ?", (document["id"],))
        row = (document["id"], document["title"], document["text"], document["metadata"])
        return self._db.execute("INSERT INTO documents (id, title, text, metadata) VALUES (?, ?, ?, ?)", row).lastrowid

    def _following(self, exact: bool) -> FollowingIndex:
        """The index asked for, holding this transaction's generation."""
        if exact:
            self._exact = self._exact or FollowingIndex(ann.Exact(self.encoder.dim, metric=self.encoder.metric))
        elif self._hnsw is None:
            self._hnsw = FollowingIndex.load(self.path / INDEX, self._db, self.encoder.dim, self.encoder.metric)
        following = self._exact if exact else self._hnsw
        following.follow(self._db)
        return following

    def _hits(self, chunk_numbers: list[int], distances: np.ndarray, exact: bool) -> list[Hit]:
        found = [(number, 1.0 - float(d)) for number, d in zip(chunk_numbers, distances, strict=True) if number >= 0]
        return [self._hit(number, score, rank, exact) for rank, (number, score) in enumerate(found, start=1)]

    def _hit(self, chunk_number: int, score: float, rank: int, exact: bool) -> Hit:
        id, title, text, metadata, start, end = self._db.execute(
            "SELECT id, title, text, metadata, start, end FROM chunks JOIN documents ON documents.number = document "
            "WHERE chunks.number = ?",
            (chunk_number,),
        ).fetchone()
        source = str(json.loads(metadata).get("source") or title or id)
        stages = {"dense": {"rank": rank, "score": score, "exact": exact}}
        return Hit(id, text[start:end], score, source, (start, end), stages)


def _connect(file: Path) -> sqlite3.Connection:
    try:
        return schema.connect(file)
    except sqlite3.Error as error:
        raise StoreError(f"{file}: {error}") from error


def _create_or_check(db: sqlite3.Connection, file: Path, encoder) -> None:
    """Make the tables of a new store; refuse another format's or another encoder's."""
    mine = {"encoder": encoder.fingerprint, "dim": str(encoder.dim), "metric": encoder.metric}
    with transaction(db, file):
        meta = schema.read_meta(db) if schema.has_tables(db) else {}
    if not meta:
        with transaction(db, file, write=True):
            if not schema.has_tables(db):
                schema.create_tables(db, mine)
            meta = schema.read_meta(db)
    if meta.get("format") != schema.FORMAT:
        raise StoreError(f"{file}: expected format {schema.FORMAT}, got {meta.get('format')}")
    if any(meta[key] != value for key, value in mine.items()):
        wrote, asks = (f"{facts['encoder']} ({facts['metric']}, {facts['dim']})" for facts in (meta, mine))
        raise StoreError(
            f"{file}: written with the encoder {wrote}; this one is {asks}, and their vectors don't compare"
        )


def _chunking(encoder, size: int | None, overlap: int) -> Chunking:
    """(text, title) → chunks, within what the encoder reads at once."""
    tokenizer, config = getattr(encoder, "tokenizer", None), getattr(encoder, "config", None)
    max_length = getattr(config, "max_length", None)
    if tokenizer is not None and max_length is not None:
        count, fitting = count_tokens(tokenizer), max_length - len(tokenizer.encode("").ids)
    else:
        count, fitting = count_words, 100
    size = fitting if size is None else size
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"expected chunk_size ≥ 1 and 0 ≤ overlap < chunk_size, got {size} and {overlap}")

    def chunk(text: str, title: str | None) -> list[Chunk]:
        # A title takes its room in every passage, but never more than half of it.
        room = size - min(count([title])[0], size // 2) if title else size
        return chunk_text(text, room, min(overlap, room - 1), count)

    return chunk


def _check(document: Any, position: int) -> dict[str, Any]:
    """A document with all fields, its metadata as JSON; ValueError names the id and what is wrong."""
    if not isinstance(document, dict) or not isinstance(document.get("id"), str) or not document["id"]:
        raise ValueError(f"document number {position}: expected a dict with an id that is a text, got {document!r:.80}")
    id, text, title = document["id"], document.get("text"), document.get("title")
    if not isinstance(text, str) or not isinstance(title, str | None):
        raise ValueError(f"document {id!r}: expected text (and title) to be str, got {text!r:.40} and {title!r:.40}")
    if not text.strip():
        raise ValueError(f"document {id!r} is empty")
    if unknown := document.keys() - FIELDS:
        raise ValueError(f"document {id!r}: unknown fields {sorted(unknown)}; facts of your own belong into metadata")
    for field, value in (("id", id), ("text", text), ("title", title or "")):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"document {id!r}: its {field} has a lone surrogate at position {error.start}") from error
    try:
        metadata = json.dumps(dict(document.get("metadata") or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"document {id!r}: expected metadata that JSON can hold: {error}") from error
    return {"id": id, "text": text, "title": title, "metadata": metadata}


def _list(ids: Iterable[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else list(ids)
