"""Readers: every kind of file, names of every kind, and what is wrong by file and line."""

import os
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import HashEncoder
from minibert.retrieval import Store, ingest, read_documents
from minibert.retrieval.readers import html_text
from minibert.retrieval.structure import sections

PAGE = """<!DOCTYPE html><html><head><title>A &amp;
 B</title><style>p { color: red }</style></head>
<body><script>var hidden = "<p>no</p>";</script><!-- no -->
<h1>Head &lt;ing</h1><p>One   <b>bold</b>
word.<p>Two<br>three<ul><li>four<li>five</ul>
<pre># code
  kept</pre><template>no</template><svg><title>no</title></svg>end &#233; &unknown; <</body></html>"""


def test_html_text_golden():
    """Blocks on lines, headings and code as Markdown, references resolved, what is not shown left out."""
    title, text = html_text(PAGE)
    assert title == "A & B"
    assert (
        text
        == "# Head <ing\n\nOne bold word.\n\nTwo\nthree\n\nfour\nfive\n\n```\n# code\n  kept\n```\n\nend é &unknown; <"
    )


def test_read_documents_of_every_kind(tmp_path):
    """A folder's files in order of name, each kind as it is to be read; hidden and blank modules left out."""
    files = {
        "a.txt": "plain",
        "b.md": "# H\n\ntext",
        "c.rst": "T\n=\n\ntext",
        "d.html": "<title>t</title><h1>x</h1>",
        "e.py": '"""Doc."""',
        "e2.py": "",
        "f.jsonl": '\ufeff{"id": "j", "text": "t", "metadata": {"n": 1}}\n\n{"_id": "k", "text": "u", "title": ""}',
        "g.csv": 'id,text,title,year,code,none\nc1,"two\nlines",T,2020,007,\nc2,x,,-1.5e3,nan,é\n',
        ".h.txt": "hidden",
        "i.bin": "other",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    corpus = read_documents([tmp_path])
    found = {d["id"].rpartition("/")[2]: d for d in corpus}
    assert list(found) == ["a.txt", "b.md", "c.rst", "d.html", "e.py", "j", "k", "c1", "c2"]
    assert corpus.done == corpus.size == sum(file.stat().st_size for file in corpus.files)
    formats = {name: d.get("format") for name, d in found.items()}
    assert formats == dict(zip(found, ["text", "markdown", "rst", "markdown", "python", *[None] * 4], strict=True))
    assert (found["d.html"]["title"], found["d.html"]["text"]) == ("t", "# x")
    assert found["c1"]["text"] == "two\nlines" and found["c1"]["metadata"] == {"year": 2020, "code": "007"}
    assert found["c2"]["metadata"] == {"year": -1500.0, "code": "nan", "none": "é"}
    assert all(d["metadata"]["source"].endswith(name) for name, d in found.items() if "." in name)


def test_read_documents_of_a_beir_folder(tmp_path):
    """A collection's documents are those of corpus.jsonl, not its queries."""
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "x", "metadata": {"a": 1}}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "y"}\n')
    assert list(read_documents([tmp_path])) == [{"id": "d1", "title": "T", "text": "x", "metadata": {"a": 1}}]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b'{"id": "a", "text": "b"}\n{"id":', "a.jsonl, line 2: "),
        ("a.jsonl", b'{"id": "a", "text": "b"}\n\n["x"]', "a.jsonl, line 3: document: expected a dict"),
        ("a.jsonl", b'{"id": "a", "text": ""}', "a.jsonl, line 1: document 'a' is empty"),
        ("a.jsonl", b'{"id": "a", "text": "b"}\n{"id": "\xff"}', "a.jsonl, line 2: .*0xff"),
        ("a.jsonl", b'{"id": "a", "text": "b", "format": []}', "a.jsonl, line 1: .*expected a format"),
        ("a.csv", b"", "a.csv, line 0: expected a header"),
        ("a.csv", b"id,body\nx,y\n", "a.csv, line 1: expected a header .* text among them"),
        ("a.csv", b"id,text,id\nx,y,z\n", "a.csv, line 1: expected a header of different names"),
        ("a.csv", b"id,text\nx,y\nx\n", "a.csv, line 3: expected 2 columns, got 1"),
        ("a.csv", b"id,text\nx,\n", "a.csv, line 2: .*expected text"),
        ("a.csv", b'id,text\nx,"never closed\nz,w\n', "a.csv, line 3: "),
        ("a.csv", b"id,text\nx,\xe9\n", "a.csv, line 2: .*0xe9"),
        ("a.html", b"<p>\xe9", "a.html: expected UTF-8, got byte 0xe9 at 3"),
        ("a.rst", b"\xff\xfe", "a.rst: expected UTF-8"),
        ("a.docx", b"x", "a.docx: expected a .txt, .md"),
    ],
)
def test_read_documents_names_what_is_wrong(tmp_path, name, content, reason):
    """Damaged or unknown input: file and line, and what was expected."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        list(read_documents([tmp_path / name]))


def test_read_csv_takes_long_fields(tmp_path):
    """A text beyond the 131,072 characters of Python's own limit."""
    (tmp_path / "a.csv").write_text(f"id,text\nx,{'word ' * 40_000}\n")
    (document,) = read_documents([tmp_path / "a.csv"])
    assert len(document["text"]) == 200_000


