"""Counting the distinct words of a corpus: texts are read once, a block at a time, and each word is held once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._jit import bare, inlined
from .engine import code_array, encoded
from .normalize import ALONE, PUNCTUATION_BIT, REORDER, SPACE, fold_table
from .pretokenize import kind_table
from .pretokenize_kernel import PATTERN_NUMBERS, piece_end

if TYPE_CHECKING:
    from .normalize import BertNormalizer
    from .pretokenize import BertPreTokenizer, PatternPreTokenizer

KEY_FACTOR, SLOT_FACTOR, KEY_MASK = 0x2C1B3D, 0x19F2A59B, (1 << 40) - 1  # of hashes; no product leaves int64
PACKED = 1 << 60  # marks keys that are the word itself
BLOCK = 1 << 16  # characters read together
BLANKS = (0x20, 0x0A, 0x09)  # what ends a run of raw text, whatever the normalizer


class Words(NamedTuple):
    """Distinct words on top of each other, in the order in which they first came, and how often each occurs.

    Shapes   units (T,) uint8 (UTF-8) or uint32 (code points), starts (W+1,) int64, counts (W,) int64
    """

    units: np.ndarray
    starts: np.ndarray
    counts: np.ndarray


class WordTable(NamedTuple):
    """Words with room for more.

    slots    (S,) int32, hash table: a word's number from 1      used  (2,) int64: words, units
    units, starts as in Words
    records  (W, 2) int64: key and count; the key of up to 7 units below 256 is these themselves, of others a hash
    """

    slots: np.ndarray
    units: np.ndarray
    starts: np.ndarray
    records: np.ndarray
    used: np.ndarray


@inlined
def word_key(units, start, end):
    """Key of the word units[start:end]."""
    hashed, packed, wide = 0, 1, 0  # the leading 1 tells "a" from "\0a"
    for i in range(start, end):
        unit = int(units[i])
        hashed = ((hashed + unit + 1) * KEY_FACTOR) & KEY_MASK
        packed = (packed << 8 | (unit & 255)) & (PACKED - 1)
        wide |= unit
    return PACKED | packed if wide < 256 and end - start <= 7 else hashed


@inlined
def find_word(words, units, start, end, key):
    """Slot of the word units[start:end], or of the empty place for it."""
    mixed, mask = (key >> 30) * KEY_FACTOR + (key & 0x3FFFFFFF) * SLOT_FACTOR, len(words.slots) - 1
    slot = (mixed ^ (mixed >> 29)) & mask
    while words.slots[slot] != 0:
        w = int(words.slots[slot]) - 1
        if words.records[w, 0] == key and (key >= PACKED or equals(words, w, units, start, end)):
            break
        slot = (slot + 1) & mask
    return slot


@inlined
def equals(words, w, units, start, end):
    """Whether word w is units[start:end]."""
    first = words.starts[w]
    if words.starts[w + 1] - first != end - start:
        return False
    different = False
    for i in range(end - start):  # to the end: leaving early is mispredicted, which costs more
        different |= words.units[first + i] != units[start + i]
    return not different


@inlined
def count_word(words, units, start, end, count):
    """Count the word units[start:end]; there must be room for it."""
    key = word_key(units, start, end)
    slot = find_word(words, units, start, end, key)
    w = int(words.slots[slot]) - 1
    if w < 0:
        w, at = int(words.used[0]), int(words.used[1])
        for i in range(end - start):
            words.units[at + i] = units[start + i]
        words.starts[w], words.starts[w + 1] = at, at + end - start
        words.records[w, 0], words.records[w, 1] = key, 0
        words.used[0], words.used[1] = w + 1, at + end - start
        words.slots[slot] = w + 1
    words.records[w, 1] += count


@bare
def count_given(words, units, starts, counts):
    """Count words that stand on top of each other."""
    for w in range(len(counts)):
        count_word(words, units, starts[w], starts[w + 1], counts[w])


@bare
def fill_slots(words):
    """Put all words into the empty hash table."""
    for w in range(words.used[0]):
        start, end = words.starts[w], words.starts[w + 1]
        words.slots[find_word(words, words.units, start, end, words.records[w, 0])] = w + 1


@bare
def count_pieces_of_block(words, data, starts, pattern, kinds):
    """Count the pieces of texts, given as UTF-8."""
    for b in range(len(starts) - 1):
        i, stop = int(starts[b]), int(starts[b + 1])
        while i < stop:
            end = int(piece_end(pattern, kinds, data, i, stop))
            count_word(words, data, i, end, 1)
            i = end


@bare
def count_words_of_block(words, codes, starts, fold, buffer, odd):
    """Count BERT's words of texts; runs between blanks that hold a mark to be reordered are left out.

    Returns how many are, and puts their bounds in `odd` (K, 2).
    """
    n_odd = 0
    for b in range(len(starts) - 1):
        i, stop = int(starts[b]), int(starts[b + 1])
        while i < stop:
            end, plain = i, False
            while end < stop and codes[end] != 0x20 and codes[end] != 0x0A and codes[end] != 0x09:
                plain |= fold.kind[codes[end]] == REORDER
                end += 1
            if plain:
                odd[n_odd, 0], odd[n_odd, 1] = i, end
                n_odd += 1
            else:
                count_folded(words, codes, i, end, fold, buffer)
            i = end + 1
    return n_odd


@bare
def count_folded(words, codes, start, end, fold, buffer):
    """Normalize codes[start:end] and count the words in it."""
    n = 0
    for i in range(start, end):
        code = int(codes[i])
        place, kind = int(fold.start[code]), fold.kind[code]
        count = int(fold.outputs[place]) if place > 0 else 1
        alone = kind == SPACE or kind == ALONE
        if alone and n > 0:
            count_word(words, buffer, 0, n, 1)
            n = 0
        if kind == SPACE:
            continue
        for j in range(count):
            out = int(fold.outputs[place + 1 + j]) if place > 0 else code
            if out >= PUNCTUATION_BIT and n > 0:
                count_word(words, buffer, 0, n, 1)
                n = 0
            buffer[n] = out & (PUNCTUATION_BIT - 1)
            n += 1
            if out >= PUNCTUATION_BIT:
                count_word(words, buffer, 0, n, 1)
                n = 0
        if alone and n > 0:
            count_word(words, buffer, 0, n, 1)
            n = 0
    if n > 0:
        count_word(words, buffer, 0, n, 1)


class WordCounter:
    """Words that grow as texts come; `unit` is np.uint8 or np.uint32."""

    def __init__(self, unit: type[np.uint8] | type[np.uint32]):
        empty = np.empty(0, unit), np.zeros(1, np.int64), np.empty((0, 2), np.int64), np.zeros(2, np.int64)
        self.words = WordTable(np.zeros(1, np.int32), *empty)

    def make_room(self, words: int, units: int) -> None:
        """Room for so many more of each."""
        slots, held, starts, records, used = self.words
        words, units = int(used[0]) + words + 1, int(used[1]) + units
        if words > len(starts):
            starts, records = grown(starts, 2 * words), grown(records, 2 * words)
        if units > len(held):
            held = grown(held, 2 * units)
        self.words = WordTable(slots, held, starts, records, used)
        if 2 * words > len(slots):
            self.words = self.words._replace(slots=np.zeros(1 << (2 * words).bit_length(), np.int32))
            fill_slots(self.words)

    def add(self, words: list[str], counts: ArrayLike) -> None:
        """Count words given as a list of str, each so many times."""
        units, starts = code_array(words)
        self.make_room(len(words), len(units))
        count_given(self.words, units, starts, np.asarray(counts, np.int64))

    def result(self) -> Words:
        """The Words; ValueError if there are none."""
        n, size = self.words.used.tolist()
        if n == 0:
            raise ValueError("cannot train on this corpus: it is empty or holds no words")
        return Words(self.words.units[:size], self.words.starts[: n + 1], self.words.records[:n, 1].copy())


def grown(array: np.ndarray, size: int) -> np.ndarray:
    """The array with room for `size` rows; what comes after the old ones is not set."""
    larger = np.empty((size, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def count_pieces(texts: Iterable[str], pretokenizer: PatternPreTokenizer, progress: bool = False) -> Words:
    """Words, as UTF-8, of the distinct pieces of an iterable of texts."""
    counter, kinds, pattern = WordCounter(np.uint8), kind_table(), PATTERN_NUMBERS[pretokenizer.pattern]
    for block in read_blocks(texts, progress):
        data, starts = encoded(block)
        counter.make_room(len(data), len(data))
        count_pieces_of_block(counter.words, data, starts, pattern, kinds)
    return counter.result()


def count_words(
    texts: Iterable[str], normalizer: BertNormalizer, pretokenizer: BertPreTokenizer, progress: bool = False
) -> Words:
    """Words, as code points, of an iterable of texts: BERT's, normalized."""
    counter, fold = WordCounter(np.uint32), fold_table(normalizer)
    for block in read_blocks(texts, progress):
        codes, starts = code_array(block)
        counter.make_room(fold.longest * len(codes), fold.longest * len(codes))
        buffer, odd = np.empty(fold.longest * len(codes), np.uint32), np.empty((len(codes), 2), np.int64)
        n = count_words_of_block(counter.words, codes, starts, fold, buffer, odd)
        together = "".join(block)
        for a, b in odd[:n].tolist():  # marks whose order changes: few texts have any
            normal = normalizer.normalize(together[a:b]).text
            found = [normal[start:end] for start, end in pretokenizer.split(normal)]
            counter.add(found, [1] * len(found))
    return counter.result()


