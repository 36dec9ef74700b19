"""What the tokenizers keep within: time to load, time linear in length whatever the text is."""

import subprocess
import sys
import time

from benchmarks.harness import Row, in_turn

MEGABYTE = 1_000_000
LOAD = """
import sys, time
import tokenizers.bpe_kernel, tokenizers.files, tokenizers.tokenizer, tokenizers.utf8, tokenizers.wordpiece_kernel
times = [time.perf_counter()]
tokenizers.utf8.character(tokenizers.utf8.byte_array([b"a"])[0], 0)  # the first kernel of a process starts Numba
times.append(time.perf_counter())
tokenizers.load(sys.argv[1]).encode("a b")
print(times[1] - times[0], time.perf_counter() - times[1])
"""
HARD = {
    "one letter": "a",
    "spaces": " ",
    "one run of ideographs": "\u4e2d\u6587\u5b57\u7b26",
    "one run of kana": "\u304b\u306a\u306e\u6587",
    "combining marks": "\u0301\u0323",
}


def load_seconds(path, rounds=5):
    """[Numba's own start, opening a file and encoding a first text]: seconds of each round, in processes of their own.

    Imports are not counted; compiled code is on the disk.
    """
    run = [sys.executable, "-c", LOAD, path]
    outputs = [subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(rounds + 1)]
    return [list(map(float, column)) for column in zip(*map(str.split, outputs[1:]), strict=True)]


def limit_rows(models, texts, rounds=5):
    """Rows of {name: (tokenizer, its file, a timed load by the library)}; texts are met for the first time."""
    ordinary = "\n".join(texts).encode()[:MEGABYTE].decode("utf-8", "ignore")
    kinds = {"ordinary text": ordinary} | {name: unit * (MEGABYTE // len(unit.encode())) for name, unit in HARD.items()}
    for name, (tokenizer, path, theirs) in models.items():
        start, load = load_seconds(path, rounds)
        loads = [theirs() for _ in range(rounds)]
        yield Row(f"{name}: load, and a first text", "s", load, loads, against="tokenizers: from_file")
        yield Row(f"{name}: Numba's own start, once a process", "s", start)
        taken = in_turn({kind: first_time(tokenizer, text) for kind, text in kinds.items()}, rounds=3, warmup=1)
        for kind, seconds in taken.items():
            megabytes = len(kinds[kind].encode()) / MEGABYTE
            yield Row(f"{name}: one long text", "MB/s", [megabytes / s for s in seconds], data=kind)


def first_time(tokenizer, text):
    """A timed run with an empty cache."""

    def timed():
        tokenizer.forget()
        start = time.perf_counter()
        tokenizer.encode_batch([text])
        return time.perf_counter() - start

    return timed
