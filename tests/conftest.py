"""Hypothesis profiles, and a kernel cache that follows the sources.

Numba compiles a kernel anew when its own file changes, but not when a kernel that it calls, in another file, does: a
test could pass on old code. Here the cache folder is named after the text of all files that import `_jit`, and after
bounds checks, which Numba's cache does not notice either.
"""

import hashlib
import os
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def kernel_digest():
    """A name for the present text of every file that holds kernels."""
    files = sorted(path for package in ("ann", "minibert", "tokenizers") for path in (ROOT / package).rglob("*.py"))
    sources = [source for source in (path.read_bytes() for path in files) if b"_jit" in source]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]


checked = "-boundscheck" if os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0") else ""
os.environ["NUMBA_CACHE_DIR"] = str(ROOT / ".numba" / f"{kernel_digest()}{checked}")  # before Numba is imported

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=500, deadline=None)
settings.register_profile("quick", max_examples=10, deadline=None)  # for interpreted and bounds-checked kernels
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
