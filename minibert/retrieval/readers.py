"""Files → documents, one after the other, so that a corpus may be larger than memory. What is wrong is named by place.

    .txt .md .rst .py   one document, named by its path       .html .htm   one, of its title and the text of its body
    .jsonl              a document a line; `_id` is an id     .csv         a document a row: id, text, title; metadata
    BEIR's folder       those of its corpus.jsonl                          are all other columns

Spans of hits refer to the text that is stored: of HTML, what `html_text` makes of it. Text is UTF-8. A file's name that
is not becomes an id with \\x… in place of such bytes.
"""

from __future__ import annotations

import csv
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

from minibert.data import parse_json, read_text
from minibert.retrieval.documents import check_document

FORMATS = {".txt": "text", ".md": "markdown", ".markdown": "markdown", ".rst": "rst", ".py": "python"}
PAGES = (".html", ".htm")
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)  # as JSON writes them: 007 is text
MOST_BLANK = 4096  # bytes
LONGEST_FIELD = 1 << 30  # characters of a CSV file's field; Python's own limit is 131,072
BREAKS = frozenset(  # elements that begin a line of their own
    "address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li "
    "main nav ol p pre section table td th tr ul".split()
)
MARKUP = re.compile(r"#{1,6}(?:\s|$)|```|~~~|<|(?:=+|-+)\s*$")  # of Markdown, at the beginning of a line
HIDDEN = frozenset("head noscript script style svg template".split())
Read = Callable[[int], None]  # told the bytes of each line


class Corpus:
    """The documents of files and folders; a file that cannot be read stops the iteration.

    size and done   bytes of all files, and of what has been read
    Raises          FileNotFoundError; ValueError: no file at all, or a given file of another kind
    """

    def __init__(self, paths: Iterable):
        self.files = find_files(paths)
        self.size, self.done = sum(file.stat().st_size for file in self.files), 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises   ValueError: not UTF-8, or a line that is no document, with file and place."""
        whole = 0
        for file in self.files:
            self.done = whole
            yield from READERS[file.suffix.lower()](file, self._read)
            whole += file.stat().st_size
        self.done = whole

    def _read(self, size: int) -> None:
        self.done += size


def read_documents(paths: Iterable) -> Corpus:
    """The documents of files, of folders and of BEIR's collections; see `Corpus`."""
    return Corpus(paths)


