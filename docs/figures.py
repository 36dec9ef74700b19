"""Draw the guide's figures (`make figures`): run each chapter's example, then the `minibert plot` commands it shows.

A command names the files that the example has written, so each figure shows what its chapter's code made.
"""

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from minibert import cli

DOCS = Path(__file__).resolve().parent
CHAPTERS = sorted((DOCS / "guide").glob("[0-9]*.md"))


def example(chapter):
    """(code, what it prints) of a chapter."""
    return re.search(r"```python\n(.*?)```\n```\n(.*?)```", chapter.read_text("utf-8"), re.DOTALL).groups()


def plot_commands(chapter):
    """[(arguments, file)] of the `minibert plot` lines of a chapter."""
    lines = re.findall(r"^    minibert (plot .*)$", chapter.read_text("utf-8"), re.MULTILINE)
    return [(arguments, arguments[arguments.index("--out") + 1]) for arguments in map(shlex.split, lines)]


def run(chapter):
    """Run a chapter's example and its commands in the present folder, which gets the figures; their files."""
    code, _ = example(chapter)
    exec(compile(code, chapter.name, "exec"), {"__name__": "__main__"})
    return [draw(arguments, file) for arguments, file in plot_commands(chapter)]


def draw(arguments, file):
    """Run one command; the figure's file."""
    if cli.main(arguments):
        raise RuntimeError(f"minibert {shlex.join(arguments)} failed")
    return Path(file)


def main(chapters):
    """Write the figures of some chapters into docs/images."""
    for chapter in chapters:
        print(f"… {chapter.name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for file in run(chapter):
                (DOCS / "images" / file).write_bytes(file.read_bytes())
            os.chdir(DOCS)


if __name__ == "__main__":
    main([chapter for chapter in CHAPTERS if not sys.argv[1:] or chapter.stem[:2] in sys.argv[1:]])
