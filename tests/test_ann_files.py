"""ann's files: they come back whole, are refused when damaged, and a failed save leaves the old one."""

import json
import os
import stat

import numpy as np
import pytest
from ann_classes import every
from ann_classes import small as fresh
from safetensors.numpy import load_file

import ann
from ann.files import atomic_write, read_tables, write_tables
from helpers import ROOT, run_python

GOLDEN = ROOT / "tests" / "golden"


def gaussian(seed, n, dim):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def small(make=ann.HNSW, n=12, dim=3, **options):
    """An index with upper layers, a copy, a removed row and a replaced one."""
    own = {ann.HNSW: {"M": 2, "ef_construction": 5, "seed": 1}, ann.IVFPQ: {"lists": 2, "M": 2 * -(-dim // 4)}}
    index = fresh(make, dim, "l2", **{**own.get(make, {}), **options})
    index.fit_from = 5
    x = gaussian(0, n, dim)
    x[5] = x[4]
    index.add(x)
    index.add(x[:1] + 1, [3])
    index.remove([2])
    index.metadata = {"encoder": "ä", "made by": "test"}
    return index


def answers(index):
    ids, distances = index.search(gaussian(1, 5, index.dim), k=20)
    return ids.tolist(), distances.tolist(), index.ids.tolist(), index.metadata


@pytest.mark.kernels
@every
@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n", [0, 12])
def test_files_load_inverts_save(make, mmap, n, tmp_path):
    """A loaded index answers alike, saves to the same bytes, and goes on as the saved one would."""
    index = small(make) if n else fresh(make, 3)
    index.save(tmp_path / "a")
    loaded = ann.load(tmp_path / "a", mmap=mmap)
    assert type(loaded) is make and loaded.metric == index.metric and loaded.check() == []
    assert answers(loaded) == answers(index)
    loaded.fit_from = index.fit_from
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for each, name in ((index, "c"), (loaded, "d")):
        assert each.add(gaussian(2, 40, 3)).tolist() == list(range(n, n + 40))
        each.save(tmp_path / name)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()


def test_files_mapped_index_never_writes(tmp_path):
    """Changing a mapped index, or saving over its file, leaves the mapped data and the old file alone."""
    index = small()
    index.save(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    mapped, other = (ann.load(tmp_path / "a", mmap=True) for _ in range(2))
    mapped.add(gaussian(3, 5, 3))
    assert (tmp_path / "a").read_bytes() == before
    mapped.save(tmp_path / "a")
    assert answers(other) == answers(index)
    assert answers(ann.load(tmp_path / "a")) == answers(mapped)


def test_files_are_safetensors(tmp_path):
    """The safetensors library reads every table; tables start on a 64-byte line; metadata says what it is."""
    index = small()
    index.save(tmp_path / "a")
    tables = load_file(tmp_path / "a")
    assert np.array_equal(tables["vectors"], index._vectors[:13])
    assert np.array_equal(tables["neighbors0"], index._neighbors0[:13])
    raw = (tmp_path / "a").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    for name, entry in header.items():
        if name != "__metadata__" and not name.startswith("padding."):
            assert (8 + length + entry["data_offsets"][0]) % 64 == 0
    facts = header["__metadata__"]
    assert facts["class"] == "HNSW" and facts["M"] == "2" and facts["metric"] == "l2" and facts["count"] == "13"


@every
def test_files_flipped_bytes_are_refused(make, tmp_path):
    """500 bytes of each file (3,000 in all), with one bit flipped: CorruptIndexError naming the file."""
    path = tmp_path / "a"
    small(make, n=6, dim=1, **{"trees": 1} if make is ann.RPForest else {}).save(path)
    raw = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.permutation(len(raw))[:500].tolist():
        bit = 1 << int(rng.integers(8))
        raw[position] ^= bit
        path.write_bytes(raw)
        with pytest.raises(ann.CorruptIndexError, match="a: "):
            ann.load(path, mmap=bool(position % 2))
        raw[position] ^= bit


@every
def test_files_truncations_are_refused(make, tmp_path):
    """Cut in 100 places a file, or with bytes behind the end: CorruptIndexError."""
    path = tmp_path / "a"
    small(make, n=6, dim=1).save(path)
    raw = path.read_bytes()
    for size in [*range(0, len(raw), 1 + len(raw) // 100), len(raw) - 1]:
        path.write_bytes(raw[:size])
        with pytest.raises(ann.CorruptIndexError):
            ann.load(path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(ann.CorruptIndexError, match="expected .* bytes, got"):
        ann.load(path)


def test_files_huge_sizes_are_refused_before_allocation(tmp_path):
    """A declared size beyond the file is refused, not allocated."""
    path = tmp_path / "a"
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ann.CorruptIndexError, match="does not fit"):
        ann.load(path)
    small().save(path)
    tables, facts = read_tables(path)
    huge = tables["vectors"]
    write_tables(path, {**tables, "vectors": huge}, {**facts, "count": str(1 << 40)})
    with pytest.raises(ann.CorruptIndexError, match="vectors: shape"):
        ann.load(path)


def test_files_other_files_are_refused(tmp_path):
    """Another safetensors file, JSON that is no header, text: CorruptIndexError. A missing file: FileNotFoundError."""
    path = tmp_path / "a"
    write_tables(path, {"x": np.zeros(3, np.float32)}, {"format": "pt"})
    with pytest.raises(ann.CorruptIndexError, match="not an index of this library"):
        ann.load(path)
    for text in (b"[1]", b"{}", b'{"__metadata__": 3}', b"\xff", b"[" * 100_000):
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(ann.CorruptIndexError):
            ann.load(path)
    with pytest.raises(FileNotFoundError):
        ann.load(tmp_path / "nothing")


DAMAGES = {
    "link is out of range": lambda t: t["neighbors0"].__setitem__((0, 0), 13),
    "link follows the end": lambda t: t["neighbors0"].__setitem__((0, 9), 1),
    "linked to itself": lambda t: t["neighbors0"].__setitem__((0, 0), 0),
    "is there twice": lambda t: t["neighbors0"].__setitem__((1, 1), t["neighbors0"][1, 0]),
    "parent are not linked both ways": lambda t: t["neighbors0"].__setitem__(1, -1),
    "row 3 and its parent are not linked": lambda t: t["parent"].__setitem__(3, 7),
    "do not lead to one root": lambda t: t["parent"].__setitem__(0, 1),
    "is not a linked row": lambda t: t["parent"].__setitem__(1, 5),
    "vacant row is live": lambda t: (t["copies"].fill(-1), t["parent"].__setitem__(t["parent"] == -1, -2)),
    "row of a lower level": lambda t: t["upper"].__setitem__((0, 0), int(np.flatnonzero(t["levels"] == 0)[0])),
    "do not follow from the levels": lambda t: t["upper_start"].__setitem__(0, 5),
    "has level -1": lambda t: t["levels"].__setitem__(0, -1),
    "chain of copies|not each on one chain": lambda t: t["copies"].__setitem__(5, 5),
    "is not a copy of row": lambda t: t["vectors"].__setitem__(5, 9.0),
    "is not finite": lambda t: t["vectors"].__setitem__((1, 1), np.nan),
    "an id has two rows": lambda t: t["ids"].__setitem__(0, t["ids"][1]),
    "is among the ids": lambda t: t["ids"].__setitem__(0, 99),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_files_wrong_structure_is_refused(message, tmp_path):
    """A file whose checksums are right but whose graph is not: refused with the row."""
    path = tmp_path / "a"
    small().save(path)
    tables, facts = read_tables(path)
    assert np.flatnonzero(tables["copies"] >= 0).size, "the sample needs a copy"
    DAMAGES[message](tables)
    write_tables(path, tables, facts)
    with pytest.raises(ann.CorruptIndexError, match=message):
        ann.load(path)


FALSE_FACTS = [
    {"entry_point": "77"},
    {"entry_point": "-1"},
    {"entry_point": "x"},
    {"count": "3"},
    {"dim": "4"},
    {"dim": "-1"},
    {"M": "1"},
    {"M": "40"},
    {"metric": "l1"},
    {"class": "Other"},
    {"format_version": "3"},
    {"next_id": "3"},
    {"user": "{"},
    {"user": "[" * 100_000},
    {"user": "[]"},
    {"user": '{"a": 1}'},
    {"dim": str(10**12)},
    {"ef_construction": str(10**12)},
]


@pytest.mark.parametrize("facts", FALSE_FACTS, ids=lambda facts: str(facts)[:40])
def test_files_false_facts_are_refused(facts, tmp_path):
    """Numbers that do not fit the tables, and versions and classes unknown: refused."""
    path = tmp_path / "a"
    small().save(path)
    tables, true = read_tables(path)
    for name in facts:
        assert name in true
    write_tables(path, tables, {**true, **facts})
    with pytest.raises(ann.CorruptIndexError):
        ann.load(path)
    for name in ("entry_point", "parent"):
        fewer = {key: value for key, value in tables.items() if key != name}
        write_tables(path, fewer, {key: value for key, value in true.items() if key != name})
        with pytest.raises(ann.CorruptIndexError, match=name):
            ann.load(path)


def test_metadata_must_be_strings(tmp_path):
    """Other values are refused before anything is written."""
    index = small()
    index.metadata["n"] = 3
    with pytest.raises(ValueError, match="dictionary of strings"):
        index.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


SAVE = """
import sys, numpy as np, ann
index = ann.Exact(64)
index.add(np.random.default_rng(1).standard_normal((500, 64)))
"""


def test_save_to_a_full_disk_keeps_the_old_file(tmp_path):
    """With a limit on file size, save raises OSError; the old file is as it was, and nothing else is left."""
    path = tmp_path / "a"
    small(ann.Exact).save(path)
    before = path.read_bytes()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    done = run_python(SAVE + limit + "index.save(sys.argv[1])", path)
    assert done.returncode == 1 and "OSError" in done.stderr
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_kill_during_save_keeps_the_old_file(function, tmp_path):
    """Killed before the data is on disk, or before the rename: the old file loads."""
    path = tmp_path / "a"
    small(ann.Exact).save(path)
    before = path.read_bytes()
    kill = f"import os, signal; os.{function} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
    done = run_python(SAVE + kill + "index.save(sys.argv[1])", path)
    assert done.returncode == -9
    assert path.read_bytes() == before and ann.load(path).metadata["encoder"] == "ä"


def test_atomic_write_replaces_or_leaves(tmp_path):
    """The file changes at the end of the block only, through symbolic links too; an error leaves no trace."""
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with pytest.raises(KeyboardInterrupt), atomic_write(link) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old" and len(os.listdir(tmp_path)) == 2
    with atomic_write(link) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new" and link.is_symlink()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("make, name", [(ann.HNSW, "hnsw"), (ann.Exact, "exact")])
def test_files_of_format_1_are_read(make, name, tmp_path):
    """Files that the first version wrote: the rows, the answers of exact search over them, and they go on."""
    index = ann.load(GOLDEN / f"ann-1-{name}.index")
    assert type(index) is make and index.metadata == {"encoder": "ä"} and index.check() == []
    assert (index.effort, index.certificate, index._next_id) == (64, None, 24)
    rows = np.random.default_rng(7).integers(-9, 10, (24, 3)).astype(np.float32)
    rows[5] = rows[4]
    rows[3] = rows[0] + 1
    exact = ann.Exact(3, "l2")
    exact.add(np.delete(rows, [2, 11], axis=0), np.delete(np.arange(24), [2, 11]))
    queries = gaussian(1, 20, 3) * 5
    for each in (index, exact):
        each.add(rows[:1] - 1, [40])
    got, expected = index.search(queries, 30, ef=200), exact.search(queries, 30)
    assert np.array_equal(got[0], expected[0]) and np.array_equal(got[1], expected[1])
    index.save(tmp_path / "a")
    assert answers(ann.load(tmp_path / "a")) == answers(index)


@every
def test_save_where_it_cannot(make, tmp_path):
    """Into a folder that is not there, or over one: OSError, and no trace is left."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "nothing" / "a", tmp_path / "folder"):
        with pytest.raises(OSError):
            small(make).save(path)
    assert os.listdir(tmp_path) == ["folder"] and not os.listdir(tmp_path / "folder")
