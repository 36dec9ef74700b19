"""Documents on their way in: checked, and cut into passages that an encoder reads whole, title included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minibert.retrieval.chunk import WORD, Chunk, chunk_text, count_tokens, count_words

FIELDS = {"id", "text", "title", "metadata"}
Passages = Callable[[str, str | None], tuple[str, list[Chunk]]]  # text, title → what is embedded before each, passages


def passages_for(encoder, size: int | None, overlap: int) -> Passages:
    """A function that cuts documents for this encoder; see `Store.open` for the units.

    Raises   ValueError: size < 1, or overlap not in [0, size)
    """
    tokenizer, config = getattr(encoder, "tokenizer", None), getattr(encoder, "config", None)
    max_length = getattr(config, "max_length", None)
    if tokenizer is not None and max_length is not None:
        count, ends, fitting = (
            count_tokens(tokenizer),
            _token_ends(tokenizer),
            max_length - len(tokenizer.encode("").ids),
        )
    else:
        count, ends, fitting = count_words, _word_ends, 100
    size = fitting if size is None else size
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"expected chunk_size ≥ 1 and 0 ≤ overlap < chunk_size, got {size} and {overlap}")

    def passages(text: str, title: str | None) -> tuple[str, list[Chunk]]:
        # A title takes its room in every passage, but never more than half of it: the rest of the title is left out.
        heading = _first(title or "", ends, size // 2)
        heading = heading and heading + "\n"
        room = max(1, size - count([heading])[0])
        return heading, chunk_text(text, room, min(overlap, room - 1), count)

    return passages


def _first(text: str, ends: Callable[[str], list[int]], most: int) -> str:
    """The text up to the end of its `most`-th token or word."""
    places = ends(text)
    return text if len(places) <= most else text[: places[most - 1]] if most else ""


def _word_ends(text: str) -> list[int]:
    return [match.end() for match in WORD.finditer(text)]


def _token_ends(tokenizer) -> Callable[[str], list[int]]:
    return lambda text: [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]


def find_unknown(encoder, texts: list[str]) -> list[int]:
    """Positions of the texts of which the encoder's tokenizer knows not one word; none where it cannot tell."""
    tokenizer = getattr(encoder, "tokenizer", None)
    unknown = getattr(getattr(tokenizer, "model", None), "unk_token", None)
    if unknown is None:
        return []
    batch = tokenizer.encode_batch(texts, add_special_tokens=False)
    rows = np.split(batch.ids == tokenizer.token_to_id(unknown), batch.starts[1:-1])
    return [i for i, row in enumerate(rows[: len(texts)]) if row.all()]


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
    for field, value in (("id", id), ("text", text), ("title", title or "")):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"document {id!r}: its {field} has a lone surrogate at position {error.start}") from error
    try:
        metadata = json.dumps(metadata or {}, allow_nan=False, ensure_ascii=False)  # SQLite finds é by "é" alone
        metadata.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"document {id!r}: expected metadata that JSON can hold: {error}") from error
    return {"id": id, "text": text, "title": title, "metadata": metadata}
