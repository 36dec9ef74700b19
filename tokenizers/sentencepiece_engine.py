"""The tables of SentencePiece's kernel, made of a model, and the way of texts through it.

BPE's tables say which pieces can be made of two others: SentencePiece knows a score of each piece, not its merges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._jit import bare
from .bpe_kernel import NEVER, RANK, Merges, Tokens, derived, longest_token, make_merges, make_scratch, orderly
from .charsmap_kernel import OVERFLOW, Normal, by_words, character_end, follows_kernel, rules_of
from .engine import SPILL, Cache, Engine, empty_cache, encoded
from .pieces import NORMAL, SPACE, UNUSED, USER_DEFINED
from .sentencepiece_kernel import PAIR_BITS, Model, Output, Room, locate_block, pair_bit, segment_block
from .trie import Trie, build_trie
from .unigram_kernel import Lattice, Scores
from .utf8 import byte_array, character

if TYPE_CHECKING:
    from .character_bpe import CharacterBPE
    from .charsmap import SentencePieceNormalizer
    from .sentencepiece import SentencePieceBPE
    from .unigram import Unigram

    pass


class Parts(NamedTuple):
    """What the kernel needs to know of a model.

    text             {piece: id} of all that may stand in text; strings  those of them that are made or found, not kept
    scores           Unigram's tables; of another model `largest` is 0
    merges, tokens   BPE's
    kept             {piece: id} of the user-defined pieces, each of which is a token by itself (BPE)
    """

    text: dict
    strings: list
    scores: Scores
    merges: Merges
    tokens: Tokens
    kept: dict


class SentencePieceEngine(Engine):
    """Tables of one tokenizer of SentencePiece's kind.

    Texts go the plain way where `tables` is None: the model has no parts, or the normalizer is not for the kernel.
    """

    normalizes = True
    sums_anew = False  # whether Unigram's sums begin anew at every word

    def __init__(
        self, normalizer: SentencePieceNormalizer, model: Unigram | SentencePieceBPE | CharacterBPE, parts: Parts | None
    ):
        """parts: of the model, or None."""
        super().__init__()
        self.rules, self.tables, self.longest = rules_of(normalizer), None, 2 * max(map(len, model.vocab))
        if parts and follows_kernel(normalizer):
            pairs = np.zeros(1 << (PAIR_BITS - 3), np.uint8)
            mark_pairs(*byte_array([piece.encode() for piece in parts.strings]), pairs)
            words = normalizer.escape_whitespaces and not normalizer.whitespace_as_suffix
            words = words and by_words(normalizer, self.rules.kinds)
            words = words and not any(SPACE in piece.lstrip(SPACE) for piece in parts.text)
            byte_ids, by_score = np.array(model.byte_ids or [], np.int32), parts.scores.largest > 0
            words = words and (self.sums_anew or parts.scores.narrow or not by_score)
            kept = build_trie({piece.encode(): i for piece, i in parts.kept.items()}), bool(parts.kept)
            tables = parts.scores, parts.merges, parts.tokens, by_score, model.unk_id, byte_ids
            self.tables = Model(*tables, *kept, pairs, words, True)

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
        return out.ids[:total].copy(), row_ends, plain

    def _locate_block(self, texts, ids, starts):
        offsets, word_ids = np.zeros((len(ids), 2), np.int32), np.zeros(len(ids), np.int32)
        if self.tables is None or not len(ids):
            return offsets, word_ids
        data, text_starts = encoded(texts)
        tables, done, growth = self.tables._replace(remembers=False), False, 4
        while not done:
            size = growth * int(np.diff(text_starts).max()) + SPILL
            out, room = Output(*np.empty((3, size), np.int32)), room_for(size, self.longest, None)
            tables_in = self.rules, tables, Cache(*np.zeros((2, 2, 1), np.uint64)), room, out
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


# What the models bring


def unigram_parts(model: Unigram) -> Parts:
    """Parts of a Unigram."""
    text = {piece: i for piece, i in model.text_ids.items() if model.kinds[i] != UNUSED}
    scores, unknown = np.array(model.piece_scores, np.float64), float(model.unknown_score)
    largest = float(max(np.abs(scores).max(), abs(unknown), 1.0))
    trie = build_trie({piece.encode(): i for piece, i in text.items()})
    nothing, made = np.empty(0, np.int32), np.zeros((1, 4), np.int32)
    merges = make_merges(nothing, nothing, nothing, nothing)
    tokens = Tokens(made, build_trie({}), nothing, np.zeros(2, np.int64), np.ones(1, bool))
    return Parts(
        text, list(text), Scores(trie, scores, unknown, largest, model.compat == "sentencepiece"), merges, tokens, {}
    )


def bpe_parts(model: SentencePieceBPE) -> Parts | None:
    """Parts of a SentencePieceBPE; None where the search of bpe_kernel.py does not fit: for one with unused pieces, or
    with pieces of characters that are none."""
    text, kept = model.text_ids, model.of_kind(USER_DEFINED)
    strings = [piece for piece in text if piece not in kept]
    if model.of_kind(UNUSED) or not set("".join(strings)) <= set(strings):
        return None
    spelled = [piece.encode() if model.kinds[i] == NORMAL else b"" for i, piece in enumerate(model.pieces)]
    data, starts = byte_array(spelled)
    trie, splits = (
        build_trie({piece: i for i, piece in enumerate(spelled) if piece}),
        np.empty((3, len(data)), np.int32),
    )
    left, right, joined = splits[:, : all_splits(data, starts, trie, splits)]
    ranks = np.unique(-np.array(model.scores), return_inverse=True)[1]
    return merge_parts(text, strings, spelled, make_merges(left, right, ranks[joined], joined), trie, kept)


def merge_parts(
    text: dict[str, int], strings: list[str], spelled: list[bytes], every: Merges, trie: Trie, kept: dict[str, int]
) -> Parts:
    """Parts of a model of the Merges `every`. spelled: the bytes of each piece by id, b"" where none is in text."""
    data, starts = byte_array(spelled)
    symbols = np.full(len(data), -1, np.int32)
    spell_symbols(data, starts, trie, symbols)
    merges, made = derived(every, symbols, starts, make_scratch(max(map(len, spelled)), 0))
    if never := {i for i in np.flatnonzero(made[:, RANK] == NEVER).tolist() if spelled[i]}:
        trie = build_trie({piece: i for i, piece in enumerate(spelled) if piece and i not in never})
    no_scores = Scores(build_trie({}), np.empty(0), 0.0, 0.0, False)
    return Parts(text, strings, no_scores, merges, Tokens(made, trie, symbols, starts, orderly(made)), kept)


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
def all_splits(data, starts, trie, splits):
    """Every way to make a piece of two pieces, (3, N): left, right, what they make; returns their number."""
    n = 0
    for t in range(len(starts) - 1):
        i = starts[t]
        while i < starts[t + 1]:
            i = character_end(data, i)
            a = exact_token(trie, starts, data, starts[t], i)
            b = exact_token(trie, starts, data, i, starts[t + 1]) if i < starts[t + 1] else -1
            if a >= 0 and b >= 0:
                splits[0, n], splits[1, n], splits[2, n] = a, b, t
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
