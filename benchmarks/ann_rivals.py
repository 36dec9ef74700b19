"""The other indexes of ann against the libraries they follow: FAISS, Annoy, NMSLIB. One thread, in alternation.

python -m benchmarks ann_rivals [--data mixture text sift mnist] [--rows 100000] [--only IVFPQ RPForest]
"""

import argparse
from dataclasses import dataclass, field

import numpy as np

import ann
from benchmarks import vectors as data
from benchmarks.ann import speed_at, tie_aware_recall
from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer

LEVELS = (0.80, 0.90, 0.95)


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
        Pair("Exact", {}, "FAISS flat", "faiss", {"factory": "Flat"}, (1,)),
        Pair("IVF", {"lists": lists}, "FAISS IVF", "faiss", probing),
        Pair("IVFPQ", {"lists": lists, "refine": 4}, "FAISS IVF-PQ fast scan", "faiss", scanning),
        Pair("RPForest", {"trees": 16}, "Annoy", "annoy", {"trees": 16}, trees),
        Pair("NSW", {}, "NMSLIB sw-graph", "nmslib", {"neighbors": 15, "ef_construction": 100}, ef),
    ]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks ann_rivals", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=("mixture", "text", "sift", "mnist"), default=["mixture"])
    parser.add_argument("--rows", type=int, default=100_000, help="of mixture and text")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--only", nargs="+", help="classes of ours")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    print(machine())
    for name in args.data:
        vectors, queries = data.load(name, args.rows, args.queries)
        exact = ann.Exact(vectors.shape[1], "l2")
        exact.add(vectors)
        truth = exact.search(queries, 10)[1]
        print(f"\n# {name}: {len(vectors):,} x {vectors.shape[1]}, l2, k 10\n")
        with Peer("ann_rivals") as peer:
            peer.call("keep", name="rows", vectors=vectors)
            peer.call("keep", name="queries", vectors=queries)
            for pair in pairs(*vectors.shape):
                if not args.only or pair.ours in args.only:
                    measure(pair, getattr(ann, pair.ours), vectors, queries, truth, peer, args.rounds)
    return 0


def measure(pair, make, vectors, queries, truth, peer, rounds):
    """Build both, measure both at every setting, print the curves and the speeds at equal recall."""
    built, rows, curves = [], [], ([], [], [], [])
    warm = make(vectors.shape[1], "l2", **{**pair.options, **({"lists": 4} if "lists" in pair.options else {})})
    warm.add(vectors[:600])
    warm.search(queries[:20])

    def build():
        built[:] = [make(vectors.shape[1], "l2", **pair.options)]
        built[0].add(vectors)

    theirs = {"name": pair.ours, "vectors": "rows", "library": pair.library, **pair.their_options}
    building = compare(build, peer.timed("build", **theirs), rounds=1, warmup=0)
    for effort in pair.efforts:
        own, ask = {warm.knob: effort}, {"name": pair.ours, "queries": "queries", "k": 10, "effort": effort}
        found = built[0].search(queries, 10, **own)[1], peer.call("search", **ask)
        time = compare(
            lambda own=own: built[0].search(queries, 10, **own) and None, peer.timed("search", **ask), rounds
        )
        recalls, speeds = (
            [tie_aware_recall(d, truth) for d in found],
            [len(queries) / t for t in (time.ours, time.theirs)],
        )
        rows.append([effort, *(f"{recall:.4f}" for recall in recalls), *speeds])
        for curve, value in zip(curves, (*recalls, *speeds), strict=True):
            curve.append(value)
    print(f"## ann.{pair.ours} and {pair.theirs}\n")
    print(f"build: ours {building.ours:.1f} s, theirs {building.theirs:.1f} s, ratio {building.ratio:.2f}\n")
    print(table([warm.knob, "recall ours", "recall theirs", "queries/s ours", "queries/s theirs"], rows) + "\n")
    if len(rows) > 1:
        at = [(level, *(speed_at(level, curves[i], curves[i + 2]) for i in (0, 1))) for level in LEVELS]
        equal = [[f"{level:.2f}", ours, theirs, ours / theirs] for level, ours, theirs in at]
        print(table(["recall@10", "queries/s ours", "queries/s theirs", "ratio"], equal) + "\n", flush=True)
