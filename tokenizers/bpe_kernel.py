"""Byte-level BPE as one kernel over code points: the same ids and offsets as the plain form, many times faster.

A piece of text that was seen before, or is a token, is looked up whole. Of the others, short ones are merged in place,
the ranks of all neighbours beside them; in long ones a heap gives the next merge, so time grows as n log n and a
million equal letters are no trap.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .bpe import unspell
from .engine import (
    BLOCK,
    CHUNK_FACTOR,
    CHUNK_MASK,
    LONGEST_CACHED,
    PACKED,
    Engine,
    code_array,
    emit,
    find_chunk,
    recall_chunk,
    remember_chunk,
)
from .learn import show_progress
from .pretokenize import kind_table
from .pretokenize_kernel import PATTERN_NUMBERS, piece_end
from .trie import CODE_MASK, build_trie, child, find_edge

NO_MERGE = 1 << 30  # above every rank
SHORT = 64  # bytes; below, looking at all ranks again is faster than a heap


class Merges(NamedTuple):
    """The merges, and the tokens that a whole piece may be.

    edges     (S,) int64, hash table as a trie's: left id, right id → number of the merge (from 1)
    rank      (M + 1,) int32 of a merge; of merge 0, which is none, NO_MERGE
    joined    (M + 1,) int32: id of what it makes
    byte_ids  (256,) int32
    whole     Trie over bytes of the tokens that a whole piece can become
    """

    edges: np.ndarray
    rank: np.ndarray
    joined: np.ndarray
    byte_ids: np.ndarray
    whole: tuple


class Scratch(NamedTuple):
    """Room for the bytes of the longest piece: their values, the character each stands in; ids and ends of tokens."""

    data: np.ndarray
    source: np.ndarray
    ids: np.ndarray
    ends: np.ndarray
    merge: np.ndarray


@kernel
def fill_edges(edges, left, right):
    """Put the merges into the empty table; of one pair twice, the last counts."""
    for m in range(1, len(left)):
        slot = find_edge(edges, int(left[m]), int(right[m]))
        edges[slot] = (int(left[m]) << 21 | int(right[m])) << 21 | m


@kernel
def merge_of(merges, left, right):
    """Number of the merge of two ids, 0 if there is none."""
    return int(merges.edges[find_edge(merges.edges, int(left), int(right))]) & CODE_MASK


@kernel
def put_byte(scratch, n, byte, character):
    scratch.data[n], scratch.source[n] = byte, character
    return n + 1


@kernel
def utf8(codes, start, end, origin, scratch):
    """Bytes of codes[start:end], and for each the place of its character in the text; returns their number."""
    n = 0
    for i in range(start, end):
        code, place = int(codes[i]), i - origin
        if code < 0x80:
            n = put_byte(scratch, n, code, place)
            continue
        if code < 0x800:
            n = put_byte(scratch, n, 0xC0 | code >> 6, place)
        else:
            if code < 0x10000:
                n = put_byte(scratch, n, 0xE0 | code >> 12, place)
            else:
                n = put_byte(scratch, n, 0xF0 | code >> 18, place)
                n = put_byte(scratch, n, 0x80 | code >> 12 & 63, place)
            n = put_byte(scratch, n, 0x80 | code >> 6 & 63, place)
        n = put_byte(scratch, n, 0x80 | code & 63, place)
    return n


@kernel
def whole_token(merges, scratch, n):
    """Id of the token that all n bytes make up, or -1."""
    node = 0
    for i in range(n):
        node = child(merges.whole, node, int(scratch.data[i]))
        if node == 0:
            return -1
    return int(merges.whole.token[node])


@kernel
def merge_short(merges, scratch, n):
    """`BPE.merge` of n byte ids in place; returns how many tokens are left."""
    ids, ends, merge = scratch.ids, scratch.ends, scratch.merge
    for i in range(n - 1):
        merge[i] = merge_of(merges, ids[i], ids[i + 1])
    while n > 1:
        best, rank = 0, NO_MERGE
        for i in range(n - 1):
            if merges.rank[merge[i]] < rank:
                best, rank = i, int(merges.rank[merge[i]])
        if rank == NO_MERGE:
            break
        ids[best], ends[best] = merges.joined[merge[best]], ends[best + 1]
        n -= 1
        for i in range(best + 1, n):
            ids[i], ends[i], merge[i - 1] = ids[i + 1], ends[i + 1], merge[i]
        if best > 0:
            merge[best - 1] = merge_of(merges, ids[best - 1], ids[best])
        if best + 1 < n:
            merge[best] = merge_of(merges, ids[best], ids[best + 1])
    return n


@kernel
def heap_push(heap, size, key):
    i = size
    while i > 0 and heap[(i - 1) >> 1] > key:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = key
    return size + 1


@kernel
def heap_pop(heap, size):
    """Take the smallest key, heap[0], away; returns the new size."""
    size -= 1
    key, i = heap[size], 0
    while 2 * i + 1 < size:
        j = 2 * i + 1
        if j + 1 < size and heap[j + 1] < heap[j]:
            j += 1
        if heap[j] >= key:
            break
        heap[i] = heap[j]
        i = j
    heap[i] = key
    return size


@kernel
def merge_long(merges, scratch, n):
    """The same by a heap of rank << 32 | place and a linked list; a heap entry that no longer holds is passed over."""
    ids, ends, merge = scratch.ids, scratch.ends, scratch.merge
    before, after = np.arange(-1, n - 1), np.arange(1, n + 1)
    heap, size = np.empty(3 * n, np.int64), 0
    for i in range(n):
        merge[i] = merge_of(merges, ids[i], ids[i + 1]) if i + 1 < n else 0
        if merge[i] > 0:
            size = heap_push(heap, size, int(merges.rank[merge[i]]) << 32 | i)
    while size > 0:
        key = int(heap[0])
        size = heap_pop(heap, size)
        i = key & 0xFFFFFFFF
        if merges.rank[merge[i]] != key >> 32:
            continue
        ids[i], gone = merges.joined[merge[i]], after[i]
        ends[i], after[i], merge[gone] = ends[gone], after[gone], 0
        if after[i] < n:
            before[after[i]] = i
        for j in (before[i], i):
            if j >= 0:
                merge[j] = merge_of(merges, ids[j], ids[after[j]]) if after[j] < n else 0
                if merge[j] > 0:
                    size = heap_push(heap, size, int(merges.rank[merge[j]]) << 32 | j)
    i, count = 0, 0
    while i < n:
        ids[count], ends[count] = ids[i], ends[i]
        i, count = after[i], count + 1
    return count


@kernel
def merge_bytes(merges, scratch, n):
    """`BPE.merge` of the n bytes in scratch.data by merges alone; ids and ends are in scratch."""
    for i in range(n):
        scratch.ids[i], scratch.ends[i] = merges.byte_ids[scratch.data[i]], i + 1
    return merge_short(merges, scratch, n) if n <= SHORT else merge_long(merges, scratch, n)


@kernel
def mark_reached(merges, scratch, data, starts, ids, reached):
    """Which tokens their own bytes are merged to: a piece of just these bytes needs no merging."""
    for t in range(len(ids)):
        n = starts[t + 1] - starts[t]
        scratch.data[:n] = data[starts[t] : starts[t + 1]]
        reached[t] = merge_bytes(merges, scratch, n) == 1 and scratch.ids[0] == ids[t]


@kernel
def cut_piece(codes, start, end, origin, merges, scratch, out, at, word):
    """`BPE.match` of codes[start:end] of the text that begins at `origin`; returns where its tokens end."""
    n = utf8(codes, start, end, origin, scratch)
    token = whole_token(merges, scratch, n)
    if token >= 0:
        return emit(out, at, token, start - origin, end - origin, word)
    n = merge_bytes(merges, scratch, n)
    first = 0
    for i in range(n):
        last = int(scratch.ends[i]) - 1
        at = emit(out, at, scratch.ids[i], scratch.source[first], scratch.source[last] + 1, word)
        first = last + 1
    return at


@kernel
def chunk_key(codes, start, end):
    """A chunk's key in the cache: itself, or a hash."""
    hashed, packed, wide = 0, 1, 0  # the leading 1 tells "a" from "\0a"
    for i in range(start, end):
        code = int(codes[i])
        hashed = ((hashed + code + 1) * CHUNK_FACTOR) & CHUNK_MASK
        packed = (packed << 8 | (code & 255)) & (PACKED - 1)
        wide |= code
    return PACKED | packed if wide < 256 and end - start <= 7 else hashed


