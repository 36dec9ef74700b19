"""How a text that is too long is cut, or laid out in windows, and how rows are padded for those who ask."""

import warnings
from typing import Any

import numpy as np

from ._jit import kernel

ON_TRUNCATE = ("warn", "raise", "silent", "window")
STRATEGIES = ("longest_first", "only_first", "only_second")
SIDES = ("right", "left")


def longest_first(a: np.ndarray, b: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the pair after cutting the longer one until both fit, then both evenly.

        max(a, b) is cut to room - min(a, b), or both to room / 2 where the shorter one is longer than that

    Source   Hugging Face's TruncationStrategy.LongestFirst, which gives b the odd token where a ≤ b, else a
    Shapes   a, b (B,) → (B,), (B,)

    >>> longest_first(np.array([5, 2]), np.array([9, 3]), room=8)
    (array([4, 2]), array([4, 3]))
    """
    short, long = np.minimum(a, b), np.maximum(a, b)
    fits = a + b <= room
    even = 2 * short > room  # then no cut of the longer one alone is enough, or it would become the shorter
    new_short = np.where(even, room // 2, short)
    new_long = np.where(fits, long, room - new_short)
    return np.where(a <= b, new_short, new_long), np.where(a <= b, new_long, new_short)


def fit(
    a: np.ndarray, b: np.ndarray, room: int | None, strategy: str = "longest_first"
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (B,), (B,) that fit into `room` tokens; room None: no limit.

    Raises   ValueError: one alone may be cut, and of some pair the other alone is too long (says which)
    """
    if room is None:
        return a, b
    if strategy == "longest_first" or room == 0:
        return longest_first(a, b, room)
    cut, whole = (a, b) if strategy == "only_first" else (b, a)
    too_long = (cut + whole > room) & (whole >= room)
    if too_long.any():
        row = int(np.argmax(too_long))
        raise ValueError(
            f"texts[{row}]: {strategy} may be cut, but the other text alone takes {whole[row]} of the {room} tokens"
        )
    cut = np.minimum(cut, room - whole)
    return (cut, whole) if strategy == "only_first" else (whole, cut)


def window_counts(lengths: np.ndarray, kept: np.ndarray, stride: int) -> np.ndarray:
    """How many windows of `kept` tokens, each sharing `stride` with the one before, cover sequences (B,)."""
    more = lengths > kept
    if (bad := more & (kept <= stride)).any():
        row = int(np.argmax(bad))
        raise ValueError(f"texts[{row}]: stride {stride} must be below the {kept[row]} tokens that a window holds")
    return 1 + np.where(more, -((kept - lengths) // np.maximum(kept - stride, 1)), 0)


def window_rows(count_a: np.ndarray, count_b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(text, window of a, window of b) of each row: all combinations, in the order of Hugging Face's overflowing.

    a: the sequence that comes first in the template.

    Shapes   count_a, count_b (B,) → (R,), (R,), (R,) with R = Σ count_a · count_b
    """
    rows = count_a * count_b
    text = np.repeat(np.arange(len(rows)), rows)
    place = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows) - 1
    b, later_a = count_b[text], (count_a[text] - 1) * count_b[text]
    first = place < 0  # the first windows of both; then all with later windows of a; then those left of b
    tail = place >= later_a
    of_a = np.where(first | tail, 0, 1 + place // b)
    of_b = np.where(first, 0, np.where(tail, place - later_a + 1, place % b))
    return text, of_a, of_b


def window_spans(
    lengths: np.ndarray, kept: np.ndarray, stride: int, number: np.ndarray, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """(start, length) of window `number` of each sequence; from the left or from the right end."""
    shift = number * (kept - stride)
    if side == "right":
        start = np.minimum(shift, lengths)
        return start, np.minimum(kept, lengths - start)
    end = lengths - shift
    start = np.maximum(end - kept, 0)
    return start, end - start


def report_truncated(truncated: np.ndarray, max_length: int | None, on_truncate: str) -> None:
    """Raise, warn or say nothing where texts were cut."""
    if on_truncate == "silent" or not truncated.any():
        return
    rows = np.flatnonzero(truncated)
    message = (
        f"{len(rows)} of {len(truncated)} texts are longer than {max_length} tokens, the first is texts[{rows[0]}]"
    )
    if on_truncate == "raise":
        raise ValueError(message)
    warnings.warn(f"{message}: cut (see Batch.truncated, on_truncate)", stacklevel=4)


def check_choice(name: str, value: Any, choices: tuple) -> None:
    """One of the choices, or a ValueError that lists them."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


@kernel
def pad(values, starts, width, fill, left):
    """Ragged (T,) → (B, width) int64; short rows are filled up at the right or at the left."""
    padded = np.full((len(starts) - 1, width), fill, np.int64)
    for b in range(len(starts) - 1):
        n = starts[b + 1] - starts[b]
        first = width - n if left else 0
        for t in range(n):
            padded[b, first + t] = values[starts[b] + t]
    return padded


@kernel
def pad_mask(starts, width, left):
    """(B, width) int64: 1 where a row has a token."""
    mask = np.zeros((len(starts) - 1, width), np.int64)
    for b in range(len(starts) - 1):
        n = starts[b + 1] - starts[b]
        first = width - n if left else 0
        mask[b, first : first + n] = 1
    return mask
