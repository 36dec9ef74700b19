"""What is installed, under which names, and the targets that do the work."""

import configparser
import re
import shutil
import subprocess
import sys

import pytest

from helpers import ROOT, run_python

METADATA = configparser.ConfigParser()
METADATA.read(ROOT / "setup.cfg", encoding="utf-8")


def test_packages_are_those_on_disk():
    """setup.cfg names every package folder of the three top-level packages, and no other."""
    named = METADATA["options"]["packages"].split()
    tops = ["ann", "minibert", "tokenizers"]
    found = {init.parent.relative_to(ROOT).as_posix() for top in tops for init in (ROOT / top).rglob("__init__.py")}
    assert sorted(named) == sorted(name.replace("/", ".") for name in found)


def test_packages_hold_python_and_the_declared_data():
    """No file but Python's and those that package_data ships: the markers that the hints are there (PEP 561)."""
    data = {f"{package}/{name}" for package, name in METADATA["options.package_data"].items()}
    files = {file.relative_to(ROOT) for top in ("ann", "minibert", "tokenizers") for file in (ROOT / top).rglob("*.*")}
    others = {file for file in files if file.suffix != ".py" and "__pycache__" not in file.parts}
    assert (
        {file.as_posix() for file in others} == data == {f"{top}/py.typed" for top in ("ann", "minibert", "tokenizers")}
    )


def test_runtime_dependencies_are_the_declared_five():
    """Importing everything loads no third-party package but the declared ones (and llvmlite, which is Numba's)."""
    declared = {re.split("[>=<]", line)[0] for line in METADATA["options"]["install_requires"].split()}
    assert declared == {"numba", "numpy", "regex", "safetensors", "tqdm"}
    code = """
import importlib, pkgutil, sys, sysconfig
import ann, minibert, tokenizers
for package in (ann, minibert, tokenizers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        # but scripts that made a shipped table with a library's help, and what the extra `serve` is for
        if ".make_" not in module.name and module.name != "minibert.web.app":
            importlib.import_module(module.name)
site = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items() if "." not in name}
print(*sorted(name for name, file in files.items() if any(file.startswith(folder) for folder in site)))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert loaded <= declared | {
        "llvmlite",
        "ann",
        "minibert",
        "tokenizers",
        "yaml",
    }  # yaml: Numba's, where it is there


def test_importing_packages_loads_no_numpy():
    """The three packages are lazy: the BLAS kernel can still be chosen, and --help answers at once."""
    done = run_python("import sys, ann, minibert, minibert.retrieval, tokenizers; assert 'numpy' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_name_guard_refuses_another_tokenizers(tmp_path):
    """Another package `tokenizers` in the way: an ImportError that names its file and the remedy."""
    (tmp_path / "tokenizers").mkdir()
    other = tmp_path / "tokenizers" / "__init__.py"
    other.write_text("__version__ = '0.23.3'", encoding="utf-8")
    done = run_python("import sys; sys.path.insert(0, sys.argv[1]); import minibert", tmp_path)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: ") and str(other) in message and "-m venv" in message


def test_console_script_names_a_function():
    """The entry point exists."""
    name, _, target = METADATA["options.entry_points"]["console_scripts"].strip().partition(" = ")
    assert (name, target) == ("minibert", "minibert.cli:main")
    assert run_python("from minibert.cli import main; assert callable(main)").returncode == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_every_target():
    """`make` alone prints each target with what it does."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    done = subprocess.run(["make", "-s", "-C", ROOT, "--no-print-directory"], capture_output=True, encoding="utf-8")
    described = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert sorted(described) == sorted(targets) and all(described.values())
    assert {"help", "demo", "test", "peers", "test-peers", "bench", "lint"} <= set(targets)


def test_sources_run_on_the_oldest_python():
    """Every file compiles as the oldest Python that setup.cfg promises would read it."""
    import ast

    oldest = tuple(map(int, METADATA["options"]["python_requires"].removeprefix(">=").split(".")))
    assert oldest <= sys.version_info[:2]
    for top in ("ann", "benchmarks", "minibert", "tests", "tokenizers"):
        for file in (ROOT / top).rglob("*.py"):
            ast.parse(file.read_text(encoding="utf-8"), str(file), feature_version=oldest)


@pytest.mark.parametrize("page", ["README.md", "docs/reading-order.md", "docs/notation.md", "docs/decisions.md"])
def test_docs_name_files_that_exist(page):
    """Every path that a page names is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:md|cfg))`", text)
    tops = {path.name for path in ROOT.iterdir()}
    assert [path for path in paths if path.split("/")[0] in tops and not (ROOT / path).exists()] == []


def test_reading_order_names_every_directory_of_the_packages():
    """No room of the house is left out."""
    text = (ROOT / "docs" / "reading-order.md").read_text(encoding="utf-8")
    assert all(f"`{name.replace('.', '/')}/" in text for name in METADATA["options"]["packages"].split())
