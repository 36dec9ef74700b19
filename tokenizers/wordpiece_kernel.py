"""BERT's whole pipeline as one kernel over code points: the same ids and offsets as the plain form, many times faster.

Three things make it fast. What normalization does to a code point is looked up in one table (`FoldTable`). The longest
match walks a trie, so each character is read once per piece. And the result for a raw chunk, the text between two
blanks or punctuation marks, is remembered: most of a text is chunks seen before, which then cost one look-up and
are not even normalized. A chunk is remembered with its code points and compared with them, so no hash is trusted.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .normalize import ALONE, PUNCTUATION_BIT, REORDER, SPACE, fold_table

CODE_BITS = 21  # of a code point, and of a node's number
CODE_MASK = (1 << CODE_BITS) - 1
TRIE_FACTOR, CHUNK_FACTOR, SLOT_FACTOR = 0xB5297, 0x2C1B3D, 0x19F2A59B  # odd; no product leaves int64
CHUNK_MASK = (1 << 40) - 1
PACKED = 1 << 60  # marks keys that are the chunk itself
LONGEST_CACHED = 48  # code points; longer chunks hardly come twice
CACHE_SLOTS, CACHE_WORDS = 1 << 18, 1 << 21  # 4 MB and 8 MB at most, touched as they fill
FIRST_SLOTS = 1 << 12  # a table grows with what it holds: a small one stays in the processor's own cache
BLOCK = 1 << 20  # code points a call, which bounds the room set aside for output


class Trie(NamedTuple):
    """Tokens as paths.

    edges   (S,) int64, a hash table with linear probing: node << 42 | code point << 21 | child, 0 where empty
    token   (nodes,) int32: id of the token that ends there, or -1
    """

    edges: np.ndarray
    token: np.ndarray


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


class Rules(NamedTuple):
    """Scalars of the model: `inside` is the trie's node where pieces inside a word start, -1 if there are none."""

    unk_id: int
    inside: int
    max_chars: int


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


@kernel
def emit(out, at, token, start, end, word):
    out.ids[at] = token
    out.offsets[at, 0], out.offsets[at, 1] = start, end
    out.word_ids[at] = word
    return at + 1


@kernel
def match_word(word_codes, sources, n, trie, rules, out, at, word):
    """`WordPiece.match` of the n code points of a word; sources[n - 1] is also right where n > max_chars."""
    first, position, root = at, 0, 0
    while position < n and n <= rules.max_chars:
        node, token, end = root, -1, position
        for j in range(position, n):
            node = child(trie, node, int(word_codes[j]))
            if node == 0:
                break
            if trie.token[node] >= 0:
                token, end = trie.token[node], j + 1
        if token < 0:
            break
        at = emit(out, at, token, sources[position], sources[end - 1] + 1, word)
        position, root = end, rules.inside
        if root < 0:  # the vocabulary has no pieces for inside a word
            break
    if position < n:  # some rest has no match, or the word is too long
        at = emit(out, first, rules.unk_id, sources[0], sources[n - 1] + 1, word)
    return at


@kernel
def cut_chunk(codes, start, end, origin, fold, trie, rules, word_codes, sources, out, at, word):
    """Normalize and cut the raw chunk codes[start:end] of the text that begins at `origin`.

    Returns where its tokens end in the output, and the next word's number.
    """
    n = 0
    for i in range(start, end):
        place = int(fold.start[codes[i]])
        count = int(fold.outputs[place]) if place > 0 else 1
        for j in range(count):
            code = int(fold.outputs[place + 1 + j]) if place > 0 else int(codes[i])
            punctuation = code >= PUNCTUATION_BIT
            if punctuation and n > 0:
                at = match_word(word_codes, sources, n, trie, rules, out, at, word)
                n, word = 0, word + 1
            n = min(n + 1, rules.max_chars + 1)  # one too many is enough to know
            word_codes[n - 1], sources[n - 1] = code & (PUNCTUATION_BIT - 1), i - origin
            if punctuation:
                at = match_word(word_codes, sources, n, trie, rules, out, at, word)
                n, word = 0, word + 1
    if n > 0:
        at = match_word(word_codes, sources, n, trie, rules, out, at, word)
        word += 1
    return at, word


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


