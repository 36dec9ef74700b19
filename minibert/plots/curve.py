"""Training curves: loss and evaluations by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from minibert.data import read_text
from minibert.plots.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IN_EVERY_RECORD = "step", "epoch", "learning_rate"


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
    figure = new_figure(7, 2.4 * len(panels))
    for number, key in enumerate(panels, 1):
        axes = figure.add_subplot(len(panels), 1, number)
        for name, records in runs.items():
            points = [(record["step"], record[key]) for record in records if key in record]
            if points:
                label = f" {name}" if name.startswith("_") else name  # else matplotlib leaves it out of the legend
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
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
