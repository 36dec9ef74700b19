"""The machine below: which BLAS kernel and how many threads. Nothing here imports NumPy before the choice is made.

NumPy's OpenBLAS picks its matrix kernels when it is loaded. 0.3.31 does not know AMD's Zen 5 and falls back to the AVX2
kernels ("Haswell") there: 125 GFLOP/s a core in float32 where the AVX-512 ones ("SkylakeX") reach 240. On Zen 4, whose
registers take 512 bits in two halves, the two are equal (105). On Intel, OpenBLAS's own choice is right and stays.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from functools import lru_cache
from pathlib import Path

AVX512_OF_SKYLAKEX = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
AVX2_CORES = {"Haswell", "Zen"}

numpy_came_first = "numpy" in sys.modules


def cpu() -> tuple[str, str, set[str]]:
    """(vendor, model name, flags) of the first CPU; empty strings and set where /proc/cpuinfo is not to be had."""
    facts: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "", platform.processor(), set()
    for line in text.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    return facts.get("vendor_id", ""), facts.get("model name", ""), set(facts.get("flags", "").split())


def wants_avx512_kernels() -> bool:
    """Whether OpenBLAS has to be told that this CPU runs its AVX-512 kernels."""
    vendor, _, flags = cpu()
    return vendor == "AuthenticAMD" and AVX512_OF_SKYLAKEX <= flags


def choose_blas_kernel() -> None:
    """Set OPENBLAS_CORETYPE=SkylakeX for NumPy's coming load, unless the user has set it or NumPy came first."""
    if not numpy_came_first and "OPENBLAS_CORETYPE" not in os.environ and wants_avx512_kernels():
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


def openblas() -> tuple[str, int] | None:
    """(core name, threads) of the OpenBLAS that NumPy loaded, or None where NumPy carries another BLAS."""
    core, threads = _openblas("get_corename"), _openblas("get_num_threads")
    if core is None or threads is None:
        return None
    core.restype = ctypes.c_char_p
    return core().decode(), int(threads())


class OneBlasThread:
    """`with one_blas_thread:` products run on the thread that calls them, so that threads of our own share the cores.

    The setting is the process's: blocks that overlap in time share one change. Where NumPy has another BLAS nothing is
    changed.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 1

    @property
    def threads(self) -> int:
        """BLAS threads outside such blocks."""
        with self._lock:
            return self._before if self._inside else self._now()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = self._now()
                self._set(1)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(self._before)

    @staticmethod
    def _now() -> int:
        found = openblas()
        return 1 if found is None else found[1]

    @staticmethod
    def _set(threads: int) -> None:
        if setter := _openblas("set_num_threads"):
            setter(threads)


one_blas_thread = OneBlasThread()


@lru_cache
def _openblas(function: str):
    """A function of NumPy's OpenBLAS by the last part of its name, or None."""
    import numpy

    for library in sorted((Path(numpy.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas*")):
        handle = ctypes.CDLL(str(library))
        for suffix in ("64_", ""):
            if found := getattr(handle, f"scipy_openblas_{function}{suffix}", None):
                return found
    return None


def info() -> dict[str, str]:
    """What `minibert info` prints: versions, CPU, BLAS kernel and threads, and what is lost where NumPy came first."""
    from importlib.metadata import version

    import minibert

    facts = {"minibert": minibert.__version__, "python": platform.python_version()}
    for package in ("numpy", "numba", "regex", "safetensors", "tqdm"):
        facts[package] = version(package)
    _, model, flags = cpu()
    avx512 = "yes" if flags >= AVX512_OF_SKYLAKEX else "no"
    facts["cpu"] = f"{model or 'unknown'}, {os.cpu_count()} cores, AVX-512: {avx512}"
    blas = openblas()
    if blas is None:
        return facts | {"blas": "not OpenBLAS: its kernel is not known here"}
    core, threads = blas
    facts |= {"blas kernel": core, "blas threads": str(threads)}
    if core in AVX2_CORES and wants_avx512_kernels():
        cause = "NumPy was imported before minibert" if numpy_came_first else "OPENBLAS_CORETYPE says so"
        facts["blas lost"] = (
            f"AVX2 kernels on an AVX-512 CPU, because {cause}: up to half the speed of float32 products; "
            "import minibert first, or set OPENBLAS_CORETYPE=SkylakeX"
        )
    return facts
