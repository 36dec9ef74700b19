"""Which rows a search has seen: one byte a row, stamped with the number of the search.

A new search takes the next number instead of clearing the array; after 255 searches the numbers are used up and the
array is cleared once. One byte a row keeps a million rows in the second-level cache. The idea is nmslib's,
with 16 bits there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ._jit import inlined


@inlined
def next_epoch(visited):
    """Start a new search: returns its stamp. Position 0 of `visited` holds the last one, row r is at r + 1."""
    if visited[0] == np.uint8(255):
        visited[:] = np.uint8(0)
    visited[0] += np.uint8(1)
    return visited[0]


LANES = 4  # walks a thread takes in turn; a prototype with 1, 2, 4, 8 had 2.3, 3.0, 3.3, 3.1 times hnswlib's speed


class VisitedPool:
    """Visited arrays for searches in any number of threads: each borrows one, and they are used again."""

    def __init__(self, *lanes: int):
        self._free: list[np.ndarray] = []
        self._lanes = lanes

    @contextmanager
    def borrow(self, rows: int) -> Iterator[np.ndarray]:
        """An array for `rows` rows, or one for each of some lanes, for the time of the `with` block."""
        try:
            visited = self._free.pop()  # one thread at a time: list.pop is atomic
        except IndexError:
            visited = None
        if visited is None or visited.shape[-1] < rows + 1:
            visited = np.zeros((*self._lanes, rows + 1), np.uint8)
        try:
            yield visited
        finally:
            self._free.append(visited)
