"""Learning which neighbours to join: over and over the pair that stands together most often. BPE and WordPiece.

`learn_plainly` is the published algorithm; `learn_merges` gives the same merges from tables that follow every join.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from .count import show_progress
from .learn_join import ENOUGH, KNOWN, LOWER, NAME_PRIME, Neighbours, find_name, join_pairs, join_to_known
from .learn_kernel import NEAR, Corpus, Names, Pairs, best_pair, count_pairs, lay_out, place_pairs, sketch_pairs
from .pairs import CODE_BITS, CODE_MASK

if TYPE_CHECKING:
    from .count import Words

ROOM = 1 << 16  # pairs at first; tables that do not suffice are made anew, twice as large
STEP = 500  # joins a call of the kernel, which bounds how long the progress bar stands still
FALL = 4
SKETCH = 1 << 18  # sums
NAME_FACTOR = 1_000_003


def learn_plainly(
    words: list[tuple[list[str], int]], tokens: list[str], vocab_size: int, min_frequency: int = 1, prefix: str = ""
) -> list[tuple[str, str]]:
    """Append to `tokens` what the most frequent pairs make, until there are vocab_size; the pairs (left, right) joined.

        repeat: count all pairs of neighbours; join the most frequent one everywhere, of equals that of the smaller ids

    Source   Sennrich 2016 (arXiv:1508.07909) algorithm 1, with the ties of Hugging Face's trainers
    Shapes   words: [(list of tokens, how often)]; with a prefix, every token inside a word bears it
    """
    ids, merges = {token: i for i, token in enumerate(tokens)}, []
    while len(tokens) < vocab_size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words:
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]), default=None)
        if best is None or pairs[best] < min_frequency:
            break
        joined = best[0] + best[1][len(prefix) :]
        if joined not in ids:
            ids[joined] = len(tokens)
            tokens.append(joined)
        merges.append(best)
        words = [(join(word, best, joined), count) for word, count in words]
    return merges


def join(word: list[str], pair: tuple[str, str], joined: str) -> list[str]:
    """A word with every occurrence of a pair joined, from the left."""
    out, i = [], 0
    while i < len(word):
        both = tuple(word[i : i + 2]) == pair
        out.append(joined if both else word[i])
        i += 2 if both else 1
    return out


def learn_merges(
    words: Words,
    first: np.ndarray,
    inside: np.ndarray,
    tokens: list[str],
    vocab_size: int,
    min_frequency: int,
    prefix: str = "",
    *,
    by_string: bool = False,
    longest: int | None = None,
    progress: bool = False,
) -> np.ndarray:
    """`learn_plainly` by kernels, of words that `count` counted; the merges as ids: left << CODE_BITS | right.

    With `by_string` it is sentencepiece's rule: of equals the shorter string, then the smaller one, and a pair whose
    string is a token already is left alone.

    Shapes   words: count.Words; first, inside (units,) int32: the id of a unit at the start of a word, and later in it
    Units    longest: units that a token may have
    Differs  sentencepiece counts "aaa" as one aa; this, as Hugging Face's trainer, as two
    """
    if vocab_size > CODE_MASK:
        raise ValueError(f"vocab_size: expected at most {CODE_MASK}, got {vocab_size}")
    corpus, names = make_corpus(words, first, inside, by_string), make_names(tokens, vocab_size, prefix)
    gain, places = np.zeros((2, 2, vocab_size + 1), np.int64)
    near = Neighbours(gain, places, np.zeros((2, vocab_size + 1), np.int32), np.zeros(2, int))
    ids, merges, made = {token: i for i, token in enumerate(tokens)}, [], np.empty(STEP, np.int64)
    longest, min_frequency = longest or len(corpus.symbols), max(min_frequency, 1)
    least, pairs = follow(corpus, names, None, min_frequency, longest)
    sure, bar = False, show_progress(range(vocab_size - len(tokens)), progress, "joining", "piece")
    remaining = iter(bar)
    while len(tokens) < vocab_size:
        limit = min(STEP, vocab_size - len(tokens))
        done, why = join_pairs(corpus, pairs, names, near, len(tokens), limit, least, longest, sure, made)
        merges.append(made[:done].copy())
        for key in made[:done].tolist():
            joined = name_of(key, tokens, prefix)
            ids[joined] = len(tokens)
            tokens.append(joined)
            next(remaining)
        sure = False
        if why == KNOWN:
            p = best_pair(corpus, pairs, names, least)
            known = ids.get(name_of(int(pairs.key[p]), tokens, prefix))
            if known is None:  # only the hashes are equal
                sure = True
                continue
            if by_string:
                pairs.count[p] = 0
                continue
            merges.append(pairs.key[p : p + 1].copy())
            join_to_known(corpus, pairs, near, p, known)
        elif why == LOWER:
            if least == min_frequency:
                break
            least = max(min_frequency, least // FALL)
        if why != ENOUGH:
            del pairs  # before the next ones: the peak of memory is here
            least, pairs = follow(corpus, names, least, min_frequency, longest)
    if progress:
        bar.close()
    return np.concatenate([*merges, np.empty(0, np.int64)])


def name_of(key: int, tokens: list[str], prefix: str) -> str:
    """The string of what a pair makes."""
    return tokens[key >> CODE_BITS] + tokens[key & CODE_MASK][len(prefix) :]


def make_corpus(words: Words, first: np.ndarray, inside: np.ndarray, by_string: bool) -> Corpus:
    """Corpus of counted words."""
    units, starts, counts = words
    size = len(units) + len(counts) + 1
    if size >= 1 << 31:
        raise ValueError(f"the distinct words have {len(units)} characters together, more than {1 << 31}")
    corpus = Corpus(
        np.empty(size, np.int32),
        np.empty(len(starts), np.int64),
        counts,
        np.zeros((size >> NEAR) + 2, np.int32),
        np.zeros(size if by_string else 0, np.uint32),
    )
    lay_out(units, starts, first, inside, corpus)
    return corpus


def make_names(tokens: list[str], size: int, prefix: str) -> Names:
    """Names of the tokens, with room for `size` of them."""
    head, body, power, length = np.zeros((4, size + 1), np.int64)
    names = Names(head, body, power, length, np.zeros(1 << (4 * size).bit_length(), np.int64))
    for i, token in enumerate(tokens):
        inside = prefix != "" and token.startswith(prefix) and len(token) > len(prefix)
        start, rest = (prefix, token[len(prefix) :]) if inside else ("", token)
        head[i], body[i], length[i] = hash_string(start), hash_string(rest), 1
        power[i] = pow(NAME_FACTOR, len(rest), NAME_PRIME)
        slot, name = find_name(names, i)
        names.slots[slot] = name
    return names


def hash_string(string: str) -> int:
    """Σ code points × powers of NAME_FACTOR, modulo a prime."""
    hashed = 0
    for c in string:
        hashed = (hashed * NAME_FACTOR + ord(c) + 1) % NAME_PRIME
    return hashed


def follow(corpus: Corpus, names: Names, least: int | None, min_frequency: int, longest: int) -> tuple[int, Pairs]:
    """(least, Pairs) of the pairs that occur at least `least` times; None: a FALL below the most frequent one."""
    sketch = np.zeros(SKETCH, np.int64)
    most = sketch_pairs(corpus, sketch)
    least = max(min_frequency, most // FALL) if least is None else least
    room = ROOM
    while True:
        key, count, first = np.empty((3, room), np.int64)
        pairs = Pairs(
            np.zeros(2 * room, np.int32),
            key,
            count,
            first,
            np.empty(room, np.int32),
            np.empty(0, np.int32),
            np.empty(room, np.int32),
            np.empty(room, np.int64),
            np.zeros(3, np.int64),
        )
        if count_pairs(corpus, pairs, names, sketch, least, longest) and fits(pairs, room):
            break
        del pairs
        room *= 2
    often = pairs.length[: pairs.used[0]][pairs.count[: pairs.used[0]] >= least]
    places = 2 * int(often.sum()) + 2 * int(often.max(initial=0)) + 1
    pairs = pairs._replace(places=np.empty(places, np.int32))
    place_pairs(corpus, pairs, names, sketch, least)
    return least, pairs


def fits(pairs: Pairs, room: int) -> bool:
    """Whether half as many pairs again fit, and what any one join makes."""
    n = int(pairs.used[0])
    return n + n // 2 + 2 * int(pairs.length[:n].max(initial=0)) + 1 <= room
