"""BM25's scores equal those of bm25s, word for word."""

import numpy as np
import pytest

from benchmarks.peers import Peer
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.words import words
from minibert.stdlib_corpus import docstrings

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("k1, b", [(1.5, 0.75), (1.2, 0.75), (0.9, 0.4)])
def test_bm25_scores_equal_bm25s(k1, b):
    """Every score of 200 questions against 2,000 docstrings."""
    texts = [doc.text for doc in docstrings()][:2200]
    queries = [" ".join(words(text)[:8]) or "nothing" for text in texts[2000:]]
    index = BM25(k1, b).build(texts[:2000])
    with Peer("bm25s_index") as peer:
        peer.call("build_words", name="index", words=[words(text) for text in texts[:2000]], k1=k1, b=b)
        theirs = peer.call("scores", name="index", queries=[words(query) for query in queries])
    ours = np.stack([index.scores(query) for query in queries])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    print(f"{ours.size:,} scores: largest difference {np.abs(ours - theirs).max():.1e}")
