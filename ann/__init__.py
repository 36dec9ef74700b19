"""Nearest-neighbour indexes: vectors in, ids of the nearest vectors out.

    index = ann.HNSW(dim, metric="cosine")        # or "ip", "l2"; ann.Exact(dim) is never wrong, and slower
    index.add(vectors)
    ids, distances = index.search(queries, k=10, ef=64)

Reading order: distance, heap, visited, exact, then graph and hnsw (the algorithms), index (what every index shares),
inputs, check, files.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exact_index import Exact as Exact
    from .files import CorruptIndexError as CorruptIndexError
    from .files import load as load
    from .hnsw_index import HNSW as HNSW

_HOME = {"Exact": "exact_index", "HNSW": "hnsw_index", "load": "files", "CorruptIndexError": "files"}
__all__ = ["CorruptIndexError", "Exact", "HNSW", "load"]


def __getattr__(name):
    """Import a public name when it is first used, so that `import ann` loads neither NumPy nor Numba."""
    if name not in _HOME:
        raise AttributeError(f"module 'ann' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return __all__
