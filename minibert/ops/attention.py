"""Multi-head self-attention (Vaswani 2017, arXiv:1706.03762, section 3.2) over a ragged batch."""

import numpy as np

from minibert.ops.dropout import dropout, dropout_backward
from minibert.ops.softmax import softmax, softmax_backward
from minibert.ragged import Ragged


def attention(qkv: np.ndarray, batch: Ragged, heads: int, dropout_rate: float = 0.0, rng=None):
    """Every token looks at all tokens of its own sequence, once per head.

        y = concat_h softmax(Q_h K_hᵀ / √d) V_h,   d = D / heads          eq. 1

    Shapes   qkv (T, 3D): query, key and value of each row, side by side → y (T, D)
    Differs  no mask: sequences of one length form a block of their own, so there is nothing to hide;
             `dropout_rate` drops attention weights, as BERT does
    """
    width = qkv.shape[1] // 3
    y = np.empty((len(qkv), width), qkv.dtype)
    blocks = []
    for rows, count, length in batch.runs:
        q, k, v = split_heads(qkv[rows], count, length, heads)
        scale = qkv.dtype.type(1 / np.sqrt(width // heads))
        weights, softmax_cache = softmax((q @ k.swapaxes(-1, -2)) * scale)
        dropped, mask = dropout(weights, dropout_rate, rng)
        merge_heads(dropped @ v, y[rows])
        blocks.append((rows, q, k, v, scale, softmax_cache, dropped, mask))
    return y, (qkv.shape, heads, blocks)


def attention_backward(dy: np.ndarray, cache) -> np.ndarray:
    """Gradient of attention: dqkv."""
    shape, heads, blocks = cache
    dqkv = np.empty(shape, dy.dtype)
    for rows, q, k, v, scale, softmax_cache, dropped, mask in blocks:
        count, _, length, _ = q.shape
        # forward: y = merge_heads(dropped @ v)
        dcontext = dy[rows].reshape(count, length, heads, -1).swapaxes(1, 2)
        ddropped = dcontext @ v.swapaxes(-1, -2)
        dv = dropped.swapaxes(-1, -2) @ dcontext
        # forward: dropped = dropout(softmax((q @ k.T) * scale))
        dscores = softmax_backward(dropout_backward(ddropped, mask), softmax_cache) * scale
        dq = dscores @ k
        dk = dscores.swapaxes(-1, -2) @ q
        # forward: q, k, v = split_heads(qkv)
        for target, gradient in zip(np.split(dqkv[rows], 3, axis=1), (dq, dk, dv), strict=True):
            merge_heads(gradient, target)
    return dqkv


def split_heads(rows: np.ndarray, count: int, length: int, heads: int) -> list[np.ndarray]:
    """(count · length, 3D) → three views (count, heads, length, d)."""
    q, k, v = rows.reshape(count, length, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    return [q, k, v]


def merge_heads(x: np.ndarray, out: np.ndarray) -> None:
    """Write (count, heads, length, d) back into rows (count · length, D)."""
    count, heads, length, d = x.shape
    out.reshape(count, length, heads, d)[...] = x.swapaxes(1, 2)
