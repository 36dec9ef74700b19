"""What the models' kernels share: a memory of chunks of text seen before, room for output, texts in blocks, threads.

A chunk is a piece of raw text whose ids depend on nothing around it. Most of a text is chunks seen before, and these
cost one look-up: bytes and ids of a chunk stand side by side in one record, so nothing else is read. The bytes are
compared, no hash is trusted. Kernels give ids alone; where the tokens stand is worked out when somebody asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ._jit import bare, inlined
from .utf8 import FIRST_N, U64, byte_array, encode, load

# A record: the words of the chunk's bytes, the top byte of the last one its length; then three ids of 21 bits a word,
# in the last one two and their number. A zero record is free, since no chunk is empty.
SHORT_KEY, SHORT_IDS, SHORT_RECORDS = 2, 2, 1 << 16  # up to 15 bytes and 5 ids; 2 MB, touched as it fills
LONG_KEY, LONG_IDS, LONG_RECORDS = 5, 3, 1 << 14  # up to 39 bytes and 8 ids; 1 MB
LONGEST_CACHED = 8 * LONG_KEY - 1
SPILL = 3 * LONG_IDS  # room after the last id, which `recall` writes to
ID_BITS, COUNT_SHIFT = 21, 42
MAX_ID = (1 << ID_BITS) - 1
ID_MASK = U64(MAX_ID)
HASH_LOW, HASH_HIGH, HASH_STEP = U64(0x9E3779B1), U64(0x85EBCA77), U64(0xC2B2AE3D)  # xxHash's primes; below 2³²
HALF, LOW_HALF = U64(32), U64(0xFFFFFFFF)
BLOCK = 1 << 20  # bytes a call, which bounds the room set aside for output
THREAD_BLOCK = 1 << 17  # with more than one thread: enough blocks for all to finish together


class Cache(NamedTuple):
    """Chunks seen before, (S, W) uint64 each: a chunk may be in either of two neighbouring records, the newer first."""

    short: np.ndarray
    long: np.ndarray


def empty_cache() -> Cache:
    """Cache that holds nothing."""
    return Cache(_records(SHORT_RECORDS, SHORT_KEY + SHORT_IDS), _records(LONG_RECORDS, LONG_KEY + LONG_IDS))


def _records(count, width):
    """Zeroed (count, width) uint64 at the start of a cache line of the processor, so that two records touch few."""
    memory = np.zeros(count * width + 8, np.uint64)
    skip = -(memory.ctypes.data // 8) % 8
    return memory[skip : skip + count * width].reshape(count, width)


@inlined
def key_word(data, start, n, words, w):
    """Word w of the key of a chunk of n bytes."""
    word = load(data, start + 8 * w) & FIRST_N[min(max(n - 8 * w, 0), 8)]
    return word | U64(n) << U64(56) if w == words - 1 else word


@inlined
def first_record(records, words, data, start, n):
    """The first of the two records that a chunk may be in."""
    mixed = U64(0)
    for w in range(words):
        word = key_word(data, start, n, words, w)
        mixed = (mixed >> U64(8)) ^ (word & LOW_HALF) * HASH_LOW ^ (word >> HALF) * HASH_HIGH
    mixed ^= (mixed >> HALF) * HASH_STEP  # no product leaves 64 bits
    return int(mixed >> U64(24)) & (len(records) - 2)


@inlined
def recall(records, words, data, start, n, out, at):
    """Write a remembered chunk's ids; (where they end, its first record), at -1 where it is not remembered.

    Without tests on the way: which of two records it is cannot be foretold, nor how many ids there are.
    """
    first, width = first_record(records, words, data, start, n), records.shape[1]
    newer, older = U64(0), U64(0)  # bits in which each record's key differs
    for w in range(words):
        word = key_word(data, start, n, words, w)
        newer, older = newer | (records[first, w] ^ word), older | (records[first + 1, w] ^ word)
    if newer != U64(0) and older != U64(0):
        return -1, first
    record = first + int(newer != U64(0))
    for w in range(words, width):
        ids, place = records[record, w], at + 3 * (w - words)
        out[place] = ids & ID_MASK
        out[place + 1] = ids >> U64(ID_BITS) & ID_MASK
        out[place + 2] = ids >> U64(COUNT_SHIFT) & ID_MASK
    return at + int(records[record, width - 1] >> U64(COUNT_SHIFT)), first


@bare
def remember(records, words, first, data, start, n, out, begin, at):
    """Keep the ids out[begin:at] of a chunk as the newer of two."""
    width, count = records.shape[1], at - begin
    if count > 3 * (width - words) - 1:
        return
    for w in range(width):
        records[first + 1, w] = records[first, w]
    for w in range(words):
        records[first, w] = key_word(data, start, n, words, w)
    for w in range(words, width):
        ids, most = U64(0), count - 3 * (w - words)
        for j in range(min(3, most)):
            ids |= U64(out[at - most + j]) << U64(ID_BITS * j)
        records[first, w] = ids
    records[first, width - 1] |= U64(count) << U64(COUNT_SHIFT)


class Engine:
    """Texts in blocks, and workspaces: each thread takes one or makes one, so none is shared.

    A model's engine adds `_segment_block(data, starts, workspace)` → ids (T,) int32, where those of each text end (B,),
    and the mask (B,) of texts it leaves to the plain form; and `_locate_block(texts, ids, starts)` → offsets (T, 2)
    int32 in characters and word_ids (T,) int32 of the tokens that the first one found.
    """

    normalizes = False  # whether texts come as they are, and not as the normalizer leaves them

    def __init__(self) -> None:
        self.workspaces: deque[Workspace] = deque()

    def _segment_block(self, data, starts, workspace):
        raise NotImplementedError

    def _locate_block(self, texts, ids, starts):
        raise NotImplementedError

    def segment(self, texts: list[str], threads: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, starts, plain) of texts; rows set in `plain` are empty and left to the caller."""
        ids, ends, plain = zip(*_each_block(self._segment_texts, _blocks(texts, threads), threads), strict=True)
        before = np.cumsum([0, *map(len, ids[:-1])])  # tokens of the blocks before
        starts = np.concatenate([[0], *map(np.add, ends, before)])
        return _together(ids), starts, _together(plain)

    def locate(
        self, texts: list[str], ids: np.ndarray, starts: np.ndarray, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(offsets, word_ids) of the ids that `segment` gave for the texts."""
        bounds, blocks = 0, []
        for block in _blocks(texts, threads):
            part = starts[bounds : bounds + len(block) + 1]
            blocks.append((block, ids[part[0] : part[-1]], part - part[0]))
            bounds += len(block)
        parts = _each_block(lambda block: self._locate_block(*block), blocks, threads)
        return tuple(map(_together, zip(*parts, strict=True)))

    def _segment_texts(self, texts):
        try:
            workspace = self.workspaces.pop()
        except IndexError:
            workspace = Workspace()
        result = self._segment_block(*encoded(texts), workspace)
        self.workspaces.append(workspace)
        return result


def encoded(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 bytes (N + SPARE,) uint8 of texts on top of each other, and where each starts (B+1,) int64."""
    try:
        return byte_array(list(map(str.encode, texts)))
    except UnicodeEncodeError:  # a lone surrogate
        return byte_array(list(map(encode, texts)))


def code_array(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points (N,) uint32 of texts on top of each other, and where each starts (B+1,) int64."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=starts[1:])
    return codes, starts


def _blocks(texts, threads):
    """The texts in lists of some BLOCK characters."""
    size, lengths = (BLOCK if threads == 1 else THREAD_BLOCK), list(map(len, texts))
    if sum(lengths) <= size:
        return [texts]
    block_of = (np.cumsum(lengths) - lengths) // size
    bounds = [0, *(np.flatnonzero(np.diff(block_of)) + 1), len(texts)]
    return [texts[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


def _together(arrays):
    """One array of some; of one itself."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _each_block(function, blocks, threads):
    if threads == 1 or len(blocks) == 1:
        return list(map(function, blocks))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, blocks))


class Workspace:
    """A cache, and room for output, kept from call to call: fresh memory cost a quarter of the time."""

    def __init__(self) -> None:
        self.cache = empty_cache()
        self.scratch: Any = None  # what the model's kernel keeps for itself
        self.parts: Cache | None = None  # a second cache and room, of models that need them
        self.room: Any = None
        self._output: np.ndarray | None = None

    def output(self, size: int) -> np.ndarray:
        """Ids with room for `size` tokens; pages that no token comes to are never touched."""
        if self._output is not None and len(self._output) >= size:
            return self._output
        output = np.empty(size, np.int32)
        if size <= 8 * BLOCK:  # what an unusually long text needs is not kept
            self._output = output
        return output
