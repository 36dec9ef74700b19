"""Text → tokens: normalizer, pre-tokenizer, model, and the tokens that stand beside the model, found in the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .added_tokens import AddedToken, AddedTokens
from .normalize import Identity, unchanged
from .parts import Decoder, Model, Normalizer, PlacedToken, PreTokenizer, Special, Token
from .pretokenize import prefixed
from .segments import Segments, of_rows, replace_rows
from .template import SEQUENCES

if TYPE_CHECKING:
    from .template import Template

LONGEST_REMEMBERED = 64  # characters of a piece: with the number of pieces it bounds the memory


class Segmenter:
    """A model with what stands around it, and the way of texts through it."""

    def __init__(
        self,
        model: Model,
        normalizer: Normalizer,
        pretokenizer: PreTokenizer,
        template: Template,
        decoder: Decoder,
        special_tokens: Mapping[str, int],
        file_settings: dict[str, Any] | None = None,
        added_tokens: Iterable[AddedToken] | None = None,
    ):
        self.model, self.normalizer, self.pretokenizer = model, normalizer, pretokenizer
        self.template, self.decoder, self.special_tokens = template, decoder, dict(special_tokens)
        if added_tokens is None:
            added_tokens = [AddedToken(token, i) for token, i in self.special_tokens.items()]
        self.added_tokens = sorted(added_tokens, key=lambda token: token.id)
        self.file_settings = file_settings or {}  # tokenizer.json's truncation and padding: kept, not applied
        self._vocab = {**model.vocab, **{token.content: token.id for token in self.added_tokens}}
        self._tokens: list[str | None] = [None] * (max(self._vocab.values()) + 1)  # None: no token has that id
        for token, i in self._vocab.items():
            if self._tokens[i] is not None:
                raise ValueError(f"id {i} is that of {self._tokens[i]!r} and of {token!r}")
            self._tokens[i] = token
        for token, i in self.special_tokens.items():
            if self._vocab.get(token) != i or model.vocab.get(token, i) != i:
                raise ValueError(f"special token {token!r}: expected id {model.vocab.get(token)}, got {i}")
        for name, _ in (*template.single, *template.pair):
            if name not in SEQUENCES and name not in self.special_tokens:
                raise ValueError(f"the template names {name!r}, which is not a special token")
        self._honoured: dict[Special, AddedTokens] = {}

    # Vocabulary

    @property
    def vocab(self) -> dict[str, int]:
        """{token: id}, a copy."""
        return dict(self._vocab)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: what a table of embeddings needs rows for."""
        return len(self._tokens)

    def token_to_id(self, token: str) -> int | None:
        """Id of a token, None where there is none."""
        return self._vocab.get(token)

    def id_to_token(self, i: int) -> str | None:
        """Token of an id, None where there is none."""
        return self._tokens[i] if 0 <= i < len(self._tokens) else None

    # Text → ids

    def segment(
        self, text: str, allowed_special: Special = (), match: Callable[[str], list[Token]] | None = None
    ) -> list[PlacedToken]:
        """[(id, start, end, word)] of one text, step by step: the definition that `segment_batch` must equal.

        match: how a piece is cut, if not as the model does it.
        """
        tokens, word, match = [], 0, match or self._match
        for normal, added in self.honoured(allowed_special).split(text):
            if added is not None:
                start, end = normal.starts[0], normal.ends[-1]
                if self.template.trim_offsets:  # white space that the token took along
                    start += len(normal.text) - len(normal.text.lstrip())
                    end -= len(normal.text) - len(normal.text.rstrip())
                tokens.append((added.id, start, end, word))
                word += 1
                continue
            for piece in self.pretokenizer.pieces(normal):
                for i, start, end in match(piece.text):
                    tokens.append((i, piece.starts[start], piece.ends[end - 1], word))
                word += 1
        if self.template.trim_offsets and tokens:
            table = np.array(tokens)
            table[:, 1:3] = self._trimmed(table[:, 0], table[:, 1:3], np.array([0, len(table)]))
            tokens = list(map(tuple, table.tolist()))
        return tokens

    def segment_batch(self, texts: Sequence[str], allowed_special: Special = (), threads: int = 1) -> Segments:
        """Segments of a list of texts: the kernel's, and the plain form's for the few texts that it leaves out."""
        allowed_special = self.special_names(allowed_special, "allowed_special")
        if self._engine is None:
            return of_rows([self.segment(text, allowed_special) for text in texts])
        added = self.honoured(allowed_special)
        apart = np.fromiter(map(added.occur_in, texts), bool, len(texts)) if added else np.zeros(len(texts), bool)
        usual = [" " if a else text for a, text in zip(apart, texts, strict=True)] if apart.any() else list(texts)
        changed = self._prepare(usual)
        for b, normal in changed.items():
            usual[b] = normal.text
        ids, starts, plain = self._engine.segment(usual, threads)

        def locate():
            offsets, word_ids = self._engine.locate(usual, ids, starts, threads)
            for b, normal in changed.items():
                row = offsets[starts[b] : starts[b + 1]]
                row[:, 0], row[:, 1] = np.array(normal.starts)[row[:, 0]], np.array(normal.ends)[row[:, 1] - 1]
            trimmed = self._trimmed(ids, offsets, starts) if self.template.trim_offsets else offsets
            return trimmed, word_ids

        segments = Segments(ids, starts, locate)
        rows = {b: self.segment(texts[b], allowed_special) for b in np.flatnonzero(plain | apart).tolist()}
        return replace_rows(segments, rows) if rows else segments

    def _prepare(self, texts):
        """{row: Normalized} of the texts that change before the engine, which may normalize itself."""
        normalizes = not (self._engine.normalizes or isinstance(self.normalizer, Identity))
        prefixes = getattr(self.pretokenizer, "add_prefix_space", False)
        changed = {}
        for b, text in enumerate(texts if normalizes or prefixes else ()):
            normal = self.normalizer.normalize(text) if normalizes else unchanged(text)
            normal = prefixed(normal, " ") if prefixes else normal
            if normal.text != text or not isinstance(normal.starts, range):
                changed[b] = normal
        return changed

    def _trimmed(self, ids, offsets, starts):
        """Offsets (T, 2) moved over the blanks at the ends of byte-level tokens, as far as the text has them."""
        before, after = self._blanks[ids].T.copy()
        if self.template.add_prefix_space:
            first = offsets[:, 0] == 0
            first[starts[:-1][starts[:-1] < starts[1:]]] = True
            before[first & (before == 1)] = 0
        start = np.minimum(offsets[:, 0] + before, offsets[:, 1])
        end = np.where(offsets[:, 1] >= after, np.maximum(offsets[:, 1] - after, start), offsets[:, 1])
        return np.stack([start, end], axis=1).astype(np.int32)

    def _match(self, piece):
        """The model's match, which remembers short pieces seen before."""
        return self._remembered(piece) if len(piece) <= LONGEST_REMEMBERED else self.model.match(piece)

    @cached_property
    def _remembered(self):
        return lru_cache(1 << 14)(self.model.match)

    @cached_property
    def _blanks(self):
        """(V, 2) int32: blanks at the start and at the end of each byte-level token."""
        tokens = [token or "" for token in self._tokens]
        counts = [(len(t) - len(t.lstrip("Ġ")), len(t) - len(t.rstrip("Ġ"))) for t in tokens]
        return np.array(counts, np.int32)

    @cached_property
    def _engine(self):
        return self.model.engine(self.normalizer, self.pretokenizer)

    def forget(self) -> None:
        """Empty the caches of text seen before: only speed and memory change."""
        self.__dict__.pop("_remembered", None)
        if self._engine is not None:
            self._engine.workspaces.clear()

    # Special tokens in text

    def special_names(self, value: Special, name: str) -> Special:
        """What an argument that names special tokens says: "all", or a frozenset of them.

        Raises   ValueError: another str, which a single token is taken for, or no special token
        """
        if isinstance(value, str):
            if value != "all":
                raise ValueError(f"{name}: expected a collection of tokens or 'all', got {value!r}")
            return value
        names = frozenset(value)
        if unknown := names - self.special_tokens.keys():
            raise ValueError(f"{name}: {sorted(unknown, key=repr)} are no special tokens of this tokenizer")
        return names

    def honoured(self, allowed_special: Special = ()) -> AddedTokens:
        """AddedTokens that count in a text: the special ones that are allowed, and all that are not special."""
        names = self.special_names(allowed_special, "allowed_special")
        if names not in self._honoured:
            allowed = self.special_tokens if names == "all" else names
            tokens = [token for token in self.added_tokens if not token.special or token.content in allowed]
            self._honoured[names] = AddedTokens(tokens, self.normalizer)
        return self._honoured[names]

    def _refuse(self, texts, allowed, disallowed, name):
        """ValueError where a text holds a disallowed special token."""
        if not disallowed:
            return
        names = disallowed
        if disallowed == "all":
            names = set() if allowed == "all" else self.special_tokens.keys() - allowed
        tokens = [token for token in self.added_tokens if token.content in names]
        found = AddedTokens(tokens, self.normalizer)
        for row, text in enumerate(texts):
            for _, token in found.split(text) if found.occur_in(text) else ():
                if token is not None:
                    raise ValueError(f"{name}[{row}] holds {token.content!r}, which disallowed_special refuses")
