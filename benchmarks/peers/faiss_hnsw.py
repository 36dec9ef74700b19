"""FAISS's IndexHNSWFlat, in the peers' interpreter, with the functions of hnswlib_index.py."""

import faiss

INDEXES, ARRAYS = {}, {}


def version():
    return faiss.__version__


def keep(name, vectors):
    """Hold an array here."""
    ARRAYS[name] = vectors


def build(name, vectors, M=16, ef_construction=200, threads=1):
    """Build an index named `name` from the kept array `vectors`, squared l2."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(ARRAYS[vectors].shape[1], M)
    index.hnsw.efConstruction = ef_construction
    index.add(ARRAYS[vectors])
    INDEXES[name] = index


def size(name):
    """Bytes of the serialized index."""
    return len(faiss.serialize_index(INDEXES[name]))


def search(name, queries, k, ef, threads=1):
    """ids and distances of the kept array `queries`."""
    faiss.omp_set_num_threads(threads)
    INDEXES[name].hnsw.efSearch = ef
    distances, ids = INDEXES[name].search(ARRAYS[queries], k)
    return ids, distances


def search_each(name, queries, k, ef):
    """The same, one query a call; nothing is returned."""
    INDEXES[name].hnsw.efSearch = ef
    for query in ARRAYS[queries]:
        INDEXES[name].search(query[None], k)
