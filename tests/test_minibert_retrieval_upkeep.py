"""Looking after a store: every kind of damage is told and mended, room is given back, and nothing else changes."""

import os
import re
import sqlite3

import numpy as np
import pytest

import ann
from helpers import HashEncoder
from minibert.retrieval import Store, StoreError
from minibert.retrieval.upkeep import Recorded

ENCODER = HashEncoder()
GIVEN = [
    {"id": f"d{i}", "text": f"d{i} one. two d{i}. third.", "title": "t" * (i % 2), "metadata": {"n": i}}
    for i in range(12)
]


@pytest.fixture
def folder(tmp_path):
    """A closed store with both index files."""
    with Store.open(tmp_path, ENCODER, chunk_size=3) as store:
        store.add(GIVEN)
        store.search("d1", hybrid=True)
    return tmp_path


def opened(folder):
    return Store.open(folder, ENCODER, chunk_size=3, create=False)


def content(folder):
    """What every document's own question finds, by all three indexes."""
    with opened(folder) as store:
        return [
            [(hit.id, hit.span, hit.text) for hit in store.search(f"d{i}", k=2, **options)]
            for i in range(12)
            for options in ({}, {"exact": True}, {"hybrid": True})
        ]


def change(folder, *statements):
    db = sqlite3.connect(folder / "store.sqlite")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_other_passages(path):
    """An index of this generation with a passage too few, its checksums right."""
    index = ann.load(path)
    index.remove(index.ids[:1])
    index.save(path)


IN_5 = "(SELECT number FROM chunks WHERE document = 5 LIMIT 1)"


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (f"DELETE FROM vectors WHERE chunk = {IN_5}", "document 'd4' has no vector for its passage"),
        (f"UPDATE vectors SET vector = x'00' WHERE chunk = {IN_5}", "document 'd4' has a vector that is none"),
        (
            f"UPDATE vectors SET vector = cast(x'0000c07f' || zeroblob({4 * 23}) AS BLOB) WHERE chunk = {IN_5}",
            "document 'd4' has a vector that is none",
        ),
        ("DELETE FROM chunks WHERE document = 5", "document 'd4' has no passages"),
        (f"UPDATE chunks SET end = 999 WHERE number = {IN_5}", "document 'd4' has a passage .*outside its text"),
        ("UPDATE documents SET digest = x'00' WHERE number = 5", "document 'd4' is not what was stored"),
        ("INSERT INTO chunks (document, start, end, context) VALUES (77, 0, 1, '')", "1 passages belong to nothing"),
        ("INSERT INTO vectors VALUES (777, x'00')", "1 vectors belong to nothing"),
        (lambda folder: flip(folder / "index.ann"), "index.ann cannot be read: .*checksum"),
        (lambda folder: flip(folder / "index.bm25"), "index.bm25 cannot be read"),
        (lambda folder: of_other_passages(folder / "index.ann"), "index.ann does not hold the passages"),
        (lambda folder: ann.HNSW(3).save(folder / "index.ann"), "index.ann holds 3 dimensions"),
    ],
)
def test_check_tells_and_repair_mends(folder, damage, finding):
    """One sentence that names document or file; after the repair nothing is wrong and every search is as before."""
    before = content(folder)
    damage(folder) if callable(damage) else change(folder, "PRAGMA foreign_keys = OFF", damage)
    with opened(folder) as store:
        found = store.check()
        assert any(re.search(finding, one) for one in found), found
        assert store.repair() == found
        assert store.check() == [] == store.repair()
    assert content(folder) == before


def test_repair_leaves_what_it_cannot_mend(folder):
    """Metadata that are no JSON stay, and so does the finding, until the document is added again."""
    change(folder, "UPDATE documents SET metadata = '{' WHERE number = 5")
    with opened(folder) as store:
        assert len(store.repair()) == 2
        assert any("'d4' has metadata that are no JSON: add it again" in finding for finding in store.check())
        assert store.add(GIVEN) == 1 and store.check() == []


