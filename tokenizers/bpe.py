"""Byte pair encoding over bytes: a piece of text is its UTF-8 bytes, and the known pairs are joined, best rank first.

Unlike WordPiece the order of learning matters: each merge has a rank, and a word is cut by replaying them. Since all
256 bytes are tokens, every text has ids and comes back from them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .inputs import check_ids, whole_number
from .merges import merge_table
from .normalize import Identity
from .parts import Normalizer, PreTokenizer, Token
from .pretokenize import PatternPreTokenizer
from .template import Template

if TYPE_CHECKING:
    from .bpe_kernel import BPEEngine
    from .tokenizer import Tokenizer

BYTES = 256


def _printable_bytes():
    """Byte → printable character: itself where it is one, else the next code point from 256 on.

    Source   bytes_to_unicode of GPT-2's encoder.py
    """
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(BYTES) if byte not in itself]
    return {**{byte: chr(byte) for byte in itself}, **{byte: chr(BYTES + n) for n, byte in enumerate(moved)}}


ALPHABET = _printable_bytes()
BYTE_OF = {character: byte for byte, character in ALPHABET.items()}
_NO_BYTE = {byte: "\uffff" for byte in range(BYTES) if chr(byte) not in BYTE_OF}  # no code point of Latin-1 either
_TO_LATIN1 = {**_NO_BYTE, **{ord(character): chr(byte) for character, byte in BYTE_OF.items()}}


def to_bytes(text: str) -> bytes:
    """UTF-8; a lone surrogate gives the three bytes that UTF-8 would give its number, so that it comes back."""
    return text.encode("utf-8", "surrogatepass")


def spell(data: bytes) -> str:
    """Bytes as a token's string, in GPT-2's printable alphabet.

    >>> spell(" é".encode())
    'ĠÃ©'
    """
    return "".join(ALPHABET[byte] for byte in data)


def unspell(token: str) -> bytes | None:
    """Bytes of a token's string, or None where it is not made of that alphabet."""
    try:
        return token.translate(_TO_LATIN1).encode("latin-1")
    except UnicodeEncodeError:
        return None


