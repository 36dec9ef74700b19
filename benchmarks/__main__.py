"""python -m benchmarks NAME …: runs main(argv) of benchmarks/NAME.py; without a name, lists them."""

import importlib
import sys
from pathlib import Path

import minibert  # noqa: F401  first of all: it chooses the BLAS kernel before NumPy loads

NOT_BENCHMARKS = {"__init__", "__main__", "harness", "texts", "tokenizer_limits", "vectors"}


def names():
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def main(argv):
    if not argv or argv[0] not in names():
        print(f"usage: python -m benchmarks NAME …\nnames: {', '.join(names())}", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:]) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
