"""What several test files need."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


class HashEncoder:
    """An encoder that needs no training: a text's vector is the sum of its words' fixed random vectors, normalised."""

    metric = "cosine"

    def __init__(self, dim=24, seed=0):
        self.dim, self.seed = dim, seed
        self.fingerprint = f"hash-{dim}-{seed}"

    def encode_query(self, texts, progress=False, on_truncate="warn"):
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split() or [""]:
                rng = np.random.default_rng([self.seed, zlib.crc32(word.encode("utf-8", "surrogatepass"))])
                row += rng.standard_normal(self.dim, np.float32)
            row /= np.sqrt(row @ row)
        return vectors

    encode_document = encode_query


def run_python(code, *argv, cwd=None, timeout=120, **environment):
    """Run code in a new interpreter that sees the packages and tests of this checkout; the finished process."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", **environment}
    command = [sys.executable, "-c", code, *map(str, argv)]
    return subprocess.run(command, cwd=cwd, env=env, timeout=timeout, capture_output=True, encoding="utf-8")
