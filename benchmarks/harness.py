"""Fair timing: two things in alternation, medians and spread, and what machine it was.

A machine's speed drifts by a quarter within minutes, so absolute times of two separate runs say little; the ratio of
medians of one alternating run says much.
"""

import os
import platform
import statistics
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Medians of one alternating run, in seconds; ratio > 1: ours is faster."""

    ours: float
    theirs: float
    ours_spread: float  # (max - min) / median of the rounds
    theirs_spread: float

    @property
    def ratio(self):
        return self.theirs / self.ours


def compare(ours, theirs, rounds=5, warmup=1):
    """Time two callables in alternation, each first as often as the other; returns a Comparison.

    A callable that returns a float measured itself (`Peer.timed` does, so that the pipe between the two
    interpreters does not count); otherwise the wall clock counts.
    """
    for _ in range(warmup):
        ours(), theirs()
    times = {ours: [], theirs: []}
    for i in range(rounds):
        for run in (ours, theirs) if i % 2 == 0 else (theirs, ours):
            times[run].append(_seconds(run))
    median = {run: statistics.median(values) for run, values in times.items()}
    spread = {run: (max(values) - min(values)) / median[run] for run, values in times.items()}
    return Comparison(median[ours], median[theirs], spread[ours], spread[theirs])


def _seconds(run):
    start = time.perf_counter()
    result = run()
    elapsed = time.perf_counter() - start
    return result if isinstance(result, float) else elapsed


def machine():
    """One line: processor, cores, Python, NumPy, BLAS kernel asked for, date."""
    import numpy as np

    return ", ".join(
        [
            _processor(),
            f"{len(os.sched_getaffinity(0))} cores",
            f"Python {platform.python_version()}",
            f"NumPy {np.__version__}",
            f"OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', 'unset')}",
            time.strftime("%Y-%m-%d"),
        ]
    )


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(header, rows):
    """A Markdown table; floats to three significant digits."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [
        " | ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in [header, *cells]
    ]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def _cell(value):
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )
