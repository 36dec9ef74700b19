"""Byte pair encoding at work: the cut of a text before the first merge, after it, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from minibert.plots.figure import color, new_figure
from tokenizers.bpe import BPE, to_bytes
from tokenizers.explain import merged, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tokenizers.tokenizer import Tokenizer

MOST_BYTES = 120  # of a text; more do not fit on a sheet


class Part(NamedTuple):
    """A token of a cut, on bytes [start, end) of the text; rank: of the merge that has just made it, else None."""

    token: str
    start: int
    end: int
    rank: int | None


def merge_rows(tokenizer: Tokenizer, text: str) -> list[list[Part]]:
    """The cuts of a text: row s holds each piece after its first s merges, so that the last row holds the tokens.

    Raises   ValueError: a tokenizer of another kind; a text of no or too many bytes
    """
    model = tokenizer.model
    if not isinstance(model, BPE):
        raise ValueError(f"expected a byte-level BPE tokenizer, got one of {type(model).__name__}")
    names = {i: token for token, i in model.vocab.items()}
    if not 0 < len(to_bytes(text)) <= MOST_BYTES:
        raise ValueError(f"expected a text of 1 to {MOST_BYTES} bytes, got {len(to_bytes(text))}")
    pieces, start = [], 0
    for normal, added in tokenizer.honoured(()).split(text):
        for piece in [normal] if added else tokenizer.pretokenizer.pieces(normal):
            end = start + len(to_bytes(piece.text))
            pieces.append([[Part(piece.text, start, end, None)]] if added else _cuts(model, names, piece.text, start))
            start = end
    depth = max(map(len, pieces))
    return [[part for cuts in pieces for part in cuts[min(row, len(cuts) - 1)]] for row in range(depth)]


def _cuts(model: BPE, names: dict[int, str], piece: str, first: int) -> list[list[Part]]:
    """The cuts of one piece, whose first byte is the text's byte `first`."""
    cuts: list[list[Part]] = []
    before: list[tuple[int, int]] = []
    for parts in model.steps(to_bytes(piece)):
        at, rank = merged(model, before, parts) if before else (None, None)
        cut, start = [], first
        for place, (i, length) in enumerate(parts):
            cut.append(Part(names[i], start, start + length, rank if place == at else None))
            start += length
        cuts.append(cut)
        before = parts
    return cuts


def merges(rows: list[list[Part]]) -> Figure:
    """The cuts below each other, each token as wide as its bytes; what a merge has made is coloured, with its rank.

    Raises   ImportError: no matplotlib
    """
    from matplotlib.patches import Rectangle

    bytes_wide = rows[0][-1].end
    figure = new_figure(1 + 0.42 * bytes_wide, 0.8 + 0.42 * len(rows))
    axes = figure.add_subplot()
    for number, row in enumerate(rows):
        for token, start, end, rank in row:
            face = "0.95" if rank is None else (*color(0)[:3], 0.35)
            axes.add_patch(
                Rectangle((start + 0.05, number - 0.4), end - start - 0.1, 0.8, facecolor=face, edgecolor="0.6")
            )
            axes.text(
                (start + end) / 2, number, visible(token).replace("$", r"\$"), ha="center", va="center", fontsize=9
            )
            if rank is not None:
                axes.text(end - 0.1, number - 0.36, str(rank), ha="right", va="top", fontsize=5, color="0.3")
    axes.set(xlim=(0, bytes_wide), ylim=(len(rows) - 0.5, -0.5), xticks=[], ylabel="merges done")
    axes.set_yticks(range(len(rows)))
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    return figure
