"""Cross entropy over the tokens of each sequence: at which one does the answer begin, at which does it end?"""

from typing import Any

import numpy as np

from minibert.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minibert.ragged import Ragged


def span_cross_entropy(scores: np.ndarray, batch: Ragged, targets: np.ndarray) -> tuple[float, Any]:
    """Mean of two cross entropies, of the first and of the last token, each softmax over a sequence's own tokens.

        loss = −½ mean_b ( log softmax(s_b,first)[first_b] + log softmax(s_b,last)[last_b] )

    Source   Devlin 2018 section 4.2, which adds the two; transformers' BertForQuestionAnswering has the mean
    Shapes   scores (T, 2), targets (B, 2): places within the sequence → loss ()
    Raises   ValueError: a place outside its sequence, with its row
    Differs  transformers counts padded places, too
    """
    outside = np.flatnonzero(((targets < 0) | (targets >= batch.lengths[:, None])).any(axis=1))
    if len(outside):
        row = outside[0]
        raise ValueError(
            f"expected places in 0 … {batch.lengths[row] - 1}, got {targets[row].tolist()} in sequence {row}"
        )
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    padded = np.full((2, *mask.shape), -np.inf, scores.dtype)  # e^−∞ = 0: what is not there takes no part
    padded[:, mask] = scores.T
    loss, cache = cross_entropy(padded.reshape(-1, mask.shape[1]), targets.T.ravel())
    return loss, (cache, mask)


def span_cross_entropy_backward(dloss: float, cache: Any) -> np.ndarray:
    """Gradient of span_cross_entropy: dscores."""
    cache, mask = cache
    # forward: loss = cross_entropy(scores in rows, firsts and lasts)
    dpadded = cross_entropy_backward(dloss, cache).reshape(2, *mask.shape)
    return np.ascontiguousarray(dpadded[:, mask].T)
