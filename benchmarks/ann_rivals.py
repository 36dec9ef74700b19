"""The other indexes of ann against the libraries they follow: FAISS, Annoy, NMSLIB. One thread, in alternation.

python -m benchmarks ann_rivals [--data mixture text sift mnist] [--rows 100000] [--only IVFPQ RPForest]
"""

import argparse
from dataclasses import dataclass, field, replace

import numpy as np

import ann
from benchmarks import vectors as data
from benchmarks.ann import at_level, tie_aware_recall
from benchmarks.harness import Chart, Result, Row, compare, require_close
from benchmarks.peers import Peer

LEVELS, K = (0.80, 0.90, 0.95), 10


@dataclass(frozen=True)
class Pair:
    """One of ours, one of theirs, and the settings to measure both at."""

    ours: str
    options: dict
    theirs: str
    library: str
    their_options: dict
    efforts: tuple = field(default=(4, 8, 16, 32, 64, 128))


def pairs(rows, dim):
    lists = round(4 * np.sqrt(rows))
    probing = {"factory": f"IVF{lists},Flat"}
    scanning = {"factory": f"IVF{lists},PQ{dim // 2}x4fs,RFlat", "refine": 4}
    trees, ef = (1000, 2000, 4000, 8000, 16000), (10, 20, 40, 80, 160)
    return [
        Pair("Exact", {}, "faiss-cpu: Flat", "faiss", {"factory": "Flat"}, (1,)),
        Pair("IVF", {"lists": lists}, "faiss-cpu: IVF", "faiss", probing),
        Pair("IVFPQ", {"lists": lists, "refine": 4}, "faiss-cpu: IVF-PQ fast scan", "faiss", scanning),
        Pair("RPForest", {"trees": 16}, "annoy", "annoy", {"trees": 16}, trees),
        Pair("NSW", {}, "nmslib: sw-graph", "nmslib", {"neighbors": 15, "ef_construction": 100}, ef),
    ]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks ann_rivals", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=("mixture", "text", "sift", "mnist"), default=["mixture"])
    parser.add_argument("--rows", type=int, default=100_000, help="of mixture and text")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--only", nargs="+", help="classes of ours")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    return [measure(name, *data.load(name, args.rows, args.queries), args) for name in args.data]


def measure(name, vectors, queries, args):
    """All pairs on one data set."""
    exact = ann.Exact(vectors.shape[1], "l2")
    exact.add(vectors)
    truth, rows, lines = exact.search(queries, K)[1], [], {}
    data_set = f"{name}, {len(vectors):,} × {vectors.shape[1]}"
    with Peer("ann_rivals") as peer:
        peer.call("keep", name="rows", vectors=vectors)
        peer.call("keep", name="queries", vectors=queries)
        for pair in pairs(*vectors.shape):
            if not args.only or pair.ours in args.only:
                found, curves = measure_pair(pair, vectors, queries, truth, peer, args.rounds)
                rows += [replace(row, data=data_set, against=pair.theirs) for row in found]
                lines |= curves
    return Result(
        f"ann_rivals: {data_set}",
        f"The other indexes, squared l2, k {K}, {len(queries):,} queries; speeds at a recall are interpolated.",
        "Exact search's distances equal FAISS's to 1e-5; the others are compared where they find as much.",
        rows,
        [Chart("recall and speed", "recall@10", "queries/s, one thread", lines)],
    )


def measure_pair(pair, vectors, queries, truth, peer, rounds):
    """Build both, measure both at every setting: rows, and the curve of each."""
    make, built = getattr(ann, pair.ours), []
    warm = make(vectors.shape[1], "l2", **{**pair.options, **({"lists": 4} if "lists" in pair.options else {})})
    warm.add(vectors[:600])
    warm.search(queries[:20])

    def build():
        built[:] = [make(vectors.shape[1], "l2", **pair.options)]
        built[0].add(vectors)

    theirs = {"name": pair.ours, "vectors": "rows", "library": pair.library, **pair.their_options}
    rows = [Row.timed(f"{pair.ours}: build", "s", compare(build, peer.timed("build", **theirs), rounds=1, warmup=0))]
    recalls, speeds = ([], []), ([], [])
    for effort in pair.efforts:
        own, ask = {warm.knob: effort}, {"name": pair.ours, "queries": "queries", "k": K, "effort": effort}
        found = built[0].search(queries, K, **own)[1], peer.call("search", **ask)
        if pair.ours == "Exact":
            require_close("exact distances", *found, atol=1e-5 * truth.max())
        time = compare(lambda own=own: built[0].search(queries, K, **own) is None, peer.timed("search", **ask), rounds)
        for side, taken in enumerate((time.ours_rounds, time.theirs_rounds)):
            recalls[side].append(tie_aware_recall(found[side], truth))
            speeds[side].append([len(queries) / s for s in taken])
    if len(pair.efforts) == 1:
        return [*rows, Row(f"{pair.ours}: search", "queries/s", speeds[0][0], speeds[1][0])], {}
    for level in LEVELS:
        at = [at_level(level, *side) for side in zip(recalls, speeds, strict=True)]
        if np.isfinite(at).all():
            rows.append(Row(f"{pair.ours}: search at recall {level:.2f}", "queries/s", *at))
    names = f"ours, {pair.ours}", pair.theirs
    return rows, {n: (r, [float(np.median(s)) for s in v]) for n, r, v in zip(names, recalls, speeds, strict=True)}
