"""Conditions on metadata, compiled to SQL: {"year": {"$gte": 2020}, "$or": [{"lang": "de"}, {"lang": "en"}]}.

    {"field": value}            the same as {"field": {"$eq": value}}
    {"field": {"$op": value}}   $eq $ne $gt $gte $lt $lte with a value, $in $nin with a list of values
    {"$and": [where, …]}        all of them; several keys of one object are joined by "and", too
    {"$or": [where, …]}         at least one

A dot in a field's name goes into nested objects. A field that is missing is null. Values compare with values of their
own kind: 2020 is not "2020", and neither is above the other. Every value and every field travels as a parameter of the
statement: none is ever part of its text.

Source   the operators of MongoDB and Chroma
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from minibert.retrieval.documents import lone_surrogate

ORDERS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
NEGATED = {"$ne": "$eq", "$nin": "$in"}
OPERATORS = ("$eq", "$ne", *ORDERS, "$in", "$nin")
NUMBER, TEXT = "('integer', 'real')", "('text')"  # SQLite's names of JSON's kinds
DEEPEST = 20
WIDEST = 100  # parts joined at once: SQLite's trees are at most 1,000 deep
MOST = 30_000  # parameters of a statement, some three a condition: SQLite takes 32,766
INT64 = 1 << 63


def compile_where(where: dict[str, Any], column: str = "metadata") -> tuple[str, list[Any]]:
    """(SQL condition over the JSON in `column`, its parameters).

    Raises   ValueError: an unknown operator, an empty condition, a value that metadata cannot be compared with; says
             where

    >>> condition, parameters = compile_where({"year": {"$gte": 2020}})
    >>> condition.count("?"), parameters
    (3, ['$."year"', '$."year"', 2020])
    """
    sql, values = _all(where, column, "where", 0)
    if len(values) > MOST:
        raise ValueError(f"where: expected at most some {MOST // 3:,} conditions; values of one field fit into one $in")
    return sql, values


def _all(where: Any, column: str, path: str, depth: int) -> tuple[str, list[Any]]:
    """Every entry of one object holds."""
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{path}: expected an object of conditions, got {where!r:.60}")
    if depth > DEEPEST:
        raise ValueError(f"{path}: nested more than {DEEPEST} deep")
    parts = []
    for key, value in where.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"{path}: expected names of fields, got {key!r:.40}")
        at = f"{path}.{key}"
        if key in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise ValueError(f"{at}: expected a list of conditions, got {value!r:.60}")
            inner = [_all(part, column, f"{at}[{i}]", depth + 1) for i, part in enumerate(value)]
            parts.append(_joined(inner, " AND " if key == "$and" else " OR "))
        elif key.startswith("$"):
            raise ValueError(f"{at}: expected $and, $or or a field, got {key!r:.40}")
        else:
            conditions = value if isinstance(value, dict) else {"$eq": value}
            if not conditions:
                raise ValueError(f"{at}: expected an operator and a value, got nothing")
            parts += [_condition(key, op, operand, column, at) for op, operand in conditions.items()]
    return _joined(parts, " AND ")


def _joined(parts: list[tuple[str, list[Any]]], word: str) -> tuple[str, list[Any]]:
    """All parts as one, the most nested first: what stands left of a bracket waits in SQLite's stack of 100 places."""
    if len(parts) == 1:
        return parts[0]
    while len(parts) > WIDEST:
        parts = [_joined(parts[i : i + WIDEST], word) for i in range(0, len(parts), WIDEST)]
    parts = sorted(parts, key=lambda part: len(part[0].lstrip("(")) - len(part[0]))
    return "(" + word.join(sql for sql, _ in parts) + ")", [value for _, values in parts for value in values]


def _condition(field: str, op: str, operand: Any, column: str, path: str) -> tuple[str, list[Any]]:
    """One comparison, true or false and never NULL."""
    if op not in OPERATORS:
        raise ValueError(f"{path}: expected an operator of {', '.join(OPERATORS)}, got {op!r:.40}")
    path = f"{path}.{op}"
    if op in NEGATED:
        sql, values = _condition(field, NEGATED[op], operand, column, path)
        return f"NOT {sql}", values
    place = json_path(field, path)
    if op == "$in" and not isinstance(operand, (list, tuple)):
        raise ValueError(f"{path}: expected a list of values, got {operand!r:.60}")
    if op in ORDERS:
        kinds = _kind(operand, path)
        if kinds is None:
            raise ValueError(f"{path}: expected text or a number to compare with, got {operand!r}")
        typed = f"ifnull(json_type({column}, ?), '') IN {kinds}"
        return f"({typed} AND json_extract({column}, ?) {ORDERS[op]} ?)", [place, place, operand]
    return _one_of(operand if op == "$in" else [operand], place, column, path)


def _one_of(options: list[Any], place: str, column: str, path: str) -> tuple[str, list[Any]]:
    """Whether a field is one of some values; texts and numbers are looked up, each kind in one JSON parameter."""
    kinds = [_kind(option, path) for option in options]
    parts: list[tuple[str, list[Any]]] = [("0", [])]
    for kind in (TEXT, NUMBER):
        if same := [option for option, of in zip(options, kinds, strict=True) if of == kind]:
            typed = f"ifnull(json_type({column}, ?), '') IN {kind}"
            known = f"json_extract({column}, ?) IN (SELECT value FROM json_each(?))"
            parts.append((f"({typed} AND {known})", [place, place, json.dumps(same)]))
    for option, of in zip(options, kinds, strict=True):
        if of is None:  # null, also where the field is missing; true; false
            parts.append((f"ifnull(json_type({column}, ?), 'null') = ?", [place, json.dumps(option)]))
    return _joined(parts, " OR ")


def _kind(value: Any, path: str) -> str | None:
    """NUMBER or TEXT; None for true, false and null, which have no order."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        _check_text(value, path)
        return TEXT
    if isinstance(value, float) and isfinite(value) or isinstance(value, int) and -INT64 <= value < INT64:
        return NUMBER
    raise ValueError(f"{path}: expected text, a finite number of 64 bits, true, false or null, got {value!r:.60}")


def _check_text(text: str, path: str) -> None:
    if (at := lone_surrogate(text)) >= 0:
        raise ValueError(f"{path}: a lone surrogate at position {at} of {text!r:.40}")


def json_path(field: str, path: str) -> str:
    """SQLite's path of a field; each part is quoted, so that it is a name whatever letters it has."""
    _check_text(field, path)
    if any(c in '"\\' or c < " " for c in field):
        raise ValueError(
            f"{path}: SQLite cannot look up a field with a quote, a backslash or a control character: {field!r}"
        )
    return "$" + "".join(f'."{part}"' for part in field.split("."))
