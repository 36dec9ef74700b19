"""hnswlib, in the peers' interpreter: built once under a name, then searched. Arrays are kept here, so that a timed
call does not pay for their journey."""

import hnswlib

INDEXES, ARRAYS = {}, {}


def version():
    return getattr(hnswlib, "__version__", "0.8")


def keep(name, vectors):
    """Hold an array here."""
    ARRAYS[name] = vectors


def build(name, vectors, metric="l2", M=16, ef_construction=200, seed=100, threads=1):
    """Build an index named `name` from the kept array `vectors`."""
    rows = ARRAYS[vectors]
    index = hnswlib.Index(metric, rows.shape[1])
    index.init_index(len(rows), M=M, ef_construction=ef_construction, random_seed=seed)
    index.add_items(rows, num_threads=threads)
    INDEXES[name] = index


def size(name):
    """Bytes of the index's file, and a pointer and a lock a row, which only memory has; not the table of labels."""
    return INDEXES[name].index_file_size() + INDEXES[name].get_current_count() * (8 + 40)


def search(name, queries, k, ef, threads=1):
    """ids and distances of the kept array `queries`."""
    INDEXES[name].set_ef(max(ef, k))
    return INDEXES[name].knn_query(ARRAYS[queries], k=k, num_threads=threads)


def search_each(name, queries, k, ef):
    """The same, one query a call; nothing is returned."""
    index = INDEXES[name]
    index.set_ef(max(ef, k))
    for query in ARRAYS[queries]:
        index.knn_query(query, k=k, num_threads=1)
