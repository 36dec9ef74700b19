"""BM25 against bm25s: building the index from texts, and questions answered, words found included.

python -m benchmarks bm25 [FILE …]: text files, cut into passages of 80 words; by default the docstrings of the standard
library. That the scores are equal is checked with the same words on both sides; timed, each finds its own.
"""

import argparse
import itertools
import random
from pathlib import Path

from benchmarks.harness import Result, Row, compare, require_close
from benchmarks.peers import Peer
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.words import words
from minibert.stdlib_corpus import docstrings

WORDS_A_PASSAGE, WORDS_A_QUESTION, CHECKED = 80, 8, 50


def passages(paths, limit):
    """Passages of files, or of all docstrings on top of each other."""
    texts = (Path(path).read_text("utf-8") for path in paths) if paths else (doc.text for doc in docstrings())
    parts = itertools.chain.from_iterable(text.split() for text in texts)
    cut = (" ".join(part) for part in iter(lambda: list(itertools.islice(parts, WORDS_A_PASSAGE)), []))
    return list(itertools.islice(cut, limit))


def questions(texts, count, seed=0):
    """Questions of neighbouring words out of random passages."""
    rng, asked = random.Random(seed), []
    for text in rng.choices(texts, k=count):
        parts = text.split()
        start = rng.randrange(max(1, len(parts) - WORDS_A_QUESTION))
        asked.append(" ".join(parts[start : start + WORDS_A_QUESTION]))
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
        build()
        settings = {"k1": index.k1, "b": index.b}
        peer.call("build_words", name="check", words=[words(text) for text in texts], **settings)
        theirs = peer.call("scores", name="check", queries=[words(question) for question in asked[:CHECKED]])
        require_close("scores", [index.scores(question) for question in asked[:CHECKED]], theirs, atol=1e-6, rtol=1e-5)
        peer.call("keep", name="texts", texts=texts)
        peer.call("keep", name="questions", texts=asked)
        theirs = peer.timed("build", name="index", texts="texts", **settings)
        built = compare(build, theirs, min(3, options.rounds))
        rows.append(Row.timed("indexing", "passages/s", built, len(texts), against="bm25s"))
        for k, threads in ((10, 1), (100, 1), (10, 2)):
            theirs = peer.timed("search", name="index", queries="questions", k=k, threads=threads)
            answered = compare(lambda k=k, t=threads: index.search(asked, k, threads=t) is None, theirs, options.rounds)
            names = {"against": "bm25s", "threads": threads}
            rows.append(Row.timed(f"questions, k = {k}", "questions/s", answered, len(asked), **names))
    return [
        Result(
            "bm25",
            f"{len(texts):,} passages of {WORDS_A_PASSAGE} words, {len(asked):,} questions of {WORDS_A_QUESTION}.",
            f"With the same words the scores of all passages for {CHECKED} questions agree to 1e-5.",
            rows,
        )
    ]
