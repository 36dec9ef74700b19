"""Texts for the tests that compare tokenizers with the libraries: every text set of a folder, and made-up Unicode."""

import gzip
import json
import os
import random
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tokenizers.normalize import code_points, combining_classes, mapping

DATA = os.environ.get("MINIBERT_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="MINIBERT_DATA names no folder of text sets: generated text only")
NOT_TEXT = (".npy", ".model", "-ubyte", ".md", ".tokenizer.json")
BATCH = 2_000_000  # characters compared at a time


def documents(folder):
    """(file, its documents) for every text file in a folder: gzip, zip, JSON, JSON lines, tables, plain text."""
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        name = str(path.relative_to(folder)).removesuffix(".gz")
        if name.endswith(NOT_TEXT):
            continue
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                yield name, [archive.read(member).decode("utf-8", "replace") for member in archive.namelist()]
            continue
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
        if name.endswith(".jsonl"):
            yield name, [string for line in text.strip("\n").split("\n") for string in strings(json.loads(line))]
        elif name.endswith(".json"):
            yield name, list(strings(json.loads(text)))
        else:  # prose is one document, of all else each line is one
            yield name, [text] if "\n\n" in text else text.split("\n")


def strings(value):
    """All strings in a JSON value, but for its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@cache
def every_document():
    """(file, document) of all text sets, each document once."""
    seen, found = set(), []
    for name, texts in documents(DATA):
        for text in texts:
            if text not in seen:
                seen.add(text)
                found.append((name, text))
    return found


def batches(texts, size=BATCH):
    """Lists of texts of some `size` characters."""
    batch, room = [], size
    for text in texts:
        batch.append(text)
        room -= len(text)
        if room <= 0:
            yield batch
            batch, room = [], size
    if batch:
        yield batch


def text_sets():
    """Every document, in batches."""
    return batches(text for _, text in every_document())


def fuzz(count, seed):
    """Strings of 1 to 30 characters, up to four kinds at a time: what composes, folds, moves, breaks or vanishes."""
    rng, marks = random.Random(seed), code_points("NONSPACING_MARKS")
    classes = set(combining_classes())
    pools = [
        *(sorted(kind) for kind in (mapping("NFD"), mapping("LOWER"), classes, classes - marks, marks)),
        *(sorted(code_points(name)) for name in ("PUNCTUATION", "WHITE_SPACE", "UPPER", "NUMBERS", "MARKS")),
        *([chr(c) for c in range(a, b)] for a, b in ((0, 128), (32, 127), (0, 0x300), (0x4E00, 0xA000))),
        [chr(c) for c in range(0xAC00, 0xD7A4)],
        [chr(c) for c in range(0x1F300, 0x1FAFF)] + ["\u200d", "\ufe0f"],
        [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000],
        ["the ", "er", "ing", "[SEP]", "[MASK]", "##", "un", "▁", "  "],
        ["'ll", "'S", "\r\n", "   ", "12345", " a", "'\u017f", "/", "<s>", "<|endoftext|>"],
        list("'stmdlvre\u017fSTMDLVRE \n\r\t\u3000\x85aA1./"),
    ]
    texts = []
    for _ in range(count):
        kinds = rng.choices(pools, k=rng.randint(1, 4))
        texts.append("".join(rng.choice(rng.choice(kinds)) for _ in range(rng.choice([1, 2, 3, 5, 10, 30]))))
    return texts


def assert_same_ids(ours, theirs, parts):
    """Two functions of a list of texts give the same (ids, starts) for all lists; prints how much was compared."""
    texts_seen = ids_seen = 0
    for texts in parts:
        (ids, starts), (other_ids, other_starts) = ours(texts), theirs(texts)
        if not (np.array_equal(starts, other_starts) and np.array_equal(ids, other_ids)):
            rows = zip(texts, np.split(ids, starts[1:-1]), np.split(other_ids, other_starts[1:-1]), strict=True)
            bad = [(text, a.tolist(), b.tolist()) for text, a, b in rows if not np.array_equal(a, b)]
            text, a, b = min(bad, key=lambda row: len(row[0]))
            raise AssertionError(
                f"{len(bad)} of {len(texts)} texts have other ids, the shortest: {text!a:.400}\n{a}\n{b}"
            )
        texts_seen, ids_seen = texts_seen + len(texts), ids_seen + len(ids)
    print(f"{texts_seen:,} texts, {ids_seen:,} ids: 0 different")
