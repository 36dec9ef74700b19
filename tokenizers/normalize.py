"""Unicode clean-up that remembers where every character came from.

A text on its way is a list of (character, start, end), where text[start:end] of the text that the user gave is what the
character came from. Each step takes such a list and returns one, so offsets survive any sequence of steps.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from . import unicode_compat, unicode_tables
from .parts import Character, Span

REPLACEMENT, SURROGATE = "\ufffd", re.compile("[\ud800-\udfff]")
HANGUL_FIRST, HANGUL_LAST = 0xAC00, 0xD7A3
L_FIRST, V_FIRST, T_BEFORE, V_COUNT, T_COUNT = 0x1100, 0x1161, 0x11A7, 21, 28


class Normalized(NamedTuple):
    """Normalized text, and for its character i the slice text[starts[i]:ends[i]] of the source."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def cut(self, start: int, end: int) -> "Normalized":
        """The characters from `start` to `end`."""
        return Normalized(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def moved(self, by: int) -> "Normalized":
        """The same, of a source that begins `by` characters later."""
        return Normalized(self.text, [a + by for a in self.starts], [b + by for b in self.ends]) if by else self

    def chars(self) -> list[Character]:
        """[(character, start, end)]."""
        return list(zip(self.text, self.starts, self.ends, strict=True))


def unchanged(text: str) -> Normalized:
    """A text as it is."""
    return Normalized(text, range(len(text)), range(1, len(text) + 1))


def joined(chars: Iterable[Character]) -> Normalized:
    """Normalized of a list of (character, start, end)."""
    return Normalized("".join(c for c, _, _ in chars), [a for _, a, _ in chars], [b for _, _, b in chars])


@dataclass(frozen=True)
class BertNormalizer:
    """BERT's clean-up: drop controls, set CJK apart, strip accents, lower the case; each step can be left out.

    Source   BasicTokenizer of github.com/google-research/bert, as Hugging Face's BertNormalizer applies it
    Units    strip_accents None means: as lowercase does
    Differs  a lone surrogate counts as U+FFFD, where Hugging Face raises

    >>> BertNormalizer().normalize("Ärger 中")
    Normalized(text='arger  中 ', starts=[0, 1, 2, 3, 4, 5, 6, 6, 6], ends=[1, 2, 3, 4, 5, 6, 7, 7, 7])
    """

    clean_text: bool = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True

    @property
    def strips(self) -> bool:
        """Whether accents go."""
        return self.lowercase if self.strip_accents is None else self.strip_accents

    def normalize(self, text: str) -> Normalized:
        """Normalized form of a text, with the source of every character."""
        if text.isascii() and text.isprintable():  # most words: only case can change, and no offset does
            return unchanged(text.lower() if self.lowercase else text)
        chars = unchanged(replace_surrogates(text)).chars()
        if self.clean_text:
            chars = clean(chars)
        if self.handle_chinese_chars:
            chars = set_cjk_apart(chars)
        if self.strips:
            chars = strip_accents(nfd(chars))
        if self.lowercase:
            chars = lower(chars)
        return joined(chars)


@dataclass(frozen=True)
class Identity:
    """Text as it is."""

    def normalize(self, text: str) -> Normalized:
        """The text itself, each character its own source."""
        return unchanged(text)


def replace_surrogates(text: str) -> str:
    """U+FFFD in place of every lone surrogate."""
    return SURROGATE.sub(REPLACEMENT, text)


def clean(chars: list[Character]) -> list[Character]:
    """Drop NUL, U+FFFD, controls, formats and private use; any white space becomes a space."""
    dropped, space = code_points("DROPPED"), code_points("WHITE_SPACE")
    return [(" " if c in space else c, a, b) for c, a, b in chars if c not in dropped]


def set_cjk_apart(chars: list[Character]) -> list[Character]:
    """A space on both sides of every CJK ideograph."""
    cjk = code_points("CJK")
    return [(d, a, b) for c, a, b in chars for d in (f" {c} " if c in cjk else c)]


def nfd(chars: list[Character]) -> list[Character]:
    """Canonical decomposition, then marks in canonical order.

    Source   Unicode Standard Annex 15; Unicode 3.12 (Hangul), D108 (order)
    Differs  where marks change places, sources go by position, as in Hugging Face's library: the n-th
             first-of-its-decomposition takes the n-th source, and the others take that of their left neighbour
    """
    classes = combining_classes()
    out: list[tuple[int, str, bool]] = []  # (class, character, is it the first of its decomposition)
    for c, _, _ in chars:
        out.extend((classes.get(d, 0), d, j == 0) for j, d in enumerate(decompose(c)))
    sort_marks(out)
    taken, result = -1, []
    for _, c, first in out:
        taken += first
        result.append((c, *chars[max(taken, 0)][1:]))
    return result


def sort_marks(out: list) -> None:
    """Canonical order: in every run of marks, those of lower class first. out: tuples that begin with the class."""
    start = 0
    for k in range(len(out) + 1):
        if k == len(out) or out[k][0] == 0:
            if k > start + 1:
                out[start:k] = sorted(out[start:k], key=lambda item: item[0])
            start = k + 1


def strip_accents(chars: list[Character]) -> list[Character]:
    """Drop nonspacing marks."""
    marks = code_points("NONSPACING_MARKS")
    return [(c, a, b) for c, a, b in chars if c not in marks]


def lower(chars: list[Character]) -> list[Character]:
    """Lower case, one character at a time: no final sigma."""
    table = mapping("LOWER")
    return [(d, a, b) for c, a, b in chars for d in table.get(c, c)]


def decompose(c: str) -> str:
    """Full canonical decomposition of one character."""
    k = ord(c) - HANGUL_FIRST
    if not 0 <= k <= HANGUL_LAST - HANGUL_FIRST:
        return mapping("NFD").get(c, c)
    v, t = divmod(k, T_COUNT)
    lead, v = divmod(v, V_COUNT)
    return chr(L_FIRST + lead) + chr(V_FIRST + v) + (chr(T_BEFORE + t) if t else "")


# Tables: text in unicode_tables.py, parsed once. compat "unicode": of one version of Unicode throughout; "hf": as in
# Hugging Face's library, which mixes versions and whose ids must be matched: unicode_compat.py says where they differ.


def ranges(text: str) -> list[Span]:
    """ "3-5 9" → [(3, 5), (9, 9)], hexadecimal, both ends included."""
    ends = (part.partition("-") for part in text.split())
    return [(int(a, 16), int(b or a, 16)) for a, _, b in ends]


def table_texts(name: str, compat: str) -> tuple[str, str]:
    """Text of the named table, and of what differs in it."""
    return getattr(unicode_tables, name), getattr(unicode_compat, name, "") if compat == "hf" else ""


@cache
def table_ranges(name: str, compat: str = "hf") -> list[Span]:
    """[(first, last)] of the named set of code points."""
    bounds: set[int] = set()
    for a, b in (found for text in table_texts(name, compat) for found in ranges(text)):
        bounds ^= {a, b + 1}  # the code points that are in one of the two
    order = sorted(bounds)
    return [(a, b - 1) for a, b in zip(order[::2], order[1::2], strict=True)]


@cache
def code_points(name: str, compat: str = "hf") -> frozenset[str]:
    """The named set of characters."""
    return frozenset(chr(c) for a, b in table_ranges(name, compat) for c in range(a, b + 1))


@cache
def mapping(name: str, compat: str = "hf") -> dict[str, str]:
    """The named {character: its replacement}."""
    pairs = (part.split("=") for text in table_texts(name, compat) for part in text.split())
    found = {chr(int(c, 16)): "".join(chr(int(o, 16)) for o in out.split(".")) for c, out in pairs}
    return {c: out for c, out in found.items() if out != c}


@cache
def combining_classes(compat: str = "hf") -> dict[str, int]:
    """{character: canonical combining class} where the class is not 0."""
    lines = (line.split(":") for text in table_texts("COMBINING_CLASSES", compat) for line in text.split(";") if line)
    found = {chr(c): int(k) for k, text in lines for a, b in ranges(text) for c in range(a, b + 1)}
    return {c: k for c, k in found.items() if k}


# The same rules as arrays over all code points, for the kernels

INSIDE, SPACE, ALONE, LOOK_UP, REORDER = range(5)
PUNCTUATION_BIT = 1 << 24


class FoldTable(NamedTuple):
    """What one normalizer and BERT's pre-tokenization do to each code point, where that depends on nothing else.

    kind     (0x110000,) uint8: INSIDE a word and unchanged; SPACE; ALONE, a word by itself, unchanged or looked up;
             LOOK_UP; REORDER, a mark whose place depends on its neighbours (such texts go the plain way)
    start    (0x110000,) int32: 0, or where in `outputs` the replacement starts: its length, then its code points
    outputs  int32; PUNCTUATION_BIT is set on those that are punctuation
    longest  of the replacements
    """

    kind: np.ndarray
    start: np.ndarray
    outputs: np.ndarray
    longest: int


@cache
def fold_table(normalizer: BertNormalizer) -> FoldTable:
    """FoldTable of a BertNormalizer."""
    kind, start = np.zeros(0x110000, np.uint8), np.zeros(0x110000, np.int32)
    outputs = [0, 0]  # 0 means unchanged, so replacements start at 1: the empty one
    punctuation, marks = code_points("PUNCTUATION"), code_points("NONSPACING_MARKS")

    def fill(name, value):
        for a, b in table_ranges(name):
            kind[a : b + 1] = value

    fill("PUNCTUATION", ALONE)
    if normalizer.handle_chinese_chars:
        fill("CJK", ALONE)
    changed = set(mapping("LOWER")) if normalizer.lowercase else set()
    if normalizer.strips:
        changed |= set(mapping("NFD")) | marks
        moving = combining_classes().keys() - marks
        for c in moving | {c for c, out in mapping("NFD").items() if not moving.isdisjoint(out)}:
            kind[ord(c)] = REORDER
        _fold_hangul(kind, start, outputs)
    step = BertNormalizer(False, False, normalizer.strips, normalizer.lowercase)
    alone = sorted(c for c in changed if kind[ord(c)] != REORDER)
    results = step.normalize("\n".join(alone)).text.split("\n") if alone else []
    for c, out in zip(alone, results, strict=True):
        if kind[ord(c)] != ALONE or c in punctuation:  # a compatibility ideograph stays alone
            kind[ord(c)] = LOOK_UP
        start[ord(c)] = len(outputs) if out else 1
        outputs += [len(out), *(ord(o) | PUNCTUATION_BIT * (o in punctuation) for o in out)] if out else []
    surrogates = slice(0xD800, 0xE000)
    kind[surrogates], start[surrogates] = LOOK_UP, len(outputs)
    outputs += [1, ord(REPLACEMENT)]
    fill("WHITE_SPACE", SPACE)
    if normalizer.clean_text:  # last: some controls count as white space, but are dropped first
        for a, b in [*table_ranges("DROPPED"), (0xD800, 0xDFFF)]:
            kind[a : b + 1], start[a : b + 1] = LOOK_UP, 1
    table = np.array(outputs, np.int32)
    return FoldTable(kind, start, table, longest=max(1, int(table[start].max())))


def _fold_hangul(kind, start, outputs):
    """The 11,172 Hangul syllables' decompositions, without a loop."""
    k = np.arange(HANGUL_LAST - HANGUL_FIRST + 1)
    v, t = np.divmod(k, T_COUNT)
    lead, v = np.divmod(v, V_COUNT)
    rows = np.stack([2 + (t > 0), L_FIRST + lead, V_FIRST + v, T_BEFORE + t], axis=1)
    kind[HANGUL_FIRST : HANGUL_LAST + 1] = LOOK_UP
    start[HANGUL_FIRST : HANGUL_LAST + 1] = len(outputs) + 4 * k
    outputs += rows.ravel().tolist()
