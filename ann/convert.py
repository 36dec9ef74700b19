"""Bring an index over: ann.HNSW with the graph of an hnswlib or FAISS file.

    index = ann.from_hnswlib("index.bin", metric="cosine")     # save_index does not write the space: say it
    index = ann.from_faiss("index.faiss")                       # write_index

Supported       hnswlib 0.4 to 0.8, float32 spaces l2, ip, cosine; rows marked as deleted stay so
                FAISS IndexHNSWFlat (float32, L2 or inner product), bare or in an IndexIDMap or IndexIDMap2
Not supported   integer spaces; any other FAISS index or storage (IVF, PQ, SQ, binary …), transforms before it (OPQ,
                PCA); M = 1. They are refused.

Links, levels, ids and entry point are the file's, so a search at some ef finds what the library finds. One thing is
added: here a tree of links that lead both ways reaches every row (hnsw.py), which neither library promises. Where a row
has no such link, it gets one, in a spare place if there is any. `index.metadata["links added"]` says how many: none or
a few under l2 and cosine; under ip about one a row, since there a few long vectors get all the links.

Links of a row to itself, and repeated ones, change no search and are left out. Every number is checked before it is
used; what does not fit raises CorruptIndexError.
"""

import struct
from os import PathLike

import numpy as np

from ._jit import kernel
from .files import CorruptIndexError, assemble
from .graph import degree, list_width
from .hnsw_index import HNSW, MAX_LEVEL
from .inputs import MAX_ID, as_vectors, metric_code


def from_hnswlib(path: str | PathLike[str], metric: str) -> HNSW:
    """The graph that hnswlib's save_index wrote.

    metric   of the space it was made with: "l2", "ip" or "cosine"; the file does not say
    Raises   CorruptIndexError: not such a file, or a damaged one; ValueError: unknown metric
    """
    metric_code(metric)
    with open(path, "rb") as file:
        data = _Bytes(file.read())
    try:
        return _assemble(metric, "hnswlib", *_hnswlib(data))
    except (ValueError, KeyError, OverflowError, struct.error) as error:
        raise CorruptIndexError(f"{path}: {error}") from error


def from_faiss(path: str | PathLike[str]) -> HNSW:
    """The graph of a FAISS IndexHNSWFlat that write_index wrote, with the ids of an IndexIDMap around it.

    Raises   CorruptIndexError: another index, or a damaged file
    """
    with open(path, "rb") as file:
        data = _Bytes(file.read())
    try:
        metric, *parts = _faiss(data)
        return _assemble(metric, "FAISS", *parts)
    except (ValueError, KeyError, OverflowError, struct.error) as error:
        raise CorruptIndexError(f"{path}: {error}") from error


class _Bytes:
    """A file's bytes, read from the front; nothing is made larger than what is left of them."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def numbers(self, form):
        """Numbers by a struct format, little endian."""
        found = struct.unpack_from("<" + form, self.data, self.place)
        self.place += struct.calcsize("<" + form)
        return found if len(found) > 1 else found[0]

    def array(self, dtype, count, name):
        """So many items."""
        dtype = np.dtype(dtype)
        _require(0 <= count <= (len(self.data) - self.place) // dtype.itemsize, f"{name}: {count} items are not there")
        items = np.frombuffer(self.data, dtype, count, self.place)
        self.place += count * dtype.itemsize
        return items

    def vector(self, dtype, name):
        """FAISS's vectors: a count, then the items."""
        return self.array(dtype, self.numbers("Q"), name)

    def end(self):
        _require(self.place == len(self.data), f"{len(self.data) - self.place} bytes are left over")


def _require(condition, message):
    if not condition:
        raise ValueError(message)


# ---- hnswlib ---------------------------------------------------------------------------------------------------------


