"""Heat maps of similarities: each text with each other, or questions with answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minibert.plots.figure import check_table, name_cells, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 40  # rows whose similarities are written out: 100 took 20 s, on 57 inches


def similarity_map(rows: Sequence[str], columns: Sequence[str], panels: Mapping[str, np.ndarray]) -> Figure:
    """A heat map a panel, all on one scale of colours, each cell with its number where there are few enough.

    Shapes   n rows, m columns, {title: scores (n, m)} → Figure
    Raises   ValueError: other shapes, or scores that are not finite; ImportError: no matplotlib
    """
    for scores in panels.values():
        check_table(rows, columns, scores)
    numbered = max(len(rows), len(columns)) <= NUMBERED
    cell = 0.55 if numbered else 0.15
    width, height = 2.5 + cell * len(columns), 3 + cell * len(rows)
    figure = new_figure(width * len(panels) + 1, height)
    low = min(0.0, *(float(scores.min()) for scores in panels.values()))
    high = max(1.0, *(float(scores.max()) for scores in panels.values()))
    panes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, scores) in zip(panes, panels.items(), strict=True):
        image = axes.imshow(scores, vmin=low, vmax=high, cmap="viridis")
        axes.set_title(title, fontsize=10)
        name_cells(axes, rows, columns)
        bright = image.norm(scores) > 0.6
        for (i, j), score in np.ndenumerate(scores) if numbered else ():
            ink = "black" if bright[i, j] else "white"
            axes.text(j, i, f"{score:.2f}", ha="center", va="center", fontsize=8, color=ink)
    figure.colorbar(image, ax=panes, shrink=0.8)
    return figure
