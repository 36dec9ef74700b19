"""Tokens that stand beside the model: control tokens such as [SEP], and words that a user added.

They are found in a text before the model sees it, the leftmost first and of these the longest: those that are not
`normalized` in the text itself, the others, themselves normalized, in the normalized text between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .normalize import Normalized, code_points, unchanged
from .parts import Normalizer


@dataclass(frozen=True)
class AddedToken:
    """A token and how it is found in a text.

    special      a control token: ordinary text unless `allowed_special` names it; decoding leaves it out
    single_word  only where no word character stands beside it
    lstrip       takes the white space before it along        rstrip  the white space after it
    normalized   is looked for in the normalized text
    """

    content: str
    id: int
    special: bool = True
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


class Part(NamedTuple):
    """A stretch of a text: `token` is the AddedToken that it is, or None."""

    normal: Normalized
    token: AddedToken | None


class AddedTokens:
    """Those of a tokenizer's added tokens that are honoured in a text."""

    def __init__(self, tokens: Iterable[AddedToken], normalizer: Normalizer):
        self.normalizer = normalizer
        self.raw = _patterns({token.content: token for token in tokens if not token.normalized})
        normalized = [token for token in tokens if token.normalized]
        self.normalized = _patterns({normalizer.normalize(token.content).text: token for token in normalized})

    def __bool__(self) -> bool:
        return bool(self.raw or self.normalized)

    def occur_in(self, text: str) -> bool:
        """Whether any of them may be in a text."""
        if self.raw and self.raw[0].search(text):
            return True
        return bool(self.normalized and self.normalized[0].search(self.normalizer.normalize(text).text))

    def split(self, text: str) -> Iterator[Part]:
        """Parts of a text, in order; what is not an added token is normalized."""
        for part in _split(unchanged(text), self.raw):
            if part.token is not None:
                yield part
            elif part.normal.text:
                at = part.normal.starts[0]
                yield from _split(self.normalizer.normalize(part.normal.text).moved(at), self.normalized)


def _patterns(by_content):
    """(compiled pattern, {string: token}), or None where there is nothing to find."""
    names = sorted(filter(None, by_content), key=len, reverse=True)
    return (re.compile("|".join(map(re.escape, names))), by_content) if names else None


def _split(normal, patterns):
    text, at = normal.text, 0
    spaces, word = code_points("WHITE_SPACE"), code_points("WORD")
    for match in patterns[0].finditer(text) if patterns else ():
        token, (start, end) = patterns[1][match[0]], match.span()
        beside = text[start - 1 : start] + text[end : end + 1]
        if start < at or (token.single_word and not word.isdisjoint(beside)):
            continue
        while token.lstrip and start > at and text[start - 1] in spaces:
            start -= 1
        while token.rstrip and end < len(text) and text[end] in spaces:
            end += 1
        if start > at:
            yield Part(normal.cut(at, start), None)
        yield Part(normal.cut(start, end), token)
        at = end
    if at < len(text):
        yield Part(normal.cut(at, len(text)), None)
