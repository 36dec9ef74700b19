"""The store: what goes in is found, in this process and the next, whatever happens in between."""

import dataclasses
import json
import os
import re
import sqlite3
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import ann
from helpers import HashEncoder, run_python, tiny_tokenizer
from minibert import SentenceEncoder, SentenceEncoderConfig
from minibert.models.dual_encoder import DualEncoder
from minibert.retrieval import BM25, Encoder, Store, StoreError, ingest, read_documents, schema
from minibert.retrieval.index import FollowingVectors
from minibert.retrieval.vectors import Codec

ENCODER = HashEncoder()
WORDS = [f"word{i}" for i in range(200)]


def documents(count, seed=0, length=12):
    """Documents of random words; the id is among them, so that each has a text of its own."""
    rng = np.random.default_rng(seed)
    return [{"id": f"d{i}", "text": " ".join([f"d{i}", *rng.choice(WORDS, length)])} for i in range(count)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A closed store of 40 documents; tests that change it copy it."""
    path = tmp_path_factory.mktemp("store")
    with Store.open(path, ENCODER) as store:
        store.add(documents(40))
    return path


@pytest.fixture
def copy(filled, tmp_path):
    """A copy of the filled store, free to be damaged."""
    for file in filled.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def answers(path, count=40, **options):
    """The best hit for each document's own text."""
    with Store.open(path, ENCODER) as store:
        return [hits[0].id for hits in store.search_batch([d["text"] for d in documents(count)], k=1, **options)]


def test_store_finds_every_document_after_reopening(filled):
    """Each document is the best answer to its own text, by HNSW and by exact search, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answers(filled) == answers(filled, exact=True) == [d["id"] for d in documents(40)]


def test_store_scores_are_the_encoders_cosines(filled):
    """Oracle: exact search ranks by the cosine of every document's vector with the question's, in float64."""
    question = "word1 word2 word3 d7"
    q = ENCODER.encode_query([question])[0].astype(float)
    scores = {d["id"]: float(ENCODER.encode_document([d["text"]])[0].astype(float) @ q) for d in documents(40)}
    with Store.open(filled, ENCODER) as store:
        hits = store.search(question, k=40, exact=True)
    assert [hit.id for hit in hits] == sorted(scores, key=lambda id: -scores[id])
    # 24 products of float32 unit vectors, and 1 - (1 - s) in float32
    bound = (ENCODER.dim + 4) * np.finfo(np.float32).eps
    np.testing.assert_allclose([hit.score for hit in hits], [scores[hit.id] for hit in hits], rtol=0, atol=bound)
    assert hits[0].stages == {"dense": {"rank": 1, "score": hits[0].score, "exact": True}}


def test_store_hit_span_points_into_the_document(tmp_path):
    """A passage is the document's text between its span; source is the metadata's, else the title, else the id."""
    text = "  Cats sleep all day. Dogs bark at night!\n\nBirds sing.  "
    given = [
        {"id": "a", "text": text, "title": "Animals", "metadata": {"source": "zoo.txt"}},
        {"id": "b", "text": "Stones are silent.", "title": "Stones"},
        {"id": "c", "text": "Rain falls."},
    ]
    with Store.open(tmp_path, ENCODER, chunk_size=5) as store:
        assert store.add(given) == 3 == len(store)
        hits = store.search("birds sing.", k=9)
        store.close()  # a second time does no harm
    texts = {d["id"]: d["text"] for d in given}
    assert len(hits) == 5 and all(texts[hit.id][slice(*hit.span)] == hit.text for hit in hits)
    assert {hit.text for hit in hits if hit.id == "a"} == {"Cats sleep all day.", "Dogs bark at night!", "Birds sing."}
    assert {hit.id: hit.source for hit in hits} == {"a": "zoo.txt", "b": "Stones", "c": "c"}


def test_store_title_is_embedded(tmp_path):
    """Documents that differ in their titles alone are each found by theirs."""
    with Store.open(tmp_path, ENCODER) as store:
        store.add([{"id": word, "text": "all the same", "title": word} for word in WORDS[:9]])
        assert [hits[0].id for hits in store.search_batch(WORDS[:9], k=1)] == WORDS[:9]


def test_store_opened_by_another_process(filled):
    """A second process reads the store and finds the same."""
    code = """
import sys; from helpers import HashEncoder; from minibert.retrieval import Store
with Store.open(sys.argv[1], HashEncoder()) as store:
    print(len(store), store.search(sys.argv[2], k=1)[0].id)
"""
    done = run_python(code, filled, documents(40)[11]["text"])
    assert (done.stdout, done.stderr) == ("40 d11\n", "")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"id": "x", "text": ""}, "document 'x' is empty"),
        ({"id": "x", "text": " \n\t"}, "document 'x' is empty"),
        ({"id": "x"}, "'x': expected text"),
        ({"id": "x", "text": b"bytes"}, "'x': expected text"),
        ({"id": "x", "text": "a", "title": 3}, "'x': expected text"),
        ({"id": "x", "text": "a", "year": 3}, r"'x': unknown fields \['year'\]"),
        ({"id": "x", "text": "a", "metadata": {"a": {1}}}, "'x': expected metadata that JSON can hold"),
        ({"id": "x", "text": "a", "metadata": {"a": float("nan")}}, "'x': expected metadata that JSON can hold"),
        ({"id": "x", "text": "a", "metadata": {"a": 10**5000}}, "'x': expected metadata that JSON can hold"),
        (
            {"id": "x", "text": "a", "metadata": {"a": json.loads("[" * 100 + "]" * 100)}},
            "'x': .*nested at most 100 deep",
        ),
        *[({"id": "x", "text": "a", "metadata": m}, "'x': expected metadata to be a dict") for m in ([], 0, "", "a")],
        ({"id": "x", "text": "a\udc80"}, "'x': its text has a lone surrogate at position 1"),
        ({"id": "x", "text": "a\0b"}, "'x': its text has a NUL at position 1"),
        ({"id": 7, "text": "a"}, "document number 70: expected a dict with an id"),
        ({"text": "a"}, "document number 70: expected a dict with an id"),
        ("text", "document number 70: expected a dict with an id"),
    ],
)
def test_store_refuses_bad_document_and_keeps_nothing_of_the_call(copy, document, reason, monkeypatch):
    """The error names the document; the 70 good ones before it, two batches, are not stored either."""
    monkeypatch.setattr("minibert.retrieval.store.DOCUMENTS_AT_ONCE", 64)
    with Store.open(copy, ENCODER) as store:
        good = [{**d, "id": "new " + d["id"]} for d in documents(70)]
        with pytest.raises(ValueError, match=reason):
            store.add([*good, document])
        assert len(store) == 40
        assert {hit.id for hit in store.search("d1", k=200)} == {d["id"] for d in documents(40)}


def test_store_refuses_empty_corpus_and_empty_question(tmp_path, filled):
    """No documents to add, none to search, an empty question, k below 1: each a clear error."""
    with Store.open(tmp_path, ENCODER) as store:
        with pytest.raises(ValueError, match="the corpus is empty"):
            store.add([])
        with pytest.raises(StoreError, match="holds no documents"):
            store.search("anything")
    with Store.open(filled, ENCODER) as store:
        for question in ("", "  ", None):
            with pytest.raises(ValueError, match="expected a question, got"):
                store.search(question)
        for text in ("cat", b"cat"):
            with pytest.raises(TypeError, match="expected a list of texts, got b?'cat'"):
                store.search_batch(text)
        with pytest.raises(ValueError, match="k: expected an integer ≥ 1, got 0"):
            store.search("a", k=0)


def test_store_refuses_vectors_that_are_not_finite(tmp_path):
    """An encoder that gives NaN is found out before anything is stored."""

    class Broken(HashEncoder):
        def encode_document(self, texts, **options):
            return np.full((len(texts), self.dim), np.nan, np.float32)

    with Store.open(tmp_path, Broken()) as store:
        with pytest.raises(ValueError, match="expected finite vectors .* 'd0' to 'd2'"):
            store.add(documents(3))
        assert len(store) == 0


def test_store_refuses_another_encoder(filled):
    """The error names both encoders."""
    with pytest.raises(StoreError, match="hash-24-0 .*hash-24-1"):
        Store.open(filled, HashEncoder(seed=1))
    with pytest.raises(StoreError, match="hash-24-0 .*hash-12-0"):
        Store.open(filled, HashEncoder(dim=12))


def test_store_says_in_what_encoders_differ(tmp_path):
    """Where an encoder names its parts, the error names those that are others'."""

    def encoder(fingerprint, **parts):
        made = HashEncoder()
        made.fingerprint, made.parts = fingerprint, parts
        return made

    Store.open(tmp_path, encoder("one", weights="w", tokenizer="t", prompts="p", pooling="m")).close()
    with pytest.raises(StoreError, match="What differs: tokenizer, prompts$"):
        Store.open(tmp_path, encoder("two", weights="w", tokenizer="u", prompts="q", pooling="m"))


def test_store_keeps_int8_vectors(tmp_path):
    """A quarter of the bytes, every number within half a step, HNSW's hits are exact search's; no second precision."""
    with Store.open(tmp_path, ENCODER, precision="int8") as store:
        store.add(documents(40))
    db = sqlite3.connect(tmp_path / "store.sqlite")
    blobs = [blob for (blob,) in db.execute("SELECT vector FROM vectors ORDER BY chunk")]
    db.close()
    assert {len(blob) for blob in blobs} == {Codec(ENCODER.dim, "int8").size} == {4 + ENCODER.dim}
    vectors = ENCODER.encode_document([d["text"] for d in documents(40)])
    steps = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert (np.abs(Codec(ENCODER.dim, "int8").unpack(blobs) - vectors) <= steps / 2 * (1 + 1e-6)).all()
    assert answers(tmp_path) == answers(tmp_path, exact=True, diversity=0.1) == [d["id"] for d in documents(40)]
    with pytest.raises(StoreError, match="its vectors are int8, not float32"):
        Store.open(tmp_path, ENCODER, precision="float32")
    with pytest.raises(ValueError, match="precision: expected one of"):
        Store.open(tmp_path, ENCODER, precision="int4")


@pytest.mark.parametrize("options", [{"chunk_size": 0}, {"chunk_size": 4, "overlap": 4}, {"overlap": -1}])
def test_store_refuses_impossible_chunking(tmp_path, options):
    """Sizes that cannot be are refused before anything is made."""
    with pytest.raises(ValueError, match="expected chunk_size ≥ 1 and 0 ≤ overlap < chunk_size"):
        Store.open(tmp_path / "new", ENCODER, **options)
    assert not (tmp_path / "new").exists()


def test_store_refuses_what_is_no_store(tmp_path):
    """No store where one must be, a file in place of the folder, a database that is none, another format."""
    with pytest.raises(StoreError, match="no store there"):
        Store.open(tmp_path / "absent", ENCODER, create=False)
    assert not (tmp_path / "absent").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot make the store's folder"):
        Store.open(tmp_path / "file", ENCODER)
    (tmp_path / "store.sqlite").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match="store.sqlite: file is not a database"):
        Store.open(tmp_path, ENCODER)
    Store.open(tmp_path / "newer", ENCODER).close()
    db = sqlite3.connect(tmp_path / "newer" / "store.sqlite")
    with db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    db.close()
    with pytest.raises(StoreError, match="expected format 2, got 99"):
        Store.open(tmp_path / "newer", ENCODER)


