"""The stages of a search as a ladder: the rank that each of them gave to each hit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minibert.plots.figure import color, new_figure, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from minibert.retrieval.search import Hit

ORDER = "dense", "sparse", "fusion", "rerank", "diversity"


def stage_ranks(hits: Sequence[Hit]) -> Figure:
    """A line a hit from stage to stage, the score beside each rank; a stage that did not find it leaves a gap.

    Shapes   hits of one search, best first → Figure
    Raises   ValueError: no hits; ImportError: no matplotlib
    """
    if not hits:
        raise ValueError("expected at least one hit, got none")
    stages = [stage for stage in ORDER if any(stage in hit.stages for hit in hits)]
    deepest = max(note["rank"] for hit in hits for note in hit.stages.values())
    figure = new_figure(4 + 1.6 * len(stages), 1 + 0.4 * deepest)
    axes = figure.add_subplot()
    for number, hit in enumerate(hits):
        ranks = [hit.stages[stage]["rank"] if stage in hit.stages else None for stage in stages]
        ink = color(number)
        axes.plot(range(len(stages)), [float("nan") if rank is None else rank for rank in ranks], "o-", color=ink)
        for x, (stage, rank) in enumerate(zip(stages, ranks, strict=True)):
            if rank is not None:
                score = f"{hit.stages[stage]['score']:.3f}"
                axes.annotate(score, (x, rank), (0, 5), textcoords="offset points", fontsize=7, ha="center", color=ink)
        axes.annotate(
            shown(hit.text),
            (1.02, number + 1),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=ink,
        )
    axes.set(xlim=(-0.3, len(stages) - 0.7), ylim=(deepest + 0.6, 0.3), ylabel="rank")
    axes.set_xticks(range(len(stages)), stages)
    axes.set_yticks(range(1, deepest + 1))
    axes.grid(axis="y", alpha=0.3)
    return figure
