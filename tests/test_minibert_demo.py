"""The demo's corpus and split, and the whole demo on a small part of them."""

import re
import sysconfig
from pathlib import Path

import pytest

from helpers import HashEncoder
from minibert import demo, stdlib_corpus
from minibert.retrieval import Store
from minibert.stdlib_corpus import Docstring

ROWS = (
    "untrained, exact search",
    "trained, exact search",
    "trained, HNSW",
    "BM25",
    "hybrid by ranks",
    "hybrid by scores",
    "its first 30, reranked",
)
SOURCE = '''
"""Queues.

They keep things in order."""

class Queue:
    """First in, first out."""

    def putNowait(self, item, *, block_for=3):
        """Put an item.

        Without waiting for a slot.
        """

    def get(self):
        def inner():
            """Not reachable by a name."""
'''


def test_stdlib_corpus_reads_names_signatures_and_texts(tmp_path):
    """Modules, classes and methods, in order; tests and broken files are left out."""
    (tmp_path / "pkg" / "test").mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text(SOURCE)
    (tmp_path / "pkg" / "broken.py").write_text("def (")
    (tmp_path / "pkg" / "test" / "test_queue.py").write_text('"""Not here."""')
    module, queue, put = stdlib_corpus.docstrings(tmp_path)
    assert [doc.name for doc in (module, queue, put)] == ["pkg", "pkg.Queue", "pkg.Queue.putNowait"]
    assert module.summary == "Queues." and module.rest == "They keep things in order."
    assert put.signature == "pkg.Queue.putNowait(self, item, *, block_for=3)"
    assert put.words == "pkg.Queue.put Nowait(self, item, *, block for=3)"
    assert put.text == "Put an item.\n\nWithout waiting for a slot." and put.package == "pkg"
    assert stdlib_corpus.docstrings(tmp_path) == [module, queue, put]


def test_stdlib_corpus_pairs_ask_for_the_rest_or_for_the_whole():
    """A docstring with a rest is asked for by its summary, one without by its signature; equal answers stay once."""
    long = Docstring("m.f", "m.f(someArgument, other)", "Do the first thing.\n\nThen explain at length.", "m", "m.py")
    short = Docstring("m.g", "m.g(someArgument, other)", "Only this one sentence here.", "m", "m.py")
    found = stdlib_corpus.pairs([long, short, short], shortest=10)
    assert [(question, answer) for question, answer, _ in found] == [
        ("Do the first thing.", "Then explain at length."),
        ("m.g(some Argument, other)", "Only this one sentence here."),
    ]


def test_stdlib_corpus_training_pairs_ask_in_every_way():
    """Summary, signature and each sentence; a repeated docstring is used once."""
    doc = Docstring("m.f", "m.f(x)", "One is here. Two is here.\n\nThree is here.", "m", "m.py")
    assert stdlib_corpus.training_pairs([doc, doc], shortest=6) == [
        ("One is here. Two is here.", "Three is here."),
        ("m.f(x)", "One is here. Two is here.\n\nThree is here."),
        ("One is here.", "Two is here. Three is here."),
        ("Two is here.", "One is here. Three is here."),
        ("Three is here.", "One is here. Two is here."),
    ]


def test_demo_holds_out_whole_packages():
    """Enough docstrings, no large package, and the same seed draws the same ones."""
    docs = [Docstring(f"p{i % 40}.f{i}", "s", "t", f"p{i % 40}.m", "f.py") for i in range(2000)]
    docs += [Docstring(f"large.f{i}", "s", "t", "large", "f.py") for i in range(500)]
    held_out = demo.held_out_packages(docs, seed=1)
    assert demo.HELD_OUT <= sum(doc.package in held_out for doc in docs) < demo.HELD_OUT + 50
    assert "large" not in held_out
    assert demo.held_out_packages(docs, seed=1) == held_out != demo.held_out_packages(docs, seed=2)


@pytest.fixture
def small(monkeypatch):
    """A demo of two small packages and a short training."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    docs = [doc for package in ("json", "email", "csv") for doc in stdlib_corpus.docstrings(stdlib / package)]
    monkeypatch.setattr(demo, "docstrings", lambda: docs)
    monkeypatch.setattr(demo, "HELD_OUT", 20)
    monkeypatch.setattr(demo, "VOCABULARY", 600)
    monkeypatch.setitem(demo.SIZES, "width", 32)
    monkeypatch.setitem(demo.TRAINING, "epochs", 1)
    monkeypatch.setattr(demo, "QUESTIONS", ["What is an address header?", "?!"])
    monkeypatch.setattr(demo, "ASKED", "What raises it?")


def test_demo_runs_twice_to_the_same_metrics(small, tmp_path, capfd):
    """The whole path, the second process included; the printed metrics are equal, the answers are."""
    outputs = []
    for _ in range(2):  # the second run replaces the store of the first
        assert demo.main(tmp_path, seed=3, progress=False) == 0
        outputs.append(capfd.readouterr().out)
    metrics = [[line[:48] for line in out.splitlines() if line.startswith(ROWS)] for out in outputs]
    assert [line.split("  ")[0] for line in metrics[0]] == [*ROWS] and metrics[0] == metrics[1]
    answers = [out.split("second process\n")[1].split("\nstage")[0] for out in outputs]
    cited = re.search(r"What raises it\?\n.* \[(\d)\]\n\n\[\1\] [\w.]+ \[\d+:\d+\]\n    \w", answers[0])
    assert cited, answers[0]
    assert "What is an address header?" in answers[0]
    assert answers[0].split("MRR")[0] == answers[1].split("MRR")[0]


@pytest.mark.parametrize("own", ["folder", "store"])
def test_demo_removes_no_store_but_its_own(tmp_path, own):
    """A folder or store of the user's in the demo's place is refused, and stays."""
    (tmp_path / "store").mkdir()
    precious = tmp_path / "store" / "precious.txt"
    precious.write_text("mine")
    if own == "store":
        with Store.open(tmp_path / "store", HashEncoder()) as store:
            store.add([{"id": "a", "text": "mine too"}])
    with pytest.raises(ValueError, match="store"):
        demo.main(tmp_path, progress=False)
    assert precious.read_text() == "mine"
