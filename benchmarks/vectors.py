"""Data sets for the index benchmarks: generated rows, embeddings of docstrings, and SIFT and MNIST of MINIBERT_DATA."""

import gzip
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from ann.files import atomic_write
from benchmarks.peers import Peer
from minibert import SentenceEncoder

CACHE = Path(tempfile.gettempdir()) / "minibert-benchmarks"
WORDS, MOST_TEXTS = 40, 100_000
PART = 4096  # texts embedded and kept together


def mixture(rows, dim, seed=0, groups=1000, low=24):
    """Rows of a mixture of Gaussians in `low` dimensions, seen through one linear map, with a little noise.

        z ~ N(centre of a random group, 1);  x = z map + 0.1 N(0, 1)

    The seed draws the rows, not the mixture. Shapes → (rows, dim) float32
    """
    fixed, rng = np.random.default_rng(20160330), np.random.default_rng(seed)
    projection = fixed.standard_normal((low, dim), np.float32)
    centres = fixed.standard_normal((groups, low), np.float32)
    z = centres[rng.integers(0, groups, rows)] + rng.standard_normal((rows, low), np.float32)
    return z @ projection + 0.1 * rng.standard_normal((rows, dim), np.float32)


def text(rows):
    """all-MiniLM-L6-v2's vectors of paragraphs of docstrings, (rows, 384), of length 1; the same however many rows.

    Some 25 minutes of one core for 100,000 at first, then kept in a folder for temporary files.
    """
    if rows > MOST_TEXTS:
        raise SystemExit(f"expected at most {MOST_TEXTS:,} rows of text and queries, got {rows:,}")
    with Peer("st_encoder") as peer:
        encoder = SentenceEncoder.load(peer.call("minilm_folder"))
    return cached_vectors(encoder, read_texts(MOST_TEXTS, 500)[0][:rows])


def read_texts(count, queries):
    """Different paragraphs of docstrings of the peers' packages, cut at WORDS words, and others to ask for."""
    with Peer("docstrings") as reader:
        found = reader.call("paragraphs", limit=int(1.2 * (count + queries)))
    texts = list(dict.fromkeys(" ".join(text.replace("\0", " ").split()[:WORDS]) for text in found))
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[: count + queries]]
    return texts[queries:], texts[:queries]


def cached_vectors(encoder, texts):
    """The encoder's vectors of the texts, made once and kept in parts: what was stopped goes on with the next part."""
    CACHE.mkdir(exist_ok=True)
    fingerprint, parts = encoder.fingerprint[:12], []
    for at in range(0, len(texts), PART):
        part = texts[at : at + PART]
        path = CACHE / f"retrieval-{fingerprint}-{hashlib.sha256(chr(0).join(part).encode()).hexdigest()[:12]}.npy"
        if not path.exists():
            made = encoder.encode_document(part, on_truncate="silent")
            with atomic_write(path) as file:
                np.save(file, made)
        parts.append(np.load(path))
    return np.concatenate(parts)


def sift():
    """5,000 SIFT descriptors, (5000, 128)."""
    with gzip.open(_data("ann_sift5k/sift5k_u8.npy.gz")) as file:
        return np.load(file).astype(np.float32)


def mnist():
    """The 10,000 test digits, (10000, 784)."""
    with gzip.open(_data("ann_mnist10k/t10k-images-idx3-ubyte.gz")) as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32)


def _data(name):
    folder = os.environ.get("MINIBERT_DATA")
    if not folder:
        raise SystemExit(
            "set MINIBERT_DATA to the folder with ann_sift5k and ann_mnist10k, or choose --data mixture text"
        )
    return Path(folder) / name


def load(name, rows, queries):
    """A data set by name, shuffled by a fixed seed: vectors to index, and others to ask for."""
    if name == "mixture":
        return mixture(rows, 128, 0), mixture(queries, 128, 1)
    vectors = {"text": lambda: text(rows + queries), "sift": sift, "mnist": mnist}[name]()
    vectors = vectors[np.random.default_rng(0).permutation(len(vectors))]
    queries = min(queries, len(vectors) // 10)
    return vectors[queries:], vectors[:queries]
