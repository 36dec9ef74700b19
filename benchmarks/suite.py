"""What `make bench` and `make bench-quick` run: each benchmark at a size that fits, in a process of its own.

python -m benchmarks suite [--quick] [NAME …]: all, or those named. Results go to benchmarks/results, those of --quick
to build/bench-quick. One that fails, as its outputs differ say, does not keep the others from running; the exit code
is 1 then.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks.harness import ROOT
from benchmarks.report import RESULTS

QUICK_RESULTS = ROOT / "build" / "bench-quick"


class Run(NamedTuple):
    """Arguments of one benchmark; quick: those of the short form, None where it has no part in it."""

    name: str
    full: str
    quick: str | None


RUNS = [
    Run("encoder", "--tokens 2000 --rounds 3", "--tokens 1500 --models MiniLM-L6 --kinds mixed --rounds 3"),
    Run("ann", "--scale 20000 --data mixture --queries 1000", "--scale 5000 --data mixture --queries 500"),
    Run("tokenizers", "--only en,de,zh,mixed --megabytes 0.5 --rounds 3", "--only en --megabytes 0.3 --rounds 2"),
    Run("bm25", "--rounds 3", "--rounds 2 --limit 5000 --questions 300"),
    Run("training", "--rounds 3", "--dual-encoder --rounds 2"),
    Run("sentencepiece", "--rounds 3", "--megabytes 0.5 --rounds 2"),
    Run("tokenizer_training", "--megabytes 4 --rounds 2", "--megabytes 2 --rounds 1"),
    Run("retrieval", "--chunks 1500 --sample 200 --queries 100", "--chunks 300 --sample 50 --queries 50 --rounds 2"),
    Run("growth", "--largest 30000", "--largest 10000"),
    Run("encoder", "--tokens 2000 --rounds 3 --threads 2", None),
    Run("training", "--rounds 3 --threads 2", None),
    Run("first_call", "", None),
    Run("ann_rivals", "--rows 10000 --rounds 3", None),
    Run("translation", "--small --rounds 3", None),
]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks suite", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; by default all")
    parser.add_argument("--quick", action="store_true", help="small sizes, under four minutes")
    args = parser.parse_args(argv)
    chosen = [(run.name, run.quick if args.quick else run.full) for run in RUNS]
    chosen = [(name, options) for name, options in chosen if options is not None and name in (args.names or [name])]
    if unknown := set(args.names) - {name for name, _ in chosen}:
        parser.error(
            f"no part of this: {', '.join(sorted(unknown))}; there are {', '.join(dict.fromkeys(r[0] for r in RUNS))}"
        )
    folder, start, failed = QUICK_RESULTS if args.quick else RESULTS, time.perf_counter(), []
    for name, options in chosen:
        began = time.perf_counter()
        if run(name, shlex.split(options), folder):
            failed.append(f"{name} {options}".strip())
        print(f"… {name} {options}: {time.perf_counter() - began:.0f} s\n", flush=True)
    print(f"{len(chosen)} benchmarks, {(time.perf_counter() - start) / 60:.1f} minutes; JSON in {folder}")
    if failed:
        print("failed: " + "; ".join(failed), file=sys.stderr)
    return int(bool(failed))


def run(name, options, folder):
    """The exit code of a benchmark; NumPy's BLAS gets the threads that the benchmark is to use."""
    threads = options[options.index("--threads") + 1] if "--threads" in options else "1"
    command = [sys.executable, "-m", "benchmarks", "--save", str(folder), name, *options]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"OPENBLAS_NUM_THREADS": threads}).returncode
