"""The pipeline: text → normalizer → words → model → template → ids, with offsets into the text at every token."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from .bpe import BPE
from .decoders import closed_up_text
from .encoding import Batch, Encoding, Kept
from .inputs import check_texts, check_words, whole_number, without_surrogates
from .parts import Special, Texts
from .segmenter import Segmenter
from .segments import of_rows, of_words, split_rows
from .template import SEQUENCES
from .truncation import (
    ON_TRUNCATE,
    SIDES,
    STRATEGIES,
    check_choice,
    fit,
    pad,
    pad_mask,
    report_truncated,
    window_counts,
    window_rows,
    window_spans,
)

if TYPE_CHECKING:
    pass

PAD_TOKENS = ("[PAD]", "<pad>")
NAMES = {"A": "texts", "B": "pairs"}  # in errors


class Tokenizer(Segmenter):
    """A model with what stands around it. `special_tokens` maps the control tokens to their ids.

    `added_tokens` says how they, and words that were added to the model, are found in text; None: as they are written.
    In a text, the letters "[SEP]" are ordinary text, so that users' words cannot become control tokens, unless
    `allowed_special` names the token, or is "all" (as in Hugging Face's library). A token that `disallowed_special`
    names, or any that is not allowed where it is "all", is refused (as in tiktoken). Added words that are not special
    are always honoured.

    >>> from tokenizers import BertNormalizer, BertPreTokenizer, Template, WordLevel, decoders
    >>> model = WordLevel({"[UNK]": 0, "hello": 1, "world": 2})
    >>> tokenizer = Tokenizer(model, BertNormalizer(), BertPreTokenizer(), Template(), decoders.Spaced(), {"[UNK]": 0})
    >>> found = tokenizer.encode("Hello, World")
    >>> found.tokens, found.offsets
    (['hello', '[UNK]', 'world'], [(0, 5), (5, 6), (7, 12)])
    """

    def encode(self, text: str, pair: str | None = None, add_special_tokens: bool = True, **options: Any) -> Encoding:
        """Encoding of one text or one pair. options: those of encode_batch that fit one text.

        Raises   TypeError: text or pair is not a str
        """
        pairs = None if pair is None else [pair]
        return self.encode_batch([text], pairs, add_special_tokens=add_special_tokens, **options).encoding(0)

    def encode_batch(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        max_length: int | None = None,
        on_truncate: str = "warn",
        *,
        truncation: str = "longest_first",
        truncation_side: str = "right",
        stride: int = 0,
        add_special_tokens: bool = True,
        is_split_into_words: bool = False,
        allowed_special: Special = (),
        disallowed_special: Special = (),
        lone_surrogates: str = "keep",
        threads: int = 1,
    ) -> Batch:
        """Batch of texts, or of pairs of texts; those longer than max_length are cut, or laid out in windows.

        With is_split_into_words a text is a list of words: word_ids are places in that list, offsets those in the word.
        on_truncate "window" gives a text as many rows as it needs, each sharing `stride` tokens with the one before:
        Batch.text_index says whose they are. truncation: which text of a pair is cut; truncation_side: at which end.
        lone_surrogates: "keep" (byte-level tokens spell them, to other models they are U+FFFD), "replace" or "raise".

        Units    max_length in tokens, special tokens included; threads change the time, never the result
        Raises   TypeError: a text is not a str (says which); ValueError: a number is not whole, max_length is below the
                 number of special tokens, as many pairs as texts expected, a text was cut and on_truncate is "raise", a
                 text holds a disallowed special token or a lone surrogate that is refused, an unknown one is named,
                 or stride leaves a window nothing new
        """
        check_choice("lone_surrogates", lone_surrogates, ("keep", "replace", "raise"))
        check_choice("on_truncate", on_truncate, ON_TRUNCATE)
        check_choice("truncation", truncation, STRATEGIES)
        check_choice("truncation_side", truncation_side, SIDES)
        stride, threads = whole_number(stride, "stride"), whole_number(threads, "threads", 1)
        if max_length is not None:
            max_length = whole_number(max_length, "max_length")
        if stride and on_truncate != "window":
            raise ValueError(f"stride {stride}: expected on_truncate='window' where it is not 0")
        allowed_special = self.special_names(allowed_special, "allowed_special")
        disallowed_special = self.special_names(disallowed_special, "disallowed_special")
        if pairs is None and truncation == "only_second":
            raise ValueError("truncation 'only_second' needs pairs")
        check = check_words if is_split_into_words else check_texts
        columns = {"A": check(texts, "texts")} | ({} if pairs is None else {"B": check(pairs, "pairs")})
        if pairs is not None and len(columns["B"]) != len(columns["A"]):
            raise ValueError(f"expected as many pairs as texts, {len(columns['A'])}, got {len(columns['B'])}")
        pieces = self.template.pieces(pairs is not None, add_special_tokens)
        specials = sum(name not in SEQUENCES for name, _ in pieces)
        if max_length is not None and max_length < specials:
            raise ValueError(f"max_length {max_length} has no room for the {specials} special tokens")

        def segments(name, texts):
            words, label = texts, NAMES[name]
            if is_split_into_words:
                words, label = [word for text in texts for word in text], f"words of all {label}"
            if lone_surrogates != "keep":
                words = without_surrogates(words, label, lone_surrogates)
            self._refuse(words, allowed_special, disallowed_special, label)
            found = self.segment_batch(words, allowed_special, threads)
            return of_words(found, list(map(len, texts))) if is_split_into_words else found

        parts = {name: segments(name, texts) for name, texts in columns.items()}
        return self._laid_out(parts, pieces, max_length, on_truncate, truncation, truncation_side, stride)

    def _laid_out(
        self, parts, pieces, max_length=None, on_truncate="silent", truncation="longest_first", side="right", stride=0
    ):
        """Batch of the Segments of each sequence, {name: Segments}, in the order of the template's pieces."""
        layout = [(name, type_id, self.special_tokens.get(name)) for name, type_id in pieces]
        lengths = {name: np.diff(part.starts) for name, part in parts.items()}
        room = None if max_length is None else max_length - sum(name not in SEQUENCES for name, _ in pieces)
        if room is None or sum(lengths.values()).max(initial=0) <= room:  # nothing to cut
            whole = {name: Kept(part, part.starts[:-1], lengths[name]) for name, part in parts.items()}
            rows = len(lengths["A"])
            return Batch(layout, whole, np.zeros(rows, bool), np.arange(rows), self._tokens)
        zero = np.zeros_like(lengths["A"])
        kept = dict(zip(SEQUENCES, fit(lengths["A"], lengths.get("B", zero), room, truncation), strict=True))
        cut = np.any([kept[name] < lengths[name] for name in parts], axis=0)
        text_index, number = np.arange(len(cut)), {"A": zero, "B": zero}
        if on_truncate == "window":
            order = sorted(SEQUENCES, key=[*(name for name, _ in pieces), "B"].index)  # as the template has them
            counts = [window_counts(lengths.get(name, zero), kept[name], stride) for name in order]
            text_index, number[order[0]], number[order[1]] = window_rows(*counts)
            cut = np.zeros(len(text_index), bool)
        report_truncated(cut, max_length, on_truncate)
        sequences = {}
        for name, part in parts.items():
            of_row = lengths[name][text_index], kept[name][text_index]
            first, length = window_spans(*of_row, stride, number[name], side)
            sequences[name] = Kept(part, part.starts[text_index] + first, length)
        return Batch(layout, sequences, cut, text_index, self._tokens)

    def sample(self, text: str, dropout: float = 0.1, *, rng: np.random.Generator) -> Encoding:
        """An Encoding in which merges were left out at random (BPE only), as a training text in another of its forms.

        Source   Provilkov 2020 (arXiv:1910.13267)
        Units    dropout: probability, 0 gives `encode`'s ids, 1 single bytes; rng: numpy.random.Generator
        """
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout: expected 0 … 1, got {dropout}")
        model = self.model
        if not isinstance(model, BPE):
            raise ValueError("dropout needs a BPE model")
        check_texts([text], "texts")
        found = of_rows([self.segment(text, match=lambda piece: model.match(piece, dropout, rng))])
        return self._laid_out({"A": found}, [("A", 0)]).encoding(0)

    def __call__(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        padding: bool | str = True,
        truncation: bool | str = True,
        max_length: int | None = None,
        *,
        pad_to_multiple_of: int | None = None,
        padding_side: str = "right",
        return_offsets_mapping: bool = False,
        on_truncate: str = "silent",
        **options: Any,
    ) -> dict[str, Any]:
        """dict of input_ids, attention_mask, token_type_ids: (R, L) int64, or lists of rows if padding is False.

        With windows, overflow_to_sample_mapping (R,) says which text a row is of. options: those of encode_batch.

        Units    padding True: to the longest row; "max_length": to max_length. truncation False: nothing is cut; True:
                 the longest first; or encode_batch's. offset_mapping is (R, L, 2), (0, 0) where there is no text
        Raises   as encode_batch; ValueError: the padding asked for is unknown, or has no length or [PAD] token
        """
        check_choice("padding", padding, (True, False, "longest", "max_length"))
        check_choice("padding_side", padding_side, SIDES)
        if padding == "max_length" and max_length is None:
            raise ValueError("padding='max_length' needs max_length")
        if max_length is not None:
            max_length = whole_number(max_length, "max_length")
        multiple = 1 if pad_to_multiple_of is None else whole_number(pad_to_multiple_of, "pad_to_multiple_of", 1)
        if truncation not in (True, False):
            options["truncation"] = truncation
        batch = self.encode_batch(texts, pairs, max_length if truncation else None, on_truncate, **options)
        columns = {"input_ids": batch.ids, "token_type_ids": batch.type_ids}
        if return_offsets_mapping:
            columns["offset_mapping"] = batch.offsets
        if not padding:
            found = {name: split_rows(column, batch.starts) for name, column in columns.items()}
            found["attention_mask"] = [np.ones_like(row) for row in found["input_ids"]]
        else:
            width = max(int(batch.lengths.max(initial=0)), (max_length or 0) if padding == "max_length" else 0)
            width += -width % multiple
            found = self._padded(columns, batch.starts, width, padding_side == "left")
        names = ["input_ids", "attention_mask", "token_type_ids", *list(columns)[2:]]
        more = {"overflow_to_sample_mapping": batch.text_index} if on_truncate == "window" else {}
        return {**{name: found[name] for name in names}, **more}

    def _padded(self, columns, starts, width, left):
        """Each ragged column as an array (R, width) or (R, width, 2)."""
        pads = [self.special_tokens[token] for token in PAD_TOKENS if token in self.special_tokens]
        if not pads:
            raise ValueError(f"padding needs a token {' or '.join(PAD_TOKENS)}, which this tokenizer lacks")
        found = {"attention_mask": pad_mask(starts, width, left)}
        for name, column in columns.items():
            if column.ndim == 2:
                both = [pad(np.ascontiguousarray(side), starts, width, 0, left) for side in column.T]
                found[name] = np.stack(both, axis=2)
            else:
                found[name] = pad(column, starts, width, pads[0] if name == "input_ids" else 0, left)
        return found

    # Ids → text

    def decode(
        self, ids: Iterable[int], *, skip_special_tokens: bool = True, clean_up: bool | str | None = None
    ) -> str:
        """Text of a sequence of ids; clean_up (None: as the file says) closes the gap before ". , ! ? n't 's" and such.

        clean_up "text" does so across tokens, as Hugging Face's transformers does: "it ' s" is "it's".

        Raises   ValueError: an id is not in the vocabulary, or clean_up is unknown; TypeError: an id is no integer
        """
        check_choice("clean_up", clean_up, (None, True, False, "text"))
        tokens, skipped = [], set(self.special_tokens.values()) if skip_special_tokens else set()
        for position, i in enumerate(ids):
            if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
                raise TypeError(f"ids[{position}]: expected an integer, got {type(i).__name__}")
            if not 0 <= i < len(self._tokens):
                raise ValueError(f"ids[{position}]: expected 0 … {len(self._tokens) - 1}, got {i}")
            if self._tokens[i] is None:
                raise ValueError(f"ids[{position}]: no token has the id {i}")
            if i not in skipped:
                tokens.append(self._written[i])
        if clean_up == "text":
            return closed_up_text(self.decoder.decode(tokens)) if tokens else ""
        return self.decoder.decode(tokens, None if clean_up is None else bool(clean_up)) if tokens else ""

    @cached_property
    def _written(self):
        """Tokens as decoders take them: those found in normalized text are normalized."""
        normalized = {t.id: self.normalizer.normalize(t.content).text for t in self.added_tokens if t.normalized}
        return [normalized.get(i, token) for i, token in enumerate(self._tokens)]

    # Files

    def to_json(self) -> str:
        """The text of tokenizer.json: equal tokenizers give equal text."""
        from .files import to_json

        return to_json(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write tokenizer.json, or the vocabulary alone where the name ends in .txt; never leaves half a file."""
        from .files import save

        save(self, path)
