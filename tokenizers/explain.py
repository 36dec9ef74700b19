"""A tokenizer at work, stage by stage, as lines of text: what `minibert tokenizer encode --show` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .bpe import BPE, to_bytes
from .parts import Special
from .pieces import Pieces
from .unigram import Unigram
from .wordpiece import WordPiece

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

DOT = " · "
LONGEST = 40  # pieces and lattice places shown of one text; and merges shown of one piece


def explain(
    tokenizer: Tokenizer,
    text: str,
    paint: Callable[[str, int], str] = lambda text, number: text,
    allowed_special: Special = (),
) -> list[str]:
    """Lines about one text. paint(string, number) colours a token, neighbours by different numbers."""
    lines = [f"text        {visible(text)}"]
    allowed_special = tokenizer.special_names(allowed_special, "allowed_special")
    for normal, added in tokenizer.honoured(allowed_special).split(text):
        if added is not None:
            lines.append(f"added       {paint(visible(normal.text), 0)}  {added.id}")
            continue
        lines.append(f"normalized  {visible(normal.text)}")
        pieces = [piece for piece in tokenizer.pretokenizer.pieces(normal) if piece.text]
        lines.append("pieces      " + DOT.join(visible(piece.text) for piece in pieces))
        for piece in pieces[:LONGEST]:
            lines += (f"  {line}" for line in _steps(tokenizer.model, piece.text, paint))
        if len(pieces) > LONGEST:
            lines.append(f"  … {len(pieces) - LONGEST} more pieces")
    found = tokenizer.encode(text, allowed_special=allowed_special)
    width = max(map(len, map(visible, found.tokens)), default=0)
    for n, (i, token, (start, end)) in enumerate(zip(found.ids, found.tokens, found.offsets, strict=True)):
        shown = paint(f"{visible(token)}", n) + " " * (width - len(visible(token)))
        source = f"{start:>5}:{end:<5} {visible(text[start:end])}" if found.sequence_ids[n] == 0 else ""
        lines.append(f"{i:>9}   {shown}  {source}".rstrip())
    return lines


def _steps(model, piece, paint):
    if isinstance(model, BPE):
        return _merges(model, piece, paint)
    if isinstance(model, WordPiece):
        return _longest_matches(model, piece, paint)
    if isinstance(model, Unigram):
        return _lattice(model, piece, paint)
    if isinstance(model, Pieces):
        return _joins(model, piece, paint)
    return []


def _merges(model, piece, paint):
    """Byte pair encoding: the cut after each merge, with the merge's rank."""
    names, before, lines = {i: token for token, i in model.vocab.items()}, None, []
    for parts in model.steps(to_bytes(piece)):
        tokens = [names[i] for i, _ in parts]
        rank = ""
        if before is not None:
            at, number = merged(model, before, parts)
            rank = f"   {names[before[at][0]]} + {names[before[at + 1][0]]}, rank {number}"
        lines.append(DOT.join(paint(visible(token), n) for n, token in enumerate(tokens)) + rank)
        before = parts
    left_out = len(lines) - LONGEST - 1
    return lines if left_out < 1 else [*lines[:LONGEST], f"… {left_out} merges later", lines[-1]]


def merged(model: BPE, before: list[tuple[int, int]], parts: list[tuple[int, int]]) -> tuple[int, int]:
    """(place, rank) of the merge between two cuts of BPE.steps that follow each other."""
    at = next(n for n, part in enumerate(parts) if part != before[n])
    return at, model.pairs[before[at][0], before[at + 1][0]][0]


def _longest_matches(model, piece, paint):
    """WordPiece: the longest known beginning of what is left, again and again."""
    lines, parts = [], model.match(piece)
    if parts == [(model.unk_id, 0, len(piece))] and piece not in model.vocab:
        return [f"{visible(piece)} → {paint(model.unk_token, 0)}   too long, or some rest of it has no known beginning"]
    for n, (_, start, end) in enumerate(parts):
        rest = f"   left: {visible(piece[end:])}" if end < len(piece) else ""
        prefix = model.prefix if start else ""
        lines.append(f"{visible(prefix + piece[start:])} → {paint(visible(prefix + piece[start:end]), n)}{rest}")
    return lines


def _lattice(model, piece, paint):
    """Unigram: every piece that could stand at each place, with its log probability; * marks the best path."""
    best, lines = {(start, end): n for n, (_, start, end) in enumerate(model.match(piece))}, []
    for start in range(min(len(piece), LONGEST)):
        for _, end, score in model.candidates(piece, start):
            mark = best.get((start, end))
            shown = visible(piece[start:end]) if mark is None else paint(visible(piece[start:end]), mark)
            lines.append(f"{'*' if mark is not None else ' '} {start:>3}:{end:<3} {score:9.3f}  {shown}")
    return lines


def _joins(model, piece, paint):
    """SentencePiece's byte pair encoding: the cut after each join, with the score of what it makes."""
    parts, last = list(piece), ""
    lines: list[str] = []
    while len(lines) < LONGEST:
        lines.append(DOT.join(paint(visible(part), n) for n, part in enumerate(parts)) + last)
        pairs = [(model.text_ids.get(a + b), n) for n, (a, b) in enumerate(zip(parts, parts[1:], strict=False))]
        known = [(-model.scores[i], n) for i, n in pairs if i is not None]
        if not known:
            break
        score, n = min(known)
        last = f"   {visible(parts[n])} + {visible(parts[n + 1])}, score {-score:g}"
        parts[n : n + 2] = [parts[n] + parts[n + 1]]
    return lines


def visible(text: str) -> str:
    """A text with what cannot be seen, and lone surrogates, spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
