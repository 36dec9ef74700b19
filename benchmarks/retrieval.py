"""The store end to end, against sentence-transformers with hnswlib: all-MiniLM-L6-v2, cosine, M 16, one thread each.

python -m benchmarks retrieval: paragraphs of docstrings of the peers' packages, 40 words of each at most, one a
document. Measured, in seconds of CPU and in alternation:

    ingest   --sample texts from text to a closed store or a saved index, embedding included
    build    all --chunks vectors, embedded before (once, and kept in a folder for temporary files; --prepare does it
             alone): texts and vectors into SQLite, HNSW and BM25, against hnswlib alone
    query    --queries paragraphs that are not in the store, one a call: embed, find 10, read their texts; ef 64
    open     the closed store of all chunks, its first search included, less the median search

Whether the answers are right: how many of exact search's ten each finds.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import Result, Row, require_at_least, require_close
from benchmarks.peers import Peer
from benchmarks.vectors import cached_vectors, read_texts
from minibert import SentenceEncoder
from minibert.retrieval import Store

K, EF, BLOCK = 10, 64, 50
ROOM = 0.02  # by which the share of exact search's ten may be lower
AGAINST = "sentence-transformers: with hnswlib"


class Cached:
    """An encoder whose vectors of known texts were made before: what is timed then is not the embedding."""

    def __init__(self, encoder, texts, vectors):
        self.encoder, self.tokenizer, self.config = encoder, encoder.tokenizer, encoder.config
        self.dim, self.metric, self.fingerprint = encoder.dim, encoder.metric, encoder.fingerprint
        self.encode_query, self._rows, self._vectors = (
            encoder.encode_query,
            {t: i for i, t in enumerate(texts)},
            vectors,
        )

    def encode_document(self, texts):
        """Vectors of texts; the few that are a part of one, as it was too long for the model, are made now."""
        vectors = self._vectors[[self._rows.get(text, 0) for text in texts]]
        if parts := [i for i, text in enumerate(texts) if text not in self._rows]:
            vectors[parts] = self.encoder.encode_document([texts[i] for i in parts])
        return vectors


def documents(texts):
    """A document for each text; its id is its row."""
    return [{"id": str(row), "text": text} for row, text in enumerate(texts)]


def fill(path, encoder, texts, hybrid=False):
    """Seconds of CPU to add texts to a new store and close it, index files written."""
    start = time.process_time()
    with Store.open(path, encoder) as store:
        given = documents(texts)
        for at in range(0, len(given), 4096):
            store.add(given[at : at + 4096])
        store.search(texts[0], k=1, hybrid=hybrid)
    return time.process_time() - start


def ask(store, queries, **options):
    """Seconds of CPU of each query, and the rows it finds."""
    seconds, found = [], []
    for query in queries:
        start = time.process_time()
        hits = store.search(query, k=K, **options)
        seconds.append(time.process_time() - start)
        found.append([int(hit.id) for hit in hits])
    return np.array(seconds), found


def overlap(found, exact):
    """The share of exact search's rows that were found."""
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, exact, strict=True)])


def ingest_row(peer, encoder, texts, rounds, folder):
    """Texts to a closed store and to a saved index, a new one each time."""
    peer.call("keep", name="sample", texts=texts)
    ours, theirs = [], []
    for turn in range(rounds + 1):
        path = folder / f"sample-{turn}"
        seconds = fill(path, encoder, texts), peer.call("ingest", name="sample", path=str(folder / "sample.hnsw"))
        if turn:  # the first time kernels are compiled and pages read
            ours.append(len(texts) / seconds[0])
            theirs.append(len(texts) / seconds[1])
        shutil.rmtree(path)
    return Row("ingest: text to closed store", "texts/s", ours, theirs, AGAINST)


