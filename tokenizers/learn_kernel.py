"""The pairs of neighbours that `learn` follows, as kernels: their counts and places, and which comes next.

Only the pairs that occur at least `least` times are followed: each with its exact count and its places. When there are
none left, `least` falls to a quarter and the whole corpus is looked at again, which costs milliseconds; so the pairs
that are never joined, nearly all, cost no memory. A heap gives the next pair; an entry of it whose count no longer
holds goes back with the true one.
"""

from typing import NamedTuple

import numpy as np

from ._jit import bare, inlined
from .pairs import CODE_BITS, CODE_MASK, TRIE_FACTOR

END = 1 << CODE_BITS  # stands between words
NEAR = 5  # bits: `Corpus.word_at` has one entry for 32 places


class Corpus(NamedTuple):
    """Distinct words as ids of tokens, END before, between and after them; a joined token stands at its first place.

    symbols   (T,) int32; the second and the last place of a token of length n > 1 hold -n
    starts    (W+1,) int64, counts (W,) int64: where each word starts, how often it occurs
    word_at   int32: the word at every 32nd place
    spelling  (T,) uint32: what was there at first, to order equal counts by; empty where ids order them
    """

    symbols: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    word_at: np.ndarray
    spelling: np.ndarray


class Pairs(NamedTuple):
    """The pairs that are followed.

    slots   (S,) int32, hash table: a pair's number from 1          key    (P,) int64: left << 21 | right
    count   (P,) int64, exact                                       first, length  (P,): its places in `places`
    places  (N,) int32: where the pair's left token stood when it became a neighbour of the right one
    heap    (P,) int32: pairs, best first                           worth  (P,) int64: their counts when they came
    used    (3,) int64: pairs, places, heap entries
    """

    slots: np.ndarray
    key: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # in place of tuple.count
    first: np.ndarray
    length: np.ndarray
    places: np.ndarray
    heap: np.ndarray
    worth: np.ndarray
    used: np.ndarray


class Names(NamedTuple):
    """Hashes of the tokens' strings, modulo a prime: equal strings have equal ones.

    head, body  (V,) int64: of the prefix, if the token has one; of what follows
    power       (V,) int64: what moves a hash in front of that body
    length      (V,) int64, in symbols
    slots       (S,) int64, hash table of the hashes of whole strings, plus 1
    """

    head: np.ndarray
    body: np.ndarray
    power: np.ndarray
    length: np.ndarray
    slots: np.ndarray


@inlined
def after(symbols, i):
    """Place of the next token."""
    length = int(symbols[i + 1])
    return i - length if length < 0 else i + 1


@inlined
def before(symbols, i):
    """Place of the token before."""
    length = int(symbols[i - 1])
    return i + length if length < 0 else i - 1


@inlined
def word_of(corpus, i):
    """Number of the word at a place."""
    w = int(corpus.word_at[i >> NEAR])
    while corpus.starts[w + 1] <= i:
        w += 1
    return w


@inlined
def find_pair(pairs, key):
    """Slot of a pair, or of the empty place for it."""
    slot = ((key * TRIE_FACTOR) >> 20) & (len(pairs.slots) - 1)
    while pairs.slots[slot] != 0 and pairs.key[pairs.slots[slot] - 1] != key:
        slot = (slot + 1) & (len(pairs.slots) - 1)
    return slot


@bare
def add_pair(pairs, slot, key, count, length):
    """A new pair's number; its places come to stand at the next free ones."""
    p = int(pairs.used[0])
    pairs.slots[slot] = p + 1
    pairs.key[p], pairs.count[p], pairs.first[p], pairs.length[p] = key, count, pairs.used[1], length
    pairs.used[0] += 1
    pairs.used[1] += length
    return p


# A look at the whole corpus


@bare
def lay_out(units, unit_starts, first, inside, corpus):
    """Fill a corpus with words: the id of a unit is first[unit] at the start of a word, inside[unit] later."""
    corpus.symbols[0], at = END, 1
    for w in range(len(corpus.counts)):
        corpus.starts[w] = at
        table = first
        for i in range(unit_starts[w], unit_starts[w + 1]):
            if len(corpus.spelling) > 0:
                corpus.spelling[at] = units[i]
            corpus.symbols[at] = table[units[i]]
            table, at = inside, at + 1
        corpus.symbols[at] = END
        at += 1
        for i in range(corpus.starts[w] >> NEAR, at >> NEAR):
            corpus.word_at[i + 1] = w
    corpus.starts[len(corpus.counts)] = at


@inlined
def sum_slot(sketch, key):
    """Which of the sums a pair belongs to."""
    return ((key * TRIE_FACTOR) >> 20) & (len(sketch) - 1)


