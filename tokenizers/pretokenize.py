"""Normalized text → words: where the model's pieces may never cross."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from .normalize import Normalized, code_points, table_ranges
from .parts import PreTokenizer, Span
from .patterns import compiled


class Splitter(PreTokenizer):
    """A pre-tokenizer that cuts a text at places and changes nothing on the way."""

    def split(self, text: str) -> list[Span]:
        """[(start, end)] of the pieces of a text."""
        raise NotImplementedError

    def words(self, text: str) -> list[str]:
        """The strings between the places."""
        return [text[start:end] for start, end in self.split(text)]

    def pieces(self, normal: Normalized) -> list[Normalized]:
        """A Normalized text's pieces, in order."""
        return [normal.cut(start, end) for start, end in self.split(normal.text)]


@dataclass(frozen=True)
class BertPreTokenizer(Splitter):
    """BERT's words: split at white space, and every punctuation mark is a word.

    Source   BasicTokenizer of github.com/google-research/bert: all of Unicode's P*, and any ASCII that is neither
             letter, digit nor space ("$", "+", "~" …)

    >>> BertPreTokenizer().words("don't stop")
    ['don', "'", 't', 'stop']
    """

    def split(self, text: str) -> list[Span]:
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


@dataclass(frozen=True)
class PatternPreTokenizer(Splitter):
    """The pieces that one of the published patterns finds, left to right: nothing of the text falls between them.

    add_prefix_space puts a space before a text that does not begin with one.

    Source   Radford et al. 2019 (GPT-2's encoder.py); tiktoken 0.14.0 (openai_public.py) for cl100k and o200k;
             llama3 is cl100k as first published, without the piece of white space at the end of a text
    Raises   ValueError: the pattern's name is not one of PATTERNS
    Differs  letters, numbers, marks and white space are those of Unicode 16, as in tiktoken and Hugging Face's library,
             whatever the running Python follows

    >>> PatternPreTokenizer("gpt2").words("It's 9 am")
    ['It', "'s", ' 9', ' am']
    """

    pattern: str = "gpt2"
    add_prefix_space: bool = False

    def __post_init__(self):
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, got {self.pattern!r}")

    def split(self, text: str) -> list[Span]:
        """[(start, end)] of the pieces of a text."""
        return [match.span() for match in compiled(PATTERNS[self.pattern]).finditer(text)]

    def pieces(self, normal: Normalized) -> list[Normalized]:
        return super().pieces(prefixed(normal, " ") if self.add_prefix_space else normal)


def prefixed(normal: Normalized, prefix: str) -> Normalized:
    """A text with a character before it, whose source is that of the first one; nothing if it is there already."""
    text, starts, ends = normal
    if not text or text.startswith(prefix):
        return normal
    return Normalized(prefix + text, [starts[0], *starts], [ends[0], *ends])


# The same classes as bits of one table over all code points, for the kernels

UPPER, LOWER, CASELESS, MARK, NUMBER, SPACE, OTHER = (1 << bit for bit in range(7))
LETTER, SYMBOL = UPPER | LOWER | CASELESS, MARK | OTHER


@cache
def kind_table() -> np.ndarray:
    """(0x110000,) uint8: one of the bits above for each code point."""
    kinds = np.full(0x110000, OTHER, np.uint8)
    bits = {"UPPER": UPPER, "LOWER_CASE": LOWER, "CASELESS": CASELESS, "MARKS": MARK, "NUMBERS": NUMBER}
    for name, bit in {**bits, "WHITE_SPACE": SPACE}.items():
        for a, b in table_ranges(name):
            kinds[a : b + 1] = bit
    return kinds
