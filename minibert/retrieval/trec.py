"""Test collections and runs on disk: BEIR's folders, TREC's qrels and run files. A wrong line is named by its number.

    BEIR    corpus.jsonl {"_id", "title", "text"}, queries.jsonl {"_id", "text"}, qrels/test.tsv query, document, score
    qrels   query 0 document relevance
    run     query Q0 document rank score tag

Files that end in .gz are read through gzip.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple

from ann.files import atomic_write
from minibert.data import finite_number
from minibert.retrieval.measures import Run, ranking


class CollectionError(ValueError):
    """A file of a test collection that cannot be read: names the file, the line and what was expected."""


class Beir(NamedTuple):
    """A collection in BEIR's format; `corpus` is read anew, a document at a time, by each `documents()`."""

    corpus: Path
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]

    def documents(self) -> Iterator[dict[str, Any]]:
        """{"id", "text", "title"} of every document."""
        for at, row in _objects(self.corpus):
            if not isinstance(row.get("text"), str) or not isinstance(row.get("title", ""), str | None):
                raise CollectionError(f'{at}: expected "text" (and "title") to be strings')
            yield {"id": _id(row, at), "text": row["text"], "title": row.get("title") or None}


def read_beir(folder: str | PathLike[str], split: str = "test") -> Beir:
    """The collection in a folder; judgements from qrels/{split}.tsv, or qrels.tsv, or the one qrels file there is.

    Raises   CollectionError: a file is missing or a line is wrong
    """
    folder = Path(folder)
    corpus, queries = (_present(folder, f"{name}.jsonl") for name in ("corpus", "queries"))
    others = sorted(folder.glob("qrels*.tsv*"))
    named = [path for path in (folder / "qrels" / f"{split}.tsv", folder / "qrels.tsv") if path.is_file()]
    if not named and len(others) != 1:
        raise CollectionError(f"{folder}: expected qrels/{split}.tsv, got {[path.name for path in others] or 'none'}")
    texts = {}
    for at, row in _objects(queries):
        if not isinstance(row.get("text"), str):
            raise CollectionError(f'{at}: expected "text" to be a string')
        texts[_id(row, at)] = row["text"]
    return Beir(corpus, texts, read_qrels((named or others)[0]))


def read_qrels(path: str | PathLike[str]) -> dict[str, dict[str, int]]:
    """Judgements of a TREC file (4 columns) or a BEIR one (3 columns after a header).

    Raises   CollectionError: a line has other columns, or a relevance that is no whole number; a pair judged twice
    """
    judgements: dict[str, dict[str, int]] = {}
    for at, columns in _rows(path, (3, 4), skip=("query-id", "corpus-id")):
        query, document, relevance = columns[0], columns[-2], columns[-1]
        try:
            value = int(relevance)
        except ValueError:
            raise CollectionError(f"{at}: expected a whole number as relevance, got {relevance!r:.40}") from None
        if document in judgements.setdefault(query, {}):
            raise CollectionError(f"{at}: document {document!r} is judged twice for query {query!r}")
        judgements[query][document] = value
    return judgements


def read_run(path: str | PathLike[str]) -> dict[str, dict[str, float]]:
    """Scores of a TREC run file. Ranks are not read: scores decide, as in trec_eval.

    Raises   CollectionError: a line has not 6 columns, a score is no finite number, or a document stands there twice
    """
    run: dict[str, dict[str, float]] = {}
    for at, (query, _, document, _, score, _) in _rows(path, (6,)):
        value = finite_number(score)
        if value is None:
            raise CollectionError(f"{at}: expected a finite score, got {score!r:.40}")
        if document in run.setdefault(query, {}):
            raise CollectionError(f"{at}: document {document!r} stands there twice for query {query!r}")
        run[query][document] = value
    return run


def write_run(path: str | PathLike[str], run: Run, tag: str = "minibert") -> None:
    """Write a TREC run file, whole or not at all.

    Raises   ValueError: an id or the tag is empty or has white space in it
    """
    lines = []
    for query, found in run.items():
        for rank, document in enumerate(ranking(found), start=1):
            for name in (query, document, tag):
                if len(name.split()) != 1:
                    raise ValueError(f"a run file cannot hold {name!r:.40}: ids and tag must be without white space")
            lines.append(f"{query} Q0 {document} {rank} {float(found[document])!r} {tag}\n")
    with atomic_write(path) as file:
        file.write("".join(lines).encode())


def without_self_hits(run: Run, judgements: Mapping[str, Mapping[str, int]]) -> Run:
    """The run without documents that are the query itself (equal ids), as duplicate-question collections need it.

    Differs  BEIR leaves out equal ids everywhere; here not where some query's own id is judged: as in Cranfield, whose
             queries and documents are both numbered from 1, ids then say nothing
    """
    if any(query in judged for query, judged in judgements.items()):
        return run
    return {query: {id: s for id, s in found.items() if id != query} for query, found in run.items()}


def _present(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise CollectionError(f"{folder}: lacks {name}")


def _open(path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if str(path).endswith(".gz") else open(path, encoding="utf-8")


def _lines(path) -> Iterable[tuple[str, str]]:
    """("file:number", line) of the lines that are not blank."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{os.fspath(path)}:{number}", line.rstrip("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CollectionError(f"{os.fspath(path)}: cannot be read: {error}") from error


def _rows(path, widths: tuple[int, ...], skip: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    for at, line in _lines(path):
        columns = line.split("\t") if "\t" in line else line.split()
        if tuple(columns[:2]) == skip:
            continue
        if len(columns) not in widths or not all(columns):
            wanted = " or ".join(map(str, widths))
            raise CollectionError(f"{at}: expected {wanted} columns, got {len(columns)}: {line!r:.60}")
        yield at, columns


def _objects(path) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, line in _lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CollectionError(f"{at}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CollectionError(f"{at}: expected an object, got {line!r:.60}")
        yield at, row


def _id(row: dict[str, Any], at: str) -> str:
    if not isinstance(row.get("_id"), str) or not row["_id"]:
        raise CollectionError(f'{at}: expected "_id" to be a string, got {row.get("_id")!r:.40}')
    return row["_id"]
