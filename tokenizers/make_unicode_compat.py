"""Writes unicode_compat.py:  .venv-peers/bin/python -I tokenizers/make_unicode_compat.py > tokenizers/unicode_compat.py

BERT's ids depend on which Unicode version each rule follows, and Hugging Face's library, whose ids a checkpoint
expects, mixes them: general categories of about 8.0 in BERT's rules and of 16 in its regular expressions (which agree
with tiktoken's on every code point), decompositions up to 12, lower case of about 17. So each rule is asked of the
library, one code point at a time, and what differs from unicode_tables.py is kept.
"""

from pathlib import Path
from runpy import run_path

from tokenizers import Regex, __version__
from tokenizers.normalizers import NFC, NFD, NFKD, BertNormalizer, Replace, StripAccents
from tokenizers.pre_tokenizers import BertPreTokenizer, Digits, Whitespace

HERE = Path(__file__).parent  # run on its own: this folder's package is not importable beside the library
UNICODE, MAKER = run_path(HERE / "unicode_tables.py"), run_path(HERE / "make_unicode_tables.py")
CODE_POINTS, HANGUL, changed, ranges, mapping, write = (
    MAKER[name] for name in ("CODE_POINTS", "HANGUL", "changed", "ranges", "mapping", "write")
)


def rule(**on):
    """One step of the library's BertNormalizer alone, as a function of text."""
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return BertNormalizer(**{**off, **on}).normalize_str


def members(name):
    """Code points that a character class of the library's regular expressions holds."""
    everything = "".join(map(chr, CODE_POINTS))
    return map(ord, Replace(Regex(f"[^{name}]"), "").normalize_str(everything))


def pieces_between_letters(pre_tokenizer):
    """{code point: pieces that it makes of itself between two letters}: 1 where it is one, 2 a blank, 3 apart."""
    return {c: len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) for c in CODE_POINTS}


def moves(decomposed):
    """Characters that change places with a mark: U+0334 has class 1 and U+0345 has 240, so one of them shows it."""
    nfd = NFD().normalize_str
    stays = {chr(c) for c in CODE_POINTS if nfd(chr(c) + "\u0334") == chr(c) + "\u0334"}
    stays &= {chr(c) for c in CODE_POINTS if nfd("\u0345" + chr(c)) == "\u0345" + chr(c)}
    return {c for c in CODE_POINTS if c not in decomposed and chr(c) not in stays} | {0x334, 0x345}


def code_points(text):
    """ "3-5 9" → {3, 4, 5, 9}."""
    ends = (part.partition("-") for part in text.split())
    return {c for a, _, b in ends for c in range(int(a, 16), int(b or a, 16) + 1)}


def differing(name, theirs):
    """Text of the code points that are in one of the two tables only."""
    return ranges(code_points(UNICODE[name]).symmetric_difference(theirs))


def replaced(name, theirs):
    """Text of what characters become in the library, themselves where they stay, and not in Unicode."""
    ours = {int(c, 16): "".join(chr(int(o, 16)) for o in out.split(".")) for c, out in _pairs(UNICODE[name])}
    return mapping({c: theirs.get(c, chr(c)) for c in ours.keys() | theirs if ours.get(c) != theirs.get(c)})


def _pairs(text):
    return (part.split("=") for part in text.split())


def unmoved(name, theirs):
    """Text of the marks that have no class in the library; an assigned code point never changes its class."""
    ours = set().union(*(code_points(line.split(":")[1]) for line in UNICODE[name].split(";")))
    if theirs - ours:
        raise SystemExit(f"unicode_tables.py is too old: no class for {ranges(theirs - ours)}")
    return f"0: {ranges(ours - theirs)}"


def main():
    decomposed, compatible = changed(NFD().normalize_str), changed(NFKD().normalize_str)
    clean, stripped = changed(rule(clean_text=True)), changed(rule(strip_accents=True))
    pieces, digits = pieces_between_letters(BertPreTokenizer()), pieces_between_letters(Digits())
    words = pieces_between_letters(Whitespace())
    sets = {
        "DROPPED": [c for c, out in clean.items() if out == ""],
        "WHITE_SPACE": [c for c, n in pieces.items() if n == 2],
        "PUNCTUATION": [c for c, n in pieces.items() if n == 3],
        "CJK": changed(rule(handle_chinese_chars=True)),
        "NONSPACING_MARKS": [c for c, out in stripped.items() if out == "" and c not in decomposed],
        "NOT_COMPOSED": changed(NFC().normalize_str),
        "COMBINING_MARKS": changed(StripAccents().normalize_str),
        "WORD": [c for c, n in words.items() if n == 1],
        "NUMERIC": [c for c, n in digits.items() if n > 1],
        "PUNCTUATION_CATEGORY": members(r"\p{P}"),
        "SYMBOL_CATEGORY": members(r"\p{S}"),
        "DECIMALS": members(r"\p{Nd}"),
        "UPPER": members(r"\p{Lu}\p{Lt}"),
        "LOWER_CASE": members(r"\p{Ll}"),
        "CASELESS": members(r"\p{Lm}\p{Lo}"),
        "MARKS": members(r"\p{M}"),
        "NUMBERS": members(r"\p{N}"),
    }
    mappings = {
        "LOWER": changed(rule(lowercase=True)),
        "NFD": {c: out for c, out in decomposed.items() if c not in HANGUL},
        "NFKD": {c: out for c, out in compatible.items() if out != decomposed.get(c)},
    }
    found = {name: differing(name, theirs) for name, theirs in sets.items()}
    found |= {name: replaced(name, theirs) for name, theirs in mappings.items()}
    found["COMBINING_CLASSES"] = unmoved("COMBINING_CLASSES", moves(decomposed))
    write(
        f"Where Hugging Face's tokenizers {__version__} goes by another Unicode version than unicode_tables.py.\n\n"
        "Code points that are in one of the two tables only; what a character becomes there; marks without a class.\n"
        "Generated by make_unicode_compat.py: do not edit. Code points in hexadecimal.",
        {name: text for name, text in found.items() if text},
    )


if __name__ == "__main__":
    main()
