"""Byte-level BPE as one kernel over UTF-8 bytes: the same ids as the plain form, many times faster.

A piece of text that was seen before is looked up. Any other is cut without merging it, by two facts about the
definition, "of all neighbours that are a merge, join those of the lowest rank, the leftmost first":

1.  It cuts some bytes into the tokens t1 … tn if and only if it cuts every t(i) t(i + 1) into just these two.
    For until a first merge across a token's edge, what happens in two neighbours is what happens in them alone.
2.  So a text has one such cut, and every beginning of the text too. A search finds it: the longest token first, a
    shorter one where the two neighbours would not stay as they are, and one step back where none fits. Where a search
    failed once it need not look again, hence the time is linear; a million equal letters are no trap.

Whether two neighbours stay as they are is known from how each came to be (`stays`).

Source   the same theorem and search: github.com/github/rust-gems, crate bpe (2024)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._jit import bare, inlined
from .bpe import BYTE_OF
from .engine import LONG_KEY, LONGEST_CACHED, SHORT_KEY, SPILL, Engine, code_array, encoded, recall, remember
from .pairs import CODE_BITS, CODE_MASK, find_pair, mix_pair
from .pretokenize import kind_table
from .pretokenize_kernel import PATTERN_NUMBERS, piece_end
from .trie import step, token_of, trie_of
from .utf8 import SPARE

if TYPE_CHECKING:
    from .bpe import BPE
    from .merges import MergeTable
    from .pretokenize import PatternPreTokenizer

NEVER = 1 << 30  # above every rank
LONGEST_TOKEN = 1 << 12  # bytes
MEMO = 1 << 12  # 32 KB


class Merges(NamedTuple):
    """slots   (S,) int64, table of pairs.py: left, right → rank + 1
    joined  (S,) int32: id of what the pair makes
    seen    (S,) uint8: eight bits a slot, set where a pair mixes to: most pairs are no merges, and one bit tells
    """

    slots: np.ndarray
    joined: np.ndarray
    seen: np.ndarray


@inlined
def rank_of(merges, left, right):
    """Rank of the merge of two ids, or -1."""
    bit = mix_pair(left, right)
    if merges.seen[(bit >> 3) & (len(merges.seen) - 1)] >> (bit & 7) & 1 == 0:
        return -1
    return int(merges.slots[find_pair(merges.slots, left, right)] & CODE_MASK) - 1


RANK, LEFT, RIGHT, SIZE = range(4)


class Tokens(NamedTuple):
    """What is known of the tokens, by id.

    made      (V, 4) int32: RANK of the merge that makes a token of its own bytes, -1 of a byte, NEVER if none does;
              LEFT and RIGHT, the ids it joins; SIZE in bytes
    trie      Trie of the tokens that a piece may be cut into, and, with ignore_merges, of all that it may be
    symbols   (N,) int32: the ids that a token's merging begins with, from its start on, starts (V+1,) int64; then -1
    in_order  (V,) bool: the token's own merges happen in the order of their ranks
    """

    made: np.ndarray
    trie: tuple
    symbols: np.ndarray
    starts: np.ndarray
    in_order: np.ndarray


class Scratch(NamedTuple):
    """Room of one thread.

    ids, last  (N,), (3,) int32: for merging the symbols of two tokens
    dead       bool: places of a piece where no cut may be
    memo       (M,) int64, last asked first out: token, longest token after it → the longest that stays, as in pairs.py
    """

    ids: np.ndarray
    last: np.ndarray
    dead: np.ndarray
    memo: np.ndarray


def make_scratch(longest: int, size: int) -> Scratch:
    """Scratch for tokens of at most `longest` bytes and pieces of at most `size`."""
    room = np.empty(2 * longest, np.int32), np.empty(3, np.int32), np.zeros(size + 1, bool)
    return Scratch(*room, np.full(MEMO, -1, np.int64))


@bare
def fill_merges(merges, left, right, rank, joined):
    """Put pairs into empty tables: left[m] and right[m] become joined[m], at rank[m]."""
    for m in range(len(left)):
        slot = find_pair(merges.slots, int(left[m]), int(right[m]))
        merges.slots[slot] = (int(left[m]) << 21 | int(right[m])) << 21 | (int(rank[m]) + 1)
        merges.joined[slot] = joined[m]
        bit = mix_pair(int(left[m]), int(right[m]))
        merges.seen[(bit >> 3) & (len(merges.seen) - 1)] |= 1 << (bit & 7)


@bare
def merge_ids(merges, scratch, n):
    """`BPE.merge` of n ids in scratch.ids, in place; returns how many are left. scratch.last: the last pair joined."""
    ids = scratch.ids
    while n > 1:
        best, where, joined = NEVER, 0, 0
        for i in range(n - 1):
            slot = find_pair(merges.slots, int(ids[i]), int(ids[i + 1]))
            rank = (merges.slots[slot] & CODE_MASK) - 1
            if 0 <= rank < best:
                best, where, joined = rank, i, merges.joined[slot]
        if best == NEVER:
            break
        scratch.last[0], scratch.last[1], scratch.last[2] = ids[where], ids[where + 1], best
        ids[where] = joined
        n -= 1
        for i in range(where + 1, n):
            ids[i] = ids[i + 1]
    return n


@bare
def derive(merges, symbols, starts, scratch, made):
    """Fill in how each token comes of its own symbols."""
    for t in range(len(made)):
        n = put_symbols(symbols, starts, scratch, 0, t)
        made[t, RANK], made[t, SIZE] = NEVER, starts[t + 1] - starts[t]
        if n == 1 and scratch.ids[0] == t:
            made[t, RANK] = -1
        elif n > 1 and merge_ids(merges, scratch, n) == 1 and scratch.ids[0] == t:
            made[t, LEFT], made[t, RIGHT], made[t, RANK] = scratch.last[0], scratch.last[1], scratch.last[2]


@inlined
def stays(merges, tokens, scratch, a, b):
    """Whether the bytes of the tokens a b are cut into just a and b.

    Backwards in time: a and b are taken apart, the later merge first, and at no time may the two symbols that face
    each other have been a merge that came before those that took them.
    """
    if not (tokens.in_order[a] and tokens.in_order[b]):
        return stays_merged(merges, tokens, scratch, a, b)
    rank_a, rank_b = NEVER, NEVER  # when a and b were taken by the merge undone before
    while True:
        rank = rank_of(merges, a, b)
        if rank >= 0 and rank < rank_a and rank <= rank_b:  # of equal ranks the leftmost comes first
            return False
        made_a, made_b = int(tokens.made[a, RANK]), int(tokens.made[b, RANK])
        if max(made_a, made_b) < 0:
            return True
        # chosen without a branch: which of two merges was later cannot be foretold
        later, right, left = made_a > made_b, int(tokens.made[a, RIGHT]), int(tokens.made[b, LEFT])
        rank_a, a = (made_a if later else rank_a), (right if later else a)
        rank_b, b = (rank_b if later else made_b), (b if later else left)


@bare
def stays_merged(merges, tokens, scratch, a, b):
    """The same by merging."""
    n = put_symbols(tokens.symbols, tokens.starts, scratch, 0, a)
    n = put_symbols(tokens.symbols, tokens.starts, scratch, n, b)
    return merge_ids(merges, scratch, n) == 2 and scratch.ids[0] == a and scratch.ids[1] == b


@bare
def put_symbols(symbols, starts, scratch, n, token):
    """Put a token's symbols after the n ids in scratch; returns their number."""
    for i in range(starts[token], starts[token + 1]):
        if symbols[i] < 0:
            break
        scratch.ids[n] = symbols[i]
        n += 1
    return n


