"""Fair timing, and what every benchmark gives back: rows of ours beside theirs, with all their rounds.

A machine's speed drifts by a quarter within minutes, so absolute times of two separate runs say little. Here two things
take turns in one run; the ratio is that of each pair of turns, and its median and extremes say what it is worth. Before
anything is timed both sides' outputs are compared: `require_…` ends a benchmark whose outputs differ.
"""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

LESS_IS_BETTER = {"s", "ms", "MB", "bytes a row", "µs each", "tokens a word", "nats a word"}
FLAGS = "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8"
ROOT = Path(__file__).resolve().parents[1]


class DifferentOutputs(SystemExit):
    """Ours and theirs do not give the same: there is nothing to time, and the process ends with code 1."""


def require_equal(what, ours, theirs):
    """End the benchmark unless both are the same arrays, or lists."""
    import numpy as np

    if not np.array_equal(ours, theirs):
        raise DifferentOutputs(f"{what}: outputs differ, nothing to time")


def require_close(what, ours, theirs, atol=0.0, rtol=0.0):
    """End the benchmark unless both have one shape and |ours - theirs| ≤ atol + rtol |theirs| everywhere."""
    import numpy as np

    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol, atol):
        gap = f"by up to {np.abs(ours - theirs).max():.2e}" if ours.shape == theirs.shape else "in shape"
        raise DifferentOutputs(f"{what}: outputs differ {gap}, nothing to time")


def require_at_least(what, ours, theirs, room):
    """End the benchmark where ours, a recall say, is below theirs by more than `room`."""
    if ours < theirs - room:
        raise DifferentOutputs(f"{what}: {ours:.4f}, below {theirs:.4f} by more than {room}: nothing to time")


@dataclass(frozen=True)
class Comparison:
    """The seconds of every round of one alternating run; ratio > 1: ours is faster."""

    ours_rounds: list[float]
    theirs_rounds: list[float]

    @property
    def ours(self):
        return statistics.median(self.ours_rounds)

    @property
    def theirs(self):
        return statistics.median(self.theirs_rounds)

    @property
    def ratio(self):
        return statistics.median(b / a for a, b in zip(self.ours_rounds, self.theirs_rounds, strict=True))


def compare(ours, theirs, rounds=5, warmup=1):
    """Time two callables in alternation, each first as often as the other; returns a Comparison.

    A callable that returns a float measured itself (`Peer.timed` does, so that the pipe between the two
    interpreters does not count); otherwise the wall clock counts. What `warmup` rounds take, compiling most of all, is
    not counted.
    """
    taken = in_turn({"ours": ours, "theirs": theirs}, rounds, warmup)
    return Comparison(taken["ours"], taken["theirs"])


def in_turn(calls, rounds, warmup=0):
    """{name: seconds of each round} of {name: callable}, all called in turn, every second round from the other end."""
    taken = {name: [] for name in calls}
    for i in range(-warmup, rounds):
        for name in list(calls)[:: -1 if i % 2 else 1]:
            seconds = _seconds(calls[name])
            if i >= 0:
                taken[name].append(seconds)
    return taken


def _seconds(run):
    start = time.perf_counter()
    result = run()
    elapsed = time.perf_counter() - start
    return result if isinstance(result, float) else elapsed


@dataclass(frozen=True)
class Row:
    """One measurement: a value a round, ours beside theirs where there is one to compare with.

    `against` begins with the library's name on PyPI; what of it may follow: "tokenizers: encode_batch_fast".
    """

    task: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    against: str = ""
    data: str = ""
    threads: int = 1

    @classmethod
    def timed(cls, task, unit, seconds, amount=None, **more):
        """A row of a Comparison: `amount` things a second, or without one the time, in s or ms."""

        def convert(rounds):
            return [amount / s if amount else 1000 * s if unit == "ms" else s for s in rounds]

        return cls(task, unit, convert(seconds.ours_rounds), convert(seconds.theirs_rounds), **more)

    @property
    def ratios(self):
        """How much better ours is, pair by pair: above 1, ours is faster or smaller."""
        pairs = zip(self.ours, self.theirs, strict=True) if self.theirs else ()
        return [b / a if self.unit in LESS_IS_BETTER else a / b for a, b in pairs]


@dataclass(frozen=True)
class Chart:
    """Lines to draw: {name: (x, y)}."""

    title: str
    x: str
    y: str
    lines: dict[str, tuple[Sequence[float], Sequence[float]]]
    log_x: bool = False
    log_y: bool = True


@dataclass(frozen=True)
class Result:
    """One table of a benchmark. `name` is the benchmark's and what sets its parameters apart: two never share one."""

    name: str
    about: str
    checked: str
    rows: list[Row]
    charts: list[Chart] = field(default_factory=list)


def facts():
    """What a result depends on: processor, its flags that matter, BLAS kernel, versions, commit, date."""
    import numba
    import numpy

    from benchmarks.peers import PeerError, versions
    from minibert import runtime

    flags = runtime.cpu()[2]
    try:
        libraries = versions()
    except PeerError:
        libraries = {}
    core, threads = runtime.openblas() or ("not OpenBLAS", 0)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "commit": _commit(),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "blas": {"kernel": core, "threads": threads},
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "libraries": libraries,
    }


def _commit():
    """The commit, with a "+" where the sources differ from it; "unknown" outside a repository."""
    try:
        head = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True, stderr=-3).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    generated = (":!benchmarks/results", ":!docs", ":!README.md")
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", *generated], cwd=ROOT).returncode
    return head + "+" * bool(changed)


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
    from minibert import runtime

    return runtime.cpu()[1] or platform.machine()


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
