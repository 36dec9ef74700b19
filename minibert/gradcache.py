"""Any loss over all vectors of a batch, in the memory of a few sequences' passes.

Unlike micro-batches, whose rows meet no others, every row here meets the whole batch in the loss. What backward needs
of a pass is its cache, hundreds of times as large as its vectors. So each pass runs twice: first for the vectors alone,
then, when the loss has said how they are to change, again with its cache, backward, and on to the next.

    1  vectors = forward(part) for every part, caches dropped
    2  dvectors = gradient of loss(all vectors)
    3  forward(part) again, backward(its dvectors) for every part

Source   Gao 2021 (GradCache, arXiv:2101.06983)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minibert.ragged import Ragged


class Side(NamedTuple):
    """Sequences, a function from some of them to (vectors, cache), and one that adds (dvectors, cache)'s gradients."""

    batch: Ragged
    forward: Callable[[Ragged, np.random.Generator | None], tuple[np.ndarray, object]]
    backward: Callable[[np.ndarray, object], None]


def loss_through(
    sides: Sequence[Side],
    loss: Callable,
    loss_backward: Callable,
    rng: np.random.Generator | None = None,
    part: int | None = None,
) -> float:
    """loss(vectors of side 0, of side 1, …), and its gradients, added up by the sides.

    Shapes   loss(*vectors) → (loss, cache); loss_backward(1.0, cache) → the vectors' gradients, in that order
    Units    part: sequences that pass at once, in two passes each; None: all of a side, in one pass. The gradients are
             those of the whole batch either way. Each part draws its dropout from a seed, which rng draws
    Raises   ValueError: a part below 1
    """
    if part is None:
        outputs = [side.forward(side.batch, rng) for side in sides]
        value, loss_cache = loss(*(vectors for vectors, _ in outputs))
        for side, dvectors, (_, cache) in zip(sides, loss_backward(1.0, loss_cache), outputs, strict=True):
            side.backward(dvectors, cache)
        return float(value)
    if part < 1:
        raise ValueError(f"expected parts of at least 1 sequence, got {part}")
    cuts = [[np.arange(len(side.batch))[i : i + part] for i in range(0, len(side.batch), part)] for side in sides]
    seeds = [[None if rng is None else rng.integers(2**63) for _ in parts] for parts in cuts]

    def forward(s: int, p: int):
        generator = None if seeds[s][p] is None else np.random.default_rng(seeds[s][p])
        return sides[s].forward(sides[s].batch.take(cuts[s][p]), generator)

    vectors = [np.concatenate([forward(s, p)[0] for p in range(len(parts))]) for s, parts in enumerate(cuts)]
    value, loss_cache = loss(*vectors)
    for s, dvectors in enumerate(loss_backward(1.0, loss_cache)):
        for p, rows in enumerate(cuts[s]):
            sides[s].backward(dvectors[rows], forward(s, p)[1])
    return float(value)