def test_files_of_any_name_are_found_by_it(tmp_path):
    """Quotes, blanks, a newline, ../ and bytes that are no UTF-8 in a name: the id is the name, and deletes by it."""
    folder = tmp_path / 'it\'s a "quote"; DROP TABLE documents; --'
    folder.mkdir()
    names = ["a'b.txt", 'c"d.txt', "e\nf.txt", "$(g).txt", "%s.txt", "é.txt"]
    for number, name in enumerate(names):
        (folder / name).write_text(f"text number n{number}")
    with open(os.fsencode(folder) + b"/\xff.txt", "w") as file:
        file.write("text number n6")
    dotted = folder / ".." / folder.name / names[0]
    with Store.open(tmp_path / "s", HashEncoder()) as store:
        assert ingest(store, read_documents([folder, dotted])) == (8, 0, 0)
        for number, name in enumerate([*names, "\\xff.txt"]):
            ids = {hit.id for hit in store.search(f"n{number}", k=2, hybrid=True) if f"n{number}" in hit.text}
            assert f"{folder.as_posix()}/{name}" in ids
        assert store.delete([f"{folder.as_posix()}/{name}" for name in names]) == 6
        assert {hit.id for hit in store.search("text")} == {f"{folder.as_posix()}/\\xff.txt", dotted.as_posix()}


def test_read_documents_refuses_what_is_not_there(tmp_path):
    """A missing file, a name with NUL, an empty folder."""
    for path in (tmp_path / "gone.txt", "a\0b.txt"):
        with pytest.raises(FileNotFoundError):
            read_documents([path])
    with pytest.raises(ValueError, match="the corpus is empty"):
        read_documents([tmp_path])


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<pre>def f():\n    x\n\n    y</pre>", "```\ndef f():\n    x\n\n    y\n```"),
        ("<head><title>T</title><p>No end of the head,\n<p>\n  no body", "No end of the head,\n\nno body"),
        ("<div> <h2>\n Title </h2>\n <p> a <b> b</b>", "## Title\n\na b"),
        ("<pre>```\n# a\n```</pre></pre>b", "````\n```\n# a\n```\n````\n\nb"),
        ("<pre>a<pre>b", "```\na\n```\n\n```\nb\n```"),
        (
            "<p># a<p>#<p>~~~<p>&lt;!-- b<table><td>c<td>-</table>#d",
            "\\# a\n\n\\#\n\n\\~~~\n\n\\<!-- b\n\nc\n\\-\n\n#d",
        ),
    ],
)
def test_html_text_white_space(page, expected):
    """Code keeps its indentation, all else begins its line; tags that HTML lets be left out are not missed."""
    assert html_text(page)[1] == expected


@pytest.mark.parametrize("unit", ["<!--", "<![", "<p>", "<br>", "<svg>", "&", "<", " ", "\n", "<!--x-->"])
def test_html_text_is_linear(unit):
    """Whatever a page repeats: a quadratic reader takes minutes for one of these."""
    start = time.process_time()
    html_text(f"<pre>{unit * 100_000}x</pre>")
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "hides",
    ["<pre>```\nx</pre>", "<p>```</p>", "<p>&lt;!-- x</p>", "<p># no</p>", "<td>no<td>---", "<pre>~~~\n````</pre>"],
)
def test_html_headings_are_the_pages(hides):
    """Whatever the page's words are, its sections stand under the headings that it marks, and under no other."""
    _, text = html_text(f"<h1>A</h1>{hides}<h2>B</h2><p>b</p>")
    assert [section.context for section in sections(text, "markdown")] == ["A", "A > B"]


MARKUP = [*"<>/!-&;[]'\"=?\n", "<p", "<!--", "<![", "<!D", "</", "<title>", "<script", "a b"]
pages = st.lists(st.sampled_from(MARKUP)).map("".join)


@given(pages)
@example("<![if")
@example("<![<")
def test_html_text_takes_any_markup(page):
    """Whatever a page holds, there is a text of it."""
    title, text = html_text(page)
    assert title == title.strip() and text == text.strip()
