"""`SentencePieceNormalizer` as loops over UTF-8 bytes, with the source of every byte.

A byte tells most: an ASCII letter before another ASCII character is no key of any map, so it is copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._jit import bare, inlined
from .charsmap import LEAF
from .pieces import SPACE
from .trie import build_trie, step, token_of

if TYPE_CHECKING:
    from .charsmap import SentencePieceNormalizer

PLAIN, BLANK, BEFORE_ASCII, LOOK_UP = range(4)  # unchanged; a blank; unchanged before ASCII; see the map
SPACE_BYTES = SPACE.encode()
B0, B1, B2 = SPACE_BYTES
OVERFLOW, SURROGATE = -1, -2


class Rules(NamedTuple):
    """units    (U,) uint32, strings (N,) uint8: the character map; one unit where there is none
    blank_string   the place of " " in strings
    kept     Trie of the user-defined pieces
    kinds    (256,) uint8: what a byte may do at the start of a character
    collapse, dummy, suffix, escape   the normalizer's options
    """

    units: np.ndarray
    strings: np.ndarray
    blank_string: int
    kept: tuple
    kinds: np.ndarray
    collapse: bool
    dummy: bool
    suffix: bool
    escape: bool


class Normal(NamedTuple):
    """Normalized bytes, and the bytes that each comes from."""

    data: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@inlined
def base_of(units, node):
    """Where the children of a node are: at base ^ byte."""
    unit = int(units[node])
    return node ^ (unit >> 10) << ((unit & 512) >> 6)


@bare
def longest_key(rules, data, i, stop):
    """(end, place of its replacement) of the longest key at i; (i, -1) where there is none."""
    node, end, found = 0, i, -1
    for j in range(i, stop):
        node = base_of(rules.units, node) ^ int(data[j])
        if rules.units[node] & 0x800000FF != data[j]:
            break
        if rules.units[node] & 256 and (j + 1 == stop or data[j + 1] & 0xC0 != 0x80):
            end, found = j + 1, int(rules.units[base_of(rules.units, node)]) & 0x7FFFFFFF
    return end, found


@bare
def longest_end(trie, data, i, stop):
    """End of the longest token at i, or i."""
    unit, end = int(trie.units[0]), i
    for j in range(i, stop):
        unit = step(trie.units, unit, int(data[j]))
        if unit == 0:
            break
        if token_of(unit) >= 0:
            end = j + 1
    return end


@inlined
def character_end(data, i):
    """End of the character whose first byte is data[i]."""
    byte = data[i]
    return i + (1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)


@inlined
def put(normal, n, byte, begin, end):
    """Append a byte that comes from text[begin:end]; the new size."""
    normal.data[n], normal.begin[n], normal.end[n] = byte, begin, end
    return n + 1


@inlined
def put_blank(rules, normal, n, begin, end):
    """Append a blank, as ▁ or as it is; the new size."""
    if not rules.escape:
        return put(normal, n, 0x20, begin, end)
    n = put(normal, n, B0, begin, end)
    n = put(normal, n, B1, begin, end)
    return put(normal, n, B2, begin, end)


@inlined
def replacement(data, i, stop, rules):
    """(end, place of the string that replaces data[i:end], or -1 where it stays)."""
    kind = rules.kinds[data[i]]
    if kind == PLAIN or (kind != LOOK_UP and (i + 1 == stop or data[i + 1] < 0x80)):
        return i + 1, rules.blank_string if kind == BLANK else -1
    end = longest_end(rules.kept, data, i, stop)
    if end > i:
        return end, -1
    end, string = longest_key(rules, data, i, stop)
    return (end if string >= 0 else character_end(data, i)), string


@bare
def rewrite(data, i, stop, rules, normal, n, started, pending):
    """Normalize data[i:stop] to normal from n on; (where it ends, whether anything but blanks was there).

    `started`: text came before it, so that a blank counts; `pending`: one came, but is not yet written. Where blanks
    collapse, one is written when what follows it is. The end is OVERFLOW, or SURROGATE where there is one.
    """
    begin, end, produced = i, i, started
    while i < stop:
        start = i
        if data[i] == 0xED and data[i + 1] >= 0xA0:
            return SURROGATE, started
        i, string = replacement(data, i, stop, rules)
        source, k, last = data, start, i
        if string >= 0:
            source, k, last = rules.strings, string, string
            while source[last] != 0:
                last += 1
        if n + 3 * (last - k) + 6 > len(normal.data):
            return OVERFLOW, started
        if not started:
            if rules.collapse and last == k + 1 and source[k] == 0x20:
                continue
            started = True
            if rules.dummy and not rules.suffix and rules.collapse:
                pending, begin, end = True, start, start
            elif rules.dummy and not rules.suffix:
                n = put_blank(rules, normal, n, start, start)
        while k < last:
            if source[k] == 0x20 and rules.collapse:
                if produced and not pending:
                    pending, begin, end = True, start, i
            else:
                if pending:
                    n = put_blank(rules, normal, n, begin, end)
                    pending = False
                if source[k] == 0x20:
                    n = put_blank(rules, normal, n, start, i)
                else:
                    n = put(normal, n, source[k], start, i)
                produced = True
            k += 1
    return n, started


@bare
def normalize(data, start, stop, rules, normal):
    """Normalize a whole text; returns its length, or OVERFLOW, or SURROGATE."""
    n, started = rewrite(data, start, stop, rules, normal, 0, False, False)
    if n < 0:
        return n
    while rules.collapse and rules.escape and ends_in_space(normal.data, n):
        n -= 3
    if started and rules.dummy and rules.suffix:
        if n + 3 > len(normal.data):
            return OVERFLOW
        n = put_blank(rules, normal, n, stop, stop)
    return n


@inlined
def ends_in_space(data, n):
    """Whether n bytes end in ▁."""
    return n >= 3 and data[n - 3] == B0 and data[n - 2] == B1 and data[n - 1] == B2


def rules_of(normalizer: SentencePieceNormalizer) -> Rules:
    """Rules of a SentencePieceNormalizer."""
    units, strings = np.full(256, LEAF, np.uint32), b" \0"
    units[0] = 0  # a root without children
    if normalizer.map:
        units, strings = normalizer.map.units, bytes(normalizer.map.strings) + strings
    kept = [piece.encode() for piece in normalizer.user_defined]
    kinds = np.array([_kind(byte, normalizer.map, kept) for byte in range(256)], np.uint8)
    options = normalizer.remove_extra_whitespaces, normalizer.add_dummy_prefix
    more = normalizer.whitespace_as_suffix, normalizer.escape_whitespaces
    trie = build_trie({piece: i for i, piece in enumerate(kept)})
    return Rules(units, np.frombuffer(strings, np.uint8), len(strings) - 2, trie, kinds, *options, *more)


def _kind(byte, charsmap, kept):
    """What a byte may do at the start of a character."""
    if byte >= 0x80 or any(piece[0] == byte for piece in kept):
        return LOOK_UP
    node = charsmap and charsmap.child(0, byte)
    if not node:
        return BLANK if byte == 0x20 else PLAIN
    longer = any(charsmap.child(node, following) for following in range(1, 0x80))
    value = charsmap.string_of(node) if charsmap.has_value[node] else None
    if longer or value not in (None, " "):
        return LOOK_UP
    leads_on = any(charsmap.child(node, following) for following in range(0x80, 256))
    blank = value == " " or (byte == 0x20 and value is None)
    return (LOOK_UP if leads_on else BLANK) if blank else BEFORE_ASCII


def by_words(normalizer: SentencePieceNormalizer, kinds: np.ndarray) -> bool:
    """Whether what is between two blanks of the text is normalized without a look beyond them."""
    charsmap, blanks = normalizer.map, np.flatnonzero(kinds == BLANK).tolist()
    inside = [byte for byte in blanks if any(byte in piece.encode() for piece in normalizer.user_defined)]
    if charsmap:
        inside += [byte for byte in blanks if (charsmap.labels == byte).sum() > (charsmap.child(0, byte) > 0)]
    return 0x20 in blanks and not inside


def follows_kernel(normalizer: SentencePieceNormalizer) -> bool:
    """Whether the kernel collapses blanks as the plain form does: not inside a string that has two in a row."""
    strings = bytes(normalizer.map.strings) if normalizer.map else b""
    return not normalizer.remove_extra_whitespaces or (
        b"  " not in strings and not any("  " in piece for piece in normalizer.user_defined)
    )
