"""SentencePiece's normalization: a table of rewritten strings, blanks collapsed and written ▁, with offsets.

The table, the precompiled character map of a model file, is a trie as a double array, and strings that end in NUL:
the longest key at each place of the text is replaced, and what is no key stays.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .normalize import Normalized, replace_surrogates
from .parts import Character
from .pieces import SPACE, longest_first

LEAF = 1 << 31


class Charsmap:
    """The double array and strings of a precompiled character map.

    A unit of the array holds a label, whether a value hangs below it, and how far its children are: node ^ offset ^
    byte is the child for that byte if its label says so.

    Source   darts-clone's format, as sentencepiece's normalizer.cc and Hugging Face's Precompiled read it
    Raises   ValueError: sizes do not fit, or a unit points outside
    """

    def __init__(self, blob: bytes):
        size = struct.unpack("<I", blob[:4])[0] if len(blob) > 4 else 0
        if size < 1024 or size % 1024 or size >= len(blob) - 4:
            raise ValueError(f"charsmap of {len(blob)} bytes: expected a trie of a multiple of 1024, got {size}")
        units = self.units = np.frombuffer(blob, "<u4", size // 4, 4).astype(np.uint32)
        self.blob, self.strings = blob, blob[4 + size :]
        if self.strings[-1] != 0:
            raise ValueError("charsmap: the last string has no end")
        self.labels = (units & (LEAF | 0xFF)).astype(np.int64)
        self.bases = ((units >> 10) << ((units & 512) >> 6)).astype(np.int64) ^ np.arange(len(units))
        self.has_value = (units & 256) > 0
        self.values = (units & (LEAF - 1)).astype(np.int64)
        nodes = self.labels <= 0xFF
        leaves = self.bases[nodes & self.has_value]
        if not nodes[0] or self.has_value[0] or (self.bases[nodes] | 0xFF).max() >= len(units):
            raise ValueError("charsmap: a node points outside the trie")
        if nodes[leaves].any() or self.values[~nodes].max(initial=0) >= len(self.strings):
            raise ValueError("charsmap: a value points outside the strings")

    def longest(self, text: str, at: int) -> tuple[int, str] | None:
        """(end, replacement) of the longest key at a place of a text, None where there is none."""
        node, found = 0, None
        for end in range(at + 1, len(text) + 1):
            for byte in text[end - 1].encode():
                node = self.child(node, byte)
                if not node:
                    return found
            if self.has_value[node]:
                found = end, self.string_of(node)
        return found

    def shortest(self, text: str) -> str | None:
        """Replacement of the shortest key that begins a text, None where none does."""
        node = 0
        for byte in text.encode():
            node = self.child(node, byte)
            if not node:
                return None
            if self.has_value[node]:
                return self.string_of(node)
        return None

    def child(self, node: int, byte: int) -> int:
        """The node behind a byte, or 0: nothing leads to the root."""
        node = int(self.bases[node]) ^ byte
        return node if self.labels[node] == byte else 0

    def string_of(self, node: int) -> str:
        """What replaces the key that ends at a node."""
        at = int(self.values[self.bases[node]])
        return self.strings[at : self.strings.index(0, at)].decode("utf-8", "replace")


@dataclass(frozen=True)
class SentencePieceNormalizer:
    """Strings of a character map rewritten, blanks collapsed, one blank put before the text, all blanks written ▁.

    User-defined pieces stay as they are. `whitespace_as_suffix` puts the one blank behind the text.

    Source   sentencepiece 0.2.3, normalizer.cc
    Raises   ValueError: the map cannot be one
    Units    charsmap: bytes of a precompiled map, b"" leaves every character as it is; `name` is only written to files
    Differs  a lone surrogate counts as U+FFFD, where sentencepiece raises
    """

    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    whitespace_as_suffix: bool = False
    user_defined: tuple = ()
    name: str = "identity"

    def __post_init__(self):
        _ = self.map  # a broken one is told at once

    @classmethod
    def named(cls, name: str, **options: Any) -> "SentencePieceNormalizer":
        """Normalizer with one of the character maps nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf, identity."""
        from .charsmap_rules import compiled_charsmap

        return cls(compiled_charsmap(name), name=name, **options)

    @cached_property
    def map(self) -> Charsmap | None:
        """The character map, read; None where there is none."""
        return Charsmap(self.charsmap) if self.charsmap else None

    @cached_property
    def kept(self) -> re.Pattern[str] | None:
        """A pattern that finds user-defined pieces, None where there are none."""
        return longest_first(self.user_defined)

    @property
    def blank(self) -> str:
        """How a blank is written."""
        return SPACE if self.escape_whitespaces else " "

    def normalize(self, text: str) -> Normalized:
        """Normalized form of a text; the source of the blank put before it is empty."""
        text = replace_surrogates(text)
        parts, first = list(self.rewrite(text)), 0
        if self.remove_extra_whitespaces:
            while first < len(parts) and parts[first][0] == " ":
                first += 1
        if first == len(parts):
            return Normalized("", [], [])
        at = parts[first][1]
        dummy = [(self.blank, at, at)] if self.add_dummy_prefix and not self.whitespace_as_suffix else []
        chars, after_blank = dummy, self.remove_extra_whitespaces
        for out, start, end in parts[first:]:
            out = out.lstrip(" ") if after_blank else out
            chars += [(self.blank if c == " " else c, start, end) for c in out]
            if out:
                after_blank = self.remove_extra_whitespaces and out.endswith(" ")
        if self.remove_extra_whitespaces:
            while chars and chars[-1][0] == self.blank:
                chars.pop()
        if self.add_dummy_prefix and self.whitespace_as_suffix:
            chars.append((self.blank, len(text), len(text)))
        return Normalized("".join(c for c, _, _ in chars), [a for _, a, _ in chars], [b for _, _, b in chars])

    def rewrite(self, text: str) -> Iterator[Character]:
        """(replacement, start, end) of a text's user-defined pieces, keys of the map, and other characters."""
        at = 0
        while at < len(text):
            kept = self.kept and self.kept.match(text, at)
            end, out = (
                (kept.end(), kept[0]) if kept else (self.map and self.map.longest(text, at)) or (at + 1, text[at])
            )
            yield out, at, end
            at = end
