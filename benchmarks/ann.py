"""ann.HNSW against hnswlib, FAISS and SVS: build, memory, speed at equal recall, one query a call, two threads.

python -m benchmarks ann [--data mixture text sift mnist] [--scale 10000 100000 1000000] [--rounds 3]

All systems take turns in one run; times are medians of wall-clock seconds inside each system, so give it a quiet
machine. Speeds at a recall are interpolated between the efs. Distances are squared l2; the text vectors have length 1.
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks import vectors as data
from benchmarks.harness import machine, table
from benchmarks.peers import Peer, PeerError
from benchmarks.vectors import mixture as mixture

EFS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224)
LEVELS = (0.90, 0.95, 0.99)
K, BASE = 10, "hnswlib"
PEERS = {BASE: "hnswlib_index", "FAISS HNSWFlat": "faiss_hnsw", "SVS Vamana": "svs_vamana"}
OURS = {"ours float32": None, "ours int8": "int8", "ours int4": "int4"}


def tie_aware_recall(distances, truth):
    """Share of distances not above the k-th true one, with a little room for the peer's own rounding."""
    return float((distances <= truth[:, -1:] + 1e-5 * np.abs(truth[:, -1:]) + 1e-6).mean())


def speed_at(level, recalls, speeds):
    """Queries per second at a recall, interpolated on log(speed) over log(1 - recall); NaN outside the curve."""
    order = np.argsort(recalls)
    miss = -np.log(np.maximum(1 - np.array(recalls)[order], 1e-6))
    wanted = -np.log(1 - level)
    if not miss[0] <= wanted <= miss[-1]:
        return float("nan")
    return float(np.exp(np.interp(wanted, miss, np.log(np.array(speeds)[order]))))


class Ours:
    """ann.HNSW behind the functions of the peers: each returns the seconds it took."""

    def __init__(self, quantize, vectors, queries, M, ef_construction):
        self.options = {"M": M, "ef_construction": ef_construction, "quantize": quantize}
        self.vectors, self.queries = vectors, queries
        self.build(self.vectors[:300])  # compiles
        self.search(10)

    def build(self, vectors=None, threads=1):
        import ann

        self.index = ann.HNSW(self.vectors.shape[1], "l2", **self.options)
        return seconds(lambda: self.index.add(self.vectors if vectors is None else vectors, threads=threads))

    def search(self, ef, threads=1):
        return seconds(lambda: self.index.search(self.queries, K, ef, threads=threads))

    def search_each(self, ef):
        return seconds(lambda: [self.index.search(query[None], K, ef) for query in self.queries[:EACH]])

    def ids(self, ef):
        return self.index.search(self.queries, K, ef)[0]

    def bytes(self):
        """Of all the index's arrays, spare capacity left out."""
        index = self.index
        arrays = index._vectors, index._ids, index._live, *index._tables().values()
        return sum(array[: len(index)].nbytes for array in arrays)


EACH = 500  # queries that are asked one a call


class Theirs:
    """A library in the peers' interpreter."""

    def __init__(self, script, vectors, queries, M, ef_construction):
        self.peer, self.options = Peer(script), {"M": M, "ef_construction": ef_construction}
        for name, rows in (("rows", vectors), ("queries", queries), ("few", queries[:EACH])):
            self.peer.call("keep", name=name, vectors=rows)

    def _timed(self, function, **arguments):
        self.result = self.peer.call(function, name="index", **arguments)
        return self.peer.last_seconds

    def build(self, threads=1):
        return self._timed("build", vectors="rows", threads=threads, **self.options)

    def search(self, ef, threads=1):
        return self._timed("search", queries="queries", k=K, ef=ef, threads=threads)

    def search_each(self, ef):
        return self._timed("search_each", queries="few", k=K, ef=ef)

    def ids(self, ef):
        self.search(ef)
        return np.asarray(self.result[0]).astype(np.int64)

    def bytes(self):
        return self.peer.call("size", name="index")


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(calls, rounds):
    """Medians of what each call returns, all called in turn; every second round from the other end."""
    results = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls)[:: 1 if i % 2 == 0 else -1]:
            results[name].append(calls[name]())
    return {name: statistics.median(values) for name, values in results.items()}


