"""Storage of the layered graph: flat int32 tables of links, grown by doubling.

neighbors0  (N, W0)  links of every row on layer 0; a list ends at the first -1. W0 is M_max0 rounded up to whole
                     64-byte cache lines, and the table starts on one
upper       (U, W)   links on layers 1, 2, …: row r of level l owns the l consecutive lists from upper_start[r] on
levels      (N,)     the highest layer a row lives on
parent      (N,)     the row's parent in the spanning tree of layer 0 (see hnsw.py); its own number for the root, -1 for
                     copies, -2 for vacant rows, whose place the next rows take
copies      (N,)     the next row of a chain of equal rows, newest first; -1 at its end. A chain starts at a linked
                         row, the copies on it have no links of their own
state       (6,)     int64: every number that must agree with the arrays, by the names below. Kernels change it in the
                         call that changes the arrays: Ctrl-C comes before a compiled call or after it, never between
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ._jit import inlined, kernel

LINE = 64  # bytes in a cache line
# in state: rows, live rows, largest id ever, lists in upper, entry point, vacant rows
COUNT, LIVE, LAST_ID, UPPER, ENTRY, VACANT = range(6)
GONE = np.int32(-2)  # the parent of a vacant row


class Graph(NamedTuple):
    """Everything a search kernel reads. Rows beyond the index's count are spare capacity."""

    metric: int
    vectors: np.ndarray  # (N, D) float32
    walk: int  # the metric of `points`
    points: np.ndarray  # what walks compare: the vectors themselves, or their codes
    neighbors0: np.ndarray  # (N, W0) int32
    upper: np.ndarray  # (U, W) int32
    upper_start: np.ndarray  # (N,) int32
    levels: np.ndarray  # (N,) int8
    parent: np.ndarray  # (N,) int32
    copies: np.ndarray  # (N,) int32
    state: np.ndarray  # (6,) int64


@kernel(inline="always")
def neighborhood(graph, row, layer):
    """The list of a row's links on a layer, spare places included: a view, so writing to it changes the graph."""
    if layer == 0:
        return graph.neighbors0[row]
    return graph.upper[graph.upper_start[row] + layer - 1]


@inlined
def degree(links):
    """Number of links in a list."""
    size = 0
    while size < links.shape[0] and links[size] >= 0:
        size += 1
    return size


@kernel
def assign_ids(ids, live, state, new_ids, dead):
    """Rows `dead` lose their ids and die; the rows after the last one get the new ids, live and count."""
    for row in dead:
        ids[row], live[row] = np.int64(-1), False
    first = state[COUNT]
    for place in range(new_ids.shape[0]):
        ids[first + place], live[first + place] = new_ids[place], True
        state[LAST_ID] = max(state[LAST_ID], new_ids[place])
    state[COUNT] += new_ids.shape[0]
    state[LIVE] += new_ids.shape[0] - dead.shape[0]


def list_width(m: int) -> int:
    """Places in a list of at most m links: whole cache lines."""
    per_line = LINE // 4
    return -(-m // per_line) * per_line


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An uninitialised array that starts on a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def grow(array: np.ndarray, needed: int, fill: int | None = None) -> np.ndarray:
    """The array with room for at least `needed` rows; at least doubled, so that n appends copy O(n) rows in all."""
    if needed <= len(array):
        return array
    grown = aligned_empty((max(needed, 2 * len(array)), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    if fill is not None:
        grown[len(array) :] = fill
    return grown