@bare
def sketch_pairs(corpus, sketch):
    """Add up the pairs in so many sums that each is at least the count of any pair in it; returns the largest."""
    w, i, best = 0, 1, 0
    while i < len(corpus.symbols) - 1:
        j = after(corpus.symbols, i)
        if corpus.symbols[j] == END:
            w, i = w + 1, j + 1
            continue
        key = int(corpus.symbols[i]) << CODE_BITS | int(corpus.symbols[j])
        slot = sum_slot(sketch, key)
        sketch[slot] += corpus.counts[w]
        best, i = max(best, sketch[slot]), j
    return best


@bare
def count_pairs(corpus, pairs, names, sketch, least, longest):
    """Exact counts of all pairs whose sums are not below `least`; whether there was room. `length` counts places."""
    w, i = 0, 1
    while i < len(corpus.symbols) - 1:
        j = after(corpus.symbols, i)
        right = int(corpus.symbols[j])
        if right == END:
            w, i = w + 1, j + 1
            continue
        left = int(corpus.symbols[i])
        key = left << CODE_BITS | right
        if sketch[sum_slot(sketch, key)] >= least:
            slot = find_pair(pairs, key)
            if pairs.slots[slot] == 0:
                if pairs.used[0] == len(pairs.key):
                    return False
                if names.length[left] + names.length[right] <= longest:
                    add_pair(pairs, slot, key, 0, 0)
            if pairs.slots[slot] != 0:
                p = int(pairs.slots[slot]) - 1
                pairs.count[p] += corpus.counts[w]
                pairs.length[p] += 1
        i = j
    return True


@bare
def place_pairs(corpus, pairs, names, sketch, least):
    """Note the places of all pairs that occur often enough, and put these into the heap."""
    for p in range(pairs.used[0]):
        if pairs.count[p] >= least:
            pairs.first[p] = pairs.used[1]
            pairs.used[1] += pairs.length[p]
        pairs.length[p] = 0
    i = 1
    while i < len(corpus.symbols) - 1:
        j = after(corpus.symbols, i)
        if corpus.symbols[j] == END:
            i = j + 1
            continue
        key = int(corpus.symbols[i]) << CODE_BITS | int(corpus.symbols[j])
        p = int(pairs.slots[find_pair(pairs, key)]) - 1 if sketch[sum_slot(sketch, key)] >= least else -1
        if p >= 0 and pairs.count[p] >= least:
            pairs.places[pairs.first[p] + pairs.length[p]] = i
            pairs.length[p] += 1
        i = j
    for p in range(pairs.used[0]):
        if pairs.count[p] >= least:
            push(corpus, pairs, names, p)


# The heap


@inlined
def better(corpus, pairs, names, p, worth_p, q, worth_q):
    """Whether pair p comes before q: by count; then by the smaller ids, or the shorter string, then the string."""
    if worth_p != worth_q:
        return worth_p > worth_q
    if len(corpus.spelling) == 0:
        return pairs.key[p] < pairs.key[q]
    n = names.length[pairs.key[p] >> CODE_BITS] + names.length[pairs.key[p] & CODE_MASK]
    m = names.length[pairs.key[q] >> CODE_BITS] + names.length[pairs.key[q] & CODE_MASK]
    if n != m:
        return n < m
    a, b = pairs.places[pairs.first[p]], pairs.places[pairs.first[q]]
    for i in range(n):
        if corpus.spelling[a + i] != corpus.spelling[b + i]:
            return corpus.spelling[a + i] < corpus.spelling[b + i]
    return pairs.key[p] < pairs.key[q]


@bare
def push(corpus, pairs, names, p):
    """Put a pair into the heap, with its count of now."""
    i, worth, heap = int(pairs.used[2]), pairs.count[p], pairs.heap
    pairs.used[2] += 1
    while i > 0 and better(corpus, pairs, names, p, worth, heap[(i - 1) >> 1], pairs.worth[(i - 1) >> 1]):
        heap[i], pairs.worth[i] = heap[(i - 1) >> 1], pairs.worth[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i], pairs.worth[i] = p, worth


@bare
def pop(corpus, pairs, names):
    """Take the best pair off the heap."""
    pairs.used[2] -= 1
    size, heap, worths = int(pairs.used[2]), pairs.heap, pairs.worth
    p, worth, i = heap[size], worths[size], 0
    while 2 * i + 1 < size:
        j = 2 * i + 1
        if j + 1 < size and better(corpus, pairs, names, heap[j + 1], worths[j + 1], heap[j], worths[j]):
            j += 1
        if not better(corpus, pairs, names, heap[j], worths[j], p, worth):
            break
        heap[i], worths[i] = heap[j], worths[j]
        i = j
    heap[i], worths[i] = p, worth


@bare
def best_pair(corpus, pairs, names, least):
    """Number of the best pair that occurs at least `least` times, -1 if none is followed."""
    while pairs.used[2] > 0:
        p = int(pairs.heap[0])
        if pairs.worth[0] == pairs.count[p] and pairs.count[p] >= least:
            return p
        pop(corpus, pairs, names)
        if pairs.count[p] >= least:
            push(corpus, pairs, names, p)
    return -1
