"""Hypothesis profiles, and a kernel cache that follows the sources.

Numba compiles a kernel anew when its own file changes, but not when a kernel that it calls, in another file, does: a
test could pass on old code. Here the cache folder is named after the text of all files that import `_jit`, and after
bounds checks, which Numba's cache does not notice either; and after Numba's version, as each throws the others' away.
"""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def kernel_digest(root=ROOT):
    """A name for the present text of every file of a tree that holds kernels."""
    files = sorted(path for package in ("ann", "minibert", "tokenizers") for path in (root / package).rglob("*.py"))
    sources = [source for source in (path.read_bytes() for path in files) if b"_jit" in source]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]


def kernel_cache(root=ROOT):
    """Where the compiled kernels of a tree are."""
    return root / ".numba" / f"{kernel_digest(root)}-{version('numba')}{checked}"


checked = "-boundscheck" if os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0") else ""
os.environ["NUMBA_CACHE_DIR"] = str(kernel_cache())  # before Numba is imported

EXAMPLES = {"quick": 10, "dev": 50, "ci": 500}  # quick: for interpreted and bounds-checked kernels
profile = os.environ.get("HYPOTHESIS_PROFILE", "dev")
repeatable = "CI" in os.environ  # the same examples in every run; a developer's are others each time
settings.register_profile(profile, max_examples=EXAMPLES[profile], deadline=None, derandomize=repeatable)
settings.load_profile(profile)
