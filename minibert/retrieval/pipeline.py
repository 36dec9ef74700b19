"""From files to a store: what is in a folder becomes documents, committed batch by batch."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from minibert.data import parse_json, read_text
from minibert.retrieval.documents import check_document
from minibert.retrieval.store import Store

TEXT_FILES = {".txt", ".md"}
JSON_LINES = {".jsonl"}


def find_files(paths: Iterable) -> list[Path]:
    """The given files, and in place of a folder its .txt, .md and .jsonl files in order of name, hidden ones left out.

    Raises   FileNotFoundError; ValueError: no file at all, or a given file of another kind
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(path))
    found = (file for path in paths for file in (_in_folder(path) if path.is_dir() else [path]))
    files = list(dict.fromkeys(found))  # a file named beside its folder is one all the same
    if not files:
        raise ValueError(f"{', '.join(map(str, paths))}: no .txt, .md or .jsonl file: the corpus is empty")
    for file in files:
        if file.suffix.lower() not in TEXT_FILES | JSON_LINES:
            raise ValueError(f"{file}: expected a .txt, .md or .jsonl file")
    return files


def read_documents(paths: Iterable) -> Iterator[dict[str, Any]]:
    """Documents of files and folders: a text file is one, named by its path; a .jsonl file holds one a line.

    Raises   ValueError: not UTF-8, or a line that is no document, with file and place
    """
    files = find_files(paths)  # now, not when the first document is asked for
    return (document for file in files for document in _read(file))


class Ingested(NamedTuple):
    """How many documents were added, and how many of them in place of an earlier one of the same id."""

    added: int
    replaced: int


def ingest(store: Store, documents: Iterable[dict], batch_size: int = 512, progress: bool = False) -> Ingested:
    """Add documents in batches of one transaction each, so that a kill loses one batch at most.

    Raises   ValueError: as `Store.add`, which knows an id given twice in a batch; in a later batch it replaces
    """
    from tqdm import tqdm

    if batch_size < 1:
        raise ValueError(f"expected batch_size ≥ 1, got {batch_size}")
    documents = iter(documents)
    added, replaced_before = 0, store.replaced
    with tqdm(desc="ingest", unit=" documents", disable=not progress) as bar:
        while batch := list(islice(documents, batch_size)):
            added += store.add(batch)
            bar.update(len(batch))
    if not added:
        raise ValueError("expected documents to ingest, got none: the corpus is empty")
    return Ingested(added, store.replaced - replaced_before)


def _in_folder(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in TEXT_FILES | JSON_LINES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _read(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix.lower() in JSON_LINES:
        yield from _read_json_lines(file)
    else:
        yield {"id": file.as_posix(), "text": read_text(file), "metadata": {"source": file.as_posix()}}


def _read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = parse_json(line)
            check_document(document)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}") from error
        yield document
