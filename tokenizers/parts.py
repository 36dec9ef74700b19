"""The joints of a pipeline: what a Tokenizer asks of its parts. Any class that answers may stand in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, MutableSequence, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .normalize import Normalized

Token: TypeAlias = tuple[int, int, int]  # id, and the slice of its piece: start, end
PlacedToken: TypeAlias = tuple[int, int, int, int]  # id, start and end in the text, number of its word
Character: TypeAlias = tuple[str, int, int]  # a normalized character, and the slice of the text that it came from
Span: TypeAlias = tuple[int, int]  # start, end
Texts: TypeAlias = Iterable[str] | Iterable[Sequence[str]]  # texts, or texts that are split into words
Special: TypeAlias = Collection[str]  # names of special tokens, or "all"


class Normalizer(Protocol):
    """Text → text, with the source of every character."""

    def normalize(self, text: str, /) -> Normalized:
        """The normalized text."""


class PreTokenizer(Protocol):
    """Normalized text → the pieces that no token crosses."""

    def pieces(self, normal: Normalized, /) -> list[Normalized]:
        """The pieces, in order."""


class Model(Protocol):
    """Piece → tokens, by the plain form of the algorithm; and the kernels that do the same."""

    @property
    def vocab(self) -> dict[str, int]:
        """{token: id}."""

    def match(self, text: str, /) -> list[Token]:
        """The tokens of one piece."""

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer, /) -> Engine | None:
        """The fast form of a whole pipeline with this model; None where there is none."""


class Engine(Protocol):
    """Texts → ids by kernels; where the tokens stand is worked out when somebody asks. See engine.py."""

    @property
    def workspaces(self) -> MutableSequence:
        """What it keeps from call to call; may be emptied."""

    @property
    def normalizes(self) -> bool:
        """Whether it takes texts as they are; else as the normalizer leaves them."""

    def segment(self, texts: list[str], threads: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, starts, plain) of texts; those set in `plain` are left to the plain form."""

    def locate(
        self, texts: list[str], ids: np.ndarray, starts: np.ndarray, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """(offsets, word_ids) of the ids that `segment` gave."""


class Decoder(Protocol):
    """Tokens → text."""

    def decode(self, tokens: list[str], clean_up: bool | None = None) -> str:
        """The text of some tokens."""
