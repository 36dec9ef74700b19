"""Results as JSON files, and the tables and pictures made of them: docs/benchmarks.md and a table of the README.

python -m benchmarks report [--results FOLDER] [--root FOLDER]

A result's file bears its name, and the name holds what sets its parameters apart: a newer measurement of the same thing
replaces the older one, a measurement of something else stands beside it. Nothing in docs/benchmarks.md is written by
hand; in the README the generator owns what stands between two marks.
"""

import argparse
import json
import re
import shlex
import statistics
from dataclasses import asdict, fields
from pathlib import Path

from benchmarks import pictures
from benchmarks.harness import ROOT, Chart, Row, table
from benchmarks.pictures import slug

RESULTS = ROOT / "benchmarks" / "results"
BARS = "MB/s", "tokens/s", "MB", "bytes a row"  # units whose rows are drawn as bars
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
ORDER = (
    "tokenizers", "sentencepiece", "tokenizer_training", "encoder", "training", "translation", "ann", "ann_rivals",
    "bm25", "retrieval", "growth", "first_call",
)  # fmt: skip
HEADLINES = (  # the README's rows: benchmark and task; every library that the task was measured against has its own
    ("tokenizers", "WordPiece ids"),
    ("tokenizers", "WordPiece ids and offsets"),
    ("tokenizers", "WordPiece pairs, cut at 256, as padded arrays"),
    ("tokenizers", "BPE ids"),
    ("tokenizers", "BPE ids and offsets"),
    ("tokenizers", "BPE by rank, gpt2 pattern"),
    ("tokenizers", "BPE by rank, cl100k pattern"),
    ("tokenizers", "BPE by rank, o200k pattern"),
    ("sentencepiece", "Unigram ids"),
    ("sentencepiece", "SentencePiece BPE ids"),
    ("tokenizer_training", "train BPE"),
    ("tokenizer_training", "train WordPiece"),
    ("tokenizer_training", "train Unigram"),
    ("tokenizer_training", "train SentencePiece BPE"),
    ("encoder", "MiniLM-L6"),
    ("encoder", "MiniLM-L6 in int8"),
    ("encoder", "BERT-base"),
    ("encoder", "BERT-base in int8"),
    ("training", "dual encoder: forward"),
    ("training", "dual encoder: forward, backward, Adam"),
    ("training", "MiniLM: forward, backward, Adam"),
    ("training", "SBERT NLI: forward, backward, AdamW"),
    ("translation", "encoder–decoder: forward, backward, Adam"),
    ("ann", "float32: build"),
    ("ann", "int8: build"),
    ("ann", "float32: search at recall 0.95"),
    ("ann", "int8: search at recall 0.95"),
    ("ann", "int8: one query a call at recall 0.95"),
    ("ann", "int8: memory"),
    ("bm25", "indexing"),
    ("bm25", "questions, k = 10"),
    ("retrieval", "ingest: text to closed store"),
    ("retrieval", "query, median"),
)


# ---- results ⇄ files -------------------------------------------------------------------------------------------------


def document(benchmark, arguments, result, about_the_run):
    """What a result's file holds: the result, how it was measured, and of each row the medians and the spread."""
    rows = [asdict(row) | summary(row) for row in result.rows]
    return {"benchmark": benchmark, "arguments": arguments, "facts": about_the_run} | asdict(result) | {"rows": rows}


def summary(row):
    """Medians of both sides; median, lowest and highest of the paired ratio."""
    ratios = row.ratios
    return {
        "ours_median": statistics.median(row.ours),
        "theirs_median": statistics.median(row.theirs) if row.theirs else None,
        "ratio": {"low": min(ratios), "median": statistics.median(ratios), "high": max(ratios)} if ratios else None,
    }


def write(found, folder):
    """One file, named for the result."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    text = re.sub(r"\[[^][{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)  # a list on a line of its own
    (folder / f"{slug(found['name'])}.json").write_text(text + "\n", encoding="utf-8")


def read(folder):
    """All results of a folder, in the order of ORDER, then of their names."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda one: (ORDER.index(one["benchmark"]), one["name"]))


# ---- results → Markdown ----------------------------------------------------------------------------------------------


def rows_of(found):
    known = {field.name for field in fields(Row)}
    return [Row(**{name: value for name, value in row.items() if name in known}) for row in found["rows"]]


def section(found, images=()):
    """A result as Markdown: what was done and checked, how and where, the table, the pictures."""
    rows, run = rows_of(found), found["facts"]
    command = shlex.join(["python", "-m", "benchmarks", found["benchmark"], *found["arguments"]])
    parts = [
        f"## {found['name']}",
        f"{found['about']} {found['checked']}",
        f"`{command}`; {where(run)}.",
        results_table(rows, run["libraries"]),
        *(f"![{found['name']}]({image})" for image in images),
    ]
    return "\n\n".join(parts) + "\n"


def where(run):
    """Machine, versions and commit in a line."""
    blas = f"BLAS {run['blas']['kernel']}, {run['blas']['threads']} thread{'s' * (run['blas']['threads'] != 1)}"
    return (
        f"{run['cpu']} ({' '.join(run['flags'])}), {run['cores']} cores, load {run['load']:.1f}; {blas}; "
        f"Python {run['python']}, NumPy {run['numpy']}, Numba {run['numba']}; {run['date']}, commit {run['commit']}"
    )


