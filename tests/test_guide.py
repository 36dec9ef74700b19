"""The chapters of docs/guide: complete, their examples print what is shown, their commands draw the figures."""

import contextlib
import io
import re

import pytest

from docs.figures import CHAPTERS, example, plot_commands, run
from helpers import ROOT

chapters = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
MOST_BYTES = 60_000  # of a figure


@chapters
def test_guide_example_prints_its_output_and_figures_are_drawn(chapter, tmp_path, monkeypatch):
    """The example and the commands, run as they stand: the output is what is shown, every figure comes out."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        figures = run(chapter)
    assert printed.getvalue().startswith(example(chapter)[1])
    assert figures and all((tmp_path / file).stat().st_size > 1000 for file in figures)


@chapters
def test_guide_chapter_is_complete(chapter):
    """Formula, files that implement and test it, example, figure: each figure that is shown is one that is drawn."""
    text = chapter.read_text("utf-8")
    assert re.search(r"^    .*[=←]", text, re.MULTILINE), "no formula"
    links = re.findall(r"\]\(\.\./\.\./([\w/]+\.py)\)", text)
    assert any(link.startswith("tests/") for link in links) and any(not link.startswith("tests/") for link in links)
    shown = re.findall(r"!\[[^\]]+\]\(\.\./images/([\w.-]+)\)", text)
    assert shown == [file for _, file in plot_commands(chapter)] != []
    assert all(0 < (ROOT / "docs" / "images" / file).stat().st_size <= MOST_BYTES for file in shown)


@chapters
def test_guide_names_what_exists(chapter):
    """Every `name(…)` or `Class.name` that a chapter says a file has stands in one of the files it links to."""
    text = chapter.read_text("utf-8")
    paths = re.findall(r"`((?:tokenizers|minibert|ann|tests|examples)/[\w/]+\.py)`", text)
    assert all((ROOT / path).is_file() for path in paths)
    sources = "".join((ROOT / link).read_text("utf-8") for link in re.findall(r"\]\(\.\./\.\./([\w/]+\.py)\)", text))
    for name in re.findall(r"`(?:\w+\.)*(\w+)\([^`]*\)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        assert re.search(rf"(def|class) {name}\b", sources), name
