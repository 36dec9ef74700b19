"""Training tokenizers against Hugging Face's library and sentencepiece: time, peak memory, and how good the model is.

Every run, ours and theirs, is a process of its own with one thread, which reads its lines from a file; memory is the
whole process's peak, time that of training alone, after a first training of a few words (compiled code is on disk).

python -m benchmarks tokenizer_training [FILE …]: UTF-8 text; by default the standard library's docstrings and sources.
Every tenth line is held out to judge SentencePiece's models on: tokens a word, log probability a word of the best cut.
"""

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.harness import machine, table
from benchmarks.peers import Peer

LONGEST = 1000  # characters; sentencepiece leaves lines of more than 4192 bytes out
OURS = """
import json, resource, sys, time, tokenizers
kind, path, size, out, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], json.loads(sys.argv[5])
train, strip = getattr(tokenizers, kind).train, kind == "SentencePiece"
train(["a few words, a few more words"] * 9, 300, **options, **({"hard_vocab_limit": False} if strip else {}))
start = time.perf_counter()
lines = tokenizers.read_files([path])
trained = train((line.rstrip("\\n") for line in lines) if strip else lines, size, **options)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
trained.save(out)
print(json.dumps([seconds, peak]))
"""
CASES = {  # name: (class, options, the peer's function, size)
    "BPE": ("BPE", {}, "bpe", 32_000),
    "WordPiece": ("WordPiece", {}, "wordpiece", 32_000),
    "Unigram": ("SentencePiece", {"model": "unigram"}, "unigram", 8000),
    "SentencePiece BPE": ("SentencePiece", {"model": "bpe"}, "sentencepiece_bpe", 8000),
}


def stdlib_lines(limit):
    """Lines of the running interpreter's own sources, file after file, up to `limit` bytes; each at most LONGEST."""
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        for line in path.read_text("utf-8", "replace").split("\n") if "site-packages" not in path.parts else ():
            if line.strip() and len(line) < LONGEST:
                size += len(line.encode("utf-8", "replace")) + 1
                yield line
        if size > limit:
            return


def file_lines(paths):
    for path in paths:
        yield from (line for line in Path(path).read_text("utf-8").split("\n") if line.strip() and len(line) < LONGEST)


def train_ours(name, path, out):
    kind, options, _, size = CASES[name]
    argv = [sys.executable, "-c", OURS, kind, path, str(size), out, json.dumps(options)]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, encoding="utf-8").stdout)


def train_theirs(name, path, out):
    *_, function, size = CASES[name]
    with Peer("trainers") as peer:
        vocab = peer.call(function, path=path, vocab_size=size, out=out)
        return peer.last_seconds, peer.call("peak"), vocab


def judged(peer, path, held_out):
    """(tokens a word, log probability a word of the best cut) of a .model file, read by the library."""
    ids, scores = peer.call("encode", path=path, texts=held_out)["ids"].tolist(), peer.call("scores", path=path)
    words = sum(len(line.split()) for line in held_out)
    return len(ids) / words, sum(scores[i] for i in ids) / words


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokenizer_training", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--megabytes", type=float, default=20, help="of the standard library, where no file is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CASES, help="one trainer")
    options = parser.parse_args(argv)
    lines = list(file_lines(options.files) if options.files else stdlib_lines(options.megabytes * 1e6))
    held_out, rows = lines[::10][:5000], []
    with tempfile.TemporaryDirectory() as folder, Peer("sentencepiece_models") as judge:
        path = f"{folder}/corpus.txt"
        kept = [line for i, line in enumerate(lines) if i % 10]
        Path(path).write_text("\n".join(kept), encoding="utf-8", errors="replace", newline="\n")
        megabytes = Path(path).stat().st_size / 1e6
        for name in [options.only] if options.only else CASES:
            pieces = CASES[name][0] == "SentencePiece"
            out, theirs_out = f"{folder}/{name}{'.model' if pieces else '.json'}", f"{folder}/{name}, theirs.model"
            runs = [(train_ours(name, path, out), train_theirs(name, path, theirs_out)) for _ in range(options.rounds)]
            ours, theirs = (statistics.median(run[side][0] for run in runs) for side in (0, 1))
            memory = [max(run[side][1] for run in runs) for side in (0, 1)]
            notes = same(name, out, runs[0][1][2])
            if pieces:
                notes = [" / ".join(f"{value:.4f}" for value in judged(judge, p, held_out)) for p in (out, theirs_out)]
            rows.append([f"{name} {CASES[name][3]:,}", ours, theirs, theirs / ours, *memory, *notes])
    print(f"{len(kept):,} lines, {megabytes:.1f} MB; {options.rounds} rounds, one thread; {machine()}\n")
    header = ["trainer", "ours s", "theirs s", "ratio", "ours MB", "theirs MB", "ours: tokens, log p a word", "theirs"]
    print(table(header, rows))
    return 0


def same(name, path, theirs):
    """What to say of the two vocabularies, where the library's trainer is deterministic."""
    if name != "BPE":
        return "", ""
    model = json.loads(Path(path).read_text("utf-8"))["model"]
    if sorted(model["vocab"], key=model["vocab"].get) != theirs:
        raise SystemExit("BPE: another vocabulary than the library's, nothing to time")
    return "the same", "vocabulary"
