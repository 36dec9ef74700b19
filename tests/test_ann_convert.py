"""Files of hnswlib and FAISS: the graph comes over as it is, and what is damaged or not supported is refused."""

import struct

import numpy as np
import pytest

import ann
from ann.convert import span

M = 4


def built(metric="l2", n=60, dim=3):
    """An index of ours, and its graph as lists: levels, lists of layer 0, upper lists, entry point."""
    index = ann.HNSW(dim, metric, M=M, ef_construction=20, seed=3)
    index.add(np.random.default_rng(0).standard_normal((n, dim)), np.arange(n) * 2)
    lists0 = [[e for e in row if e >= 0] for row in index._neighbors0[:n].tolist()]
    upper = [[e for e in row if e >= 0] for row in index._upper[: index._upper_count].tolist()]
    return index, (index._levels[:n].tolist(), lists0, upper, index._entry_point)


def packed(numbers, form, places, fill):
    return struct.pack(f"<{places}{form}", *numbers, *[fill] * (places - len(numbers)))


def hnswlib_bytes(index, graph, deleted=(), **changes):
    """What hnswlib's save_index writes for the graph."""
    levels, lists0, upper, entry_point = graph
    vectors, ids, n = index._vectors[: len(levels)], index.ids.tolist(), len(levels)
    vector_at, label_at = 4 + 8 * M, 4 + 8 * M + 4 * index.dim
    header = {"zero": 0, "capacity": n, "count": n, "row": label_at + 8, "label": label_at, "vector": vector_at}
    header |= {"top": max(levels, default=-1), "entry": entry_point & 0xFFFFFFFF, "M": M, "M0": 2 * M, "again": M}
    header |= {"m_L": 1 / np.log(M), "ef": 20} | changes
    data = struct.pack("<6QiI3QdQ", *header.values())
    for row in range(n):
        data += struct.pack("<HBB", len(lists0[row]), row in deleted, 0) + packed(lists0[row], "I", 2 * M, 7)
        data += vectors[row].tobytes() + struct.pack("<Q", ids[row])
    first = 0
    for level in levels:
        data += struct.pack("<I", level * (4 + 4 * M))
        for links in upper[first : first + level]:
            data += struct.pack("<I", len(links)) + packed(links, "I", M, 7)
        first += level
    return data


def vector_bytes(form, numbers):
    return struct.pack(f"<Q{len(numbers)}{form}", len(numbers), *numbers)


def faiss_bytes(index, graph, mapped=None, **changes):
    """What FAISS's write_index writes for the graph."""
    levels, lists0, upper, entry_point = graph
    n, metric, first, places = len(levels), int(index.metric == "l2"), 0, []
    for row, level in enumerate(levels):
        for links, most in [(lists0[row], 2 * M), *((links, M) for links in upper[first : first + level])]:
            places += links + [-1] * (most - len(links))
        first += level
    upto = [0, *(M * (2 + level) for level in range(max(levels, default=0) + 3))]
    parts = {"upto": upto, "levels": [level + 1 for level in levels], "places": places, "dim": index.dim, "rows": n}
    parts |= {"metric": metric, "trained": 1, "name": b"IHNf", "entry": entry_point, "top": max(levels, default=-1)}
    parts |= {"starts": np.cumsum([0, *(upto[level + 1] for level in levels)]).tolist()}
    parts |= {"numbers": index._vectors[:n].ravel().tolist(), "storage": b"IxF2" if metric else b"IxFI"} | changes
    about = struct.pack("<iqqqBi", parts["dim"], parts["rows"], 1 << 20, 1 << 20, parts["trained"], parts["metric"])
    data = parts["name"] + about + vector_bytes("d", [0.5, 0.25])
    for form, name in (("i", "upto"), ("i", "levels"), ("Q", "starts"), ("i", "places")):
        data += vector_bytes(form, parts[name])
    data += struct.pack("<5i", parts["entry"], parts["top"], 20, 16, 1) + parts["storage"] + about
    data += vector_bytes("f", parts["numbers"])
    return mapped + about + data + vector_bytes("q", index.ids.tolist()) if mapped else data


def same_answers(index, other):
    queries = np.random.default_rng(1).standard_normal((20, index.dim))
    return all(
        np.array_equal(a, b) for a, b in zip(index.search(queries, 5, 8), other.search(queries, 5, 8), strict=True)
    )


