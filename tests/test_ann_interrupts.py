"""Ctrl-C at any moment: an index then holds a prefix of the change, is sound, saves, loads, and can go on."""

import os
import signal
import sys
from copy import deepcopy

import numpy as np
import pytest

import ann
from ann import exact_index, files, hnsw_index
from ann import index as index_module
from helpers import interpreted

pytestmark = pytest.mark.kernels
STRIDE = 5  # of the moments that are tried; with 1, all of them, the tests of this file take a minute
TRACED = {module.__file__ for module in (index_module, exact_index, hnsw_index, files)}


def interrupt(call, step):
    """Raise KeyboardInterrupt before the step-th bytecode that `call` runs in ann's files; whether there are so many.

    Signals take effect between two bytecodes of Python, so these are all the moments there are.
    """
    left = step

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in TRACED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(previous)
    return False


def put(rows, ids, vectors):
    """The dictionary id → vector after these were added: new and replaced ids come last."""
    left = {i: vector for i, vector in rows.items() if i not in set(ids)}
    return {**left, **dict(zip(ids, vectors, strict=True))}


def drop(rows, ids):
    return {i: vector for i, vector in rows.items() if i not in set(ids)}


def assert_holds(index, states):
    """The index is sound and holds the rows of one of these states."""
    assert index.check() == []
    live = np.flatnonzero(index._live[: index._count])
    rows = dict(zip(index.ids.tolist(), index._vectors[live].tolist(), strict=True))
    assert rows in states and len(index) == len(rows)


def assert_finds(index, rows):
    """Its answers are those of exact search over these rows."""
    exact = ann.Exact(2, "l2")
    exact.add(np.reshape(list(rows.values()), (-1, 2)), list(rows))
    queries = [[0, 0], [3, 1]]
    got, expected = (each.search(queries, k=20, ef=100) for each in (index, exact))
    assert np.array_equal(got[0], expected[0]) and np.array_equal(got[1], expected[1])


def given_index(make):
    """Ten rows in the index, one of them a copy, one removed; more than a chunk."""
    index, rows = make(2, "l2"), {}
    index._better_exact = lambda allowed, ef: False  # always walk the graph
    for i, vector in enumerate(np.random.default_rng(0).integers(-3, 4, (10, 2)).tolist()):
        rows[i] = [float(x) for x in vector]
    rows[9] = rows[8]
    index.add(list(rows.values()))
    index.remove([4])
    return index, drop(rows, [4])


def add_new(index, rows):
    """(call, the states it passes): new ids, two chunks and a half, with a row of the top level and a copy."""
    vectors = [[5.0, 1.0], [1.0, 5.0], [-4.0, 2.0], [5.0, 1.0], [0.0, 6.0], [6.0, 0.0], [1.0, -6.0], [0.0, 1.0]]
    return add_these(index, rows, list(range(20, 28)), vectors)


def add_replacing(index, rows):
    """New vectors for every second id, and some new ids."""
    ids = [0, 2, 30, 6, 8, 1, 31]
    return add_these(index, rows, ids, [[float(i), 7.0] for i in ids])


def add_these(index, rows, ids, vectors):
    states = [put(rows, ids[:stop], vectors[:stop]) for stop in range(len(ids) + 1)]
    return lambda: index.add(vectors, ids), states


def remove_some(index, rows):
    return lambda: index.remove(np.intersect1d(index.ids, [1, 9, 3])), [rows, drop(rows, [1, 9, 3])]


def remove_all(index, rows):
    return lambda: index.remove(index.ids), [rows, {}]


def compact(index, rows):
    return index.compact, [rows]


@pytest.mark.parametrize("change", [add_new, add_replacing, remove_some, remove_all, compact])
@pytest.mark.parametrize("make", [ann.HNSW, ann.Exact])
@pytest.mark.parametrize("empty", [False, True])
def test_index_interrupted_between_bytecodes(change, make, empty, tmp_path, monkeypatch):
    """Interrupted before any bytecode, a change is done up to some row, and doing it again completes it."""
    monkeypatch.setattr(index_module, "CHUNK", 3)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    start, rows = (make(2, "l2", **({"M": 2} if make is ann.HNSW else {})), {}) if empty else given_index(make)
    change(deepcopy(start), rows)[0]()  # compiles, so that the steps below are those of ann alone
    for step in range(0, 100_000, STRIDE):
        index = deepcopy(start)
        call, states = change(index, rows)
        if not interrupt(call, step):
            break
        assert_holds(index, states)
        index.save(tmp_path / "index")
        assert ann.load(tmp_path / "index").ids.tolist() == index.ids.tolist()
        call()
        assert_holds(index, states[-1:])
        assert_finds(index, states[-1])
    assert step > 10 and len(os.listdir(tmp_path)) == 1


def test_save_interrupted_between_bytecodes(tmp_path, monkeypatch):
    """Interrupted before any bytecode, a save leaves the old file or the new one, and nothing beside it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path, index = tmp_path / "index", given_index(ann.HNSW)[0]
    old = ann.HNSW(2, "l2")
    for step in range(0, 100_000, STRIDE):
        old.save(path)
        if not interrupt(lambda: index.save(path), step):
            break
        assert os.listdir(tmp_path) == ["index"]
        assert len(ann.load(path)) in (0, len(index))
    assert step > 100 and len(ann.load(path)) == len(index)


def test_hnsw_add_into_vacant_places_interrupted(tmp_path, monkeypatch):
    """Interrupted after new rows chose their neighbours, an add into vacant places leaves the index as it was."""
    x = np.random.default_rng(0).standard_normal((305, 4)).astype(np.float32)
    index = ann.HNSW(4, "l2", M=4, ef_construction=20, keep_pruned=False)  # lists that need not be full
    index.add(x[:300])
    index.remove(np.arange(60))
    assert index._vacant_count == 60

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hnsw_index, "copies_in_batch", stop)
        with pytest.raises(KeyboardInterrupt):
            index.add(x[300:])
    assert index.check() == []
    index.save(tmp_path / "index")
    index = ann.load(tmp_path / "index")
    index.add(np.repeat(x[300:][::-1], 2, axis=0))
    assert index.check() == [] and (index.search(x[60:], 1)[1] == 0).all()


@pytest.mark.skipif(interpreted() or not hasattr(signal, "setitimer"), reason="a signal during a compiled kernel")
def test_hnsw_add_interrupted_by_a_signal(tmp_path):
    """A real signal at forty moments of a build: a prefix of the rows, and the rest can be added."""

    def stop(number, frame):
        raise KeyboardInterrupt

    x = np.random.default_rng(0).standard_normal((4 * index_module.CHUNK, 4)).astype(np.float32)
    previous, interrupted = signal.signal(signal.SIGALRM, stop), 0
    try:
        for delay in np.geomspace(1e-5, 0.2, 40):
            index = ann.HNSW(4, "l2", M=4, ef_construction=8)
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                index.add(x, np.arange(len(x)))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            count = len(index)
            assert index.ids.tolist() == list(range(count)) and index.check() == []
            index.save(tmp_path / "index")
            index = ann.load(tmp_path / "index")
            index.add(x[count:], np.arange(count, len(x)))
            assert index.check() == [] and index.ids.tolist() == list(range(len(x)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert interrupted
    ids, distances = index.search(x[:100], k=1, ef=len(x))
    assert (ids[:, 0] == np.arange(100)).all() and (distances == 0).all()
