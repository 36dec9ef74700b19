"""Normalized text → words: where the model's pieces may never cross."""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import unicode_tables
from .normalize import code_points, ranges


class BertPreTokenizer:
    """BERT's words: split at white space, and every punctuation mark is a word.

    Source   BasicTokenizer of github.com/google-research/bert: all of Unicode's P*, and any ASCII that is neither
             letter, digit nor space ("$", "+", "~" …)
    """

    def split(self, text):
        """[(start, end)] of the words of a text."""
        spaces, punctuation = code_points("WHITE_SPACE"), code_points("PUNCTUATION")
        words, start = [], 0
        for i, c in enumerate(text):
            if c in spaces or c in punctuation:
                if i > start:
                    words.append((start, i))
                if c in punctuation:
                    words.append((i, i + 1))
                start = i + 1
        if len(text) > start:
            words.append((start, len(text)))
        return words

    def __eq__(self, other):
        return type(other) is BertPreTokenizer

    __hash__ = object.__hash__


_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
_START, _INSIDE = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": "|".join((*_LLAMA3[:4], r"\s+\z", *_LLAMA3[4:])),
    "llama3": "|".join(_LLAMA3),
    "o200k": "|".join(
        (
            rf"[^\r\n\p{{L}}\p{{N}}]?{_START}*{_INSIDE}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            rf"[^\r\n\p{{L}}\p{{N}}]?{_START}+{_INSIDE}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            *_LLAMA3[4:],
        )
    ),
}
CLASSES = {
    r"\p{L}": ("UPPER", "LOWER_CASE", "CASELESS"),
    r"\p{Lu}\p{Lt}": ("UPPER",),
    r"\p{Ll}": ("LOWER_CASE",),
    r"\p{Lm}\p{Lo}": ("CASELESS",),
    r"\p{M}": ("MARKS",),
    r"\p{N}": ("NUMBERS",),
    r"\s": ("WHITE_SPACE",),
}


@dataclass(frozen=True)
class PatternPreTokenizer:
    """The pieces that one of the published patterns finds, left to right: nothing of the text falls between them.

    Source   Radford et al. 2019 (GPT-2's encoder.py); tiktoken 0.14.0 (openai_public.py) for cl100k and o200k;
             llama3 is cl100k as first published, without the piece of white space at the end of a text
    Raises   ValueError: the pattern's name is not one of PATTERNS
    Differs  letters, numbers, marks and white space are those of Unicode 16, as in tiktoken and Hugging Face's library,
             whatever the running Python follows
    """

    pattern: str = "gpt2"

    def __post_init__(self):
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, got {self.pattern!r}")

    def split(self, text):
        """[(start, end)] of the pieces of a text."""
        return [match.span() for match in compiled(self.pattern).finditer(text)]


@cache
def compiled(name):
    """A pattern with its classes spelled out, for Python's `re`."""

    def spell(match):
        inside = match[0]
        for class_name, tables in CLASSES.items():
            inside = inside.replace(class_name, "".join(map(_spelled, tables)))
        return inside if match[0].startswith("[") else f"[{inside}]"

    pattern = PATTERNS[name].replace(r"\S", r"[^\s]").replace(r"\z", r"\Z")
    return re.compile(re.sub(r"\[[^\]]*\]|\\p\{\w+\}|\\s", spell, pattern))


def _spelled(table):
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in ranges(getattr(unicode_tables, table)))


# The same classes as bits of one table over all code points, for the kernels

UPPER, LOWER, CASELESS, MARK, NUMBER, SPACE, OTHER = (1 << bit for bit in range(7))
LETTER, SYMBOL = UPPER | LOWER | CASELESS, MARK | OTHER


@cache
def kind_table():
    """(0x110000,) uint8: one of the bits above for each code point."""
    kinds = np.full(0x110000, OTHER, np.uint8)
    bits = {"UPPER": UPPER, "LOWER_CASE": LOWER, "CASELESS": CASELESS, "MARKS": MARK, "NUMBERS": NUMBER}
    for name, bit in {**bits, "WHITE_SPACE": SPACE}.items():
        for a, b in ranges(getattr(unicode_tables, name)):
            kinds[a : b + 1] = bit
    return kinds
