"""The classes of ann as the tests make them: with every structure in place from a few rows on; and the setting at which
a search leaves nothing out."""

import pytest

import ann

ALL = {
    ann.Exact: {},
    ann.HNSW: {"M": 4, "ef_construction": 10},
    ann.IVF: {"lists": 4},
    ann.IVFPQ: {"lists": 3, "refine": 1000},
    ann.NSW: {"neighbors": 3, "ef_construction": 10},
    ann.RPForest: {"trees": 3},
}
FIT_FROM = 16  # rows: what the tests add is fitted, and outgrown
every = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


def small(make, dim, metric="cosine", **options):
    """An index of that class whose structure starts early."""
    index = make(dim, metric, **{**ALL[make], **options})
    index.fit_from = FIT_FROM
    return index


def everything(index):
    """The setting at which the index finds all there is."""
    return {index.knob: 10_000}
