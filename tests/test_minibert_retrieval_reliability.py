"""The store under what happens to files and processes: kill -9, a full disk, damage, readers beside a writer.

Small here; `make test-long` runs the same tests at full size.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers import ROOT, HashEncoder, run_python
from minibert.retrieval import Store, StoreError

ENCODER = HashEncoder()
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
WORDS = [f"word{i}" for i in range(30)]


def sizes(small, full):
    """A size for every day, and the full one behind a marker."""
    return pytest.mark.parametrize("size", [small, pytest.param(full, marks=pytest.mark.long)])


def given(count):
    return [{"id": f"d{i}", "text": f"d{i} {WORDS[i % 30]} {WORDS[i % 7]}"} for i in range(count)]


def assert_whole(path):
    """Nothing is half present: SQLite finds no fault, nor does the store's own check; it says where it does."""
    with Store.open(path, ENCODER, chunk_size=2, create=False) as store:
        assert store.check() == []


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A closed store of 60 documents with both index files; tests that damage it copy it."""
    path = tmp_path_factory.mktemp("filled")
    with Store.open(path, ENCODER) as store:
        store.add(given(60))
        store.search("d1", hybrid=True)
    return path


def copied(filled, to):
    to.mkdir(exist_ok=True)
    for file in filled.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def answers(path, **options):
    with Store.open(path, ENCODER) as store:
        return [hits[0].id for hits in store.search_batch([d["text"] for d in given(60)], k=1, **options)]


# ---- any sequence of calls, kills and damage -------------------------------------------------------------------------


class StoreMachine(RuleBasedStateMachine):
    """Add, upsert, delete, search, compact, reopen, lose or keep an old index, be killed: equal to a dictionary."""

    ids = st.sampled_from(["a", "b", "c", "it's", 'q"q', "../x", "n\0l", "$[0]", "%s"])
    texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
    kinds = st.sampled_from(["x", "it's", '"', "n\0l", "'; DROP TABLE documents; --"])
    batches = st.dictionaries(ids, st.tuples(texts, kinds), min_size=1, max_size=4)

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model = {}
        self.open()

    def open(self):
        self.store = Store.open(self.folder.name, ENCODER, chunk_size=4)

    @rule(new=batches)
    def add(self, new):
        changed = {id for id, value in new.items() if self.model.get(id) != value}
        assert self.store.add(self.documents(new)) == len(changed)
        self.model.update(new)

    @rule(ids=st.lists(ids, max_size=3))
    def delete(self, ids):
        assert self.store.delete(ids) == len(self.model.keys() & set(ids))
        self.model = {id: value for id, value in self.model.items() if id not in ids}

    @rule(damage=st.sampled_from(["none", "index lost", "index old"]))
    def reopen(self, damage):
        index = Path(self.folder.name, "index.ann")
        old = index.read_bytes() if index.exists() else None
        self.store.close()
        if damage != "none":
            index.unlink(missing_ok=True)
        if damage == "index old" and old is not None:
            index.write_bytes(old)
        self.open()

    @rule(new=batches)
    def killed_within_a_call(self, new):
        """The transaction is never committed, and nothing is closed."""
        self.store._db.execute("BEGIN IMMEDIATE")
        for row in self.store._embed(self.store_form(new)):
            self.store._insert(*row)
        self.store._db.close()  # as the end of the process does: SQLite rolls back what has no COMMIT
        self.open()

    @rule()
    def killed_between_calls(self):
        self.store._db.close()
        self.open()

    @rule()
    def compact(self):
        self.store.compact()

    @precondition(lambda self: self.model)
    @rule(kind=kinds)
    def search_where(self, kind):
        expected = {id for id, (_, of) in self.model.items() if of == kind}
        for options in ({}, {"exact": True}, {"hybrid": True}):
            hits = self.store.search("word1", k=100, where={"kind": kind}, **options)
            assert {hit.id for hit in hits} == expected

    @invariant()
    def equals_model(self):
        assert len(self.store) == len(self.model)
        for exact in (False, True) if self.model else ():
            hits = self.store.search("word1", k=100, exact=exact)
            found = {}
            for hit in sorted(hits, key=lambda hit: hit.span):
                found.setdefault(hit.id, []).append(hit.text)
            assert {id: " ".join(texts) for id, texts in found.items()} == {
                id: text for id, (text, _) in self.model.items()
            }

    def documents(self, new):
        return [{"id": id, "text": text, "metadata": {"kind": kind}} for id, (text, kind) in new.items()]

    def store_form(self, new):
        from minibert.retrieval.documents import check_documents

        return [{**document, "digest": b""} for document in check_documents(self.documents(new))]

    def teardown(self):
        assert self.store.check() == []
        self.store.close()
        self.folder.cleanup()


TestStoreMachine = pytest.mark.filterwarnings("ignore:.*index.ann")(StoreMachine.TestCase)
TestStoreMachine.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*index.ann")
def test_store_machine_at_length():
    """The same machine, 100 runs of 30 steps."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=100, stateful_step_count=30, deadline=None))


