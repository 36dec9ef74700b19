"""The pre-tokenizers of tokenizer.json besides BERT's and the published patterns, each a small component.

A component's class and fields are named as in the file, which is how it is read and written. `pieces` takes a
Normalized, whose places are those of the user's text, and gives the list of Normalized that it falls into.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from .bpe import ALPHABET, to_bytes
from .normalize import Normalized, code_points, joined
from .parts import PreTokenizer, Span
from .patterns import Pattern, compiled
from .pretokenize import PATTERNS, Splitter, prefixed

BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def cut_at(length: int, matches: list[Span], behavior: str, invert: bool = False) -> list[Span]:
    """[(start, end)] of a text of some length that is cut at the matches, which stay or go or join a neighbour.

    With `invert` what lies between the matches counts as matched, and each match as unmatched.
    """
    parts, at = [], 0  # (start, end, is it a match)
    for start, end in [*matches, (length, length)]:
        if start > at:
            parts.append((at, start, invert))
        if end > start:
            parts.append((start, end, not invert))
        at = end
    if behavior == "Removed":
        return [(start, end) for start, end, match in parts if not match]
    if behavior == "MergedWithNext":  # as with the previous one, seen from the right
        back = [(length - end, length - start, match) for start, end, match in reversed(parts)]
        return [(length - end, length - start) for start, end in reversed(_merged(back, behavior))]
    return _merged(parts, behavior)


def _merged(parts, behavior):
    spans: list[Span] = []
    before = False
    for start, end, match in parts:
        joins = {"Isolated": False, "Contiguous": match == before}.get(behavior, match and not before)
        if joins and spans:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        before = match
    return spans


def single(text: str, members: Collection[str]) -> list[Span]:
    """[(i, i + 1)] of the characters of a text that are members."""
    return [(i, i + 1) for i, c in enumerate(text) if c in members]


@dataclass(frozen=True)
class Whole(Splitter):
    """A text is one piece: no pre-tokenizer in the file."""

    def split(self, text: str) -> list[Span]:
        return [(0, len(text))] if text else []


@dataclass(frozen=True)
class Whitespace(Splitter):
    """Runs of word characters, and runs of what is neither that nor white space."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The two kinds of runs, as a regular expression."""
        return compiled(r"[\w\u200c\u200d]+|[^\w\u200c\u200d\s]+")

    def split(self, text: str) -> list[Span]:
        return [match.span() for match in self.pattern.finditer(text)]

    def words(self, text: str) -> list[str]:
        return self.pattern.findall(text)


@dataclass(frozen=True)
class WhitespaceSplit(Splitter):
    """Runs of what is not white space."""

    def split(self, text: str) -> list[Span]:
        return cut_at(len(text), single(text, code_points("WHITE_SPACE")), "Removed")


@dataclass(frozen=True)
class Punctuation(Splitter):
    """Cut at BERT's punctuation."""

    behavior: str = "Isolated"

    def split(self, text: str) -> list[Span]:
        return cut_at(len(text), single(text, code_points("PUNCTUATION")), self.behavior)


@dataclass(frozen=True)
class Digits(Splitter):
    """Numbers apart from all else, digit by digit or run by run; digits are whatever Unicode calls numeric, as "½"."""

    individual_digits: bool = False

    def split(self, text: str) -> list[Span]:
        behavior = "Isolated" if self.individual_digits else "Contiguous"
        return cut_at(len(text), single(text, code_points("NUMERIC")), behavior)


@dataclass(frozen=True)
class CharDelimiterSplit(Splitter):
    """What stands between one character."""

    delimiter: str

    def split(self, text: str) -> list[Span]:
        return cut_at(len(text), single(text, self.delimiter), "Removed")


@dataclass(frozen=True)
class Split(Splitter):
    """Cut at the matches of a pattern, or, inverted, at what lies between them."""

    pattern: Pattern
    behavior: str
    invert: bool = False

    def split(self, text: str) -> list[Span]:
        return cut_at(len(text), self.pattern.spans(text), self.behavior, self.invert)


@dataclass(frozen=True)
class Metaspace(PreTokenizer):
    """A sign, "▁", in place of every space and, but for prepend_scheme "never", before the text; pieces begin at signs.

    Units    prepend_scheme "first": only at the very beginning, not behind an added token
    """

    replacement: str = "▁"
    prepend_scheme: str = "always"
    split: bool = True

    def pieces(self, normal: Normalized) -> list[Normalized]:
        marked = normal._replace(text=normal.text.replace(" ", self.replacement))
        first = self.prepend_scheme == "always" or (self.prepend_scheme == "first" and 0 in normal.starts[:1])
        if first and not marked.text.startswith(self.replacement):
            marked = prefixed(marked, self.replacement)
        spans = [(0, len(marked.text))]
        if self.split:
            spans = cut_at(len(marked.text), single(marked.text, self.replacement), "MergedWithNext")
        return [marked.cut(start, end) for start, end in spans]


@dataclass(frozen=True)
class ByteLevel(PreTokenizer):
    """GPT-2's pattern, then bytes spelled as printable characters.

    Byte-level BPE takes the text itself and not this spelling: see bpe_files.py.
    """

    add_prefix_space: bool = True
    trim_offsets: bool = True
    use_regex: bool = True

    def pieces(self, normal: Normalized) -> list[Normalized]:
        if self.add_prefix_space:
            normal = prefixed(normal, " ")
        spans = [(0, len(normal.text))]
        if self.use_regex:
            spans = [match.span() for match in compiled(PATTERNS["gpt2"]).finditer(normal.text)]
        return [spelled(normal.cut(start, end)) for start, end in spans]


def spelled(piece: Normalized) -> Normalized:
    """A piece's bytes in GPT-2's printable alphabet."""
    return joined([(ALPHABET[byte], a, b) for c, a, b in piece.chars() for byte in to_bytes(c)])


@dataclass(frozen=True)
class Sequence(PreTokenizer):
    """Each piece of one pre-tokenizer is cut by the next."""

    pretokenizers: tuple = field(default=())

    def pieces(self, normal: Normalized) -> list[Normalized]:
        pieces = [normal]
        for step in self.pretokenizers:
            pieces = [part for piece in pieces for part in step.pieces(piece) if part.text]
        return pieces