def test_store_remembers_facts(tmp_path):
    """Facts given to remember are read back without an encoder."""
    with Store.open(tmp_path, ENCODER) as store:
        store.remember(model="/a/b")
        with pytest.raises(ValueError, match="got .'dim'."):
            store.remember(dim="7")
    assert Store.facts(tmp_path)["model"] == "/a/b"
    assert Store.facts(tmp_path)["encoder"] == ENCODER.fingerprint


def _truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def _of_another_store(path):
    with Store.open(path.parent / "other", ENCODER) as store:
        store.add(documents(50, seed=9))
    os.replace(path.parent / "other" / "index.ann", path)


def _of_another_width(path):
    index = ann.HNSW(3)
    index.add(np.eye(3, dtype=np.float32))
    index.save(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (os.remove, "is missing: built anew"),
        (_of_another_store, "was not made from this store: built anew"),
        (_of_another_width, "holds 3 dimensions .*: built anew"),
    ],
)
def test_store_rebuilds_a_lost_or_foreign_index(copy, damage, reason):
    """Whatever became of the file: right answers, one warning that says what happened, and a mended file."""
    damage(copy / "index.ann")
    with pytest.warns(UserWarning, match=reason) as caught:
        assert answers(copy) == [d["id"] for d in documents(40)]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answers(copy) == [d["id"] for d in documents(40)]


