"""SentencePiece: raw text in, ids out, and the text back: blanks are ordinary characters, written ▁.

Unlike the other pipelines nothing cuts the text into words first. Its two models, Unigram (unigram.py) and the
byte pair encoding over characters below, find words because the pieces they learned do.
"""

from __future__ import annotations

import codecs
import heapq
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .encoding import Encoding
from .inputs import check_texts
from .normalize import REPLACEMENT, Normalized
from .parts import Normalizer, PlacedToken, PreTokenizer, Special, Token
from .pieces import BYTE, CONTROL, SPACE, UNKNOWN, UNUSED, USER_DEFINED, Pieces, longest_first
from .template import Template
from .tokenizer import Tokenizer
from .unigram import Unigram

if TYPE_CHECKING:
    from .charsmap import SentencePieceNormalizer
    from .sentencepiece_engine import SentencePieceEngine

UNKNOWN_SURFACE = " ⁇ "  # what an unknown piece is decoded to


class SentencePieceBPE(Pieces):
    """Byte pair encoding over characters: the pieces' own scores say what is joined first.

        repeat: of all neighbours whose joined string is a piece, join those of the highest score, the leftmost first

    User-defined pieces are found beforehand and never joined. A joined piece that is unused is taken apart again.

    Source   Sennrich 2016 (arXiv:1508.07909); sentencepiece 0.2.3, bpe_model.cc
    Raises   ValueError: as Pieces
    """

    def __init__(
        self,
        pieces: Iterable[str],
        scores: Iterable[float],
        kinds: Iterable[int] | None = None,
        *,
        byte_fallback: bool = False,
    ):
        super().__init__(pieces, scores, kinds, byte_fallback=byte_fallback)
        self.user_defined = longest_first(self.of_kind(USER_DEFINED))

    def match(self, text: str) -> list[Token]:
        """[(id, start, end)] of a normalized text."""
        ends, frozen = self._symbols(text)  # by the start of each symbol
        before, after = {end: start for start, end in ends.items()}, dict(ends)
        agenda: list[tuple[float, int, int, int]] = []  # −score, and where left, right and what follows start
        made_of: dict[str, int] = {}

        def propose(left):
            """Put the symbol at `left` and the next one on the agenda."""
            right = after[left] if left is not None else len(text)
            if right == len(text) or left in frozen or right in frozen:
                return
            joined = text[left : after[right]]
            i = self.text_ids.get(joined)
            if i is not None:
                heapq.heappush(agenda, (-self.scores[i], left, right, after[right]))
                if self.kinds[i] == UNUSED:
                    made_of[joined] = right - left

        for left in ends:
            propose(left)
        while agenda:
            _, left, right, end = heapq.heappop(agenda)
            if after.get(left) == right and after.get(right) == end:  # neither has been joined since
                after[left] = end
                del after[right]
                before[end] = left
                propose(before.get(left))
                propose(left)
        parts = [part for start, end in after.items() for part in self._used(text, start, end, made_of)]
        return self.spell(text, parts)

    def _symbols(self, text):
        """{start: end} of user-defined pieces, the longest at each place, and of the single characters between them."""
        ends, frozen, at = {}, set(), 0
        while at < len(text):
            match = self.user_defined and self.user_defined.match(text, at)
            if match:
                frozen.add(at)
            ends[at] = match.end() if match else at + 1
            at = ends[at]
        return ends, frozen

    def _used(self, text, start, end, made_of, depth=0):
        """[(id, start, end)] of a joined string; of one that is unused, of the two that it was last made of."""
        piece = text[start:end]
        i = self.text_ids.get(piece, self.unk_id)
        if self.kinds[i] != UNUSED or depth > 100:
            return [(i, start, end)]
        if piece not in made_of:
            return [(self.unk_id, start, end)]
        middle = start + made_of[piece]
        left = self._used(text, start, middle, made_of, depth + 1)
        return left + self._used(text, middle, end, made_of, depth + 1)

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer) -> SentencePieceEngine | None:
        """The fast form of the pipeline: `segment(texts)`."""
        from .charsmap import SentencePieceNormalizer
        from .sentencepiece_engine import SentencePieceEngine, bpe_parts

        if not isinstance(normalizer, SentencePieceNormalizer):
            return None
        return SentencePieceEngine(normalizer, self, bpe_parts(self))


class Whole:
    """The text as one piece, in which words begin at each ▁ (or end with it)."""

    def __init__(self, as_suffix: bool = False):
        self.as_suffix = as_suffix

    def pieces(self, normal: Normalized) -> list[Normalized]:
        """The text itself."""
        return [normal]

    def words(self, text: str) -> list[int]:
        """For each character the number of its word; a run of ▁ belongs to one."""
        numbers, word = [], 0
        for i, c in enumerate(text):
            if i > 0:
                a, b = text[i - 1] == SPACE, c == SPACE
                word += (a and not b) if self.as_suffix else (b and not a)
            numbers.append(word)
        return numbers


