"""Unigram: of all cuts of a text into pieces the most probable, where a piece's probability depends on nothing else.

Unlike byte pair encoding and WordPiece, every cut has a probability. So there are a second and a third best, and cuts
can be drawn by chance: a model trained on such samples learns that one text has many forms (subword regularization).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from .inputs import whole_number
from .parts import Normalizer, PreTokenizer, Token
from .pieces import NORMAL, UNUSED, USER_DEFINED, Pieces

if TYPE_CHECKING:
    from .sentencepiece import SentencePiece
    from .sentencepiece_engine import SentencePieceEngine

UNKNOWN_PENALTY = 10.0  # log probability of an unknown character: this much below the least of the pieces
HUGE = 1e300  # whatever is summed up stays finite below
REBASE = 100_000.0  # SentencePiece subtracts the running score where it leaves ± this
COMPAT = ("sentencepiece", "hf")


class Unigram(Pieces):
    """The pieces of highest total log probability, and the shorter path where sums are equal to the last bit.

        best[end] = max over pieces text[start:end] of best[start] + score(piece)        (Viterbi)

    Source   Kudo 2018 (arXiv:1804.10959) 3.1–3.2; sentencepiece 0.2.3; Hugging Face's tokenizers 0.23.3
    Units    scores are natural logarithms. compat "sentencepiece": sums in float32, and from ±100,000 on they begin
             anew at 0; "hf": in float64. Of two paths of equal sum the one that came first stays, so on ties ids differ
    Raises   ValueError: as Pieces, or compat is unknown

    >>> Unigram(["<unk>", "a", "b", "ab"], [0.0, -1.0, -1.5, -2.0]).nbest("ab", 2)
    [(-2.0, [(3, 0, 2)]), (-2.5, [(1, 0, 1), (2, 1, 2)])]
    """

    def __init__(
        self,
        pieces: Iterable[str],
        scores: Iterable[float],
        kinds: Iterable[int] | None = None,
        *,
        byte_fallback: bool = False,
        compat: str = "sentencepiece",
    ):
        super().__init__(pieces, scores, kinds, byte_fallback=byte_fallback)
        if compat not in COMPAT:
            raise ValueError(f"compat: expected one of {', '.join(COMPAT)}, got {compat!r}")
        self.compat = compat
        self.number: Callable[[float], Any] = np.float32 if compat == "sentencepiece" else float
        self.piece_scores = [np.float32(s) if compat == "sentencepiece" else as_read(s) for s in self.scores]
        counted = [s for s, kind in zip(self.piece_scores, self.kinds, strict=True) if kind == NORMAL or compat == "hf"]
        self.unknown_score = self.number(min(counted, default=self.number(0.0)) - self.number(UNKNOWN_PENALTY))
        for piece, i in self.of_kind(USER_DEFINED).items():  # above any sum of logarithms, and most for one long piece
            self.piece_scores[i] = self.number(0.1 * (len(piece.encode()) - 1))
        self.longest = max(map(len, self.text_ids), default=1)

    @staticmethod
    def train(texts: Iterable[str], vocab_size: int = 8000, **options: Any) -> SentencePiece:
        """A SentencePiece tokenizer of this model learned from raw texts; `options` as in sentencepiece_train.train."""
        from .sentencepiece_train import train

        return train(texts, vocab_size, "unigram", **options)

    def match(self, text: str) -> list[Token]:
        """[(id, start, end)] of the best cut of a normalized text."""
        best: list[Any] = [None] * (len(text) + 1)  # (score of the best path to here, start and id of its last piece)
        best[0] = self.number(0), 0, None
        for start in range(len(text)):
            if self.compat == "sentencepiece" and abs(best[start][0]) > REBASE:
                self._rebase(best, start)
            for i, end, score in self.candidates(text, start):
                total = best[start][0] + score
                if best[end] is None or total > best[end][0]:
                    best[end] = total, start, i
        parts, end = [], len(text)
        while end > 0:
            _, start, i = best[end]
            parts.append((i, start, end))
            end = start
        return self.spell(text, parts[::-1])

    def candidates(self, text: str, start: int) -> Iterator[tuple[int, int, Any]]:
        """(id, end, score) of every piece that stands at `start`, and of the unknown where no single character does."""
        known = False
        for end in range(start + 1, min(len(text), start + self.longest) + 1):
            i = self.text_ids.get(text[start:end])
            if i is not None and self.kinds[i] != UNUSED:
                known |= end == start + 1
                yield i, end, self.piece_scores[i]
        if not known:
            yield self.unk_id, start + 1, self.unknown_score

    def _rebase(self, best, start):
        """Subtract the running score from every path that is as long or longer."""
        running = best[start][0]
        best[start:] = [path and (path[0] - running, *path[1:]) for path in best[start:]]

    def nbest(self, text: str, n: int) -> list[tuple[float, list[Token]]]:
        """[(log probability, [(id, start, end)])] of the n most probable cuts of a normalized text, best first.

        A* from the end of the text, where the best score of what is left is known: no path is taken in vain.

        Source   Nagata 1994 (forward DP, backward A*); Kudo 2018 3.2; sentencepiece 0.2.3 gives the same
        Raises   ValueError: n is no integer ≥ 1
        Differs  sums in float64, so that cuts of nearly equal probability may change places
        """
        n = whole_number(n, "n", 1)
        arriving = self._lattice(text)
        best = [0.0] * (len(text) + 1)
        for end in range(1, len(text) + 1):
            best[end] = max(best[start] + score for _, start, score in arriving[end])
        found: list[tuple[float, list[Token]]] = []
        order = count()
        agenda: list[tuple[float, int, int, float, Any]]
        agenda = [(-best[-1], next(order), len(text), 0.0, None)]  # of the rest behind: its score and (part, rest)
        while agenda and len(found) < n:
            _, _, end, behind, rest = heapq.heappop(agenda)
            if end == 0:
                found.append((behind, self.spell(text, _unlink(rest))))
            for i, start, score in arriving[end]:
                total = behind + score
                link = (i, start, end), rest
                heapq.heappush(agenda, (-(best[start] + total), next(order), start, total, link))
        return found

    def sample(self, text: str, alpha: float, rng: np.random.Generator) -> list[Token]:
        """[(id, start, end)] of one cut, drawn with a probability that goes as p(cut) ** alpha.

        Forward filtering sums the paths to each place; backward sampling chooses piece after piece from the end.

        Source   Scott 2002 for the two passes; Kudo 2018 3.3 for alpha (there with n = ∞)
        Units    alpha ≥ 0: 0 draws all cuts alike, 1 by their probability, large ones hardly any but the best
        Raises   ValueError: alpha is negative or not finite
        """
        if not (alpha >= 0 and math.isfinite(alpha)):
            raise ValueError(f"alpha: expected a finite number ≥ 0, got {alpha}")
        arriving, total = self._lattice(text), np.zeros(len(text) + 1)
        steepest = max((abs(score) for parts in arriving for *_, score in parts), default=0.0)
        alpha = min(alpha, HUGE / max(steepest, 1.0) / len(total))

        def paths(end):
            """Logarithm of all paths' weight up to `end`, by their last piece."""
            return np.array([total[start] + alpha * score for _, start, score in arriving[end]])

        for end in range(1, len(text) + 1):
            total[end] = np.logaddexp.reduce(paths(end))
        parts, end = [], len(text)
        while end > 0:
            logs = paths(end)
            bounds = np.cumsum(np.exp(logs - logs.max()))
            chosen = np.searchsorted(bounds, rng.random() * bounds[-1], side="right")
            i, start, _ = arriving[end][min(int(chosen), len(bounds) - 1)]
            parts.append((i, start, end))
            end = start
        return self.spell(text, parts[::-1])

    def _lattice(self, text):
        """For each place in a text the (id, start, score) of all candidates that end there."""
        arriving: list[list[tuple[int, int, float]]] = [[] for _ in range(len(text) + 1)]
        for start in range(len(text)):
            for i, end, score in self.candidates(text, start):
                arriving[end].append((i, start, float(score)))
        return arriving

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer) -> SentencePieceEngine | None:
        """The fast form of the pipeline; None where it is neither SentencePiece's nor cut into words as T5's."""
        from .charsmap import SentencePieceNormalizer
        from .metaspace_engine import words_engine
        from .sentencepiece_engine import SentencePieceEngine, unigram_parts

        if isinstance(normalizer, SentencePieceNormalizer):
            return SentencePieceEngine(normalizer, self, unigram_parts(self))
        return words_engine(self, pretokenizer)


def as_read(score: float) -> float:
    """A score as Hugging Face's library reads it from a file: its digits, rounded, times or by a power of ten.

    That rounds twice: of 17 digits the last bit may be off, which decides between paths that tie but for rounding.

    Source   serde_json 1.0, f64_from_parts
    """
    sign, digits, exponent = Decimal(repr(score)).as_tuple()
    whole, places = float(int("".join(map(str, digits)))), int(exponent)
    value = whole * float(f"1e{places}") if places >= 0 else whole / float(f"1e{-places}")
    return -value if sign else value


def _unlink(link):
    """[first, …, last] of (first, (…, (last, None)))."""
    parts = []
    while link is not None:
        part, link = link
        parts.append(part)
    return parts
