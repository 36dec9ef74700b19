"""Index vectors with HNSW on 8-bit codes, ask how good its answers are, filter, change, keep, map from the disk."""

import tempfile
from pathlib import Path

import numpy as np

import ann

rng = np.random.default_rng(0)
centres = rng.standard_normal((50, 64))
vectors = (centres[rng.integers(0, 50, 5000)] + 0.3 * rng.standard_normal((5000, 64))).astype(np.float32)

index = ann.HNSW(64, metric="cosine", quantize="int8")
index.add(vectors[:4000])
index.add(vectors[4000:], ids=range(10_000, 11_000))
ids, distances = index.search(vectors[:2], k=3)
print(ids, distances.round(3), sep="\n")

recall = index.tune(target_recall=0.99, k=10)
print(f"ef {recall.effort} finds {recall:.3f} of the true neighbours, {recall.low:.3f} to {recall.high:.3f}")

ids, _ = index.search(vectors[:1], k=5, allow=lambda number: number >= 10_000)
print("only late ones:", ids[0])
index.remove([0, 1])
print("without the first two:", index.search(vectors[:1], k=3)[0][0])

with tempfile.TemporaryDirectory() as folder:
    index.save(Path(folder) / "vectors.ann")
    mapped = ann.load(Path(folder) / "vectors.ann", mmap=True)
    assert np.array_equal(mapped.search(vectors[:9], k=3)[0], index.search(vectors[:9], k=3)[0])
