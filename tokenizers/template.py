"""What stands around and between sequences, how long they may get, and padding for those who ask."""

import warnings
from dataclasses import dataclass

import numpy as np

from ._jit import kernel

ON_TRUNCATE = ("warn", "raise", "silent")


@dataclass(frozen=True)
class Template:
    """Where a sequence (`"A"` or `"B"`) or a special token goes: tuples of (name, type id), for one and for two texts.

    trim_offsets leaves the blanks at the ends of byte-level tokens out of their offsets.

    Source   Hugging Face's TemplateProcessing; its ByteLevel and RobertaProcessing for trim_offsets
    """

    single: tuple = (("A", 0),)
    pair: tuple = (("A", 0), ("B", 1))
    trim_offsets: bool = False

    def pieces(self, paired, add_special_tokens=True):
        pieces = self.pair if paired else self.single
        return pieces if add_special_tokens else tuple(p for p in pieces if p[0] in ("A", "B"))

    def specials(self, paired):
        """How many special tokens it adds."""
        return sum(name not in ("A", "B") for name, _ in self.pieces(paired))


def bert_template(special_tokens):
    """[CLS] a [SEP]  and  [CLS] a [SEP] b [SEP], with type id 1 from b on."""
    if missing := {"[CLS]", "[SEP]"} - set(special_tokens):
        raise ValueError(f"the vocabulary lacks {', '.join(sorted(missing))}")
    single = (("[CLS]", 0), ("A", 0), ("[SEP]", 0))
    return Template(single, (*single, ("B", 1), ("[SEP]", 1)))


def longest_first(a, b, room):
    """Lengths of the pair after cutting the longer one until both fit, then both evenly.

        max(a, b) is cut to room - min(a, b), or both to room / 2 where the shorter one is longer than that

    Source   Hugging Face's TruncationStrategy.LongestFirst, which gives b the odd token where a ≤ b, else a
    Shapes   a, b (B,) → (B,), (B,)
    """
    short, long = np.minimum(a, b), np.maximum(a, b)
    fits = a + b <= room
    even = 2 * short > room  # then no cut of the longer one alone is enough, or it would become the shorter
    new_short = np.where(even, room // 2, short)
    new_long = np.where(fits, long, room - new_short)
    return np.where(a <= b, new_short, new_long), np.where(a <= b, new_long, new_short)


def fit(lengths_a, lengths_b, room):
    """Lengths (B,), (B,) that fit into `room` tokens, and the mask of rows that were cut; room None: no limit."""
    if room is None:
        return lengths_a, lengths_b, np.zeros(len(lengths_a), bool)
    a, b = longest_first(lengths_a, lengths_b, room)
    return a, b, (a < lengths_a) | (b < lengths_b)


def report_truncated(truncated, max_length, on_truncate):
    """Raise, warn or say nothing where texts were cut."""
    if on_truncate not in ON_TRUNCATE:
        raise ValueError(f"on_truncate: expected one of {', '.join(map(repr, ON_TRUNCATE))}, got {on_truncate!r}")
    if on_truncate == "silent" or not truncated.any():
        return
    rows = np.flatnonzero(truncated)
    message = (
        f"{len(rows)} of {len(truncated)} texts are longer than {max_length} tokens, the first is texts[{rows[0]}]"
    )
    if on_truncate == "raise":
        raise ValueError(message)
    warnings.warn(f"{message}: cut (see Batch.truncated, on_truncate)", stacklevel=4)


@kernel
def pad(ids, type_ids, starts, width, pad_id):
    """Ragged (T,), (T,) → ids, attention mask and type ids (B, width) int64; short rows end in pad_id, 0 and 0."""
    shape = (len(starts) - 1, width)
    padded, mask, types = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for b in range(len(starts) - 1):
        for t in range(starts[b + 1] - starts[b]):
            source = starts[b] + t
            padded[b, t], mask[b, t] = ids[source], 1
            if type_ids[source] != 0:  # memory that stays zero is never touched
                types[b, t] = type_ids[source]
    return padded, mask, types
