"""Every relative link of a Markdown file leads to a file of the repository, and every anchor to a heading."""

import re

import pytest

from helpers import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")


def prose(page):
    """A page's text without its code."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page):
    """The names that GitHub and MyST give to a page's headings."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page):
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    """None is broken."""
    assert broken(page) == []


def test_broken_links_are_found(tmp_path, monkeypatch):
    """A missing file, a missing heading, a way out of the repository; code and addresses are no links."""
    monkeypatch.setitem(broken.__globals__, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text(
        "# One *two*, three\n[a](#one-two-three) [b](#four) [c](b.md) [d](../e) `[x](y)` [w](https://x)"
    )
    assert broken(tmp_path / "a.md") == ["#four", "b.md", "../e"]
