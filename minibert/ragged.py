"""A batch without padding: the rows of all its sequences on top of each other, and where each one starts.

    ids     (T,)      token ids of sequence 0, then of sequence 1, …
    starts  (B + 1,)  sequence b owns rows starts[b] : starts[b + 1];  T = starts[B]

Linear layers see one (T, D) matrix and no mask is ever built. Attention walks runs of equally long sequences, each a
plain (count, length, D) block, so sequences are sorted by length first (`by_length`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Token and segment ids of B sequences; every sequence has at least one token.

    >>> batch = Ragged.from_sequences([[5, 6], [7]])
    >>> batch.ids, batch.starts
    (array([5, 6, 7], dtype=int32), array([0, 2, 3]))
    """

    ids: np.ndarray
    type_ids: np.ndarray
    starts: np.ndarray

    def __post_init__(self):
        if self.starts[0] != 0:
            raise ValueError(f"expected starts to begin at 0, got {self.starts[0]}")
        empty = np.flatnonzero(np.diff(self.starts) <= 0)
        if len(empty):
            raise ValueError(f"expected at least one token in every sequence, got none in sequence {empty[0]}")
        if len(self.ids) != self.starts[-1] or len(self.type_ids) != len(self.ids):
            raise ValueError(
                f"expected {self.starts[-1]} ids and type ids (starts), got {len(self.ids)} and {len(self.type_ids)}"
            )

    @classmethod
    def from_sequences(cls, sequences: list[list[int]]) -> Ragged:
        """Stack lists of ids; every segment id is 0."""
        ids = np.array([i for sequence in sequences for i in sequence], dtype=np.int32)
        starts = np.concatenate(([0], np.cumsum([len(s) for s in sequences]))).astype(np.int64)
        return cls(ids, np.zeros_like(ids), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """(B,) tokens of each sequence."""
        return np.diff(self.starts)

    @cached_property
    def positions(self) -> np.ndarray:
        """(T,) place of each row within its sequence, from 0."""
        return np.arange(self.starts[-1]) - np.repeat(self.starts[:-1], self.lengths)

    @cached_property
    def runs(self) -> list[tuple[slice, int, int]]:
        """Neighbouring sequences of one length as (their rows, count, length)."""
        changes = np.flatnonzero(np.diff(self.lengths)) + 1
        bounds = np.concatenate(([0], changes, [len(self)])) if len(self) else np.zeros(1, int)
        return [
            (slice(int(self.starts[a]), int(self.starts[b])), int(b - a), int(self.lengths[a]))
            for a, b in zip(bounds[:-1], bounds[1:], strict=True)
        ]

    def take(self, sequences: np.ndarray) -> Ragged:
        """The named sequences, in the given order."""
        rows = self.rows_of(sequences)
        starts = np.concatenate(([0], np.cumsum(self.lengths[sequences])))
        return Ragged(self.ids[rows], self.type_ids[rows], starts)

    def rows_of(self, sequences: np.ndarray) -> np.ndarray:
        """Numbers of the rows of the named sequences, in the given order."""
        lengths = self.lengths[sequences]
        ends = np.cumsum(lengths)
        return np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.starts[sequences] - ends + lengths, lengths)

    def by_length(self) -> tuple[Ragged, np.ndarray]:
        """(the batch sorted by length, back), where sorted_values[back] is in the order of this batch again."""
        order = np.argsort(self.lengths, kind="stable")
        return self.take(order), np.argsort(order, kind="stable")

    def without_first(self, count: int) -> tuple[Ragged, np.ndarray]:
        """(the batch without the first `count` tokens of every sequence, the rows that are left).

        Raises   ValueError: a sequence has no more tokens than that
        """
        rows = np.flatnonzero(self.positions >= count)
        return Ragged(self.ids[rows], self.type_ids[rows], self.starts - count * np.arange(len(self) + 1)), rows


@dataclass(frozen=True)
class TokenVectors:
    """The vectors of the tokens of B texts, on top of each other: vectors[b] are those of text b.

    Shapes   rows (T, D), starts (B + 1,), T = starts[B]; vectors[b] (length of b, D)
    Raises   ValueError: starts that do not cut the rows into texts of at least one token
    """

    rows: np.ndarray
    starts: np.ndarray

    def __post_init__(self):
        if self.rows.ndim != 2 or self.starts[0] != 0 or self.starts[-1] != len(self.rows):
            raise ValueError(f"expected rows (T, D) and starts from 0 to T, got {self.rows.shape} and {self.starts}")
        empty = np.flatnonzero(np.diff(self.starts) <= 0)
        if len(empty):
            raise ValueError(f"expected at least one token in every text, got none in text {empty[0]}")

    @classmethod
    def from_list(cls, texts: list[np.ndarray], dim: int) -> TokenVectors:
        """Stack arrays (length, dim), one for each text."""
        rows = np.concatenate([np.empty((0, dim), np.float32), *texts])
        return cls(rows, np.cumsum([0, *(len(text) for text in texts)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, text: int) -> np.ndarray:
        if not -len(self) <= text < len(self):
            raise IndexError(f"expected a text in 0 … {len(self) - 1}, got {text}")
        text %= len(self)
        return self.rows[self.starts[text] : self.starts[text + 1]]
