"""Multi-head self-attention (Vaswani 2017, arXiv:1706.03762, section 3.2) over a ragged batch."""

from typing import Any, NamedTuple

import numpy as np

from minibert.ops.dropout import dropout, dropout_backward
from minibert.ops.relative_bias import spread, spread_backward
from minibert.ops.softmax import softmax, softmax_backward
from minibert.ragged import Ragged


class Attended(NamedTuple):
    """What the backward pass needs of a block of sequences; q (count, heads, length, d)."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    scale: np.floating
    weights: np.ndarray  # (count, heads, length, others), each row sums to 1
    dropped: np.ndarray
    mask: np.ndarray | None


def attention(
    qkv: np.ndarray,
    batch: Ragged,
    heads: int,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
    causal: bool = False,
    bias: np.ndarray | None = None,
    scaled: bool = True,
) -> tuple[np.ndarray, Any]:
    """Every token looks at all tokens of its own sequence, once per head; a causal one only at itself and those before.

        y = concat_h softmax(Q_h K_hᵀ / √d) V_h,   d = D / heads          eq. 1

    Shapes   qkv (T, 3D): query, key and value of each row, side by side → y (T, D); bias (2 · longest − 1, H) is added
             to the scores by distance, as `relative_bias` gives it
    Differs  no mask for padding: sequences of one length form a block of their own, so there is nothing to hide;
             `dropout_rate` drops attention weights, as BERT does; without `scaled` no division by √d, as in T5
    """
    y = np.empty((len(qkv), qkv.shape[1] // 3), qkv.dtype)
    blocks = []
    for rows, count, length in batch.runs:
        q, k, v = split_heads(qkv[rows], count, length, heads)
        pairs = None if bias is None else spread(bias, length)
        context, cache = attend(q, k, v, causal, dropout_rate, rng, pairs, scaled)
        merge_heads(context, y[rows])
        blocks.append((rows, cache))
    return y, (qkv.shape, heads, blocks)


def attention_backward(dy: np.ndarray, cache: Any, dbias: np.ndarray | None = None) -> np.ndarray:
    """Gradient of attention: dqkv; that of the bias is added to `dbias`."""
    shape, heads, blocks = cache
    dqkv = np.empty(shape, dy.dtype)
    for rows, block in blocks:
        gradients = attend_backward(dy[rows], heads, block, dbias)
        # forward: q, k, v = split_heads(qkv)
        for target, gradient in zip(np.split(dqkv[rows], 3, axis=1), gradients, strict=True):
            merge_heads(gradient, target)
    return dqkv


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    causal: bool = False,
    dropout_rate: float = 0.0,
    rng: np.random.Generator | None = None,
    pairs: np.ndarray | None = None,
    scaled: bool = True,
) -> tuple[np.ndarray, Attended]:
    """Eq. 1 for a block of sequences: softmax(q kᵀ / √d + pairs) v.

    Shapes   q (count, heads, length, d), k and v (count, heads, others, d), pairs (heads, length, others) → y as q;
             causal: others = length
    """
    scale = q.dtype.type(1 / np.sqrt(q.shape[-1]) if scaled else 1)
    scores = (q @ k.swapaxes(-1, -2)) * scale
    if pairs is not None:
        scores += pairs
    if causal:
        scores[..., np.triu(np.ones(scores.shape[-2:], bool), 1)] = -np.inf
    weights, _ = softmax(scores)
    dropped, mask = dropout(weights, dropout_rate, rng)
    return dropped @ v, Attended(q, k, v, scale, weights, dropped, mask)


def attend_backward(
    dy: np.ndarray, heads: int, cache: Attended, dbias: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of attend: (dq, dk, dv); dy as rows (count · length, D); those of the pairs are added to `dbias`."""
    q, k, v, scale, weights, dropped, mask = cache
    count, _, length, _ = q.shape
    # forward: y = merge_heads(dropped @ v)
    dcontext = dy.reshape(count, length, heads, -1).swapaxes(1, 2)
    ddropped = dcontext @ v.swapaxes(-1, -2)
    dv = dropped.swapaxes(-1, -2) @ dcontext
    # forward: dropped = dropout(softmax((q @ k.T) * scale + pairs)); what the future weighs is 0, and so its gradient
    dscores = softmax_backward(dropout_backward(ddropped, mask), weights)
    if dbias is not None:
        spread_backward(dscores.sum(axis=0), dbias)
    dscores *= scale
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, dv


def split_heads(rows: np.ndarray, count: int, length: int, heads: int) -> list[np.ndarray]:
    """(count · length, 3D) → three views (count, heads, length, d)."""
    q, k, v = rows.reshape(count, length, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    return [q, k, v]


def merge_heads(x: np.ndarray, out: np.ndarray) -> None:
    """Write (count, heads, length, d) back into rows (count · length, D)."""
    count, heads, length, d = x.shape
    out.reshape(count, length, heads, d)[...] = x.swapaxes(1, 2)
