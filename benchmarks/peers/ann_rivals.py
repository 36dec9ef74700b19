"""FAISS, Annoy, NMSLIB and hnswlib, in the peers' interpreter, behind one build and one search. Arrays are kept here,
so that a timed call does not pay for their journey."""

import numpy as np

INDEXES, ARRAYS = {}, {}


def keep(name, vectors):
    """Hold an array here."""
    ARRAYS[name] = vectors


def build(name, vectors, library, **options):
    """Build an index named `name` from the kept array `vectors`, by squared l2 on one thread."""
    INDEXES[name] = LIBRARIES[library](ARRAYS[vectors], **options)


def search(name, queries, k, effort):
    """Squared distances to the k nearest of the kept array `queries`."""
    return INDEXES[name].search(ARRAYS[queries], k, effort)


def save_hnsw(vectors, path, library, metric, queries, k, effort, M=8, ef_construction=50):
    """Write a graph in the library's own format; the ids that it finds itself. Row r of `vectors` has the id 3 r."""
    if library == "hnswlib":
        import hnswlib

        index = hnswlib.Index(metric, vectors.shape[1])
        index.init_index(len(vectors) + 5, M=M, ef_construction=ef_construction, random_seed=1)
        index.add_items(vectors, np.arange(len(vectors)) * 3, num_threads=1)
        index.save_index(path)
        index.set_ef(effort)
        return index.knn_query(queries, k, num_threads=1)[0].astype(np.int64)
    import faiss

    faiss.omp_set_num_threads(1)
    code = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}[metric]
    graph = faiss.IndexHNSWFlat(vectors.shape[1], M, code)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = ef_construction, effort
    index = faiss.IndexIDMap(graph)
    index.add_with_ids(vectors, np.arange(len(vectors)) * 3)
    faiss.write_index(index, path)
    return index.search(queries, k)[1]


class Faiss:
    """An index by its factory string. effort is nprobe; a flat index has none."""

    def __init__(self, rows, factory, refine=None):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.index_factory(rows.shape[1], factory)
        self.index.train(rows)
        self.index.add(rows)
        if refine:
            self.index.k_factor = refine
        self.lists = faiss.extract_index_ivf(self.index) if factory.startswith("IVF") else None

    def search(self, queries, k, effort):
        if self.lists is not None:
            self.lists.nprobe = effort
        return self.index.search(queries, k)[0]


class Annoy:
    """effort is search_k. There is no search for several queries."""

    def __init__(self, rows, trees):
        from annoy import AnnoyIndex

        self.index = AnnoyIndex(rows.shape[1], "euclidean")
        self.index.set_seed(1)
        for i, row in enumerate(rows):
            self.index.add_item(i, row)
        self.index.build(trees, n_jobs=1)

    def search(self, queries, k, effort):
        distances = np.full((len(queries), k), np.inf, np.float32)
        for q, query in enumerate(queries):
            found = self.index.get_nns_by_vector(query, k, search_k=effort, include_distances=True)[1]
            distances[q, : len(found)] = np.square(found)
        return distances


class Nmslib:
    """effort is efSearch."""

    def __init__(self, rows, neighbors, ef_construction):
        import nmslib

        self.index = nmslib.init(method="sw-graph", space="l2")
        self.index.addDataPointBatch(rows)
        self.index.createIndex({"NN": neighbors, "efConstruction": ef_construction, "indexThreadQty": 1})

    def search(self, queries, k, effort):
        self.index.setQueryTimeParams({"efSearch": effort})
        distances = np.full((len(queries), k), np.inf, np.float32)
        for q, (_, found) in enumerate(self.index.knnQueryBatch(queries, k, num_threads=1)):
            distances[q, : len(found)] = np.square(found)
        return distances


LIBRARIES = {"faiss": Faiss, "annoy": Annoy, "nmslib": Nmslib}
