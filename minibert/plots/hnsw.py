"""The search of an HNSW graph, a panel a layer: what lives there, what is measured, and the way to the nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ann.trace import Walk, neighbors, rows_of, trace
from minibert.plots.figure import new_figure
from minibert.plots.projection import principal_plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ann import HNSW

MOST_ROWS = 3000  # a picture of more shows nothing


def hnsw_walks(index: HNSW, query: np.ndarray, ef: int) -> Figure:
    """The walk on each layer, from the top one down; a number says when a row was expanded.

    Rows of more than two numbers are seen in the principal plane of the rows and the query.

    Shapes   an ann.HNSW, query (D,) → Figure
    Raises   ValueError: as ann.trace.trace, and more than MOST_ROWS rows; ImportError: no matplotlib
    """
    if len(index) > MOST_ROWS:
        raise ValueError(f"expected an index of at most {MOST_ROWS} rows, got {len(index)}")
    walks = trace(index, query, ef)
    end = np.array(query, np.float32)[None]
    index._normalize(end)  # as its rows are
    vectors = np.vstack([index._vectors[: index._count], end])
    points = vectors if index.dim == 2 else principal_plane(vectors)[0]
    figure = new_figure(3.5 * len(walks), 3.7)
    panes = figure.subplots(1, len(walks), squeeze=False, sharex=True, sharey=True)[0]
    for axes, walk in zip(panes, walks, strict=True):
        _draw(axes, index, walk, points)
    return figure


def _draw(axes, index: HNSW, walk: Walk, points: np.ndarray) -> None:
    """One layer; the last of the points is the query."""
    rows, graph = rows_of(index, walk.layer), index._graph()
    links = {(min(row, e), max(row, e)) for row in rows for e in neighbors(graph, row, walk.layer)}
    ends = points[sorted(links)].reshape(-1, 2, 2)
    breaks = np.full((len(ends), 1, 2), np.nan)  # so that one line draws all links
    axes.plot(*np.concatenate([ends, breaks], axis=1).reshape(-1, 2).T, color="0.88", lw=0.6, zorder=1, label="links")
    for label, own, size, ink in [
        ("rows of the layer", rows, 8, "0.7"),
        ("measured", walk.measured, 18, "tab:blue"),
        ("expanded, in this order", walk.expanded, 26, "tab:orange"),
    ]:
        axes.scatter(*points[own].T, s=size, color=ink, zorder=2, label=label)
    axes.scatter(*points[walk.found].T, s=70, facecolors="none", edgecolors="tab:green", zorder=3, label="found")
    axes.scatter(*points[-1], s=90, color="tab:red", marker="*", zorder=4, label="query")
    for number, row in enumerate(walk.expanded, 1):
        axes.annotate(str(number), points[row], (4, 4), textcoords="offset points", fontsize=8)
    axes.set_title(f"layer {walk.layer}: {len(walk.measured)} of {len(rows)} measured", fontsize=10)
    axes.set(xticks=[], yticks=[])
    if walk.layer == 0:
        axes.legend(fontsize=7, loc="lower left")
