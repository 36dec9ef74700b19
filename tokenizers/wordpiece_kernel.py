"""BERT's whole pipeline as one kernel over UTF-8 bytes: the same ids as the plain form, many times faster.

Three things make it fast. A chunk, the raw text between two blanks or punctuation marks, is found eight bytes at a
time, and where it was seen before, its ids are looked up and it is not even normalized. What normalization does to a
code point is one look into a table (`FoldTable`). The longest match walks a trie, so each byte is read once per piece.

Offsets are left for a second pass that knows the ids (`place_block`): it counts characters and matches nothing.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._jit import bare, inlined
from .engine import LONG_KEY, LONGEST_CACHED, SHORT_KEY, SPILL, Engine, code_array, recall, remember
from .normalize import ALONE, PUNCTUATION_BIT, REORDER, SPACE, BertNormalizer, fold_table
from .parts import Normalizer
from .trie import build_trie, step, token_of
from .utf8 import FLAGS, U64, character, digit_flags, encode, first_flag, letter_flags, load, put_character

if TYPE_CHECKING:
    from .normalize import BertNormalizer
    from .pretokenize import BertPreTokenizer
    from .wordpiece import WordPiece

CODE_MASK = PUNCTUATION_BIT - 1


class Rules(NamedTuple):
    """Scalars of the model.

    inside     the trie's unit where pieces inside a word start, 0 if there are none
    ambiguous  the unknown token may also stand for its own letters, so its id does not tell that a word is unknown
    """

    unk_id: int
    inside: int
    max_chars: int
    ambiguous: bool


class Word(NamedTuple):
    """A normalized word in the making: its bytes, and n: how many bytes, how many characters."""

    data: np.ndarray
    n: np.ndarray


@bare
def match_word(word, trie, rules, out, at):
    """`WordPiece.match` of a word; the word is empty then."""
    data, first, n, position, start = word.data, at, int(word.n[0]), 0, int(trie.units[0])
    known = word.n[1] <= rules.max_chars
    while position < n and known:
        unit, token, end = start, -1, position
        for j in range(position, n):
            unit = step(trie.units, unit, int(data[j]))
            if unit == 0:
                break
            if token_of(unit) >= 0:
                token, end = token_of(unit), j + 1
        known = token >= 0
        if known:
            out[at] = token
            at, position, start = at + 1, end, rules.inside
    word.n[:] = 0
    if not known:  # some rest has no match, or the word is too long
        out[first] = rules.unk_id
        return first + 1
    return at


@inlined
def add_character(word, code, rules):
    """One character more; of a word too long, one too many is enough to know."""
    if word.n[1] <= rules.max_chars:
        word.n[0] = put_character(word.data, int(word.n[0]), code)
        word.n[1] += 1


@inlined
def cut_chunk(data, start, end, fold, trie, rules, word, out, at):
    """Normalize and cut a raw chunk; returns where its ids end."""
    i = start
    while i < end:
        code, size = character(data, i)
        i += size
        place = int(fold.start[code])
        if place == 0:
            add_character(word, code, rules)
            continue
        for j in range(int(fold.outputs[place])):
            folded = int(fold.outputs[place + 1 + j])
            punctuation = folded >= PUNCTUATION_BIT
            if punctuation and word.n[1] > 0:
                at = match_word(word, trie, rules, out, at)
            add_character(word, folded & CODE_MASK, rules)
            if punctuation:
                at = match_word(word, trie, rules, out, at)
    return match_word(word, trie, rules, out, at) if word.n[1] > 0 else at


@inlined
def chunk_end(data, i, stop, fold):
    """(end of the chunk that begins at i, whether it holds a mark whose place depends on others)."""
    reorder = False
    while i < stop:
        word = load(data, i)
        others = ~(letter_flags(word) | digit_flags(word)) & FLAGS
        if others == U64(0):
            i += 8
            continue
        i += first_flag(others)
        if i >= stop:
            break
        code, size = character(data, i)
        kind = fold.kind[code]
        while kind != SPACE and kind != ALONE and i + size < stop and data[i + size] >= 0x80:
            reorder |= kind == REORDER
            i += size
            code, size = character(data, i)
            kind = fold.kind[code]
        if kind == SPACE or kind == ALONE:
            return i, reorder
        reorder |= kind == REORDER
        i += size
    return min(i, stop), reorder


@bare
def segment_block(data, starts, fold, trie, rules, cache, word, out, row_ends, plain):
    """Ids of the texts data[starts[b]:starts[b + 1]]; returns their number.

    Rows that hold a mark whose place depends on others, or an ambiguous id, are left empty and set in `plain`.
    """
    at = 0
    for b in range(len(starts) - 1):
        i, stop, row_start = int(starts[b]), int(starts[b + 1]), at
        while i < stop:
            code, size = character(data, i)
            kind = fold.kind[code]
            if kind == SPACE:
                i += size
                continue
            start, i = i, i + size
            if kind != ALONE:
                i, reorder = chunk_end(data, start, stop, fold)
                plain[b] |= reorder
            n = i - start
            end, record = -1, 0
            if n < 8 * SHORT_KEY:
                end, record = recall(cache.short, SHORT_KEY, data, start, n, out, at)
            elif n <= LONGEST_CACHED:
                end, record = recall(cache.long, LONG_KEY, data, start, n, out, at)
            if end < 0:
                end = cut_chunk(data, start, i, fold, trie, rules, word, out, at)
                if n < 8 * SHORT_KEY:
                    remember(cache.short, SHORT_KEY, record, data, start, n, out, at, end)
                elif n <= LONGEST_CACHED:
                    remember(cache.long, LONG_KEY, record, data, start, n, out, at, end)
            at = end
        if rules.ambiguous:
            for t in range(row_start, at):
                plain[b] |= out[t] == rules.unk_id
        if plain[b]:
            at = row_start
        row_ends[b] = at
    return at


class Places(NamedTuple):
    """Where tokens stand, and a word in the making: the source of each of its characters."""

    offsets: np.ndarray
    word_ids: np.ndarray
    sources: np.ndarray


@bare
def place_word(places, n, rules, lengths, ids, t, word):
    """Places of the tokens, from t on, of a word of n characters; returns the next token and the next word."""
    position = 0
    while position < n:
        end = n
        if ids[t] != rules.unk_id and n <= rules.max_chars:
            end = position + lengths[ids[t], min(position, 1)]
        places.offsets[t, 0], places.offsets[t, 1] = places.sources[position], places.sources[end - 1] + 1
        places.word_ids[t] = word
        position, t = end, t + 1
    return t, word + min(n, 1)


@bare
def place_block(codes, starts, fold, rules, lengths, ids, row_starts, places):
    """Offsets and words of the ids of texts, by their code points; rows without ids are passed over."""
    most = rules.max_chars + 1  # characters of a word: one too many is enough to know, as in `add_character`
    for b in range(len(row_starts) - 1):
        origin, t, n, word = int(starts[b]), int(row_starts[b]), 0, 0
        for i in range(origin, int(starts[b + 1]) if row_starts[b + 1] > t else origin):
            kind, place = fold.kind[codes[i]], int(fold.start[codes[i]])
            if kind == SPACE or kind == ALONE:
                t, word = place_word(places, n, rules, lengths, ids, t, word)
                n = 0
            if kind == SPACE:
                continue
            for j in range(int(fold.outputs[place]) if place > 0 else 1):
                punctuation = place > 0 and fold.outputs[place + 1 + j] >= PUNCTUATION_BIT
                if punctuation:
                    t, word = place_word(places, n, rules, lengths, ids, t, word)
                    n = 0
                n = min(n + 1, most)
                places.sources[n - 1] = i - origin
                if punctuation:
                    t, word = place_word(places, n, rules, lengths, ids, t, word)
                    n = 0
            if kind == ALONE:
                t, word = place_word(places, n, rules, lengths, ids, t, word)
                n = 0
        place_word(places, n, rules, lengths, ids, t, word)


class WordPieceEngine(Engine):
    """Tables of one WordPiece tokenizer."""

    def __init__(self, normalizer: Normalizer, pretokenizer: BertPreTokenizer, model: WordPiece):
        super().__init__()
        self.normalizes = isinstance(normalizer, BertNormalizer)
        if not isinstance(normalizer, BertNormalizer):
            normalizer = BertNormalizer(False, False, False, False)
        self.fold, self.model = fold_table(normalizer), model
        self.trie = build_trie({encode(token): i for token, i in model.vocab.items()})
        inside = int(self.trie.units[0])
        for byte in encode(model.prefix):
            inside = step(self.trie.units, inside, byte)
        names = [model.unk_token, model.unk_token.removeprefix(model.prefix)]
        ambiguous = any(pretokenizer.split(normalizer.normalize(name).text) == [(0, len(name))] for name in names)
        self.rules = Rules(model.unk_id, inside, model.max_input_chars_per_word, ambiguous)

    def _segment_block(self, data, starts, workspace):
        out = workspace.output(self.fold.longest * len(data) + SPILL)
        word = Word(
            np.empty(4 * min(self.rules.max_chars + 1, self.fold.longest * len(data)), np.uint8), np.zeros(2, np.int64)
        )
        row_ends, plain = np.zeros(len(starts) - 1, np.int64), np.zeros(len(starts) - 1, bool)
        tables = self.fold, self.trie, self.rules, workspace.cache
        total = segment_block(data, starts, *tables, word, out, row_ends, plain)
        return out[:total].copy(), row_ends, plain

    @cached_property
    def _lengths(self):
        """(V, 2) int32: characters of each token at the beginning of a word, and inside."""
        tokens = sorted(self.model.vocab, key=self.model.vocab.__getitem__)
        lengths = np.fromiter(map(len, tokens), np.int32, len(tokens))
        return np.stack([lengths, lengths - len(self.model.prefix)], axis=1)

    def _locate_block(self, texts, ids, starts):
        codes, text_starts = code_array(texts)
        sources = np.empty(min(self.rules.max_chars, self.fold.longest * len(codes)) + 1, np.int32)
        places = Places(np.empty((len(ids), 2), np.int32), np.empty(len(ids), np.int32), sources)
        place_block(codes, text_starts, self.fold, self.rules, self._lengths, ids, starts, places)
        return places.offsets, places.word_ids
