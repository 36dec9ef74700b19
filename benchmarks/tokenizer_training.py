"""Training tokenizers against Hugging Face's library and sentencepiece: time, peak memory, and how good the model is.

Every run, ours and theirs, is a process of its own with one thread, which reads its lines from a file; memory is the
whole process's peak, time that of training alone, after a first training of a few words (compiled code is on disk).

python -m benchmarks tokenizer_training [FILE …]: UTF-8 text; by default the standard library's docstrings and sources.
Every tenth line is held out to judge SentencePiece's models on: tokens and nats a word of the best cut.
"""

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.harness import DifferentOutputs, Result, Row, require_at_least
from benchmarks.peers import Peer

SLACK = 0.02
LONGEST = 1000  # characters; sentencepiece leaves lines of more than 4192 bytes out
OURS = """
import json, sys, time, tokenizers
from benchmarks.peers.worker import peak_mb
kind, path, size, out, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], json.loads(sys.argv[5])
train, strip = getattr(tokenizers, kind).train, kind == "SentencePiece"
train(["a few words, a few more words"] * 9, 300, **options, **({"hard_vocab_limit": False} if strip else {}))
start = time.perf_counter()
lines = tokenizers.read_files([path])
trained = train((line.rstrip("\\n") for line in lines) if strip else lines, size, **options)
seconds = time.perf_counter() - start
peak = peak_mb()
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
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)


def train_theirs(name, path, out):
    *_, function, size = CASES[name]
    with Peer("trainers") as peer:
        vocab = peer.call(function, path=path, vocab_size=size, out=out)
        return peer.last_seconds, peer.call("peak_mb"), vocab


def judged(peer, path, held_out):
    """(tokens a word, -log probability a word of the best cut) of a .model file, read by the library."""
    ids, scores = peer.call("encode", path=path, texts=held_out)["ids"].tolist(), peer.call("scores", path=path)
    words = sum(len(line.split()) for line in held_out)
    return len(ids) / words, -sum(scores[i] for i in ids) / words


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
            rows += train_rows(name, path, folder, judge, held_out, options.rounds)
    return [
        Result(
            f"tokenizer_training: {megabytes:.0f} MB",
            f"{len(kept):,} lines, {megabytes:.1f} MB; BPE and WordPiece of 32,000 tokens, the others of 8,000; every "
            "run a process of its own, memory its whole peak. Judged by 5,000 lines held out, less is better.",
            "BPE's vocabularies are the same; SentencePiece's models need at most "
            f"{100 * SLACK:.0f} % more tokens and nats than the library's; WordPiece's are not compared.",
            rows,
        )
    ]


def train_rows(name, path, folder, judge, held_out, rounds):
    """Time and peak memory of both sides, and for SentencePiece's models how good they are."""
    kind, _, function, size = CASES[name]
    outs = [f"{folder}/{side}.{'model' if kind == 'SentencePiece' else 'json'}" for side in ("ours", "theirs")]
    runs = [(train_ours(name, path, outs[0]), train_theirs(name, path, outs[1])) for _ in range(rounds)]
    against = f"{'sentencepiece' if kind == 'SentencePiece' else 'tokenizers'}: training"
    for column, (unit, task) in enumerate((("s", f"train {name}"), ("MB", f"train {name}"))):
        yield Row(task, unit, *([run[side][column] for run in runs] for side in (0, 1)), against=against)
    if kind == "SentencePiece":
        ours, theirs = (judged(judge, out, held_out) for out in outs)
        judge.call("forget")
        measures = ["tokens a word", "nats a word"][: 2 if name == "Unigram" else 1]  # BPE's scores are ranks
        for unit, value, wanted in zip(measures, ours, theirs, strict=False):
            require_at_least(f"{name}, {unit} less", -value, -wanted, SLACK * wanted)
            yield Row(f"{name}, judged", unit, [value], [wanted], against=against)
    else:
        same(name, outs[0], runs[0][1][2])


def same(name, path, theirs):
    """End the benchmark where the library's trainer is deterministic and ours learned another vocabulary."""
    vocab = json.loads(Path(path).read_text("utf-8"))["model"]["vocab"]
    if name == "BPE" and sorted(vocab, key=vocab.get) != theirs:
        raise DifferentOutputs("BPE: another vocabulary than the library's, nothing to time")
