"""A store: one folder that takes documents in and finds their passages again, also in another process.

    store.sqlite   documents, chunks and vectors: the truth
    index.ann      HNSW over the vectors: derived        index.bm25   BM25 over the words: derived, where hybrid is used

Every call of `add` and `delete` is one transaction: after kill -9 or a full disk the store holds what was committed
before, whole. Index files are written when the store is closed; where one is missing or behind, it is built anew or
caught up at the first search; a damaged one is an error that says so. What a search does is in search.py.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from minibert.retrieval import schema, search, upkeep
from minibert.retrieval.chunk import Chunk
from minibert.retrieval.documents import check_documents, digest, is_json, lone_surrogate
from minibert.retrieval.index import WORDS, Indexes
from minibert.retrieval.passages import Cutter
from minibert.retrieval.schema import StoreError, transaction
from minibert.retrieval.search import Clock, Hit, Hits, Plan, Ranking, Reranker
from minibert.retrieval.vectors import Codec

if TYPE_CHECKING:
    from minibert.retrieval.rag import Answer, Generator

FILE = "store.sqlite"
DOCUMENTS_AT_ONCE = 512  # embedded together


@runtime_checkable
class Encoder(Protocol):
    """What a store asks of an encoder. Its `tokenizer` and `config.max_length` are used where it has them.

    Units    metric: "ip" or "cosine"; fingerprint: equal ones promise equal vectors
    Shapes   encode_query and encode_document: n texts → (n, dim) float32
    """

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def metric(self) -> str:
        """How vectors are compared."""

    @property
    def fingerprint(self) -> str:
        """What tells this encoder from others."""

    def encode_query(self, texts: list[str]) -> np.ndarray:
        """Vectors of questions."""

    def encode_document(self, texts: list[str]) -> np.ndarray:
        """Vectors of passages."""


class Store:
    """Documents, their passages and vectors in one folder. Use as a context manager, or close it.

    A Store belongs to the thread that opened it. Further threads and processes open their own on the same folder: any
    number may read at once, also while one writes. `replaced` counts the documents that `add` put in others' place.

    Units    score: that of the last stage that ranks: the encoder's similarity, the fusion's or the reranker's
    Raises   StoreError: the files cannot be read or written, another process is writing, or another encoder wrote them
    """

    def __init__(self, path: Path, encoder: Encoder, db: sqlite3.Connection, cutter: Cutter, codec: Codec):
        self.path = path
        self.encoder = encoder
        self._db = db
        self._file = path / FILE
        self.replaced = 0
        self._cutter, self._codec = cutter, codec
        self._indexes = Indexes(path, codec, encoder.metric)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        encoder: Encoder,
        *,
        create: bool = True,
        chunk: str | None = None,
        chunk_size: int | None = None,
        overlap: int | None = None,
        precision: str | None = None,
    ) -> Store:
        """Open the store in folder `path`, or make it, which records the options; None: as recorded.

        chunk        what passages are packed from: "sentences", the default, "tokens" (whole words, wherever sentences
                     end), or "structure": the sentences under each heading, or the docstrings, as a document's `format`
                     says
        chunk_size   and overlap, by default 0: in tokens where the encoder names its `tokenizer` and
                     `config.max_length`, else in words; by default a chunk is what the encoder can read at once, else
                     100 words
        precision    of the vectors: "float32", the default, or "int8" for a quarter of the bytes, see vectors.py
        """
        path = Path(path)
        there = (path / FILE).is_file()
        if not create and not there:
            raise StoreError(f"{path}: no store there")
        asked = {"chunk": chunk, "chunk_size": chunk_size, "overlap": overlap, "precision": precision}
        cutter, codec = _settings(encoder, cls.facts(path) if there else {}, asked)  # before anything is made
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a name with NUL
            reason = getattr(error, "strerror", None) or error
            raise StoreError(f"{path}: cannot make the store's folder: {reason}") from error
        db = schema.open_file(path / FILE)
        try:
            wished = {**cutter.facts, "precision": codec.precision}
            recorded = schema.create_or_check(db, path / FILE, encoder, wished)
            cutter, codec = _settings(encoder, recorded, asked)
            if precision not in (None, recorded["precision"]):
                raise StoreError(f"{path / FILE}: its vectors are {recorded['precision']}, not {precision}")
        except BaseException:
            db.close()
            raise
        return cls(path, encoder, db, cutter, codec)

    @staticmethod
    def facts(path: str | PathLike[str]) -> dict[str, str]:
        """What the store at `path` remembers, to be read before its encoder is loaded."""
        file = Path(path) / FILE
        if not file.is_file():
            raise StoreError(f"{path}: no store there")
        with contextlib.closing(schema.open_file(file)) as db, transaction(db, file):
            return schema.read_meta(db) if schema.has_tables(db) else {}

    def remember(self, **facts: str) -> None:
        """Keep facts of your own, such as where the encoder was loaded from.

        Raises   ValueError: a name that the store itself uses, or a lone surrogate
        """
        if taken := schema.FACTS & facts.keys():
            raise ValueError(f"expected names that the store does not use itself, got {sorted(taken)}")
        for name, value in facts.items():
            if (at := lone_surrogate(value)) >= 0:
                raise ValueError(f"{name}: a lone surrogate at position {at} of {value!r:.80}")
        with transaction(self._db, self._file, write=True):
            schema.write_meta(self._db, facts)

    def add(self, documents: Iterable[dict[str, Any]], progress: bool = False) -> int:
        """Chunk, embed and store documents {id, text, title?, metadata?, format?} in one transaction.

        Returns how many were written: an id that is stored already is replaced, and one that is stored with the very
        same content, cut the same way, is left as it is. As much of a title as fits half a passage is embedded before
        each. All of a call is in memory until it is written; others may write until then.
        Raises   ValueError: no documents, an empty one, one that is not such a dict, or an id given twice; then
                 nothing is stored
        """
        from tqdm import tqdm

        self._load_indexes()
        checked = check_documents(documents)
        embedded: list[tuple[dict[str, Any], list[Chunk], list[bytes]]] = []
        given = 0
        with tqdm(unit=" documents", disable=not progress) as bar:
            while batch := list(islice(checked, DOCUMENTS_AT_ONCE)):
                given += len(batch)
                embedded += self._embed(self._changed(batch))
                bar.update(len(batch))
        if not given:
            raise ValueError("expected documents to add, got none: the corpus is empty")
        if not embedded:
            return 0
        with self._commit():
            replaced = sum(self._insert(*row) for row in embedded)
        self.replaced += replaced
        return len(embedded)

    def delete(self, ids: Iterable[str]) -> int:
        """Remove documents in one transaction; returns how many there were (an unknown id is none).

        Raises   TypeError: an id that is no text; then nothing is removed
        """
        ids = [ids] if isinstance(ids, str) else list(ids)
        for id in ids:
            if not isinstance(id, str):
                raise TypeError(f"expected ids that are texts, got {id!r:.80}")
        self._load_indexes()
        with self._commit():
            return sum(self._delete(id) for id in ids)

    def search(self, query: str, k: int = 10, exact: bool = False, **options: Any) -> Hits:
        """The k passages that answer the question best; several may be of one document. Options: `search_batch`."""
        return self.search_batch([query], k, exact, **options)[0]

    def search_batch(
        self,
        queries: Sequence[str],
        k: int = 10,
        exact: bool = False,
        *,
        where: dict[str, Any] | None = None,
        hybrid: bool = False,
        fusion: str = "reciprocal rank",
        weights: Sequence[float] | None = None,
        rerank: Reranker | None = None,
        diversity: float = 0.0,
        candidates: int | None = None,
    ) -> list[Hits]:
        """One list of hits a question, best first.

        exact       scan all vectors; otherwise HNSW finds (nearly always) the same
        where       only passages of documents whose metadata meet the condition, see filters.py: no other is ever a hit
        hybrid      by words, too: BM25's ranking is fused with the vectors' by "reciprocal rank", or "convex" on
                    scores; weights: of the vectors and of the words
        rerank      a model with `score(query, passages)` puts the candidates in order
        diversity   in [0, 1]: how much a hit loses by repeating what hits before it say (MMR)
        candidates  passages that a stage hands to the next: by default 100 or k, the larger; k where there is one stage
        Raises   TypeError: a text in place of a list; ValueError: an option that cannot be, a question that is empty,
                 or all unknown words (unless hybrid: then words alone are compared)
        """
        plan = Plan(k, exact, where, hybrid, fusion, weights, rerank, diversity, candidates)
        known = search.check_questions(self.encoder, queries, hybrid)
        clock = Clock()
        with clock("encode"):
            vectors = (
                self.encoder.encode_query([queries[i] for i in known]) if known else np.empty((0, self.encoder.dim))
            )
        self._indexes.load(self._db, self._file, vectors=bool(known) and not exact, words=hybrid)
        with transaction(self._db, self._file):
            if not self._db.execute("SELECT 1 FROM documents LIMIT 1").fetchone():
                raise StoreError(f"{self.path}: the store holds no documents")
            allow = None
            if where is not None:
                with clock("filter"):
                    allow = search.matching(self._db, where)
            nothing = np.empty(0, np.int64), np.empty(0)
            rankings = [Ranking(*nothing) for _ in queries]
            if known:
                index = self._indexes.vectors(self._db, exact)
                with clock("dense"):
                    for i, ranking in zip(known, search.dense(index, vectors, plan, allow), strict=True):
                        rankings[i] = ranking
            if hybrid:
                index = self._indexes.words(self._db)
                with clock("sparse"):
                    by_words = search.sparse(index, queries, plan, allow)
                with clock("fusion"):
                    rankings = [search.fuse(pair, plan) for pair in zip(rankings, by_words, strict=True)]
            if rerank is not None:
                with clock("rerank"):
                    rankings = [
                        search.rerank(ranking, query, rerank, self._texts)
                        for ranking, query in zip(rankings, queries, strict=True)
                    ]
            if diversity:
                with clock("diversity"):
                    rankings = [search.diversify(r, partial(self._codec.read, self._db), plan) for r in rankings]
            with clock("read"):
                found = [Hits(self._hits(ranking, k)) for ranking in rankings]
        for hits in found:
            hits.times, hits.matching = clock.times, None if allow is None else len(allow)
        return found

    def ask(self, question: str, generator: Generator | None = None, **options: Any) -> Answer:
        """An answer from the store's passages, with citations that resolve to them; see `rag.ask` for the options."""
        from minibert.retrieval import rag

        return rag.ask(self, question, generator, **options)

    def document(self, id: str) -> dict[str, Any] | None:
        """The document of this id as it was added, without fields that were left out; None where there is none."""
        with transaction(self._db, self._file):
            sql = "SELECT text, title, metadata, nullif(format, 'text') FROM documents WHERE id = ?"
            row = None if lone_surrogate(id) >= 0 else self._db.execute(sql, (id,)).fetchone()
        if row is None:
            return None
        text, title, metadata, format = row
        found = {"id": id, "text": text, "title": title, "metadata": json.loads(metadata), "format": format}
        return {name: value for name, value in found.items() if value not in (None, {})}

    def check(self) -> list[str]:
        """Everything found wrong with documents, passages, vectors and index files, one sentence each; or nothing."""
        return upkeep.check(self)

    def repair(self) -> list[str]:
        """Embed faulty documents anew and build faulty index files anew; returns what `check` had found.

        Raises   StoreError: SQLite's own file is damaged
        """
        return upkeep.repair(self)

    def compact(self) -> tuple[int, int]:
        """Give back the room of what was removed; bytes of the folder before and after. Builds the indexes anew."""
        return upkeep.compact(self)

    def stats(self) -> dict[str, Any]:
        """How many documents and passages there are, and the bytes that they take, by file and for a passage."""
        return upkeep.stats(self)

    def save_indexes(self, progress: bool = False) -> None:
        """Catch up with the last commit and write the index files that are behind, as `close` does."""
        self._indexes.save(self._db, self._file, progress)

    def close(self) -> None:
        """Write the index files that are behind, and let go of the store."""
        try:
            self.save_indexes()
        finally:
            schema.close(self._db, self._file)
            self._indexes.forget()

    def __len__(self) -> int:
        with transaction(self._db, self._file):
            return self._db.execute("SELECT count(*) FROM documents").fetchone()[0]

    def __enter__(self) -> Store:
        return self

    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        if exc_type is None:
            self.close()
        else:  # what went wrong is the message; the index is caught up at the next search
            schema.close(self._db, self._file)

    def _load_indexes(self) -> None:
        """Read what a change will have to catch up, before it begins."""
        self._indexes.load(self._db, self._file, vectors=True, words=(self.path / WORDS).exists())

    @contextlib.contextmanager
    def _commit(self) -> Iterator[None]:
        """A write transaction that ends in a new generation."""
        with transaction(self._db, self._file, write=True):
            yield
            self._db.execute("INSERT INTO generations (token) VALUES (?)", (secrets.token_hex(8),))

    def _changed(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the checked documents that are not stored as they are, each with its digest."""
        sql, cut = "SELECT digest FROM documents WHERE id = ? AND cut = ?", self._cutter.settings
        with transaction(self._db, self._file):
            stored = [self._db.execute(sql, (document["id"], cut)).fetchone() for document in documents]
        documents = [{**document, "digest": digest(document)} for document in documents]
        return [document for document, row in zip(documents, stored, strict=True) if row != (document["digest"],)]

    def _embed(self, documents: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[Chunk], list[bytes]]]:
        """Each of a batch of checked documents with its passages and their vectors, as they are stored."""
        if not documents:
            return iter(())
        cut = [self._cutter(document) for document in documents]
        texts = [text for texts, _ in cut for text in texts]
        vectors = np.ascontiguousarray(self.encoder.encode_document(texts), "<f4")
        if vectors.shape != (len(texts), self.encoder.dim) or not np.isfinite(vectors).all():
            raise ValueError(
                f"expected finite vectors of shape {(len(texts), self.encoder.dim)} for the documents "
                f"{documents[0]['id']!r} to {documents[-1]['id']!r}, got shape {vectors.shape}"
            )
        blobs = iter(self._codec.pack(vectors))
        rows = zip(documents, cut, strict=True)
        return ((document, chunks, list(islice(blobs, len(chunks)))) for document, (_, chunks) in rows)

    def _insert(self, document: dict[str, Any], chunks: list[Chunk], blobs: list[bytes]) -> int:
        """Write a document with its chunks and vectors; returns how many it replaced, 0 or 1."""
        replaced = self._delete(document["id"])
        sql = "INSERT INTO documents (id, title, text, metadata, format, digest, cut) VALUES (?, ?, ?, ?, ?, ?, ?)"
        columns = [document[name] for name in ("id", "title", "text", "metadata", "format", "digest")]
        added = self._db.execute(sql, (*columns, self._cutter.settings)).lastrowid
        sql = "INSERT INTO chunks (document, start, end, context) VALUES (?, ?, ?, ?)"
        for chunk, blob in zip(chunks, blobs, strict=True):
            number = self._db.execute(sql, (added, chunk.start, chunk.end, chunk.context)).lastrowid
            self._db.execute("INSERT INTO vectors VALUES (?, ?)", (number, blob))
        return replaced

    def _delete(self, id: str) -> int:
        if lone_surrogate(id) >= 0:  # no document has such an id, and SQLite cannot be asked
            return 0
        return self._db.execute("DELETE FROM documents WHERE id = ?", (id,)).rowcount

    def _passage(self, chunk_number: int) -> tuple[Any, ...]:
        row = self._db.execute(
            "SELECT id, title, metadata, substr(text, start + 1, end - start), start, end, context FROM chunks "
            "JOIN documents ON documents.number = document WHERE chunks.number = ?",
            (chunk_number,),
        ).fetchone()
        if row is None or not is_json(row[2]):
            raise StoreError(f"{self._file}: passage {chunk_number} is missing or damaged: {schema.SEE}")
        return row

    def _texts(self, chunk_numbers: Sequence[int]) -> list[str]:
        return [self._passage(number)[3] for number in chunk_numbers]

    def _hits(self, ranking: Ranking, k: int) -> Iterator[Hit]:
        for number, score in zip(ranking.numbers[:k].tolist(), ranking.scores[:k].tolist(), strict=True):
            id, title, metadata, text, start, end, context = self._passage(number)
            source = str(json.loads(metadata).get("source") or title or id)
            yield Hit(id, text, score, source, (start, end), ranking.notes[number], context)


def _settings(encoder: Encoder, recorded: dict[str, str], asked: dict[str, Any]) -> tuple[Cutter, Codec]:
    """How passages are cut and vectors kept: as asked for, else as recorded, else by default."""
    sizes = {name: int(recorded[name]) for name in ("chunk_size", "overlap") if name in recorded}
    told: dict[str, Any] = {"chunk": "sentences", "chunk_size": None, "overlap": 0, "precision": "float32"}
    told |= recorded | sizes | {name: value for name, value in asked.items() if value is not None}
    cutter = Cutter(encoder, told["chunk"], told["chunk_size"], told["overlap"])
    return cutter, Codec(encoder.dim, told["precision"])
