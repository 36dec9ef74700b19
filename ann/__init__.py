"""Nearest-neighbour indexes: vectors in, ids of the nearest vectors out.

    index = ann.HNSW(dim, metric="cosine")        # or "ip", "l2"; ann.Exact(dim) is never wrong, and slower
    index.add(vectors)
    ids, distances = index.search(queries, k=10, ef=64)

The other systems of the field stand behind the same verbs: ann.NSW (NMSLIB's graph), ann.RPForest (Annoy's trees),
ann.IVF and ann.IVFPQ (FAISS's lists and codes). `index.tune(0.95)` finds the setting of a search, `index.recall()` says
what it finds. `ann.from_hnswlib` and `ann.from_faiss` bring graphs over.

Reading order: distance, heap, keys, visited, exact, then graph and hnsw (the algorithms), quantize, simd, consolidate;
index (what every index shares), threads, inputs, check, recall, files, convert; nsw; kmeans, fitted, ivf, pq (fastscan:
its SIMD form), ivfpq; rpforest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .convert import from_faiss as from_faiss
    from .convert import from_hnswlib as from_hnswlib
    from .exact_index import Exact as Exact
    from .files import CorruptIndexError as CorruptIndexError
    from .files import load as load
    from .hnsw_index import HNSW as HNSW
    from .ivf import IVF as IVF
    from .ivfpq import IVFPQ as IVFPQ
    from .nsw import NSW as NSW
    from .recall import Recall as Recall
    from .rpforest import RPForest as RPForest

_HOME = {
    "CorruptIndexError": "files",
    "Exact": "exact_index",
    "HNSW": "hnsw_index",
    "IVF": "ivf",
    "IVFPQ": "ivfpq",
    "NSW": "nsw",
    "RPForest": "rpforest",
    "Recall": "recall",
    "from_faiss": "convert",
    "from_hnswlib": "convert",
    "load": "files",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    """Import a public name when it is first used, so that `import ann` loads neither NumPy nor Numba."""
    if name not in _HOME:
        raise AttributeError(f"module 'ann' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return __all__
