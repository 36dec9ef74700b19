"""How cost grows with n, ten and a hundred times as much: text, vectors, passages; ours and the libraries'.

python -m benchmarks growth [--largest 100000]

Every cost is given for each character, row, passage or question: where it stays the same, the whole grows with n. One
text is encoded by MiniLM's WordPiece; HNSW (M 16, ef_construction 200, ef 64) is built and searched over rows of the
mixture; BM25 over passages of random words, as often as Zipf's law has it.
"""

import argparse
from typing import NamedTuple

import numpy as np

import ann
import tokenizers
from benchmarks.ann import BASE, PEERS, ROOM, K, Ours, Theirs, tie_aware_recall
from benchmarks.harness import Chart, Result, Row, in_turn, require_at_least, require_close, require_equal
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from benchmarks.tokenizer_limits import first_time
from benchmarks.vectors import mixture
from minibert.retrieval.bm25 import BM25

EF, QUERIES = 64, 1000
WORDS, PASSAGE, QUESTIONS = 50_000, 40, 200  # words of the vocabulary, words a passage


class Point(NamedTuple):
    """Seconds of each system at one n, spent on `count` things."""

    task: str
    each: str
    n: int
    count: int
    seconds: dict[str, list[float]]


def sizes(largest):
    """A hundredth, a tenth, all."""
    return [largest // 100, largest // 10, largest]


def texts(largest, rounds):
    """One text of so many characters: its length is what grows."""
    text = " ".join(stdlib_docstrings())
    text *= 1 + largest // len(text)
    with Peer("hf_tokenizers") as peer:
        path = f"{peer.call('minilm_folder')}/tokenizer.json"
        tokenizer = tokenizers.load(path)
        for n in sizes(largest):
            part = [text[:n]]
            theirs = peer.call("encode_ids", path=path, texts=part)["ids"]
            require_equal(f"ids of {n:,} characters", tokenizer.encode_batch(part).ids, theirs)
            peer.call("keep", name="text", texts=part)
            calls = {
                "ours": first_time(tokenizer, part[0]),
                "tokenizers": peer.timed("encode_kept", path=path, name="text"),
            }
            yield Point("WordPiece, one text", "character", n, n, in_turn(calls, rounds, 1))


def vectors(largest, rounds):
    """HNSW over so many rows."""
    queries = mixture(QUERIES, 128, 1)
    for n in sizes(largest):
        rows = mixture(n, 128, 0)
        systems = {
            "ours, float32": Ours(None, rows, queries),
            "ours, int8": Ours("int8", rows, queries),
            BASE: Theirs(PEERS[BASE], rows, queries),
        }
        build = in_turn({name: system.build for name, system in systems.items()}, 1 if n == largest else rounds)
        exact = ann.Exact(rows.shape[1], "l2")
        exact.add(rows)
        truth = exact.search(queries, K)[1]
        found = [np.square(queries[:, None] - rows[system.ids(EF)]).sum(axis=2) for system in systems.values()]
        recalls = [tie_aware_recall(distances, truth) for distances in found]
        require_at_least(f"recall@10 of {n:,} rows", recalls[0], recalls[2], ROOM)
        search = in_turn({name: lambda s=system: s.search(EF) for name, system in systems.items()}, rounds, 1)
        yield Point("HNSW, build", "row", n, n, build)
        yield Point(f"HNSW, search at ef {EF}", "query", n, QUERIES, search)
        systems[BASE].close()


def passages(largest, rounds):
    """BM25 over so many passages."""
    rng, chances = np.random.default_rng(0), 1 / np.arange(1, WORDS + 1)
    drawn = rng.choice(WORDS, (largest, PASSAGE), p=chances / chances.sum())
    found = [" ".join(f"w{word}" for word in row) for row in drawn]
    asked = [" ".join(f"w{word}" for word in rng.choice(row, 6, replace=False)) for row in drawn[:QUESTIONS]]
    with Peer("bm25s_index") as peer:
        peer.call("keep", name="questions", texts=asked)
        for n in sizes(largest):
            index = BM25()

            def build(index=index, part=found[:n]):
                index.remove(index.ids)
                index.add(part)
                index.search(asked[:1])  # the first search weighs the postings

            peer.call("keep", name="texts", texts=found[:n])
            theirs = peer.timed("build", name="index", texts="texts", k1=index.k1, b=index.b)
            built = in_turn({"ours": build, "bm25s": theirs}, 1, 1)
            scores = peer.call("search", name="index", queries="questions", k=K)[1]
            require_close(f"scores of {n:,} passages", index.search(asked, K)[1], scores, rtol=1e-5)
            calls = {
                "ours": lambda index=index: index.search(asked, K) is None,
                "bm25s": peer.timed("search", name="index", queries="questions", k=K),
            }
            yield Point("BM25, index", "passage", n, n, built)
            yield Point("BM25, search", "question", n, QUESTIONS, in_turn(calls, rounds, 1))


def rows_of(point):
    """Microseconds for each: each of ours beside the library."""
    each = {name: [1e6 * s / point.count for s in seconds] for name, seconds in point.seconds.items()}
    (library,) = (name for name in each if not name.startswith("ours"))
    for name in each:
        if name != library:
            task = point.task + name.removeprefix("ours")
            yield Row(task, "µs each", each[name], each[library], library, f"{point.n:,}")


def charts(points):
    """A chart of each task: microseconds for each, by n."""
    for task in dict.fromkeys(point.task for point in points):
        of_task = [point for point in points if point.task == task]
        n = [point.n for point in of_task]
        lines = {
            name: (n, [float(1e6 * np.median(point.seconds[name]) / point.count) for point in of_task])
            for name in of_task[0].seconds
        }
        things = {"character": "characters", "passage": "passages", "question": "passages"}.get(of_task[0].each, "rows")
        yield Chart(task, things, f"µs a {of_task[0].each}", lines, log_x=True)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=100_000, help="rows and passages; ten times as many characters")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    n, rounds = args.largest, args.rounds
    points = [*texts(10 * n, rounds), *vectors(n, rounds), *passages(n, rounds)]
    return [
        Result(
            f"growth: to {args.largest:,}",
            "Costs for each character, row, query, passage or question, at a hundredth of the largest n, a tenth, and "
            "all of it: the column data. HNSW is over the mixture, 128 numbers a row.",
            f"Ids and BM25's scores are the same; recall@10 at ef {EF} is not below hnswlib's less {ROOM}.",
            [row for point in points for row in rows_of(point)],
            list(charts(points)),
        )
    ]