def results_table(rows, libraries):
    """Ours, theirs and the ratio of each row; columns that would be empty are left out."""
    columns = {
        "task": [row.task for row in rows],
        "data": [row.data for row in rows],
        "threads": [str(row.threads) for row in rows],
        "against": [library(row.against, libraries) for row in rows],
        "unit": [row.unit for row in rows],
        "ours": [statistics.median(row.ours) for row in rows],
        "theirs": [statistics.median(row.theirs) if row.theirs else "" for row in rows],
        "ratio": [spread(row.ratios) for row in rows],
    }
    if set(columns["threads"]) == {"1"}:
        del columns["threads"]
    kept = {name: values for name, values in columns.items() if any(value != "" for value in values)}
    return table(list(kept), list(zip(*kept.values(), strict=True)))


def library(against, libraries):
    """ "tokenizers: a call" with the version that was installed: "tokenizers 0.23.3: a call"."""
    name, colon, what = against.partition(":")
    return f"{name} {libraries[name]}{colon}{what}" if name in libraries else against


def spread(ratios):
    """Median (lowest – highest)."""
    if not ratios:
        return ""
    low, high = times(min(ratios)), times(max(ratios))
    return f"{times(statistics.median(ratios))} ×" + (f" ({low} – {high})" if low != high else "")


def times(ratio):
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 5 else f"{ratio:.{2 if ratio >= 0.1 else 3}f}"


def headline_table(documents):
    """The README's: for each task and library the ratio, from the lowest to the highest of its data, by threads."""
    lines = []
    for benchmark, task in HEADLINES:
        cells = {}
        for found in documents:
            for row in rows_of(found) if found["benchmark"] == benchmark else ():
                if row.task == task and row.theirs:
                    against = library(row.against, found["facts"]["libraries"])
                    cells.setdefault(against, {}).setdefault(row.threads, []).append(statistics.median(row.ratios))
        for against, by_threads in cells.items():
            lines.append([f"`{benchmark}`: {task}", against, *(span(by_threads.get(n, [])) for n in (1, 2))])
    return table(["benchmark: task", "against", "1 thread", "2 threads"], lines)


def span(ratios):
    """Lowest – highest."""
    low, high = (times(extreme(ratios)) if ratios else "" for extreme in (min, max))
    return "" if not ratios else f"{low} ×" if low == high else f"{low} – {high} ×"


def readme_part(documents):
    """What stands between the marks."""
    latest = max((found["facts"] for found in documents), key=lambda run: run["date"])
    return f"{BEGIN}\n{README.format(**latest, day=latest['date'].split()[0])}\n{headline_table(documents)}\n{END}"


README = """`make bench` measures both sides in alternation, in one run, after their outputs were compared; compiling is
apart. Above 1, ours is faster or smaller: the median of the rounds, or the lowest and the highest of several texts; the
encoder's highest are of texts of mixed lengths, which the libraries pad, here in one batch.
[docs/benchmarks.md](docs/benchmarks.md) has every row, its spread, memory, growth and curves. {cpu}, {cores} cores,
Python {python}, NumPy {numpy}, Numba {numba}; {day}.
"""
INTRODUCTION = """# Benchmarks

Made by `make bench` from the files in `benchmarks/results/`; not written by hand. Ours and theirs take turns in one
run, after their outputs were compared; a first round of each, in which kernels are compiled or loaded, does not count,
and is measured apart (first_call, at the end). Values are medians of the rounds. The ratio is the median of those of
each round, with the lowest and the highest in brackets: above 1, ours is faster or smaller. The library's time is taken
inside its own interpreter, where its texts and vectors are beforehand.
"""


# ---- results → pictures ----------------------------------------------------------------------------------------------


def draw(found):
    """{file name: figure} of a result: its charts, and bars of the rows in each of the units BARS."""
    figures = {}
    for chart in (Chart(**chart) for chart in found["charts"]):
        figures[f"bench-{slug(found['name'])}-{slug(chart.title)}.svg"] = pictures.line_chart(chart)
    for unit in BARS:
        rows = [row for row in rows_of(found) if row.unit == unit and row.theirs]
        if rows:
            bars = [(label(row), *map(middle, (row.ours, row.theirs))) for row in rows]
            figures[f"bench-{slug(found['name'])}-{slug(unit)}.svg"] = pictures.bar_chart(found["name"], unit, bars)
    return figures


def label(row):
    threads = f"{row.threads} threads" if row.threads > 1 else ""
    return " · ".join(filter(None, (row.task, row.data, row.against, threads)))


def middle(values):
    return statistics.median(values) if values else None


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="JSON files")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="FOLDER", help="of docs/ and README.md")
    args = parser.parse_args(argv)
    documents = read(args.results)
    if not documents:
        parser.error(f"{args.results} holds no results: run make bench")
    render(documents, args.root)


def render(documents, root):
    """Write docs/benchmarks.md with its pictures, and the README's part."""
    images = root / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob("bench-*.svg"):
        old.unlink()
    parts = [INTRODUCTION]
    for found in documents:
        figures = draw(found)
        for name, figure in figures.items():
            pictures.save(figure, images / name)
        parts.append(section(found, [f"images/{name}" for name in figures]))
    (root / "docs" / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")
    readme = root / "README.md"
    before, after = re.split(f"{BEGIN}.*{END}", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    readme.write_text(before + readme_part(documents) + after, encoding="utf-8")