@pytest.mark.parametrize("damage", [_truncate, _flip])
def test_store_refuses_a_damaged_index_and_loses_nothing(copy, damage):
    """Search and add name the file, the reason and the remedy; the remedy brings all documents back."""
    damage(copy / "index.ann")
    with Store.open(copy, ENCODER) as store:
        for call in (lambda: store.search("d1"), lambda: store.add([{"id": "new", "text": "new"}])):
            with pytest.raises(StoreError, match=r"index\.ann: .* delete .*index\.ann, and it is built anew"):
                call()
    os.remove(copy / "index.ann")
    with pytest.warns(UserWarning, match="is missing: built anew"):
        assert answers(copy) == [d["id"] for d in documents(40)]


def test_store_catches_up_an_index_that_is_behind(copy):
    """An index file older than the last commit misses nothing new and shows nothing that is gone."""
    old = (copy / "index.ann").read_bytes()
    with Store.open(copy, ENCODER) as store:
        store.add([{"id": "new", "text": "brand new text"}, {"id": "d3", "text": "other words"}])
        store.delete(["d5"])
    (copy / "index.ann").write_bytes(old)
    with Store.open(copy, ENCODER) as store:
        with pytest.warns(UserWarning, match="is behind the store: 2 vectors added, 2 removed"):
            assert store.search("brand new text", k=1)[0].id == "new"
        assert len({hit.id for hit in store.search("d5", k=100)} ^ {d["id"] for d in documents(40)}) == 2