@kernel
def segment_block(codes, text_starts, pattern, kinds, merges, cache, scratch, out, row_ends):
    """Tokens of the texts codes[text_starts[b]:text_starts[b + 1]]; returns their number."""
    at = 0
    for b in range(len(text_starts) - 1):
        origin, stop, word = int(text_starts[b]), int(text_starts[b + 1]), 0
        i = origin
        while i < stop:
            start, i = i, int(piece_end(pattern, kinds, codes, i, stop))
            if i - start > LONGEST_CACHED:
                at = cut_piece(codes, start, i, origin, merges, scratch, out, at, word)
                word += 1
                continue
            key = chunk_key(codes, start, i)
            slot = find_chunk(cache, codes, start, i, key)
            packed = int(cache.slots[slot, 1])
            if packed != 0:
                at, word = recall_chunk(cache, packed, start - origin, out, at, word)
            else:
                first = at
                at = cut_piece(codes, start, i, origin, merges, scratch, out, at, word)
                remember_chunk(cache, slot, codes, start, i, origin, key, out, first, at, word)
                word += 1
        row_ends[b] = at
    return at


@kernel
def piece_ends(codes, text_starts, pattern, kinds, ends):
    """Ends of all pieces of all texts; returns their number."""
    n = 0
    for b in range(len(text_starts) - 1):
        i, stop = int(text_starts[b]), int(text_starts[b + 1])
        while i < stop:
            i = int(piece_end(pattern, kinds, codes, i, stop))
            ends[n] = i
            n += 1
    return n


