"""A real corpus that every Python brings along: the docstrings of its standard library.

Source files are parsed, not imported, and read in a fixed order, so one interpreter always gives the same documents.
"""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

LEFT_OUT = {
    "__pycache__",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}


SENTENCE_END = re.compile(r"(?<=[.:;])\s+|\n\n")


Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Docstring:
    """One documented object: its dotted name, its call as one would read it, its docstring, the file and module."""

    name: str
    signature: str
    text: str
    module: str
    file: str

    @property
    def package(self) -> str:
        """The top-level package it belongs to."""
        return self.module.split(".", 1)[0]

    @property
    def words(self) -> str:
        """The signature as words: camelCase and snake_case taken apart."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", self.signature)

    @property
    def summary(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(self.text.split("\n\n", 1)[0].split())

    @property
    def rest(self) -> str:
        """What follows the first paragraph."""
        return self.text[len(self.text.split("\n\n", 1)[0]) :].strip()


def docstrings(folder: Path | None = None) -> list[Docstring]:
    """Every docstring of the .py files below `folder`, by default the running interpreter's standard library.

    Of several objects of one name, such as a property and its setter, the first counts.
    """
    folder = Path(folder or sysconfig.get_path("stdlib"))
    found: dict[str, Docstring] = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if not LEFT_OUT.intersection(parts):
            module = ".".join(parts).removesuffix(".__init__")
            for doc in _of_file(path, module):
                found.setdefault(doc.name, doc)
    return list(found.values())


def pairs(found: list[Docstring], shortest: int = 20) -> list[tuple[str, str, Docstring]]:
    """(question, answer, origin): summary → rest where there is a rest, else the words of the signature → docstring.

    Units    shortest: characters that question and answer have at least; a repeated answer is kept once
    """
    seen: set[str] = set()
    result = []
    for doc in found:
        question, answer = (doc.summary, doc.rest) if len(doc.rest) >= shortest else (doc.words, doc.text)
        if len(question) >= shortest and len(answer) >= shortest and answer not in seen:
            seen.add(answer)
            result.append((question, answer, doc))
    return result


def training_pairs(found: list[Docstring], shortest: int = 20) -> list[tuple[str, str]]:
    """Every way to ask for a docstring: summary → rest, words of the signature → docstring, a sentence → what is left.

    Source   the last is the inverse cloze task, Lee 2019 (arXiv:1906.00300) section 4
    Units    shortest: characters that question and answer have at least; a repeated docstring is used once
    """
    result = []
    for doc in {doc.text: doc for doc in reversed(found)}.values():
        result += [(doc.summary, doc.rest), (doc.words, doc.text)]
        sentences = SENTENCE_END.split(doc.text)
        for i, sentence in enumerate(sentences):
            result.append((sentence, " ".join(sentences[:i] + sentences[i + 1 :])))
    return [(question, answer) for question, answer in result if min(len(question), len(answer)) >= shortest]


def _of_file(path: Path, module: str) -> Iterator[Docstring]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the library's own strings
            tree = ast.parse(path.read_bytes())
    except SyntaxError:  # some interpreters ship files for other versions
        return
    for name, signature, node in _objects(tree, module):
        text = ast.get_docstring(node)
        if text:
            yield Docstring(name, signature, inspect.cleandoc(text), module, path.name)


def _objects(node: ast.AST, name: str) -> Iterator[tuple[str, str, Documented]]:
    if isinstance(node, ast.Module):
        yield name, f"module {name}", node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{name}.{child.name}", f"{name}.{child.name}({ast.unparse(child.args)})", child
        elif isinstance(child, ast.ClassDef):
            yield f"{name}.{child.name}", f"class {name}.{child.name}", child
            yield from _objects(child, f"{name}.{child.name}")
