"""ann.HNSW while it changes: removed rows leave the graph, searches run beside adds, filters, repair."""

import os
import signal
import threading

import numpy as np
import pytest
from test_ann_hnsw import clusters

import ann
from ann.files import read_tables, write_tables
from helpers import interpreted

N = 60 if interpreted() else 800


@pytest.mark.kernels
@pytest.mark.parametrize("quantize", [None, "int8"])
def test_removed_rows_give_their_places_back(quantize):
    """Forty times 5 % replaced need no more than a quarter more places, and no row is lost; nor by removing halves."""
    x, rng = clusters(0, N, 16), np.random.default_rng(0)
    index = ann.HNSW(16, "l2", M=8, ef_construction=50, quantize=quantize)
    index.add(x)
    for turn in range(40 if not interpreted() else 6):
        rows = rng.choice(N, N // 20, replace=False)
        x[rows] = clusters(2 + turn, len(rows), 16)
        index.add(x[rows], rows)
    assert index._count <= 1.25 * N and index.check() == []
    assert (index.search(x, 1, 50)[0][:, 0] == np.arange(N)).all()
    left = np.arange(N)
    while len(left) > 4:
        index.remove(left[::2])
        left = left[1::2]
        assert (index.search(x[left], 1)[0][:, 0] == left).all() and index.check() == []
    index.add(x[: N // 2], np.arange(N // 2) + N)
    assert index._count <= 1.25 * N and (index.search(x[: N // 2], 1)[1] == 0).all()


@pytest.mark.kernels
def test_removed_original_hands_over_to_its_copy():
    """Of equal rows, whichever are removed, the others are found; a removed cluster leaves no hole in the graph."""
    x = np.repeat(clusters(0, 10, 4), 6, axis=0)
    index = ann.HNSW(4, "l2", M=3)
    index.add(x)
    for gone in ([0, 1, 6, 12, 18], [2, 3, 4, 24, 30, 31], list(range(36, 54))):
        index.remove(gone)
        ids = index.search(x[index.ids], 6)[0]
        assert index.check() == [] and all(i in row for i, row in zip(index.ids.tolist(), ids.tolist(), strict=True))


@pytest.mark.kernels
def test_search_passes_removed_rows():
    """With a whole region removed, but not yet dropped, searches there still give k rows."""
    x = clusters(0, N, 8)
    index = ann.HNSW(8, "l2", M=6)
    index.add(x)
    near = index.search(x[:1], N // 10)[0][0]
    index.remove(near)
    assert index._has_removed()
    exact = ann.Exact(8, "l2")
    exact.add(x)
    exact.remove(near)
    assert index.search(x[:1], 10, 40)[0].tolist() == exact.search(x[:1], 10)[0].tolist()


def test_searches_beside_adds_see_prefixes():
    """Three threads search while one adds: each answer is all of the first m rows; m never falls."""
    x, total, found, stop = clusters(0, 600, 6), 600, [], threading.Event()
    index = ann.HNSW(6, "l2", M=6, ef_construction=20)
    index.add(x[:10])

    def look():
        least = 10
        while not stop.is_set():
            ids, distances = index.search(x[:2], k=total, ef=total)
            seen = np.sort(ids[0][ids[0] >= 0])
            if not np.array_equal(seen, np.arange(len(seen))) or len(seen) < least:
                found.append(f"{len(seen)} rows after {least}, the last {seen[-1:]}")
            if not np.allclose(distances[0][: len(seen)], np.square(x[ids[0][: len(seen)]] - x[0]).sum(1), atol=1e-4):
                found.append("a wrong distance")
            least = len(seen)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(10, total, 59):
        index.add(x[start : start + 59], threads=2)
    stop.set()
    for reader in readers:
        reader.join()
    assert found == [] and index.check() == [] and len(index) == total


def test_two_writers_take_turns():
    """Two threads that add and remove: nothing is lost."""
    index, x = ann.HNSW(4, "l2", M=4, ef_construction=10), clusters(0, 400, 4)

    def work(first):
        for start in range(first, first + 200, 20):
            ids = np.arange(start, start + 20)
            index.add(x[ids], ids)
            index.remove(ids[::4])

    writers = [threading.Thread(target=work, args=(first,)) for first in (0, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(index.ids) == [i for i in range(400) if i % 4] and index.check() == []
    assert (index.search(x[index.ids], 1)[0][:, 0] == index.ids).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_after_use():
    """A child forked after threads have searched and built can search and add."""
    index, x = ann.HNSW(4, "l2", M=4), clusters(0, 300, 4)
    index.add(x, threads=2)
    index.search(x, threads=2)
    child = os.fork()
    if not child:
        right = (index.search(x, 1, threads=2)[0][:, 0] == np.arange(300)).all()
        index.add(x[:5] + 1, threads=2)
        os._exit(0 if right and len(index) == 305 else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_another_thread_reads():
    """A lock that a thread of the parent holds does not stop the child's adds."""
    index, inside, done = ann.HNSW(4, "l2", M=4), threading.Event(), threading.Event()
    index.add(clusters(0, 30, 4))

    def look():
        with index._lock.writer:
            inside.set()
            done.wait()

    reader = threading.Thread(target=index._lock.shared, args=(look,))
    reader.start()
    inside.wait()
    child = os.fork()
    if not child:
        signal.alarm(60)
        index.add(clusters(1, 5, 4))
        os._exit(0 if len(index) == 35 else 1)
    done.set()
    reader.join()
    assert os.waitpid(child, 0)[1] == 0


def test_more_threads_than_places():
    """Readers come while writers change, in more live threads than there are locks or Python lets functions nest."""
    index, x = ann.Exact(4, "l2"), clusters(0, 30, 4)
    index.add(x[:10])
    done, failed = threading.Event(), []

    def read():
        try:
            index.search(x[:1], 1)
            done.wait()
        except Exception as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(1100)]
    for turn, reader in enumerate(readers):
        reader.start()
        if turn % 50 == 0:
            index.add(x[:1])
    done.set()
    for reader in readers:
        reader.join()
    assert failed == [] and len(index) == 32


def test_adds_without_ids_take_different_ones():
    """Two threads that add without ids at the same time: no row takes another's place."""
    index, x, given = ann.Exact(4, "l2"), clusters(0, 200, 4), []
    normalize, met = index._normalize, threading.Barrier(2)
    index._normalize = lambda vectors: (normalize(vectors), met.wait())

    def work():
        given.extend(index.add(x).tolist())

    writers = [threading.Thread(target=work) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(given) == list(range(400)) and len(index) == 400


@pytest.mark.parametrize("ask", ["recall", "tune", "check"])
def test_certificates_and_checks_wait_for_changes(ask):
    """While another thread is in the middle of a change they wait; while it goes on they find nothing wrong."""
    index, x, answers = ann.HNSW(4, "l2", M=4, ef_construction=20), clusters(0, 300, 4), []
    index.add(x)
    call = {"recall": index.recall, "tune": lambda: index.tune(0.9), "check": index.check}[ask]
    call()
    asker = threading.Thread(target=lambda: answers.append(call()))
    with index._lock.writer:
        asker.start()
        asker.join(0.2)
        assert answers == []
    asker.join()
    assert answers == [[]] if ask == "check" else answers[0].rows == 300


@pytest.mark.kernels
def test_allow_takes_a_predicate():
    """It is asked once for every live id, may raise, may change the index, and decides as the ids do that it allows."""
    index, asked = ann.HNSW(4, "l2"), []
    index.add(clusters(0, 40, 4))
    index.remove([7])

    def odd(i):
        asked.append(i)
        return i % 2

    got = index.search(clusters(1, 5, 4), allow=odd)
    expected = index.search(clusters(1, 5, 4), allow=[i for i in range(40) if i % 2 and i != 7])
    assert np.array_equal(got[0], expected[0]) and sorted(asked) == [i for i in range(40) if i != 7]
    with pytest.raises(ZeroDivisionError):
        index.search(clusters(1, 5, 4), allow=lambda i: 1 / i)
    index.search(clusters(1, 1, 4), allow=lambda i: bool(index.add(clusters(2, 1, 4)).size))
    assert len(index) == 78 and index.check() == []


@pytest.mark.kernels
@pytest.mark.parametrize("damage", ["links", "parent", "ids", "vectors"])
def test_repair(damage):
    """What check() finds, repair() mends: every sound row is found again."""
    index, x = ann.HNSW(4, "l2", M=4), clusters(0, 60, 4)
    index.add(x)
    assert index.repair() == []
    if damage == "links":
        index._neighbors0[20:40] = -1
    elif damage == "parent":
        index._parent[5] = 9
    elif damage == "ids":
        index._ids[3] = 4
    else:
        index._vectors[3] = np.nan
    assert index.repair() and index.check() == []
    kept = np.setdiff1d(np.arange(60), [3] if damage in ("ids", "vectors") else [])
    assert sorted(index.ids) == kept.tolist() and (index.search(x[kept], 1)[0][:, 0] == kept).all()


def test_files_of_format_1_load(tmp_path):
    """There the root had the parent -1, and nothing was known of codes."""
    index, x = ann.HNSW(4, "l2", M=3), clusters(0, 50, 4)
    index.add(x)
    index.save(tmp_path / "a")
    tables, facts = read_tables(tmp_path / "a")
    tables["parent"][0] = -1
    for name in ("bits", "fitted"):
        del facts[name]
    write_tables(tmp_path / "b", tables, {**facts, "format_version": "1"})
    old = ann.load(tmp_path / "b")
    assert old.check() == [] and np.array_equal(old.search(x, 5)[0], index.search(x, 5)[0])


def test_progress_is_shown(capsys):
    """A bar on stderr that ends at the number of rows, and none without being asked."""
    index = ann.HNSW(4)
    index.add(clusters(0, 30, 4))
    assert capsys.readouterr().err == ""
    index.add(clusters(0, 30, 4), progress=True)
    assert "30/30" in capsys.readouterr().err
