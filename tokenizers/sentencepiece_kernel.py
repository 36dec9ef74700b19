"""SentencePiece's pipeline as one kernel over UTF-8 bytes: the same ids as the plain form, many times faster.

Two things that were seen before are remembered: a word of the raw text, between two blanks, and a part of the
normalized text. A part ends between two characters that stand together in no piece: no token crosses that place,
so what is on one side of it does not matter to the other. Hence also the parts of scripts without blanks are short.
"""

from typing import NamedTuple

import numpy as np

from ._jit import bare, inlined
from .bpe_kernel import SIZE, cut_piece, longest_token
from .charsmap_kernel import (
    BLANK,
    OVERFLOW,
    Normal,
    character_end,
    ends_in_space,
    longest_end,
    normalize,
    put_blank,
    rewrite,
)
from .engine import LONG_KEY, LONGEST_CACHED, SHORT_KEY, SPILL, recall, remember
from .pieces import SPACE
from .unigram import REBASE
from .unigram_kernel import SURE, viterbi
from .utf8 import character

MARK = ord(SPACE)
PAIR_BITS = 20  # of the set of character pairs
PAIR_FACTORS = 0x9E3779B1, 0x85EBCA77


class Model(NamedTuple):
    """scores    Unigram's tables;  merges, tokens   BPE's; the others of the two hold next to nothing
    by_score  whether it is Unigram
    unk_id, byte_ids (256,) or (0,)
    kept      Trie of the user-defined pieces; finds_kept: whether BPE has any, each of which is a token by itself
    pairs     (2 ** PAIR_BITS / 8,) uint8: bits of the character pairs that stand in pieces; a few others too
    by_words  words between blanks can be looked at alone
    remembers cuts are looked up and kept
    """

    scores: tuple
    merges: tuple
    tokens: tuple
    by_score: bool
    unk_id: int
    byte_ids: np.ndarray
    kept: tuple
    finds_kept: bool
    pairs: np.ndarray
    by_words: bool
    remembers: bool


class Room(NamedTuple):
    """Room for one text at work, and its running sum and the largest sum that its last cut is sure up to."""

    normal: Normal
    lattice: tuple
    scratch: tuple
    total: np.ndarray
    sure: np.ndarray


class Output(NamedTuple):
    """Ids, and where in the normalized text they stand (where nothing is remembered)."""

    ids: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@inlined
def pair_bit(left, right):
    """Number of the bit that stands for two neighbouring characters."""
    mixed = left * PAIR_FACTORS[0] ^ right * PAIR_FACTORS[1]
    return (mixed ^ (mixed >> 15)) & ((1 << PAIR_BITS) - 1)


@inlined
def put_token(out, at, token, begin, end):
    """Append a token that comes from data[begin:end]; the new size."""
    out.ids[at], out.begin[at], out.end[at] = token, begin, end
    return at + 1


@bare
def put_unknown(data, i, end, model, out, first, at):
    """An unknown character: its bytes, or the unknown piece, once for a run of them."""
    if len(model.byte_ids) > 0:
        for k in range(i, end):
            at = put_token(out, at, model.byte_ids[data[k]], i, end)
    elif at > first and out.ids[at - 1] == model.unk_id:
        out.end[at - 1] = end
    else:
        at = put_token(out, at, model.unk_id, i, end)
    return at


@inlined
def cut_by_score(data, start, stop, model, room, out, first, at):
    """`Unigram.match`; (where its ids end, whether all is known)."""
    lattice, known = room.lattice, True
    count, room.sure[0] = viterbi(data, start, stop, model.scores, model.unk_id, room.total[0], lattice)
    room.total[0] = lattice.best[stop - start]
    for k in range(count - 1, -1, -1):
        end = lattice.path[k]
        begin, token = start + lattice.start[end], lattice.token[end]
        if token == model.unk_id:
            at, known = put_unknown(data, begin, start + end, model, out, first, at), False
        else:
            at = put_token(out, at, token, begin, start + end)
    return at, known


@bare
def cut_by_merges(data, start, stop, model, room, out, first, at):
    """`SentencePieceBPE.match`; (where its ids end, whether all is known)."""
    i, known = start, True
    while i < stop:
        begin, end = i, i
        while end < stop and is_known(data, end, model):
            end = character_end(data, end)
        if end > begin:
            count = at
            at = cut_piece(data, begin, end, model.merges, model.tokens, room.scratch, out.ids, at)
            for t in range(count, at):
                out.begin[t], i = i, i + model.tokens.made[out.ids[t], SIZE]
                out.end[t] = i
        if i < stop:
            end = character_end(data, i)
            at, known = put_unknown(data, i, end, model, out, first, at), False
            i = end
    return at, known


