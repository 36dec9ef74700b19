"""What encoding gives: an Encoding of one text as lists, a Batch of many as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .parts import Span
from .segments import Segments
from .template import SEQUENCES

COLUMNS = ("ids", "type_ids", "offsets", "word_ids", "special_tokens_mask", "sequence_ids")


@dataclass(frozen=True)
class Encoding:
    """One text, or one pair, as lists; word_ids and sequence_ids are None and offsets (0, 0) at special tokens.

    The questions below take the place of a token in the encoding, or a place in text number `sequence`, 0 or 1.
    """

    ids: list
    tokens: list
    offsets: list
    type_ids: list
    word_ids: list
    special_tokens_mask: list
    sequence_ids: list

    @property
    def attention_mask(self) -> list[int]:
        """1 for each token: nothing here is padding."""
        return [1] * len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_sequence(self, token: int) -> int | None:
        """0 or 1, None at a special token."""
        return self.sequence_ids[token]

    def token_to_word(self, token: int) -> int | None:
        """The word that a token is of, None at a special token."""
        return self.word_ids[token]

    def token_to_chars(self, token: int) -> Span | None:
        """(start, end) of a token in its text, None at a special token."""
        return None if self.sequence_ids[token] is None else self.offsets[token]

    def char_to_token(self, char: int, sequence: int = 0) -> int | None:
        """The first token whose slice holds a character, None where none does."""
        for token, (start, end) in enumerate(self.offsets):
            if start <= char < end and self.sequence_ids[token] == sequence:
                return token
        return None

    def char_to_word(self, char: int, sequence: int = 0) -> int | None:
        """The word that a character is in, None where it is in none."""
        token = self.char_to_token(char, sequence)
        return None if token is None else self.word_ids[token]

    def word_to_tokens(self, word: int, sequence: int = 0) -> Span | None:
        """(first, last + 1) of a word's tokens, None where it has none."""
        found = [t for t, w in enumerate(self.word_ids) if w == word and self.sequence_ids[t] == sequence]
        return (found[0], found[-1] + 1) if found else None

    def word_to_chars(self, word: int, sequence: int = 0) -> Span | None:
        """(start, end) of a word in its text, None where it has no tokens."""
        tokens = self.word_to_tokens(word, sequence)
        return None if tokens is None else (self.offsets[tokens[0]][0], self.offsets[tokens[1] - 1][1])


class Kept(NamedTuple):
    """Of one sequence of a pair, the tokens that each row keeps: `lengths` from `first` on, counted in the segments."""

    segments: Segments
    first: np.ndarray
    lengths: np.ndarray


@kernel
def copy_rows(values, first, lengths, at, out):
    """Copy lengths[b] values from first[b] on to at[b] of the output, for each row."""
    for b in range(len(lengths)):
        for t in range(lengths[b]):
            out[at[b] + t] = values[first[b] + t]