def count_pieces(texts, pretokenizer, progress=False):
    """Counter of the pieces of an iterable of texts, which are read a block at a time."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(f"expected an iterable of str, got {type(texts).__name__}")
    pieces, block, size = Counter(), [], 0
    for i, text in enumerate(show_progress(texts, progress, "reading", "text")):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}]: expected str, got {type(text).__name__}")
        block.append(text)
        size += len(text)
        if size >= BLOCK:
            _count_block(block, pretokenizer, pieces)
            block, size = [], 0
    _count_block(block, pretokenizer, pieces)
    return pieces


def _count_block(texts, pretokenizer, pieces):
    (codes, starts), together = code_array(texts), "".join(texts)
    ends = np.empty(len(codes), np.int64)
    n = piece_ends(codes, starts, PATTERN_NUMBERS[pretokenizer.pattern], kind_table(), ends)
    ends = ends[:n].tolist()
    pieces.update(map(together.__getitem__, map(slice, [0, *ends[:-1]], ends)))


def make_scratch(size):
    return Scratch(np.empty(size, np.uint8), *np.empty((4, size), np.int32))


def byte_array(tokens):
    """Bytes (N,) uint8 of tokens on top of each other, and where each starts."""
    starts = np.zeros(len(tokens) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)), out=starts[1:])
    return np.frombuffer(b"".join(tokens), np.uint8), starts


class BPEEngine(Engine):
    """Tables of one byte-level BPE tokenizer."""

    def __init__(self, pretokenizer, model):
        super().__init__()
        if len(model.pairs) > CODE_MASK:
            raise ValueError(f"{len(model.pairs)} merges: more than {CODE_MASK}")
        self.pattern, self.kinds = PATTERN_NUMBERS[pretokenizer.pattern], kind_table()
        pairs = np.array([(0, 0), *model.pairs], np.int32)
        values = np.array([(NO_MERGE, -1), *model.pairs.values()], np.int32)
        edges = np.zeros(1 << (2 * len(pairs)).bit_length(), np.int64)
        fill_edges(edges, pairs[:, 0].copy(), pairs[:, 1].copy())
        rank, joined = values.T.copy()
        whole, ids = self._whole_tokens(model), np.array(model.byte_ids, np.int32)
        nothing = build_trie(*byte_array([]), np.empty(0, np.int32))
        self.merges = Merges(edges, rank, joined, ids, nothing)
        if not model.ignore_merges:
            whole = self._reached(whole)
        trie = build_trie(*byte_array(list(whole)), np.array([*whole.values()], np.int32))
        self.merges = self.merges._replace(whole=trie)

    def _reached(self, whole):
        """Those of {bytes: id} that merges make of their bytes."""
        (data, starts), ids = byte_array(list(whole)), np.array([*whole.values()], np.int32)
        reached = np.zeros(len(ids), bool)
        mark_reached(self.merges, make_scratch(max(map(len, whole))), data, starts, ids, reached)
        return {token: i for (token, i), kept in zip(whole.items(), reached.tolist(), strict=True) if kept}

    @staticmethod
    def _whole_tokens(model):
        """{bytes: id} of the tokens that text may be."""
        tokens = ((unspell(token), i) for token, i in model.vocab.items() if token not in model.special_tokens)
        return {data: i for data, i in tokens if data is not None}

    def _segment_block(self, texts, workspace):
        codes, starts = code_array(texts)
        size = 4 * len(codes)
        out, longest = workspace.output(size), 4 * int(np.diff(starts).max(initial=0))
        scratch = make_scratch(longest)
        row_ends = np.zeros(len(texts), np.int64)
        tables = self.pattern, self.kinds, self.merges, workspace.cache
        total = segment_block(codes, starts, *tables, scratch, out, row_ends)
        plain = np.zeros(len(texts), bool)
        return *(column[:total].copy() for column in out), np.diff(row_ends, prepend=0), plain
