"""The BLAS kernel is chosen before NumPy loads, never against the user, and `info` says what a late choice costs."""

import pytest

from helpers import run_python
from minibert import runtime

AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("vendor", "flags", "first", "environment", "expected"),
    [
        ("AuthenticAMD", AVX512, False, {}, "SkylakeX"),
        ("AuthenticAMD", AVX512 - {"avx512vl"}, False, {}, None),
        ("GenuineIntel", AVX512, False, {}, None),
        ("AuthenticAMD", AVX512, True, {}, None),
        ("AuthenticAMD", AVX512, False, {"OPENBLAS_CORETYPE": "Zen"}, "Zen"),
    ],
)
def test_runtime_chooses_avx512_only_where_it_helps(monkeypatch, vendor, flags, first, environment, expected):
    """AMD with all instructions, NumPy not loaded, nothing set by the user."""
    monkeypatch.setattr(runtime, "cpu", lambda: (vendor, "a cpu", flags))
    monkeypatch.setattr(runtime, "numpy_came_first", first)
    monkeypatch.setattr(runtime.os, "environ", dict(environment))
    runtime.choose_blas_kernel()
    assert runtime.os.environ.get("OPENBLAS_CORETYPE") == expected


def test_runtime_info_says_what_is_lost(monkeypatch):
    """AVX2 kernels on an AVX-512 CPU are reported with the cause and the remedy; AVX-512 kernels are not."""
    monkeypatch.setattr(runtime, "cpu", lambda: ("AuthenticAMD", "a cpu", AVX512))
    monkeypatch.setattr(runtime, "openblas", lambda: ("Haswell", 2))
    monkeypatch.setattr(runtime, "numpy_came_first", True)
    facts = runtime.info()
    assert facts["blas kernel"] == "Haswell" and facts["blas threads"] == "2"
    assert "NumPy was imported before minibert" in facts["blas lost"] and "SkylakeX" in facts["blas lost"]
    monkeypatch.setattr(runtime, "openblas", lambda: ("SkylakeX", 2))
    assert "blas lost" not in runtime.info()
    monkeypatch.setattr(runtime, "openblas", lambda: None)
    assert "not OpenBLAS" in runtime.info()["blas"]


def test_runtime_importing_minibert_loads_neither_numpy_nor_numba():
    """The choice comes first: nothing heavy is imported with the package."""
    done = run_python("import sys, minibert; print('numpy' in sys.modules, 'numba' in sys.modules)")
    assert done.stdout.strip() == "False False", done.stderr


def test_runtime_the_real_blas_follows_the_choice():
    """A user's OPENBLAS_CORETYPE reaches the library that NumPy loads."""
    code = "import minibert; from minibert import runtime; print(runtime.openblas() or 'other', sep='')"
    done = run_python(code, OPENBLAS_CORETYPE="Haswell", OPENBLAS_NUM_THREADS="1")
    assert done.stdout.strip() in ("('Haswell', 1)", "other"), done.stderr