class SentencePiece(Tokenizer):
    """A Tokenizer of one of SentencePiece's models. `settings` are the trainer's, kept for the file.

    In a text, "<s>" is ordinary text, as in sentencepiece, unless `allowed_special` names it.
    """

    model: Unigram | SentencePieceBPE
    normalizer: SentencePieceNormalizer
    pretokenizer: Whole
    decoder: SentencePieceDecoder

    def __init__(
        self,
        model: Unigram | SentencePieceBPE,
        normalizer: SentencePieceNormalizer,
        template: Template | None = None,
        *,
        settings: dict[str, Any] | None = None,
        unk_surface: str = UNKNOWN_SURFACE,
        denormalizer: SentencePieceNormalizer | None = None,
    ):
        self.settings = settings or {}
        decoder = SentencePieceDecoder(model, normalizer, unk_surface, denormalizer)
        whole = Whole(normalizer.whitespace_as_suffix)
        super().__init__(model, normalizer, whole, template or Template(), decoder, model.of_kind(CONTROL))

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int = 8000, model: str = "unigram", **options: Any) -> SentencePiece:
        """A tokenizer learned from an iterable of raw texts; `options` are those of sentencepiece_train.train."""
        from .sentencepiece_train import train

        return train(texts, vocab_size, model, **options)

    def segment(
        self, text: str, allowed_special: Special = (), match: Callable[[str], list[Token]] | None = None
    ) -> list[PlacedToken]:
        """[(id, start, end, word)] of one text, step by step: the definition that `segment_batch` must equal."""
        tokens: list[PlacedToken] = []
        word, match = 0, match or self.model.match
        for normal, special in self.honoured(allowed_special).split(text):
            if special is not None:
                tokens.append((special.id, normal.starts[0], normal.ends[-1], word))
                word += 1
            else:
                words, found = self.pretokenizer.words(normal.text), match(normal.text)
                tokens += [(i, normal.starts[a], normal.ends[b - 1], word + words[a]) for i, a, b in found]
                word = tokens[-1][3] + 1 if tokens else 0
        return tokens

    def to_json(self) -> str:
        """ValueError: the normalizer and the settings fit a .model file only."""
        raise ValueError("a SentencePiece tokenizer is saved as .model: save(path)")

    def nbest(self, text: str, n: int, *, with_scores: bool = False) -> list:
        """The n most probable Encodings of a text, best first (Unigram only); with_scores: (log probability, Encoding).

        Raises   TypeError: text is not a str; ValueError: n < 1, or the model has no probabilities
        """
        model, normal = self._unigram(text)
        found = [(score, self._encoding(normal, parts)) for score, parts in model.nbest(normal.text, n)]
        return found if with_scores else [encoding for _, encoding in found]

    def sample(self, text: str, alpha: float = 0.1, *, rng: np.random.Generator) -> Encoding:
        """An Encoding drawn with probability ~ p ** alpha (Unigram only): one text in many forms, for training."""
        model, normal = self._unigram(text)
        return self._encoding(normal, model.sample(normal.text, alpha, rng))

    def _unigram(self, text: str) -> tuple[Unigram, Normalized]:
        """The model, if it has probabilities, and the normalized text."""
        if not isinstance(self.model, Unigram):
            raise ValueError("n-best and sampling need a Unigram model: byte pair encoding has no probabilities")
        return self.model, self.normalizer.normalize(check_texts([text], "texts")[0])

    def _encoding(self, normal, parts):
        words = self.pretokenizer.words(normal.text)
        ids, offsets = [i for i, _, _ in parts], [(normal.starts[a], normal.ends[b - 1]) for _, a, b in parts]
        tokens, zeros = [self._tokens[i] for i in ids], [0] * len(ids)
        return Encoding(ids, tokens, offsets, zeros, [words[a] for _, a, _ in parts], zeros[:], zeros[:])


class SentencePieceDecoder:
    """Pieces → text: ▁ becomes a blank, but not the one put before the text; byte pieces become characters again.

    Source   sentencepiece 0.2.3, sentencepiece_processor.cc: every byte that is in no UTF-8 becomes U+FFFD
    """

    def __init__(
        self,
        model: Pieces,
        normalizer: SentencePieceNormalizer,
        unk_surface: str = UNKNOWN_SURFACE,
        denormalizer: SentencePieceNormalizer | None = None,
    ):
        self.model, self.unk_surface, self.denormalizer = model, unk_surface, denormalizer
        self.strips_one = normalizer.add_dummy_prefix or normalizer.remove_extra_whitespaces
        self.strips_all = normalizer.remove_extra_whitespaces

    def decode(self, tokens: list[str], clean_up: bool | None = None) -> str:
        """Text of a list of pieces; clean_up changes nothing here."""
        parts, data, at_start = [], bytearray(), True
        for token in tokens:
            kind = self.model.kinds[self.model.vocab[token]]
            if kind == BYTE:
                data.append(int(token[3:5], 16))
                continue
            if data:
                parts.append(from_utf8(data))
                data.clear()
            at_start = at_start and not (parts and parts[-1])
            piece = token.removeprefix(SPACE) if at_start and self.strips_one and kind != CONTROL else token
            if piece != token and not self.strips_all:
                at_start = False
            if kind != CONTROL:
                piece = self.unk_surface if kind == UNKNOWN else piece.replace(SPACE, " ")
            parts.append(piece)
        text = "".join(parts) + from_utf8(data)
        return self.denormalizer.normalize(text).text if self.denormalizer else text


def _each_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return REPLACEMENT, error.start + 1


codecs.register_error("minibert.each_byte", _each_byte)


def from_utf8(data: bytes | bytearray) -> str:
    """Text of bytes; each byte that is part of no character becomes U+FFFD."""
    return data.decode("utf-8", "minibert.each_byte")