class BPE:
    """Byte-level byte pair encoding. merges: pairs of tokens; their ranks, if not their positions, may be equal.

        repeat: of all neighbours that are a merge, join those of the lowest rank, the leftmost first

    Source   Sennrich 2016 (arXiv:1508.07909); Radford et al. 2019 (GPT-2) for bytes; tiktoken for ranks
    Raises   ValueError: a byte, or a token that a merge needs or makes, is missing; an id twice or out of range
    Units    ignore_merges: a piece that is a token as a whole is not cut
    Differs  tiktoken puts U+FFFD in place of a lone surrogate, Hugging Face's library raises
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: Iterable[tuple[str, str]],
        ranks: Sequence[int] | None = None,
        *,
        ignore_merges: bool = False,
        special_tokens: Iterable[str] = (),
    ):
        self.vocab, self.merges, self.ignore_merges = vocab, list(merges), ignore_merges
        self.by_rank = ranks is not None  # tiktoken's kind: merges of equal rank
        self.special_tokens = frozenset(special_tokens)
        if missing := [byte for byte, token in ALPHABET.items() if token not in self.vocab or token in special_tokens]:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 bytes, the first is {missing[0]:#04x}")
        check_ids(vocab)
        self.byte_ids = [vocab[ALPHABET[byte]] for byte in range(BYTES)]
        self.table = merge_table(vocab, self.merges, ranks, self.special_tokens)

    @cached_property
    def pairs(self) -> dict[tuple[int, int], tuple[int, int]]:
        """{(id, id): (rank, id of the joined token)}"""
        return self.table.pairs()

    @classmethod
    def from_ranks(cls, ranks: Mapping[bytes, int], special_tokens: Mapping[str, int] | None = None) -> BPE:
        """Model of a table {bytes: rank}, where the rank is also the id: any two tokens that make up a third may join.

        Source   tiktoken: a piece that is a token is that token, else merges by the rank of what they make

        >>> BPE.from_ranks({**{bytes([byte]): byte for byte in range(256)}, b"lo": 256, b"low": 257}).merge(b"slow")
        [(115, 1), (257, 3)]
        """
        special_tokens = special_tokens or {}
        splits = [(data[:i], data[i:], rank) for data, rank in ranks.items() for i in range(1, len(data))]
        splits = [split for split in splits if split[0] in ranks and split[1] in ranks]
        splits.sort(key=lambda split: (split[2], ranks[split[0]]))
        names = {data: spell(data) for data in ranks}
        if clash := sorted(set(special_tokens) & set(names.values())):
            raise ValueError(f"special token {clash[0]!r} is an ordinary token too")
        vocab = {**{names[data]: rank for data, rank in ranks.items()}, **special_tokens}
        merges = [(names[left], names[right]) for left, right, _ in splits]
        by_rank = [rank for _, _, rank in splits]
        return cls(vocab, merges, by_rank, ignore_merges=True, special_tokens=special_tokens)

    @staticmethod
    def train(
        texts: Iterable[str],
        vocab_size: int = 32_000,
        *,
        pattern: str = "gpt2",
        min_frequency: int = 2,
        special_tokens: Iterable[str] = ("<|endoftext|>",),
        progress: bool = False,
    ) -> Tokenizer:
        """A byte-level tokenizer whose merges are learned from an iterable of texts.

        Ids: the special tokens; the 256 bytes in the order of their printable characters; then joined tokens in the
        order of joining: always the most frequent pair, ties to the smaller ids, until `vocab_size` is reached or no
        pair occurs `min_frequency` times.

        Source   Sennrich 2016 algorithm 1; Hugging Face's BpeTrainer for the ids and ties, the same merges
        Raises   TypeError: a text is not a str; ValueError: no text, vocab_size below specials and bytes, or a special
                 token that is a byte's or that the corpus itself makes
        Differs  where two pairs make one token, Hugging Face's trainer may join the same pair twice; here all at once
        """
        from .count import count_pieces
        from .learn import learn_merges
        from .pairs import CODE_BITS, CODE_MASK

        vocab_size = whole_number(vocab_size, "vocab_size", 1)
        min_frequency = whole_number(min_frequency, "min_frequency")
        tokens = list(dict.fromkeys([*special_tokens, *sorted(ALPHABET.values())]))
        if len(tokens) > vocab_size:
            raise ValueError(f"vocab_size {vocab_size} is too small: special tokens and 256 bytes need {len(tokens)}")
        ids = {token: i for i, token in enumerate(tokens)}
        table = np.array([ids[ALPHABET[byte]] for byte in range(BYTES)], np.int32)
        counted = count_pieces(texts, PatternPreTokenizer(pattern), progress)
        merges = learn_merges(counted, table, table, tokens, vocab_size, min_frequency, progress=progress)
        vocab = {token: i for i, token in enumerate(tokens)}
        left, right = (merges >> CODE_BITS).tolist(), (merges & CODE_MASK).tolist()
        pairs = [(tokens[a], tokens[b]) for a, b in zip(left, right, strict=True)]
        return byte_level(BPE(vocab, pairs, special_tokens=special_tokens), pattern, special_tokens)

    def match(self, word: str, dropout: float = 0.0, rng: np.random.Generator | None = None) -> list[Token]:
        """[(id, start, end)] of one piece of text; a token that ends inside a character spans the whole of it."""
        characters = [i for i, c in enumerate(word) for _ in to_bytes(c)]
        tokens, start = [], 0
        for i, length in self.merge(to_bytes(word), dropout, rng):
            tokens.append((i, characters[start], characters[start + length - 1] + 1))
            start += length
        return tokens

    def merge(self, data: bytes, dropout: float = 0.0, rng: np.random.Generator | None = None) -> list[tuple[int, int]]:
        """[(id, length)] of the tokens that some bytes are cut into."""
        *_, parts = self.steps(data, dropout, rng)
        return parts

    def steps(
        self, data: bytes, dropout: float = 0.0, rng: np.random.Generator | None = None
    ) -> Iterator[list[tuple[int, int]]]:
        """The cut [(id, length)] of some bytes before the first merge, after it, and so on.

        With dropout each merge that could come next is passed over with that probability, and whole tokens are cut too.

        Source   Provilkov 2020 (arXiv:1910.13267) algorithm 1 for dropout
        """
        if dropout and rng is None:
            raise ValueError("dropout draws: expected rng, a numpy.random.Generator, got None")
        whole = spell(data)
        if self.ignore_merges and not dropout and whole in self.vocab and whole not in self.special_tokens:
            yield [(self.vocab[whole], len(data))]
            return
        parts = [(self.byte_ids[byte], 1) for byte in data]
        yield parts
        while True:
            pairs = [self.pairs.get((a, b)) for (a, _), (b, _) in zip(parts, parts[1:], strict=False)]
            known = [(pair[0], i, pair[1]) for i, pair in enumerate(pairs) if pair]
            if rng is not None and dropout:
                kept = rng.random(len(known)) >= dropout
                known = [merge for merge, keep in zip(known, kept, strict=True) if keep]
            if not known:
                return
            _, i, joined = min(known)
            parts = [*parts[:i], (joined, parts[i][1] + parts[i + 1][1]), *parts[i + 2 :]]
            yield parts

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer) -> BPEEngine | None:
        """The fast form of the pipeline; None where text is not cut by one of the patterns."""
        from .bpe_kernel import BPEEngine

        return BPEEngine(pretokenizer, self) if isinstance(pretokenizer, PatternPreTokenizer) else None


def byte_level(model: BPE, pattern: str = "gpt2", special_tokens: Iterable[str] = ()) -> Tokenizer:
    """Tokenizer of a BPE model and a pattern of PATTERNS; `special_tokens` names control tokens of its vocabulary."""
    from .decoders import ByteLevel
    from .tokenizer import Tokenizer

    specials = {token: model.vocab.get(token, -1) for token in special_tokens}
    return Tokenizer(model, Identity(), PatternPreTokenizer(pattern), Template(), ByteLevel(), specials)
