"""From files to a store: what is in a folder becomes documents, committed batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.data import read_text
from minibert.retrieval.store import Store

TEXT_FILES = {".txt", ".md"}
JSON_LINES = {".jsonl"}


def find_files(paths: Iterable) -> list[Path]:
    """The given files, and in place of a folder its .txt, .md and .jsonl files in order of name, hidden ones left out.

    Raises   FileNotFoundError; ValueError: no file at all, or a given file of another kind
    """
    paths = [Path(path) for path in paths]
    files = [file for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
    if not files:
        raise ValueError(f"{', '.join(map(str, paths))}: no .txt, .md or .jsonl file: the corpus is empty")
    for file in files:
        if file.suffix not in TEXT_FILES | JSON_LINES:
            raise ValueError(f"{file}: expected a .txt, .md or .jsonl file")
    return files


def read_documents(paths: Iterable) -> Iterator[dict[str, Any]]:
    """Documents of files and folders: a text file is one, named by its path; a .jsonl file holds one a line.

    Raises   ValueError: not UTF-8, or a line that is no JSON object, with file and place
    """
    files = find_files(paths)  # now, not when the first document is asked for
    return (document for file in files for document in _read(file))


def ingest(store: Store, documents: Iterable[dict[str, Any]], batch_size: int = 512, progress: bool = False) -> int:
    """Add documents in batches of one transaction each, so that a kill loses one batch at most; returns how many."""
    from tqdm import tqdm

    if batch_size < 1:
        raise ValueError(f"expected batch_size ≥ 1, got {batch_size}")
    documents = iter(documents)
    count = 0
    with tqdm(desc="ingest", unit=" documents", disable=not progress) as bar:
        while batch := list(islice(documents, batch_size)):
            count += store.add(batch)
            bar.update(len(batch))
    if not count:
        raise ValueError("expected documents to ingest, got none: the corpus is empty")
    return count


def _in_folder(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix in TEXT_FILES | JSON_LINES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _read(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix in JSON_LINES:
        yield from _read_json_lines(file)
    else:
        yield {"id": file.as_posix(), "text": read_text(file), "metadata": {"source": file.as_posix()}}


def _read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}, line {number}: expected a JSON object: {error}") from error
        if not isinstance(document, dict):
            raise ValueError(f"{file}, line {number}: expected a JSON object, got {line:.40}")
        yield document
