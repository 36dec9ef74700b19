"""Data sets for the index benchmarks: generated rows, embeddings of docstrings, and SIFT and MNIST of MINIBERT_DATA."""

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers import Peer

CACHE = Path(tempfile.gettempdir()) / "minibert-benchmarks"


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
    """MiniLM's vectors of paragraphs of docstrings of the peers' packages, (rows, 384), of length 1.

    Made in the peers' interpreter: some ten minutes for 100,000 at first, then kept in a folder for temporary files.
    """
    path = CACHE / f"docstrings-minilm-{rows}.npy"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        with Peer("docstring_vectors", threads=os.cpu_count()) as peer:
            np.save(path, peer.call("embed", rows=rows))
    return np.load(path)


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
