"""Candidates as single integers: (distance, row) in 64 bits, in an order that integers compare at once.

    bits 63-32  the float32 distance, its bits turned so that they sort as the numbers do: non-negative ones get the
                sign bit, of negative ones all bits are flipped
    bits 31-1   the row
    bit 0       whether a search has expanded the row

A list of keys is kept sorted. For a few hundred that beats a heap, because most newcomers land near the end, and
because "the next candidate" and "the worst result" are then two positions of one array.
"""

import numpy as np

from ._jit import inlined

ONE, HALF = np.uint64(1), np.uint64(32)
EXPANDED = np.uint64(1)
ROW = np.uint64(0x7FFFFFFF)
SIGN, ALL = np.uint32(0x80000000), np.uint32(0xFFFFFFFF)
NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def key(distance, row):
    """The key of a row not expanded yet."""
    bits = np.float32(distance).view(np.uint32)
    bits ^= ALL if bits & SIGN else SIGN
    return np.uint64(bits) << HALF | np.uint64(row) << ONE


@inlined
def distance_of(key):
    """The float32 distance of a key."""
    bits = np.uint32(key >> HALF)
    bits ^= SIGN if bits & SIGN else ALL
    return np.uint32(bits).view(np.float32)


@inlined
def row_of(key):
    """The row of a key."""
    return np.int64((key >> ONE) & ROW)


@inlined
def insert_key(keys, size, key):
    """Insert into the sorted keys [0, size), dropping the last where the array is full; returns the place.

    Full array: the caller has made sure that the key comes before the last one.
    """
    place = min(size, keys.shape[0] - 1)
    while place > 0 and key < keys[place - 1]:
        keys[place] = keys[place - 1]
        place -= 1
    keys[place] = key
    return place
