"""From files to examples to batches."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np


def read_text(path: str | PathLike[str]) -> str:
    """A UTF-8 file's text, a byte order mark removed; a file that ends in .gz is unpacked.

    Raises   ValueError: bytes that are not UTF-8, with file and position, or a damaged .gz file
    """
    content = Path(path).read_bytes()
    if Path(path).suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: not a whole .gz file: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got byte 0x{content[error.start]:02x} at {error.start}") from error


def read_pairs(path: str | PathLike[str]) -> list[tuple[str, str]]:
    """(question, answer) pairs of a .tsv (question, tab, answer) or .jsonl ({"question": …, "answer": …}) file.

    Raises   ValueError: another ending, no pairs, or a malformed line, with file and line number
    """
    pairs = []
    for where, (question, answer, *negatives) in _examples(path):
        if negatives:
            raise ValueError(f"{where}: expected a question and an answer, got {2 + len(negatives)} texts")
        pairs.append((question, answer))
    return pairs


def read_examples(path: str | PathLike[str]) -> list[tuple[str, ...]]:
    """As read_pairs, with hard negatives: further fields of a .tsv line, or "negatives": […] of a .jsonl one.

    Raises   ValueError: as read_pairs
    """
    return [example for _, example in _examples(path)]


def _examples(path) -> list[tuple[str, tuple[str, ...]]]:
    """(where it stands, question, answer and hard negatives) of every line."""
    readers = {".tsv": _tsv_example, ".jsonl": _jsonl_example}
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise ValueError(f"{path}: expected a file ending in {' or '.join(readers)}, got {suffix or 'no ending'}")
    examples = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            example = readers[suffix](line)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if not all(text.strip() for text in example):
            raise ValueError(f"{where}: expected a question and an answer, got an empty one")
        examples.append((where, example))
    if not examples:
        raise ValueError(f"{path}: expected at least one pair, got an empty file")
    return examples


def read_parallel(source: str | PathLike[str], target: str | PathLike[str]) -> list[tuple[str, str]]:
    """(text, its translation) of two files, a text a line, UTF-8, also as .gz.

    Raises   ValueError: another number of lines, no lines, or an empty one, with file and line number
    """
    sides = [_lines(path) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"{target}: expected as many lines as {source}, {len(sides[0])}, got {len(sides[1])}")
    for path, lines in zip((source, target), sides, strict=True):
        if not lines:
            raise ValueError(f"{path}: expected at least one line, got an empty file")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                raise ValueError(f"{path}, line {number}: expected a text, got an empty line")
    return list(zip(*sides, strict=True))


def _lines(path) -> list[str]:
    lines = read_text(path).split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _tsv_example(line: str) -> tuple[str, ...]:
    fields = tuple(line.split("\t"))
    if len(fields) < 2:
        raise ValueError(f"expected 2 fields separated by a tab, got {len(fields)}")
    return fields


def _jsonl_example(line: str) -> tuple[str, ...]:
    row = parse_json(line)
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "answer")):
        raise ValueError('expected an object with the strings "question" and "answer"')
    negatives = row.get("negatives", [])
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        raise ValueError(f'expected a list of strings as "negatives", got {negatives!r}')
    return row["question"], row["answer"], *negatives


def parse_json(line: str) -> Any:
    """The value of a line of JSON.

    Raises   ValueError: no JSON, nested too deeply, or a number of more digits than Python reads
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON, got {line[:40]!r}: {error}") from error


def finite_number(text: str) -> float | None:
    """The number that a text says; None where it says none, NaN or infinity."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def batches(count: int, batch_size: int, seed: int, epoch: int, smallest: int = 2) -> Iterator[np.ndarray]:
    """The numbers 0 … count − 1, shuffled anew for every epoch, in batches; a last one below `smallest` is left out.

    The order depends on seed and epoch alone, so training can be resumed in the middle of an epoch. Two is the
    smallest batch in which one pair has another's answer as a negative.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count, batch_size):
        if count - start >= smallest:
            yield order[start : start + batch_size]


def batches_by_tokens(lengths: np.ndarray, tokens: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The numbers of all pairs, like lengths together, in batches of at most `tokens` on each side, in random order.

    Which of equally long pairs share a batch, and the order of the batches, change with every epoch and depend on seed
    and epoch alone; how many batches there are does not change. A pair that is longer has a batch of its own.

    Source   Vaswani 2017 (arXiv:1706.03762) section 5.1
    Shapes   lengths (N, 2): of source and target, in tokens
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    order = order[np.lexsort(lengths[order].T)]
    bounds, held = [0], np.zeros(2, np.int64)
    for place, pair in enumerate(lengths[order]):
        held = held + pair
        if held.max() > tokens and place > bounds[-1]:
            bounds.append(place)
            held = pair
    cut = np.split(order, bounds[1:])
    return [cut[b] for b in rng.permutation(len(cut))]
