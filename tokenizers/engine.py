"""What the models' kernels share: a memory of chunks of text seen before, room for output, and blocks of texts.

A chunk is a piece of raw text whose tokens depend on nothing around it. Most of a text is chunks seen before: these
cost one look-up. A chunk is remembered with its code points and compared with them, so no hash is trusted.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from ._jit import kernel

CHUNK_FACTOR, SLOT_FACTOR = 0x2C1B3D, 0x19F2A59B  # odd; no product leaves int64
CHUNK_MASK = (1 << 40) - 1
PACKED = 1 << 60  # marks keys that are the chunk itself
LONGEST_CACHED = 48  # code points; longer chunks hardly come twice
CACHE_SLOTS, CACHE_WORDS = 1 << 18, 1 << 21  # 4 MB and 8 MB at most, touched as they fill
FIRST_SLOTS = 1 << 12  # a table grows with what it holds: a small one stays in the processor's own cache
BLOCK = 1 << 20  # code points a call, which bounds the room set aside for output


class Cache(NamedTuple):
    """Chunks seen before.

    slots   (S, 2) int64, the first used[2] of them in use: key, place << 16 | length << 8 | tokens (0 where empty).
            The key of up to 7 code points below 256 is these bytes themselves, of others a hash
    store   uint32: at each place the chunk's code points, then two words for each of its tokens:
            id and start << 16 | end << 8 | word, counted from the chunk's own start
    used    (3,) int64: chunks held, words of the store in use, slots in use
    """

    slots: np.ndarray
    store: np.ndarray
    used: np.ndarray


class Output(NamedTuple):
    """Room for the tokens of a block."""

    ids: np.ndarray
    offsets: np.ndarray
    word_ids: np.ndarray


@kernel
def emit(out, at, token, start, end, word):
    out.ids[at] = token
    out.offsets[at, 0], out.offsets[at, 1] = start, end
    out.word_ids[at] = word
    return at + 1


@kernel
def first_slot(cache, key):
    """Where the search for a key starts."""
    mixed = (key >> 30) * CHUNK_FACTOR + (key & 0x3FFFFFFF) * SLOT_FACTOR
    return (mixed ^ (mixed >> 29)) & (cache.used[2] - 1)


@kernel
def find_chunk(cache, codes, start, end, key):
    """Slot of a chunk, or of the empty place for it."""
    mask = cache.used[2] - 1
    slot = first_slot(cache, key)
    while True:
        packed = cache.slots[slot, 1]
        if packed == 0:
            return slot
        if cache.slots[slot, 0] == key:
            if key >= PACKED:
                return slot
            place, same = packed >> 16, ((packed >> 8) & 255) == end - start
            for i in range(end - start if same else 0):
                if cache.store[place + i] != codes[start + i]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & mask


@kernel
def grow_cache(cache, need):
    """Twice as many slots, or, where all are in use or the store is full, an empty cache: it follows the text."""
    old = cache.slots[: cache.used[2]].copy()
    cache.slots[: cache.used[2]] = 0
    if cache.used[2] == len(cache.slots) or cache.used[1] + need > len(cache.store):
        cache.used[0], cache.used[1] = 0, 0
        return
    cache.used[2] *= 2
    for i in range(len(old)):
        if old[i, 1] != 0:
            slot = first_slot(cache, old[i, 0])
            while cache.slots[slot, 1] != 0:
                slot = (slot + 1) & (cache.used[2] - 1)
            cache.slots[slot, 0], cache.slots[slot, 1] = old[i, 0], old[i, 1]


@kernel
def recall_chunk(cache, packed, start, out, at, word):
    """Copy a remembered chunk's tokens to the output."""
    place, count = (packed >> 16) + ((packed >> 8) & 255), packed & 255
    last = -1
    for t in range(count):
        where = int(cache.store[place + 2 * t + 1])
        last = where & 255
        token = cache.store[place + 2 * t]
        at = emit(out, at, token, start + (where >> 16), start + ((where >> 8) & 255), word + last)
    return at, word + last + 1


@kernel
def remember_chunk(cache, slot, codes, start, end, origin, key, out, first, at, word):
    """Store the tokens first … at of a chunk."""
    length, count = end - start, at - first
    need = length + 2 * count
    if count > 255 or need > len(cache.store):
        return
    if 2 * cache.used[0] >= cache.used[2] or cache.used[1] + need > len(cache.store):
        grow_cache(cache, need)
        slot = find_chunk(cache, codes, start, end, key)
    place = int(cache.used[1])
    cache.slots[slot, 0], cache.slots[slot, 1] = key, place << 16 | length << 8 | count
    cache.used[0] += 1
    cache.used[1] += need
    for i in range(length):
        cache.store[place + i] = codes[start + i]
    place += length
    for t in range(count):
        a = int(out.offsets[first + t, 0]) + origin - start
        b = int(out.offsets[first + t, 1]) + origin - start
        cache.store[place + 2 * t] = out.ids[first + t]
        cache.store[place + 2 * t + 1] = a << 16 | b << 8 | (out.word_ids[first + t] - word)


def code_array(texts):
    """Code points (N,) uint32 of texts on top of each other, and where each starts (B+1,) int64."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=starts[1:])
    return codes, starts


class Engine:
    """Texts in blocks, and workspaces: each call takes one or makes one, so threads never share any.

    A model's engine adds `_segment_block(texts, workspace)`.
    """

    def __init__(self):
        self.workspaces = deque()

    def segment(self, texts):
        """(ids, offsets, word_ids, starts, plain) of texts; rows set in `plain` are empty and left to the caller."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        block_of = (np.cumsum(lengths) - lengths) // BLOCK
        bounds = [0, *(np.flatnonzero(np.diff(block_of)) + 1), len(texts)]
        workspace = self.workspaces.pop() if self.workspaces else Workspace()
        parts = [self._segment_block(texts[a:b], workspace) for a, b in zip(bounds, bounds[1:], strict=False)]
        self.workspaces.append(workspace)
        columns = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        ids, offsets, word_ids, counts, plain = columns
        return ids, offsets, word_ids, np.concatenate([[0], np.cumsum(counts)]), plain


class Workspace:
    """A cache, and room for output, kept from call to call: fresh memory cost a quarter of the time."""

    def __init__(self):
        self.cache = empty_cache()
        self._output = None

    def output(self, size):
        """Output with room for `size` tokens; pages that no token comes to are never touched."""
        if self._output is not None and len(self._output.ids) >= size:
            return self._output
        output = Output(np.empty(size, np.int32), np.empty((size, 2), np.int32), np.empty(size, np.int32))
        if size <= 8 * BLOCK:  # what an unusually long text needs is not kept
            self._output = output
        return output


def empty_cache():
    """Cache that holds nothing."""
    used = np.array([0, 0, min(FIRST_SLOTS, CACHE_SLOTS)])
    return Cache(np.zeros((CACHE_SLOTS, 2), np.int64), np.empty(CACHE_WORDS, np.uint32), used)
