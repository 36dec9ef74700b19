"""What the README and the docs show is what happens."""

import re

from helpers import ROOT, run_python

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_example_prints_its_output(tmp_path):
    """The first example, run as it stands, prints what is shown below it."""
    code, expected = re.search(r"```python\n(.*?)```\n```\n(.*?)```", README, re.DOTALL).groups()
    done = run_python(code, cwd=tmp_path)
    assert done.stdout == expected, done.stderr


def test_readme_commands_and_targets_exist():
    """Every `make` target and every `minibert` command that is named is there."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`?make ([a-z-]+)", README)) <= set(targets)
    named = set(re.findall(r"^    minibert ([a-z]+) ", README, re.MULTILINE))
    done = run_python("from minibert.cli import main; main(['--help'])")
    assert named and all(re.search(rf"^    {name}\b", done.stdout, re.MULTILINE) for name in named)
