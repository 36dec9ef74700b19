"""python -m benchmarks [--save FOLDER] NAME …: runs main(argv) of benchmarks/NAME.py, prints its results, saves them.

A benchmark of training, whose tables are in docs/results.md, prints its own and gives no Result.
"""

import argparse
import importlib
import sys
from pathlib import Path

import minibert  # noqa: F401  first of all: it chooses the BLAS kernel before NumPy loads

TOOLS = {"__init__", "__main__", "harness", "pictures", "texts", "vectors"}


def names():
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in TOOLS)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="for a JSON file of each result")
    parser.add_argument("name", choices=names(), metavar="NAME", help=", ".join(names()))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the benchmark's own")
    args = parser.parse_args(argv)
    from benchmarks import harness, report

    about_the_run = harness.facts()  # before: the load is not the benchmark's own
    found = importlib.import_module(f"benchmarks.{args.name}").main(args.arguments)
    if not isinstance(found, list):
        return found
    for result in found:
        document = report.document(args.name, args.arguments, result, about_the_run)
        print(report.section(document))
        if args.save:
            report.write(document, args.save)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
