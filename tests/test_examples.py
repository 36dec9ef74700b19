"""The scripts of examples/ run as they stand."""

import pytest

from helpers import ROOT, run_python

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path):
    """It ends without an error, and prints something."""
    done = run_python(example.read_text("utf-8"), cwd=tmp_path)
    assert done.returncode == 0 and done.stdout, done.stderr
