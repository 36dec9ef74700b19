"""What a model sees and how it learned, as pictures: similarity heat maps, attention maps, training curves.

matplotlib draws them, the extra `plot`; nothing else of this package needs it. No window is opened and no global state
is touched: each function gives a Figure, and the same numbers give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minibert.data import read_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ".png", ".svg", ".pdf"
LABEL = 40  # characters shown of a text
NUMBERED = 40  # texts whose similarities are written out: 100 took 20 s, on 57 inches
IN_EVERY_RECORD = "step", "epoch", "learning_rate"


def similarity_map(texts: Sequence[str], scores: np.ndarray) -> Figure:
    """A heat map of the similarities of texts, each with its number where there are no more than `NUMBERED` texts.

    Shapes   n texts, scores (n, n) → Figure
    Raises   ValueError: other shapes, or scores that are not finite; ImportError: no matplotlib
    """
    _check_square(texts, scores)
    names = [text if len(text) <= LABEL else text[: LABEL - 1] + "…" for text in texts]
    numbered = len(texts) <= NUMBERED
    side = 2.5 + (0.55 if numbered else 0.15) * len(texts)
    figure = _figure(side + 1, side)
    axes = figure.add_subplot()
    image = axes.imshow(scores, vmin=min(0.0, float(scores.min())), vmax=max(1.0, float(scores.max())), cmap="viridis")
    figure.colorbar(image, ax=axes, shrink=0.8)
    _name_cells(axes, names, names)
    bright = image.norm(scores) > 0.6
    for (i, j), score in np.ndenumerate(scores) if numbered else ():
        axes.text(
            j, i, f"{score:.2f}", ha="center", va="center", fontsize=8, color="black" if bright[i, j] else "white"
        )
    return figure


def attention_map(tokens: Sequence[str], weights: np.ndarray) -> Figure:
    """Where each token (row) looks (column), a panel a head.

    Shapes   T tokens, weights (H, T, T) → Figure
    Raises   ValueError: other shapes, or weights that are not finite; ImportError: no matplotlib
    """
    for head in weights:
        _check_square(tokens, head)
    columns = min(4, len(weights))
    rows = -(-len(weights) // columns)
    side = 1.5 + 0.22 * len(tokens)
    figure = _figure(side * columns, side * rows)
    for number, head in enumerate(weights):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(head, vmin=0, vmax=1, cmap="Blues")
        axes.set_title(f"head {number}", fontsize=9)
        _name_cells(axes, tokens, tokens)
    return figure


def training_curve(runs: Mapping[str, Sequence[dict[str, float]]]) -> Figure:
    """Loss by step, and below it each other number that the records of any run have.

    Shapes   {name: records, as `train` returns them} → Figure
    Raises   ValueError: no records, or one without step and loss; ImportError: no matplotlib
    """
    for name, records in runs.items():
        if not records or not all({"step", "loss"} <= record.keys() for record in records):
            raise ValueError(f"expected records with step and loss, got {'others' if records else 'none'} of {name}")
    found = {key: None for records in runs.values() for record in records for key in record}
    panels = [key for key in found if key not in IN_EVERY_RECORD]
    figure = _figure(7, 2.4 * len(panels))
    for number, key in enumerate(panels, 1):
        axes = figure.add_subplot(len(panels), 1, number)
        for name, records in runs.items():
            points = [(record["step"], record[key]) for record in records if key in record]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=name)
        axes.set(xlabel="step", ylabel=key)
        axes.grid(alpha=0.3)
        if len(runs) > 1:
            axes.legend(fontsize=8)
    return figure


def read_records(path: str | PathLike[str]) -> list[dict[str, float]]:
    """The records of a metrics.jsonl file, or of the folder of one; a last line that is being written is left out.

    Raises   FileNotFoundError; ValueError: no records, or a line that is none, with its number
    """
    from minibert.training_run import METRICS

    path = Path(path) / METRICS if Path(path).is_dir() else Path(path)
    lines, records = read_text(path).split("\n"), []
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
            records.append({key: float(value) for key, value in record.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: expected a record of numbers, got {line[:40]!r}") from error
    if not records:
        raise ValueError(f"{path}: expected at least one record, got none")
    return records


def save(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure as .png, .svg or .pdf, by the path's ending; the same figure gives the same bytes.

    Raises   ValueError: another ending; OSError: the file cannot be written, and an old one is as it was
    """
    from ann.files import atomic_write

    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path}: expected a file ending in {', '.join(FORMATS)}, got {suffix or 'no ending'}")
    no_date = {} if suffix == ".png" else {"Date" if suffix == ".svg" else "CreationDate": None}
    with _matplotlib().rc_context({"svg.hashsalt": "minibert"}), atomic_write(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=100, metadata=no_date)


def _figure(width: float, height: float):
    _matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _matplotlib():
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'minibert[plot]'") from error
    return matplotlib


def _name_cells(axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), _plain(rows), fontsize=8)
    axes.set_xticks(range(len(columns)), _plain(columns), fontsize=8, rotation=90)


def _plain(texts: Sequence[str]) -> list[str]:
    return [text.replace("$", r"\$") for text in texts]  # else matplotlib reads formulas


def _check_square(names: Sequence[str], values: np.ndarray) -> None:
    if not names or values.shape != (len(names), len(names)):
        raise ValueError(f"expected a row and a column for each of {len(names)} names, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite numbers, got {values[~np.isfinite(values)][0]}")
