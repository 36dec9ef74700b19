"""Where a document's own structure cuts it: headings of Markdown and reStructuredText, docstrings of Python source.

    text[section.start : section.end]   what stands below a heading, the heading itself left out
    section.context                     the headings above it, outermost first: "Install > From source"

A heading with nothing below it, not even a deeper heading, is a section itself, so that it is found all the same.

Source   CommonMark 0.31 (ATX and setext headings, fenced code, comments and raw HTML); docutils' specification of
         sections; Python's `ast`
Differs  a setext heading is one line; a block of YAML at the beginning (front matter) is text; a heading between the
         tags of other HTML is one without a blank line before it, too; an underline of reStructuredText may be shorter
         than its title from 4 characters on, where docutils warns
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

JOINED = " > "  # between headings

LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})")
FRONT_MATTER = re.compile(r"-{3,}$")
HTML = [  # what begins a block of HTML, and what ends it: kinds 1 to 5 of CommonMark's section 4.6
    (re.compile(rf" {{0,3}}{opening}", re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        (r"<(?:pre|script|style|textarea)(?:[\s>]|$)", r"</(?:pre|script|style|textarea)>"),
        ("<!--", "-->"),
        (r"<\?", r"\?>"),
        (r"<!\[CDATA\[", r"\]\]>"),
        ("<![a-z]", ">"),
    )
]
ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t](.*)|)$")
SETEXT = re.compile(r" {0,3}(?:(=+)|-+)[ \t]*$")
NO_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:[>|]|(?:[-+*]|\d{1,9}[.)])(?:\s|$)|---)")  # code, quotation, table, list
ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1*$")
NEWLINE = re.compile(r"\r\n|\r|\n")
QUOTES = re.compile(r"\w*(\"\"\"|'''|[\"'])")


class Section(NamedTuple):
    """A part of a text, and the headings that it stands under."""

    start: int
    end: int
    context: str


class Heading(NamedTuple):
    """The lines of a heading; a lower level holds the higher ones."""

    start: int
    end: int
    level: int
    title: str


def sections(text: str, format: str) -> list[Section]:
    """The sections of a document in one of FORMATS, in order; the whole text where it has no structure.

    Raises   ValueError: another format; Python source that cannot be parsed, with its line
    """
    if format not in FORMATS:
        raise ValueError(f"expected a format of {', '.join(map(repr, FORMATS))}, got {format!r:.40}")
    return FORMATS[format](text) or [Section(0, len(text), "")]


def _markdown(text: str) -> list[Section]:
    return _between(text, _markdown_headings(text))


def _rst(text: str) -> list[Section]:
    return _between(text, _rst_headings(text))


def _between(text: str, headings: Iterator[Heading]) -> list[Section]:
    """What stands before, between and after the headings."""
    marks = [Heading(0, 0, 0, ""), *headings, Heading(len(text), len(text), 0, "")]
    path: list[Heading] = []
    found = []
    for mark, following in zip(marks, marks[1:], strict=False):
        while path and path[-1].level >= mark.level:
            path.pop()
        above = JOINED.join(heading.title for heading in path if heading.title)
        path.append(mark)
        if text[mark.end : following.start].strip():
            context = JOINED.join(heading.title for heading in path if heading.title)
            found.append(Section(mark.end, following.start, context))
        elif following.level <= mark.level and text[mark.start : mark.end].strip():
            found.append(Section(mark.start, mark.end, above))
    return found


def _lines(text: str) -> list[tuple[int, int, str]]:
    """(start, end, the line without white space at its end), for each line."""
    return [(*match.span(), match.group().rstrip()) for match in LINE.finditer(text)]


def _markdown_headings(text: str) -> Iterator[Heading]:
    lines = _lines(text)
    marked = [number for number, (_, _, line) in enumerate(lines) if line == "---"]
    ends = FRONT_MATTER.match if marked[:1] == [0] and len(marked) > 1 else None  # the block without headings we are in
    before = 0  # lines of the paragraph so far
    for number, (start, end, line) in enumerate(lines):
        if ends:
            if number and ends(line):
                ends = None
        elif opening := FENCE.match(line):
            ends, before = _end_of_fence(*opening.groups()), 0
        elif closing := next((closing for opening, closing in HTML if opening.match(line)), None):
            ends, before = None if closing.search(line) else closing.search, 0
        elif atx := ATX.match(line):
            before = 0
            yield Heading(start, end, len(atx.group(1)), _without_closing(atx.group(2) or ""))
        elif before == 1 and (setext := SETEXT.match(line)) and not NO_PARAGRAPH.match(lines[number - 1][2]):
            before = 0
            yield Heading(lines[number - 1][0], end, 1 if setext.group(1) else 2, lines[number - 1][2].strip())
        else:
            before = before + 1 if line else 0


def _end_of_fence(margin: str, fence: str) -> Callable:
    """Matches a line of as many such characters or more, at most three blanks further in."""
    return re.compile(f" {{0,{len(margin) + 3}}}{fence[0]}{{{len(fence)},}}$").match


def _without_closing(title: str) -> str:
    """An ATX heading's title without the # that may close it."""
    title = title.strip()
    opened = title.rstrip("#")
    return opened.rstrip() if not opened or opened[-1] in " \t" else title


