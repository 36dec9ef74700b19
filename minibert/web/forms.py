"""What a request asks for, read from a form's fields or from a JSON object, and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from minibert.data import parse_json

LONGEST_QUESTION = 2000  # characters
LONGEST_CONDITION = 10_000
MOST_HITS = 100


@dataclass(frozen=True)
class Query:
    """A question and how to search, see `Store.search_batch`; answer, similarity: whether to show them, too."""

    q: str
    k: int = 10
    where: dict[str, Any] | None = None
    hybrid: bool = False
    exact: bool = False
    rerank: bool = False
    diversity: float = 0.0
    answer: bool = False
    similarity: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The options of `Store.search`, but the reranker."""
        return {name: getattr(self, name) for name in ("k", "where", "hybrid", "exact", "diversity")}


NAMES = {field.name for field in fields(Query)}


def read_query(values: Mapping[str, Any]) -> Query:
    """The query of a form's texts or of JSON's values; a field that is missing or blank has its default.

    Raises   ValueError: which field, what was expected and what was given
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"expected an object with the field q, got {values!r:.60}")
    if unknown := sorted(map(str, values.keys() - NAMES)):
        raise ValueError(f"expected fields among {', '.join(sorted(NAMES))}, got {unknown[0]!r:.60}")
    given = {name: value for name, value in values.items() if value not in ("", None)}
    read: dict[str, Any] = {"q": _question(given.pop("q", ""))}
    for name, value in given.items():
        read[name] = _READ.get(name, _flag)(name, value)
    try:
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("expected Unicode text, got a lone surrogate") from error
    return Query(**read)


def _question(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("q: expected a question")
    if len(value) > LONGEST_QUESTION:
        raise ValueError(f"q: expected at most {LONGEST_QUESTION} characters, got {len(value)}")
    return value


def _hits(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9:
        value = int(value)
    if type(value) is not int or not 1 <= value <= MOST_HITS:
        raise ValueError(f"{name}: expected a whole number in 1 … {MOST_HITS}, got {value!r:.40}")
    return value


def _share(name: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"{name}: expected a number in 0 … 1, got {value!r:.40}")
    return number


def _condition(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        if len(value) > LONGEST_CONDITION:
            raise ValueError(f"{name}: expected at most {LONGEST_CONDITION} characters, got {len(value)}")
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f'{name}: expected an object such as {{"year": {{"$gte": 2020}}}}, got {value!r:.60}')
    return value


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("1", "true", "on", "0", "false"):
        return value not in ("0", "false")
    raise ValueError(f"{name}: expected true or false, got {value!r:.40}")


_READ = {"k": _hits, "where": _condition, "diversity": _share}
