"""Tokens as paths through one hash table, for the kernels."""

from typing import NamedTuple

import numpy as np

from ._jit import kernel

CODE_BITS = 21  # of a code point, and of a node's number
CODE_MASK = (1 << CODE_BITS) - 1
TRIE_FACTOR = 0xB5297  # odd; no product leaves int64


class Trie(NamedTuple):
    """Tokens as paths.

    edges   (S,) int64, a hash table with linear probing: node << 42 | code point << 21 | child, 0 where empty
    token   (nodes,) int32: id of the token that ends there, or -1
    """

    edges: np.ndarray
    token: np.ndarray


@kernel
def find_edge(edges, node, code):
    """Slot of an edge, or of the empty place for it."""
    key = node << CODE_BITS | code
    slot = ((key * TRIE_FACTOR) >> 20) & (len(edges) - 1)
    while edges[slot] != 0 and edges[slot] >> CODE_BITS != key:
        slot = (slot + 1) & (len(edges) - 1)
    return slot


@kernel
def child(trie, node, code):
    """The node behind an edge, or 0: nothing leads to the root."""
    return int(trie.edges[find_edge(trie.edges, node, code)]) & CODE_MASK


@kernel
def grow_trie(trie, codes, starts, ids):
    """Put tokens into an empty trie; returns how many nodes it has, -1 where their numbers do not suffice."""
    nodes = 1
    for t in range(len(ids)):
        node = 0
        for i in range(starts[t], starts[t + 1]):
            slot = find_edge(trie.edges, node, int(codes[i]))
            if trie.edges[slot] == 0:
                if nodes > CODE_MASK:
                    return -1
                trie.edges[slot] = (node << CODE_BITS | int(codes[i])) << CODE_BITS | nodes
                nodes += 1
            node = int(trie.edges[slot]) & CODE_MASK
        trie.token[node] = ids[t]
    return nodes


def build_trie(codes, starts, ids):
    """Trie of the tokens codes[starts[t]:starts[t + 1]] with their ids."""
    nodes = len(codes) + 1
    for _ in range(2):  # the second time in the size it needs: a small table stays in the processor's cache
        trie = Trie(np.zeros(1 << (2 * nodes).bit_length(), np.int64), np.full(nodes, -1, np.int32))
        nodes = grow_trie(trie, codes, starts, ids)
        if nodes < 0:
            raise ValueError(f"the vocabulary is too large: more than {CODE_MASK} different beginnings of tokens")
    return trie
