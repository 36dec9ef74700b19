"""Texts in several scripts, from the folder in MINIBERT_DATA; without it, English docstrings alone."""

import functools
import gzip
import itertools
import json
import os
import zipfile
from pathlib import Path

from minibert.stdlib_corpus import docstrings

TATOEBA = {"de": "deu", "ru": "rus", "ja": "jpn", "zh": "cmn", "ar": "ara", "hi": "hin"}
UDHR = {"de": "deu", "ru": "rus", "ja": "jpn", "zh": "cmn_hans", "ar": "arb", "hi": "hin"}
MIXED_LINES = 40_000


@functools.cache
def _all_docstrings():
    return [doc.text for doc in docstrings()]


def stdlib_docstrings(limit=None):
    """Docstrings of the running interpreter's standard library, in the order of its files; `limit` characters or so."""
    texts = _all_docstrings()
    ends = itertools.accumulate(map(len, texts))
    return [text for text, end in zip(texts, ends, strict=True) if limit is None or end < limit]


def first_megabytes(texts, megabytes=None):
    """The first texts, up to so many megabytes of UTF-8; all of them without a limit."""
    ends = itertools.accumulate(len(text.encode()) for text in texts)
    return [text for text, end in zip(texts, ends, strict=True) if megabytes is None or end <= megabytes * 1e6]


def by_script():
    """{name: documents} and the names of the files that are missing."""
    texts, missing = {"en": stdlib_docstrings()}, []
    folder = Path(os.environ.get("MINIBERT_DATA") or "no MINIBERT_DATA")
    readers = {"en wiki": [(_wiki, "enwiki_articles/enwiki_articles.jsonl.gz")]}
    for name in TATOEBA:
        readers[name] = [
            (_xquad, f"xquad_overlap_multilingual/xquad.{name}.json.gz"),
            (_tatoeba, f"tatoeba_multilingual/{TATOEBA[name]}-eng.tsv"),
            (functools.partial(_udhr, name=UDHR[name]), "udhr2/udhr2_utf8.zip"),
        ]
    readers["ja"] = [*readers["ja"][1:], (_lines, "sentencepiece_corpora/wagahaiwa_nekodearu.txt")]
    readers["mixed"] = [(_lines, "blingfire_multilingual_text/test.txt.gz"), (_udhr, "udhr2/udhr2_utf8.zip")]
    for name, parts in readers.items():
        for read, path in parts:
            if (folder / path).is_file():
                texts.setdefault(name, []).extend(text for text in read(folder / path) if text.strip())
            else:
                missing.append(path)
    return texts, sorted(set(missing))


def _lines(path):
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split("\n")[:MIXED_LINES]


def _wiki(path):
    return [json.loads(line)["text"] for line in _lines(path) if line]


def _tatoeba(path):
    return [line.split("\t")[0] for line in _lines(path)]


def _xquad(path):
    articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return [text for p in paragraphs for text in (p["context"], *(qa["question"] for qa in p["qas"]))]


def _udhr(path, name=None):
    with zipfile.ZipFile(path) as archive:
        names = [name + ".txt"] if name else [n for n in archive.namelist() if n.endswith(".txt")]
        return [part for n in names for part in archive.read(n).decode("utf-8", "replace").split("\n")]
