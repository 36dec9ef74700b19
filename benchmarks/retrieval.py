"""The store end to end, against sentence-transformers with hnswlib: all-MiniLM-L6-v2, cosine, M 16, one thread each.

python -m benchmarks retrieval: paragraphs of docstrings of the peers' packages, 40 words of each at most, one a
document. Measured, in seconds of CPU and in alternation:

    ingest   --sample texts from text to a closed store or a saved index, embedding included
    build    all --chunks vectors, embedded before (once, and kept in a folder for temporary files): texts and vectors
             into SQLite, HNSW and BM25, against hnswlib alone
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

from benchmarks.harness import machine, table
from benchmarks.peers import Peer
from benchmarks.vectors import CACHE
from minibert import SentenceEncoder
from minibert.retrieval import Store

K, EF, WORDS = 10, 64, 40


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


def read_texts(count, queries):
    """Different texts for the store, and others to ask for."""
    with Peer("docstring_vectors") as reader:
        found = reader.call("paragraphs", limit=int(1.2 * (count + queries)))
    texts = list(dict.fromkeys(" ".join(text.split()[:WORDS]) for text in found))
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[: count + queries]]
    return texts[queries:], texts[:queries]


def cached_vectors(encoder, texts):
    """The encoder's vectors of the texts, made once, some minutes for 100,000."""
    path = CACHE / f"retrieval-{encoder.fingerprint[:12]}-{len(texts)}.npy"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        np.save(path, encoder.encode_document(texts, on_truncate="silent"))
    return np.load(path)


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


def compare_ingest(peer, encoder, texts, rounds, folder):
    """Medians of the seconds of both sides, a new store each time."""
    peer.call("keep", name="sample", texts=texts)
    ours, theirs = [], []
    for turn in range(rounds + 1):
        path = folder / f"sample-{turn}"
        seconds = fill(path, encoder, texts), peer.call("ingest", name="sample", path=str(folder / "sample.hnsw"))
        if turn:  # the first time kernels are compiled and pages read
            ours.append(seconds[0])
            theirs.append(seconds[1])
        shutil.rmtree(path)
    return np.median(ours), np.median(theirs)


def compare_queries(peer, store, queries, exact):
    """Rows of the table: percentiles of both sides' seconds, blocks of queries in alternation."""
    sides = {"dense": {}, "hybrid": {"hybrid": True}}
    seconds, found = {name: [] for name in (*sides, "peer")}, {"dense": [], "peer": []}
    ask(store, queries[:20]), ask(store, queries[:20], hybrid=True)
    for at in range(0, len(queries), 50):
        block = queries[at : at + 50]
        for name, options in sides.items():
            times, rows = ask(store, block, **options)
            seconds[name] += times.tolist()
            found.setdefault(name, []).extend(rows)
        peer.call("keep", name="queries", texts=block)
        times, rows = peer.call("ask", name="all", queries="queries", k=K, ef=EF)
        seconds["peer"] += times.tolist()
        found["peer"] += rows.tolist()
    ms = {name: np.percentile(np.array(values) * 1000, [50, 99]) for name, values in seconds.items()}
    rows = [
        [f"query, ms, p{p}", ms["dense"][i], ms["peer"][i], ms["peer"][i] / ms["dense"][i]]
        for i, p in enumerate((50, 99))
    ]
    rows += [
        [f"hybrid query, ms, p{p}", ms["hybrid"][i], "-", ms["dense"][i] / ms["hybrid"][i]]
        for i, p in enumerate((50, 99))
    ]
    shares = overlap(found["dense"], exact), overlap(found["peer"], exact)
    return [*rows, ["of exact search's ten", *shares, shares[0] / shares[1]]]


def open_seconds(path, encoder, query):
    """Seconds of CPU from nothing to the first answer, less those of a second one: the median of five."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        with Store.open(path, encoder, create=False) as store:
            store.search(query, k=K)
            first = time.process_time()
            store.search(query, k=K)
            seconds.append(2 * first - start - time.process_time())
    return np.median(seconds)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks retrieval", description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000, help="paragraphs in the store")
    parser.add_argument("--sample", type=int, default=2_000, help="texts of the ingest that is timed whole")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3, help="of the ingest")
    args = parser.parse_args(argv)
    texts, queries = read_texts(args.chunks, args.queries)
    with Peer("st_hnswlib") as peer, tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        encoder = SentenceEncoder.load(peer.call("folder"))
        peer.call("keep", name="check", texts=texts[:100])
        ours = encoder.encode_document(texts[:100], on_truncate="silent")
        np.testing.assert_allclose(ours, peer.call("vectors", name="check"), atol=1e-5)

        sample = texts[: args.sample]
        ingest = compare_ingest(peer, encoder, sample, args.rounds, folder)
        rows = [["ingest, texts/s", *(len(sample) / seconds for seconds in ingest), ingest[1] / ingest[0]]]

        vectors = cached_vectors(encoder, texts)
        peer.call("keep", name="all", texts=texts)
        theirs = peer.call("build", name="all", rows=vectors, path=str(folder / "all.hnsw"))
        ours = fill(folder / "all", Cached(encoder, texts, vectors), texts, hybrid=True)
        rows.append(["store and index, vectors/s", len(texts) / ours, len(texts) / theirs, theirs / ours])

        exact = np.argsort(-(encoder.encode_query(queries, on_truncate="silent") @ vectors.T), axis=1)[:, :K]
        with Store.open(folder / "all", encoder) as store:
            rows += compare_queries(peer, store, queries, exact.tolist())
            stats = store.stats()
        opened = open_seconds(folder / "all", encoder, queries[0])
        rows.append(["open, seconds", opened, peer.call("open_seconds", path=str(folder / "all.hnsw"), dim=384), "-"])
        rows.append(
            ["index, bytes a vector", stats["index.ann bytes a passage"], peer.call("bytes_a_vector", name="all"), "-"]
        )
        rows.append(["SQLite, bytes a passage", stats["store.sqlite bytes a passage"], "-", "-"])
        rows.append(["BM25, bytes a passage", stats["index.bm25 bytes a passage"], "-", "-"])
        version = peer.call("version")
    print(f"{len(texts):,} paragraphs of {np.mean([len(t.split()) for t in texts]):.0f} words; {machine()}\n")
    print(table(["task", "ours", version, "ratio"], rows))
    return 0
