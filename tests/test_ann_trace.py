"""ann.trace: the search in plain Python does what the kernels do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ann
from ann.trace import rows_of, trace

rows_of_integers = st.integers(1, 3).flatmap(
    lambda dim: st.lists(st.lists(st.integers(-3, 3), min_size=dim, max_size=dim), min_size=1, max_size=50)
)


@given(rows_of_integers, st.sampled_from(["l2", "ip", "cosine"]), st.sampled_from([None, "int8"]), st.integers(1, 9))
def test_trace_finds_what_the_search_finds(rows, metric, quantize, ef):
    """The rows found on layer 0, copies of them aside, are the search's; a walk expands what it has measured."""
    rows = np.unique(np.array(rows, np.float32), axis=0)
    index = ann.HNSW(rows.shape[1], metric, M=2, ef_construction=8, quantize=quantize)
    index.add(rows)
    for query in rows[:3]:
        walks = trace(index, query, ef)
        assert [walk.layer for walk in walks] == list(range(len(walks) - 1, -1, -1))
        for walk in walks:
            assert len(set(walk.measured)) == len(walk.measured) and set(walk.measured) <= set(
                rows_of(index, walk.layer)
            )
            assert set(walk.expanded) <= set(walk.measured) and set(walk.found) <= set(walk.measured)
        found = walks[-1].found
        assert len(found) <= ef
        if quantize is None and len(rows_of(index, 0)) == len(rows):  # none is a copy, as under cosine some may be
            ids, _ = index.search(query[None], k=len(found), ef=ef)
            assert ids[0].tolist() == found


def test_trace_refuses_what_it_cannot_follow():
    """An empty index, removed rows, a query of another width."""
    index = ann.HNSW(2, "l2")
    with pytest.raises(ValueError, match="got none"):
        trace(index, [0, 0], 3)
    index.add(np.arange(40).reshape(20, 2))
    with pytest.raises(ValueError, match="query"):
        trace(index, [0, 0, 0], 3)
    index.remove([0])
    with pytest.raises(ValueError, match=r"removed ones: compact\(\)"):
        trace(index, [0, 0], 3)
