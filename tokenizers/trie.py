"""Tokens as paths of bytes, for the kernels: a trie in which each step is one look into one array.

    step: the unit at base ^ byte, if its label is that byte

Every node has a unit, and a base of its own that no other node has, so a label is enough to know the parent.

Source   Aoe 1989, An efficient digital search algorithm by using a double-array structure; Yata's darts-clone (the xor)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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


CHILD, SIBLING, LABEL, TOKEN = range(4)


@kernel
def link_tokens(data, starts, ids, order, links):
    """Put tokens into links (N, 4), a tree of first children and next siblings from node 0 on; returns its nodes.

    In an alphabetical order the child looked for is the first one or new.
    """
    nodes = 1
    for t in order:
        node = 0
        for i in range(starts[t], starts[t + 1] if ids[t] >= 0 else starts[t]):
            following = links[node, CHILD]
            while following != 0 and links[following, LABEL] != data[i]:
                following = links[following, SIBLING]
            if following == 0:
                links[nodes, SIBLING], links[nodes, LABEL] = links[node, CHILD], data[i]
                links[node, CHILD] = following = nodes
                nodes += 1
            node = following
        if node != 0:
            links[node, TOKEN] = ids[t]
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
def fill_units(links, nodes, units, shorter):
    """Build the trie of linked tokens into zeroed units; False where they do not suffice."""
    taken = np.zeros(len(units), np.bool_)
    # free places as a list; `first`: where the search begins for one child, and for more, beyond what is full for them
    following, before, first = np.arange(1, len(units) + 1), np.arange(-1, len(units)), np.full(2, BLOCK)
    queue = np.zeros((nodes, 3), np.int64)  # of each node: its number among the links, its unit, longest token before
    queue[0, 2] = -1
    bytes_, filled = np.empty(256, np.int64), 1
    for q in range(nodes):
        node, unit, longest = queue[q, 0], queue[q, 1], queue[q, 2]
        if links[node, TOKEN] >= 0:
            shorter[links[node, TOKEN]] = longest
            longest = links[node, TOKEN]
            units[unit] |= (longest + 1) << TOKEN_SHIFT
        n, child = 0, links[node, CHILD]
        while child != 0:
            bytes_[n], queue[filled + n, 0], queue[filled + n, 2] = links[child, LABEL], child, longest
            n, child = n + 1, links[child, SIBLING]
        if n == 0:
            continue
        kind = min(n, 2) - 1
        base, tries = find_base(units, taken, following, first[kind], bytes_, n)
        if base < 0:
            return False
        if tries > TRIES:
            first[kind] = base ^ bytes_[0]
        taken[base] = True
        units[unit] |= base << BASE_SHIFT
        for j in range(n):
            place = base ^ bytes_[j]
            units[place] = bytes_[j] + 1
            following[before[place]] = following[place]  # it leaves the list, but still points into it
            before[following[place]] = before[place]
            queue[filled + j, 1] = place
        filled += n
        for other in range(2):
            while first[other] < len(units) and units[first[other]] != 0:
                first[other] = following[first[other]]
    return True


def build_trie(tokens: dict[bytes, int]) -> Trie:
    """Trie of {bytes: id}; the empty token has no place in it."""
    return trie_of(*byte_array(list(tokens)), np.fromiter(tokens.values(), np.int64, len(tokens)))


def trie_of(data: np.ndarray, starts: np.ndarray, ids: np.ndarray) -> Trie:
    """Trie of the tokens data[starts[t]:starts[t + 1]] with their ids, without those of id -1.

    Raises   ValueError: an id is above MAX_ID
    """
    most = int(ids.max(initial=-1))
    if most > MAX_ID:
        raise ValueError(f"ids must be 0 … {MAX_ID}, got {most}")
    links, shorter = np.zeros((len(data) + 1, 4), np.int32), np.full(most + 1, -1, np.int32)
    links[:, TOKEN] = -1
    beginnings = sliding_window_view(data, 8)[starts[:-1]].view(">u8").ravel()
    nodes = int(link_tokens(data, starts, ids, np.argsort(beginnings.astype(np.uint64)), links))
    size = (nodes // BLOCK + 4) * BLOCK
    while True:
        units = np.zeros(size, np.int64)
        if fill_units(links, nodes, units, shorter):
            return Trie(units, shorter)
        size *= 2
