"""Word level: each word that the vocabulary knows is one token, every other word is the unknown token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np

from .inputs import check_ids, whole_number
from .parts import Normalizer, PreTokenizer, Token
from .pretokenize import BertPreTokenizer, Splitter

if TYPE_CHECKING:
    from .tokenizer import Tokenizer


class WordLevel:
    """A table of words.

    Source   the word vocabularies before subwords, e.g. Bengio et al. 2003; Hugging Face's WordLevel for ids
    Raises   ValueError: unk_token is not in vocab, or ids are not 0 … MAX_ID, each once
    """

    def __init__(self, vocab: dict[str, int], unk_token: str = "[UNK]"):
        if unk_token not in vocab:
            raise ValueError(f"the vocabulary lacks the unknown token {unk_token!r}")
        check_ids(vocab)
        self.vocab, self.unk_token, self.unk_id = vocab, unk_token, vocab[unk_token]

    def match(self, word: str) -> list[Token]:
        """[(id, start, end)]: the word as a whole."""
        return [(self.vocab.get(word, self.unk_id), 0, len(word))]

    @staticmethod
    def train(
        texts: Iterable[str],
        vocab_size: int = 30_000,
        *,
        lowercase: bool = True,
        min_frequency: int = 1,
        special_tokens: Sequence[str] = ("[PAD]", "[UNK]"),
        progress: bool = False,
    ) -> Tokenizer:
        """A tokenizer of the most frequent of BERT's words; ids: the special tokens, then by count, then by the word.

        Source   Hugging Face's WordLevelTrainer for the order
        Raises   TypeError: a text is not a str; ValueError: no words, [UNK] is no special token, or they do not fit
        """
        from .count import count_words
        from .decoders import WordPiece as Decoder
        from .normalize import BertNormalizer
        from .template import Template
        from .tokenizer import Tokenizer

        vocab_size = whole_number(vocab_size, "vocab_size", 1)
        min_frequency = whole_number(min_frequency, "min_frequency")
        if "[UNK]" not in special_tokens or len(special_tokens) > vocab_size:
            raise ValueError(f"special_tokens: expected [UNK] and at most {vocab_size} in all, got {special_tokens}")
        normalizer, pretokenizer = BertNormalizer(lowercase=lowercase), BertPreTokenizer()
        units, starts, counts = count_words(texts, normalizer, pretokenizer, progress)
        text, bounds = "".join(map(chr, units.tolist())), starts.tolist()
        words = [text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
        often = [(-count, word) for word, count in zip(words, counts.tolist(), strict=True) if count >= min_frequency]
        tokens = list(dict.fromkeys([*special_tokens, *(word for _, word in sorted(often))]))[:vocab_size]
        vocab = {token: i for i, token in enumerate(tokens)}
        specials = {token: vocab[token] for token in special_tokens}
        return Tokenizer(WordLevel(vocab), normalizer, pretokenizer, Template(), Decoder(), specials)

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer) -> WordLevelEngine | None:
        """The fast form of the pipeline; None where the words are not stretches of the text."""
        return WordLevelEngine(self, pretokenizer) if isinstance(pretokenizer, Splitter) else None


class WordLevelEngine:
    """One look-up a word: no kernel would gain on Python's own dictionary and patterns by much."""

    normalizes = False

    def __init__(self, model: WordLevel, pretokenizer: Splitter):
        self.model, self.pretokenizer = model, pretokenizer
        self.workspaces: list = []

    def segment(self, texts: list[str], threads: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, starts, plain) of texts, none of which is left to the plain form."""
        rows = [self.pretokenizer.words(text) for text in texts]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=starts[1:])
        ids = map(self.model.vocab.get, chain.from_iterable(rows), repeat(self.model.unk_id))
        return np.fromiter(ids, np.int32, starts[-1]), starts, np.zeros(len(rows), bool)

    def locate(
        self, texts: list[str], ids: np.ndarray, starts: np.ndarray, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(offsets, word_ids) of the ids that `segment` gave for the texts."""
        spans = [span for text in texts for span in self.pretokenizer.split(text)]
        words = np.arange(len(ids), dtype=np.int32) - np.repeat(starts[:-1], np.diff(starts)).astype(np.int32)
        return np.array(spans, np.int32).reshape(-1, 2), words