def test_store_index_stays_small_under_replacement(copy):
    """Replacing every document ten times leaves an index no larger than twice that of a fresh store."""
    size = (copy / "index.ann").stat().st_size
    for seed in range(9, -1, -1):
        with Store.open(copy, ENCODER) as store:
            assert store.add(documents(40, seed)) == 40
    assert (copy / "index.ann").stat().st_size < 2.2 * size
    assert answers(copy) == [d["id"] for d in documents(40)]


def test_store_readers_follow_and_are_not_disturbed(copy):
    """A reader sees the last commit while a writer is at work, never a part of it, and follows the next one."""
    reader, writer = Store.open(copy, ENCODER), Store.open(copy, ENCODER)
    seen = []

    def halfway():
        for document in documents(70, seed=3):
            seen.append(len(reader))
            yield {**document, "id": "new " + document["id"]}
        assert reader.search("d1", k=100)[0].id in {d["id"] for d in documents(40)}

    writer.add(halfway())
    assert set(seen) == {40} and len(reader) == 110
    assert reader.search(documents(70, seed=3)[69]["text"], k=1)[0].id == "new d69"
    reader.close()
    writer.close()


def test_store_second_writer_gets_one_clear_error(copy, monkeypatch):
    """While another process writes, add says so and changes nothing; afterwards it works."""
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.05)
    with Store.open(copy, ENCODER) as store:
        other = sqlite3.connect(copy / "store.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="store.sqlite: another process is writing"):
            store.add([{"id": "x", "text": "x"}])
        other.execute("ROLLBACK")
        other.close()
        assert store.add([{"id": "x", "text": "x"}]) == 1


def test_store_blocks_no_writer_while_it_embeds_or_builds(copy, monkeypatch):
    """Another writer commits while documents are embedded and while the index is built anew."""
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.05)
    os.remove(copy / "index.ann")
    load, wrote = FollowingVectors.load, []

    def write(id):
        db = schema.connect(copy / "store.sqlite")
        with schema.transaction(db, copy / "store.sqlite", write=True):
            schema.write_meta(db, {id: "written"})
        db.close()
        wrote.append(id)

    class Slow(HashEncoder):
        def encode_document(self, texts, **options):
            write("while embedding")
            return super().encode_document(texts)

    def slow_load(*args):
        write("while building")
        return load(*args)

    monkeypatch.setattr(FollowingVectors, "load", slow_load)
    with Store.open(copy, Slow()) as store, pytest.warns(UserWarning, match="built anew"):
        store.add(documents(3, seed=5))
    assert wrote == ["while building", "while embedding"]
    assert Store.facts(copy).keys() >= set(wrote)


