"""Writes unicode_tables.py:  .venv-peers/bin/python -I tokenizers/make_unicode_tables.py > tokenizers/unicode_tables.py

BERT's ids depend on which Unicode version each rule follows, and Hugging Face's library, whose ids a BERT checkpoint
expects, mixes three: general categories of about 8.0, decompositions up to 12, lower case of about 17. So the rules are
read from that library (0.23.3), one code point at a time, and stored. Canonical combining classes, which
it shows only as "zero or not", come from Python's unicodedata: an assigned code point never changes its class.

Which letters, numbers and marks the patterns of byte-level models know is read from the library's regular expressions
(Unicode 16), which agree with tiktoken's on every code point; Python's `re` and `regex` follow other versions.
"""

import sys
import unicodedata

from tokenizers import Regex, __version__
from tokenizers.normalizers import NFC, NFD, NFKD, BertNormalizer, Replace, StripAccents
from tokenizers.pre_tokenizers import BertPreTokenizer, Digits, Whitespace

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic, not by table


def rule(**on):
    """One step of the library's BertNormalizer alone, as a function of text."""
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return BertNormalizer(**{**off, **on}).normalize_str


def changed(normalize):
    """{code point: result} where a normalizer changes that code point."""
    return {c: out for c in CODE_POINTS if (out := normalize(chr(c))) != chr(c)}


def members(name):
    """Code points that a character class of the library's regular expressions holds."""
    everything = "".join(map(chr, CODE_POINTS))
    return map(ord, Replace(Regex(f"[^{name}]"), "").normalize_str(everything))


def pieces_between_letters(pre_tokenizer):
    """{code point: pieces that it makes of itself between two letters}: 1 where it is one, 2 a blank, 3 apart."""
    return {c: len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) for c in CODE_POINTS}


def ranges(code_points):
    """[3, 4, 5, 9] → "3-5 9", in hexadecimal."""
    runs = []
    for c in sorted(code_points):
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in runs)


def mapping(table):
    """{0xC0: "A\\u0300"} → "c0=41.300"."""
    return " ".join(f"{c:x}=" + ".".join(f"{ord(o):x}" for o in out) for c, out in sorted(table.items()))


def main():
    """Write unicode_tables.py."""
    nfd = NFD().normalize_str
    decomposed = changed(nfd)
    clean = changed(rule(clean_text=True))
    stripped = changed(rule(strip_accents=True))
    compatible = changed(NFKD().normalize_str)
    pieces = pieces_between_letters(BertPreTokenizer())
    words, digits = pieces_between_letters(Whitespace()), pieces_between_letters(Digits())
    # U+0334 has class 1 and U+0345 has 240: one of them changes places with every mark, never with a starter
    moves = [
        c
        for c in CODE_POINTS
        if c not in decomposed
        and (nfd(chr(c) + "\u0334") != chr(c) + "\u0334" or nfd("\u0345" + chr(c)) != "\u0345" + chr(c))
    ]
    classes = {}
    for c in sorted({*moves, 0x334, 0x345}):
        classes.setdefault(unicodedata.combining(chr(c)), []).append(c)
    if 0 in classes:
        sys.exit(f"Python's Unicode {unicodedata.unidata_version} is too old: no class for {classes[0]}")
    tables = {
        "DROPPED": ranges(c for c, out in clean.items() if out == ""),
        "WHITE_SPACE": ranges(c for c, n in pieces.items() if n == 2),
        "PUNCTUATION": ranges(c for c, n in pieces.items() if n == 3),
        "CJK": ranges(changed(rule(handle_chinese_chars=True))),
        "NONSPACING_MARKS": ranges(c for c, out in stripped.items() if out == "" and c not in decomposed),
        "COMBINING_CLASSES": "; ".join(f"{k}: {ranges(v)}" for k, v in sorted(classes.items())),
        "LOWER": mapping(changed(rule(lowercase=True))),
        "NFD": mapping({c: out for c, out in decomposed.items() if c not in HANGUL}),
        "NFKD": mapping({c: out for c, out in compatible.items() if out != decomposed.get(c)}),
        "NOT_COMPOSED": ranges(c for c in changed(NFC().normalize_str)),
        "COMBINING_MARKS": ranges(changed(StripAccents().normalize_str)),
        "WORD": ranges(c for c, n in words.items() if n == 1),
        "NUMERIC": ranges(c for c, n in digits.items() if n > 1),
        "PUNCTUATION_CATEGORY": ranges(members(r"\p{P}")),
        "SYMBOL_CATEGORY": ranges(members(r"\p{S}")),
        "DECIMALS": ranges(members(r"\p{Nd}")),
        "UPPER": ranges(members(r"\p{Lu}\p{Lt}")),
        "LOWER_CASE": ranges(members(r"\p{Ll}")),
        "CASELESS": ranges(members(r"\p{Lm}\p{Lo}")),
        "MARKS": ranges(members(r"\p{M}")),
        "NUMBERS": ranges(members(r"\p{N}")),
    }
    print(f'"""Unicode rules of the tokenizers, as Hugging Face\'s tokenizers {__version__} applies them.')
    print('\nGenerated by make_unicode_tables.py: do not edit. Code points in hexadecimal.\n"""\n\n# fmt: off')
    for name, text in tables.items():
        print(f"{name} = (")
        while text:
            cut = len(text) if len(text) <= 110 else text.rindex(" ", 0, 110) + 1
            print(f'    "{text[:cut]}"')
            text = text[cut:]
        print(")")


if __name__ == "__main__":
    main()