@pytest.mark.kernels
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_hnswlib_graph_comes_over(metric, tmp_path):
    """Ids, vectors, levels, links: the same answers at a small ef; nothing added to a sound graph; and it goes on."""
    index, graph = built(metric)
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, graph))
    other = ann.from_hnswlib(tmp_path / "a", metric)
    assert other.check() == [] and other.M == M and other.ids.tolist() == index.ids.tolist()
    assert other.metadata == {"converted from": "hnswlib", "links added": "0"} and same_answers(index, other)
    other.add(np.ones((3, 3)))
    other.save(tmp_path / "b")
    assert same_answers(ann.load(tmp_path / "b"), other) and other.check() == []


def test_hnswlib_deleted_rows_stay_deleted(tmp_path):
    """A row with the mark is not found, and its id can be given again."""
    index, graph = built()
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, graph, deleted=[7]))
    other = ann.from_hnswlib(tmp_path / "a", "l2")
    assert len(other) == 59 and 14 not in other.ids and other.check() == []
    other.add([[0, 0, 0]], [14])
    assert other.search([[0, 0, 0]], 1, 200)[0] == [[14]]


@pytest.mark.kernels
@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("mapped", [None, b"IxMp", b"IxM2"])
def test_faiss_graph_comes_over(metric, mapped, tmp_path):
    """The same from FAISS, whose ids are the rows' numbers but for an id map."""
    index, graph = built(metric)
    (tmp_path / "a").write_bytes(faiss_bytes(index, graph, mapped))
    other = ann.from_faiss(tmp_path / "a")
    assert other.check() == [] and other.metric == metric and other.metadata["links added"] == "0"
    assert other.ids.tolist() == (index.ids.tolist() if mapped else list(range(60)))
    if mapped:
        assert same_answers(index, other)


def test_empty_files_come_over(tmp_path):
    """An index without rows."""
    index, graph = ann.HNSW(3, "l2", M=M), ([], [], [], -1)
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, graph))
    (tmp_path / "b").write_bytes(faiss_bytes(index, graph))
    for other in (ann.from_hnswlib(tmp_path / "a", "l2"), ann.from_faiss(tmp_path / "b")):
        assert len(other) == 0 and other.dim == 3 and other.check() == []
        other.add(np.eye(3))
        assert other.search(np.eye(3), 1)[0].ravel().tolist() == [0, 1, 2]


@pytest.mark.kernels
@pytest.mark.parametrize("seed", range(8))
def test_span_reaches_every_row(seed):
    """From any links, also none: a tree of links both ways, lists no longer than allowed, few links replaced."""
    rng = np.random.default_rng(seed)
    n, most = 40, 4
    neighbors0 = np.full((n, 16), -1, np.int32)
    for row in range(n):
        links = rng.permutation(np.delete(np.arange(n if seed % 2 else 9), row if row < (n if seed % 2 else 9) else []))
        neighbors0[row, : (seed % 5)] = links[: seed % 5]
    parent = np.full(n, -1, np.int32)
    span(neighbors0, most, parent, 3)
    assert parent[3] == 3 and (parent >= 0).all() and (neighbors0[:, most:] == -1).all()
    for row in range(n):
        used = [e for e in neighbors0[row].tolist() if e >= 0]
        assert len(set(used)) == len(used) and row not in used
        assert row == 3 or (row in neighbors0[parent[row]] and parent[row] in neighbors0[row])
        above = row
        for _ in range(n):
            above = parent[above]
        assert above == 3


def test_repeated_links_are_left_out(tmp_path):
    """A link to the row itself and one that is there twice: dropped, the others in their order."""
    index, graph = built()
    lists0 = [list(links) for links in graph[1]]
    lists0[5] = [lists0[5][0], 5, lists0[5][0], *lists0[5][1:]][: 2 * M]
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, (graph[0], lists0, *graph[2:])))
    assert ann.from_hnswlib(tmp_path / "a", "l2").check() == []


WRONG_HNSWLIB = [{name: value} for name in ("row", "label", "vector", "M", "M0") for value in (0, 1 << 62)]
WRONG_HNSWLIB += [{"count": 1 << 62}, {"count": 61}, {"capacity": 0}, {"top": 9}, {"entry": 60}]
WRONG_HNSWLIB += [{"ef": 0}, {"ef": 1 << 40}, {"M": 1 << 40}]


@pytest.mark.parametrize("changes", WRONG_HNSWLIB, ids=str)
def test_hostile_hnswlib_headers(changes, tmp_path):
    """Sizes that do not fit each other or the file are refused before anything of that size is made."""
    index, graph = built()
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, graph, **changes))
    with pytest.raises(ann.CorruptIndexError, match="a: "):
        ann.from_hnswlib(tmp_path / "a", "l2")