def _hnswlib(data):
    """M, ef_construction, vectors, ids, levels, lists of layer 0, upper lists, entry point.

    header    offset0, capacity, count, bytes a row, offset of the label, offset of the vector   (u64 each)
              top level (i32), entry point (u32), M, M of layer 0, M again (u64), m_L (f64), ef_construction (u64)
    rows      links of layer 0: number (u16), deleted (bit 0 of the next byte), places (u32); vector (f32); label (u64)
    upper     for each row the number of bytes (u32), then as many lists: number (u16, padded to 32 bits), places (u32)
    """
    _, capacity, count, row_size, label_at, vector_at = data.numbers("6Q")
    top, entry_point, M, M0, _, _, ef_construction = data.numbers("iI3QdQ")
    _require(2 <= M <= 1 << 15 and M0 == 2 * M, f"M {M} and {M0}: not an index of hnswlib, or not one that fits here")
    _require(count <= capacity, f"{count} rows are more than the capacity {capacity}")
    expected = 4 + 4 * M0
    _require(vector_at == expected and label_at > vector_at and (label_at - vector_at) % 4 == 0, "offsets do not fit M")
    _require(row_size == label_at + 8, "the size of a row does not fit its offsets")
    rows = data.array(np.uint8, count * row_size, "rows").reshape(count, row_size)

    def column(start, stop, dtype):
        return np.ascontiguousarray(rows[:, start:stop]).view(dtype)

    labels = column(label_at, row_size, "<u8")[:, 0]
    _require((labels <= MAX_ID).all(), "a label is above 2^63 - 1")
    ids = np.where(rows[:, 2] & 1, -1, labels.astype(np.int64))
    neighbors0 = _lists(column(4, vector_at, "<u4"), column(0, 2, "<u2")[:, 0], count, "layer 0")
    levels, upper = np.zeros(count, np.int64), []
    list_size = 4 + 4 * M
    for row in range(count):
        size = data.numbers("I")
        _require(size % list_size == 0 and size // list_size <= MAX_LEVEL, f"row {row}: {size} bytes of upper links")
        levels[row] = size // list_size
        if size:
            upper.append(data.array(np.uint8, size, f"row {row}, upper links"))
    data.end()
    lists = np.concatenate(upper).reshape(-1, list_size) if upper else np.empty((0, list_size), np.uint8)
    sizes = np.ascontiguousarray(lists[:, :2]).view("<u2")[:, 0]
    upper = _lists(np.ascontiguousarray(lists[:, 4:]).view("<u4"), sizes, count, "upper layers")
    if count:
        _require(entry_point < count and levels[entry_point] == top, "the entry point is not on the top layer")
    vectors = column(vector_at, label_at, "<f4")
    return M, ef_construction, vectors, ids, levels, neighbors0, upper, entry_point if count else -1


def _lists(places, sizes, count, name):
    """Lists of links, of which the first sizes[i] places hold one; -1 in the others. Shapes: (L, m), (L,) → (L, m)"""
    used = np.arange(places.shape[1]) < sizes[:, None]
    long, far = sizes > places.shape[1], (used & (places >= count)).any(axis=1)
    if long.any():
        raise ValueError(f"{name}: list {long.argmax()} is too long")
    if far.any():
        raise ValueError(f"{name}: list {far.argmax()} has a link out of range")
    return np.where(used, places, -1).astype(np.int32)


# ---- FAISS -----------------------------------------------------------------------------------------------------------


def _faiss(data):
    """Metric, and the rest as from hnswlib.

    header    "IHNf", D (i32), rows (i64), two unused (i64), trained (u8), metric (i32: 0 inner product, 1 L2)
    graph     vectors of level probabilities (f64), places up to each level (i32), levels + 1 (i32), where each row's
              places start (u64), places (i32; -1 ends a list); entry point, top level, ef_construction, 2 unused (i32)
    storage   "IxF2" or "IxFI", its header, and the rows (f32)
    An id map is "IxMp" or "IxM2", a header, the index, and a vector of ids (i64).
    """
    mapped = bytes(data.data[:4]) in (b"IxMp", b"IxM2")
    if mapped:
        _faiss_header(data, (b"IxMp", b"IxM2"))
    dim, count, metric = _faiss_header(data, (b"IHNf",))
    data.vector("<f8", "level probabilities")
    upto, above, starts, places = (data.vector(f"<{form}", name) for form, name in _FAISS_GRAPH)
    entry_point, top, ef_construction, _, _ = data.numbers("5i")
    stored = _faiss_header(data, (b"IxF2", b"IxFI"))
    _require(stored == (dim, count, metric), f"the storage is of {stored}, the graph of {(dim, count, metric)}")
    vectors = data.vector("<f4", "vectors")
    _require(len(vectors) == count * dim, f"{len(vectors)} numbers are not {count} rows of {dim}")
    ids = data.vector("<i8", "ids") if mapped else np.arange(count)
    data.end()
    _require(len(ids) == count and (ids >= 0).all(), "an id is negative, or their number is not the rows'")
    M = int(upto[2]) - int(upto[1]) if len(upto) > 2 else 0
    _require(2 <= M <= 1 << 15 and len(upto) <= MAX_LEVEL, f"M {M}: does not fit here")
    expected = np.concatenate([[0], np.arange(2, len(upto) + 1) * M])
    _require(np.array_equal(upto, expected), "layer 0 does not have 2 M links, or an upper one M")
    _require(len(above) == count and len(starts) == count + 1, "levels or starts are not one a row")
    _require(((above > 0) & (above < len(upto))).all(), "a level is out of range")
    sizes = upto[above].astype(np.int64)
    _require(np.array_equal(starts, np.concatenate([[0], np.cumsum(sizes)])), "starts do not follow from the levels")
    _require(len(places) == sizes.sum(), f"{len(places)} places of links in place of {sizes.sum()}")
    _require(((places >= -1) & (places < count)).all(), "a link is out of range")
    levels, starts = above.astype(np.int64) - 1, starts[:-1].astype(np.int64)
    neighbors0 = _until_gap(places[starts[:, None] + np.arange(2 * M)])
    owner = np.repeat(np.arange(count), levels)
    layer = np.arange(len(owner)) - (np.cumsum(levels) - levels)[owner]
    upper = _until_gap(places[(starts[owner] + 2 * M + layer * M)[:, None] + np.arange(M)])
    if count:
        _require(0 <= entry_point < count and levels[entry_point] == top, "the entry point is not on the top layer")
    vectors = vectors.reshape(count, dim)
    return metric, M, ef_construction, vectors, ids, levels, neighbors0, upper, entry_point if count else -1


_FAISS_GRAPH = ("i4", "places up to levels"), ("i4", "levels"), ("u8", "starts"), ("i4", "places")


def _faiss_header(data, names):
    """The name, checked; then D, rows, and the metric."""
    name = bytes(data.array(np.uint8, 4, "name"))
    _require(name in names, f"index {name!r} is not supported: expected {' or '.join(n.decode() for n in names)}")
    dim, count, _, _, trained, metric = data.numbers("iqqqBi")
    _require(metric in (0, 1), f"metric {metric} is not supported: expected inner product (0) or L2 (1)")
    _require(dim > 0 and count >= 0 and trained == 1, f"width {dim}, {count} rows, trained {trained}")
    return dim, count, ("ip", "l2")[metric]


def _until_gap(places):
    """Lists that end at their first -1."""
    return np.where(np.logical_and.accumulate(places >= 0, axis=1), places, np.int32(-1))


# ---- to an index -----------------------------------------------------------------------------------------------------


def _assemble(metric, source, M, ef_construction, vectors, ids, levels, neighbors0, upper, entry_point):
    """The index, made as one that is read from a file of ours, and checked as that is."""
    count, dim = vectors.shape
    vectors = as_vectors(vectors, dim, metric, "vectors") + np.float32(0.0)  # no -0.0: equal rows have equal bytes
    owner = np.repeat(np.arange(count), levels)
    neighbors0 = _padded(_distinct(neighbors0, np.arange(count)), 2 * M)
    added, parent = 0, np.empty(0, np.int32)
    if count:
        parent = np.full(count, -1, np.int32)
        added = span(neighbors0, 2 * M, parent, entry_point)
    tables = {
        "vectors": vectors,
        "ids": np.asarray(ids, np.int64),
        "neighbors0": neighbors0,
        "upper": _padded(_distinct(upper, owner), M),
        "upper_start": np.where(levels > 0, np.cumsum(levels) - levels, -1).astype(np.int32),
        "levels": levels.astype(np.int8),
        "parent": parent,
        "copies": np.full(count, -1, np.int32),
    }
    template = HNSW(dim, metric, M=M, ef_construction=ef_construction)
    facts = {**template._facts(), "class": "HNSW", "dim": dim, "metric": metric, "count": count, "user": "{}"}
    facts.update(entry_point=entry_point, next_id=int(tables["ids"].max(initial=-1)) + 1)
    index = assemble(tables, {name: str(value) for name, value in facts.items()})
    index.metadata = {"converted from": source, "links added": str(added)}
    return index


def _padded(lists, most):
    """Lists as wide as the index keeps them."""
    padded = np.full((len(lists), list_width(most)), -1, np.int32)
    padded[:, : lists.shape[1]] = lists
    return padded


def _distinct(lists, owner):
    """Lists without links to their owner and without repeated ones, in their order."""
    ordered = np.sort(lists, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    for row in np.flatnonzero(twice | (lists == owner[:, None]).any(axis=1)):
        kept = [link for link in dict.fromkeys(lists[row].tolist()) if link not in (owner[row], -1)]
        lists[row] = kept + [-1] * (lists.shape[1] - len(kept))
    return lists


@kernel
def span(neighbors0, most, parent, root):
    """Give every row a parent, with links both ways, so that all lead to the root; returns how many links were added.

    From the root along links that have their counterpart. Then each row outside is joined to a row of the tree that it
    has a link to and that has a spare place, or else to the last met that has one; and the walk goes on from it.
    """
    queue, added = np.empty(parent.shape[0], np.int64), 0
    queue[0], parent[root] = root, root
    size = follow(neighbors0, parent, queue, 0, 1)
    for child in range(parent.shape[0]):
        if parent[child] >= 0:
            continue
        above, last = np.int64(-1), size - 1
        for e in neighbors0[child]:
            if above < 0 and e >= 0 and parent[e] >= 0 and degree(neighbors0[e]) < most:
                above = np.int64(e)
        while above < 0 and last >= 0:
            if degree(neighbors0[queue[last]]) < most:
                above = queue[last]
            last -= 1
        last = size - 1
        while above < 0:  # all lists are full: a row without children has a link that the tree does not need
            if free_place(neighbors0, most, parent, queue[last]) >= 0:
                above = queue[last]
            last -= 1
        added += add_link(neighbors0, most, parent, child, above) + add_link(neighbors0, most, parent, above, child)
        parent[child], queue[size] = above, child
        size = follow(neighbors0, parent, queue, size, size + 1)
    return added


@kernel
def follow(neighbors0, parent, queue, head, size):
    """Take into the tree what links both ways join to queue[head] and those after it; returns the queue's size."""
    while head < size:
        row = queue[head]
        head += 1
        for e in neighbors0[row]:
            if e >= 0 and parent[e] < 0 and has_link(neighbors0[e], row):
                parent[e], queue[size] = row, e
                size += 1
    return size


@kernel
def has_link(links, row):
    """Whether a list holds a row."""
    for e in links:
        if e == row:
            return True
    return False


@kernel
def free_place(neighbors0, most, parent, row):
    """A spare place in a row's list, or that of the last link the tree does not use; -1 where it uses all."""
    links = neighbors0[row]
    place = degree(links)
    if place < most:
        return place
    place -= 1
    while place >= 0 and (parent[links[place]] == row or parent[row] == links[place]):
        place -= 1
    return place


@kernel
def add_link(neighbors0, most, parent, row, other):
    """Link a row to another where it is not; returns how many links that made."""
    if has_link(neighbors0[row], other):
        return 0
    neighbors0[row, free_place(neighbors0, most, parent, row)] = other
    return 1