def test_repair_of_a_damaged_database_says_to_restore(folder):
    """Pages of SQLite that are no pages: check tells, repair refuses, both in one StoreError or finding."""
    path = folder / "store.sqlite"
    data = bytearray(path.read_bytes())
    data[4096 * 8 : 4096 * 12] = os.urandom(4096 * 4)
    path.write_bytes(data)
    try:
        with opened(folder) as store:
            assert store.check()
            with pytest.raises(StoreError, match="restore a copy"):
                store.repair()
    except StoreError as error:
        assert "store.sqlite: " in str(error)


def test_check_takes_text_that_is_not_utf8(folder):
    """A byte of a text that became no UTF-8: a finding, not a crash."""
    change(folder, "UPDATE documents SET text = cast(x'ff' || substr(cast(text AS BLOB), 2) AS TEXT) WHERE number = 5")
    with opened(folder) as store:
        assert store.check() == ["document 'd4' is not what was stored: its digest differs"]
        store.repair()
        assert store.check() == []


def test_compact_gives_back_room_and_changes_no_hit(folder):
    """After most documents are gone the folder is a fraction of what it was; hits and numbers stay."""
    with opened(folder) as store:
        store.add([{"id": f"x{i}", "text": f"x{i} " * 400} for i in range(200)])
        store.search("x1", hybrid=True)
        store.delete([f"x{i}" for i in range(200)])
    before = content(folder)
    with opened(folder) as store:
        old, new = store.compact()
        assert new == sum(file.stat().st_size for file in folder.iterdir()) and new < old / 3
        assert store.check() == []
    assert content(folder) == before


def test_readers_go_on_while_a_store_is_compacted(folder):
    """A reader opened before finds the same after, also what is added later."""
    with opened(folder) as reader, opened(folder) as writer:
        hits = reader.search("d3", k=3)
        writer.compact()
        assert [hit.id for hit in reader.search("d3", k=3)] == [hit.id for hit in hits]
        writer.add([{"id": "new", "text": "brand new"}])
        assert reader.search("brand new", k=1)[0].id == "new"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_stats_count_and_measure(tmp_path, precision):
    """Documents, passages, bytes of each file; a vector has the bytes that its precision takes."""
    with Store.open(tmp_path, ENCODER, chunk_size=3, precision=precision) as store:
        store.add(GIVEN)
        store.search("d1")
    with opened(tmp_path) as store:
        stats = store.stats()
    assert (stats["documents"], stats["chunks"], stats["encoder"]) == (12, 30, ENCODER.fingerprint)
    assert stats["bytes of a vector"] == (96 if precision == "float32" else 28)
    assert stats["index.ann"] == (tmp_path / "index.ann").stat().st_size
    assert stats["index.ann bytes a passage"] == stats["index.ann"] / 30


def test_upkeep_needs_no_encoder(folder):
    """What a store says of its encoder is enough to check and compact; a search says what is missing."""
    with Store.open(folder, Recorded(Store.facts(folder)), create=False) as store:
        assert store.check() == []
        store.compact()
        with pytest.raises(StoreError, match="opened without its encoder"):
            store.search("d1")


def test_codec_inverts_within_half_a_step():
    """int8: half a step off at most, zeros exactly; float32: the same bits."""
    from minibert.retrieval.vectors import Codec

    rows = np.random.default_rng(0).standard_normal((50, 7), np.float32) * 10.0 ** np.arange(-25, 25)[:, None].astype(
        "f4"
    )
    rows[3] = 0
    assert np.array_equal(Codec(7).unpack(Codec(7).pack(rows)), rows)
    codec = Codec(7, "int8")
    found = codec.unpack(codec.pack(rows))
    assert (np.abs(found - rows) <= np.abs(rows).max(axis=1, keepdims=True) / 254 * (1 + 1e-5)).all()
    assert codec.unpack([]).shape == (0, 7)
