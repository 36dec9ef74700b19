"""Pairs of ids in one number, and hash tables of them, for the kernels."""

from ._jit import inlined

CODE_BITS = 21  # of an id
CODE_MASK = (1 << CODE_BITS) - 1
TRIE_FACTOR = 0xB5297  # odd; no product leaves int64


@inlined
def mix_pair(left, right):
    """A number whose low bits say where a pair is in a table."""
    return ((left << CODE_BITS | right) * TRIE_FACTOR) >> 20


@inlined
def find_pair(slots, left, right):
    """Slot of a pair, or of the empty place for it, in a table of left << 42 | right << 21 | value; 0 where empty."""
    key, slot = left << CODE_BITS | right, mix_pair(left, right) & (len(slots) - 1)
    while slots[slot] != 0 and slots[slot] >> CODE_BITS != key:
        slot = (slot + 1) & (len(slots) - 1)
    return slot
