"""Attention maps: where each token looks, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minibert.plots.figure import check_table, name_cells, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 4000  # square inches of all heads: 40 million pixels


def attention_map(tokens: Sequence[str], weights: np.ndarray) -> Figure:
    """Where each token (row) looks (column), a panel a head.

    Shapes   T tokens, weights (H, T, T) → Figure
    Raises   ValueError: other shapes, weights that are not finite, or too many tokens to draw for so many heads;
             ImportError: no matplotlib
    """
    for head in weights:
        check_table(tokens, tokens, head)
    columns = min(4, len(weights))
    rows = -(-len(weights) // columns)
    side = 1.5 + 0.22 * len(tokens)
    if side**2 * len(weights) > PANELS:
        most = int(((PANELS / len(weights)) ** 0.5 - 1.5) / 0.22)
        raise ValueError(f"expected at most {most} tokens in the panels of {len(weights)} heads, got {len(tokens)}")
    figure = new_figure(side * columns, side * rows)
    for number, head in enumerate(weights):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(head, vmin=0, vmax=1, cmap="Blues")
        axes.set_title(f"head {number}", fontsize=9)
        name_cells(axes, tokens, tokens)
    return figure
