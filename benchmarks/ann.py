"""ann.HNSW against hnswlib: build time, recall at equal ef, speed at equal recall. One thread, in alternation.

python -m benchmarks ann [--rows 100000] [--dim 128] [--metric l2] [--vectors rows.npy]
"""

import argparse

import numpy as np

from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer

EFS = (10, 14, 20, 28, 40, 56, 80, 112, 160)
LEVELS = (0.90, 0.95, 0.99)


def mixture(rows, dim, seed=0, groups=1000, low=24):
    """Rows of a mixture of Gaussians in `low` dimensions, seen through one linear map, with a little noise.

        z ~ N(centre of a random group, 1);  x = z map + 0.1 N(0, 1)

    The seed draws the rows, not the mixture. Shapes → (rows, dim) float32
    """
    fixed, rng = np.random.default_rng(20160330), np.random.default_rng(seed)
    projection = fixed.standard_normal((low, dim), np.float32)
    centres = fixed.standard_normal((groups, low), np.float32)
    z = centres[rng.integers(0, groups, rows)] + rng.standard_normal((rows, low), np.float32)
    return z @ projection + 0.1 * rng.standard_normal((rows, dim), np.float32)


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


def arguments(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks ann", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--metric", choices=("l2", "ip", "cosine"), default="l2")
    parser.add_argument("--vectors", help="a .npy file instead of generated rows; its last rows are the queries")
    parser.add_argument("-M", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build-rounds", type=int, default=1)
    return parser.parse_args(argv)


def main(argv):
    import ann

    args = arguments(argv)
    if args.vectors:
        vectors = np.load(args.vectors).astype(np.float32)
        vectors, queries = vectors[: -args.queries][: args.rows], vectors[-args.queries :]
    else:
        vectors, queries = (mixture(n, args.dim, seed) for seed, n in enumerate((args.rows, args.queries)))
    dim, k, built = vectors.shape[1], 10, []
    exact = ann.Exact(dim, args.metric)
    exact.add(vectors)
    truth = exact.search(queries, k)[1]
    warm = ann.HNSW(dim, args.metric)
    warm.add(vectors[:100])
    warm.search(queries[:10])

    def build():
        built[:] = [ann.HNSW(dim, args.metric, args.M, args.ef_construction)]
        built[0].add(vectors)

    with Peer("hnswlib_index") as peer:
        peer.call("keep", name="rows", vectors=vectors)
        peer.call("keep", name="queries", vectors=queries)
        options = {"metric": args.metric, "M": args.M, "ef_construction": args.ef_construction}
        theirs = peer.timed("build", name="index", vectors="rows", **options)
        building = compare(build, theirs, rounds=args.build_rounds, warmup=0)
        index, rows, curves = built[0], [], ([], [], [], [])
        for ef in EFS:
            ask = {"name": "index", "queries": "queries", "k": k, "ef": ef}
            _, distances = peer.call("search", **ask)
            recall = [tie_aware_recall(d, truth) for d in (index.search(queries, k, ef)[1], distances)]
            time = compare(
                lambda ef=ef: index.search(queries, k, ef) and None, peer.timed("search", **ask), args.rounds
            )
            speed = [len(queries) / time.ours, len(queries) / time.theirs]
            rows.append([ef, *(f"{r:.4f}" for r in recall), *speed])
            for curve, value in zip(curves, (*recall, *speed), strict=True):
                curve.append(value)
    print(machine())
    print(f"{len(vectors):,} x {dim}, {args.metric}, M {args.M}, ef_construction {args.ef_construction}, k {k}\n")
    print(f"build: ours {building.ours:.1f} s, hnswlib {building.theirs:.1f} s, ratio {building.ratio:.2f}\n")
    print(table(["ef", "recall ours", "recall hnswlib", "queries/s ours", "queries/s hnswlib"], rows) + "\n")
    at = [[speed_at(level, curves[i], curves[i + 2]) for i in (0, 1)] for level in LEVELS]
    equal = [[f"{level:.2f}", ours, theirs, ours / theirs] for level, (ours, theirs) in zip(LEVELS, at, strict=True)]
    print(table(["recall@10", "queries/s ours", "queries/s hnswlib", "ratio"], equal))
    return 0
