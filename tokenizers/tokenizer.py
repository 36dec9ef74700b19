"""The pipeline: text → normalizer → words → model → template → ids, with offsets into the text at every token."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._jit import kernel
from .normalize import code_points
from .template import fit, pad, report_truncated

NAMES = ("input_ids", "attention_mask", "token_type_ids")
PAD_TOKENS = ("[PAD]", "<pad>")


class Segments:
    """The tokens of B texts on top of each other, without special tokens around them; places are found when asked for.

    Shapes   ids (T,) int32, offsets (T, 2) int32, word_ids (T,) int32, starts (B+1,) int64
    """

    def __init__(self, ids, starts, locate):
        """locate: called once at most, gives (offsets, word_ids)."""
        self.ids, self.starts, self._locate = ids, starts, locate

    @cached_property
    def _places(self):
        return self._locate()

    @property
    def offsets(self):
        return self._places[0]

    @property
    def word_ids(self):
        return self._places[1]


@kernel
def copy_rows(values, starts, kept, at, out):
    """Copy the first kept[b] values of each row to at[b] of the output."""
    for b in range(len(kept)):
        for t in range(kept[b]):
            out[at[b] + t] = values[starts[b] + t]


def replace_rows(segments, rows):
    """Segments with some rows, {row: [(id, start, end, word)]}, in place of those that stand there."""
    rows = {b: np.array(row, np.int32).reshape(-1, 4) for b, row in rows.items()}

    def replaced(values, columns):
        parts = np.split(values, segments.starts[1:-1])
        for b, row in rows.items():
            parts[b] = row[:, columns]
        return np.concatenate(parts)

    lengths = np.diff(segments.starts)
    lengths[list(rows)] = [len(row) for row in rows.values()]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Segments(
        replaced(segments.ids, 0),
        starts,
        lambda: (replaced(segments.offsets, slice(1, 3)), replaced(segments.word_ids, 3)),
    )


@dataclass(frozen=True)
class Encoding:
    """One text, or one pair, as lists; word_ids is None and offsets are (0, 0) at special tokens."""

    ids: list
    tokens: list
    offsets: list
    type_ids: list
    word_ids: list
    special_tokens_mask: list

    @property
    def attention_mask(self):
        return [1] * len(self.ids)

    def __len__(self):
        return len(self.ids)


class Batch:
    """B texts or pairs, ragged: row b is starts[b]:starts[b + 1] of every array. What is not asked for is not laid out.

    Shapes   ids, type_ids, word_ids (T,) int32; special_tokens_mask (T,) bool; offsets (T, 2) int32 in characters
             of the row's own text; starts (B+1,) int64; truncated (B,) bool
    Units    word_ids is -1 and offsets are (0, 0) at special tokens
    """

    def __init__(self, layout, sequences, truncated):
        """layout: (name, type id, id) of the template's pieces in order; sequences: name → (Segments, tokens kept)."""
        lengths = sum(kept for _, kept in sequences.values()) + sum(name not in sequences for name, _, _ in layout)
        self.starts = np.zeros(len(truncated) + 1, np.int64)
        np.cumsum(lengths, out=self.starts[1:])
        self.truncated = truncated
        self._layout, self._sequences = layout, sequences
        self.ids = self._lay_out(np.int32, lambda segments: segments.ids, lambda piece: piece[2])

    def _lay_out(self, dtype, of_sequence, of_special):
        """One column: `of_sequence(segments)` where a text's tokens stand, `of_special(piece)` between them."""
        out, at = np.empty(self.starts[-1], dtype), self.starts[:-1].copy()
        for piece in self._layout:
            if piece[0] in self._sequences:
                segments, kept = self._sequences[piece[0]]
                copy_rows(of_sequence(segments), segments.starts, kept, at, out)
                at += kept
            else:
                out[at] = of_special(piece)
                at += 1
        return out

    @cached_property
    def type_ids(self):
        one = np.ones(len(self), int)
        kept = [self._sequences[name][1] if name in self._sequences else one for name, *_ in self._layout]
        types = np.array([type_id for _, type_id, _ in self._layout], np.int32)
        return np.repeat(np.tile(types, len(self)), np.stack(kept, axis=1).ravel())

    @cached_property
    def offsets(self):
        pairs = self._lay_out(np.int64, lambda segments: segments.offsets.view(np.int64)[:, 0], lambda _: 0)
        return pairs.view(np.int32).reshape(-1, 2)

    @cached_property
    def word_ids(self):
        return self._lay_out(np.int32, lambda segments: segments.word_ids, lambda _: -1)

    @cached_property
    def special_tokens_mask(self):
        return self.word_ids < 0

    def __len__(self):
        return len(self.starts) - 1

    @property
    def lengths(self):
        return np.diff(self.starts)

    def row(self, b):
        """Views of the arrays of one row, by name."""
        part = slice(self.starts[b], self.starts[b + 1])
        names = ("ids", "type_ids", "offsets", "word_ids", "special_tokens_mask")
        return {name: getattr(self, name)[part] for name in names}


