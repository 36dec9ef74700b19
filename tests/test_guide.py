"""The chapters of docs/guide: their examples print what is shown, and the files they name are there."""

import contextlib
import io
import re

import pytest

from helpers import ROOT

CHAPTERS = sorted((ROOT / "docs" / "guide").glob("[0-9]*.md"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_guide_example_prints_its_output(chapter, tmp_path, monkeypatch):
    """The example, run as it stands, prints what is shown below it."""
    monkeypatch.chdir(tmp_path)
    code, expected = re.search(r"```python\n(.*?)```\n```\n(.*?)```", chapter.read_text("utf-8"), re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, chapter.name, "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == expected


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_guide_names_files_that_exist(chapter):
    """Every path of a file in the text is one of the repository's."""
    paths = re.findall(r"`((?:tokenizers|minibert|ann|tests)/[\w/]+\.py)`", chapter.read_text("utf-8"))
    assert paths and all((ROOT / path).is_file() for path in paths)
