"""Unigram in tokenizer.json: the model, and the normalizer Precompiled that goes with it."""

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import regex

from .added_tokens import AddedToken
from .charsmap import Charsmap
from .json_parts import typed
from .normalize import Normalized, joined, replace_surrogates, unchanged
from .normalizers import Normalizer
from .pieces import BYTE, BYTE_PIECES, CONTROL, NORMAL, UNKNOWN
from .unigram import Unigram

LONGEST_REMEMBERED = 64  # characters of a stretch: with their number it bounds the memory
SHORT = 6  # bytes; a user-perceived character below this is looked up as a whole
CLUSTER = regex.compile(r"\X")
JAMO = ("\u1100", "\u11ff"), ("\ua960", "\ua97f"), ("\ud7b0", "\ud7ff")  # several make up one character


@dataclass(frozen=True)
class Precompiled(Normalizer):
    """SentencePiece's character map as Hugging Face's library applies it, one user-perceived character at a time.

    One of fewer than 6 bytes that begins with a key is replaced as a whole by what its shortest key gives; all others
    character by character, again by the shortest key, which is the character.

    Source   Hugging Face's tokenizers 0.23.3, precompiled.rs, and spm_precompiled 0.1.4
    Units    precompiled_charsmap in base64
    Raises   ValueError: the map cannot be one
    Differs  from sentencepiece, which replaces the longest key, so that an accent after "Ａ" stays; user-perceived
             characters are those of the package regex
    """

    precompiled_charsmap: str

    def __post_init__(self):
        _ = self.map  # a broken one is told at once

    @cached_property
    def map(self) -> Charsmap:
        """The character map, read."""
        try:
            return Charsmap(base64.b64decode(self.precompiled_charsmap, validate=True))
        except binascii.Error as error:
            raise ValueError(f"precompiled_charsmap: not base64: {error}") from error

    def normalize(self, text: str) -> Normalized:
        """Normalized form of a text; only what may change is looked at closely."""
        text = replace_surrogates(text)
        changing = "".join(c for c in set(text) if not self._stays(c))
        if not changing:
            return unchanged(text)
        texts: list[str] = []
        found, at = [], 0
        for match in stretches(changing).finditer(text):
            start, end = max(match.start() - 1, 0), min(match.end() + 1, len(text))
            closely = self._remembered if end - start <= LONGEST_REMEMBERED else self._closely
            normal = closely(text[start:end])
            texts += text[at:start], normal.text
            found.append((start, end, normal))
            at = end
        out = "".join([*texts, text[at:]])
        if all(isinstance(normal.starts, range) for *_, normal in found):
            return unchanged(out)
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        for start, end, normal in found:
            starts += [*range(at, start), *(start + a for a in normal.starts)]
            ends += [*range(at + 1, start + 1), *(start + b for b in normal.ends)]
            at = end
        return Normalized(out, starts + [*range(at, len(text))], ends + [*range(at + 1, len(text) + 1)])

    @cached_property
    def _stays(self):
        """Whether a character is unchanged and surely no part of a longer user-perceived one."""

        @cache
        def stays(c):
            alone = len(CLUSTER.findall(f"a{c}a")) == 3 and not any(a <= c <= b for a, b in JAMO)
            return alone and self.map.shortest(c) is None

        return stays

    @cached_property
    def _remembered(self):
        return lru_cache(1 << 12)(self._closely)

    def _closely(self, text):
        """Normalized form of a text, one user-perceived character at a time: the definition."""
        chars, out = unchanged(text).chars(), []
        for match in CLUSTER.finditer(text):
            (start, end), cluster = match.span(), match[0]
            whole = self.map.shortest(cluster) if len(cluster.encode()) < SHORT else None
            spans = [(start, end)] if whole is not None else [(i, i + 1) for i in range(start, end)]
            for a, b in spans:
                found = self.map.shortest(text[a:b])
                out += chars[a:b] if found is None else [(c, chars[a][1], chars[b - 1][2]) for c in found]
        normal, still = joined(out), unchanged(text)
        moved = normal.starts != list(still.starts) or normal.ends != list(still.ends)
        return normal if moved else still._replace(text=normal.text)


@lru_cache(64)
def stretches(changing):
    """Compiled pattern of runs of some characters, and of what is between them and a single other one."""
    members = f"[{re.escape(changing)}]+"
    return re.compile(f"{members}(?:.{members})*", re.DOTALL)


def unigram_vocab(found: dict[str, Any]) -> dict[str, int]:
    """{piece: id} of the model of a tokenizer.json."""
    for row in typed(found["vocab"], list, "vocab"):
        if not (isinstance(row, list) and [type(value) for value in row] in ([str, float], [str, int])):
            raise ValueError(f"vocab: expected [piece, score], got {row!r:.40}")
    return {piece: i for i, (piece, _) in enumerate(found["vocab"])}


def read_unigram(found: dict[str, Any], added: list[AddedToken]) -> Unigram:
    """Unigram of the model of a tokenizer.json; control tokens among `added` never come from text."""
    rows = found["vocab"]
    byte_fallback = typed(found.get("byte_fallback", False), bool, "model: byte_fallback")
    unk_id = typed(found.get("unk_id"), int, "model: unk_id")
    if not 0 <= unk_id < len(rows):
        raise ValueError(f"model: unk_id: expected 0 … {len(rows) - 1}, got {unk_id}")
    control = {token.content for token in added if token.special}
    pieces = [piece for piece, _ in rows]
    kinds = [CONTROL if piece in control else NORMAL for piece in pieces]
    if byte_fallback:
        kinds = [BYTE if piece in BYTE_PIECES else kind for piece, kind in zip(pieces, kinds, strict=True)]
    kinds[unk_id] = UNKNOWN
    return Unigram(pieces, [score for _, score in rows], kinds, byte_fallback=byte_fallback, compat="hf")


def write_unigram(model: Unigram) -> dict[str, Any]:
    """The model of a tokenizer.json."""
    if model.compat != "hf":
        raise ValueError("tokenizer.json holds Unigram(compat='hf'): save a SentencePiece model as .model")
    rows = [[piece, score] for piece, score in zip(model.pieces, model.scores, strict=True)]
    return {"unk_id": model.unk_id, "vocab": rows, "byte_fallback": model.byte_fallback}
