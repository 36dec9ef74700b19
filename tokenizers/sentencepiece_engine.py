"""The tables of SentencePiece's kernel, made of a model, and the way of texts through it.

BPE's tables say which pieces can be made of two others: SentencePiece knows a score of each piece, not its merges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._jit import bare
from .bpe_kernel import NEVER, RANK, Merges, Tokens, derived, longest_token, make_merges, make_scratch, orderly
from .charsmap_kernel import OVERFLOW, Normal, by_words, character_end, follows_kernel, rules_of
from .engine import SPILL, Engine, empty_cache, encoded
from .pieces import NORMAL, SPACE, UNUSED, USER_DEFINED
from .sentencepiece_kernel import PAIR_BITS, Model, Output, Room, locate_block, pair_bit, segment_block
from .trie import build_trie
from .unigram_kernel import Lattice, Scores
from .utf8 import byte_array, character

if TYPE_CHECKING:
    from .charsmap import SentencePieceNormalizer
    from .pieces import Pieces


class SentencePieceEngine(Engine):
    """Tables of one SentencePiece tokenizer. Texts go the plain way where `tables` is None: see `_merge_tables`."""

    def __init__(self, normalizer: SentencePieceNormalizer, model: Pieces):
        super().__init__()
        self.rules = rules_of(normalizer)
        text = {piece: i for piece, i in model.text_ids.items() if model.kinds[i] != UNUSED}
        kinds = (NORMAL, USER_DEFINED) if hasattr(model, "compat") else (NORMAL,)
        strings = [piece for piece, i in text.items() if model.kinds[i] in kinds]
        trie = build_trie({piece.encode(): i for piece, i in text.items()})
        scores = _scores(model, trie)
        merges = _merge_tables(model, strings) if not scores.largest else _no_merges()
        self.longest = 2 * max(map(len, model.pieces))
        self.tables: Model | None = None
        if merges and follows_kernel(normalizer):
            pairs = np.zeros(1 << (PAIR_BITS - 3), np.uint8)
            mark_pairs(*byte_array([piece.encode() for piece in strings]), pairs)
            words = normalizer.escape_whitespaces and not normalizer.whitespace_as_suffix
            words = words and by_words(normalizer, self.rules.kinds) and not any(SPACE in p.lstrip(SPACE) for p in text)
            byte_ids = np.array(model.byte_ids or [], np.int32)
            kept = {piece.encode(): i for piece, i in model.of_kind(USER_DEFINED).items()}
            self.tables = Model(
                scores,
                *merges,
                by_score=scores.largest > 0,
                unk_id=model.unk_id,
                byte_ids=byte_ids,
                kept=build_trie(kept),
                finds_kept=bool(kept) and not scores.largest,
                pairs=pairs,
                by_words=words,
                remembers=True,
            )

    def _segment_block(self, data, starts, workspace):
        rows = len(starts) - 1
        if self.tables is None:
            return np.empty(0, np.int32), np.zeros(rows, np.int64), np.ones(rows, bool)
        if workspace.parts is None:
            workspace.parts = empty_cache()
        row_ends, total = np.empty(rows, np.int64), OVERFLOW
        growth = 4
        while total == OVERFLOW:
            plain = np.zeros(rows, bool)
            room = workspace.room = room_for(growth * int(np.diff(starts).max(initial=0)), self.longest, workspace.room)
            size = growth * len(data) + SPILL
            out = Output(workspace.output(size), *np.empty((2, size), np.int32))
            caches = workspace.cache, workspace.parts
            total = segment_block(data, starts, self.rules, self.tables, *caches, room, out, row_ends, plain)
            growth *= 4
        return out.ids[:total].copy(), np.diff(row_ends, prepend=0), plain

    def _locate_block(self, texts, ids, starts):
        offsets, word_ids = np.zeros((len(ids), 2), np.int32), np.zeros(len(ids), np.int32)
        if self.tables is None or not len(ids):
            return offsets, word_ids
        data, text_starts = encoded(texts)
        tables, done, growth = self.tables._replace(remembers=False), False, 4
        while not done:
            size = growth * int(np.diff(text_starts).max()) + SPILL
            out, room = Output(*np.empty((3, size), np.int32)), room_for(size, self.longest, None)
            tables_in = self.rules, tables, empty_cache(), room, out
            done = locate_block(data, text_starts, *tables_in, starts, offsets, word_ids)
            growth *= 4
        return offsets, word_ids


def room_for(size: int, longest: int, room: Room | None) -> Room:
    """Room for a normalized text of `size` bytes and two pieces of `longest`, or the room that is there."""
    if room is not None and len(room.normal.data) >= size:
        return room
    size += 64
    normal = Normal(np.empty(size, np.uint8), *np.empty((2, size), np.int32))
    lattice = Lattice(*np.empty((2, size), np.float64), *np.empty((3, size), np.int32))
    scratch = make_scratch(longest, size)
    return Room(normal, lattice, scratch, np.zeros(1), np.zeros(1, np.int64))


def _scores(model, trie):
    """Scores of a Unigram model; of another, `largest` is 0."""
    if not hasattr(model, "compat"):
        return Scores(trie, np.empty(0), 0.0, 0.0, False)
    scores = np.array(model.piece_scores, np.float64)
    unknown = float(model.unknown_score)
    largest = max(np.abs(scores).max(), abs(unknown), 1.0)
    return Scores(trie, scores, unknown, float(largest), model.compat == "sentencepiece")


def _no_merges() -> tuple[Merges, Tokens]:
    made, nothing = np.zeros((1, 4), np.int32), np.empty(0, np.int32)
    tokens = Tokens(made, build_trie({}), nothing, np.zeros(2, np.int64), np.ones(1, bool))
    return make_merges(nothing, nothing, nothing, nothing), tokens


# Unigram and BPE: which characters stand together


@bare
def mark_pairs(data, starts, pairs):
    """Set the bits of all character pairs of some strings."""
    for t in range(len(starts) - 1):
        i, before = starts[t], 0
        while i < starts[t + 1]:
            code, size = character(data, i)
            if i > starts[t]:
                bit = pair_bit(before, code)
                pairs[bit >> 3] |= 1 << (bit & 7)
            i, before = i + size, code


# BPE: which pieces can be made, and of what


@bare
def exact_token(trie, token_starts, data, start, stop):
    """Id of the token that is data[start:stop], or -1."""
    token = longest_token(trie, data, start, stop)
    return token if token >= 0 and token_starts[token + 1] - token_starts[token] == stop - start else -1


@bare
def all_splits(data, starts, trie, left, right, joined):
    """Every way to make a piece of two pieces; returns their number, and counts only where the arrays are empty."""
    n = 0
    for t in range(len(starts) - 1):
        i = starts[t]
        while i < starts[t + 1]:
            i = character_end(data, i)
            a = exact_token(trie, starts, data, starts[t], i)
            b = exact_token(trie, starts, data, i, starts[t + 1]) if i < starts[t + 1] else -1
            if a >= 0 and b >= 0:
                if n < len(left):
                    left[n], right[n], joined[n] = a, b, t
                n += 1
    return n


@bare
def spell_symbols(data, starts, trie, symbols):
    """The ids of each piece's characters, from its start on."""
    for t in range(len(starts) - 1):
        i, n = starts[t], starts[t]
        while i < starts[t + 1]:
            end = character_end(data, i)
            symbols[n] = exact_token(trie, starts, data, i, end)
            i, n = end, n + 1