# ---- kill -9 ---------------------------------------------------------------------------------------------------------

INGEST = """
import sys
from helpers import HashEncoder
from minibert.retrieval import Store
store = Store.open(sys.argv[1], HashEncoder(), chunk_size=2)
for turn in range(int(sys.argv[2]), 100_000):
    store.add([{"id": f"k{turn}-{i}", "text": f"k{turn}-{i} one. two three. four."} for i in range(7)])
    print("added", turn, flush=True)
    if turn % 3 == 2:
        store.delete([f"k{turn - 1}-{i}" for i in range(7)])
        print("deleted", turn - 1, flush=True)
    if turn % 8 == 7:
        store.close()
        store = Store.open(sys.argv[1], HashEncoder(), chunk_size=2)
"""


def killed_ingest(path, start, seconds):
    """Run an ingest and kill it so long after its first commit: what it said that it had done, in order."""
    command = [sys.executable, "-c", INGEST, path, str(start)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = [process.stdout.readline()]
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read().splitlines()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    return [(word, int(turn)) for word, turn in (line.split() for line in said)]


@sizes(3, 50)
@pytest.mark.filterwarnings("ignore:.*index.ann")
def test_kill_9_at_random_moments_of_an_ingest_with_deletes(tmp_path, size):
    """Each committed document is found by its own text, in whole batches; none is half there or back from the dead."""
    rng, alive, turn = random.Random(0), set(), 0
    for _ in range(size):
        said = killed_ingest(tmp_path, turn, rng.uniform(0, 0.25))
        for word, batch in said:
            (alive.add if word == "added" else alive.discard)(batch)
        turn = max(batch for _, batch in said) + 1
        with Store.open(tmp_path, ENCODER, chunk_size=2, create=False) as store:
            stored = {id for (id,) in store._db.execute("SELECT id FROM documents")}
            batches = {int(id[1:].split("-")[0]) for id in stored}
            assert stored == {f"k{batch}-{i}" for batch in batches for i in range(7)}  # whole ones only
            # The next call may have been committed before it was said: a batch two in three times, then a deletion.
            word, last = said[-1]
            latest = last if word == "added" else last + 1
            following = alive - {last - 1} if word == "added" and last % 3 == 2 else alive | {latest + 1}
            assert batches in (alive, following), (sorted(alive), sorted(batches), said[-1])
            alive, turn = batches, max(turn, max(batches) + 1)
            asked = [f"k{batch}-{i}" for batch in rng.sample(sorted(batches), min(3, len(batches))) for i in range(7)]
            for id, hits in zip(asked, store.search_batch([f"{id} one." for id in asked], k=3), strict=True):
                assert hits[0].id == id and hits[0].text == f"{id} one."
    assert_whole(tmp_path)


# ---- a full disk -----------------------------------------------------------------------------------------------------

FULL_DISK = """
import json, resource, sys
from helpers import HashEncoder
from minibert.retrieval import Store, StoreError
store = Store.open(sys.argv[1], HashEncoder())
limit = int(sys.argv[2])
errors = []
for what in (lambda: store.add([{"id": f"n{i}", "text": f"n{i} " * 9} for i in range(400)]), store.close):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        what()
    except StoreError as error:
        errors.append(str(error))
    limit = int(sys.argv[3])
print(json.dumps(errors))
"""


def test_store_keeps_everything_when_the_disk_is_full(filled, tmp_path):
    """A write that finds no room raises StoreError naming the file, and the store is as before."""
    copy = copied(filled, tmp_path)
    done = run_python(FULL_DISK, copy, 50_000, -1)
    assert done.returncode == 0, done.stderr
    (error,) = json.loads(done.stdout)
    assert "store.sqlite: cannot be written" in error and "committed before is kept" in error
    assert answers(copy) == [d["id"] for d in given(60)]
    assert_whole(copy)


FULL_WHILE_COMPACTING = """
import resource, signal, sys
from helpers import HashEncoder
from minibert.retrieval import Store, StoreError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Store.open(sys.argv[1], HashEncoder()) as store:
    store.delete([f"d{i}" for i in range(30)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        store.compact()
    except StoreError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_store_keeps_everything_when_the_disk_is_full_while_compacting(filled, tmp_path):
    """The error names the file; what is live is found, what was deleted is not, and nothing is wrong with the store."""
    copy = copied(filled, tmp_path)
    done = run_python(FULL_WHILE_COMPACTING, copy)
    assert done.returncode == 0 and "store.sqlite: cannot be written" in done.stdout, done.stderr
    with Store.open(copy, ENCODER) as store:
        assert len(store) == 30 and store.check() == []
        found = [store.search(d["text"], k=1)[0].id for d in given(60)[30:]]
    assert found == [d["id"] for d in given(60)[30:]]


def test_store_keeps_documents_when_the_index_cannot_be_saved(filled, tmp_path):
    """Room for the documents but not for the index: close says so, the old file stays, the next search catches up."""
    copy = copied(filled, tmp_path)
    old = (copy / "index.ann").read_bytes()
    done = run_python(FULL_DISK, copy, -1, 50_000)
    assert done.returncode == 0, done.stderr
    (error,) = json.loads(done.stdout)
    assert "index.ann: cannot be written" in error and "All documents are stored" in error
    assert (copy / "index.ann").read_bytes() == old
    assert sorted(file.name for file in copy.iterdir() if file.suffix == ".tmp") == []
    with Store.open(copy, ENCODER) as store, pytest.warns(UserWarning, match="400 vectors added"):
        assert len(store) == 460 and store.search("n7 " * 9, k=1)[0].id == "n7"


# ---- damaged files ---------------------------------------------------------------------------------------------------


def assert_answers_or_says(path, right):
    """The right answers, or a StoreError that names the file: nothing else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is rebuilt
            assert answers(path, hybrid=True) == right
        return True
    except StoreError as error:
        assert re.search(r"index\.(ann|bm25).* The documents are whole: delete", str(error)), error
        return False


@sizes(15, 200)
@pytest.mark.parametrize("name", ["index.ann", "index.bm25"])
def test_truncated_index_says_so_or_is_rebuilt(filled, tmp_path, name, size):
    """An index file cut at random lengths, 0 among them: a clear error or right answers, and the remedy works."""
    copied(filled, tmp_path)
    whole, right, rng = (tmp_path / name).read_bytes(), answers(filled, hybrid=True), random.Random(0)
    for length in [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(size - 2))]:
        (tmp_path / name).write_bytes(whole[:length])
        assert not assert_answers_or_says(tmp_path, right)
    (tmp_path / name).unlink()
    assert assert_answers_or_says(tmp_path, right)


