"""Learning which neighbours to join, over and over the pair that stands together most often: for BPE and WordPiece.

Only the words that hold the joined pair are looked at again. Each pair has its exact count and the list of words that
it came into; a heap gives the next pair, and an entry of it whose count no longer holds goes back with the true one.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .pairs import CODE_BITS, CODE_MASK, TRIE_FACTOR


class Words(NamedTuple):
    """Distinct words, as ids on top of each other, and how often each occurs; joining shortens them in place.

    Shapes   symbols (T,) int32, starts (W+1,) int64, lengths (W,) int32, counts (W,) int64
    """

    symbols: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray


class Pairs(NamedTuple):
    """All pairs met so far. Each join adds at most two pairs, places and heap entries: 3 T are enough of each.

    key        (P,) int64: left << 21 | right          count  (P,) int64, in the whole corpus
    place      (P,) int32: the pair's latest place, -1 for none; places are lists of words through `before`
    seen       (P,) int32: the latest join that added to the pair
    word       (P,) int32 of a place                   before (P,) int32: the place before it in the pair's list
    heap       (P,) int32: pairs, best first           worth  (P,) int64: their counts when they came
    grown      (P,) int32: pairs that a join added to
    used       (4,) int64: pairs, places, heap entries, joins
    """

    key: np.ndarray
    count: np.ndarray
    place: np.ndarray
    seen: np.ndarray
    word: np.ndarray
    before: np.ndarray
    heap: np.ndarray
    worth: np.ndarray
    grown: np.ndarray
    used: np.ndarray


@kernel
def find_pair(slots, pairs, key):
    """Slot of a pair in the hash table `slots` of pair numbers (from 1), or of the empty place for it."""
    slot = ((key * TRIE_FACTOR) >> 20) & (len(slots) - 1)
    while slots[slot] != 0 and pairs.key[slots[slot] - 1] != key:
        slot = (slot + 1) & (len(slots) - 1)
    return slot


@kernel
def fill_slots(slots, pairs):
    """Put all pairs into an empty hash table."""
    for p in range(pairs.used[0]):
        slots[find_pair(slots, pairs, int(pairs.key[p]))] = p + 1


@kernel
def add(slots, pairs, left, right, change, word):
    """Change a pair's count; where it grows, the word becomes one of its places. Returns the pair's number."""
    key = int(left) << CODE_BITS | int(right)
    slot = find_pair(slots, pairs, key)
    if slots[slot] == 0:
        p = int(pairs.used[0])
        pairs.key[p], pairs.count[p], pairs.place[p], pairs.seen[p] = key, 0, -1, -1
        slots[slot] = p + 1
        pairs.used[0] += 1
    p = int(slots[slot]) - 1
    pairs.count[p] += change
    if change > 0 and (pairs.place[p] < 0 or pairs.word[pairs.place[p]] != word):
        place = int(pairs.used[1])
        pairs.word[place], pairs.before[place], pairs.place[p] = word, pairs.place[p], place
        pairs.used[1] += 1
    return p


@kernel
def better(pairs, p, worth_p, q, worth_q):
    """Whether pair p comes before q: by count, then by the smaller ids."""
    return worth_p > worth_q or (worth_p == worth_q and pairs.key[p] < pairs.key[q])


@kernel
def push(pairs, p):
    """Put a pair into the heap, with its count of now."""
    i, worth = int(pairs.used[2]), pairs.count[p]
    pairs.used[2] += 1
    while i > 0 and better(pairs, p, worth, pairs.heap[(i - 1) >> 1], pairs.worth[(i - 1) >> 1]):
        pairs.heap[i], pairs.worth[i] = pairs.heap[(i - 1) >> 1], pairs.worth[(i - 1) >> 1]
        i = (i - 1) >> 1
    pairs.heap[i], pairs.worth[i] = p, worth


@kernel
def pop(pairs):
    """Take the best pair off the heap."""
    pairs.used[2] -= 1
    size = int(pairs.used[2])
    p, worth, i = pairs.heap[size], pairs.worth[size], 0
    while 2 * i + 1 < size:
        j = 2 * i + 1
        if j + 1 < size and better(pairs, pairs.heap[j + 1], pairs.worth[j + 1], pairs.heap[j], pairs.worth[j]):
            j += 1
        if not better(pairs, pairs.heap[j], pairs.worth[j], p, worth):
            break
        pairs.heap[i], pairs.worth[i] = pairs.heap[j], pairs.worth[j]
        i = j
    pairs.heap[i], pairs.worth[i] = p, worth


@kernel
def count_pairs(words, slots, pairs):
    """Count all pairs of all words, and put them into the heap."""
    for w in range(len(words.counts)):
        for i in range(words.starts[w], words.starts[w + 1] - 1):
            add(slots, pairs, words.symbols[i], words.symbols[i + 1], words.counts[w], w)
    for p in range(pairs.used[0]):
        push(pairs, p)


@kernel
def best_pair(pairs):
    """Number of the pair with the highest count, -1 if there is none."""
    while pairs.used[2] > 0:
        p = int(pairs.heap[0])
        if pairs.worth[0] == pairs.count[p] and pairs.count[p] > 0:
            return p
        pop(pairs)
        if pairs.count[p] > 0:
            push(pairs, p)
    return -1


@kernel
def add_neighbour(slots, pairs, left, right, change, word, grown):
    """`add` of a pair that a join makes; each is noted once as grown. Returns how many are."""
    p = add(slots, pairs, left, right, change, word)
    if pairs.seen[p] != pairs.used[3]:
        pairs.seen[p] = pairs.used[3]
        pairs.grown[grown] = p
        grown += 1
    return grown


@kernel
def join_in_word(words, slots, pairs, w, left, right, joined, grown):
    """Join a pair in one word, from the left, one after another; counts follow every step."""
    s, n, change = int(words.starts[w]), int(words.lengths[w]), words.counts[w]
    symbols, i, end = words.symbols, 0, 0  # symbols[s : s + end] are done, i is the next to read
    while i < n:
        if i + 1 < n and symbols[s + i] == left and symbols[s + i + 1] == right:
            if end > 0:
                add(slots, pairs, symbols[s + end - 1], left, -change, w)
                grown = add_neighbour(slots, pairs, symbols[s + end - 1], joined, change, w, grown)
            if i + 2 < n:
                add(slots, pairs, right, symbols[s + i + 2], -change, w)
                grown = add_neighbour(slots, pairs, joined, symbols[s + i + 2], change, w, grown)
            symbols[s + end] = joined
            i += 2
        else:
            symbols[s + end] = symbols[s + i]
            i += 1
        end += 1
    words.lengths[w] = end
    return grown


@kernel
def join_pair(words, slots, pairs, p, joined):
    """Join a pair in all its words and put the pairs that grew into the heap; the best pair then."""
    pairs.used[3] += 1
    left, right, grown = int(pairs.key[p]) >> CODE_BITS, int(pairs.key[p]) & CODE_MASK, 0
    place = int(pairs.place[p])
    while place >= 0:
        grown = join_in_word(words, slots, pairs, int(pairs.word[place]), left, right, joined, grown)
        place = int(pairs.before[place])
    pairs.count[p], pairs.place[p] = 0, -1
    for i in range(grown):
        if pairs.count[pairs.grown[i]] > 0:
            push(pairs, int(pairs.grown[i]))
    return best_pair(pairs)


def learn_merges(symbols, starts, counts, tokens, vocab_size, min_frequency, join, progress=False):
    """Join the most frequent pair, ties to the smaller ids, until there are vocab_size tokens; the pairs of ids joined.

    `join` gives the string of two tokens together; it is appended to `tokens`, or is one of them already.

    Shapes   symbols (T,), starts (W+1,), counts (W,): the distinct words as ids of tokens, and how often each occurs
    """
    if vocab_size > CODE_MASK:
        raise ValueError(f"vocab_size: expected at most {CODE_MASK}, got {vocab_size}")
    words = Words(
        symbols.astype(np.int32), starts.astype(np.int64), np.diff(starts).astype(np.int32), counts.astype(np.int64)
    )
    room = 3 * len(symbols) + 1  # pages that nothing comes to are never touched
    wide, narrow = np.empty((3, room), np.int64), np.empty((6, room), np.int32)
    pairs = Pairs(wide[0], wide[1], *narrow[:4], narrow[4], wide[2], narrow[5], np.zeros(4, np.int64))
    slots = np.zeros(1 << (2 * min(len(symbols), len(tokens) ** 2) + 1).bit_length(), np.int32)
    count_pairs(words, slots, pairs)
    p = best_pair(pairs)
    ids, merges = {token: i for i, token in enumerate(tokens)}, []
    bar = show_progress(range(vocab_size - len(tokens)), progress, "joining", "piece")
    remaining = iter(bar)
    while len(tokens) < vocab_size and p >= 0 and pairs.count[p] >= min_frequency:
        left, right = divmod(int(pairs.key[p]), 1 << CODE_BITS)
        joined = join(tokens[left], tokens[right])
        if joined not in ids:  # another pair may have made the same token before
            ids[joined] = len(tokens)
            tokens.append(joined)
            next(remaining, None)
        merges.append((left, right))
        need = 2 * (int(pairs.used[0]) + 2 * len(tokens))  # a join makes at most two pairs with each token
        if need >= len(slots):
            slots = np.zeros(1 << need.bit_length() + 1, np.int32)
            fill_slots(slots, pairs)
        p = join_pair(words, slots, pairs, p, ids[joined])
    if progress:
        bar.close()
    return merges


def show_progress(items, shown, name, unit):
    """The items, with a bar on stderr if asked."""
    if not shown:
        return items
    from tqdm import tqdm

    return tqdm(items, desc=name, unit=f" {unit}s")
