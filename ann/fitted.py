"""What the forest and the inverted lists share: a structure that is fitted to the rows, and outgrown by them.

Centroids and trees are fitted when the index first holds `fit_from` rows, and anew whenever its rows have doubled, so
that fitting costs no more than a constant factor however the rows come. In between, new rows go into the structure as
it is. Rows that it does not hold yet, because they are few or because a build was interrupted, are compared one by
one: they are found all the same.

Fitting drops the rows that died, so that an index under steady replacement keeps its size.
"""

from copy import copy

import numpy as np

from .exact import scan, sort_heaps
from .graph import ENTRY, LAST_ID, UPPER, assign_ids
from .index import Index, number
from .threads import run_threads

HELD, FITTED = UPPER, ENTRY  # places of the state that only graphs use otherwise
QUERIES = 1024  # searched at a time: what they have in common is read once


class Fitted(Index):
    """Base of the indexes that are fitted. A subclass fits (`_fit`), takes in more rows (`_extend`), scans (`_scan`).

    _held     rows [0, _held) are in the structure
    _fitted   how many rows it was fitted to; 0: there is none
    """

    fit_from = 256
    seed: int
    _held, _fitted = number(HELD), number(FITTED)

    def _clear(self):
        super()._clear()
        self._state[[HELD, FITTED]] = 0

    def _append(self, vectors, ids):
        super()._append(vectors, ids)
        if self._count >= max(2 * self._fitted, self.fit_from):
            self._rebuild(np.flatnonzero(self._live[: self._count]))
        elif self._fitted and self._held < self._count:
            self._lock.exclusively(self._extend)

    def _link(self, new_ids, dead):
        assign_ids(self._ids, self._live, self._state, new_ids, dead)

    def _fit(self):
        """Make the structure of all rows."""
        raise NotImplementedError

    def _extend(self):
        """Take into the structure the rows that it does not hold yet; kernels count them as they do."""
        raise NotImplementedError

    def _scan(self, queries, effort, allowed, heaps):
        """Merge what the structure finds into the heaps of exact.py."""
        raise NotImplementedError

    def _rebuild(self, rows):
        """Keep these rows alone, and fit the structure to them."""
        fresh = copy(self)
        fresh._clear()
        Index._append(fresh, self._vectors[rows], self._ids[rows])
        fresh._state[LAST_ID] = max(self._state[LAST_ID], fresh._state[LAST_ID])
        if len(rows) >= self.fit_from:
            fresh._fit()
            fresh._state[[HELD, FITTED]] = len(rows)
        self._lock.exclusively(vars(self).update, vars(fresh))  # one step: an interrupted compact changes nothing

    def _search(self, queries, ids, distances, effort, allowed, threads):
        size = min(QUERIES, -(-len(queries) // threads))
        tail = np.arange(self._held, self._count)
        if allowed is not None:
            tail = tail[allowed[self._held :]]

        def answer(start):
            part = slice(start, start + size)
            heaps = distances[part], ids[part], np.zeros(len(queries[part]), np.int64)
            scan(self._metric, queries[part], self._vectors, self._ids, tail, *heaps)
            if self._held:
                self._scan(queries[part], effort, allowed, heaps)
            sort_heaps(*heaps)

        run_threads(answer, range(0, len(queries), size), threads)

    # ---- files -------------------------------------------------------------------------------------------------------

    def _facts(self):
        return {"seed": self.seed, "fitted": self._fitted, "held": self._held}

    def _set_held(self, facts):
        """Take over what a file says of the structure; its rows are counted later."""
        held, fitted = int(facts["held"]), int(facts["fitted"])
        if not 0 <= held <= int(facts["count"]) or not (0 < fitted <= held or held == fitted == 0):
            raise ValueError(f"held {held}, fitted {fitted}: impossible for {facts['count']} rows")
        self._state[[HELD, FITTED]] = held, fitted
        return self