def query_rows(peer, store, queries, exact):
    """Median and 99th percentile of a query's time, a block of queries in turn; then what was found."""
    sides = {"dense": {}, "hybrid": {"hybrid": True}}
    blocks, found = {name: [] for name in (*sides, "peer")}, {name: [] for name in (*sides, "peer")}
    ask(store, queries[:20]), ask(store, queries[:20], hybrid=True)
    for at in range(0, len(queries), BLOCK):
        block = queries[at : at + BLOCK]
        for name, options in sides.items():
            times, rows = ask(store, block, **options)
            blocks[name].append(1000 * times)
            found[name] += rows
        peer.call("keep", name="queries", texts=block)
        times, rows = peer.call("ask", name="all", queries="queries", k=K, ef=EF)
        blocks["peer"].append(1000 * times)
        found["peer"] += rows.tolist()
    shares = overlap(found["dense"], exact), overlap(found["peer"], exact)
    require_at_least("of exact search's ten", *shares, ROOM)
    for task, percent in (("median", 50), ("99th percentile", 99)):
        ms = {name: [float(np.percentile(times, percent)) for times in parts] for name, parts in blocks.items()}
        yield Row(f"query, {task}", "ms", ms["dense"], ms["peer"], AGAINST)
        yield Row(f"hybrid query, {task}", "ms", ms["hybrid"])
    yield Row("of exact search's ten", "share", [shares[0]], [shares[1]], AGAINST)


def open_seconds(path, encoder, query):
    """Seconds of CPU from nothing to the first answer, less those of a second one, five times."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        with Store.open(path, encoder, create=False) as store:
            store.search(query, k=K)
            first = time.process_time()
            store.search(query, k=K)
            seconds.append(2 * first - start - time.process_time())
    return seconds


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks retrieval", description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000, help="paragraphs in the store")
    parser.add_argument("--sample", type=int, default=2_000, help="texts of the ingest that is timed whole")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3, help="of the ingest")
    parser.add_argument("--prepare", action="store_true", help="only make the vectors that all runs share")
    args = parser.parse_args(argv)
    texts, queries = read_texts(args.chunks, args.queries)
    with Peer("st_hnswlib") as peer, tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        encoder = SentenceEncoder.load(peer.call("folder"))
        peer.call("keep", name="check", texts=texts[:100])
        ours = encoder.encode_document(texts[:100], on_truncate="silent")
        require_close("vectors", ours, peer.call("vectors", name="check"), atol=1e-5)
        vectors = cached_vectors(encoder, texts)
        if args.prepare:
            return []
        rows = [ingest_row(peer, encoder, texts[: args.sample], args.rounds, folder)]

        peer.call("keep", name="all", texts=texts)
        theirs = peer.call("build", name="all", rows=vectors, path=str(folder / "all.hnsw"))
        ours = fill(folder / "all", Cached(encoder, texts, vectors), texts, hybrid=True)
        build = [len(texts) / ours], [len(texts) / theirs]
        rows.append(Row("store, HNSW and BM25; the peer: HNSW", "vectors/s", *build, AGAINST))

        exact = np.argsort(-(encoder.encode_query(queries, on_truncate="silent") @ vectors.T), axis=1)[:, :K]
        with Store.open(folder / "all", encoder) as store:
            rows += query_rows(peer, store, queries, exact.tolist())
            stats = store.stats()
        ours = open_seconds(folder / "all", encoder, queries[0])
        theirs = [peer.call("open_seconds", path=str(folder / "all.hnsw"), dim=encoder.dim) for _ in ours]
        rows.append(Row("open", "s", ours, theirs, AGAINST))
        sizes = [stats[f"{part} bytes a passage"] for part in ("index.ann", "store.sqlite", "index.bm25")]
        rows.append(Row("index", "bytes a row", sizes[:1], [peer.call("bytes_a_vector", name="all")], AGAINST))
        rows += [Row(part, "bytes a row", [size]) for part, size in zip(("SQLite", "BM25"), sizes[1:], strict=True)]
    words = np.mean([len(text.split()) for text in texts])
    return [
        Result(
            f"retrieval: {len(texts):,} paragraphs",
            f"The store from text to answers: {len(texts):,} paragraphs of {words:.0f} words, all-MiniLM-L6-v2, "
            f"cosine, M 16, ef {EF}, one thread a side, seconds of CPU.",
            f"Vectors agree to 1e-5; of exact search's ten the store finds no less than the peer does, less {ROOM}.",
            rows,
        )
    ]