class Batch:
    """R rows, ragged: row b is starts[b]:starts[b + 1] of every array. What is not asked for is not laid out.

    A row is a text or a pair, or a window of one: `text_index` says of which.

    Shapes   ids, type_ids, word_ids, sequence_ids (T,) int32; special_tokens_mask (T,) bool; offsets (T, 2) int32 in
             characters of the row's own text; starts (R+1,) int64; text_index (R,) int64; truncated (R,) bool
    Units    word_ids and sequence_ids are -1 and offsets (0, 0) at special tokens; truncated is set where text is lost
    """

    def __init__(
        self,
        layout: list[tuple[str, int, int | None]],
        sequences: dict[str, Kept],
        truncated: np.ndarray,
        text_index: np.ndarray,
        vocabulary: list[str | None],
    ):
        """layout: (name, type id, id) of the template's pieces; sequences: name → Kept; vocabulary: id → token."""
        lengths = sum(kept.lengths for kept in sequences.values()) + sum(name not in sequences for name, *_ in layout)
        self.starts = np.zeros(len(text_index) + 1, np.int64)
        np.cumsum(lengths, out=self.starts[1:])
        self.truncated, self.text_index = truncated, text_index
        self._layout, self._sequences, self._vocabulary = layout, sequences, vocabulary

    def _lay_out(self, dtype, of_sequence, of_special):
        """One column: `of_sequence(segments)` where a text's tokens stand, `of_special(piece)` between them."""
        out, at = np.empty(self.starts[-1], dtype), self.starts[:-1].copy()
        for piece in self._layout:
            if piece[0] in self._sequences:
                segments, first, lengths = self._sequences[piece[0]]
                copy_rows(of_sequence(segments), first, lengths, at, out)
                at += lengths
            else:
                out[at] = of_special(piece)
                at += 1
        return out

    def _repeat(self, value_of):
        """One column that is the same all over a piece: `value_of(piece)`."""
        one = np.ones(len(self), int)
        lengths = [self._sequences[name].lengths if name in self._sequences else one for name, *_ in self._layout]
        values = np.array([value_of(piece) for piece in self._layout], np.int32)
        return np.repeat(np.tile(values, len(self)), np.stack(lengths, axis=1).ravel())

    @cached_property
    def ids(self) -> np.ndarray:
        """(T,) int32."""
        return self._lay_out(np.int32, lambda segments: segments.ids, lambda piece: piece[2])

    @cached_property
    def type_ids(self) -> np.ndarray:
        """(T,) int32: the segment of each token, as the template numbers it."""
        return self._repeat(lambda piece: piece[1])

    @cached_property
    def sequence_ids(self) -> np.ndarray:
        """(T,) int32: 0 or 1, the text of a pair that a token is of; -1 at special tokens."""
        return self._repeat(lambda piece: SEQUENCES.index(piece[0]) if piece[0] in SEQUENCES else -1)

    @cached_property
    def special_tokens_mask(self) -> np.ndarray:
        """(T,) bool: which tokens the template put there."""
        return self.sequence_ids < 0

    @cached_property
    def offsets(self) -> np.ndarray:
        """(T, 2) int32: start and end of each token in its own text; (0, 0) at special tokens."""
        pairs = self._lay_out(np.int64, lambda segments: segments.offsets.view(np.int64)[:, 0], lambda _: 0)
        return pairs.view(np.int32).reshape(-1, 2)

    @cached_property
    def word_ids(self) -> np.ndarray:
        """(T,) int32: the word that each token is of; -1 at special tokens."""
        return self._lay_out(np.int32, lambda segments: segments.word_ids, lambda _: -1)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(R,) int64: tokens of each row."""
        return np.diff(self.starts)

    def row(self, b: int) -> dict[str, np.ndarray]:
        """Views of the arrays of one row, by name."""
        part = slice(self.starts[b], self.starts[b + 1])
        return {name: getattr(self, name)[part] for name in COLUMNS}

    def encoding(self, b: int) -> Encoding:
        """One row as an Encoding. Nothing is laid out for it: as arrays, a short row took three times as long."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        type_ids: list[int] = []
        word_ids: list[int | None] = []
        sequence_ids: list[int | None] = []
        for name, type_id, special in self._layout:
            if name in self._sequences:
                segments, first, lengths = self._sequences[name]
                n, part = int(lengths[b]), slice(first[b], first[b] + lengths[b])
                ids += segments.ids[part].tolist()
                offsets += map(tuple, segments.offsets[part].tolist())
                word_ids += segments.word_ids[part].tolist()
                sequence_ids += [SEQUENCES.index(name)] * n
            elif special is not None:
                n = 1
                ids.append(special)
                offsets.append((0, 0))
                word_ids.append(None)
                sequence_ids.append(None)
            type_ids += [type_id] * n
        tokens, mask = [self._vocabulary[i] for i in ids], [int(number is None) for number in sequence_ids]
        return Encoding(ids, tokens, offsets, type_ids, word_ids, mask, sequence_ids)