@inlined
def longest_token(trie, data, i, stop):
    """The longest token that stands at i, or -1."""
    unit, token = int(trie.units[0]), -1
    while i < stop:
        unit = step(trie.units, unit, int(data[i]))
        if unit == 0:
            break
        if token_of(unit) >= 0:
            token = token_of(unit)
        i += 1
    return token


@inlined
def longest_that_stays(merges, tokens, scratch, before, token):
    """The longest of a token and its beginnings that stays as it is after the token `before`, or -1."""
    key, slot = before << CODE_BITS | token, mix_pair(before, token) & (len(scratch.memo) - 1)
    if scratch.memo[slot] >> CODE_BITS == key:
        return int(scratch.memo[slot] & CODE_MASK)
    while token >= 0 and (tokens.made[token, RANK] == NEVER or not stays(merges, tokens, scratch, before, token)):
        token = int(tokens.trie.shorter[token])
    if token >= 0:
        scratch.memo[slot] = key << CODE_BITS | token
    return token


@inlined
def cut_piece(data, start, stop, merges, tokens, scratch, out, at):
    """`BPE.merge` of data[start:stop]; returns where its ids end."""
    token, first, i = longest_token(tokens.trie, data, start, stop), at, start
    if tokens.made[token, SIZE] == stop - start:
        out[at] = token
        return at + 1
    deepest = start
    while i < stop:
        end = i
        while token >= 0:
            if at > first:
                token = longest_that_stays(merges, tokens, scratch, int(out[at - 1]), token)
            end = i + int(tokens.made[token, SIZE])
            if token < 0 or (tokens.made[token, RANK] < NEVER and not scratch.dead[end - start]):
                break
            token = int(tokens.trie.shorter[token])
        if token >= 0:
            out[at] = token
            at, i = at + 1, end
            token = longest_token(tokens.trie, data, i, stop)
        else:  # the token before is not the right one
            scratch.dead[i - start] = True
            deepest = max(deepest, i)
            at -= 1
            i -= int(tokens.made[out[at], SIZE])
            token = int(tokens.trie.shorter[out[at]])
    if deepest > start:
        scratch.dead[: deepest - start + 1] = False
    return at


