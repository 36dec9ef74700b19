"""What the tokenizers keep within: time to load, two threads for one, time linear in length."""

import statistics
import subprocess
import sys
import time

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


def seconds(run, rounds=3):
    """Median of a few runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def load_seconds(path, rounds=5):
    """(Numba's own start, opening a file and encoding a first text), in new processes, after the imports.

    Compiled code is on the disk.
    """
    run = [sys.executable, "-c", LOAD, path]
    outputs = [subprocess.run(run, capture_output=True, text=True, check=True).stdout for _ in range(rounds + 1)]
    return [statistics.median(map(float, column)) for column in zip(*map(str.split, outputs[1:]), strict=True)]


def limit_rows(models, texts):
    """Table rows of {name: (tokenizer, its file, a timed load by the library)}."""
    ordinary = "\n".join(texts).encode()[:MEGABYTE].decode("utf-8", "ignore")
    many = texts * max(1, 8 * MEGABYTE // sum(map(len, texts)))
    for name, (tokenizer, path, theirs) in models.items():
        theirs()
        start, load = load_seconds(path)
        measured = f"{load:.3f} s, and {start:.3f} s of Numba's; the library {theirs():.3f} s"
        yield [name, "load, and a first text", measured, "≤ 0.15 s"]
        for threads in (1, 2):
            tokenizer.encode_batch(many, threads=threads)
        one, two = (seconds(lambda n=n, t=tokenizer: t.encode_batch(many, threads=n).ids) for n in (1, 2))
        yield [name, "two threads over one", f"{one / two:.2f} ×", "≥ 1.8 ×"]
        tokenizer.encode_batch([ordinary])
        usual = seconds(lambda t=tokenizer: t.encode_batch([ordinary]).ids)
        for what, unit in HARD.items():
            text = unit * (MEGABYTE // len(unit.encode()))
            hard = seconds(lambda t=tokenizer, text=text: t.encode_batch([text]).ids)
            yield [name, f"1 MB: {what}", f"{hard / usual:.2f} × ordinary text", "≤ 3 ×"]
