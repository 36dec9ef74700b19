"""What the tokenizers keep within: time to load, time linear in length whatever the text is."""

import subprocess
import sys

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
    outputs = [subprocess.run(run, capture_output=True, text=True, check=True).stdout for _ in range(rounds + 1)]
    return [list(map(float, column)) for column in zip(*map(str.split, outputs[1:]), strict=True)]


def limit_rows(models, texts, rounds=5):
    """Rows of {name: (tokenizer, its file, a timed load by the library)}."""
    ordinary = "\n".join(texts).encode()[:MEGABYTE].decode("utf-8", "ignore")
    for name, (tokenizer, path, theirs) in models.items():
        start, load = load_seconds(path, rounds)
        yield Row(f"{name}: Numba's own start, once a process", "s", start)
        yield Row(
            f"{name}: load, and a first text",
            "s",
            load,
            [theirs() for _ in range(rounds)],
            against="tokenizers: from_file",
        )
        texts = {"ordinary text": ordinary} | {
            what: unit * (MEGABYTE // len(unit.encode())) for what, unit in HARD.items()
        }
        taken = in_turn(
            {what: lambda t=tokenizer, text=text: t.encode_batch([text]).ids for what, text in texts.items()}, 3, 1
        )
        for what, seconds in taken.items():
            yield Row(f"{name}: one text of 1 MB", "MB/s", [1 / s for s in seconds], data=what)
