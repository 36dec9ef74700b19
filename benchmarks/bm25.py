"""BM25 against bm25s: building the index from texts, and questions answered, words found included. One thread.

python -m benchmarks bm25 [FILE …]: text files, cut into passages of 80 words; by default the docstrings of the standard
library. Equal scores are checked by `make test-peers`, with the same words on both sides; here each finds its own.
"""

import argparse
import itertools
import random
from pathlib import Path

from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer
from minibert.retrieval.bm25 import BM25
from minibert.stdlib_corpus import docstrings

WORDS_A_PASSAGE, WORDS_A_QUESTION = 80, 8


def passages(paths, limit):
    """Passages of files, or of all docstrings on top of each other."""
    texts = (Path(path).read_text("utf-8") for path in paths) if paths else (doc.text for doc in docstrings())
    words = itertools.chain.from_iterable(text.split() for text in texts)
    cut = (" ".join(part) for part in iter(lambda: list(itertools.islice(words, WORDS_A_PASSAGE)), []))
    return list(itertools.islice(cut, limit))


def questions(texts, count, seed=0):
    """Questions of neighbouring words out of random passages."""
    rng, asked = random.Random(seed), []
    for text in rng.choices(texts, k=count):
        words = text.split()
        start = rng.randrange(max(1, len(words) - WORDS_A_QUESTION))
        asked.append(" ".join(words[start : start + WORDS_A_QUESTION]))
    return asked


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks bm25", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--limit", type=int, default=100_000, help="passages at most")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    texts = passages(options.files, options.limit)
    asked, index, rows = questions(texts, options.questions), BM25(), []

    def build():
        index.remove(index.ids)
        index.add(texts)
        index.search(asked[:1])  # the first search weighs the postings

    with Peer("bm25s_index") as peer:
        version = peer.call("version")
        peer.call("keep", name="texts", texts=texts)
        peer.call("keep", name="questions", texts=asked)
        theirs = peer.timed("build", name="index", texts="texts", k1=index.k1, b=index.b)
        built = compare(build, theirs, min(3, options.rounds))
        rows.append(["passages indexed/s", len(texts) / built.ours, len(texts) / built.theirs, built.ratio])
        for k in (10, 100):
            theirs = peer.timed("search", name="index", queries="questions", k=k)
            answered = compare(lambda k=k: index.search(asked, k) and None, theirs, options.rounds)
            speeds = len(asked) / answered.ours, len(asked) / answered.theirs
            rows.append([f"questions/s, k = {k}", *speeds, answered.ratio])
    print(f"{len(texts):,} passages; {machine()}; bm25s {version}\n")
    print(table(["task", "ours", "bm25s", "ratio"], rows))
    return 0