@inlined
def is_known(data, i, model):
    """Whether a character is a piece."""
    end = character_end(data, i)
    token = longest_token(model.tokens.trie, data, i, end)
    return token >= 0 and model.tokens.made[token, SIZE] == end - i


@inlined
def recall_cut(cache, data, start, n, model, room, out, at):
    """(where the ids of a remembered cut end, its first record); at -1 where there is none, or it is not sure."""
    short = n < 8 * SHORT_KEY
    end, record = recall(
        cache.short if short else cache.long, SHORT_KEY if short else LONG_KEY, data, start, n, out.ids, at
    )
    if end < 0 or not model.by_score:
        return end, record
    if model.scores.narrow:
        end -= 1
        if abs(room.total[0]) > out.ids[end]:
            return -1, record
        room.sure[0] = out.ids[end]
    for t in range(at, end):
        total = room.total[0] + model.scores.scores[out.ids[t]]
        room.total[0] = float(np.float32(total)) if model.scores.narrow else total
    return end, record


@inlined
def remember_cut(cache, record, data, start, n, model, room, out, at, end):
    """Keep a cut, with the sum up to which it is sure."""
    short = n < 8 * SHORT_KEY
    if model.by_score and model.scores.narrow:
        reach = (n + 1) * model.scores.largest  # and the sum never begins anew inside
        sure = int(min(float(room.sure[0]), REBASE) - reach)
        if sure <= 0:
            return
        out.ids[end] = sure
        end += 1
    remember(
        cache.short if short else cache.long, SHORT_KEY if short else LONG_KEY, record, data, start, n, out.ids, at, end
    )


@inlined
def cut_part(data, start, stop, model, parts, room, out, first, at):
    """Ids of a part; (where they end, whether all is known)."""
    n, record = stop - start, 0
    if model.by_score and model.scores.narrow and abs(room.total[0]) > REBASE:
        room.total[0] = 0.0
    cached = model.remembers and n <= LONGEST_CACHED
    if model.by_score and not model.scores.narrow:  # a cut found after one sum need not be that after another
        cached &= room.total[0] == 0.0
    if cached:
        end, record = recall_cut(parts, data, start, n, model, room, out, at)
        if end >= 0:
            return end, True
    if model.by_score:
        end, known = cut_by_score(data, start, stop, model, room, out, first, at)
    else:
        end, known = cut_by_merges(data, start, stop, model, room, out, first, at)
    if cached and known:
        remember_cut(parts, record, data, start, n, model, room, out, at, end)
    return end, known


@inlined
def cut_normal(normal, n, model, parts, room, out, first, at):
    """Ids of a normalized text, part by part; (where they end, whether all is known)."""
    data, i, all_known, sure = normal.data, 0, True, SURE
    while i < n:
        start = i
        if model.finds_kept:
            i = longest_end(model.kept, data, start, n)
            if i > start:
                at = put_token(out, at, longest_token(model.kept, data, start, i), start, i)
                continue
        code, size = character(data, i)
        if code == MARK and model.by_words and model.by_score and not model.scores.narrow:
            room.total[0] = 0.0
        i += size
        while i < n and not (model.finds_kept and longest_end(model.kept, data, i, n) > i):
            following, size = character(data, i)
            bit = pair_bit(code, following)
            if not model.pairs[bit >> 3] >> (bit & 7) & 1 or (model.by_words and following == MARK != code):
                break
            i, code = i + size, following
        room.sure[0] = SURE
        at, known = cut_part(data, start, i, model, parts, room, out, first, at)
        all_known &= known
        sure = min(sure, room.sure[0])
    room.sure[0] = sure
    return at, all_known


