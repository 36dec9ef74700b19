"""Documents cut into passages that an encoder reads whole, together with the title and headings they stand under."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.retrieval.chunk import (
    WORD,
    Chunk,
    chunk_structure,
    chunk_text,
    count_tokens,
    count_words,
    split_sentences,
    split_words,
)

if TYPE_CHECKING:
    from minibert.retrieval.store import Encoder

CHUNKS = ("sentences", "tokens", "structure")  # what passages are packed from


class Cutter:
    """Cuts documents for one encoder. `facts` and, in one line, `settings` decide where: equal ones cut alike.

    Units    as in `Store.open`
    Raises   ValueError: by is none of CHUNKS, size < 1, or overlap not in [0, size)
    """

    def __init__(self, encoder: Encoder, by: str = "sentences", size: int | None = None, overlap: int = 0):
        tokenizer, config = getattr(encoder, "tokenizer", None), getattr(encoder, "config", None)
        longest = getattr(config, "max_length", None)
        if tokenizer is not None and longest is not None:
            self._count, self._ends = count_tokens(tokenizer), _token_ends(tokenizer)
            fitting = longest - len(tokenizer.encode("").ids)
        else:
            self._count, self._ends, fitting = count_words, _word_ends, 100
        size = fitting if size is None else size
        if by not in CHUNKS:
            raise ValueError(f"expected chunks of {', '.join(map(repr, CHUNKS))}, got {by!r}")
        if size < 1 or not 0 <= overlap < size:
            raise ValueError(f"expected chunk_size ≥ 1 and 0 ≤ overlap < chunk_size, got {size} and {overlap}")
        self._by, self._size, self._overlap = by, size, overlap
        self.facts = {"chunk": by, "chunk_size": str(size), "overlap": str(overlap)}
        self.settings = " ".join(self.facts.values())

    def __call__(self, document: dict[str, Any]) -> tuple[list[str], list[Chunk]]:
        """What is embedded for each passage, and the passages.

        Raises   ValueError: structure that cannot be read, with the document's id
        """
        leads: list[str] = []

        def cut(text: str, context: str) -> list[Chunk]:
            # What leads takes its room in every passage, but never more than half of it: the rest of it is left out.
            lead = _first("\n".join(filter(None, (document["title"], context))), self._ends, self._size // 2)
            lead = lead and lead + "\n"
            room = max(1, self._size - self._count([lead])[0]) if lead else self._size
            split = split_words if self._by == "tokens" else split_sentences
            chunks = chunk_text(text, room, min(self._overlap, room - 1), self._count, split)
            leads.extend([lead] * len(chunks))
            return chunks

        try:
            chunks = chunk_structure(document["text"], document["format"] if self._by == "structure" else "text", cut)
        except ValueError as error:
            raise ValueError(f"document {document['id']!r}, {error}") from error
        return [lead + chunk.text for lead, chunk in zip(leads, chunks, strict=True)], chunks


def _first(text: str, ends: Callable[[str], list[int]], most: int) -> str:
    """The text up to the end of its `most`-th token or word."""
    places = ends(text) if text else []
    return text if len(places) <= most else text[: places[most - 1]] if most else ""


def _word_ends(text: str) -> list[int]:
    return [match.end() for match in WORD.finditer(text)]


def _token_ends(tokenizer) -> Callable[[str], list[int]]:
    return lambda text: [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]


def find_unknown(encoder: Encoder, texts: list[str]) -> list[int]:
    """Positions of the texts of which the encoder's tokenizer knows not one word; none where it cannot tell."""
    tokenizer = getattr(encoder, "tokenizer", None)
    unknown = getattr(getattr(tokenizer, "model", None), "unk_token", None)
    if tokenizer is None or unknown is None:
        return []
    batch = tokenizer.encode_batch(texts, add_special_tokens=False)
    rows = np.split(batch.ids == tokenizer.token_to_id(unknown), batch.starts[1:-1])
    return [i for i, row in enumerate(rows[: len(texts)]) if row.all()]
