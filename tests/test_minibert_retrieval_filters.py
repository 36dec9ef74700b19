"""Conditions on metadata: the compiled SQL selects what a plain Python reading of the condition selects."""

import json
import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.retrieval.filters import DEEPEST, compile_where

NAMES = ("year", "lang", "a b", "é", "x'y", "--")
scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "a", "b", "1", "x' OR 1=1 --", "é"])
)
ordered = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "a", "b", "1"])
field_conditions = st.one_of(
    scalars,
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), scalars, min_size=1),
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered, min_size=1),
    st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3), min_size=1),
)
leaves = st.dictionaries(st.sampled_from([*NAMES, "deep.year"]), field_conditions, min_size=1, max_size=2)
conditions = st.recursive(
    leaves,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1
    ),
)
metadata = st.dictionaries(st.sampled_from(NAMES), scalars, max_size=4)
documents = st.builds(lambda flat, deep: {**flat, "deep": deep}, metadata, metadata)


def equal(a, b):
    """Equal and of one kind; True is not 1."""
    return a == b and isinstance(a, str) == isinstance(b, str) and isinstance(a, bool) == isinstance(b, bool)


def holds(where, document):
    """The condition, read word by word."""
    return all(_holds(key, value, document) for key, value in where.items())


def _holds(key, value, document):
    if key in ("$and", "$or"):
        return (all if key == "$and" else any)(holds(part, document) for part in value)
    for part in key.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return all(
        compare(op, document, operand) for op, operand in (value if isinstance(value, dict) else {"$eq": value}).items()
    )


def compare(op, value, operand):
    if op in ("$eq", "$ne"):
        return equal(value, operand) == (op == "$eq")
    if op in ("$in", "$nin"):
        return any(equal(value, option) for option in operand) == (op == "$in")
    if value is None or isinstance(value, (bool, dict)) or isinstance(value, str) != isinstance(operand, str):
        return False
    return {"$gt": value > operand, "$gte": value >= operand, "$lt": value < operand, "$lte": value <= operand}[op]


def selected(where, rows):
    """Which rows SQLite selects."""
    sql, values = compile_where(where)
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE documents (number INTEGER, metadata TEXT)")
    db.executemany(
        "INSERT INTO documents VALUES (?, ?)", [(i, json.dumps(row, ensure_ascii=False)) for i, row in enumerate(rows)]
    )
    return [number for (number,) in db.execute(f"SELECT number FROM documents WHERE {sql} ORDER BY number", values)]


@given(conditions, st.lists(documents, min_size=1, max_size=6))
@example(
    {"year": {"$gte": 2020}, "$or": [{"lang": "de"}, {"lang": "en"}]}, [{"year": 2021, "lang": "en"}, {"year": 2021}]
)
@example({"year": {"$ne": 1}}, [{}, {"year": True}, {"year": 1.0}])
def test_filters_select_what_they_say(where, rows):
    """Every operator, nested conditions, missing fields, kinds that differ, names with quotes."""
    assert selected(where, rows) == [i for i, row in enumerate(rows) if holds(where, row)]


def test_filters_take_many_conditions():
    """More than SQLite's depth of one expression."""
    assert selected({"$or": [{"n": n} for n in range(3000)]}, [{"n": 2999}, {"n": 3000}]) == [0]


def test_filters_take_the_deepest_and_widest():
    """What is not refused fits SQLite's parser, whatever the order of conditions."""
    where = {"$or": [{"n": {"$nin": [n, None]}} for n in range(300)]}
    for _ in range(DEEPEST - 1):
        where = {"a": None, "$or": [*[{"n": -1}] * 101, where]}
    assert selected(where, [{"n": 3}, {"n": None, "a": 1}]) == [0]
    with pytest.raises(ValueError, match="expected at most some 10,000 conditions"):
        compile_where({"$or": [{"n": n} for n in range(10_001)]})


def test_filters_take_long_lists():
    """A list longer than SQLite's limit of parameters."""
    rows = [{"n": n} for n in range(100)]
    assert selected({"n": {"$in": list(range(50, 100_000))}}, rows) == list(range(50, 100))


@pytest.mark.parametrize(
    "where, message",
    [
        ({}, "where: expected an object"),
        ({"$or": []}, r"where.\$or: expected a list"),
        ({"year": {"$near": 1}}, "where.year: expected an operator"),
        ({"$not": {}}, r"where.\$not: expected \$and"),
        ({"$and": [{"a": {}}]}, r"where.\$and\[0\].a: expected an operator"),
        ({"a": {"$in": 3}}, r"where.a.\$in: expected a list"),
        ({"a": {"$gt": None}}, "expected text or a number"),
        ({"a": [1]}, "expected text, a finite number"),
        ({"a": float("nan")}, "finite"),
        ({"a": 1 << 70}, "64 bits"),
        ({'a"b': 1}, "a quote"),
        ({"a\tb": 1}, "a control character"),
        ({3: 1}, "names of fields"),
        ({"a": "b\udcff"}, r"where.a.\$eq: a lone surrogate at position 1"),
        ({"a": {"$in": ["b", "\ud800"]}}, r"where.a.\$in: a lone surrogate at position 0"),
        ({"a\ud800": 1}, "a lone surrogate at position 1"),
    ],
)
def test_filters_refuse(where, message):
    """Errors name the place."""
    with pytest.raises(ValueError, match=message):
        compile_where(where)


def test_filters_refuse_bottomless_nesting():
    """A condition nested too deep for SQLite's parser is refused before it gets there."""
    where = {"a": 1}
    for _ in range(1000):
        where = {"$and": [where]}
    with pytest.raises(ValueError, match="nested more than"):
        compile_where(where)
