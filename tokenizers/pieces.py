"""A vocabulary of scored pieces, as SentencePiece's files have it: what its two models, Unigram and BPE, share."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

from .parts import Token

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # as numbered in the files
SPACE = "▁"  # U+2581 stands for a blank inside pieces
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))


class Pieces:
    """Pieces with scores; a piece's id is its place.

    Normal and user-defined pieces stand for text, and of user-defined ones each occurrence is a token. Control pieces
    (<s>) never come from text, unused ones no longer. The one unknown piece stands for any run of characters
    that have no piece; with `byte_fallback` the 256 byte pieces spell those characters instead.

    Units    kinds: the numbers above; None: the first piece is the unknown one, all others are normal
    Raises   ValueError: a piece is empty, there twice, or not UTF-8; a score is not finite; not exactly one unknown
             piece; byte pieces without byte_fallback or not all 256 of them with it
    """

    def __init__(
        self,
        pieces: Iterable[str],
        scores: Iterable[float],
        kinds: Iterable[int] | None = None,
        *,
        byte_fallback: bool = False,
    ):
        self.pieces, self.scores = list(pieces), [float(score) for score in scores]
        self.kinds = [UNKNOWN] + [NORMAL] * (len(self.pieces) - 1) if kinds is None else [int(kind) for kind in kinds]
        self.byte_fallback = bool(byte_fallback)
        if not len(self.pieces) == len(self.scores) == len(self.kinds):
            got = f"{len(self.pieces)} pieces, {len(self.scores)} scores, {len(self.kinds)} kinds"
            raise ValueError(f"expected a score and a kind for each piece, got {got}")
        self._check()
        self.vocab = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self.vocab) < len(self.pieces):
            twice = next(piece for i, piece in enumerate(self.pieces) if self.vocab[piece] != i)
            raise ValueError(f"piece {twice!r} is there twice")
        self.unk_id = self.kinds.index(UNKNOWN)
        self.text_ids = {p: i for p, i in self.vocab.items() if self.kinds[i] in (NORMAL, USER_DEFINED, UNUSED)}
        self.byte_ids = [self.vocab[piece] for piece in BYTE_PIECES] if self.byte_fallback else []

    def _check(self):
        for i, (piece, score, kind) in enumerate(zip(self.pieces, self.scores, self.kinds, strict=True)):
            if not piece or not isinstance(piece, str):
                raise ValueError(f"piece {i}: expected a string that is not empty, got {piece!r:.40}")
            if not math.isfinite(score):
                raise ValueError(f"piece {i}, {piece!r:.40}: expected a finite score, got {score}")
            if not NORMAL <= kind <= BYTE:
                raise ValueError(f"piece {i}, {piece!r:.40}: expected a kind of {NORMAL} … {BYTE}, got {kind}")
            if (kind == BYTE) and not (self.byte_fallback and piece in BYTE_PIECES):
                raise ValueError(f"piece {i}, {piece!r:.40}: a byte piece that is none, or without byte_fallback")
        "".join(self.pieces).encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
        if (unknown := self.kinds.count(UNKNOWN)) != 1:
            raise ValueError(f"expected one unknown piece, got {unknown}")
        if self.byte_fallback and (missing := set(BYTE_PIECES) - set(self.pieces)):
            raise ValueError(f"byte_fallback needs all 256 byte pieces, {len(missing)} are missing: {min(missing)} …")

    def of_kind(self, kind: int) -> dict[str, int]:
        """{piece: id} of one kind."""
        return {piece: i for i, piece in enumerate(self.pieces) if self.kinds[i] == kind}

    def spell(self, text: str, parts: Iterable[Token]) -> list[Token]:
        """[(id, start, end)] of parts of a text, with each run of unknown ones as one token or as their bytes."""
        tokens = []
        for i, start, end in parts:
            if i == self.unk_id and self.byte_fallback:
                for at in range(start, end):
                    tokens += [(self.byte_ids[byte], at, at + 1) for byte in text[at].encode()]
            elif i == self.unk_id and tokens and tokens[-1][0] == i:
                tokens[-1] = (i, tokens[-1][1], end)
            else:
                tokens.append((i, start, end))
        return tokens


def longest_first(strings: Collection[str]) -> re.Pattern[str] | None:
    """Compiled pattern that finds the longest of some strings at a place, None where there are none."""
    return re.compile("|".join(map(re.escape, sorted(strings, key=len, reverse=True)))) if strings else None
