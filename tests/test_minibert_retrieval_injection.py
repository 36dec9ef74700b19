"""Ids, file names and values that would be code somewhere else: in a store they are names and words."""

import pytest

from helpers import HashEncoder
from minibert.retrieval import Store, ingest, read_documents

NASTY = [
    "x'; DROP TABLE documents; --",
    'x" OR "1"="1',
    "%",
    "_",
    "../../store.sqlite",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "$(touch ran)",
    "`touch ran`",
    "--help",
    "$.id",
    "<script>alert(1)</script>",
    "\u202egpj.exe",
    " ",
]


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store", HashEncoder()) as store:
        store.add({"id": name, "text": f"text {i}", "metadata": {"name": name}} for i, name in enumerate(NASTY))
        yield store


def test_ids_are_names(store, tmp_path):
    """Each is found, read and deleted by its own name, alone; no file but the store's own is made."""
    for i, name in enumerate(NASTY):
        assert store.search(f"text {i}", k=1, exact=True)[0].id == name
        assert store.document(name) == {"id": name, "text": f"text {i}", "metadata": {"name": name}}
        assert store.delete([name]) == 1 and len(store) == len(NASTY) - i - 1 and store.document(name) is None
    store.check()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_values_of_conditions_are_values(store):
    """Each value meets itself alone, in every operator that compares for equality."""
    for name in NASTY:
        for where in ({"name": name}, {"name": {"$in": [name]}}, {"$or": [{"name": name}]}):
            assert [hit.id for hit in store.search("text", k=50, where=where)] == [name]
        assert len(store.search("text", k=50, where={"name": {"$ne": name}})) == len(NASTY) - 1


def test_file_names_are_names(tmp_path):
    """A folder of such files is ingested under their paths, and nothing outside of it is read."""
    folder = tmp_path / "texts"
    folder.mkdir()
    names = [f"{name}.md" for name in NASTY if "/" not in name and "\0" not in name]
    for i, name in enumerate(names):
        (folder / name).write_text(f"text {i}", encoding="utf-8")
    (tmp_path / "secret.md").write_text("text secret", encoding="utf-8")
    with Store.open(tmp_path / "store", HashEncoder()) as store:
        ingest(store, read_documents([folder]))
        assert len(store) == len(names)
        for i, name in enumerate(names):
            assert store.search(f"text {i}", k=1, exact=True)[0].source == (folder / name).as_posix()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.md", "store", "texts"]
