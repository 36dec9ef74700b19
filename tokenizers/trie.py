"""Tokens as paths of bytes, for the kernels: a trie in which each step is one look into one array.

    step: the unit at base ^ byte, if its label is that byte

Every node has a unit, and a base of its own that no other node has, so a label is enough to know the parent.

Source   Aoe 1989, An efficient digital search algorithm by using a double-array structure; Yata's darts-clone (the xor)
"""

from typing import NamedTuple

import numpy as np

from ._jit import inlined, kernel
from .utf8 import byte_array

LABEL_BITS, TOKEN_BITS, BASE_BITS = 9, 22, 32
LABEL_MASK, TOKEN_MASK = (1 << LABEL_BITS) - 1, (1 << TOKEN_BITS) - 1
TOKEN_SHIFT, BASE_SHIFT = LABEL_BITS, LABEL_BITS + TOKEN_BITS
MAX_ID = TOKEN_MASK - 1
BLOCK = 256  # base ^ byte never leaves the block of the base; of the first one only the root's unit is used
TRIES = 64  # free places in vain, after which the search begins further on


class Trie(NamedTuple):
    """units    (U,) int64: base << 31 | token + 1 << 9 | label + 1; 0 where free; the root is unit 0
    shorter  (V,) int32: for each id the longest token that is a proper beginning of it, or -1
    """

    units: np.ndarray
    shorter: np.ndarray


@inlined
def step(units, unit, byte):
    """The unit behind `unit` for a byte, 0 if there is none."""
    following = units[(unit >> BASE_SHIFT) ^ byte]
    return following if following & LABEL_MASK == byte + 1 else 0


@inlined
def token_of(unit):
    """Id of the token that ends at a unit, or -1."""
    return (unit >> TOKEN_SHIFT & TOKEN_MASK) - 1


@kernel
def count_nodes(data, starts):
    """Nodes of the trie of sorted tokens: each adds what it does not share with the one before it."""
    nodes = 1
    for t in range(len(starts) - 1):
        length, same = starts[t + 1] - starts[t], 0
        if t > 0:
            most = min(length, starts[t] - starts[t - 1])
            while same < most and data[starts[t] + same] == data[starts[t - 1] + same]:
                same += 1
        nodes += length - same
    return nodes


@kernel
def find_base(units, taken, following, place, bytes_, n):
    """(base whose places for n bytes are all free, tries): the first from the free place on, -1 where there is none."""
    tries = 0
    while place < len(units):
        base = place ^ bytes_[0]
        fits = not taken[base]
        for j in range(1, n):
            fits = fits and units[base ^ bytes_[j]] == 0
        if fits:
            return base, tries
        place, tries = following[place], tries + 1
    return -1, tries


@kernel
def fill_units(data, starts, ids, nodes, units, shorter):
    """Build the trie of sorted tokens into zeroed units; False where they do not suffice."""
    taken = np.zeros(len(units), np.bool_)
    # free places as a list; `first`: where the search begins for one child, and for more, beyond what is full for them
    following, before, first = np.arange(1, len(units) + 1), np.arange(-1, len(units)), np.full(2, BLOCK)
    # of each node: its unit, its tokens first … last, their common bytes, the longest token on the way
    queue = np.zeros((nodes, 5), np.int64)
    queue[0] = 0, 0, len(ids), 0, -1
    bytes_, firsts = np.empty(256, np.int64), np.empty(257, np.int64)
    filled = 1
    for q in range(nodes):
        node, t, last, depth, longest = queue[q, 0], queue[q, 1], queue[q, 2], queue[q, 3], queue[q, 4]
        if t < last and starts[t + 1] - starts[t] == depth:
            shorter[ids[t]] = longest
            longest = ids[t]
            units[node] |= (longest + 1) << TOKEN_SHIFT
            t += 1
        n = 0
        while t < last:
            byte = int(data[starts[t] + depth])
            if n == 0 or bytes_[n - 1] != byte:
                bytes_[n], firsts[n] = byte, t
                n += 1
            t += 1
        if n == 0:
            continue
        kind = min(n, 2) - 1
        base, tries = find_base(units, taken, following, first[kind], bytes_, n)
        if base < 0:
            return False
        if tries > TRIES:
            first[kind] = base ^ bytes_[0]
        taken[base], firsts[n] = True, last
        units[node] |= base << BASE_SHIFT
        for j in range(n):
            place = base ^ bytes_[j]
            units[place] = bytes_[j] + 1
            following[before[place]] = following[place]  # it leaves the list, but still points into it
            before[following[place]] = before[place]
            queue[filled] = place, firsts[j], firsts[j + 1], depth + 1, longest
            filled += 1
        for other in range(2):
            while first[other] < len(units) and units[first[other]] != 0:
                first[other] = following[first[other]]
    return True


def build_trie(tokens):
    """Trie of {bytes: id}; the empty token has no place in it.

    Raises   ValueError: an id is above MAX_ID
    """
    tokens = sorted((token, i) for token, i in tokens.items() if token)
    ids = np.array([i for _, i in tokens], np.int64)
    most = int(ids.max(initial=-1))
    if most > MAX_ID:
        raise ValueError(f"ids must be 0 … {MAX_ID}, got {most}")
    data, starts = byte_array([token for token, _ in tokens])
    nodes, shorter = int(count_nodes(data, starts)), np.full(most + 1, -1, np.int32)
    size = (nodes // BLOCK + 4) * BLOCK
    while True:
        units = np.zeros(size, np.int64)
        if fill_units(data, starts, ids, nodes, units, shorter):
            return Trie(units, shorter)
        size *= 2
