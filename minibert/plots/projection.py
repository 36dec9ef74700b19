"""Vectors of many numbers as points of a plane: the one in which they vary most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minibert.plots.figure import check_finite, color, new_figure, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def principal_plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the two directions in which the rows vary most, and the share of the variance in each.

        X = rows − their mean = U S Vᵀ;   coordinates = X V[:, :2] = U[:, :2] S[:2];   shares = S² / Σ S²

    Source   Pearson 1901 (principal components); a direction points to where its largest part is positive
    Shapes   (n, D) → (n, 2), (2,); zeros where the rows have fewer directions
    Raises   ValueError: no rows, or numbers that are not finite
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"expected at least one row of numbers, got shape {vectors.shape}")
    check_finite(vectors)
    X = vectors - vectors.mean(axis=0)
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    signs = np.sign(Vt[np.arange(len(Vt)), np.abs(Vt).argmax(axis=1)])
    count = min(2, len(S))
    coordinates, shares = np.zeros((len(X), 2)), np.zeros(2)
    coordinates[:, :count] = U[:, :count] * (S * signs)[:count]
    shares[:count] = S[:count] ** 2 / max(float((S**2).sum()), np.finfo(float).tiny)
    return coordinates, shares


def projection(
    panels: Mapping[str, np.ndarray],
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    links: Sequence[tuple[int, int]] = (),
) -> Figure:
    """Vectors in their principal plane, a panel a set of them, with labels; a colour a group, a line a link.

    Shapes   {title: vectors (n, D)}, n labels, n groups or None, links of row numbers → Figure
    Raises   ValueError: other shapes, or vectors that are not finite; ImportError: no matplotlib
    """
    groups = [""] * len(labels) if groups is None else list(groups)
    for vectors in panels.values():
        if not len(vectors) == len(labels) == len(groups):
            raise ValueError(
                f"expected a label and a group a vector, got {len(labels)} and {len(groups)}, {len(vectors)}"
            )
    colors = {group: color(number) for number, group in enumerate(dict.fromkeys(groups))}
    figure = new_figure(6.5 * len(panels), 4.5)
    panes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, vectors) in zip(panes, panels.items(), strict=True):
        points, shares = principal_plane(vectors)
        for a, b in links:
            axes.plot(*points[[a, b]].T, color="0.8", linewidth=1, zorder=1)
        for group, own in colors.items():
            rows = [row for row, other in enumerate(groups) if other == group]
            axes.scatter(*points[rows].T, s=18, color=own, label=shown(group), zorder=2)
        for label, group, point in zip(labels, groups, points, strict=True):
            axes.annotate(shown(label), point, (3, 3), textcoords="offset points", fontsize=7, color=colors[group])
        axes.set_title(title, fontsize=10)
        axes.set(xlabel=f"{shares[0]:.0%} of the variance", ylabel=f"{shares[1]:.0%} of the variance")
        axes.margins(0.12)
    if len(colors) > 1:
        panes[0].legend(fontsize=8)
    return figure
