"""WordPiece against Hugging Face's library: one thread, the same ids checked first, alternating medians.

python -m benchmarks tokenizers [FILE …]: text files, one document a paragraph; by default, the docstrings of the
standard library. Every second document fills the cache, the others are timed: text never seen, as in steady use.
"""

import argparse
import ast
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np

import tokenizers
from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer

MAX_LENGTH = 256


def stdlib_docstrings(limit=None):
    """Docstrings of the running interpreter's standard library, in the order of its files; `limit` characters or so."""
    texts, size = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # some files are broken on purpose, as test data
            continue
        found = (ast.get_docstring(node) for node in ast.walk(tree) if hasattr(node, "body") and _may_have(node))
        texts += [text for text in found if text]
        size = sum(map(len, texts)) if limit else 0
        if limit and size >= limit:
            break
    return texts


def _may_have(node):
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))


def read_documents(paths):
    """Paragraphs of UTF-8 files."""
    return [part for path in paths for part in Path(path).read_text("utf-8").split("\n\n") if part.strip()]


def same_ids(ours, theirs, what):
    if not np.array_equal(ours, theirs):
        raise SystemExit(f"{what}: different ids, nothing to time")


def encode_rows(name, tokenizer, peer, path, texts, rounds):
    """Table rows: ids only, ids with offsets, and padded arrays."""
    seen, unseen = texts[::2], texts[1::2]
    peer.call("load", path=path)
    same_ids(tokenizer.encode_batch(unseen).ids, peer.call("encode", path=path, texts=unseen)["ids"], name)
    peer.call("keep", name="unseen", texts=unseen)

    def fresh(run):
        def timed():
            tokenizer.forget()
            tokenizer.encode_batch(seen)
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

        return timed

    megabytes = sum(len(text.encode()) for text in unseen) / 1e6
    ids = fresh(lambda: tokenizer.encode_batch(unseen).ids)
    offsets = fresh(lambda: tokenizer.encode_batch(unseen).offsets)
    padded = fresh(lambda: tokenizer(unseen, max_length=MAX_LENGTH))
    cases = [
        ("ids (theirs: encode_batch_fast)", ids, "encode_kept", {}),
        ("ids and offsets (theirs: encode_batch)", offsets, "encode_kept_offsets", {}),
        (f"padded, cut at {MAX_LENGTH}, as NumPy arrays", padded, "encode_kept_padded", {"max_length": MAX_LENGTH}),
    ]
    for what, ours, function, more in cases:
        result = compare(ours, peer.timed(function, path=path, name="unseen", **more), rounds)
        yield [name, what, megabytes / result.ours, megabytes / result.theirs, result.ratio]


def training_row(peer, texts, rounds):
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    ours = compare(
        lambda: tokenizers.WordPiece.train(texts, vocab_size=8000) and None,
        peer.timed("train", texts=texts, vocab_size=8000),
        rounds,
    )
    return ["8,000 tokens", "training", megabytes / ours.ours, megabytes / ours.theirs, ours.ratio]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokenizers", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    texts = read_documents(options.files) if options.files else stdlib_docstrings()
    rows = []
    with Peer("hf_tokenizers") as peer, tempfile.TemporaryDirectory() as folder:
        minilm = peer.call("minilm_folder")
        rows += encode_rows("MiniLM", tokenizers.load(minilm), peer, f"{minilm}/tokenizer.json", texts, options.rounds)
        trained = tokenizers.WordPiece.train(texts[::2], vocab_size=8000)
        path = f"{folder}/tokenizer.json"
        trained.save(path)
        rows += encode_rows("8,000 tokens", trained, peer, path, texts, options.rounds)
        rows.append(training_row(peer, texts, min(3, options.rounds)))
        version = peer.call("version")
    print(f"{len(texts):,} documents, {sum(map(len, texts)):,} characters; {machine()}; tokenizers {version}\n")
    print(table(["vocabulary", "task", "ours MB/s", "theirs MB/s", "ratio"], rows))
    return 0