def keep_frequent(words: Words, limit: int) -> Words:
    """The words that hold none but the `limit` most frequent code points, of equals the smaller ones.

    Raises   ValueError: limit < 1, or no word is left
    """
    if limit < 1:
        raise ValueError(f"limit_alphabet: expected 1 or more, got {limit}")
    lengths = np.diff(words.starts)
    characters, number = np.unique(words.units, return_inverse=True)
    order = np.argsort(-np.bincount(number, np.repeat(words.counts, lengths)), kind="stable")
    kept = np.isin(number, order[:limit])
    whole = np.logical_and.reduceat(kept, words.starts[:-1])
    if not whole.any():
        raise ValueError(f"limit_alphabet {limit} of {len(characters)} characters leaves no word of this corpus")
    starts = np.concatenate([[0], np.cumsum(lengths[whole])])
    return Words(words.units[np.repeat(whole, lengths)], starts, words.counts[whole])


def read_blocks(texts: Iterable[str], progress: bool = False) -> Iterator[list[str]]:
    """Lists of texts, of BLOCK characters or so together, from an iterable that is read once.

    Raises   TypeError: it is no iterable of str; says which item is not
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(f"expected an iterable of str, got {type(texts).__name__}")
    block, size = [], 0
    for i, text in enumerate(show_progress(texts, progress, "reading", "text")):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}]: expected str, got {type(text).__name__} {text!r:.40}")
        block.append(text)
        size += len(text)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def read_files(paths: Iterable[str | PathLike[str]]) -> Iterator[str]:
    """The lines of UTF-8 text files with their ends, one file after another, for `train`; read as they are needed.

    Raises   ValueError: a file is not UTF-8 (says which); TypeError: paths is one path
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError(f"expected a list of paths, got {type(paths).__name__}")
    return _lines(paths)


def _lines(paths):
    for path in paths:
        with open(path, encoding="utf-8", newline="\n") as file:
            try:
                yield from file
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}: not UTF-8 text: {error}") from error


def show_progress(items: Iterable, shown: bool, name: str, unit: str) -> Any:
    """The items, with a bar on stderr if asked."""
    if not shown:
        return items
    from tqdm import tqdm

    return tqdm(items, desc=name, unit=f" {unit}s")
