"""The words of a text, as a sparse index counts them, and their numbers.

    word    a run of letters, marks, digits and "_", and the "+" or "#" right behind it (C++, C#)
    pair    in scripts that put no blanks between words (Han, kana, Thai, Lao, Khmer, Burmese) every two neighbours are
            a word, and a character that stands alone is one

Words are compared after NFKC and case folding. Plain form: `words`. Fast form: `Vocabulary.number`, one kernel for a
block of texts, which also gives equal words equal numbers.

Source   Unicode Standard Annex 29 for what belongs to a word; Lucene's CJKBigramFilter for pairs
Differs  no stop words: a frequent word weighs little anyhow; apostrophes and hyphens part words
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from minibert._jit import kernel
from tokenizers.normalize import ranges, table_ranges

GAP, WORD, PAIR, SIGN = range(4)  # kinds of code points
WORD_TABLES = ("UPPER", "LOWER_CASE", "CASELESS", "MARKS", "NUMBERS")
UNSPACED = "e00-eff 1000-109f 1780-17ff 3005-3007 3040-30ff 31f0-31ff"  # Thai, Lao; Burmese; Khmer; 々 〇; kana
TEXTS_AT_ONCE = 1024
FACTOR = 0xB5297A4D
HASH_MASK = (1 << 31) - 1  # a hash times FACTOR stays in int64


def words(text: str) -> list[str]:
    """The words of a text, in order: the definition."""
    found, text = [], fold(text)
    for match in pattern(0x80 if text.isascii() else 0x110000).finditer(text):
        part = match[0]
        if match.lastgroup == "pairs" and len(part) > 1:
            found += [part[i : i + 2] for i in range(len(part) - 1)]
        else:
            found.append(part)
    return found


def fold(text: str) -> str:
    """NFKC, case folding and NFKC again, as folding takes letters apart; of ASCII only the case can change."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@cache
def pattern(limit: int) -> re.Pattern[str]:
    """A word, or a run of PAIR, in text whose code points are below `limit`: Python's `re` is slow on large classes."""
    word, pair = (_spelled(kind, limit) for kind in (WORD, PAIR))
    run = rf"|(?P<pairs>[{pair}]+)" if pair else ""
    return re.compile(rf"[{word}]+(?:[+#]+(?![+#{word}{pair}]))?{run}")


@cache
def kinds() -> np.ndarray:
    """(0x110000,) uint8: GAP, WORD, PAIR or SIGN of each code point."""
    table = np.zeros(0x110000, np.uint8)
    for name in WORD_TABLES:
        for a, b in table_ranges(name):
            table[a : b + 1] = WORD
    table[ord("_")] = WORD
    for a, b in (*table_ranges("CJK"), *ranges(UNSPACED)):
        table[a : b + 1] = np.where((table[a : b + 1] == WORD) & ~_digits(a, b), PAIR, table[a : b + 1])
    table[[ord("+"), ord("#")]] = SIGN
    return table


def _digits(a: int, b: int) -> np.ndarray:
    return np.array([chr(code).isdigit() for code in range(a, b + 1)])


def _spelled(kind: int, limit: int) -> str:
    """The code points of a kind below `limit` as the inside of a regular expression's class."""
    edges = np.flatnonzero(np.diff((kinds()[:limit] == kind).astype(np.int8), prepend=0, append=0))
    return "".join(f"\\U{a:08x}-\\U{b - 1:08x}" for a, b in edges.reshape(-1, 2).tolist())