@bare
def segment_block(data, starts, pattern, kinds, merges, tokens, cache, scratch, out, row_ends):
    """Ids of the texts data[starts[b]:starts[b + 1]]; returns their number."""
    at = 0
    for b in range(len(starts) - 1):
        i, stop = int(starts[b]), int(starts[b + 1])
        while i < stop:
            start, i = i, int(piece_end(pattern, kinds, data, i, stop))
            n, end, record = i - start, -1, 0
            if n < 8 * SHORT_KEY:
                end, record = recall(cache.short, SHORT_KEY, data, start, n, out, at)
            elif n <= LONGEST_CACHED:
                end, record = recall(cache.long, LONG_KEY, data, start, n, out, at)
            if end < 0:
                end = cut_piece(data, start, i, merges, tokens, scratch, out, at)
                if n < 8 * SHORT_KEY:
                    remember(cache.short, SHORT_KEY, record, data, start, n, out, at, end)
                elif n <= LONGEST_CACHED:
                    remember(cache.long, LONG_KEY, record, data, start, n, out, at, end)
            at = end
        row_ends[b] = at
    return at


@bare
def place_block(data, starts, pattern, kinds, sizes, ids, row_starts, offsets, word_ids):
    """Offsets in characters, and words, of the ids of texts."""
    for b in range(len(starts) - 1):
        i, stop, t, word, seen = int(starts[b]), int(starts[b + 1]), int(row_starts[b]), 0, 0
        if row_starts[b + 1] == t:  # a text that went the plain way
            continue
        while i < stop:
            end = int(piece_end(pattern, kinds, data, i, stop))
            while i < end:
                offsets[t, 0] = seen - (data[i] & 0xC0 == 0x80)  # seen: characters that begin before i
                for _ in range(sizes[ids[t]]):
                    seen += data[i] & 0xC0 != 0x80
                    i += 1
                offsets[t, 1], word_ids[t] = seen, word
                t += 1
            word += 1


def make_merges(left: np.ndarray, right: np.ndarray, rank: np.ndarray, joined: np.ndarray) -> Merges:
    """Merges of as many pairs, as arrays."""
    size = 1 << (2 * len(left)).bit_length()
    merges = Merges(np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.uint8))
    fill_merges(merges, *(np.ascontiguousarray(column, np.int64) for column in (left, right, rank, joined)))
    return merges