class Tokenizer:
    """A model with what stands around it. `special_tokens` maps the control tokens to their ids.

    In a text, the letters "[SEP]" are ordinary text, so that users' words cannot become control tokens, unless
    `allowed_special` names the token, or is "all" (as in Hugging Face's library). `strips` maps those that then take
    the white space before or after them along to (before, after).
    """

    def __init__(
        self, model, normalizer, pretokenizer, template, decoder, special_tokens, file_settings=None, strips=None
    ):
        self.model, self.normalizer, self.pretokenizer = model, normalizer, pretokenizer
        self.template, self.decoder, self.special_tokens = template, decoder, dict(special_tokens)
        self.strips = dict(strips or {})
        self.file_settings = (
            file_settings or {}
        )  # what tokenizer.json says of truncation and padding: kept, not applied
        self._tokens = [None] * (max(model.vocab.values()) + 1)  # None where no token has that id
        for token, i in model.vocab.items():
            self._tokens[i] = token
        for token, i in self.special_tokens.items():
            if model.vocab.get(token) != i:
                raise ValueError(f"special token {token!r}: expected id {model.vocab.get(token)}, got {i}")
        for name, _ in (*template.single, *template.pair):
            if name not in ("A", "B") and name not in self.special_tokens:
                raise ValueError(f"the template names {name!r}, which is not a special token")

    # Vocabulary

    @property
    def vocab(self):
        """{token: id}, a copy."""
        return dict(self.model.vocab)

    @property
    def vocab_size(self):
        return len(self._tokens)

    def token_to_id(self, token):
        """Id of a token, None where there is none."""
        return self.model.vocab.get(token)

    def id_to_token(self, i):
        """Token of an id, None where there is none."""
        return self._tokens[i] if 0 <= i < len(self._tokens) else None

    # Text → ids

    def segment(self, text, allowed_special=()):
        """[(id, start, end, word)] of one text, step by step: the definition that `segment_batch` must equal."""
        tokens, word, at = [], 0, 0
        for part, special in self._parts(text, self._special_pattern(allowed_special)):
            if special is not None:
                before = part.index(special) if self.template.trim_offsets else 0
                end = at + (before + len(special) if self.template.trim_offsets else len(part))
                tokens.append((self.special_tokens[special], at + before, end, word))
                word += 1
            else:
                normal = self.normalizer.normalize(part)
                for a, b in self.pretokenizer.split(normal.text):
                    for i, start, end in self.model.match(normal.text[a:b]):
                        tokens.append((i, at + normal.starts[a + start], at + normal.ends[a + end - 1], word))
                    word += 1
            at += len(part)
        return [self._trimmed(*token) for token in tokens] if self.template.trim_offsets else tokens

    def _parts(self, text, pattern):
        """(part of the text, the special token that it is or None), in order."""
        spaces, at = code_points("WHITE_SPACE"), 0
        for match in pattern.finditer(text) if pattern else ():
            start, end = match.span()
            before, after = self.strips.get(match[0], (False, False))
            while before and start > at and text[start - 1] in spaces:
                start -= 1
            while after and end < len(text) and text[end] in spaces:
                end += 1
            yield text[at:start], None
            yield text[start:end], match[0]
            at = end
        yield text[at:], None

    def _trimmed(self, i, start, end, word):
        """The token with its offsets moved over its blanks, as far as they are blanks of the text."""
        before, after = self._blanks[i].tolist()
        start = min(start + before, end)
        return i, start, max(end - after, start) if end >= after else end, word

    @cached_property
    def _blanks(self):
        """(V, 2) int32: blanks at the start and at the end of each byte-level token."""
        tokens = [token or "" for token in self._tokens]
        counts = [(len(t) - len(t.lstrip("Ġ")), len(t) - len(t.rstrip("Ġ"))) for t in tokens]
        return np.array(counts, np.int32)

    def segment_batch(self, texts, allowed_special=(), threads=1):
        """Segments of a list of texts: the kernel's, and the plain form's for the few texts that it leaves out."""
        pattern = self._special_pattern(allowed_special)
        special = np.array([bool(pattern and pattern.search(text)) for text in texts], bool)
        usual = [" " if s else text for s, text in zip(special, texts, strict=True)] if special.any() else texts
        ids, starts, plain = self._engine.segment(usual, threads)

        def locate():
            offsets, word_ids = self._engine.locate(usual, ids, starts, threads)
            if self.template.trim_offsets:
                blanks = self._blanks[ids]
                offsets[:, 0] = np.minimum(offsets[:, 0] + blanks[:, 0], offsets[:, 1])
                trimmed = np.maximum(offsets[:, 1] - blanks[:, 1], offsets[:, 0])
                offsets[:, 1] = np.where(offsets[:, 1] >= blanks[:, 1], trimmed, offsets[:, 1])
            return offsets, word_ids

        segments = Segments(ids, starts, locate)
        rows = {b: self.segment(texts[b], allowed_special) for b in np.flatnonzero(plain | special).tolist()}
        return replace_rows(segments, rows) if rows else segments

    @cached_property
    def _engine(self):
        return self.model.engine(self.normalizer, self.pretokenizer)

    def forget(self):
        """Empty the cache of text seen before: only speed and memory change."""
        self._engine.workspaces.clear()

    def encode(self, text, pair=None, add_special_tokens=True, *, allowed_special=()):
        """Encoding of one text or one pair.

        Raises   TypeError: text or pair is not a str
        """
        texts = {"A": text} if pair is None else {"A": text, "B": pair}
        columns = ([], [], [], [], [])  # ids, offsets, type_ids, word_ids, special_tokens_mask
        for name, type_id in self.template.pieces(pair is not None, add_special_tokens):
            if name in texts:
                segments = self.segment_batch(check_texts([texts[name]], "texts"), allowed_special)
                n = len(segments.ids)
                offsets, words = map(tuple, segments.offsets.tolist()), segments.word_ids.tolist()
                piece = (segments.ids.tolist(), offsets, [type_id] * n, words, [0] * n)
            else:
                piece = ([self.special_tokens[name]], [(0, 0)], [type_id], [None], [1])
            for column, values in zip(columns, piece, strict=True):
                column.extend(values)
        ids, offsets, type_ids, word_ids, mask = columns
        return Encoding(ids, [self._tokens[i] for i in ids], offsets, type_ids, word_ids, mask)

    def encode_batch(
        self,
        texts,
        pairs=None,
        max_length=None,
        on_truncate="warn",
        *,
        add_special_tokens=True,
        allowed_special=(),
        threads=1,
    ):
        """Batch of texts, or of pairs of texts; the longer of a pair is cut first where max_length is too small.

        Units    max_length in tokens, special tokens included; threads change the time, never the result
        Raises   TypeError: a text is not a str (says which); ValueError: max_length below the number of special
                 tokens, as many pairs as texts expected, or a text was cut and on_truncate is "raise"
        """
        texts = check_texts(texts, "texts")
        pairs = None if pairs is None else check_texts(pairs, "pairs")
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"expected as many pairs as texts, {len(texts)}, got {len(pairs)}")
        pieces = self.template.pieces(pairs is not None, add_special_tokens)
        specials = sum(name not in ("A", "B") for name, _ in pieces)
        if max_length is not None and max_length < specials:
            raise ValueError(f"max_length {max_length} has no room for the {specials} special tokens")
        a = self.segment_batch(texts, allowed_special, threads)
        b = None if pairs is None else self.segment_batch(pairs, allowed_special, threads)
        lengths_a = np.diff(a.starts)
        lengths_b = np.zeros_like(lengths_a) if b is None else np.diff(b.starts)
        room = None if max_length is None else max_length - specials
        lengths_a, lengths_b, truncated = fit(lengths_a, lengths_b, room)
        report_truncated(truncated, max_length, on_truncate)
        layout = [(name, type_id, self.special_tokens.get(name)) for name, type_id in pieces]
        sequences = {"A": (a, lengths_a)} if b is None else {"A": (a, lengths_a), "B": (b, lengths_b)}
        return Batch(layout, sequences, truncated)

    def __call__(
        self,
        texts,
        pairs=None,
        padding=True,
        truncation=True,
        max_length=None,
        *,
        on_truncate="silent",
        add_special_tokens=True,
        allowed_special=(),
        threads=1,
    ):
        """dict of input_ids, attention_mask, token_type_ids: (B, L) int64, or lists of rows if padding is False.

        Units    padding True: to the longest row; "max_length": to max_length. truncation False: nothing is cut
        Raises   as encode_batch; ValueError: the padding asked for is unknown, or has no length or [PAD] token
        """
        if padding not in (True, False, "longest", "max_length"):
            raise ValueError(f"padding: expected True, False, 'longest' or 'max_length', got {padding!r}")
        if padding == "max_length" and max_length is None:
            raise ValueError("padding='max_length' needs max_length")
        batch = self.encode_batch(
            texts,
            pairs,
            max_length if truncation else None,
            on_truncate,
            add_special_tokens=add_special_tokens,
            allowed_special=allowed_special,
            threads=threads,
        )
        if not padding:
            rows = [np.split(column, batch.starts[1:-1]) for column in (batch.ids, batch.type_ids)]
            return dict(zip(NAMES, (rows[0], [np.ones_like(row) for row in rows[0]], rows[1]), strict=True))
        pads = [self.special_tokens[token] for token in PAD_TOKENS if token in self.special_tokens]
        if not pads:
            raise ValueError(f"padding needs a token {' or '.join(PAD_TOKENS)}, which this tokenizer lacks")
        width = max(int(batch.lengths.max(initial=0)), max_length if padding == "max_length" else 0)
        arrays = pad(batch.ids, batch.type_ids, batch.starts, width, pads[0])
        return dict(zip(NAMES, arrays, strict=True))

    def _special_pattern(self, allowed_special):
        """Compiled pattern of the special tokens to honour in text, longest first, or None."""
        if isinstance(allowed_special, str) and allowed_special != "all":
            raise ValueError(f"allowed_special: expected a collection of tokens or 'all', got {allowed_special!r}")
        names = self.special_tokens if allowed_special == "all" else allowed_special
        if unknown := set(names) - set(self.special_tokens):
            raise ValueError(f"allowed_special: {sorted(unknown)} are no special tokens of this tokenizer")
        if not names:
            return None
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))

    # Ids → text

    def decode(self, ids, *, skip_special_tokens=True, clean_up=None):
        """Text of a sequence of ids; clean_up (None: as the file says) closes the gap before ". , ! ? n't 's" and such.

        Raises   ValueError: an id is not in the vocabulary; TypeError: it is no integer (both say where)
        """
        tokens, skipped = [], set(self.special_tokens.values()) if skip_special_tokens else set()
        for position, i in enumerate(ids):
            if not isinstance(i, (int, np.integer)):
                raise TypeError(f"ids[{position}]: expected an integer, got {type(i).__name__}")
            if not 0 <= i < len(self._tokens):
                raise ValueError(f"ids[{position}]: expected 0 … {len(self._tokens) - 1}, got {i}")
            if self._tokens[i] is None:
                raise ValueError(f"ids[{position}]: no token has the id {i}")
            if i not in skipped:
                tokens.append(self._tokens[i])
        return self.decoder.decode(tokens, clean_up)

    # Files

    def to_json(self):
        """The text of tokenizer.json: equal tokenizers give equal text."""
        from .files import to_json

        return to_json(self)

    def save(self, path):
        """Write tokenizer.json, or the vocabulary alone where the name ends in .txt; never leaves half a file."""
        from .files import save

        save(self, path)


def check_texts(texts, name):
    """List of str, or a TypeError that says what was found where."""
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
        raise TypeError(f"{name}: expected a sequence of str, got {type(texts).__name__}")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}]: expected str, got {type(text).__name__} {text!r:.40}")
    return texts
