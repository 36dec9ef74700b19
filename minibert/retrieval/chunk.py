"""A document in pieces small enough for an encoder, each knowing where it stood.

    text[chunk.start : chunk.end] == chunk.text, always

Whole sentences, or words, are packed greedily into a budget; a sentence over it is cut at its words, a word over it in
halves. The budget counts whatever `count` counts: words, characters, or an encoder's tokens. By structure, each section
is packed apart (structure.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minibert.retrieval.structure import sections

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Count = Callable[[list[str]], Sequence[int]]
Span = tuple[int, int]

# A sentence ends after . ! ? … (and closing quotes) before white space, after 。！？ anywhere, and at an empty line.
# Differs from trained splitters: "Dr. Smith" is cut after "Dr."; packing mostly puts it together again.
SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[”’」』）]*|\n[^\S\n]*\n")
WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Chunk:
    """A passage and its place in the document, in characters; context: the headings that it stands under."""

    text: str
    start: int
    end: int
    context: str = ""


def count_words(texts: list[str]) -> list[int]:
    """Words between white space."""
    return [len(text.split()) for text in texts]


def count_characters(texts: list[str]) -> list[int]:
    """Unicode code points."""
    return [len(text) for text in texts]


def count_tokens(tokenizer: Tokenizer) -> Count:
    """A count of the tokens that `tokenizer` makes of a text, its special tokens left out."""
    specials = len(tokenizer.encode("").ids)

    def count(texts: list[str]) -> list[int]:
        starts = tokenizer.encode_batch(texts).starts
        return [int(size) - specials for size in starts[1:] - starts[:-1]]

    return count


def split_sentences(text: str) -> list[Span]:
    """Spans of the sentences, without the white space around them."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)] + [len(text)]
    spans = (_trim(text, start, end) for start, end in zip([0, *ends], ends, strict=False))
    return [(start, end) for start, end in spans if start < end]


def split_words(text: str) -> list[Span]:
    """Spans of what stands between white space."""
    return _words(text, 0, len(text))


def chunk_structure(text: str, format: str, cut: Callable[[str, str], list[Chunk]]) -> list[Chunk]:
    """The chunks that cut(section's text, its context) makes of each section of a document; see structure.py."""
    return [
        Chunk(chunk.text, start + chunk.start, start + chunk.end, context)
        for start, end, context in sections(text, format)
        for chunk in cut(text[start:end], context)
    ]


def chunk_text(
    text: str,
    size: int = 100,
    overlap: int = 0,
    count: Count = count_words,
    split: Callable[[str], list[Span]] = split_sentences,
) -> list[Chunk]:
    """Pack what `split` gives into chunks of at most `size`, each repeating up to `overlap` of the one before.

    Units    size and overlap in what `count` counts, where a text counts for no more than its parts together
    Raises   ValueError: size < 1, or overlap not in [0, size)
    Differs  a single character that counts for more than `size` is a chunk all the same: nothing is dropped

    >>> [(chunk.text, chunk.start) for chunk in chunk_text("One two. Three four. Five.", size=3)]
    [('One two.', 0), ('Three four. Five.', 9)]
    """
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"expected size ≥ 1 and 0 ≤ overlap < size, got size {size} and overlap {overlap}")
    start, end = _trim(text, 0, len(text))
    if start < end and count([text[start:end]])[0] <= size:  # as most are: one count in place of five
        return [Chunk(text[start:end], start, end)]
    sentences = split(text)
    pieces = _within(text, sentences, size, count)
    gaps = _gaps(text, pieces, {start for start, _ in sentences}, size, count)
    bodies = count([text[start:end] for start, end in pieces])
    return [Chunk(text[start:end], start, end) for start, end in _pack(pieces, bodies, gaps, size, overlap)]


def _pack(pieces: list[Span], body: Sequence[int], gap: Sequence[int], size: int, overlap: int) -> list[Span]:
    """Spans of the chunks: runs of pieces, each as long as the budget allows."""
    spans = []
    first = 0
    while first < len(pieces):
        last, total = first, body[first]
        while last + 1 < len(pieces) and total + gap[last + 1] + body[last + 1] <= size:
            last += 1
            total += gap[last] + body[last]
        spans.append((pieces[first][0], pieces[last][1]))
        if last + 1 == len(pieces):
            break
        # Step back over whole pieces, as far as the overlap goes and the next new piece still fits.
        previous, first, shared = first, last + 1, 0
        while first - 1 > previous:
            more = shared + body[first - 1] + gap[first]
            if more > overlap or more + body[last + 1] > size:
                break
            first, shared = first - 1, more
    return spans


def _gaps(text: str, pieces: list[Span], sentence_starts: set[int], size: int, count: Count) -> list[int]:
    """What stands between each piece and the one before: white space, which only characters count.

    Parts of one word are kept apart by a gap of the whole budget: together a tokenizer may make more tokens of them.
    """
    ends = [start for start, _ in pieces[:1]] + [end for _, end in pieces[:-1]]
    spaces = count([text[end:start] for end, (start, _) in zip(ends, pieces, strict=True)])
    inside_word = (end == start and start not in sentence_starts for end, (start, _) in zip(ends, pieces, strict=True))
    return [size if inside else space for inside, space in zip(inside_word, spaces, strict=True)]


def _within(text: str, sentences: list[Span], size: int, count: Count) -> list[Span]:
    """The sentences; in place of one over the budget its words, in place of such a word its halves."""
    pieces = _cut_where_over(text, sentences, size, count, _words)
    while True:
        smaller = _cut_where_over(text, pieces, size, count, _halves)
        if len(smaller) == len(pieces):
            return pieces
        pieces = smaller


def _cut_where_over(text: str, spans: list[Span], size: int, count: Count, cut) -> list[Span]:
    counts = count([text[start:end] for start, end in spans])
    parts = ([span] if counted <= size else cut(text, *span) for span, counted in zip(spans, counts, strict=True))
    return [span for part in parts for span in part]


def _words(text: str, start: int, end: int) -> list[Span]:
    return [match.span() for match in WORD.finditer(text, start, end)]


def _halves(text: str, start: int, end: int) -> list[Span]:
    middle = (start + end) // 2
    return [(start, middle), (middle, end)] if start < middle else [(start, end)]


def _trim(text: str, start: int, end: int) -> Span:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())
