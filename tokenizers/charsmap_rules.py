"""The character maps of SentencePiece's normalizers, made from Python's Unicode data, and compiled for its files.

Normalization Form KC as a list of strings to replace: every character that changes by itself, and every sequence that
composes, in all its spellings. Applied longest first, they do what the form does, as far as sequences
are no longer than those that one character stands for.
"""

import struct
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import groupby, product

import numpy as np

from ._jit import kernel
from .charsmap import LEAF

NAMES = ("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity")
CHARACTERS = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
# what machine translation wants: controls go, blanks of all kinds are blanks, and the full-width tilde stays
NMT_BLANKS = "\t\n\f\r\u061c\u1680\u200b\u200c\u200e\u200f\u2028\u2029\u2581\ufeff\ufffd"
NMT_DROPPED = [*map(chr, range(1, 9)), "\v", *map(chr, range(14, 32)), "\x7f", "\x8f", "\x9f"]
NMT_KEPT = "\uff5e"


@cache
def compiled_charsmap(name: str) -> bytes:
    """Bytes of a precompiled character map of NAMES; b"" for identity.

    Raises   ValueError: the name is not one of these
    """
    if name not in NAMES:
        raise ValueError(f"normalizer: expected one of {', '.join(NAMES)}, got {name!r}")
    return compile_rules(rules(name)) if name != "identity" else b""


def rules(name: str) -> dict[str, str]:
    """{string: replacement} of a normalizer.

    Source   sentencepiece 0.2.3, builder.cc
    Differs  its maps are made from Unicode 17, these from the running Python's version, unicodedata.unidata_version
    """
    rules = without_redundant(nfkc_rules())
    if name.startswith("nmt_"):
        rules |= {**dict.fromkeys(NMT_BLANKS, " "), **dict.fromkeys(NMT_DROPPED, "")}
        del rules[NMT_KEPT]
        rules = without_redundant(rules)
    if name.endswith("_cf"):
        folded = {c: fold for c in CHARACTERS if (fold := fold_case(c)) != c}
        rules = folded | {key: "".join(map(fold_case, out)) for key, out in rules.items()}
        rules = without_redundant(rules)
    return rules


def nfkc_rules() -> dict[str, str]:
    """{string: its Normalization Form KC} of characters, and of the sequences that compose to fewer."""
    rules: dict[str, str] = {}
    spellings: dict[str, list[str]] = {}
    sequences = set()
    for c in CHARACTERS:
        if unicodedata.is_normalized("NFKD", c):
            continue  # then it is normalized in every form
        composed, decomposed = (unicodedata.normalize(form, c) for form in ("NFKC", "NFKD"))
        if composed != c:
            rules[c] = composed
        if len(decomposed) == 1:
            spellings.setdefault(decomposed, [decomposed]).append(c)
        else:
            sequences.add(decomposed)
    for sequence in sequences:
        composed = unicodedata.normalize("NFKC", sequence)
        if composed != sequence:
            for spelling in map("".join, product(*(spellings.get(c, c) for c in sequence))):
                if spelling != composed:
                    rules[spelling] = composed
    return rules


def without_redundant(rules: dict[str, str]) -> dict[str, str]:
    """Rules without those that shorter ones already give."""
    kept = {key: out for key, out in rules.items() if len(key) == 1}
    for length in range(2, max(map(len, rules)) + 1):
        more = {key: out for key, out in rules.items() if len(key) == length and rewrite(kept, key, length - 1) != out}
        kept |= more
    return kept


def rewrite(rules: dict[str, str], text: str, longest: int) -> str:
    """Text with the longest key at each place replaced."""
    out, at = [], 0
    while at < len(text):
        for end in range(min(at + longest, len(text)), at, -1):
            found = rules.get(text[at:end])
            if found is not None:
                break
        out.append(text[at] if found is None else found)
        at = end
    return "".join(out)


def fold_case(c: str) -> str:
    """Simple case folding: one character for one."""
    folded = c.casefold()
    if len(folded) > 1:
        folded = c.lower()
    return folded if len(folded) == 1 else c


def compile_rules(rules: dict[str, str]) -> bytes:
    """Rules as a precompiled character map: size of the double array, the array, the strings."""
    places, strings = {}, bytearray()
    for out in sorted(set(rules.values())):
        places[out] = len(strings)
        strings += out.encode() + b"\0"
    units = double_array(sorted((key.encode(), places[out]) for key, out in rules.items()))
    return struct.pack("<I", 4 * len(units)) + units.astype("<u4").tobytes() + bytes(strings)


def double_array(items: Iterable[tuple[bytes, int]]) -> np.ndarray:
    """Units of the trie of sorted (key, value); equal subtrees are stored once.

    Source   darts-clone's format (see Charsmap); Aoe 1989 for the double array
    """
    nodes, numbers = [], {}  # a node: ([byte or 0 for its value], [child's number or the value])

    def number(items, depth):
        key = tuple((rest[depth:], value) for rest, value in items)
        if key not in numbers:
            groups = [(byte, list(group)) for byte, group in groupby(items, lambda item: item[0][depth : depth + 1])]
            labels = [byte[0] if byte else 0 for byte, _ in groups]
            nodes.append((labels, [number(g, depth + 1) if byte else g[0][1] for byte, g in groups]))
            numbers[key] = len(nodes) - 1
        return numbers[key]

    number(items, 0)
    bases, size = place_children([labels for labels, _ in reversed(nodes)])  # the root, made last, is placed first
    bases = bases[::-1]
    units = np.full(size, LEAF, np.uint32)  # a leaf is no byte's child
    units[0] = bases[-1] << 10
    for base, (labels, children) in zip(bases, nodes, strict=True):
        for label, child in zip(labels, children, strict=True):
            at = base ^ label
            if label:
                units[at] = (at ^ bases[child]) << 10 | (nodes[child][0][0] == 0) << 8 | label
            else:
                units[at] = LEAF | child
    return units


def place_children(label_sets: list[list[int]]) -> tuple[np.ndarray, int]:
    """A base for each set of labels, such that no base ^ label is taken twice and no base; and the array's size."""
    starts = np.cumsum([0, *map(len, label_sets)])
    bases, free = np.empty(len(label_sets), np.int64), np.ones((2, 2 * starts[-1] + 512), bool)
    size = place(np.concatenate(label_sets), starts, free[0], free[1], bases)
    return bases, size


@kernel
def place(labels, starts, free, unused, bases):
    """First fit; the array is never much longer than what it holds, as most sets are of one label."""
    first, last = 1, 0
    free[0], unused[0] = False, False
    for n in range(len(bases)):
        at, fits = first - 1, False
        while not fits:
            at += 1
            base = at ^ labels[starts[n]]
            fits = unused[base]
            for k in range(starts[n], starts[n + 1]):
                fits = fits and free[base ^ labels[k]]
        bases[n], unused[base] = base, False
        for k in range(starts[n], starts[n + 1]):
            free[base ^ labels[k]] = False
            last = max(last, base ^ labels[k])
        last = max(last, base)
        while not free[first]:
            first += 1
    return (last | 255) + 1