@bare
def segment_words(data, begin, stop, rules, model, words, parts, room, out, at):
    """Ids of a text, word by word; (where they end, OVERFLOW or SURROGATE; whether that is all there is to do)."""
    normal, first, i, kinds = room.normal, at, begin, rules.kinds
    written = False
    while i < stop:
        blank = i
        while i < stop and kinds[data[i]] == BLANK:
            i += 1
        start = i
        while i < stop and kinds[data[i]] != BLANK:
            i += 1
        if rules.collapse:
            marks = 1 if written or rules.dummy else 0
            if start == i:
                break
        else:
            marks = start - blank + (1 if rules.dummy and blank == begin else 0)
        n, size, record = 0, i - start, 0
        if at + SPILL + 4 * size > len(out.ids):
            return OVERFLOW, True
        cached = marks == 1 and 0 < size <= LONGEST_CACHED
        if cached:
            if model.by_score and model.scores.narrow and abs(room.total[0]) > REBASE:
                room.total[0] = 0.0
            end, record = recall_cut(words, data, start, size, model, room, out, at)
            if end >= 0:
                at, written = end, True
                continue
        if rules.collapse:
            n, _ = rewrite(data, start, i, rules, normal, 0, written, marks == 1)
        elif 3 * marks > len(normal.data):
            return OVERFLOW, True
        else:
            for _ in range(marks):
                n = put_blank(rules, normal, n, blank, start)
            n, _ = rewrite(data, start, i, rules, normal, n, True, False)
        if n < 0:
            return n, True
        if n == 0:
            continue
        open_end = ends_in_space(normal.data, n)  # a piece may begin there and go on in the next word
        if open_end and (i < stop or rules.collapse):
            return at, False
        written = True
        if at + n + SPILL > len(out.ids):
            return OVERFLOW, True
        end, known = cut_normal(normal, n, model, parts, room, out, first, at)
        if cached and known and not open_end:
            remember_cut(words, record, data, start, size, model, room, out, at, end)
        at = end
    return at, True


@bare
def segment_block(data, starts, rules, model, words, parts, room, out, row_ends, plain):
    """Ids of the texts data[starts[b]:starts[b + 1]]; returns their number, or OVERFLOW where the room is too small."""
    at = 0
    for b in range(len(starts) - 1):
        first, done = at, False
        if model.by_words:
            room.total[0] = 0.0
            at, done = segment_words(data, starts[b], starts[b + 1], rules, model, words, parts, room, out, first)
        if not done:
            at = segment_text(data, starts[b], starts[b + 1], rules, model, parts, room, out, first)
        if at == OVERFLOW:
            return OVERFLOW
        if at < 0:
            plain[b], at = True, first
        row_ends[b] = at
    return at


@bare
def segment_text(data, start, stop, rules, model, parts, room, out, at):
    """Ids of a text, normalized as a whole; where they end, or OVERFLOW or SURROGATE."""
    n = normalize(data, start, stop, rules, room.normal)
    if n < 0:
        return n
    if at + n + SPILL > len(out.ids):
        return OVERFLOW
    room.total[0] = 0.0
    at, _ = cut_normal(room.normal, n, model, parts, room, out, at, at)
    return at


@bare
def locate_block(data, starts, rules, model, parts, room, out, row_starts, offsets, word_ids):
    """Offsets in characters, and words, of the tokens of texts, which are found again; False where room is small."""
    for b in range(len(starts) - 1):
        first, last = int(row_starts[b]), int(row_starts[b + 1])
        if first == last:  # nothing, or a text that went the plain way
            continue
        end = segment_text(data, starts[b], starts[b + 1], rules, model, parts, room, out, 0)
        if end == OVERFLOW:
            return False
        normal = room.normal
        seen, i, word, place = 0, starts[b], 0, 0  # seen: characters that begin before i
        for t in range(end):
            while place < out.begin[t]:  # tokens of one character's bytes begin at the same place
                following = character_end(normal.data, place)
                mark, next_mark = is_space(normal.data, place), is_space(normal.data, following)
                word += (mark and not next_mark) if rules.suffix else (next_mark and not mark)
                place = following
            seen, i = count_characters(data, i, normal.begin[out.begin[t]], seen)
            offsets[first + t, 0] = seen
            offsets[first + t, 1], _ = count_characters(data, i, max(i, normal.end[out.end[t] - 1]), seen)
            word_ids[first + t] = word
    return True


@bare
def count_characters(data, i, end, seen):
    """(characters that begin before `end`, end), where `seen` begin before i."""
    while i < end:
        seen += data[i] & 0xC0 != 0x80
        i += 1
    return seen, i


@inlined
def is_space(data, i):
    """Whether ▁ begins at a byte."""
    return ends_in_space(data, i + 3)
