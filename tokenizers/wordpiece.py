"""WordPiece: a word is cut into the longest known pieces, left to right; pieces inside a word start with "##".

Training joins, over and over, the pair of neighbouring pieces that stands together most often. Unlike byte pair
encoding there is no list of merges to replay: the vocabulary alone decides how a word is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .inputs import whole_number
from .normalize import BertNormalizer
from .parts import Normalizer, PreTokenizer, Token
from .pretokenize import BertPreTokenizer

if TYPE_CHECKING:
    from .count import Words
    from .tokenizer import Tokenizer
    from .wordpiece_kernel import WordPieceEngine

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPiece:
    """Greedy longest-match-first subwords.

    Source   Wu et al. 2016 (arXiv:1609.08144) 4.1; Devlin et al. 2019 (arXiv:1810.04805)
    Raises   ValueError: unk_token is not in vocab, ids are not 0 … n - 1, or words may hold no letter

    >>> WordPiece({"[UNK]": 0, "un": 1, "##able": 2}).match("unable")
    [(1, 0, 2), (2, 2, 6)]
    """

    def __init__(
        self, vocab: dict[str, int], unk_token: str = "[UNK]", prefix: str = "##", max_input_chars_per_word: int = 100
    ):
        if unk_token not in vocab:
            raise ValueError(f"the vocabulary lacks the unknown token {unk_token!r}")
        if sorted(vocab.values()) != list(range(len(vocab))):
            raise ValueError(f"ids must be 0 … {len(vocab) - 1}, each once")
        if max_input_chars_per_word < 1:
            raise ValueError(f"max_input_chars_per_word: expected 1 or more, got {max_input_chars_per_word}")
        self.vocab, self.unk_token, self.prefix = vocab, unk_token, prefix
        self.max_input_chars_per_word = max_input_chars_per_word
        self.unk_id = vocab[unk_token]

    def match(self, word: str) -> list[Token]:
        """[(id, start, end)] of one word's pieces; the whole word is unknown where any rest of it is."""
        if len(word) > self.max_input_chars_per_word:
            return [(self.unk_id, 0, len(word))]
        pieces, start = [], 0
        while start < len(word):
            prefix = self.prefix if start > 0 else ""
            for end in range(len(word), start, -1):
                piece = self.vocab.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return [(self.unk_id, 0, len(word))]
            pieces.append((piece, start, end))
            start = end
        return pieces

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer) -> WordPieceEngine | None:
        """The fast form of the pipeline; None where text is not cut as BERT cuts it."""
        from .wordpiece_kernel import WordPieceEngine

        if not isinstance(pretokenizer, BertPreTokenizer):
            return None
        return WordPieceEngine(normalizer, pretokenizer, self)

    @staticmethod
    def train(
        texts: Iterable[str],
        vocab_size: int = 30522,
        *,
        lowercase: bool = True,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = SPECIAL_TOKENS,
        strip_accents: bool | None = None,
        alphabet: Iterable[str] = (),
        limit_alphabet: int | None = None,
        progress: bool = False,
    ) -> Tokenizer:
        """A BERT tokenizer whose vocabulary is learned from an iterable of texts.

        Ids: the special tokens; `alphabet`; every other character; every other character inside a word, "##" before it;
        then joined pieces in the order of joining: always the most frequent pair, ties to the smaller ids, until
        `vocab_size` is reached or no pair occurs `min_frequency` times.

        Units    limit_alphabet: characters at most, the most frequent ones; words with others are left out
        Source   as Hugging Face's WordPieceTrainer, which selects by count(ab)
        Raises   TypeError: a text is not a str; ValueError: no words, or vocab_size below specials and alphabet
        Differs  Schuster & Nakajima 2012 select by count(ab) / (count(a) count(b)), the gain in likelihood;
                 Hugging Face numbers the "##" characters in random order, here they go by code point, after `alphabet`
        """
        from .count import count_words, keep_frequent
        from .decoders import WordPiece as Decoder
        from .template import bert_template
        from .tokenizer import Tokenizer

        vocab_size = whole_number(vocab_size, "vocab_size", 1)
        min_frequency = whole_number(min_frequency, "min_frequency")
        if missing := [t for t in SPECIAL_TOKENS[1:4] if t not in special_tokens]:
            raise ValueError(f"special_tokens must name {', '.join(missing)}")
        normalizer, pretokenizer = BertNormalizer(lowercase=lowercase, strip_accents=strip_accents), BertPreTokenizer()
        words = count_words(texts, normalizer, pretokenizer, progress)
        if limit_alphabet is not None:
            words = keep_frequent(words, whole_number(limit_alphabet, "limit_alphabet", 1))
        later = np.ones(len(words.units), bool)
        later[words.starts[:-1]] = False
        characters, within = ([chr(c) for c in np.unique(part)] for part in (words.units, words.units[later]))
        tokens = list(dict.fromkeys([*special_tokens, *alphabet, *characters, *("##" + c for c in within)]))
        if len(tokens) > vocab_size:
            raise ValueError(
                f"vocab_size {vocab_size} is too small: {len(special_tokens)} special tokens and the alphabet of this "
                f"corpus need {len(tokens)}"
            )
        learn_pieces(words, tokens, vocab_size, min_frequency, "##", progress)
        vocab = {token: i for i, token in enumerate(tokens)}
        specials = {token: vocab[token] for token in special_tokens}
        return Tokenizer(WordPiece(vocab), normalizer, pretokenizer, bert_template(specials), Decoder(), specials)


def learn_pieces(
    words: Words, tokens: list[str], vocab_size: int, min_frequency: int, prefix: str, progress: bool = False
) -> None:
    """Append to `tokens`, which holds the alphabet, the joined pieces of words counted as code points."""
    from .learn import learn_merges

    first, inside = np.full((2, 0x110000), -1, np.int32)
    for i, token in enumerate(tokens):
        if len(token) == 1:
            first[ord(token)] = i
        elif len(token) == len(prefix) + 1 and token.startswith(prefix):
            inside[ord(token[-1])] = i
    learn_merges(words, first, inside, tokens, vocab_size, min_frequency, prefix, progress=progress)