def test_store_refuses_another_threads_use_and_stays_usable(copy):
    """Every use from a thread that did not open the Store says so; the owner's own calls go on."""
    with Store.open(copy, ENCODER) as store, ThreadPoolExecutor(1) as pool:
        store.search("d1")
        for call in (lambda: len(store), lambda: store.search("d1"), lambda: store.delete(["d1"]), store.close):
            with pytest.raises(StoreError, match="store.sqlite: this Store was opened in another thread"):
                pool.submit(call).result()
        store.add([{"id": "new", "text": "brand new"}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answers(copy) == [d["id"] for d in documents(40)]


def test_store_refuses_an_empty_file(copy):
    """store.sqlite of no bytes is no new store: it was truncated."""
    (copy / "store.sqlite").write_bytes(b"")
    for call in (lambda: Store.open(copy, ENCODER), lambda: Store.facts(copy)):
        with pytest.raises(StoreError, match="store.sqlite is empty: truncated"):
            call()
    assert (copy / "store.sqlite").read_bytes() == b""


def test_store_refuses_an_id_given_twice_in_a_call(copy, monkeypatch):
    """The error names the id and both places, also when batches lie between; nothing is stored."""
    monkeypatch.setattr("minibert.retrieval.store.DOCUMENTS_AT_ONCE", 64)
    with Store.open(copy, ENCODER) as store:
        given = documents(70, seed=2)
        with pytest.raises(ValueError, match="'d5' is given twice, as number 5 and 70"):
            store.add([*given, given[5]])
        assert len(store) == 40 and store.replaced == 0


def test_ingest_counts_what_it_replaced(tmp_path):
    """An id of an earlier batch, or of an earlier ingest, is replaced and counted; what is there already is counted."""
    with Store.open(tmp_path, ENCODER) as store:
        assert ingest(store, documents(5), batch_size=2) == (5, 0, 0)
        assert ingest(store, [*documents(7), {"id": "d6", "text": "the last word"}], batch_size=7) == (3, 1, 5)
        assert len(store) == 7 and store.search("the last word", k=1)[0].id == "d6"


def test_ingest_goes_on_where_it_was(tmp_path):
    """What was committed is not embedded again, unless its text, title, metadata, format or the chunking changed."""
    embedded = []

    class Recording(HashEncoder):
        def encode_document(self, texts, **options):
            embedded.extend(texts)
            return super().encode_document(texts)

    def stopped():
        yield from given[:5]
        raise KeyboardInterrupt

    given = [{**d, "title": "t", "metadata": {"a": 1}} for d in documents(6)]
    with Store.open(tmp_path, Recording()) as store:
        with pytest.raises(KeyboardInterrupt):
            ingest(store, stopped(), batch_size=2)
        assert len(store) == 4 and ingest(store, given, batch_size=2) == (2, 0, 4)
        assert [text.split()[1] for text in embedded] == ["d0", "d1", "d2", "d3", "d4", "d5"]
        changes = [{"text": "new"}, {"title": "u"}, {"metadata": {"a": 2}}, {"format": "rst"}, {}, {}]
        changed = [{**d, **change} for d, change in zip(given, changes, strict=True)]
        assert ingest(store, changed) == (4, 4, 2)
    with Store.open(tmp_path, Recording(), chunk="structure") as store:
        assert ingest(store, changed) == (6, 6, 0) and len(store) == 6


def test_ingest_reads_no_further_than_a_batch(tmp_path):
    """A corpus may be larger than memory: what is read and not yet committed is one batch at most."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents(30)))
    corpus = read_documents([tmp_path / "a.jsonl"])
    ahead = []

    with Store.open(tmp_path / "s", ENCODER) as store, Store.open(tmp_path / "s", ENCODER) as reader:

        def watched():
            for number, document in enumerate(corpus):
                ahead.append(number - len(reader))
                yield document

        ingest(store, watched(), batch_size=7)
        assert len(reader) == 30
    assert max(ahead) == 6
    assert next(iter(corpus))["id"] == "d0" and corpus.done < corpus.size / 20


def test_ingest_shows_how_far_it_is(tmp_path, capsys):
    """Of files: the share of their bytes, documents a second, the time left; then how far the index is."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents(40)))
    with Store.open(tmp_path / "s", ENCODER) as store:
        ingest(store, read_documents([tmp_path / "a.jsonl"]), batch_size=10, progress=True)
    shown = capsys.readouterr().err
    assert re.search(r"ingest: 100%.*40 documents, \d+/s", shown)
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", shown) and "index: 100%" in shown and "40/40" in shown


def test_store_cuts_as_it_was_made(tmp_path):
    """What a new store is told of its passages holds for later openings that say nothing: an ingest goes on."""
    with Store.open(tmp_path, ENCODER, chunk="tokens", chunk_size=7, overlap=2) as store:
        store.add(documents(5))
    with Store.open(tmp_path, ENCODER) as store:
        assert store.add(documents(5)) == 0
    with Store.open(tmp_path, ENCODER, chunk="sentences", chunk_size=9, overlap=0) as store:
        assert store.add(documents(5)) == 5
    assert [Store.facts(tmp_path)[name] for name in ("chunk", "chunk_size", "overlap")] == ["tokens", "7", "2"]


def test_store_measures_an_overlap_by_the_size_it_was_made_with(tmp_path):
    """What is asked for is checked against the store's own size, not against the default one of 100 words."""
    Store.open(tmp_path, ENCODER, chunk_size=200).close()
    Store.open(tmp_path, ENCODER, overlap=120).close()
    with pytest.raises(ValueError, match="overlap < chunk_size, got 200 and 200"):
        Store.open(tmp_path, ENCODER, overlap=200)


def test_store_tells_what_differs_of_a_model(tmp_path):
    """A sentence encoder with another pooling, or another prompt, is refused by that name."""
    sizes = {"width": 8, "layers": 1, "heads": 2, "ffn": 8, "positions": 16, "max_length": 16}
    config = SentenceEncoderConfig(vocab_size=tiny_tokenizer().vocab_size, pooling=("mean",), **sizes)
    Store.open(tmp_path, SentenceEncoder.create(tiny_tokenizer(), config)).close()
    for change in ({"pooling": ("cls",)}, {"prompts": {"query": "ask: "}}):
        other = SentenceEncoder.create(tiny_tokenizer(), dataclasses.replace(config, **change))
        with pytest.raises(StoreError, match=f"What differs: {next(iter(change))}$"):
            Store.open(tmp_path, other)


@pytest.mark.parametrize("chunk", ["sentences", "tokens", "structure"])
def test_store_hit_is_the_span_of_the_text_in_every_mode(tmp_path, chunk):
    """text[span] is the hit's text; headings are its context and are found, but are not in it."""
    text = "# Farm\n\nCows give milk. Hens lay eggs daily.\n\n## Barn\n\nOwls live there, and mice.\n"
    with Store.open(tmp_path, ENCODER, chunk=chunk, chunk_size=5) as store:
        store.add([{"id": "a", "text": text, "format": "markdown"}])
        hits = store.search("Barn", k=9, hybrid=True)
    assert all(text[slice(*hit.span)] == hit.text for hit in hits)
    cut = [(hit.context, hit.text) for hit in sorted(hits, key=lambda hit: hit.span)]
    assert (
        cut
        == {
            "sentences": [
                ("", "# Farm\n\nCows give milk."),
                ("", "Hens lay eggs daily."),
                ("", "## Barn"),
                ("", "Owls live there, and mice."),
            ],
            "tokens": [
                ("", "# Farm\n\nCows give milk."),
                ("", "Hens lay eggs daily.\n\n##"),
                ("", "Barn\n\nOwls live there, and"),
                ("", "mice."),
            ],
            "structure": [
                ("Farm", "Cows give milk."),
                ("Farm", "Hens lay eggs daily."),
                ("Farm > Barn", "Owls live there,"),
                ("Farm > Barn", "and mice."),
            ],
        }[chunk]
    )
    if chunk == "structure":
        assert hits[0].context == "Farm > Barn" and "sparse" in hits[0].stages


def test_store_names_the_document_whose_structure_cannot_be_read(tmp_path):
    """Python source with a fault: document and line, and nothing is stored."""
    with Store.open(tmp_path, ENCODER, chunk="structure") as store:
        with pytest.raises(ValueError, match="document 'b.py', line 2: not Python"):
            store.add([{"id": "a", "text": "x"}, {"id": "b.py", "text": "x = 1\ny = (", "format": "python"}])
        assert len(store) == 0


@pytest.mark.parametrize("with_tokenizer", [False, True])
def test_store_long_title_leaves_room_for_the_passage(tmp_path, with_tokenizer):
    """What is embedded fits the encoder: half is the title's at most, its beginning; the passage is whole."""
    seen, size, specials = [], 8, 2

    class Recording(HashEncoder):
        tokenizer = tiny_tokenizer() if with_tokenizer else None
        config = SimpleNamespace(max_length=size + specials)

        def encode_document(self, texts, **options):
            seen.extend(texts)
            return super().encode_document(texts)

    with Store.open(tmp_path, Recording(), chunk_size=size) as store:
        store.add([{"id": "a", "text": "the cat sat on the mat. a dog sat.", "title": "the log " * 9}])
        spans = [hit.text for hit in store.search("cat", k=9)]
    assert all(text.startswith("the log the log\n") for text in seen)
    assert sorted(text.partition("\n")[2] for text in seen) == sorted(spans)
    lengths = [len(tiny_tokenizer().encode(t).ids) - specials if with_tokenizer else len(t.split()) for t in seen]
    assert max(lengths) <= size


def test_store_asks_no_more_than_its_protocol():
    """The least encoder and the library's own are both what `Encoder` describes; half of one is not."""
    assert isinstance(ENCODER, Encoder)
    assert all(hasattr(DualEncoder, name) for name in Encoder.__annotations__ | {"encode_query": 0})
    assert not isinstance(SimpleNamespace(dim=3, metric="ip"), Encoder)


def test_ids_that_cannot_be_are_of_no_document(copy):
    """SQLite would take 1 for "1"; a lone surrogate has no UTF-8; canonically equal ids are different names."""
    with Store.open(copy, ENCODER) as store:
        store.add([{"id": id, "text": f"named {i}"} for i, id in enumerate(["1", "\u00e9", "e\u0301"])])
        with pytest.raises(TypeError, match="expected ids that are texts, got 1"):
            store.delete(["d1", 1])
        assert store.delete(["\ud800", "nobody"]) == 0 and store.document("\ud800") is None
        assert store.delete(["\u00e9"]) == 1 and store.document("e\u0301")["text"] == "named 2" and len(store) == 42
        with pytest.raises(ValueError, match="model: a lone surrogate at position 0"):
            store.remember(model="\udc80")


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="only root may become another user")
def test_store_tells_why_a_folder_that_cannot_be_written_is_refused(copy):
    """Another user may read the files, but SQLite finds no place for its locks."""
    for path in (copy, *(path for path in copy.parents if path.name.startswith(("pytest", "popen")))):
        path.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match="the folder must be one to write in, even to search"):
            Store.open(copy, ENCODER)
    finally:
        os.seteuid(0)


def test_document_comes_back_as_it_was_added(tmp_path):
    """With its format; so to add it again changes nothing, whatever its id."""
    given = {"id": "a\0b", "text": "# A\n\nwords", "format": "markdown"}
    with Store.open(tmp_path, ENCODER, chunk="structure") as store:
        store.add([given])
        assert store.document("a\0b") == given
        assert store.add([given]) == store.replaced == 0


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"hybrid": True}])
def test_search_for_more_than_there_is_gives_all(copy, options, monkeypatch):
    """An index is never asked for more than it holds: it would make room for as many."""
    asked = []
    for index in (ann.HNSW, ann.Exact, BM25):

        def search(self, queries, k, search=index.search, **rest):
            asked.append(k)
            return search(self, queries, k=k, **rest)

        monkeypatch.setattr(index, "search", search)
    with Store.open(copy, ENCODER) as store:
        assert len(store.search("word1", k=1000, **options)) == 40
    assert set(asked) == {40}
