"""Plain text → what BERT is pre-trained on: pairs of texts that follow each other or do not, with masked words.

    documents ──sentences──▶ [CLS] a [SEP] b [SEP], b follows a or comes from elsewhere ──masks──▶ a step's batch

Pairs are made once; which words are masked is drawn anew for every step.

Source   Devlin 2018 (arXiv:1810.04805) section 3.1 and appendix A.1
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minibert.ragged import Ragged

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"')\]”’])\s+|\n\s*\n")
SELECTED = 0.15  # share of the words; of those
MASKED, KEPT = 0.8, 0.1  # become [MASK], stay as they are; the rest become any word
MASKS = "[MASK]", "<mask>"


def sentence_pairs(
    documents: Sequence[str], tokenizer: Tokenizer, max_length: int, seed: int = 0
) -> tuple[Ragged, np.ndarray]:
    """(pairs, which do not belong together): half of the first texts are followed by what really comes next.

    Sentences of a document are taken in order until they fill a pair, which is split between two of them. Where the
    second text comes from elsewhere instead, from another document if there is one, the sentences that it replaces are
    the first of the next pair. Pairs of unknown words alone are left out: there is nothing to mask.

    Shapes   N pairs → (pairs, labels (N,)): 0 follows, 1 comes from elsewhere
    Raises   ValueError: too little text for two pairs, or a max_length without room for two tokens
    """
    pieces = tokenizer.template.pieces(True)
    room = max_length - tokenizer.template.specials(True)
    if room < 2:
        raise ValueError(f"expected a max_length with room for two tokens, got {max_length}")
    ids, starts, owners = _units(documents, tokenizer, room // 2)
    rng = np.random.default_rng(seed)
    rows, types, lengths, labels = [], [], [], []
    first = 0
    while first < len(owners) - 1:
        last = int(np.searchsorted(starts, starts[first] + room, "right")) - 1  # as many as fit
        last = min(last, int(np.searchsorted(owners, owners[first], "right")))
        if last - first < 2:  # the last sentence of its document: none comes next
            first = last
            continue
        middle = int(rng.integers(first + 1, last))
        other = int(rng.random() < 0.5)
        texts = {"A": ids[starts[first] : starts[middle]], "B": ids[starts[middle] : starts[last]]}
        if other:
            texts["B"] = _elsewhere(ids, starts, owners, first, last, room - len(texts["A"]), rng)
        parts = [texts.get(name, [tokenizer.special_tokens.get(name, -1)]) for name, _ in pieces]
        rows += parts
        types += [np.full(len(part), kind) for part, (_, kind) in zip(parts, pieces, strict=True)]
        lengths.append(sum(map(len, parts)))
        labels.append(other)
        first = middle if other else last
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    row_ids, type_ids = (np.concatenate([*side, []]).astype(np.int32) for side in (rows, types))
    pairs = Ragged(row_ids, type_ids, starts)
    kept = np.unique(np.repeat(np.arange(len(pairs)), pairs.lengths)[_words(pairs, tokenizer)])
    if len(kept) < 2:
        raise ValueError(f"expected text for at least 2 pairs of {max_length} tokens, got {len(kept)}")
    return pairs.take(kept), np.array(labels)[kept]


def _units(documents: Sequence[str], tokenizer, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, where each unit starts, its document): the sentences, those of more than `longest` tokens in parts."""
    sentences, owners = [], []
    for number, document in enumerate(documents):
        found = SENTENCE_END.split(document)
        sentences += found
        owners += [number] * len(found)
    batch = tokenizer.encode_batch(sentences, add_special_tokens=False)
    parts = -(-batch.lengths // longest)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = np.repeat(batch.starts[:-1], parts) + longest * number
    return batch.ids, np.append(starts, len(batch.ids)), np.repeat(owners, parts)


def _elsewhere(ids, starts, owners, first: int, last: int, room: int, rng: np.random.Generator) -> np.ndarray:
    """Text from a random unit on, of another document, or of the only one but the units first:last.

    As many units as fit, as in the text that really comes next: else the length, or a cut, would tell the two apart.
    """
    if owners[0] != owners[-1]:
        first, last = (int(np.searchsorted(owners, owners[first], side)) for side in ("left", "right"))
    if last - first == len(owners):
        raise ValueError("expected more text than fits into one pair, got one document of that length")
    unit = int(rng.integers(len(owners) - (last - first)))
    unit += (last - first) * (unit >= first)
    end = (
        first if unit < first and owners[unit] == owners[first] else int(np.searchsorted(owners, owners[unit], "right"))
    )
    fits = int(np.searchsorted(starts, starts[unit] + room, "right")) - 1
    return ids[starts[unit] : starts[max(unit + 1, min(fits, end))]][:room]


@dataclass(frozen=True)
class Masked:
    """A batch in which some words are hidden.

    Shapes   batch of T tokens; rows (M,), ascending, of the words to tell, words (M,): what stood there
    """

    batch: Ragged
    rows: np.ndarray
    words: np.ndarray


def mask_words(batch: Ragged, tokenizer: Tokenizer, rng: np.random.Generator) -> Masked:
    """Select 15 % of every sequence's words, at least one: 80 % of them become [MASK], 10 % any word, 10 % stay.

    Special tokens are neither selected nor put in a word's place, nor is the first token selected: its row has to tell
    whether the texts belong together.

    Raises   ValueError: the tokenizer has no [MASK], or the batch no word
    """
    mask = next((tokenizer.special_tokens[name] for name in MASKS if name in tokenizer.special_tokens), None)
    if mask is None:
        raise ValueError(f"expected a tokenizer with {' or '.join(MASKS)}, got one without")
    ordinary = _words(batch, tokenizer)
    counts = np.add.reduceat(ordinary.astype(np.int64), batch.starts[:-1])
    if not counts.any():
        raise ValueError("expected a batch with words to mask, got special tokens alone")
    wanted = np.where(counts, np.maximum(1, np.rint(SELECTED * counts)), 0)
    owners = np.repeat(np.arange(len(batch)), batch.lengths)
    order = np.lexsort((rng.random(len(batch.ids)), ~ordinary, owners))  # each sequence's words first, shuffled
    rows = np.sort(order[batch.positions < wanted[owners]])
    words, ids = batch.ids[rows], batch.ids.copy()
    lot = rng.random(len(rows))
    ids[rows[lot < MASKED]] = mask
    others = rows[lot >= MASKED + KEPT]
    specials = list(tokenizer.special_tokens.values())
    ids[others] = rng.choice(np.setdiff1d(np.arange(tokenizer.vocab_size), specials), len(others))
    return Masked(Ragged(ids, batch.type_ids, batch.starts), rows, words)


def _words(batch: Ragged, tokenizer) -> np.ndarray:
    """Which tokens may be masked: those that are not special, but the first. Shapes: (T,) bool"""
    return ~np.isin(batch.ids, list(tokenizer.special_tokens.values())) & (batch.positions > 0)