def find_files(paths: Iterable) -> list[Path]:
    """The given files, and in place of a folder its readable files in order of name, hidden and blank ones left out.

    Raises   FileNotFoundError; ValueError: no file at all, or a given file of another kind
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, "no such file or folder", str(path))
    files = list(dict.fromkeys(chain.from_iterable(_in_folder(p) if p.is_dir() else [p] for p in paths)))
    known = ", ".join(READERS)
    if not files:
        raise ValueError(f"{', '.join(map(str, paths))}: no {known} file: the corpus is empty")
    for file in files:
        if file.suffix.lower() not in READERS:
            raise ValueError(f"{file}: expected a {known} file")
    return files


def _in_folder(folder: Path) -> list[Path]:
    if (folder / "corpus.jsonl").is_file() and (folder / "queries.jsonl").is_file():  # BEIR's
        return [folder / "corpus.jsonl"]
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS and path.is_file())
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return [path for path in shown if not (path.suffix.lower() in FORMATS and _is_blank(path))]


def _is_blank(file: Path) -> bool:
    """Whether it holds nothing but white space, as notes and modules often do; a large one is taken to hold more."""
    return file.stat().st_size <= MOST_BLANK and not file.read_bytes().strip()


def _named(file: Path, **fields: Any) -> dict[str, Any]:
    name = os.fsencode(file.as_posix()).decode("utf-8", "backslashreplace")
    return {"id": name, "metadata": {"source": name}, **fields}


def _read_text(file: Path, read: Read) -> Iterator[dict[str, Any]]:
    yield _named(file, text=read_text(file), format=FORMATS[file.suffix.lower()])


def _read_page(file: Path, read: Read) -> Iterator[dict[str, Any]]:
    title, text = html_text(read_text(file))
    yield _named(file, text=text, title=title or None, format="markdown")


def _read_json_lines(file: Path, read: Read) -> Iterator[dict[str, Any]]:
    lines = _Lines(file, read)
    try:
        for line in lines:
            if line.strip():
                document = parse_json(line)
                if isinstance(document, dict) and "_id" in document:
                    document["id"] = document.pop("_id")
                check_document(document)
                yield document
    except ValueError as error:
        raise ValueError(f"{file}, line {lines.number}: {error}") from error


def _read_csv(file: Path, read: Read) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    lines = _Lines(file, read)
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
        if {"id", "text"} - set(header) or len(set(header)) < len(header):
            raise ValueError(f"expected a header of different names, id and text among them, got {header!r:.80}")
        for row in rows:
            if row:
                yield _of_row(header, row)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{file}, line {lines.number}: {error}") from error


def _of_row(header: list[str], row: list[str]) -> dict[str, Any]:
    """A row as a document; a field that reads like a number becomes one, and an empty one is left out."""
    if len(row) != len(header):
        raise ValueError(f"expected {len(header)} columns, got {len(row)}")
    fields = {name: value for name, value in zip(header, row, strict=True) if value}
    document: dict[str, Any] = {name: fields.pop(name) for name in ("id", "text", "title") if name in fields}
    document["metadata"] = {
        name: parse_json(value) if NUMBER.fullmatch(value) else value for name, value in fields.items()
    }
    check_document(document)
    return document


class _Lines:
    """The lines of a UTF-8 file, a byte order mark removed; number: of the line that was read last."""

    def __init__(self, file: Path, read: Read):
        self.number, self._file, self._read = 0, file, read

    def __iter__(self) -> Iterator[str]:
        with open(self._file, "rb") as content:
            for self.number, line in enumerate(content, start=1):
                self._read(len(line))
                try:
                    yield line.decode("utf-8-sig" if self.number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    at = error.start
                    raise ValueError(f"expected UTF-8, got byte 0x{line[at]:02x} at {at} of the line") from error


READERS: dict[str, Callable[[Path, Read], Iterator[dict[str, Any]]]] = {
    **dict.fromkeys(FORMATS, _read_text),
    **dict.fromkeys(PAGES, _read_page),
    ".jsonl": _read_json_lines,
    ".csv": _read_csv,
}


def html_text(page: str) -> tuple[str, str]:
    """(title, text) of a page: blocks on lines of their own, headings and code marked as Markdown marks them.

    Scripts, styles and comments are left out; references such as &amp; are what they stand for. A line of the page's
    words that Markdown would take for a heading, or for what hides headings, gets a backslash, as there.
    """
    reader = _Page()
    reader.feed(page)
    reader.close()
    text = re.sub(r"(?<![ \t])[ \t]*\n[ \t]*\n(?:[ \t]*\n)*", "\n\n", "".join(reader.parts)).strip()
    return " ".join("".join(reader.title).split()), text


class _Page(HTMLParser):
    """Collects the text of a page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title: list[str] = []
        self._hidden: list[str] = []
        self._in_title = False
        self._fence: int | None = None  # the part that opens a block of code, while one is open

    def handle_starttag(self, tag, attrs):
        if tag == "title":
            self._in_title = not set(self._hidden) - {"head"}  # a drawing has titles, too
        elif tag in HIDDEN:
            self._hidden.append(tag)
        elif tag == "body":
            self._hidden = []  # </head> may be left out, and <body> too
        elif tag in BREAKS and self._hidden in ([], ["head"]):
            self._hidden = []
            self._break(tag, opens=True)

    def handle_endtag(self, tag):
        if tag == "title":
            self._in_title = False
        elif tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in BREAKS and not self._hidden:
            self._break(tag, opens=False)

    def handle_data(self, data):
        if self._in_title:
            self.title.append(data)
        elif not self._hidden:
            if self._fence is None:
                data = re.sub(r"\s+", " ", data)
                if not self.parts or self.parts[-1][-1].isspace():
                    data = data.lstrip()
                if (not self.parts or self.parts[-1][-1] == "\n") and MARKUP.match(data):
                    data = f"\\{data}"
            self.parts += [data] if data else []

    def parse_comment(self, i, report=1):
        """One without an end goes to the page's end, as browsers have it; Python's own way takes quadratic time."""
        end = self.rawdata.find("-->", i + 2)
        return len(self.rawdata) if end < 0 else end + 3

    def parse_marked_section(self, i, report=1):
        """<![… is a comment up to the next >, as browsers have it; Python's own way may end in an AssertionError."""
        return self.parse_bogus_comment(i, report)

    def close(self):
        super().close()
        self._end_code()

    def _end_code(self):
        """Close the open block of code, its fences longer than any run of backticks inside it."""
        if self._fence is not None:
            inside = "".join(self.parts[self._fence + 1 :])
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", inside)), default=0))
            self.parts[self._fence] = f"\n\n{fence}\n"
            self.parts.append(f"\n{fence}\n\n")
            self._fence = None

    def _break(self, tag, opens):
        if tag == "pre":
            self._end_code()
            if opens:
                self._fence = len(self.parts)
                self.parts.append("\n")
        elif tag[0] == "h" and tag[1:].isdigit() and opens:
            self.parts.append("\n\n" + "#" * int(tag[1:]) + " ")
        else:
            self.parts.append("\n" if tag in ("br", "td", "th", "tr", "li") else "\n\n")
