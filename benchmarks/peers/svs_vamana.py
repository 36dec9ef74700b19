"""Intel SVS's Vamana graph on float32, in the peers' interpreter, with the functions of hnswlib_index.py.

2 M links a row as HNSW has on layer 0, its window the ef; alpha as SVS advises for l2.
"""

import svs

INDEXES, ARRAYS, DEGREE = {}, {}, {}


def version():
    return svs.library_version()


def keep(name, vectors):
    """Hold an array here."""
    ARRAYS[name] = vectors


def build(name, vectors, M=16, ef_construction=200, threads=1):
    """Build an index named `name` from the kept array `vectors`, squared l2."""
    options = svs.VamanaBuildParameters(graph_max_degree=2 * M, window_size=ef_construction, alpha=1.2)
    DEGREE[name] = 2 * M
    INDEXES[name] = svs.Vamana.build(options, ARRAYS[vectors], svs.DistanceType.L2, num_threads=threads)


def size(name):
    """Bytes of vectors and links: SVS says nothing itself."""
    return INDEXES[name].size * (4 * INDEXES[name].dimensions + 4 * (DEGREE[name] + 1))


def search(name, queries, k, ef, threads=1):
    """ids and distances of the kept array `queries`."""
    INDEXES[name].num_threads = threads
    INDEXES[name].search_window_size = max(ef, k)
    return INDEXES[name].search(ARRAYS[queries], k)


def search_each(name, queries, k, ef):
    """The same, one query a call; nothing is returned."""
    INDEXES[name].search_window_size = max(ef, k)
    for query in ARRAYS[queries]:
        INDEXES[name].search(query[None], k)
