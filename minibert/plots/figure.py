"""What all pictures share: a sheet, names at the axes, checks, and the file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ".png", ".svg", ".pdf"
LABEL = 40  # characters shown of a text
PALETTE = "tab10"
STYLE = {"svg.hashsalt": "minibert", "svg.fonttype": "none"}  # no random names; letters as letters, not as outlines


def new_figure(width: float, height: float) -> Figure:
    """An empty sheet of so many inches.

    Raises   ImportError: no matplotlib
    """
    _matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure as .png, .svg or .pdf, by the path's ending; the same figure gives the same bytes.

    Raises   ValueError: another ending; OSError: the file cannot be written, and an old one is as it was
    """
    from ann.files import atomic_write

    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path}: expected a file ending in {', '.join(FORMATS)}, got {suffix or 'no ending'}")
    no_date = {} if suffix == ".png" else {"Date" if suffix == ".svg" else "CreationDate": None}
    with _matplotlib().rc_context(STYLE), atomic_write(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=100, metadata=no_date)


def color(number: int) -> tuple[float, float, float, float]:
    """The colour of a group."""
    colors = _matplotlib().colormaps[PALETTE]
    return colors(number % colors.N)


def shown(text: str) -> str:
    """A text as matplotlib should write it: one short line, and no formulas."""
    line = " ".join(text.split())
    return (line if len(line) <= LABEL else line[: LABEL - 1] + "…").replace("$", r"\$")


def name_cells(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Write the names of an image's rows and columns beside them."""
    axes.set_yticks(range(len(rows)), [shown(row) for row in rows], fontsize=8)
    axes.set_xticks(range(len(columns)), [shown(column) for column in columns], fontsize=8, rotation=90)


def check_table(rows: Sequence[str], columns: Sequence[str], values: np.ndarray) -> None:
    """Refuse numbers that are not a finite one for each row and column."""
    if not rows or values.shape != (len(rows), len(columns)):
        raise ValueError(f"expected {len(rows)} rows and {len(columns)} columns of numbers, got {values.shape}")
    check_finite(values)


def check_finite(values: np.ndarray) -> None:
    """Refuse numbers that cannot be drawn."""
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite numbers, got {values[~np.isfinite(values)][0]}")


def _matplotlib():
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'minibert[plot]'") from error
    return matplotlib
