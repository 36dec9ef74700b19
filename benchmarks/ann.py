"""ann.HNSW against hnswlib, FAISS and SVS: build, memory, speed at equal recall, one query a call, two threads.

python -m benchmarks ann [--data mixture text sift mnist] [--scale 10000 100000 1000000] [--rounds 3]

All systems take turns in one run; times are wall-clock seconds inside each system, so give it a quiet machine. Speeds
at a recall are interpolated between the efs. Distances are squared l2; the text vectors have length 1.
"""

import argparse
import functools
import time

import numpy as np

from benchmarks import vectors as data
from benchmarks.harness import Chart, Result, Row, in_turn, require_at_least
from benchmarks.peers import Peer, PeerError
from benchmarks.vectors import mixture as mixture

EFS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224)
LEVELS = (0.90, 0.95, 0.99)
K, BASE = 10, "hnswlib"
PEERS = {BASE: "hnswlib_index", "faiss-cpu: IndexHNSWFlat": "faiss_hnsw", "scalable-vs: Vamana": "svs_vamana"}
OURS = {"float32": None, "int8": "int8", "int4": "int4"}
EACH = 500  # queries that are asked one a call
ROOM = 0.01  # by which recall at equal ef may be below hnswlib's: of 2,000 queries, some three standard errors


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

    def __init__(self, quantize, vectors, queries, M=16, ef_construction=200):
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

    def close(self):
        del self.index


class Theirs:
    """A library in the peers' interpreter."""

    def __init__(self, script, vectors, queries, M=16, ef_construction=200):
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

    def close(self):
        self.peer.close()


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def systems(vectors, queries, M, ef_construction):
    """Every system that can be had, by name; says which cannot."""
    common, found = (vectors, queries, M, ef_construction), {}
    for name, script in PEERS.items():
        try:
            found[name] = Theirs(script, *common)
        except PeerError as error:
            print(f"{name}: left out, {str(error).strip().splitlines()[-1]}")
    return {**found, **{name: Ours(quantize, *common) for name, quantize in OURS.items()}}


def rows_of_all(task, unit, values, names, **more):
    """A row of each of ours against hnswlib, and of float32 against the other libraries that were measured."""
    for ours in OURS:
        for theirs in names:
            if theirs == BASE or (theirs not in OURS and ours == "float32"):
                pair = {"ours": values[ours], "theirs": values[theirs]}
                if np.isfinite(
                    [*pair["ours"], *pair["theirs"]]
                ).all():  # a recall that one of them does not reach is no row
                    yield Row(f"{ours}: {task}", unit, **pair, against=theirs, **more)


def recalls(entrants, vectors, queries):
    """{system: recall at each ef}; ends the benchmark where float32's is below hnswlib's at any ef."""
    import ann

    exact = ann.Exact(vectors.shape[1], "l2")
    exact.add(vectors)
    truth = exact.search(queries, K)[1]

    def recall(ids):
        true = np.square(queries[:, None].astype(np.float64) - vectors[ids]).sum(axis=2)
        return tie_aware_recall(np.where(ids >= 0, true, np.inf), truth)

    found = {name: [recall(system.ids(ef)) for ef in EFS] for name, system in entrants.items()}
    for ef, ours, theirs in zip(EFS, found["float32"], found[BASE], strict=True):
        require_at_least(f"recall@10 at ef {ef}", ours, theirs, ROOM)
    return found


def speeds(entrants, method, count, rounds, **options):
    """{system: queries/s, a list for each ef of a value a round}."""
    found = {name: [] for name in entrants}
    for ef in EFS:
        calls = {name: functools.partial(getattr(system, method), ef, **options) for name, system in entrants.items()}
        for name, taken in in_turn(calls, rounds).items():
            found[name].append([count / s for s in taken])
    return found


def at_level(level, recall, speed):
    """Queries/s at a recall in each round."""
    return [speed_at(level, recall, one_round) for one_round in zip(*speed, strict=True)]


def measure(name, vectors, queries, args):
    """One data set: builds everything; its Result."""
    entrants = systems(vectors, queries, args.M, args.ef_construction)
    names, data_set = list(entrants), f"{name}, {len(vectors):,} × {vectors.shape[1]}"
    build = in_turn({each: system.build for each, system in entrants.items()}, args.build_rounds)
    recall = recalls(entrants, vectors, queries)
    memory = {each: [system.bytes() / len(vectors)] for each, system in entrants.items()}
    speed = speeds(entrants, "search", len(queries), args.rounds)
    few = {each: entrants[each] for each in (BASE, *OURS)}
    alone = speeds(few, "search_each", min(EACH, len(queries)), args.rounds)
    rows = [
        *rows_of_all("build", "s", build, names, data=data_set),
        *rows_of_all("memory", "bytes a row", memory, names, data=data_set),
    ]
    for task, measured in (("search", speed), ("one query a call", alone)):
        for level in LEVELS:
            at = {each: at_level(level, recall[each], measured[each]) for each in measured}
            rows += rows_of_all(f"{task} at recall {level:.2f}", "queries/s", at, list(measured), data=data_set)
    rows += two_threads(few, data_set, len(queries), args)
    for system in entrants.values():
        system.close()
    shown = {
        each if each in PEERS else f"ours, {each}": [recall[each], [float(np.median(s)) for s in speed[each]]]
        for each in names
    }
    return Result(
        f"ann: {data_set}",
        f"HNSW, M {args.M}, ef_construction {args.ef_construction}, squared l2, k 10, {len(queries):,} queries; "
        "quantized indexes keep the vectors and re-rank by them.",
        f"At every ef of {EFS[0]} to {EFS[-1]} float32's recall@10 is not below hnswlib's less {ROOM}.",
        rows,
        [Chart("recall and speed", "recall@10", "queries/s, one thread", shown)],
    )


def two_threads(entrants, data_set, count, args):
    """Rows of building and searching on two threads, at ef 64."""
    build = in_turn({each: functools.partial(s.build, threads=2) for each, s in entrants.items()}, args.build_rounds)
    taken = in_turn({each: functools.partial(s.search, 64, threads=2) for each, s in entrants.items()}, args.rounds, 1)
    speed = {each: [count / s for s in rounds] for each, rounds in taken.items()}
    names = {"data": data_set, "threads": 2}
    return [
        *rows_of_all("build", "s", build, list(entrants), **names),
        *rows_of_all("search at ef 64", "queries/s", speed, list(entrants), **names),
    ]


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
    return [
        measure(name, *data.load(name, rows, args.queries), args)
        for name in args.data
        for rows in (args.scale if name in ("mixture", "text") else [0])
    ]
