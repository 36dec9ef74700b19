"""What users give as texts, checked: errors say which one and where."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from .engine import MAX_ID
from .normalize import SURROGATE, replace_surrogates


def whole_number(value: Any, name: str, least: int = 0) -> int:
    """The value as an int ≥ least, which arrays can hold (1e30 as an int means no limit); True and 2.0 are none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}: expected an integer ≥ {least}, got {value!r}")
    return min(int(value), sys.maxsize)


def check_ids(vocab: Mapping[str, int]) -> None:
    """ValueError unless the ids of {token: id} are integers that the kernels can pack, each once."""
    ids = set(vocab.values())
    whole = all(kind is not bool and issubclass(kind, (int, np.integer)) for kind in set(map(type, vocab.values())))
    if not whole or len(ids) < len(vocab) or min(ids, default=0) < 0 or max(ids, default=0) > MAX_ID:
        raise ValueError(f"ids must be 0 … {MAX_ID}, each once")


def check_texts(texts: Any, name: str) -> list[str]:
    """List of str, or a TypeError that says what was found where."""
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
        raise TypeError(f"{name}: expected a sequence of str, got {type(texts).__name__}")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}]: expected str, got {type(text).__name__} {text!r:.40}")
    return texts


def without_surrogates(texts: list[str], name: str, how: str) -> list[str]:
    """Texts with U+FFFD in place of lone surrogates, or a ValueError that says where the first stands."""
    for row, text in enumerate(texts) if how == "raise" else ():
        if lone := SURROGATE.search(text):
            raise ValueError(f"{name}[{row}]: lone surrogate {ascii(lone[0])} at character {lone.start()}")
    return list(map(replace_surrogates, texts))


def check_words(texts: Any, name: str) -> list[list[str]]:
    """List of lists of str, or a TypeError that says what was found where."""
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
        raise TypeError(f"{name}: expected a sequence of sequences of str, got {type(texts).__name__}")
    return [check_texts(words, f"{name}[{i}]") for i, words in enumerate(texts)]
