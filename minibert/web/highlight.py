"""Where a passage meets the question: its words, and the sentence that answers best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from minibert.retrieval.chunk import Span
from minibert.retrieval.search import Hit
from minibert.retrieval.words import fold, pattern, words

LEAST_SHARE = 0.2  # of what the weightiest word gives to a score: "the" gives less and is not marked


class Piece(NamedTuple):
    """A stretch of text: whether it is a word of the question, and whether it lies in the best sentence."""

    text: str
    word: bool
    best: bool


def telling_words(question: str, hits: Sequence[Hit]) -> set[str]:
    """The question's words to mark: where BM25 took part, those that gave much to a hit's score; else all."""
    most: dict[str, float] = {}
    for hit in hits:
        for word, term in hit.stages.get("sparse", {}).get("terms", {}).items():
            most[word] = max(term, most.get(word, 0.0))
    if not most:
        return set(words(question))
    return {word for word, term in most.items() if term >= LEAST_SHARE * max(most.values())}


def find_words(text: str, wanted: set[str]) -> list[Span]:
    """Spans of the wanted words in a text, as `words` cuts it: every one of them is in `wanted` once folded."""
    spans: list[Span] = []
    for match in pattern(0x110000).finditer(text):
        start, end = match.span()
        if match.lastgroup == "pairs" and end - start > 1:
            spans += [(i, i + 2) for i in range(start, end - 1) if fold(text[i : i + 2]) in wanted]
        elif fold(match[0]) in wanted:
            spans.append((start, end))
    return spans


def pieces(text: str, marked: Iterable[Span], best: Span | None) -> Iterator[Piece]:
    """The text in stretches of one kind each; together they are the text."""
    marked, best = list(marked), best or (0, 0)
    cuts = sorted({0, len(text), *best, *(place for span in marked for place in span)})
    inside = sorted(marked)
    for start, end in zip(cuts, cuts[1:], strict=False):
        while inside and inside[0][1] <= start:
            inside.pop(0)
        word = bool(inside) and inside[0][0] <= start
        yield Piece(text[start:end], word, best[0] <= start < best[1])