def _merge_tables(model: Pieces, strings: list[str]) -> tuple[Merges, Tokens] | None:
    """(Merges, Tokens) of a SentencePieceBPE; None where the search of bpe_kernel.py does not fit: for one with
    unused pieces, or with pieces of characters that are none."""
    if model.of_kind(UNUSED) or not set("".join(strings)) <= set(strings):
        return None
    spelled = [piece.encode() if model.kinds[i] == NORMAL else b"" for i, piece in enumerate(model.pieces)]
    data, starts = byte_array(spelled)
    trie = build_trie({piece: i for i, piece in enumerate(spelled) if piece})
    nothing = np.empty(0, np.int32)
    left, right, joined = np.empty((3, all_splits(data, starts, trie, nothing, nothing, nothing)), np.int32)
    all_splits(data, starts, trie, left, right, joined)
    ranks = np.unique(-np.array(model.scores), return_inverse=True)[1]
    every, symbols = make_merges(left, right, ranks[joined], joined), np.full(len(data), -1, np.int32)
    spell_symbols(data, starts, trie, symbols)
    merges, made = derived(every, symbols, starts, make_scratch(max(map(len, spelled)), 0))
    kept = build_trie({piece: i for i, piece in enumerate(spelled) if piece and made[i, RANK] < NEVER})
    return merges, Tokens(made, kept, symbols, starts, orderly(made))
