"""The pictures of docs/benchmarks.md and docs/choosing-parameters.md: lines of a Chart, bars of ours beside theirs."""

import re

from minibert import plots

OURS, THEIRS = "#2a6f97", "#c9a66b"


def slug(name):
    """A name as one of a file."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace(",", "")).strip("-")


def save(figure, path):
    """Write an .svg whose letters are letters: a fifth of the size that outlines take."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plots.save(figure, path)


def new_figure(width, height):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def line_chart(chart):
    """A line for each name of a Chart."""
    figure = new_figure(6.4, 4)
    axes = figure.add_subplot()
    for name, (x, y) in chart.lines.items():
        axes.plot(x, y, marker=".", label=name, linewidth=2 if name.startswith("ours") else 1)
    x_scale, y_scale = ("log" if log else "linear" for log in (chart.log_x, chart.log_y))
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y, xscale=x_scale, yscale=y_scale)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return figure


def bar_chart(title, unit, bars):
    """Pairs of horizontal bars: [(label, ours, theirs or None)], the median of each."""
    figure = new_figure(7.5, 1.2 + 0.34 * len(bars))
    axes = figure.add_subplot()
    for place, (_, ours, theirs) in enumerate(bars):
        axes.barh(place - 0.18, ours, 0.36, color=OURS, label="ours" if place == 0 else None)
        if theirs is not None:
            axes.barh(place + 0.18, theirs, 0.36, color=THEIRS, label="theirs" if place == 0 else None)
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars], fontsize=7)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)
    axes.grid(alpha=0.3, axis="x")
    axes.legend(fontsize=8)
    return figure
