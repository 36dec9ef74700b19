"""What every index shares: rows of vectors with ids, added, replaced, removed, searched, saved.

A row is a vector's place in the arrays; its id is the caller's name for it. Removing marks the row as dead (id -1), and
an index that needs its dead rows for the way through keeps them until `compact`.

Interrupts   Whatever is written beyond the last counted row is not there yet. One call of a compiled kernel, which a
             signal cannot halve, links a chunk of rows, names them, takes the ids that they replace, and counts them.
             So an interrupted add leaves a prefix of its rows, in whole chunks; remove and compact are done or not.
             `_rows` only saves time: it is taken away before such a call, put back after it, and built anew if lost.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .distance import METRICS, normalize_rows
from .graph import COUNT, LAST_ID, LIVE, aligned_empty, assign_ids, grow
from .inputs import MAX_ID, Allow, as_allowed, as_ids, as_vectors, metric_code, positive_int
from .threads import SharedLock

if TYPE_CHECKING:
    from .recall import Recall

CHUNK = 1024  # rows between two moments at which Ctrl-C can take effect


def number(place: int) -> property:
    """A read-only attribute: one number of the index's state."""
    return property(lambda index: int(index._state[place]))


class Index:
    """Base of all indexes. A subclass links rows (`_link`), searches (`_search`) and says what it saves.

    knob     the name of search's own setting: more of it is slower and finds more
    effort   its value where a search gives none; `tune` sets it, files keep it
    Threads  any number may search while others change the index; changes come one after the other. A search sees what
             some prefix of the changes made; of an add, all of some first rows
    """

    knob, effort = "ef", 64
    _rows: dict[int, int] | None  # id → row, where it is known
    certificate: Recall | None = None  # what recall or tune measured last

    def __init__(self, dim: int, metric: str = "cosine"):
        self.dim = positive_int(dim, "dim")
        self._metric = metric_code(metric)
        self.metadata: dict[str, str] = {}
        self._lock = SharedLock()
        self._clear()

    _count, _live_count = number(COUNT), number(LIVE)

    @property
    def _next_id(self):
        return int(self._state[LAST_ID]) + 1

    @property
    def metric(self) -> str:
        """ "l2", "ip" or "cosine"."""
        return METRICS[self._metric]

    def __len__(self) -> int:
        return self._live_count

    def __repr__(self) -> str:
        known = f", recall@{self.certificate.k} {self.certificate!r}" if self.certificate is not None else ""
        size = f"{len(self)} vectors, dim {self.dim}, {self.metric}"
        return f"<ann.{type(self).__name__} of {size}, {self.knob} {self.effort}{known}>"

    @property
    def ids(self) -> np.ndarray:
        """Ids of the live rows, in the order of their places."""
        return self._lock.shared(self._live_ids)

    def _live_ids(self):
        return self._ids[: self._count][self._live[: self._count]]

    # ---- changes -----------------------------------------------------------------------------------------------------

    def add(self, vectors: ArrayLike, ids: ArrayLike | None = None, **options: Any) -> np.ndarray:
        """Add rows and return their ids; an id that is in the index already is replaced.

        options  of HNSW: threads=1, and progress=False
        Shapes   vectors (n, D); ids (n,) integers ≥ 0, by default the numbers after the largest id ever used
        Raises   ValueError: see inputs.py; an id twice in one call. Nothing has been added then.
        """
        rows = as_vectors(vectors, self.dim, self.metric, "vectors")
        names = None if ids is None else as_ids(ids)
        if names is not None and len(names) != len(rows):
            raise ValueError(f"ids: expected one for each of {len(rows)} vectors, got {len(names)}")
        self._normalize(rows)
        with self._lock.writer:
            names = self._unused_ids(len(rows)) if names is None else names
            self._append(rows, names, **options)
        return names

    def _unused_ids(self, size):
        """So many numbers after the largest id ever used."""
        if size > MAX_ID - self._next_id:
            raise ValueError(f"ids: no {size} numbers are left after id {self._next_id - 1}; pass ids")
        return np.arange(self._next_id, self._next_id + size, dtype=np.int64)

    def _normalize(self, vectors):
        """Bring checked vectors, in place, to the form that is stored and compared."""
        if self.metric == "cosine":
            normalize_rows(vectors)

    def _append(self, vectors, ids):
        """Add checked, normalized rows."""
        self._reserve(self._count + len(vectors))
        for start in range(0, len(vectors), CHUNK):
            new_ids = ids[start : start + CHUNK]
            rows = np.arange(self._count, self._count + len(new_ids))
            self._vectors[rows] = vectors[start : start + CHUNK]
            self._take_over(rows, new_ids, partial(self._lock.exclusively, self._link, new_ids))
        self._removed()

    def _link(self, new_ids, dead):
        """Link and name the rows behind the last one: one call of a kernel. Rows `dead` die."""
        raise NotImplementedError

    def _take_over(self, rows, new_ids, link):
        """Let `link` link and name the rows; rows that had these ids die."""
        names = self._row_of() if new_ids.min() < self._next_id else {}
        dead = np.array([names[i] for i in new_ids.tolist() if i in names], np.int64)
        names, self._rows = self._rows, None
        link(dead)
        if names is not None:
            names.update(zip(new_ids.tolist(), rows.tolist(), strict=True))
            self._rows = names

    def remove(self, ids: ArrayLike) -> None:
        """Remove rows by id.

        Raises   ValueError: an id that is not in the index; nothing has been removed then
        """
        gone = as_ids(ids).tolist()
        with self._lock.writer:
            rows = self._row_of()
            for position, i in enumerate(gone):
                if i not in rows:
                    raise ValueError(f"ids: id {i} at position {position} is not in the index")
            self._rows = None
            dead = np.array([rows.pop(i) for i in gone], np.int64)
            names = self._ids, self._live, self._state, np.empty(0, np.int64)
            self._lock.exclusively(assign_ids, *names, dead)
            self._rows = rows
            self._removed()

    def _removed(self):
        """After rows may have died: an index without dead rows drops them here."""
        if self._live_count == 0 and self._count:
            self.compact()

    def compact(self) -> None:
        """Build the index anew from its live rows, in their order: as a new index that was given only these."""
        with self._lock.writer:
            self._rebuild(np.flatnonzero(self._live[: self._count]))

    def _rebuild(self, rows):
        fresh = copy(self)
        fresh._clear()
        fresh._append(self._vectors[rows], self._ids[rows])
        fresh._state[LAST_ID] = max(self._state[LAST_ID], fresh._state[LAST_ID])
        self._lock.exclusively(vars(self).update, vars(fresh))  # one step: an interrupted compact changes nothing

    def _row_of(self):
        """Dictionary id → row, built when it is first needed."""
        if self._rows is None:
            live = np.flatnonzero(self._live[: self._count])
            self._rows = dict(zip(self._ids[live].tolist(), live.tolist(), strict=True))
        return self._rows

    # ---- storage -----------------------------------------------------------------------------------------------------

    def _clear(self):
        self._state = np.array([0, 0, -1, 0, -1, 0], np.int64)
        self._vectors = aligned_empty((0, self.dim), np.float32)
        self._ids, self._live = np.empty(0, np.int64), np.empty(0, np.bool_)
        self._rows = None

    def _reserve(self, rows):
        self._vectors, self._ids, self._live = (grow(a, rows) for a in (self._vectors, self._ids, self._live))

    # ---- search ------------------------------------------------------------------------------------------------------

    def search(
        self, queries: ArrayLike, k: int = 10, ef: int | None = None, allow: Allow | None = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest live rows of each query: ids and distances, nearest first, equal distances by smaller id.

        ef      how many candidates an approximate search keeps (at least k): more is slower and finds more
        allow   only these rows: an array of ids, a boolean mask aligned with `index.ids`, or a function of an id that
                says yes or no, called once for each
        Shapes  queries (Q, D) → ids (Q, k) int64, distances (Q, k) float32; -1 and inf where fewer than k rows qualify
        Raises  ValueError: see inputs.py
        """
        return self._answer(queries, k, ef, allow, threads)

    def _answer(self, queries, k, effort, allow, threads):
        """Search under any name of the setting."""
        queries = as_vectors(queries, self.dim, self.metric, "queries")
        effort = positive_int(self.effort if effort is None else effort, self.knob)
        k, threads = positive_int(k, "k"), positive_int(threads, "threads")
        ids = np.full((len(queries), k), -1, np.int64)
        distances = np.full((len(queries), k), np.inf, np.float32)
        self._lock.shared(self._look, queries, ids, distances, effort, self._asked(allow), threads)
        return ids, distances

    def _asked(self, allow):
        """What is allowed; a function of an id is asked, before any lock: it may do anything."""
        return np.array([i for i in self.ids.tolist() if allow(i)], np.int64) if callable(allow) else allow

    def _look(self, queries, ids, distances, effort, allow, threads):
        """Write the answers into ids and distances."""
        allowed = self._allowed(allow)
        if len(self) and len(queries):
            self._normalize(queries)
            self._search(queries, ids, distances, effort, allowed, threads)

    def _search(self, queries, ids, distances, effort, allowed, threads):
        """Write the answers to checked, normalized queries into ids and distances."""
        raise NotImplementedError

    def _allowed(self, allow):
        """The mask of rows that may be found; None where that is all of them."""
        if allow is not None:
            return as_allowed(allow, self._ids[: self._count])
        return self._live[: self._count] if self._has_removed() else None

    def _has_removed(self):
        """Whether a search could meet removed rows."""
        return len(self) < self._count

    # ---- certificate -------------------------------------------------------------------------------------------------

    def recall(
        self,
        queries: ArrayLike | None = None,
        k: int = 10,
        ef: int | None = None,
        allow: Allow | None = None,
        threads: int = 1,
        sample: int = 1000,
    ) -> Recall:
        """Share of the true k nearest rows that `search` finds: a number with .low and .high, 95 % sure (recall.py).

        queries   by default `sample` of the index's own rows, each looking for its neighbours other than itself
        """
        return self._certify(queries, k, ef, allow, threads, sample)

    def _certify(self, queries, k, effort, allow, threads, sample):
        """recall, under any name of the setting; the result is kept as `certificate`."""
        from .recall import Question

        effort, allow = positive_int(self.effort if effort is None else effort, self.knob), self._asked(allow)
        with self._lock.writer:  # the truth and the searches are of the same rows
            self.certificate = Question(self, queries, k, allow, threads, sample).recall(effort)
            return self.certificate

    def tune(
        self,
        target_recall: float,
        k: int = 10,
        queries: ArrayLike | None = None,
        allow: Allow | None = None,
        threads: int = 1,
        sample: int = 1000,
    ) -> Recall:
        """Set `effort` to the least at which recall@k is, 95 % sure, at least the target; returns that recall.

        Searches that name no setting use it from then on, and the file keeps it with the certificate.

        Raises  ValueError: no setting reaches the target, or too few queries to be sure
        """
        from .recall import Question, tune

        allowed = self._asked(allow)
        with self._lock.writer:
            question = Question(self, queries, k, allowed, threads, sample)
            least = min(1 if self.knob == "nprobe" else question.k, self._most_effort)
            self.certificate = tune(question, target_recall, least, self._most_effort)
            self.effort = self.certificate.effort
            return self.certificate

    @property
    def _most_effort(self):
        """A setting at which a search cannot do more."""
        return max(1, self._count)

    # ---- files -------------------------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Everything found wrong with the index, one sentence each; an empty list for a sound one."""
        from .check import check

        with self._lock.writer:
            return check(self)

    def _findings(self):
        """What is wrong with the part of the structure that only this class has."""
        return []

    def repair(self) -> list[str]:
        """Where check() finds something, build the index anew from its sound rows; returns what had been found.

        A sound row is finite and live, and the last that has its id.
        """
        with self._lock.writer:
            findings = self.check()
            if findings:
                rows = np.flatnonzero((self._ids >= 0) & np.isfinite(self._vectors).all(axis=1))[::-1]
                rows = rows[rows < self._count]
                self._rebuild(np.sort(rows[np.unique(self._ids[rows], return_index=True)[1]]))
        return findings

    def _facts(self):
        """{name: number} of what a file has to say of this class, beside the tables."""
        raise NotImplementedError

    @classmethod
    def _from_facts(cls, facts):
        """The empty index of which a file says this."""
        raise NotImplementedError

    def _tables(self):
        """{name: array} of what a file holds beside vectors and ids."""
        raise NotImplementedError

    def _restore(self, tables):
        """Take over the tables of a file; ValueError, KeyError: they cannot be this class's."""
        raise NotImplementedError

    def save(self, path: str | PathLike[str]) -> None:
        """Write the index to a file; a failed save leaves the file that was there. Format: files.py."""
        from .files import save

        with self._lock.writer:
            save(self, path)