def systems(args, vectors, queries):
    """Every system that can be had, by name; says which cannot."""
    common, found = (vectors, queries, args.M, args.ef_construction), {}
    for name, script in PEERS.items():
        try:
            found[name] = Theirs(script, *common)
        except PeerError as error:
            print(f"{name}: left out, {str(error).strip().splitlines()[-1]}")
    return {**found, **{name: Ours(quantize, *common) for name, quantize in OURS.items()}}


def measure(name, vectors, queries, args):
    """One data set: builds everything, prints its tables."""
    import ann

    exact = ann.Exact(vectors.shape[1], "l2")
    exact.add(vectors)
    truth = exact.search(queries, K)[1]
    entrants = systems(args, vectors, queries)

    def recall(ids):
        true = np.square(queries[:, None].astype(np.float64) - vectors[ids]).sum(axis=2)
        return tie_aware_recall(np.where(ids >= 0, true, np.inf), truth)

    build = in_turn({each: system.build for each, system in entrants.items()}, args.build_rounds)
    curve = {each: [recall(system.ids(ef)) for ef in EFS] for each, system in entrants.items()}
    speed = {each: [] for each in entrants}
    for ef in EFS:
        times = in_turn({each: lambda s=s, ef=ef: s.search(ef) for each, s in entrants.items()}, args.rounds)
        for each, taken in times.items():
            speed[each].append(len(queries) / taken)
    at = {each: [speed_at(level, curve[each], speed[each]) for level in LEVELS] for each in entrants}
    print(f"\n## {name}: {len(vectors):,} x {vectors.shape[1]}, M {args.M}, ef_construction {args.ef_construction}\n")
    rows = []
    for each, system in entrants.items():
        ratios = (f"{a:,.0f} ({a / b:.2f} x)" for a, b in zip(at[each], at[BASE], strict=True))
        built = f"{build[each]:.2f} ({build[BASE] / build[each]:.2f} x)"
        rows.append([each, built, f"{system.bytes() / len(vectors):.0f}", *ratios])
    header = ["", "build, s", "bytes a row", *(f"queries/s at recall@10 {level:.2f}" for level in LEVELS)]
    print(table(header, rows), "\n")
    worst = min(a - b for a, b in zip(curve["ours float32"], curve[BASE], strict=True))
    print(f"recall at equal ef, float32, less {BASE}'s: at worst {worst:+.4f}\n")
    print_each(entrants, curve, args)
    print_threads(entrants, build, args)
    for system in entrants.values():
        if isinstance(system, Theirs):
            system.peer.close()


def print_each(entrants, curve, args):
    """One query a call, in queries/s at each recall."""
    at = {}
    for each in (BASE, "ours float32", "ours int8", "ours int4"):
        at[each] = []
    speed = {each: [] for each in at}
    for ef in EFS:
        times = in_turn({each: lambda s=entrants[each], ef=ef: s.search_each(ef) for each in at}, args.rounds)
        for each, taken in times.items():
            speed[each].append(min(EACH, len(entrants["ours int8"].queries)) / taken)
    at = {each: [speed_at(level, curve[each], speed[each]) for level in LEVELS] for each in at}
    rows = [[each, *(f"{a:,.0f} ({a / b:.2f} x)" for a, b in zip(at[each], at[BASE], strict=True))] for each in at]
    print(table(["one query a call", *(f"{level:.2f}" for level in LEVELS)], rows), "\n")


def print_threads(entrants, build, args):
    """Two threads against one."""
    rows = []
    for each in (BASE, "ours float32", "ours int8"):
        system = entrants[each]
        one, two = (in_turn({1: lambda s=system, t=t: s.search(64, threads=t)}, args.rounds)[1] for t in (1, 2))
        rows.append([each, f"{build[each] / system.build(threads=2):.2f}", f"{one / two:.2f}"])
    print(table(["two threads, times one", "build", "search"], rows), flush=True)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks ann", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=("mixture", "text", "sift", "mnist"), default=["mixture", "text"])
    parser.add_argument("--scale", nargs="+", type=int, default=[100_000], help="numbers of rows of mixture and text")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("-M", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build-rounds", type=int, default=1)
    args = parser.parse_args(argv)
    print(machine())
    for name in args.data:
        for rows in args.scale if name in ("mixture", "text") else [0]:
            measure(name, *data.load(name, rows, args.queries), args)
    return 0