def code_points(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points (C,) int32 of texts on top of each other, and where each starts (B + 1,)."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.int32)
    return codes, np.cumsum([0, *map(len, texts)])


@kernel
def word_end(kinds, codes, i, stop):
    """End of the word that starts at i, or of the run of PAIR at i."""
    kind = kinds[codes[i]]
    while i < stop and kinds[codes[i]] == kind:
        i += 1
    end = i
    while kind == WORD and end < stop and kinds[codes[end]] == SIGN:
        end += 1
    return end if end == stop or kinds[codes[end]] == GAP else i


@kernel
def find(store, starts, slots, codes, a, b):
    """Slot of the word codes[a:b] in the hash table of word numbers (from 1), or of the empty place for it."""
    hashed = np.int64(b - a)
    for i in range(a, b):
        hashed = ((hashed ^ np.int64(codes[i])) * FACTOR) & HASH_MASK
    slot = (hashed ^ (hashed >> 15)) & (len(slots) - 1)
    while slots[slot] != 0:
        word = slots[slot] - 1
        same = starts[word + 1] - starts[word] == b - a
        i = 0
        while same and i < b - a:
            same = store[starts[word] + i] == codes[a + i]
            i += 1
        if same:
            break
        slot = (slot + 1) & (len(slots) - 1)
    return slot


@kernel
def intern(store, starts, slots, count, codes, a, b):
    """(number of the word codes[a:b], size of the vocabulary): a new word goes to its end, where there is room."""
    slot = find(store, starts, slots, codes, a, b)
    if slots[slot] == 0:
        store[starts[count] : starts[count] + b - a] = codes[a:b]
        starts[count + 1] = starts[count] + b - a
        count += 1
        slots[slot] = count
    return slots[slot] - 1, count


@kernel
def number_words(kinds, codes, bounds, store, starts, slots, count, numbers, ends):
    """Numbers of all words of the texts codes[bounds[b]:bounds[b + 1]]; ends[b]: of text b's among them.

    Returns the vocabulary's new size.
    """
    at = 0
    for b in range(len(bounds) - 1):
        i, stop = bounds[b], bounds[b + 1]
        while i < stop:
            kind = kinds[codes[i]]
            if kind == GAP or kind == SIGN:
                i += 1
                continue
            end = word_end(kinds, codes, i, stop)
            step = 2 if kind == PAIR else end - i
            while True:
                last = min(i + step, end)
                numbers[at], count = intern(store, starts, slots, count, codes, i, last)
                at += 1
                if last == end:
                    break
                i += 1
            i = end
        ends[b] = at
    return count


@kernel
def intern_words(codes, bounds, store, starts, slots, count, numbers):
    """Numbers of the words codes[bounds[w]:bounds[w + 1]]; returns the vocabulary's new size."""
    for w in range(len(bounds) - 1):
        numbers[w], count = intern(store, starts, slots, count, codes, bounds[w], bounds[w + 1])
    return count


@kernel
def fill_slots(store, starts, slots, count):
    """Put all words into an empty hash table."""
    for word in range(count):
        slots[find(store, starts, slots, store, starts[word], starts[word + 1])] = word + 1


@kernel
def look_up(store, starts, slots, codes, bounds, numbers):
    """The number of each word codes[bounds[w]:bounds[w + 1]], -1 where it is unknown."""
    for w in range(len(bounds) - 1):
        numbers[w] = slots[find(store, starts, slots, codes, bounds[w], bounds[w + 1])] - 1


class Vocabulary:
    """Words and their numbers, in the order of their first appearance.

    Shapes   store (C,) int32: the words' code points on top of each other; starts (V + 1,) int64
    """

    def __init__(self, store: Any = None, starts: Any = None):
        self.store = np.empty(0, np.int32) if store is None else store
        self._starts = np.zeros(1, np.int64) if starts is None else starts
        self._count = len(self._starts) - 1
        self._make_slots(self._count)

    def __len__(self) -> int:
        return self._count

    @property
    def starts(self) -> np.ndarray:
        """Where each word starts in `store`, and where the last one ends: (V + 1,) int64."""
        return self._starts[: self._count + 1]

    def __iter__(self) -> Iterator[str]:
        text = self.store[: self.starts[-1]].tobytes().decode("utf-32-le", "surrogatepass")
        bounds = self.starts.tolist()
        return map(text.__getitem__, map(slice, bounds, bounds[1:]))

    def __getitem__(self, number: int) -> str:
        start, end = self.starts[number : number + 2]
        return self.store[start:end].tobytes().decode("utf-32-le", "surrogatepass")

    def number(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (T,) int32 of the words of texts, read a block at a time, and where each text's start (B + 1,).

        Raises   TypeError: a text is not a str (says which)
        """
        texts, parts, lengths = iter(texts), [np.empty(0, np.int32)], [0]
        while block := list(islice(texts, TEXTS_AT_ONCE)):
            for i, text in enumerate(block, start=len(lengths) - 1):
                if not isinstance(text, str):
                    raise TypeError(f"texts[{i}]: expected str, got {type(text).__name__} {text!r:.40}")
            codes, bounds = code_points([fold(text) for text in block])
            self._make_room(len(codes))
            numbers, ends = np.empty(len(codes), np.int32), np.empty(len(block), np.int64)
            arrays = self.store, self._starts, self._slots
            self._count = number_words(kinds(), codes, bounds, *arrays, self._count, numbers, ends)
            parts.append(numbers[: ends[-1]].copy())
            lengths += np.diff(ends, prepend=0).tolist()
        return np.concatenate(parts), np.cumsum(lengths)

    def add(self, given: list[str]) -> np.ndarray:
        """Numbers (n,) int32 of words, the new ones among them added."""
        codes, bounds = code_points(given)
        self._make_room(len(codes) + len(given))
        numbers = np.empty(len(given), np.int32)
        self._count = intern_words(codes, bounds, self.store, self._starts, self._slots, self._count, numbers)
        return numbers

    def find(self, wanted: list[str]) -> np.ndarray:
        """Numbers (n,) int64 of words, -1 for those that are not there."""
        codes, bounds = code_points(wanted)
        numbers = np.empty(len(wanted), np.int64)
        look_up(self.store, self._starts, self._slots, codes, bounds, numbers)
        return numbers

    def _make_room(self, codes: int) -> None:
        """Room for as many new words as so many code points can hold: each is one, or a pair of two of them."""
        used = int(self._starts[self._count])
        if used + 2 * codes > len(self.store) or not self.store.flags.writeable:
            self.store = np.concatenate([self.store[:used], np.empty(used + 2 * codes, np.int32)])
        if self._count + codes >= len(self._starts) or not self._starts.flags.writeable:
            self._starts = np.concatenate([self.starts, np.empty(self._count + codes + 1, np.int64)])
        if 2 * (self._count + codes) > len(self._slots):
            self._make_slots(self._count + codes)

    def _make_slots(self, words: int) -> None:
        self._slots = np.zeros(1 << (2 * words + 1).bit_length(), np.int32)
        fill_slots(self.store, self._starts, self._slots, self._count)
