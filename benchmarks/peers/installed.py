"""What is installed in the peers' interpreter."""

from importlib.metadata import version


def versions(names):
    """{name: version}."""
    return {name: version(name) for name in names}
