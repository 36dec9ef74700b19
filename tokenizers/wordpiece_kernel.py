"""BERT's whole pipeline as one kernel over code points: the same ids and offsets as the plain form, many times faster.

Three things make it fast. What normalization does to a code point is looked up in one table (`FoldTable`). The longest
match walks a trie, so each character is read once per piece. And the result for a raw chunk, the text between two
blanks or punctuation marks, is remembered, so that a chunk seen before is not even normalized.
"""

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .engine import (
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
from .normalize import ALONE, PUNCTUATION_BIT, REORDER, SPACE, fold_table
from .trie import build_trie, child


class Rules(NamedTuple):
    """Scalars of the model: `inside` is the trie's node where pieces inside a word start, -1 if there are none."""

    unk_id: int
    inside: int
    max_chars: int


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


class WordPieceEngine(Engine):
    """Tables of one WordPiece tokenizer."""

    def __init__(self, normalizer, model):
        super().__init__()
        self.fold = fold_table(normalizer)
        codes, starts = code_array(list(model.vocab))
        self.trie = build_trie(codes, starts, np.fromiter(model.vocab.values(), np.int32, len(model.vocab)))
        inside = 0
        for code in map(ord, model.prefix):
            inside = child(self.trie, inside, code) or -1 if inside >= 0 else -1
        self.rules = Rules(model.unk_id, inside, model.max_input_chars_per_word)

    def _segment_block(self, texts, workspace):
        codes, starts = code_array(texts)
        size = self.fold.longest * len(codes)
        out = workspace.output(size)
        word_codes, sources = np.empty((2, min(self.rules.max_chars, size) + 1), np.int32)
        row_ends, plain = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
        tables = self.fold, self.trie, self.rules, workspace.cache
        total = segment_block(codes, starts, *tables, word_codes, sources, out, row_ends, plain)
        return *(column[:total].copy() for column in out), np.diff(row_ends, prepend=0), plain
