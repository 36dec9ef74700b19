"""What callers may pass to an index, what they may not, and that any sequence of calls keeps it right."""

import subprocess
import sys

import numpy as np
import pytest
from ann_classes import FIT_FROM, every, everything, small
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import ann
from helpers import interpreted

pytestmark = pytest.mark.kernels


def gaussian(seed, n, dim):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def mapped(x, tmp_path):
    path = tmp_path / "rows"
    x.tofile(path)
    return np.memmap(path, x.dtype, "r", shape=x.shape)


FORMS = {
    "float16": lambda x, _: x.astype(np.float16),
    "float64": lambda x, _: x.astype(np.float64),
    "int8": lambda x, _: x.astype(np.int8),
    "uint64": lambda x, _: np.abs(x).astype(np.uint64),
    "list": lambda x, _: x.tolist(),
    "Fortran": lambda x, _: np.asfortranarray(x),
    "strided": lambda x, _: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x, _: x[::-1].copy()[::-1],
    "read-only": lambda x, _: read_only(x),
    "big-endian": lambda x, _: x.astype(">f4"),
    "memory-mapped": mapped,
}


@every
@pytest.mark.parametrize("form", FORMS)
def test_index_takes_any_real_array(make, form, tmp_path):
    """Every form of the same numbers gives the same answers, and the caller's array stays as it was."""
    x = np.random.default_rng(0).integers(0 if form == "uint64" else -9, 9, (30, 6)).astype(np.float32)
    given = FORMS[form](x, tmp_path)
    plain, other = small(make, 6), small(make, 6)
    plain.add(x)
    other.add(given)
    expected, got = plain.search(x, 3), other.search(given, 3)
    assert np.array_equal(expected[0], got[0]) and np.array_equal(expected[1], got[1])
    assert np.array_equal(np.asarray(given, np.float32), x)


def with_value(value, dtype=np.float32):
    x = np.ones((5, 4), dtype)
    x[3, 2] = value
    return x


BAD_ROWS = {
    "row 3, column 2 is nan": with_value(np.nan),
    "row 3, column 2 is inf": with_value(np.inf),
    "row 3, column 2 is -inf": with_value(-1e300, np.float64),
    r"expected shape \(n, 4\), got \(5, 3\)": np.ones((5, 3)),
    r"expected shape \(n, 4\), got \(4,\); for one vector": np.ones(4),
    r"expected shape \(n, 4\), got \(1, 5, 4\)": np.ones((1, 5, 4)),
    "got dtype object": np.ones((5, 4), object),
    "got dtype complex128": np.ones((5, 4), complex),
    "got dtype bool": np.ones((5, 4), bool),
    "got dtype <U1": [["a", "b", "c", "d"]],
    "rows of different lengths": [[1, 2, 3, 4], [1, 2]],
}


@every
@pytest.mark.parametrize("message", BAD_ROWS)
def test_index_refuses_bad_rows(make, message):
    """Rows and queries that cannot be right are refused with their place, and the index stays as it was."""
    index = make(4)
    index.add(np.eye(4))
    for call in (index.add, index.search, index.recall):
        with pytest.raises(ValueError, match=message):
            call(BAD_ROWS[message])
    assert len(index) == 4 and index.check() == []


@every
def test_index_refuses_rows_that_overflow(make):
    """Under l2 and ip, a row so long that distances pass float32 is refused; under cosine it is normalized."""
    x = with_value(1e19)
    for metric in ("l2", "ip"):
        with pytest.raises(ValueError, match="row 3 has length 1e"):
            make(4, metric).add(x)
    index = make(4)
    index.add(x)
    assert index.search(x[3:4], 1)[0] == [[3]]


BAD_IDS = {
    "id 7 is given twice, at positions 0 and 2": [7, 8, 7],
    "got -1 at position 1": [0, -1, 2],
    "got 9223372036854775808 at position 2": np.array([0, 1, 2**63], np.uint64),
    "got dtype float64": [0.0, 1.0, 2.0],
    "got dtype object": [0, 1, 2**70],
    "got dtype <U1": ["a", "b", "c"],
    "expected one for each of 3 vectors, got 2": [1, 2],
    r"expected shape \(n,\)": [[1, 2, 3]],
}


