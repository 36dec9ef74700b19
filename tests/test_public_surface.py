"""What users see: every public name explains itself and has hints, and the examples in docstrings are true."""

import ast
import doctest
import importlib
import inspect
import pkgutil

import pytest
from numba.core.dispatcher import Dispatcher

PACKAGES = ("ann", "minibert", "tokenizers")
LAZY = ("ann", "minibert", "minibert.retrieval", "tokenizers")  # import their names when these are first used


def modules():
    """All modules of the three packages, but for the scripts that make tables."""
    for package in map(importlib.import_module, PACKAGES):
        yield package
        for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".make_" not in name:
                yield importlib.import_module(name)


def public(owner):
    """{name: value} of what a module or a class defines and does not mark as its own affair."""
    own = owner.__name__ if inspect.ismodule(owner) else owner.__module__
    found = {name: value for name, value in vars(owner).items() if not name.startswith("_")}
    if inspect.isclass(owner):
        return found
    return {
        name: value
        for name, value in found.items()
        if value.__class__ is not type(ast) and getattr(value, "__module__", None) == own
    }


def public_functions(module):
    """(name, function, class or None) of a module's public functions, methods and properties."""
    for name, value in public(module).items():
        if inspect.isclass(value):
            yield f"{name}.__init__", value.__init__, value
            for member, function in public(value).items():
                for attribute in ("__func__", "fget", "func"):  # of a class method, a property, a cached property
                    function = getattr(function, attribute, function)
                if inspect.isfunction(function) and not isinstance(function, Dispatcher):
                    yield f"{name}.{member}", function, value
        elif inspect.isfunction(value):
            yield name, value, None


def without_hints(name, function):
    """The parameters of a function that lack a hint, and "return" where its result does."""
    signature = inspect.signature(function)
    missing = [
        p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty and not name.endswith("__init__"):
        missing.append("return")
    return missing


def test_every_public_name_has_a_docstring():
    """Modules, functions, kernels, classes and their methods; a method that overrides another inherits its own."""
    bare = []
    for module in modules():
        documented = {module.__name__: module.__doc__}
        for name, value in public(module).items():
            if inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, Dispatcher):
                documented[f"{module.__name__}.{name}"] = value.__doc__
        for name, _, owner in public_functions(module):
            if owner is not None and not name.endswith("__init__"):
                documented[f"{module.__name__}.{name}"] = inspect.getdoc(getattr(owner, name.rpartition(".")[2]))
        bare += [name for name, text in documented.items() if not text]
    assert not bare


def test_every_public_function_has_hints():
    """Of all parameters and of the result; not kernels, whose types Numba finds, nor the command line's functions."""
    bare = {}
    for module in modules():
        if module.__name__.rpartition(".")[2].startswith(("_jit", "cli", "demo")):
            continue
        for name, function, _ in public_functions(module):
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                if missing := without_hints(name, function):
                    bare[f"{module.__name__}.{name}"] = missing
    assert not bare


@pytest.mark.parametrize("name", LAZY)
def test_lazy_names_are_those_that_type_checkers_see(name):
    """What the block under TYPE_CHECKING exports is what first use imports, from the same place."""
    package = importlib.import_module(name)
    tree = ast.parse(inspect.getsource(package))
    block = next(node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    seen = {}
    for statement in block.body:
        home = importlib.import_module("." * statement.level + statement.module, name)
        for alias in statement.names:
            assert alias.asname == alias.name  # `X as X`
            seen[alias.name] = getattr(home, alias.name)
    homes = vars(package).get("_HOME") or vars(package)["_HOMES"]
    assert {export: getattr(package, export) for export in homes} == seen


def test_examples_in_docstrings():
    """They give what they say."""
    runner, finder, failed = (
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE),
        doctest.DocTestFinder(),
        [],
    )
    for module in modules():
        for example in finder.find(module):
            if example.examples and runner.run(example).failed:
                failed.append(example.name)
    assert not failed and runner.tries >= 40
