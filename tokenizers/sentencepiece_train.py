"""Training SentencePiece's models from raw text: what it counts, which characters it keeps, which pieces come first.

No piece holds a blank but at its start, or letters of two scripts. So texts are cut at these places first, and what is
counted, sorted and joined are the distinct parts: less than a tenth of the characters, at the same
likelihood, since the pieces' probabilities multiply over a cut that every segmentation makes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ._jit import bare
from .charsmap import SentencePieceNormalizer
from .count import WordCounter, count_word, read_blocks
from .engine import code_array
from .inputs import whole_number
from .learn import learn_merges
from .normalize import ranges
from .pieces import BYTE, BYTE_PIECES, CONTROL, NORMAL, SPACE, UNKNOWN, USER_DEFINED, longest_first
from .unicode_scripts import SCRIPTS
from .unigram_train import SEED_SIZE, learn_pieces

if TYPE_CHECKING:
    from .count import Words
    from .sentencepiece import SentencePiece

BLANK, MARK = 0x20, ord(SPACE)
ANY, INHERITED, RARE, ALONE = 0, 1, -1, -2  # classes of characters beside their scripts' numbers
LIKE_HAN = ("HAN", "HIRAGANA", "KATAKANA")
DIGITS = [*range(0x30, 0x3A), *range(0xFF10, 0xFF1A)]
MODELS = ("unigram", "bpe")


def train(
    texts: Iterable[str],
    vocab_size: int = 8000,
    model: str = "unigram",
    *,
    normalizer: str | SentencePieceNormalizer = "nmt_nfkc",
    character_coverage: float = 0.9995,
    byte_fallback: bool = False,
    control_symbols: Iterable[str] = (),
    user_defined_symbols: Iterable[str] = (),
    unk_piece: str = "<unk>",
    bos_piece: str = "<s>",
    eos_piece: str = "</s>",
    max_sentencepiece_length: int = 16,
    split_by_unicode_script: bool = True,
    split_by_number: bool = True,
    split_digits: bool = False,
    seed_sentencepiece_size: int = SEED_SIZE,
    hard_vocab_limit: bool = True,
    progress: bool = False,
) -> SentencePiece:
    """A SentencePiece tokenizer learned from an iterable of raw texts; names and defaults are sentencepiece's.

    Ids: <unk>, <s>, </s>, the control and user-defined symbols, the 256 bytes with `byte_fallback`; then the learned
    pieces, the most probable (Unigram) or the first joined (BPE) first.

    Units    character_coverage: share of all characters in the text whose characters surely become pieces
    Raises   TypeError: a text is not a str; ValueError: no words, the alphabet does not fit, or, with hard_vocab_limit,
             fewer pieces than asked for
    Source   Kudo & Richardson 2018 (arXiv:1808.06226); sentencepiece 0.2.3 (trainer_interface.cc, bpe_model_trainer.cc)
    """
    from .sentencepiece import SentencePiece, SentencePieceBPE
    from .unigram import Unigram

    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
    if not 0 < character_coverage <= 1:
        raise ValueError(f"character_coverage: expected a share above 0, at most 1, got {character_coverage}")
    vocab_size = whole_number(vocab_size, "vocab_size", 1)
    max_sentencepiece_length = whole_number(max_sentencepiece_length, "max_sentencepiece_length", 1)
    seed_sentencepiece_size = whole_number(seed_sentencepiece_size, "seed_sentencepiece_size", 1)
    symbols = {unk_piece: UNKNOWN, bos_piece: CONTROL, eos_piece: CONTROL}
    symbols |= dict.fromkeys(control_symbols, CONTROL) | dict.fromkeys(user_defined_symbols, USER_DEFINED)
    symbols |= dict.fromkeys(BYTE_PIECES if byte_fallback else (), BYTE)
    if isinstance(normalizer, str):
        normalizer = SentencePieceNormalizer.named(normalizer, user_defined=tuple(user_defined_symbols))
    if not normalizer.escape_whitespaces:
        raise ValueError("training needs a normalizer that writes blanks as ▁: escape_whitespaces=True")
    words = count_words(texts, normalizer, [name for name, kind in symbols.items() if kind != BYTE], progress)
    required = cover(words, character_coverage)
    if len(symbols) + len(required) > vocab_size:
        raise ValueError(
            f"vocab_size {vocab_size} is too small: {len(symbols)} symbols and {len(required)} characters need "
            f"{len(symbols) + len(required)}; a lower character_coverage leaves rare characters out"
        )
    parts = cut(words, required, split_by_unicode_script, split_by_number, split_digits)
    room = vocab_size - len(symbols)
    if model == "unigram":
        found = learn_pieces(parts, required, room, max_sentencepiece_length, seed_sentencepiece_size, progress)
    else:
        found = join_pieces(parts, required, room, max_sentencepiece_length, progress)
    found = [(piece, score) for piece, score in found if piece not in symbols]
    if hard_vocab_limit and len(found) < room:
        raise ValueError(
            f"vocab_size {vocab_size} is too large for this corpus: it gives {len(symbols) + len(found)} pieces; "
            "hard_vocab_limit=False takes what there is"
        )
    names, scores = [*symbols, *(piece for piece, _ in found)], [0.0] * len(symbols) + [score for _, score in found]
    kinds = [*symbols.values(), *[NORMAL] * len(found)]
    made = (Unigram if model == "unigram" else SentencePieceBPE)(names, scores, kinds, byte_fallback=byte_fallback)
    settings = {
        "character_coverage": character_coverage,
        "max_sentencepiece_length": max_sentencepiece_length,
        "split_by_unicode_script": split_by_unicode_script,
        "split_by_number": split_by_number,
        "split_digits": split_digits,
        "hard_vocab_limit": hard_vocab_limit,
    }
    return SentencePiece(made, normalizer, settings=settings)


# Text → words → parts


@bare
def count_runs(words, codes, starts):
    """Count what stands between the blanks of texts."""
    for b in range(len(starts) - 1):
        i, stop = int(starts[b]), int(starts[b + 1])
        while i < stop:
            end = i
            while end < stop and codes[end] != BLANK:
                end += 1
            if end > i:
                count_word(words, codes, i, end, 1)
            i = end + 1


@bare
def count_unchanged(words, same, suffix, buffer, counted):
    """Count the words that are set in `same`, with the ▁ before or behind them."""
    for w in range(len(words.counts)):
        n = words.starts[w + 1] - words.starts[w]
        for i in range(n if same[w] else 0):
            buffer[i + 1 - suffix] = words.units[words.starts[w] + i]
        if same[w]:
            buffer[suffix * n] = MARK
            count_word(counted, buffer, 0, n + 1, words.counts[w])


@bare
def cut_words(words, classes, parts):
    """Count the parts of words: cut where the class changes, around ALONE, and instead of RARE characters."""
    for w in range(len(words.counts)):
        start, last = words.starts[w], ANY
        for i in range(words.starts[w], words.starts[w + 1]):
            kind = int(classes[words.units[i]])
            other = last != ANY and kind != last and kind != ANY and kind != INHERITED
            if other or kind < ANY or last < ANY:
                if i > start:
                    count_word(parts, words.units, start, i, words.counts[w])
                start, last = i + (kind == RARE), ANY
            if kind != INHERITED and kind != RARE and words.units[i] != MARK:
                last = kind
        if words.starts[w + 1] > start:
            count_word(parts, words.units, start, words.starts[w + 1], words.counts[w])


def count_words(
    texts: Iterable[str], normalizer: SentencePieceNormalizer, symbols: Collection[str], progress: bool = False
) -> Words:
    """count.Words, normalized, each with its ▁, in code points; symbols are cut out. A raw word is normalized once.

    Differs  without add_dummy_prefix, sentencepiece counts the first word of a text without ▁
    """
    runs_of_text = WordCounter(np.uint32)
    for block in read_blocks(texts, progress):
        codes, starts = code_array(block)
        runs_of_text.make_room(len(codes), len(codes))
        count_runs(runs_of_text.words, codes, starts)
    raw, counted, suffix = runs_of_text.result(), WordCounter(np.uint32), int(normalizer.whitespace_as_suffix)
    plain = unchanged(raw, normalizer, symbols)
    same = np.logical_and.reduceat(plain[raw.units], raw.starts[:-1])
    counted.make_room(len(raw.counts), len(raw.units) + len(raw.counts))
    buffer = np.empty(int(np.diff(raw.starts).max()) + 1, np.uint32)
    count_unchanged(raw, same, suffix, buffer, counted.words)
    words, counts, rewrite = [], [], rewriter(normalizer, plain)
    between = longest_first(symbols)
    word = re.compile(f"[^{SPACE}]+{SPACE}|[^{SPACE}]+" if suffix else f"{SPACE}?[^{SPACE}]+")
    for w in np.flatnonzero(~same).tolist():
        run = rewrite("".join(map(chr, raw.units[raw.starts[w] : raw.starts[w + 1]].tolist()))).strip(SPACE)
        marked = run + SPACE if suffix else SPACE + run
        for part in (between.split(marked) if between else [marked]) if run else ():
            found = word.findall(part)
            words += found
            counts += [int(raw.counts[w])] * len(found)
    counted.add(words, counts)
    return counted.result()


def unchanged(words: Words, normalizer: SentencePieceNormalizer, symbols: Collection[str]) -> np.ndarray:
    """(0x110000,) bool: characters of the words that stay as they are, never compose with others, begin no symbol."""
    plain, normalize = np.zeros(0x110000, bool), endless(normalizer).normalize
    for code in np.unique(words.units).tolist():
        mark = unicodedata.category(chr(code))[0] == "M" or 0x1100 <= code < 0x1200  # Hangul jamo compose too
        plain[code] = not mark and normalize(chr(code)).text == chr(code)
    plain[[ord(symbol[0]) for symbol in symbols]] = False
    return plain


def endless(normalizer: SentencePieceNormalizer) -> SentencePieceNormalizer:
    """The normalizer without what it does at the ends of a text."""
    return replace(normalizer, add_dummy_prefix=False, remove_extra_whitespaces=False)


def rewriter(normalizer: SentencePieceNormalizer, plain: np.ndarray) -> Callable[[str], str]:
    """Normalization of text, a stretch that may change at a time: of these there are few different ones."""
    inner = endless(normalizer)
    normalize = cache(lambda stretch: inner.normalize(stretch).text)
    if not plain.any():
        return normalize
    same = "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in runs(np.flatnonzero(plain)))
    changing = re.compile(f"[{same}]?[^{same}]+")
    return lambda text: changing.sub(lambda match: normalize(match[0]), text)


def runs(codes: np.ndarray) -> Iterable[tuple[int, int]]:
    """(first, last) of the runs of consecutive numbers in a sorted array."""
    breaks = np.flatnonzero(np.diff(codes) > 1)
    return zip(codes[np.append(0, breaks + 1)].tolist(), codes[np.append(breaks, len(codes) - 1)].tolist(), strict=True)


def cover(words: Words, share: float) -> list[int]:
    """The most frequent code points that make up a share of the text, of equals the smaller ones first; never NUL.

    Source   sentencepiece compares in float32, which decides about a last character
    """
    characters, number = np.unique(words.units, return_inverse=True)
    counts = np.bincount(number, np.repeat(words.counts, np.diff(words.starts)))
    characters, counts = characters[characters > 0], counts[characters > 0]
    order = np.argsort(-counts, kind="stable")
    covered = np.cumsum(counts[order])
    enough = (covered / covered[-1]).astype(np.float32) >= np.float32(share)
    return characters[order[: 1 + int(np.argmax(enough))]].tolist()


@cache
def scripts() -> np.ndarray:
    """(0x110000,) int16: a number for each script, above INHERITED; Han, Hiragana and Katakana have one."""
    numbers, table = {"INHERITED": INHERITED}, np.full(0x110000, INHERITED + 1, np.int16)
    for part in SCRIPTS.rstrip("; ").split("; "):
        name, _, text = part.partition(" ")
        for a, b in ranges(text):
            table[a : b + 1] = numbers.setdefault("HAN" if name in LIKE_HAN else name, len(numbers) + INHERITED + 1)
    table[0x30FC] = numbers["HAN"]  # the long vowel mark
    return table


def cut(words: Words, required: list[int], by_script: bool, by_number: bool, digits: bool) -> Words:
    """The parts of words that no piece may cross, without the characters that are not required."""
    classes = np.full(0x110000, RARE, np.int16)
    classes[required] = scripts()[required] if by_script else ANY
    numbers = [digit for digit in DIGITS if classes[digit] != RARE]
    if digits or not by_number:
        classes[numbers] = ALONE if digits else ANY
    if MARK in required:
        classes[MARK] = ANY
    parts = WordCounter(np.uint32)
    parts.make_room(len(words.units), len(words.units))
    cut_words(words, classes, parts.words)
    return parts.result()


def join_pieces(
    parts: Words, required: list[int], vocab_size: int, longest: int, progress: bool
) -> list[tuple[str, float]]:
    """[(piece, score)] by byte pair encoding over characters: joined pieces first, then the required characters."""
    tokens, table = list(map(chr, required)), np.zeros(0x110000, np.int32)
    table[required] = np.arange(len(required))
    learn_merges(parts, table, table, tokens, vocab_size, 1, by_string=True, longest=longest, progress=progress)
    pieces = tokens[len(required) :] + tokens[: len(required)]
    return [(piece, -float(i)) for i, piece in enumerate(pieces)]
