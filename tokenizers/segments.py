"""The tokens of many texts on top of each other, before special tokens come around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from .parts import PlacedToken


class Segments:
    """The tokens of B texts; where they stand is found when it is asked for.

    Shapes   ids (T,) int32, offsets (T, 2) int32, word_ids (T,) int32, starts (B+1,) int64
    """

    def __init__(self, ids: np.ndarray, starts: np.ndarray, locate: Callable[[], tuple[np.ndarray, np.ndarray]]):
        """locate: called once at most, gives (offsets, word_ids)."""
        self.ids, self.starts, self._locate = ids, starts, locate

    @cached_property
    def _places(self):
        return self._locate()

    @property
    def offsets(self) -> np.ndarray:
        """(T, 2) int32, see above."""
        return self._places[0]

    @property
    def word_ids(self) -> np.ndarray:
        """(T,) int32, see above."""
        return self._places[1]


def split_rows(values: np.ndarray, starts: np.ndarray) -> list[np.ndarray]:
    """[values of each row]; np.split would make one row of none."""
    return [values[a:b] for a, b in pairwise(starts.tolist())]


def replace_rows(segments: Segments, rows: dict[int, list[PlacedToken]]) -> Segments:
    """Segments with some rows, {row: [(id, start, end, word)]}, in place of those that stand there."""
    tables = {b: np.array(row, np.int32).reshape(-1, 4) for b, row in rows.items()}

    def replaced(values, columns):
        parts = split_rows(values, segments.starts)
        for b, table in tables.items():
            parts[b] = table[:, columns]
        return np.concatenate(parts)

    lengths = np.diff(segments.starts)
    lengths[list(rows)] = [len(row) for row in rows.values()]
    return Segments(
        replaced(segments.ids, 0),
        np.concatenate([[0], np.cumsum(lengths)]),
        lambda: (replaced(segments.offsets, slice(1, 3)), replaced(segments.word_ids, 3)),
    )


def of_rows(rows: Sequence[list[PlacedToken]]) -> Segments:
    """Segments of [(id, start, end, word)] of each text."""
    table = np.array([token for row in rows for token in row], np.int32).reshape(-1, 4)
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return Segments(table[:, 0].copy(), starts, lambda: (table[:, 1:3].copy(), table[:, 3].copy()))


def of_words(segments: Segments, counts: list[int]) -> Segments:
    """Segments of texts that came as words, counts[b] rows each: a token's word is its row, its offsets that row's."""
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    lengths = np.diff(segments.starts)
    numbers = np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts)
    words = np.repeat(numbers, lengths).astype(np.int32)
    return Segments(segments.ids, segments.starts[bounds], lambda: (segments.offsets, words))
