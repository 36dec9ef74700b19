"""ann.Exact: the index that compares with every row."""

import numpy as np

from .exact import exact_search
from .graph import assign_ids
from .index import Index


class Exact(Index):
    """Exact search by matrix products (exact.py): nothing to build, never wrong, linear in the number of rows.

    >>> index = Exact(dim=2, metric="l2")
    >>> index.add([[0, 0], [3, 4], [6, 8]])
    array([0, 1, 2])
    >>> index.search([[3, 3]], k=2)
    (array([[1, 0]]), array([[ 1., 18.]], dtype=float32))
    """

    def _link(self, new_ids, dead):
        """Rows need no links, only ids."""
        assign_ids(self._ids, self._live, self._state, new_ids, dead)

    def _removed(self):
        """Close the gaps that dead rows leave."""
        if self._live_count < self._count:
            self.compact()

    def _search(self, queries, ids, distances, ef, allowed, threads):
        rows = np.arange(self._count) if allowed is None else np.flatnonzero(allowed)
        ids[:], distances[:] = exact_search(
            self._metric, queries, self._vectors, self._ids, rows, ids.shape[1], threads
        )

    def _facts(self):
        return {}

    def _tables(self):
        return {}

    def _restore(self, tables):
        """Nothing but the rows."""

    @classmethod
    def _from_facts(cls, facts):
        return cls(int(facts["dim"]), facts["metric"])