@sizes(40, 2000)
def test_flipped_bytes_of_an_index_say_so(filled, tmp_path, size):
    """A byte changed anywhere in either index file: an error that names it, never other hits and never a crash."""
    copied(filled, tmp_path)
    files = [tmp_path / "index.ann", tmp_path / "index.bm25"]
    whole, right, rng = {file: file.read_bytes() for file in files}, answers(filled, hybrid=True), random.Random(0)
    for turn in range(size):
        file = files[turn % 2]
        data = bytearray(whole[file])
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        file.write_bytes(data)
        assert not assert_answers_or_says(tmp_path, right)
        file.write_bytes(whole[file])
    assert assert_answers_or_says(tmp_path, right)


@sizes(20, 300)
def test_flipped_bytes_of_the_database_are_told_or_harmless(filled, tmp_path, size):
    """A byte changed in store.sqlite: an error that names it, or right answers, or `check` tells; never a crash."""
    copied(filled, tmp_path)
    path = tmp_path / "store.sqlite"
    whole, right, rng = path.read_bytes(), answers(filled), random.Random(0)
    for _ in range(size):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Store.open(tmp_path, ENCODER, create=False) as store:
                    told = store.check()
                found = answers(tmp_path)
            assert told or found == right
        except StoreError:
            pass  # says what is wrong
        copied(filled, tmp_path)


