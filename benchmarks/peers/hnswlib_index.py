"""hnswlib, in the peers' interpreter: built once under a name, then searched. Arrays are kept here, so that a timed
call does not pay for their journey."""

import hnswlib

INDEXES, ARRAYS = {}, {}


def version():
    return getattr(hnswlib, "__version__", "0.8")


def keep(name, vectors):
    """Hold an array here."""
    ARRAYS[name] = vectors


def build(name, vectors, metric="l2", M=16, ef_construction=200, seed=100):
    """Build an index named `name` from the kept array `vectors`, on one thread."""
    rows = ARRAYS[vectors]
    index = hnswlib.Index(metric, rows.shape[1])
    index.init_index(len(rows), M=M, ef_construction=ef_construction, random_seed=seed)
    index.set_num_threads(1)
    index.add_items(rows, num_threads=1)
    INDEXES[name] = index


def search(name, queries, k, ef):
    """ids and distances of the kept array `queries`, on one thread."""
    INDEXES[name].set_ef(max(ef, k))
    return INDEXES[name].knn_query(ARRAYS[queries], k=k, num_threads=1)