def _rst_headings(text: str) -> Iterator[Heading]:
    lines = _lines(text)
    levels: dict[tuple[str, bool], int] = {}  # a style's level is its place in the order of first appearance
    at = after = 0
    while at < len(lines):
        first, second, third = (lines[at + i][2] if at + i < len(lines) else "" for i in range(3))
        begins = at == after or not lines[at - 1][2]  # a block: after a heading or an empty line
        over = begins and ADORNMENT.match(first) and first == third and 0 < len(second.strip()) <= len(first)
        under = begins and first and not first[0].isspace() and ADORNMENT.match(second)
        if over:
            style, title, size = (first[0], True), second, 3
        elif under and len(second) >= min(len(first), 4):
            style, title, size = (second[0], False), first, 2
        else:
            at += 1
            continue
        level = levels.setdefault(style, len(levels) + 1)
        yield Heading(lines[at][0], lines[at + size - 1][1], level, title.strip())
        at = after = at + size


def _python(text: str) -> list[Section]:
    """The docstrings of a module, its classes and its functions: what stands between the quotes, as it stands there."""
    starts = [0, *(match.end() for match in NEWLINE.finditer(text))]

    def place(line: int | None, column: int | None) -> int:
        assert line is not None and column is not None  # of nodes that the parser made
        begin = starts[line - 1]
        return begin + len(text[begin : begin + column].encode()[:column].decode())  # columns are counted in bytes

    found = []
    for literal, names in _docstrings(_parsed(text)):
        ends = place(literal.lineno, literal.col_offset), place(literal.end_lineno, literal.end_col_offset)
        start, end = _inside_quotes(text, *ends)
        if text[start:end].strip():
            found.append(Section(start, end, JOINED.join(names)))
    return sorted(found)


def _parsed(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the source: not this reader's to tell
            return ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: not Python {error.msg!r}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not Python: {error}") from error


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.Constant, tuple[str, ...]]]:
    """The literals that are docstrings, each with the names of what it is in, outermost first; in any order."""
    definitions = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    stack: list[tuple[ast.AST, tuple[str, ...]]] = [(tree, ())]
    while stack:
        node, names = stack.pop()
        if isinstance(node, definitions):
            names = (*names, node.name)
        stack += ((child, names) for child in ast.iter_child_nodes(node))
        if isinstance(node, (ast.Module, *definitions)) and node.body and isinstance(node.body[0], ast.Expr):
            literal = node.body[0].value
            if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                yield literal, names


def _inside_quotes(text: str, start: int, end: int) -> tuple[int, int]:
    """The inside of a string literal; of several in a row, from the first one's opening to the last one's closing."""
    opened = QUOTES.match(text, start, end)
    assert opened is not None  # a literal begins with quotes
    closing = text[end - 3 : end] if text[end - 3 : end] in ('"""', "'''") else text[end - 1]
    return opened.end(), max(opened.end(), end - len(closing))


FORMATS = {"text": lambda text: [], "markdown": _markdown, "rst": _rst, "python": _python}
