"""Byte pair encoding over characters, by merges: the model in a tokenizer.json of Llama's kind.

Unlike SentencePieceBPE the pairs are listed, and unknown characters are spelled as bytes before anything is joined.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .inputs import check_ids
from .json_parts import typed
from .merges import merge_table, read_merges
from .parts import Normalizer, PreTokenizer, Token
from .pieces import BYTE_PIECES

if TYPE_CHECKING:
    from .added_tokens import AddedToken
    from .metaspace_engine import WholeTextEngine


class CharacterBPE:
    """The known pairs are joined, best rank first and of equal ones the leftmost.

    Characters without a token are spelled as the byte tokens <0x00> … <0xFF> where `byte_fallback` says so and these
    are there, else they are the unknown token, one for a run of them with `fuse_unk`.

    Source   Sennrich 2016 (arXiv:1508.07909); Hugging Face's tokenizers 0.23.3 for ids
    Raises   ValueError: a token that a merge needs or makes, or the unknown token, is missing; an id twice; or unknown
             characters would be lost
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: Iterable[tuple[str, str]],
        *,
        unk_token: str | None = None,
        fuse_unk: bool = False,
        byte_fallback: bool = False,
        ignore_merges: bool = False,
    ):
        self.vocab, self.merges = vocab, list(merges)
        self.unk_token, self.fuse_unk, self.byte_fallback = unk_token, fuse_unk, byte_fallback
        self.ignore_merges = ignore_merges
        self.byte_ids = [vocab.get(piece, -1) for piece in BYTE_PIECES] if byte_fallback else []  # -1: none
        self.unk_id = -1 if unk_token is None else vocab.get(unk_token, -1)
        check_ids(vocab)
        if unk_token is not None and unk_token not in vocab:
            raise ValueError(f"the vocabulary lacks the unknown token {unk_token!r}")
        if unk_token is None and (not byte_fallback or -1 in self.byte_ids):
            raise ValueError("neither an unknown token nor all byte tokens: unknown characters would be lost")
        self.table = merge_table(vocab, self.merges)

    @cached_property
    def pairs(self) -> dict[tuple[int, int], tuple[int, int]]:
        """{(id, id): (rank, id of the joined token)}"""
        return self.table.pairs()

    def match(self, text: str) -> list[Token]:
        """[(id, start, end)] of a piece of text."""
        if self.ignore_merges and text in self.vocab:
            return [(self.vocab[text], 0, len(text))]
        symbols = self._symbols(text)  # None where a symbol was joined to the one on its left
        before, after = list(range(-1, len(symbols))), list(range(1, len(symbols) + 1))
        agenda: list[tuple[int, int, int]] = []  # rank, place of the left symbol, what it becomes

        def propose(left):
            if left >= 0 and after[left] < len(symbols):
                pair = self.pairs.get((symbols[left][0], symbols[after[left]][0]))
                if pair:
                    heapq.heappush(agenda, (pair[0], left, pair[1]))

        for left in range(len(symbols)):
            propose(left)
        while agenda:
            _, left, joined = heapq.heappop(agenda)
            if symbols[left] is None or after[left] >= len(symbols):
                continue
            (first, start, _), (second, _, end) = symbols[left], symbols[after[left]]
            if self.pairs.get((first, second), (None, None))[1] != joined:
                continue  # one of the two has been joined since
            symbols[left], symbols[after[left]] = (joined, start, end), None
            after[left] = after[after[left]]
            before[after[left]] = left
            propose(before[left])
            propose(left)
        return [symbol for symbol in symbols if symbol is not None]

    def _symbols(self, text):
        """[(id, start, end)] of the characters, with the unknown ones as bytes or as the unknown token."""
        symbols, unknown = [], False
        for at, c in enumerate(text):
            i = self.vocab.get(c)
            ids = [i] if i is not None else [self.byte_ids[b] for b in c.encode()] if self.byte_fallback else [-1]
            if -1 not in ids:
                symbols += [(i, at, at + 1) for i in ids]
                unknown = False
            elif self.fuse_unk and unknown:
                symbols[-1] = (symbols[-1][0], symbols[-1][1], at + 1)
            else:
                symbols.append((self.unk_id, at, at + 1))
                unknown = True
        return symbols

    def engine(self, normalizer: Normalizer, pretokenizer: PreTokenizer) -> WholeTextEngine | None:
        """The fast form of the pipeline; None where a text is not one piece, or unknown characters are no bytes."""
        from .metaspace_engine import whole_text_engine

        return whole_text_engine(self, normalizer, pretokenizer)


def read_character_bpe(found: dict[str, Any], added: list[AddedToken]) -> CharacterBPE:
    """CharacterBPE of the model of a tokenizer.json."""
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if found.get(name):
            raise ValueError(f"model: {name} {found[name]!r} is not supported")
    flags = {
        name: typed(found.get(name, False), bool, f"model: {name}")
        for name in ("fuse_unk", "byte_fallback", "ignore_merges")
    }
    merges = read_merges(found["merges"])
    unk_token = typed(found.get("unk_token"), (str, type(None)), "model: unk_token")
    return CharacterBPE(dict(found["vocab"]), merges, unk_token=unk_token, **flags)


def write_character_bpe(model: CharacterBPE) -> dict[str, Any]:
    """The model of a tokenizer.json."""
    return {
        "dropout": None,
        "unk_token": model.unk_token,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": model.fuse_unk,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": model.ignore_merges,
        "vocab": dict(sorted(model.vocab.items(), key=lambda item: item[1])),
        "merges": [list(pair) for pair in model.merges],
    }
