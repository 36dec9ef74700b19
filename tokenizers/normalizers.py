"""The normalizers of tokenizer.json besides BERT's, each a small component; a `Sequence` is any number of them.

A component's class and fields are named as in the file, which is how it is read and written. `step` takes and gives a
list of (character, start, end), see normalize.py.

Differs  a character composed of several, or put in place of several, has all of these as its source, where Hugging
         Face's library takes the first (composition) or the last (replacement): its slices can lose an accent
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from .normalize import (
    HANGUL_FIRST,
    HANGUL_LAST,
    L_FIRST,
    T_BEFORE,
    T_COUNT,
    V_COUNT,
    V_FIRST,
    Normalized,
    code_points,
    combining_classes,
    decompose,
    joined,
    lower,
    mapping,
    replace_surrogates,
    sort_marks,
    unchanged,
)
from .parts import Character
from .patterns import Pattern

L_COUNT, S_COUNT = 19, HANGUL_LAST - HANGUL_FIRST + 1


class Normalizer:
    """One step, or several in a row. `keeps(text)` may say quickly that nothing changes."""

    def normalize(self, text: str) -> Normalized:
        """Normalized form of a text; a lone surrogate counts as U+FFFD."""
        if self.keeps(text):
            return unchanged(text)
        return joined(self.step(unchanged(replace_surrogates(text)).chars()))

    def keeps(self, text: str) -> bool:
        """Whether this text certainly stays as it is; False where only `step` can tell."""
        return False

    def step(self, chars: list[Character]) -> list[Character]:
        """The characters that these become."""
        raise NotImplementedError


@dataclass(frozen=True)
class NFD(Normalizer):
    """Canonical decomposition. Source: Unicode Standard Annex 15, with the library's tables."""

    def step(self, chars: list[Character]) -> list[Character]:
        return decomposed(chars, decompose)

    def keeps(self, text: str) -> bool:
        return text.isascii()


@dataclass(frozen=True)
class NFKD(NFD):
    """Compatibility decomposition: "ﬁ" is "fi", "①" is "1"."""

    def step(self, chars: list[Character]) -> list[Character]:
        return decomposed(chars, decompose_compatible)


@dataclass(frozen=True)
class NFC(NFD):
    """Canonical decomposition, then composition."""

    def step(self, chars: list[Character]) -> list[Character]:
        return composed(super().step(chars))


@dataclass(frozen=True)
class NFKC(NFKD):
    """Compatibility decomposition, then composition."""

    def step(self, chars: list[Character]) -> list[Character]:
        return composed(super().step(chars))


@dataclass(frozen=True)
class Lowercase(Normalizer):
    """Lower case, one character at a time: no final sigma."""

    def step(self, chars: list[Character]) -> list[Character]:
        return lower(chars)

    def normalize(self, text: str) -> Normalized:
        return unchanged(text.lower()) if text.isascii() else super().normalize(text)


@dataclass(frozen=True)
class StripAccents(Normalizer):
    """Drop all marks; BERT's drops nonspacing ones only, after decomposing."""

    def step(self, chars: list[Character]) -> list[Character]:
        marks = code_points("COMBINING_MARKS")
        return [(c, a, b) for c, a, b in chars if c not in marks]

    def keeps(self, text: str) -> bool:
        return text.isascii()


@dataclass(frozen=True)
class Strip(Normalizer):
    """Drop white space at the ends."""

    strip_left: bool = True
    strip_right: bool = True

    def step(self, chars: list[Character]) -> list[Character]:
        spaces, start, end = code_points("WHITE_SPACE"), 0, len(chars)
        while self.strip_left and start < end and chars[start][0] in spaces:
            start += 1
        while self.strip_right and end > start and chars[end - 1][0] in spaces:
            end -= 1
        return chars[start:end]


@dataclass(frozen=True)
class Prepend(Normalizer):
    """Something in front of a text that is not empty; its source is that of the first character."""

    prepend: str

    def step(self, chars: list[Character]) -> list[Character]:
        return [*((c, *chars[0][1:]) for c in self.prepend), *chars] if chars else chars


