"""Attention from one sequence to another (Vaswani 2017, arXiv:1706.03762, section 3.2.3)."""

from typing import Any

import numpy as np

from minibert.ops.attention import attend, attend_backward, merge_heads
from minibert.ragged import Ragged


def cross_attention(
    q: np.ndarray,
    kv: np.ndarray,
    targets: Ragged,
    sources: Ragged,
    heads: int,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, Any]:
    """Every token of target b looks at all tokens of source b, once per head.

        y = concat_h softmax(Q_h K_hᵀ / √d) V_h,   Q of the targets, K and V of the sources          eq. 1

    Shapes   q (T, D), kv (S, 2D): key and value of each source row, side by side → y (T, D)
    Raises   ValueError: another number of targets than of sources
    Differs  no mask: neighbouring pairs of the same two lengths form a block, so the batch should be sorted by both
    """
    y = np.empty_like(q)
    blocks = []
    for rows, source_rows, count, length, source_length in paired_runs(targets, sources):
        queries = q[rows].reshape(count, length, heads, -1).swapaxes(1, 2)
        keys, values = kv[source_rows].reshape(count, source_length, 2, heads, -1).transpose(2, 0, 3, 1, 4)
        context, cache = attend(queries, keys, values, dropout_rate=dropout_rate, rng=rng)
        merge_heads(context, y[rows])
        blocks.append((rows, source_rows, cache))
    return y, (kv.shape, heads, blocks)


def cross_attention_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of cross_attention: (dq, dkv)."""
    shape, heads, blocks = cache
    dq, dkv = np.empty_like(dy), np.empty(shape, dy.dtype)
    for rows, source_rows, block in blocks:
        dqueries, dkeys, dvalues = attend_backward(dy[rows], heads, block)
        # forward: queries, keys, values = q and kv by heads
        merge_heads(dqueries, dq[rows])
        for target, gradient in zip(np.split(dkv[source_rows], 2, axis=1), (dkeys, dvalues), strict=True):
            merge_heads(gradient, target)
    return dq, dkv


def paired_runs(targets: Ragged, sources: Ragged) -> list[tuple[slice, slice, int, int, int]]:
    """Neighbouring pairs of one target and one source length: (target rows, source rows, count, both lengths)."""
    if len(targets) != len(sources):
        raise ValueError(f"expected a source for every target, got {len(targets)} targets and {len(sources)} sources")
    changes = np.diff(targets.lengths).astype(bool) | np.diff(sources.lengths).astype(bool)
    bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(targets)] if len(targets) else [0]
    t, s = targets.starts.tolist(), sources.starts.tolist()
    return [
        (slice(t[a], t[b]), slice(s[a], s[b]), b - a, t[a + 1] - t[a], s[a + 1] - s[a])
        for a, b in zip(bounds[:-1], bounds[1:], strict=True)
    ]
