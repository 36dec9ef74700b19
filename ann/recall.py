"""The recall certificate: how much of the truth an index finds, how sure that is, and the setting that finds enough.

    recall@k of a query = results at most as far as its k-th true neighbour / true neighbours, at most k

A row as near as the k-th true one counts, whichever of them came: both searches measure with one kernel, so ties need
no tolerance. The mean p over n queries comes with Wilson's interval (1927; 95 %, z = 1.96) for a number of
independent trials m:

    (p + z²/2m ± z √(p (1 - p)/m + z²/4m²)) / (1 + z²/m)        m = n p (1 - p) / s², between n and n k

Wilson's assumes that trials are all or nothing. A query is k trials that may go together: m is the number of
independent ones whose mean would vary as much as that of the queries does (s² is their variance; Kish 1965, the
design effect). Where every query found all, the data do not tell m, and it is n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .exact import exact_search
from .inputs import as_allowed, as_vectors, positive_int

if TYPE_CHECKING:
    from .index import Index

Z = 1.96


class Recall(float):
    """A mean recall: a number like any other, with what it rests on.

    low, high    95 % confidence interval
    k, effort    of the searches: effort is ef, nprobe, search_k
    queries      how many
    rows         live rows of the index at the time
    """

    low: float
    high: float
    k: int
    effort: int
    queries: int
    rows: int

    FACTS = ("low", "high", "k", "effort", "queries", "rows")

    def __new__(cls, value: float, low: float, high: float, k: int, effort: int, queries: int, rows: int) -> Recall:
        recall = super().__new__(cls, value)
        recall.low, recall.high, recall.k, recall.effort, recall.queries, recall.rows = (
            low,
            high,
            k,
            effort,
            queries,
            rows,
        )
        return recall

    def __getnewargs__(self):
        """What copy and pickle make it from."""
        return tuple(self.facts().values())

    def __repr__(self) -> str:
        return f"{float(self):.4f} ({self.low:.4f} to {self.high:.4f}: {self.queries} queries, k {self.k})"

    def facts(self) -> dict[str, Any]:
        """Numbers that Recall(**facts) takes."""
        return {"value": float(self), **{name: getattr(self, name) for name in self.FACTS}}


class Question:
    """Queries whose true neighbours are known: asked once, compared with searches at any setting.

    queries   (Q, D), or None: `sample` rows of the index, each looking for its neighbours other than itself

    Whoever asks holds the index's `writer` lock from here to the last search: the truth is that of these rows.
    """

    def __init__(
        self, index: Index, queries: ArrayLike | None, k: int, allow: ArrayLike | None, threads: int, sample: int
    ):
        k, threads = positive_int(k, "k"), positive_int(threads, "threads")
        self.index, self.k, self.threads, self.allow = index, k, threads, allow
        allowed = index._live[: index._count] if allow is None else as_allowed(allow, index._ids[: index._count])
        rows = np.flatnonzero(allowed)
        self.own: np.ndarray | None  # ids of the queries, where these are rows of the index
        if queries is None:
            live = np.flatnonzero(index._live[: index._count])
            drawn = np.random.default_rng(0).permutation(len(live))[: positive_int(sample, "sample")]
            self.queries, self.own = index._vectors[live[drawn]], index._ids[live[drawn]]
        else:
            self.queries, self.own = as_vectors(queries, index.dim, index.metric, "queries"), None
        checked = self.queries.copy()
        index._normalize(checked)
        wanted = min(self.k + (self.own is not None), max(len(rows), 1))
        truth = exact_search(index._metric, checked, index._vectors, index._ids, rows, wanted, threads)
        self.truth = self._others(*truth)

    def _others(self, ids, distances):
        """The first k distances, without those of the queries' own rows."""
        if self.own is not None:
            distances = np.where(ids == self.own[:, None], np.float32(np.inf), distances)
            distances = np.sort(distances, axis=1)
        return distances[:, : self.k]

    def recall(self, effort: int) -> Recall:
        """Recall of searches at this setting; 1 where there is nothing to find."""
        index = self.index
        found = index._answer(self.queries, self.k + (self.own is not None), effort, self.allow, self.threads)
        found, true = self._others(*found), np.isfinite(self.truth)
        farthest = np.max(self.truth, axis=1, where=true, initial=-np.inf)[:, None]
        hits = np.minimum((np.isfinite(found) & (found <= farthest)).sum(axis=1), true.sum(axis=1))
        scores = np.where(true.any(axis=1), hits / np.maximum(true.sum(axis=1), 1), 1.0)
        mean = float(scores.mean()) if len(scores) else 1.0
        return Recall(mean, *interval(scores, self.k), self.k, effort, len(scores), len(index))


def interval(scores: np.ndarray, k: int) -> tuple[float, float]:
    """Wilson's interval for the mean of scores of k trials each; see above. Shapes: (n,) → low, high

    >>> low, high = interval(np.ones(100), k=10)
    >>> round(low, 3), high
    (0.963, 1.0)
    """
    n = len(scores)
    if n == 0:
        return 0.0, 1.0
    p, variance = float(scores.mean()), float(scores.var(ddof=1)) if n > 1 else 0.0
    if p in (0.0, 1.0) or n == 1:
        m = float(n)
    else:
        m = n * min(max(p * (1 - p) / variance, 1.0), k) if variance else n * k
    centre, spread = p + Z * Z / (2 * m), Z * np.sqrt(p * (1 - p) / m + Z * Z / (4 * m * m))
    scale = 1 + Z * Z / m
    low, high = float((centre - spread) / scale), float((centre + spread) / scale)
    return max(0.0, min(low, p)), min(1.0, max(high, p))  # rounding must not put p outside


def tune(question: Question, target: float, least: int, most: int) -> Recall:
    """The Recall at the smallest setting, to a twentieth, whose lower bound reaches the target.

    Doubles the setting until it does, then halves the interval, by ratio.

    Raises   ValueError: the target is not in (0, 1), or the bound stays below it at the largest setting
    """
    if not 0.0 < target < 1.0:
        raise ValueError(f"target_recall: expected a number between 0 and 1, got {target!r}")
    below, best = 0, question.recall(min(least, most))
    while best.low < target:
        below = best.effort
        if below == most:
            raise ValueError(
                f"target_recall: {target} is not certain with {best.queries} queries: at {question.index.knob} {most} "
                f"recall is {best!r}; ask for less, or give more queries"
            )
        best = question.recall(min(2 * below, most))
    while below and best.effort - below > max(1, below // 20):
        middle = question.recall(int(round(np.sqrt(below * best.effort))))
        if middle.effort in (below, best.effort):
            break
        below, best = (below, middle) if middle.low >= target else (middle.effort, best)
    return best
