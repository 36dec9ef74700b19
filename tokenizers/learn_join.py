"""Joining the pairs that `learn_kernel` follows: the same merges as `learn.learn_plainly`, without counting anew.

A join looks only at the pair's places: what stands beside them loses a count and gains one with the joined token.
"""

from typing import NamedTuple

import numpy as np

from ._jit import bare, inlined
from .learn_kernel import END, add_pair, after, before, best_pair, find_pair, push, word_of
from .pairs import CODE_BITS, CODE_MASK, TRIE_FACTOR

NAME_PRIME = (1 << 31) - 1
ENOUGH, LOWER, ROOM, KNOWN = range(4)  # why `join_pairs` came back


class Neighbours(NamedTuple):
    """What stands left (0) and right (1) of the pair being joined, by id.

    gain  (2, V) int64: how often            places  (2, V) int64: at how many places, then the next free one, or -1
    ids   (2, V) int32, used (2,) int64: which ids these are
    """

    gain: np.ndarray
    places: np.ndarray
    ids: np.ndarray
    used: np.ndarray


@inlined
def note(near, side, token, gain):
    """One more place where a token stands beside the pair."""
    if near.places[side, token] == 0:
        near.ids[side, near.used[side]] = token
        near.used[side] += 1
    near.places[side, token] += 1
    near.gain[side, token] += gain


@inlined
def lose(pairs, left, right, count):
    """Lower a pair's count, if it is followed."""
    slot = find_pair(pairs, left << CODE_BITS | right)
    if pairs.slots[slot] != 0:
        pairs.count[pairs.slots[slot] - 1] -= count


@bare
def join_places(corpus, pairs, near, p, joined):
    """Join a pair at all its places, and note its neighbours; (count, places) of where it follows itself."""
    symbols, left, right = corpus.symbols, int(pairs.key[p]) >> CODE_BITS, int(pairs.key[p]) & CODE_MASK
    twins, twin_places = 0, 0
    for t in range(pairs.first[p], pairs.first[p] + pairs.length[p]):
        i = int(pairs.places[t])
        if symbols[i] != left:
            continue
        j = after(symbols, i)
        if symbols[j] != right:
            continue
        k, count = after(symbols, j), corpus.counts[word_of(corpus, i)]
        x, y = int(symbols[before(symbols, i)]), int(symbols[k])
        if x == joined:
            twins, twin_places = twins + count, twin_places + 1
        elif x != END:
            note(near, 0, x, count)
        if y != END and not (y == left and symbols[after(symbols, k)] == right):  # else: it comes next, as a twin
            note(near, 1, y, count)
        symbols[i], symbols[i + 1], symbols[j], symbols[k - 1] = joined, i - k, i - k, i - k
    return twins, twin_places


@bare
def forget(near):
    """No neighbours."""
    for side in range(2):
        for n in range(near.used[side]):
            near.gain[side, near.ids[side, n]], near.places[side, near.ids[side, n]] = 0, 0
        near.used[side] = 0


@bare
def follow_new(corpus, pairs, names, left, right, count, length, least, longest):
    """Follow a pair that a join made, if it occurs often enough; where its places go, or -1."""
    if count < least or names.length[left] + names.length[right] > longest:
        return -1
    key = left << CODE_BITS | right
    return int(pairs.first[add_pair(pairs, find_pair(pairs, key), key, count, length)])


@bare
def join_pair(corpus, pairs, names, near, p, joined, least, longest):
    """Join a pair everywhere to a token that is new; counts, places and heap follow."""
    symbols, left, right = corpus.symbols, int(pairs.key[p]) >> CODE_BITS, int(pairs.key[p]) & CODE_MASK
    twins, twin_places = join_places(corpus, pairs, near, p, joined)
    made = int(pairs.used[0])
    for n in range(near.used[0]):
        x = int(near.ids[0, n])
        lose(pairs, x, left, near.gain[0, x])
        length = near.places[0, x]
        near.places[0, x] = follow_new(corpus, pairs, names, x, joined, near.gain[0, x], length, least, longest)
    for n in range(near.used[1]):
        y = int(near.ids[1, n])
        lose(pairs, right, y, near.gain[1, y])
        length = near.places[1, y]
        near.places[1, y] = follow_new(corpus, pairs, names, joined, y, near.gain[1, y], length, least, longest)
    lose(pairs, right, left, twins)
    twin = follow_new(corpus, pairs, names, joined, joined, twins, twin_places, least, longest)
    for t in range(pairs.first[p], pairs.first[p] + pairs.length[p]):
        i = int(pairs.places[t])
        if symbols[i] != joined:
            continue
        h, k = before(symbols, i), after(symbols, i)
        x, y = int(symbols[h]), int(symbols[k])
        if x == joined:
            if twin >= 0:
                pairs.places[twin], twin = h, twin + 1
        elif x != END and near.places[0, x] >= 0:
            pairs.places[near.places[0, x]] = h
            near.places[0, x] += 1
        if y != END and y != joined and near.places[1, y] >= 0:
            pairs.places[near.places[1, y]] = i
            near.places[1, y] += 1
    pairs.count[p] = 0
    forget(near)
    for q in range(made, pairs.used[0]):
        push(corpus, pairs, names, q)


@bare
def join_to_known(corpus, pairs, near, p, joined):
    """Join a pair everywhere to a token that was there before; the counts no longer hold then."""
    join_places(corpus, pairs, near, p, joined)
    forget(near)


@bare
def find_name(names, token):
    """Slot of a token's string in the table of names, or the empty place for it."""
    name = (names.head[token] * names.power[token] + names.body[token]) % NAME_PRIME + 1
    slot = ((name * TRIE_FACTOR) >> 20) & (len(names.slots) - 1)
    while names.slots[slot] != 0 and names.slots[slot] != name:
        slot = (slot + 1) & (len(names.slots) - 1)
    return slot, name


@bare
def name_joined(names, left, right, joined):
    """Name what two tokens make, as token number `joined`."""
    names.head[joined] = names.head[left]
    names.body[joined] = (names.body[left] * names.power[right] + names.body[right]) % NAME_PRIME
    names.power[joined] = names.power[left] * names.power[right] % NAME_PRIME
    names.length[joined] = names.length[left] + names.length[right]


@bare
def join_pairs(corpus, pairs, names, near, tokens, limit, least, longest, sure, merges):
    """Join the best pair again and again, numbering from `tokens`; (merges done, why it is not `limit` of them).

    KNOWN    what the best pair makes may be a token already: nothing is done unless `sure` says that it is new
    """
    for n in range(limit):
        p = best_pair(corpus, pairs, names, least)
        if p < 0:
            return n, LOWER
        if not has_room(pairs, p):
            return n, ROOM
        left, right = int(pairs.key[p]) >> CODE_BITS, int(pairs.key[p]) & CODE_MASK
        name_joined(names, left, right, tokens + n)
        slot, name = find_name(names, tokens + n)
        if names.slots[slot] != 0 and not (sure and n == 0):
            return n, KNOWN
        names.slots[slot] = name
        merges[n] = pairs.key[p]
        join_pair(corpus, pairs, names, near, p, tokens + n, least, longest)
    return limit, ENOUGH


@bare
def has_room(pairs, p):
    """Whether what a join of pair p makes fits."""
    new = 2 * int(pairs.length[p]) + 1
    return pairs.used[0] + new <= len(pairs.key) and pairs.used[1] + new <= len(pairs.places)
