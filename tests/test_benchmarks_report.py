"""Results as files and pages: what is written, read back and rendered."""

import json
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks import report, suite
from benchmarks.harness import Chart, Result, Row, require_equal
from helpers import ROOT

FACTS = {
    "date": "2026-11-25 06:00",
    "commit": "abc1234",
    "cpu": "Some CPU",
    "cores": 2,
    "flags": ["avx2", "fma"],
    "blas": {"kernel": "Haswell", "threads": 1},
    "load": 0.25,
    "python": "3.11.2",
    "numpy": "2.4.6",
    "numba": "0.68.1",
    "libraries": {"tokenizers": "0.23.3"},
}
RESULT = Result(
    "tokenizers",
    "Texts to ids.",
    "The ids are the same.",
    [
        Row("WordPiece ids", "MB/s", [40.0, 60.0, 50.0], [2.0, 2.0, 2.0], "tokenizers: encode_batch_fast", "en"),
        Row("WordPiece ids", "MB/s", [24.0], [2.0], "tokenizers: encode_batch_fast", "ja"),
        Row("WordPiece ids", "MB/s", [90.0], [3.0], "tokenizers: encode_batch_fast", "en", threads=2),
        Row("load", "s", [0.125]),
    ],
    [Chart("cost", "bytes", "seconds", {"ours": ([1, 10], [0.5, 5.0])}, log_x=True)],
)
SECTION = """## tokenizers

Texts to ids. The ids are the same.

`python -m benchmarks tokenizers --only 'en ja'`; Some CPU (avx2 fma), 2 cores, load 0.2; BLAS Haswell, 1 thread; \
Python 3.11.2, NumPy 2.4.6, Numba 0.68.1; 2026-11-25 06:00, commit abc1234.

| task          | data | threads | against                              | unit | ours  | theirs | ratio          |
| ------------- | ---- | ------- | ------------------------------------ | ---- | ----- | ------ | -------------- |
| WordPiece ids | en   | 1       | tokenizers 0.23.3: encode_batch_fast | MB/s | 50    | 2      | 25 × (20 – 30) |
| WordPiece ids | ja   | 1       | tokenizers 0.23.3: encode_batch_fast | MB/s | 24    | 2      | 12 ×           |
| WordPiece ids | en   | 2       | tokenizers 0.23.3: encode_batch_fast | MB/s | 90    | 3      | 30 ×           |
| load          |      | 1       |                                      | s    | 0.125 |        |                |
"""


def found(result=RESULT, **more):
    return report.document("tokenizers", ["--only", "en ja"], result, FACTS | more)


def test_section_is_as_recorded():
    """A result as Markdown: what, how and where, and a row for each of its rows."""
    assert report.section(found()) == SECTION


def test_result_survives_its_file(tmp_path):
    """Writing and reading give the same; rows carry their medians and the ratio's spread."""
    report.write(found(), tmp_path)
    (read,) = report.read(tmp_path)
    assert read == json.loads(json.dumps(found()))
    assert read["rows"][0]["ours_median"] == 50.0 and read["rows"][0]["ratio"] == {"low": 20, "median": 25, "high": 30}
    assert report.rows_of(read)[0].ratios == [20.0, 30.0, 25.0]


def test_newer_result_replaces_the_older_of_its_name(tmp_path):
    """The name holds the parameters that matter: same name, one file; another name, another file."""
    for result, date in ((RESULT, "2026-01-01 00:00"), (RESULT, "2026-01-02 00:00")):
        report.write(found(result, date=date), tmp_path)
    report.write(found(Result("tokenizers: other", "", "", RESULT.rows)), tmp_path)
    assert [(one["name"], one["facts"]["date"][:10]) for one in report.read(tmp_path)] == [
        ("tokenizers", "2026-01-02"),
        ("tokenizers: other", "2026-11-25"),
    ]


def test_render_writes_page_pictures_and_readme(tmp_path):
    """The README changes between the marks only, old pictures go, new ones are linked; twice gives the same bytes."""
    pytest.importorskip("matplotlib")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "docs" / "images" / "bench-old.svg").write_text("old", encoding="utf-8")
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.render([found()], tmp_path)
    readme, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("README.md", "docs/benchmarks.md"))
    assert readme.startswith(f"before\n{report.BEGIN}\n") and readme.endswith(f"{report.END}\nafter\n")
    row = "| `tokenizers`: WordPiece ids | tokenizers 0.23.3: encode_batch_fast | 12 – 25 × | 30 ×      |"
    assert row in readme and "old" not in readme
    images = {path.name for path in (tmp_path / "docs" / "images").iterdir()}
    assert images == {"bench-tokenizers-cost.svg", "bench-tokenizers-mb-s.svg"}
    assert SECTION in page and all(f"](images/{name})" in page for name in images)
    pictures = {path: path.read_bytes() for path in tmp_path.rglob("*.svg")}
    report.render([found()], tmp_path)
    assert {path: path.read_bytes() for path in pictures} == pictures


def test_benchmark_is_run_printed_and_saved(tmp_path, monkeypatch, capsys):
    """python -m benchmarks --save FOLDER NAME: the results that main gives, on the page and in a file."""
    benchmark(monkeypatch, lambda argv: [RESULT])
    assert command.main(["--save", str(tmp_path), "bm25", "--rounds", "3"]) == 0
    assert "| WordPiece ids | en " in capsys.readouterr().out
    assert report.read(tmp_path)[0]["arguments"] == ["--rounds", "3"]


def test_benchmark_with_differing_outputs_saves_nothing(tmp_path, monkeypatch):
    """It ends with an error, and no result is left that looks like one."""
    benchmark(monkeypatch, lambda argv: require_equal("ids", [1], [2]))
    with pytest.raises(SystemExit, match="ids: outputs differ"):
        command.main(["--save", str(tmp_path), "bm25"])
    assert not list(tmp_path.iterdir())


def benchmark(monkeypatch, main):
    """A benchmark of this name, and facts that need no other interpreter."""
    module = type(sys)("benchmarks.bm25")
    module.main = main
    monkeypatch.setitem(sys.modules, "benchmarks.bm25", module)
    monkeypatch.setattr("benchmarks.harness.facts", lambda: FACTS)


def test_suite_goes_on_after_a_failure_and_reports_it(monkeypatch, capsys):
    """The others still run; the exit code is 1, and the one that failed is named."""
    ran = []
    monkeypatch.setattr(suite, "run", lambda name, options, folder: ran.append(name) or name == "bm25")
    assert suite.main(["bm25", "ann"]) == 1 and ran == ["ann", "bm25"]
    assert "failed: bm25" in capsys.readouterr().err
    assert suite.main(["--quick", "ann"]) == 0


def test_suite_and_report_name_benchmarks_that_exist():
    """What is run has a place in the page, and the README's marks are there."""
    assert {run.name for run in suite.RUNS} <= set(report.ORDER) <= set(command.names())
    assert {benchmark for benchmark, _ in report.HEADLINES} <= set(report.ORDER)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count(report.BEGIN) == readme.count(report.END) == 1
