"""Documents on their way in, checked: {id, text, title?, metadata?, format?}; format says what marks their headings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from minibert.retrieval.structure import FORMATS

DEEPEST = 100  # of metadata: SQLite's JSON ends at 1,000, and one document beyond fails every filter
FIELDS = {"id", "text", "title", "metadata", "format"}


def check_documents(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Each document as `check_document` gives it.

    Raises   ValueError: also an id that came before, with both positions
    """
    positions: dict[str, int] = {}
    for i, given in enumerate(documents):
        document = check_document(given, f"document number {i}")
        first = positions.setdefault(document["id"], i)
        if first != i:
            raise ValueError(f"document {document['id']!r} is given twice, as number {first} and {i} of one call")
        yield document


def check_document(document: Any, name: str = "document") -> dict[str, Any]:
    """A document with all fields, its metadata as JSON.

    Raises   ValueError: what is wrong, with the id, or `name` where there is none
    """
    if not isinstance(document, dict) or not isinstance(document.get("id"), str) or not document["id"]:
        raise ValueError(f"{name}: expected a dict with an id that is a text, got {document!r:.80}")
    id, text, title, metadata = document["id"], document.get("text"), document.get("title"), document.get("metadata")
    if not isinstance(text, str) or not isinstance(title, str | None):
        raise ValueError(f"document {id!r}: expected text (and title) to be str, got {text!r:.40} and {title!r:.40}")
    if not text.strip():
        raise ValueError(f"document {id!r} is empty")
    if "\0" in text:
        raise ValueError(
            f"document {id!r}: its text has a NUL at position {text.index(chr(0))}: SQLite ends a text there"
        )
    if not isinstance(metadata, dict | None):
        raise ValueError(f"document {id!r}: expected metadata to be a dict, got {metadata!r:.40}")
    if unknown := document.keys() - FIELDS:
        raise ValueError(f"document {id!r}: unknown fields {sorted(unknown)}; facts of your own belong into metadata")
    format = document.get("format", "text")
    if not isinstance(format, str) or format not in FORMATS:
        raise ValueError(f"document {id!r}: expected a format of {', '.join(map(repr, FORMATS))}, got {format!r:.40}")
    for field, value in (("id", id), ("text", text), ("title", title or "")):
        if (at := lone_surrogate(value)) >= 0:
            raise ValueError(f"document {id!r}: its {field} has a lone surrogate at position {at}")
    try:
        kept = json.dumps(metadata or {}, allow_nan=False, ensure_ascii=False)  # SQLite finds é by "é" alone
        kept.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"document {id!r}: expected metadata that JSON can hold: {error}") from error
    if _depth(metadata) > DEEPEST:
        raise ValueError(f"document {id!r}: expected metadata nested at most {DEEPEST} deep")
    return {"id": id, "text": text, "title": title, "metadata": kept, "format": format}


def lone_surrogate(text: str) -> int:
    """Position of a text's first lone surrogate, which UTF-8 and so SQLite cannot hold; -1 where it has none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return -1


def _depth(value: Any) -> int:
    """How deep lists and objects are nested; one beyond DEEPEST where they go on."""
    depth, level = 0, [value]
    while depth <= DEEPEST and (level := [inner for inner in level if isinstance(inner, dict | list | tuple)]):
        depth += 1
        level = [part for inner in level for part in (inner.values() if isinstance(inner, dict) else inner)]
    return depth


def digest(document: dict[str, Any]) -> bytes:
    """16 bytes of a checked document's content: another document with the same ones will not turn up."""
    content = [document[field] for field in ("id", "text", "title", "metadata", "format")]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).digest()


def is_json(metadata: str) -> bool:
    """Whether metadata as they are stored are an object."""
    try:
        return isinstance(json.loads(metadata), dict)
    except (ValueError, TypeError):
        return False