@every
@pytest.mark.parametrize("message", BAD_IDS)
def test_index_refuses_bad_ids(make, message):
    """Ids that cannot be right are refused, and nothing has been added."""
    index = make(2)
    with pytest.raises(ValueError, match=message):
        index.add(np.ones((3, 2)), BAD_IDS[message])
    assert len(index) == 0


@every
def test_index_ids_run_out(make):
    """The largest id is 2^63 - 1; after it, default ids are refused rather than wrapped."""
    index = make(2)
    index.add([[1, 0]], [2**63 - 1])
    with pytest.raises(ValueError, match="no 1 numbers are left"):
        index.add([[0, 1]])
    assert index.search([[1, 0]], 1)[0] == [[2**63 - 1]]


@every
def test_remove_refuses_unknown_ids(make):
    """An unknown id is named with its place, and nothing is removed; so is one given twice."""
    index = make(2)
    index.add(np.eye(2))
    with pytest.raises(ValueError, match="id 5 at position 1 is not in the index"):
        index.remove([0, 5])
    with pytest.raises(ValueError, match="id 0 is given twice"):
        index.remove([0, 0])
    assert index.ids.tolist() == [0, 1]


@every
@pytest.mark.parametrize("name, value", [("k", 0), ("k", -1), ("k", 2.0), ("knob", 0), ("threads", 0), ("k", True)])
def test_search_refuses_bad_numbers(make, name, value):
    """k, ef (nprobe, search_k) and threads are integers from 1 on."""
    index = make(2)
    index.add(np.eye(2))
    name = index.knob if name == "knob" else name
    with pytest.raises(ValueError, match=f"{name}: expected an integer ≥ 1"):
        index.search(np.eye(2), **{name: value})


