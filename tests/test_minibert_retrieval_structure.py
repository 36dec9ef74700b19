"""Sections by headings and docstrings: golden cuts, and spans that hold for any text."""

import ast
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.retrieval.chunk import chunk_structure, chunk_text
from minibert.retrieval.structure import FORMATS, sections

MARKDOWN = """---
title: not a heading
---
Before any heading.

# Guide #
Welcome.

## Install
```sh
# not a heading
```
~~~
## nor this
```
~~~
#nor this, without a blank
    # nor this, indented by four

Setext one
==========
Under it.

Setext two
---
Deep.

two lines
before a rule
---

- a list
---

#### Empty one
#### Empty two
"""
CUT_MARKDOWN = [
    ("", "---\ntitle: not a heading\n---\nBefore any heading."),
    ("Guide", "Welcome."),
    (
        "Guide > Install",
        "```sh\n# not a heading\n```\n~~~\n## nor this\n```\n~~~\n"
        "#nor this, without a blank\n    # nor this, indented by four",
    ),
    ("Setext one", "Under it."),
    ("Setext one > Setext two", "Deep.\n\ntwo lines\nbefore a rule\n---\n\n- a list\n---"),
    ("Setext one > Setext two", "#### Empty one"),
    ("Setext one > Setext two", "#### Empty two"),
]
RST = """=====
Title
=====
Lead.

First
-----
Text::

    Literal
    -------

Nested
~~~~~~
At once
.......
Deep.

Second
------

A paragraph
that goes on
------------

Last
----
"""
CUT_RST = [
    ("Title", "Lead."),
    ("Title > First", "Text::\n\n    Literal\n    -------"),
    ("Title > First > Nested > At once", "Deep."),
    ("Title > Second", "A paragraph\nthat goes on\n------------"),
    ("Title", "Last\n----"),
]
PYTHON = '''#!/usr/bin/env python
"""Module — with a dash."""

class A:
    r"""Raw \\d."""
    x = "é"; y = 1

    async def b(self, é="é"):
        'one' " two"
        if self:
            def c():
                """Nested

                in two lines.
                """

def without(): pass
def number(): 1
def empty(): ""
'''
CUT_PYTHON = [
    ("", "Module — with a dash."),
    ("A", "Raw \\d."),
    ("A > b", "one' \" two"),
    ("A > b > c", "Nested\n\n                in two lines."),
]


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        ("markdown", MARKDOWN, CUT_MARKDOWN),
        ("rst", RST, CUT_RST),
        ("python", PYTHON, CUT_PYTHON),
        ("markdown", "```\n\n    ```\n# code\n```\n# A\nb", [("", "```\n\n    ```\n# code\n```"), ("A", "b")]),
        ("markdown", "  ```\n# code\n     ```\n# A\nb", [("", "```\n# code\n     ```"), ("A", "b")]),
        ("markdown", "<!--\n# a\n\n# b\n-->\n# A\nb", [("", "<!--\n# a\n\n# b\n-->"), ("A", "b")]),
        ("markdown", "<!-- a -->\n# A\nb <!--\n# B\nc", [("", "<!-- a -->"), ("A", "b <!--"), ("B", "c")]),
        ("markdown", "  <PRE>\n# a\n\n```\n</pre> x\n# A\nb", [("", "<PRE>\n# a\n\n```\n</pre> x"), ("A", "b")]),
        ("markdown", "<pretty>\n# A\nb", [("", "<pretty>"), ("A", "b")]),
        (
            "markdown",
            "<?php\n# a\n?>\n# A\n<![CDATA[\n# b\n]]>",
            [("", "<?php\n# a\n?>"), ("A", "<![CDATA[\n# b\n]]>")],
        ),
        ("markdown", "    <!--\n# A\nb", [("", "<!--"), ("A", "b")]),
        ("text", "# a\n\nb", [("", "# a\n\nb")]),
        ("python", "x = 1", [("", "x = 1")]),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_sections_golden(format, text, expected, newline):
    """Headings and docstrings cut where a reader would, whatever ends a line."""
    text = text.replace("\n", newline)
    cut = [(context, text[start:end].strip()) for start, end, context in sections(text, format)]
    assert cut == [(context, part.replace("\n", newline)) for context, part in expected]


LINES = [
    "# a",
    "## b #",
    "#",
    "c",
    "d",
    "===",
    "---",
    "~~~",
    "```",
    "- e",
    "",
    "",
    "    f",
    "\t",
    "é。",
    "===\r",
    "a\x0cb",
]
layouts = st.lists(st.sampled_from(LINES), max_size=14).map("\n".join) | st.text(max_size=40)
formats = st.sampled_from(["text", "markdown", "rst"])


@given(layouts, formats, st.integers(1, 6), st.integers(0, 5))
@example("# a\n## b", "markdown", 1, 0)
@example("a\n=\n\nb\n=", "rst", 1, 0)
def test_structure_span_is_its_text(text, format, size, overlap):
    """source[start:end] == chunk.text for every chunk of every format; they go forward and lose no word."""
    chunks = chunk_structure(text, format, lambda part, _: chunk_text(part, size, min(overlap, size - 1)))
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    ends = [chunk.end for chunk in chunks]
    assert ends == sorted(set(ends))
    told = " ".join([chunk.text for chunk in chunks] + [chunk.context for chunk in chunks])
    lost = set(re.findall(r"\w+", text)) - set(re.findall(r"\w+", told))
    assert not lost
    assert bool(chunks) == bool(text.strip())


docstrings = st.text(alphabet="ab é。\n\t'#\\{}\u2028\x0c", min_size=1, max_size=30).filter(str.strip)
sources = st.lists(st.tuples(st.sampled_from(["def f():", "class C:", "async def é():"]), docstrings), max_size=4)


@given(sources, st.sampled_from(["\n", "\r\n", "\r"]))
@example([("def f():", "a\\")], "\r")
def test_python_sections_are_the_docstrings(definitions, newline):
    """Oracle: each span, evaluated as the literal it stands in, is what `ast` calls the docstring."""
    lines = [f"{head}{newline}    {text!r}" for head, text in definitions]
    source = newline.join(["'é' if 1 else 2", *lines])
    tree = ast.parse(source)
    expected = [
        ast.get_docstring(node, clean=False) for node in tree.body if hasattr(node, "body") and node.body is not None
    ]
    expected = [text for text in expected if isinstance(text, str)]
    found = [source[start - 1 : end + 1] for start, end, _ in sections(source, "python")] if expected else []
    assert [ast.literal_eval(literal) for literal in found] == expected


@pytest.mark.parametrize(
    ("text", "format", "reason"),
    [
        ("x = (\n\ny = 1", "python", "line 1: not Python"),
        ("a\0b", "python", "not Python"),
        ("def f():\n  x\n y", "python", "line 3: not Python"),
        ("(" * 300, "python", "not Python"),
        ("a", "word", "expected a format of 'text'"),
    ],
)
def test_sections_refuse(text, format, reason):
    """What cannot be parsed is named by its line."""
    with pytest.raises(ValueError, match=reason):
        sections(text, format)


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize(
    "text", ["#" * 100_000, "# " + " " * 100_000 + "a", "a\n=\n\n" * 20_000, "```\n" * 50_000, "-\n" * 50_000]
)
def test_sections_are_linear(text, format):
    """Long runs of what marks a heading take no quadratic time."""
    start = time.process_time()
    try:
        sections(text, format)
    except ValueError:
        assert format == "python"
    assert time.process_time() - start < 3  # linear: some 100 ms; quadratic: minutes