@kernel
def segment_block(codes, text_starts, fold, trie, rules, cache, word_codes, sources, out, row_ends, plain):
    """Tokens of the texts codes[text_starts[b]:text_starts[b + 1]]; returns their number.

    Rows that hold a mark whose place depends on others are left empty and set in `plain`.
    """
    at = 0
    for b in range(len(text_starts) - 1):
        origin, stop, row_start, word = int(text_starts[b]), int(text_starts[b + 1]), at, 0
        i = origin
        while i < stop:
            code = int(codes[i])
            kind = int(fold.kind[code])
            if kind == SPACE:
                i += 1
                continue
            start, hashed, packed_key, wide = i, 0, 1, 0  # the leading 1 tells "a" from "\0a"
            while True:  # a chunk: one ALONE, or up to the next SPACE or ALONE
                hashed = ((hashed + code + 1) * CHUNK_FACTOR) & CHUNK_MASK
                packed_key = (packed_key << 8 | (code & 255)) & (PACKED - 1)
                wide |= code
                if kind == REORDER:
                    plain[b] = True
                i += 1
                if kind == ALONE or i == stop:
                    break
                code = int(codes[i])
                kind = int(fold.kind[code])
                if kind == SPACE or kind == ALONE:
                    break
            if i - start > LONGEST_CACHED:
                at, word = cut_chunk(codes, start, i, origin, fold, trie, rules, word_codes, sources, out, at, word)
                continue
            key = PACKED | packed_key if wide < 256 and i - start <= 7 else hashed
            slot = find_chunk(cache, codes, start, i, key)
            packed = int(cache.slots[slot, 1])
            if packed != 0:
                at, word = recall_chunk(cache, packed, start - origin, out, at, word)
            else:
                first, before = at, word
                at, word = cut_chunk(codes, start, i, origin, fold, trie, rules, word_codes, sources, out, at, word)
                remember_chunk(cache, slot, codes, start, i, origin, key, out, first, at, before)
        if plain[b]:
            at = row_start
        row_ends[b] = at
    return at


def build_trie(vocab, prefix):
    """Trie of a vocabulary, and its node where pieces inside a word start."""
    codes, starts = code_array(list(vocab))
    ids = np.fromiter(vocab.values(), np.int32, len(vocab))
    nodes = len(codes) + 1
    for _ in range(2):  # the second time in the size it needs: a small table stays in the processor's cache
        trie = Trie(np.zeros(1 << (2 * nodes).bit_length(), np.int64), np.full(nodes, -1, np.int32))
        nodes = grow_trie(trie, codes, starts, ids)
        if nodes < 0:
            raise ValueError(f"the vocabulary is too large: more than {CODE_MASK} different beginnings of tokens")
    inside = 0
    for code in map(ord, prefix):
        inside = child(trie, inside, code) or -1 if inside >= 0 else -1
    return trie, inside


def code_array(texts):
    """Code points (N,) uint32 of texts on top of each other, and where each starts (B+1,) int64."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=starts[1:])
    return codes, starts


class Engine:
    """Tables of one tokenizer, and workspaces: each call takes one or makes one, so threads never share any."""

    def __init__(self, normalizer, model):
        self.fold = fold_table(normalizer)
        self.trie, inside = build_trie(model.vocab, model.prefix)
        self.rules = Rules(model.unk_id, inside, model.max_input_chars_per_word)
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

    def _segment_block(self, texts, workspace):
        codes, starts = code_array(texts)
        size = self.fold.longest * len(codes)
        out = workspace.output(size)
        word_codes, sources = np.empty((2, min(self.rules.max_chars, size) + 1), np.int32)
        row_ends, plain = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
        tables = self.fold, self.trie, self.rules, workspace.cache
        total = segment_block(codes, starts, *tables, word_codes, sources, out, row_ends, plain)
        return *(column[:total].copy() for column in out), np.diff(row_ends, prepend=0), plain


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
