"""Pipelines of tokenizer.json that write blanks as ▁, T5's and Llama's, on SentencePiece's kernels.

Both come to what a SentencePieceNormalizer without a character map does: T5's cuts at white space and puts ▁ before
each word, Llama's puts one before the text and writes each blank as one. What they differ in is put right before and
after: other white space, texts that hold ▁ themselves, and where a ▁ that was put in comes from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from .bpe_kernel import make_merges
from .charsmap import SentencePieceNormalizer
from .engine import code_array
from .normalize import code_points
from .normalizers import Prepend, Replace
from .normalizers import Sequence as Normalizers
from .parts import Normalizer, PreTokenizer
from .patterns import Pattern
from .pieces import SPACE
from .pretokenizers import Metaspace, WhitespaceSplit, Whole
from .pretokenizers import Sequence as PreTokenizers
from .sentencepiece_engine import Parts, SentencePieceEngine, merge_parts, unigram_parts
from .trie import build_trie

if TYPE_CHECKING:
    from .character_bpe import CharacterBPE
    from .unigram import Unigram

WORDS = PreTokenizers((WhitespaceSplit(), Metaspace()))
BLANKS = Normalizers((Prepend(SPACE), Replace(Pattern(literal=" "), SPACE)))


def words_engine(model: Unigram, pretokenizer: PreTokenizer) -> WordsEngine | None:
    """WordsEngine of a Unigram, None where the text is cut otherwise or ▁ may be part of an unknown run."""
    if pretokenizer != WORDS or model.compat != "hf" or SPACE not in model.text_ids:
        return None
    engine = WordsEngine(model)
    return engine if engine.tables and engine.tables.by_words else None


def whole_text_engine(
    model: CharacterBPE, normalizer: Normalizer, pretokenizer: PreTokenizer
) -> WholeTextEngine | None:
    """WholeTextEngine of a CharacterBPE, None where text is prepared or cut otherwise, or the model has no parts."""
    if (normalizer, pretokenizer) != (BLANKS, Whole()):
        return None
    parts = character_parts(model)
    return parts and WholeTextEngine(model, parts)


class WordsEngine(SentencePieceEngine):
    """T5's: words at white space, each with its ▁, and each cut by itself."""

    normalizes = False  # the characters; that is done before
    sums_anew = True

    def __init__(self, model: Unigram):
        super().__init__(SentencePieceNormalizer(), model, unigram_parts(model))
        self.other_blanks = re.compile("[" + "".join(code_points("WHITE_SPACE") - {" "}) + "]")

    def segment(self, texts: list[str], threads: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As every engine's; texts that hold ▁ are left to the plain form."""
        apart = np.fromiter((SPACE in text for text in texts), bool, len(texts))  # its own ▁ stands for the one put in
        texts = ["" if a else self.other_blanks.sub(" ", text) for a, text in zip(apart, texts, strict=True)]
        ids, starts, plain = super().segment(texts, threads)
        return ids, starts, plain | apart

    def locate(
        self, texts: list[str], ids: np.ndarray, starts: np.ndarray, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ▁ before a word comes from its first character, not from the blank."""
        texts = [self.other_blanks.sub(" ", text) for text in texts]
        offsets, word_ids = super().locate(texts, ids, starts, threads)
        codes, text_starts = code_array(texts)
        word_at = np.where(codes == ord(" "), len(codes), np.arange(len(codes)))  # where the word from here on begins
        word_at = np.minimum.accumulate(word_at[::-1])[::-1]
        origin = np.repeat(text_starts[:-1], np.diff(starts))
        offsets[:, 0] = word_at[offsets[:, 0] + origin] - origin
        offsets[:, 1] = np.maximum(offsets[:, 1], offsets[:, 0] + 1)
        return offsets, word_ids


class WholeTextEngine(SentencePieceEngine):
    """Llama's: a text is one piece, with a ▁ before it and for each blank."""

    def __init__(self, model: CharacterBPE, parts: Parts):
        normalizer = SentencePieceNormalizer(remove_extra_whitespaces=False)
        super().__init__(normalizer, model, parts)

    def locate(
        self, texts: list[str], ids: np.ndarray, starts: np.ndarray, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ▁ before a text comes from its first character."""
        offsets, word_ids = super().locate(texts, ids, starts, threads)
        return np.maximum(offsets, offsets[:, :1] + [0, 1]), np.zeros_like(word_ids)


def character_parts(model: CharacterBPE) -> Parts | None:
    """Parts of a CharacterBPE; None where unknown characters would be joined, or stay apart, in its own way."""
    table, byte_ids = model.table, model.byte_ids
    if model.ignore_merges or -1 in byte_ids or not (byte_ids or model.fuse_unk):
        return None
    if np.isin([table.left, table.right, table.joined], [model.unk_id, *byte_ids]).any():
        return None
    if model.unk_token is not None and len(model.unk_token) == 1:  # stands for itself too, and then not for a run
        return None
    made = {*table.joined.tolist()}
    characters = {token for token in model.vocab if len(token) == 1}
    text = {t: i for t, i in model.vocab.items() if t in characters or (i in made and set(t) <= characters)}
    spelled = [b""] * (max(model.vocab.values()) + 1)
    for token, i in text.items():
        spelled[i] = token.encode()
    trie = build_trie({piece: i for i, piece in enumerate(spelled) if piece})
    every = make_merges(table.left, table.right, table.rank, table.joined)
    return merge_parts(text, list(text), spelled, every, trie, {})