WRONG_FAISS = [
    {"rows": 1 << 60},
    {"rows": -1},
    {"rows": 59},
    {"dim": 0},
    {"dim": 1 << 30},
    {"metric": 2},
    {"trained": 0},
    {"name": b"IwFl"},
    {"storage": b"IxPq"},
    {"entry": 60},
    {"entry": -1},
    {"top": 7},
    {"upto": [0, 8]},
    {"upto": [0, 8, 13, 17, 21, 25, 29]},
    {"levels": [99] * 60},
    {"levels": [0] * 60},
    {"starts": [0] * 61},
    {"places": [0]},
    {"numbers": [1.0]},
    {"numbers": [float("nan")] * 180},
]


@pytest.mark.parametrize("changes", WRONG_FAISS, ids=lambda changes: next(iter(changes)))
def test_hostile_faiss_files(changes, tmp_path):
    """Parts that do not fit each other, and indexes that are not supported."""
    index, graph = built()
    (tmp_path / "a").write_bytes(faiss_bytes(index, graph, **changes))
    with pytest.raises(ann.CorruptIndexError, match="a: "):
        ann.from_faiss(tmp_path / "a")


def test_links_out_of_range(tmp_path):
    """On layer 0 and above, and lists longer than their places."""
    index, graph = built()
    for layer, wrong in ((1, [60]), (1, [-5 & 0xFFFFFFFF]), (2, [60])):
        lists = [list(links) for links in graph[layer]]
        lists[0] = wrong
        changed = (*graph[:layer], lists, *graph[layer + 1 :])
        (tmp_path / "a").write_bytes(hnswlib_bytes(index, changed))
        with pytest.raises(ann.CorruptIndexError, match="link out of range"):
            ann.from_hnswlib(tmp_path / "a", "l2")
        if wrong[0] == 60:
            (tmp_path / "a").write_bytes(faiss_bytes(index, changed))
            with pytest.raises(ann.CorruptIndexError, match="link is out of range"):
                ann.from_faiss(tmp_path / "a")
    raw = bytearray(hnswlib_bytes(index, graph))
    raw[96:98] = b"\xff\xff"
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(ann.CorruptIndexError, match="list 0 is too long"):
        ann.from_hnswlib(tmp_path / "a", "l2")


@pytest.mark.parametrize("form", ["hnswlib", "faiss"])
def test_damaged_files_never_crash(form, tmp_path):
    """These formats have no checksums: a cut file is refused; after a flipped bit the file is refused or sound."""
    index, graph = built(n=30)
    raw = bytearray(hnswlib_bytes(index, graph) if form == "hnswlib" else faiss_bytes(index, graph, b"IxMp"))
    read = (lambda path: ann.from_hnswlib(path, "l2")) if form == "hnswlib" else ann.from_faiss
    path, rng, refused = tmp_path / "a", np.random.default_rng(0), 0
    for size in range(0, len(raw), 1 + len(raw) // 150):
        path.write_bytes(raw[:size])
        with pytest.raises(ann.CorruptIndexError):
            read(path)
    for position in rng.permutation(len(raw))[:250].tolist():
        bit = 1 << int(rng.integers(8))
        raw[position] ^= bit
        path.write_bytes(raw)
        try:
            found = read(path)
        except ann.CorruptIndexError:
            refused += 1
        else:
            assert found.check() == [] and found.search(np.ones((1, 3)), 3)[0].shape == (1, 3)
        raw[position] ^= bit
    assert refused > 50


def test_cosine_needs_rows_of_length_1(tmp_path):
    """Rows that are not normalized, under cosine, are refused with the row; zero rows are not."""
    index, graph = built("l2")
    index._vectors[:60] /= np.linalg.norm(index._vectors[:60], axis=1, keepdims=True)
    index._vectors[3] = 0
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, graph))
    assert ann.from_hnswlib(tmp_path / "a", "cosine").check() == []
    index._vectors[5] *= 1.01
    (tmp_path / "a").write_bytes(hnswlib_bytes(index, graph))
    with pytest.raises(ValueError, match="vectors: row 5 has length 1.01, not 1 or 0"):
        ann.from_hnswlib(tmp_path / "a", "cosine")


def test_converters_say_what_they_need(tmp_path):
    """An unknown metric is a ValueError, a missing file an OSError, another file a CorruptIndexError."""
    with pytest.raises(ValueError, match="metric: expected one of"):
        ann.from_hnswlib(tmp_path / "a", "euclidean")
    with pytest.raises(FileNotFoundError):
        ann.from_faiss(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"text, and not an index of any kind, in more than a hundred bytes; " * 3)
    with pytest.raises(ann.CorruptIndexError):
        ann.from_hnswlib(tmp_path / "a", "l2")
    with pytest.raises(ann.CorruptIndexError, match="is not supported"):
        ann.from_faiss(tmp_path / "a")
