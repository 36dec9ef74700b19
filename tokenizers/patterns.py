"""Patterns of tokenizer.json files, as Python's `re` understands them, with the library's own character classes.

Which letters, numbers and marks there are depends on the Unicode version, and Python's `re` follows another one than
the library's expressions do: so every class is spelled out from the tables.
"""

import re
from dataclasses import dataclass
from functools import cache, cached_property

from .normalize import table_ranges
from .parts import Span

WORD, JOINERS = r"\w", (0x200C, 0x200D)  # word characters of the table that the library's expressions don't have
FRACTIONS = "\xb2\xb3\xb9\xbc-\xbe"  # \w of the library's expressions has them, but not inside a class: [\w] lacks them
CLASSES = {
    r"\p{L}": ("UPPER", "LOWER_CASE", "CASELESS"),
    r"\p{Lu}\p{Lt}": ("UPPER",),
    r"\p{Ll}": ("LOWER_CASE",),
    r"\p{Lm}\p{Lo}": ("CASELESS",),
    r"\p{M}": ("MARKS",),
    r"\p{N}": ("NUMBERS",),
    r"\p{Nd}": ("DECIMALS",),
    r"\p{P}": ("PUNCTUATION_CATEGORY",),
    r"\p{S}": ("SYMBOL_CATEGORY",),
    r"\s": ("WHITE_SPACE",),
    r"\d": ("DECIMALS",),
    r"\w": ("WORD",),
}
PARTS = re.compile(
    r"\\p\{Lu\}\\p\{Lt\}|\\p\{Lm\}\\p\{Lo\}|\\[pP]\{\^?\w+\}|\\x..|\\u....|\\.|\[\^?|\]|&&|[$^]", re.DOTALL
)
PLAIN = re.compile(r"\\[rntfv]|\\[^0-9A-Za-z]|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}")
ANCHORS = {"$": r"(?=\n|\Z)", "^": r"(?:(?<=\n)|\A)", r"\z": r"\Z", r"\A": r"\A"}  # in the library, of every line


@dataclass(frozen=True)
class Pattern:
    """A string to find as it is, or a regular expression: one of the two is None."""

    literal: str | None = None
    regex: str | None = None

    @cached_property
    def _compiled(self):
        return re.compile(re.escape(self.literal or "")) if self.regex is None else compiled(self.regex)

    def spans(self, text: str) -> list[Span]:
        """[(start, end)] of all matches, from the left."""
        return [match.span() for match in self._compiled.finditer(text)]

    def replaced(self, text: str, content: str) -> str:
        """The text with every match replaced."""
        return self._compiled.sub(lambda _: content, text)


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression with its classes spelled out.

    Raises   ValueError: it uses what Python's `re` or these tables lack
    """
    if re.search(
        r"\{[\d,]+\}\+", pattern
    ):  # again and again in the library's expressions, never given back in Python's
        raise ValueError(f"the pattern {pattern!r} repeats an interval, which is not supported")
    out, at, inside = [], 0, False
    for match in PARTS.finditer(pattern):
        found = match[0]
        out.append(pattern[at : match.start()])
        at = match.end()
        if found in ("[", "[^", "&&") and inside:
            raise ValueError(f"the pattern {pattern!r} has a class inside a class, which is not supported")
        if found in ("[", "[^", "]"):
            inside = found != "]"
        elif not inside and found in ANCHORS:
            found = ANCHORS[found]
        elif (name := _positive(found)) in CLASSES:
            found = _class(pattern, name, name != found, inside)
        elif found.startswith("\\") and not PLAIN.fullmatch(found):
            raise ValueError(f"the pattern {pattern!r} uses {found!r}, which is not supported")
        out.append(found)
    try:
        return re.compile("".join([*out, pattern[at:]]))
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is not supported: {error}") from error


def _positive(name):
    """The class whose complement is meant, or the name itself."""
    if name in (r"\S", r"\D", r"\W"):
        return name.lower()
    return name.replace(r"\P", r"\p") if name.startswith(r"\P") else name


def _class(pattern, name, negated, inside):
    members = "".join(map(_spelled, CLASSES[name]))
    if inside and negated:
        if name != r"\s":
            raise ValueError(f"the pattern {pattern!r} negates {name} inside a class, which is not supported")
        return _spelled_ranges(_complement("WHITE_SPACE"))
    if inside:
        return members
    return f"[{'^' * negated}{members}{FRACTIONS if name == WORD else ''}]"


def _complement(table):
    ends = [(-1, -1), *table_ranges(table), (0x110000, 0x110000)]
    return [(b + 1, c - 1) for (_, b), (c, _) in zip(ends, ends[1:], strict=False) if b + 1 <= c - 1]


@cache
def _spelled(table):
    found = table_ranges(table)
    if table == "WORD":
        found = [r for r in found if r != JOINERS]
    return _spelled_ranges(found)


def _spelled_ranges(found):
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in found)