# ---- readers beside a writer -----------------------------------------------------------------------------------------

READER = """
import json, sys, time, warnings
from helpers import HashEncoder
from minibert.retrieval import Store
warnings.simplefilter("ignore")
end, answered = time.time() + float(sys.argv[2]), 0
store = Store.open(sys.argv[1], HashEncoder(), create=False)
turn = 0
while time.time() < end or not answered:
    turn += 1
    if turn % 10 == 0:
        store.close()
        store = Store.open(sys.argv[1], HashEncoder(), create=False)
    hits = store.search("stamp", k=100, exact=turn % 3 == 0, hybrid=turn % 3 == 1)
    stamps = {hit.text.split()[1] for hit in hits}
    ids = sorted(hit.id for hit in hits)
    assert len(stamps) == 1 and len(ids) == 20 == len(set(ids)), (stamps, ids)
    answered += 1
store.close()
print(json.dumps(answered))
"""


@sizes(1, 60)
def test_readers_see_one_generation_each_time(tmp_path, size):
    """Four readers and one writer, who stamps all 20 documents anew with each commit: no error, no mixed answer."""

    def stamped(number):
        return [{"id": f"d{i}", "text": f"stamp {number} d{i}"} for i in range(20)]

    with Store.open(tmp_path, ENCODER) as writer:
        writer.add(stamped(0))
        writer.search("stamp", hybrid=True)
    command = [sys.executable, "-c", READER, tmp_path, str(size)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, env=ENVIRONMENT, **pipes) for _ in range(4)]
    end, number = time.monotonic() + size, 0
    with Store.open(tmp_path, ENCODER) as writer:
        while time.monotonic() < end or any(reader.poll() is None for reader in readers):
            number += 1
            writer.add(stamped(number))
            if number % 20 == 0:
                writer.save_indexes()
            time.sleep(0.01)
    for reader in readers:
        said, complained = reader.communicate()
        assert (reader.returncode, complained) == (0, "") and int(said) > 0
    assert number > 5


# ---- names that could be code ----------------------------------------------------------------------------------------


NAMES = ["it's", 'q"q', "../../x", "n\0l", "%s", "$.a", "'; DROP TABLE documents; --", "é\u202e"]


@pytest.mark.parametrize("name", NAMES)
def test_names_and_values_are_data(tmp_path, name):
    """An id, a title, a metadata value with quotes, ../ or NUL: stored, filtered, found and deleted as it is."""
    named = {"id": name, "text": "plain words", "title": name, "metadata": {"source": name, "value": name}}
    with Store.open(tmp_path, ENCODER) as store:
        store.add([named, {"id": "other", "text": "x"}])
        for where in ({"value": name}, {"value": {"$in": [name]}}, {"$or": [{"source": name}]}):
            hits = store.search("plain", where=where, hybrid=True)
            assert [(hit.id, hit.source) for hit in hits] == [(name, name)]
        assert [hit.id for hit in store.search("plain", where={"value": {"$ne": name}})] == ["other"]
        assert store.delete([name]) == 1 and len(store) == 1
    assert {file.name.split("-")[0] for file in tmp_path.iterdir()} == {"index.ann", "index.bm25", "store.sqlite"}
    assert not (tmp_path.parent / "x").exists()