def derived(merges: Merges, symbols: np.ndarray, starts: np.ndarray, scratch: Scratch) -> tuple[Merges, np.ndarray]:
    """(the merges that can happen, `Tokens.made`): of all that spell a token, the one that makes it of its symbols."""
    made = np.zeros((len(starts) - 1, 4), np.int32)
    derive(merges, symbols, starts, scratch, made)
    rank, left, right, _ = made.T.copy()
    joined = np.flatnonzero((rank >= 0) & (rank < NEVER))
    return make_merges(left[joined], right[joined], rank[joined], joined), made


def orderly(made: np.ndarray) -> np.ndarray:
    """(V,) bool: each merge that makes a token, and what it joins, comes after those before it."""
    rank, left, right, _ = made.T
    joined = (rank >= 0) & (rank < NEVER)
    alone = ~joined | (rank > np.maximum(rank[left], rank[right]))
    result = alone
    while True:
        both = alone & (~joined | (result[left] & result[right]))
        if np.array_equal(both, result):
            return result
        result = both


def ordered(table: MergeTable) -> MergeTable:
    """A MergeTable whose ranks are 0, 1, …"""
    ranks = np.unique(table.rank, return_inverse=True)[1]
    if ranks.max(initial=0) >= CODE_MASK:
        raise ValueError(f"{len(ranks)} merges: expected at most {CODE_MASK}")
    return table._replace(rank=ranks)


def spelled(model: BPE) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (N + SPARE,) of all tokens that text may be, by id, and where each starts."""
    tokens = [""] * (max(model.vocab.values()) + 1)
    for token, i in model.vocab.items():
        tokens[i] = "" if token in model.special_tokens else token
    (codes, starts), byte_of = code_array(tokens), np.full(max(map(ord, BYTE_OF)) + 2, -1)
    byte_of[list(map(ord, BYTE_OF))] = list(BYTE_OF.values())
    data, lengths = byte_of[np.minimum(codes, len(byte_of) - 1)], np.diff(starts)
    token_of_byte = np.repeat(np.arange(len(tokens)), lengths)
    others = token_of_byte[data < 0]  # tokens that are not spelled in bytes
    data = data[~np.isin(token_of_byte, others)] if len(others) else data
    lengths[others] = 0
    return np.append(data, np.zeros(SPARE)).astype(np.uint8), np.append(0, np.cumsum(lengths))


class BPEEngine(Engine):
    """Tables of one byte-level BPE tokenizer."""

    def __init__(self, pretokenizer: PatternPreTokenizer, model: BPE):
        super().__init__()
        self.pattern, self.kinds = PATTERN_NUMBERS[pretokenizer.pattern], kind_table()
        data, starts = spelled(model)
        self.longest = int(np.diff(starts).max())
        if self.longest > LONGEST_TOKEN:
            raise ValueError(f"a token has {self.longest} bytes: expected at most {LONGEST_TOKEN}")
        symbols, merges = np.array(model.byte_ids, np.int32)[data], make_merges(*ordered(model.table))
        self.merges, made = derived(merges, symbols, starts, make_scratch(self.longest, 0))
        kept = model.ignore_merges | (made[:, RANK] < NEVER)
        trie = trie_of(data, starts, np.where(kept, np.arange(len(made)), -1))
        self.tokens, self.sizes = Tokens(made, trie, symbols, starts, orderly(made)), made[:, SIZE].copy()

    def _segment_block(self, data, starts, workspace):
        out, row_ends = workspace.output(len(data) + SPILL), np.zeros(len(starts) - 1, np.int64)
        longest = int(np.diff(starts).max(initial=0))
        if workspace.scratch is None or len(workspace.scratch.dead) <= longest:
            workspace.scratch = make_scratch(self.longest, longest)
        tables = self.pattern, self.kinds, self.merges, self.tokens, workspace.cache
        total = segment_block(data, starts, *tables, workspace.scratch, out, row_ends)
        return out[:total].copy(), row_ends, np.zeros(len(starts) - 1, bool)

    def _locate_block(self, texts, ids, starts):
        offsets, word_ids = np.empty((len(ids), 2), np.int32), np.empty(len(ids), np.int32)
        place_block(*encoded(texts), self.pattern, self.kinds, self.sizes, ids, starts, offsets, word_ids)
        return offsets, word_ids
