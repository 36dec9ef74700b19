"""bm25s with Lucene's formula, over the words that the caller found: the same words on both sides."""

import bm25s
import numpy as np

_kept = {}


def version():
    return bm25s.__version__


def keep(name, texts):
    _kept[name] = texts


def build(name, texts, k1, b):
    """Tokenize the kept texts as the library does by default but with every word kept, and index them."""
    tokens = bm25s.tokenize(_kept[texts], token_pattern=r"(?u)\b\w+\b", stopwords=None, show_progress=False)
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(tokens, show_progress=False)
    _kept[name] = index


def build_words(name, words, k1, b):
    """Index texts given as lists of words."""
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(words, show_progress=False)
    _kept[name] = index


def scores(name, queries):
    """Scores of all documents for queries given as lists of words, (Q, N) float32."""
    return np.stack([_kept[name].get_scores(query) for query in queries])


def search(name, queries, k, threads=1):
    """The first k of the kept queries, texts: (rows (Q, k), scores (Q, k)), tokenizing included."""
    tokens = bm25s.tokenize(
        _kept[queries], token_pattern=r"(?u)\b\w+\b", stopwords=None, show_progress=False, return_ids=False
    )
    return _kept[name].retrieve(tokens, k=k, show_progress=False, n_threads=threads if threads > 1 else 0)
