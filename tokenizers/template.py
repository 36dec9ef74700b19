"""What stands around and between sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SEQUENCES = ("A", "B")


@dataclass(frozen=True)
class Template:
    """Where a sequence (`"A"` or `"B"`) or a special token goes: tuples of (name, type id), for one and for two texts.

    trim_offsets leaves the blanks at the ends of byte-level tokens out of their offsets; with add_prefix_space the one
    blank at the beginning of a text, which encoding may have put there, stays.

    Source   Hugging Face's TemplateProcessing; its ByteLevel and RobertaProcessing for trim_offsets
    """

    single: tuple = (("A", 0),)
    pair: tuple = (("A", 0), ("B", 1))
    trim_offsets: bool = False
    add_prefix_space: bool = False

    def pieces(self, paired: bool, add_special_tokens: bool = True) -> tuple[tuple[str, int], ...]:
        """The (name, type id) of one text or a pair, with or without the special tokens."""
        pieces = self.pair if paired else self.single
        return pieces if add_special_tokens else tuple(p for p in pieces if p[0] in SEQUENCES)

    def specials(self, paired: bool) -> int:
        """How many special tokens it adds."""
        return sum(name not in SEQUENCES for name, _ in self.pieces(paired))


def bert_template(special_tokens: Iterable[str]) -> Template:
    """[CLS] a [SEP]  and  [CLS] a [SEP] b [SEP], with type id 1 from b on.

    >>> bert_template({"[CLS]": 2, "[SEP]": 3}).pieces(paired=True)
    (('[CLS]', 0), ('A', 0), ('[SEP]', 0), ('B', 1), ('[SEP]', 1))
    """
    if missing := {"[CLS]", "[SEP]"} - set(special_tokens):
        raise ValueError(f"the vocabulary lacks {', '.join(sorted(missing))}")
    single = (("[CLS]", 0), ("A", 0), ("[SEP]", 0))
    return Template(single, (*single, ("B", 1), ("[SEP]", 1)))