def test_settings_are_checked():
    """Metric, width, M, ef_construction and seed are checked when the index is made."""
    for wrong in ({"metric": "L2"}, {"dim": 0}, {"M": 1}, {"ef_construction": 0}, {"seed": -1}, {"dim": "8"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            ann.HNSW(**{"dim": 4, **wrong})


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_add_and_recall_refuse_bad_threads(threads):
    """Threads are an integer from 1 on, in every call that takes them; nothing has been added then."""
    index = ann.HNSW(3)
    for call in (index.add, index.recall):
        with pytest.raises(ValueError, match="threads: expected an integer ≥ 1"):
            call(gaussian(0, 4, 3), threads=threads)
    assert len(index) == index._count == 0


@every
def test_search_pads(make):
    """k > n, an empty index, no queries, and ef < k: always (Q, k), with -1 and inf where no row is left."""
    index = make(3)
    for rows in (0, 2):
        index.add(gaussian(0, rows, 3))
        ids, distances = index.search(gaussian(1, 4, 3), k=5, **{index.knob: 1})
        assert (ids[:, :rows] >= 0).all() and (ids[:, rows:] == -1).all()
        assert np.isfinite(distances[:, :rows]).all() and np.isposinf(distances[:, rows:]).all()
    assert index.search(np.empty((0, 3)), 5)[0].shape == index.search([], 5)[1].shape == (0, 5)
    index.add([])
    assert len(index) == 2


@every
def test_zero_vectors_under_cosine(make):
    """A zero vector is at distance 1 from everything, itself included, as a row and as a query."""
    index = make(3)
    index.add([[0, 0, 0], [1, 0, 0], [0, 0, 0], [-1, 0, 0]])
    ids, distances = index.search([[0, 0, 0], [2, 0, 0]], 4)
    assert distances.tolist() == [[1, 1, 1, 1], [0, 1, 1, 2]]
    assert ids.tolist() == [[0, 1, 2, 3], [1, 0, 2, 3]]


@every
def test_allow_is_checked(make):
    """A mask must fit index.ids; ids that the index has not allow nothing; an empty list allows no row."""
    index = make(3)
    index.add(gaussian(0, 9, 3))
    index.remove([4])
    with pytest.raises(ValueError, match=r"mask of shape \(8,\)"):
        index.search(gaussian(1, 1, 3), allow=np.ones(9, bool))
    with pytest.raises(ValueError, match="at position 0"):
        index.search(gaussian(1, 1, 3), allow=[-1])
    assert (index.search(gaussian(1, 2, 3), 3, allow=[4, 77])[0] == -1).all()
    assert (index.search(gaussian(1, 2, 3), 3, allow=[])[0] == -1).all()
    assert sorted(index.search(gaussian(1, 1, 3), 3, allow=[4, 5, 8])[0][0].tolist()) == [-1, 5, 8]


@every
def test_equal_distances_are_ordered_by_id(make):
    """Among rows at one distance the smaller id comes first, whatever the order of adding."""
    index = make(2, "l2")
    index.add([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]], [5, 3, 9, 1, 4])
    assert index.search([[0, 0]], 5)[0].tolist() == [[1, 3, 4, 5, 9]]


@every
def test_add_returns_ids_and_upserts(make):
    """Default ids follow the largest ever used; an id given again has its new vector only."""
    index = make(2, "l2")
    assert index.add([[0, 0], [1, 1]]).tolist() == [0, 1]
    assert index.add([[5, 5]], [10]).tolist() == [10]
    index.remove([10])
    assert index.add([[6, 6]]).tolist() == [11]
    index.add([[9, 9]], [0])
    assert len(index) == 3 and index.ids.tolist() == [1, 11, 0]
    assert index.search([[0, 0]], 1)[0] == [[1]] and index.search([[9, 9]], 1)[0] == [[0]]


def test_import_is_light():
    """`import ann` loads neither NumPy nor Numba; unknown names raise AttributeError."""
    code = "import sys, ann; assert not {'numpy', 'numba'} & set(sys.modules); assert dir(ann) == sorted(dir(ann))"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ann.Nothing


def test_kernel_without_a_cache_folder_warns(monkeypatch):
    """Where no cache folder is writable, kernels work and say so once each."""
    from ann import _jit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'f': no locator available")
        return lambda function: function

    monkeypatch.setattr(_jit, "njit", njit)
    with pytest.warns(RuntimeWarning, match="compiled anew"):
        assert _jit.kernel(lambda: 3)() == 3


class AnyCalls(RuleBasedStateMachine):
    """An index against a dictionary and exact search, under any sequence of calls."""

    vector = st.tuples(*[st.integers(-3, 3)] * 3)
    ids = st.lists(st.integers(0, 25), unique=True, max_size=12)

    @initialize(
        metric=st.sampled_from(["l2", "ip"]), walk=st.booleans(), quantize=st.sampled_from([None, "int8", "int4"])
    )
    def start(self, metric, walk, quantize):
        options = {"quantize": quantize} if self.make is ann.HNSW else {}
        self.index, self.rows = small(self.make, 3, metric, **options), {}
        self.walk = walk
        self.choose()

    def choose(self):
        self.index.fit_from = FIT_FROM
        if self.walk:
            self.index._better_exact = lambda allowed, ef: False

    @rule(ids=ids, data=st.data())
    def add(self, ids, data):
        vectors = [data.draw(self.vector) for _ in ids]
        self.index.add(np.reshape(vectors, (len(ids), 3)), ids)
        for i, vector in zip(ids, vectors, strict=True):
            self.rows.pop(i, None)
            self.rows[i] = vector

    @rule(data=st.data())
    def remove(self, data):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.rows)), unique=True)) if self.rows else []
        self.index.remove(ids)
        for i in ids:
            del self.rows[i]

    @rule()
    def compact(self):
        self.index.compact()

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap):
        path = self.folder / "index"
        self.index.save(path)
        self.index = ann.load(path, mmap)
        self.choose()

    @rule(query=vector, k=st.integers(1, 30), allow=st.none() | ids)
    def search(self, query, k, allow):
        exact = ann.Exact(3, self.index.metric)
        exact.add(np.reshape(list(self.rows.values()), (len(self.rows), 3)), list(self.rows))
        got, expected = (each.search([query], k, allow=allow, **everything(each)) for each in (self.index, exact))
        assert np.array_equal(got[0], expected[0]) and np.array_equal(got[1], expected[1])

    @rule(k=st.integers(1, 9))
    def recall(self, k):
        assert self.index.recall(None, k, 10_000) == 1.0

    @invariant()
    def sound(self):
        if hasattr(self, "index"):
            assert sorted(self.index.ids.tolist()) == sorted(self.rows)
            assert self.index.check() == []


@every
def test_any_calls(make, tmp_path):
    """Adds, upserts, removals, compact, save and load in any order: the ids, the answers and check() stay right."""
    from hypothesis.stateful import run_state_machine_as_test

    AnyCalls.folder, AnyCalls.make = tmp_path, make
    examples = 3 if interpreted() else 25
    run_state_machine_as_test(AnyCalls, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))