@dataclass(frozen=True)
class Replace(Normalizer):
    """Every match of a pattern replaced."""

    pattern: Pattern
    content: str

    def step(self, chars: list[Character]) -> list[Character]:
        out, at = [], 0
        for start, end in self.pattern.spans("".join(c for c, _, _ in chars)):
            out += chars[at:start]
            if end > start:
                out += [(c, chars[start][1], chars[end - 1][2]) for c in self.content]
            at = end
        return out + chars[at:]

    def keeps(self, text: str) -> bool:
        return self.pattern.literal is not None and self.pattern.literal not in text


@dataclass(frozen=True)
class Sequence(Normalizer):
    """One normalizer after the other."""

    normalizers: tuple = field(default=())

    def step(self, chars: list[Character]) -> list[Character]:
        for normalizer in self.normalizers:
            chars = normalizer.step(chars)
        return chars

    def keeps(self, text: str) -> bool:
        return all(normalizer.keeps(text) for normalizer in self.normalizers)


# Decomposition and composition


def decomposed(chars: list[Character], decompose: Callable[[str], str]) -> list[Character]:
    """Each character decomposed, marks in canonical order, sources covering: they never go back.

    Where marks change places, each one's source is widened over what it passed.
    """
    classes = combining_classes()
    out = [(classes.get(d, 0), d, a, b) for c, a, b in chars for d in decompose(c)]
    sort_marks(out)
    return covering([(c, a, b) for _, c, a, b in out])


def decompose_compatible(c: str) -> str:
    """Full compatibility decomposition of one character."""
    return mapping("NFKD").get(c) or decompose(c)


def composed(chars: list[Character]) -> list[Character]:
    """Canonical composition: a starter and a mark, or a starter right behind it, become one where there is such a one.

    Source   Unicode Standard 3.11, D117; 3.12 for Hangul
    """
    classes, pairs, starter, last = combining_classes(), compositions(), None, 0
    out: list[Character] = []
    for c, a, b in chars:
        k = classes.get(c, 0)
        if starter is not None and (last < k or last == 0):  # nothing between, or only marks of lower class
            both = pairs.get((out[starter][0], c)) or compose_hangul(out[starter][0], c)
            if both and (last != 0 or starter == len(out) - 1):
                _, first, end = out[starter]
                out[starter] = (both, first, max(end, b))
                continue
        if k == 0:
            starter, last = len(out), 0
        else:
            last = k
        out.append((c, a, b))
    return covering(out)


@cache
def compositions() -> dict[tuple[str, str], str]:
    """{(first, second): composite}."""
    decompositions, excluded = mapping("NFD"), code_points("NOT_COMPOSED")
    whole = {out: c for c, out in decompositions.items() if c not in excluded}
    pairs = {}
    for out, c in whole.items():
        first = whole.get(out[:-1], out[:-1])  # "ạ̈" is "ạ" and a mark: what stands before the last is one character
        if len(first) == 1:
            pairs[first, out[-1]] = c
    return pairs


def compose_hangul(first: str, second: str) -> str | None:
    """Hangul syllable of a leading consonant and a vowel, or of such and a trailing consonant; or None."""
    lead, vowel = ord(first) - L_FIRST, ord(second) - V_FIRST
    if 0 <= lead < L_COUNT and 0 <= vowel < V_COUNT:
        return chr(HANGUL_FIRST + (lead * V_COUNT + vowel) * T_COUNT)
    syllable, tail = ord(first) - HANGUL_FIRST, ord(second) - T_BEFORE
    if 0 <= syllable < S_COUNT and syllable % T_COUNT == 0 and 0 < tail < T_COUNT:
        return chr(ord(first) + tail)
    return None


def covering(chars: list[Character]) -> list[Character]:
    """The same with sources widened so that neither starts nor ends ever go back."""
    out, end = [], 0
    for c, a, b in chars:
        end = max(end, b)
        out.append((c, a, end))
    start = end
    for i in range(len(out) - 1, -1, -1):
        c, a, b = out[i]
        start = min(start, a)
        out[i] = (c, start, b)
    return out
