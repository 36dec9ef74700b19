"""What callers pass in, checked and converted: a clear error, or new arrays that every kernel accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .distance import MAX_NORM, METRICS

Allow: TypeAlias = ArrayLike | Callable[[int], bool]  # rows that a search may find, see Index.search
MAX_ID = np.iinfo(np.int64).max
MAX_EF = 1 << 20  # of ef_construction: an add allocates as many places for each row of a batch


def positive_int(value: Any, name: str, least: int = 1, most: int | None = None) -> int:
    """The value as an int ≥ least, and ≤ most where that is given."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}: expected an integer ≥ {least}, got {value!r}")
    if most is not None and value > most:
        raise ValueError(f"{name}: expected an integer ≤ {most}, got {value!r}")
    return int(value)


def metric_code(metric: str) -> int:
    """The metric's position in METRICS."""
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    return METRICS.index(metric)


def as_vectors(vectors: ArrayLike, dim: int, metric: str, name: str) -> np.ndarray:
    """A new float32 C array (n, dim) of the caller's rows.

    Raises   ValueError: not two-dimensional, wrong width, not numbers, NaN or infinity, a row longer than MAX_NORM
    """
    try:
        given = np.asarray(vectors)
    except ValueError as error:
        raise ValueError(f"{name}: expected rows of {dim} numbers, got rows of different lengths") from error
    if given.shape == (0,):
        given = np.empty((0, dim), np.float32)
    if given.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected real numbers, got dtype {given.dtype}")
    if given.ndim != 2 or given.shape[1] != dim:
        hint = f"; for one vector write {name}[None]" if given.shape == (dim,) else ""
        raise ValueError(f"{name}: expected shape (n, {dim}), got {given.shape}{hint}")
    if given.dtype == np.float32 and given.dtype.isnative:
        rows = np.array(given, order="C", subok=False)
    else:
        with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes inf, and is reported just below
            rows = np.array(given, dtype=np.float32, order="C", subok=False)
    # in float64 the squares of finite float32 numbers neither overflow nor vanish: one pass shows all that can be wrong
    squares = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
    largest = np.finfo(np.float64).max if metric == "cosine" else MAX_NORM**2
    if not (squares <= largest).all():
        _refuse(rows, squares, name)
    return rows


def _refuse(rows, squares, name):
    """Say which of the rows cannot be."""
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(f"{name}: row {row}, column {column} is {rows[row, column]} in float32")
    row = int(squares.argmax())
    length = np.sqrt(squares[row])
    raise ValueError(f"{name}: row {row} has length {length:.3g}, above {MAX_NORM:.3g}: distances overflow")


def as_ids(ids: ArrayLike, name: str = "ids") -> np.ndarray:
    """An int64 array (n,) of ids, all different, in 0 … 2^63 - 1."""
    given = np.asarray(ids)
    if given.shape == (0,):
        return np.empty(0, np.int64)
    if given.ndim != 1:
        raise ValueError(f"{name}: expected shape (n,), got {given.shape}")
    if given.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers from 0 to 2^63 - 1, got dtype {given.dtype}")
    wrong = (given < 0) | (given > MAX_ID)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{name}: expected integers from 0 to 2^63 - 1, got {given[row]} at position {row}")
    given = given.astype(np.int64)
    order = np.argsort(given, kind="stable")
    repeated = np.flatnonzero(given[order[1:]] == given[order[:-1]])
    if repeated.size:
        first, second = order[repeated[0]], order[repeated[0] + 1]
        raise ValueError(f"{name}: id {given[first]} is given twice, at positions {first} and {second}")
    return given


def as_allowed(allow: ArrayLike, ids: np.ndarray) -> np.ndarray:
    """Boolean mask over the index's rows. `ids`: the id of every row, -1 for removed ones.

    allow: a boolean mask aligned with `index.ids` (the live rows), or an array of ids (unknown ones allow nothing).
    """
    live = ids >= 0
    given = np.asarray(allow)
    if given.dtype != np.bool_:
        return live & np.isin(ids, as_ids(given, "allow"))
    count = int(live.sum())
    if given.shape != (count,):
        raise ValueError(f"allow: expected a mask of shape ({count},), aligned with index.ids, got {given.shape}")
    live[live] = given
    return live
