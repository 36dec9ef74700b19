"""Clean-up with offsets, and words."""

import unicodedata
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import wordpiece as oracle
from strategies import unicode_texts
from tokenizers import BertNormalizer, BertPreTokenizer, unicode_tables
from tokenizers.make_unicode_tables import tables
from tokenizers.normalize import (
    INSIDE,
    LOOK_UP,
    REORDER,
    SPACE,
    code_points,
    combining_classes,
    fold_table,
    mapping,
    ranges,
)

MAPPINGS = ("LOWER", "NFD", "NFKD")
SETS = [n for n in vars(unicode_tables) if n.isupper() and n not in (*MAPPINGS, "COMBINING_CLASSES")]
NORMALIZERS = [
    BertNormalizer(),
    BertNormalizer(lowercase=False),
    BertNormalizer(lowercase=True, strip_accents=False),
    BertNormalizer(lowercase=False, strip_accents=True),
    BertNormalizer(clean_text=False, handle_chinese_chars=False),
]
# Code points whose classes no Unicode version since 8.0 has changed: the oracle sees the running Python's
SETTLED = st.characters(min_codepoint=0x20, max_codepoint=0x52F) | st.sampled_from(
    "각힣中日アⅨ€“„–—…\u2003\u3000\u200b"
)


@given(st.text(SETTLED, max_size=30), st.booleans())
def test_normalize_equals_the_steps_spelled_out(text, lowercase):
    """On settled code points, the tables give what Python's unicodedata gives step by step."""
    assert BertNormalizer(lowercase=lowercase).normalize(text).text == oracle.normalize(text, lowercase)


@given(st.text(SETTLED, max_size=30))
def test_pretokenize_equals_the_rules_spelled_out(text):
    """Words are runs between blanks, punctuation marks alone."""
    text = oracle.normalize(text)
    assert [text[a:b] for a, b in BertPreTokenizer().split(text)] == oracle.words(text)


@given(unicode_texts(), st.sampled_from(NORMALIZERS))
def test_normalize_keeps_sources_in_order_and_in_range(text, normalizer):
    """Every character of the result has one source character, and sources never go backwards."""
    normal = normalizer.normalize(text)
    assert len(normal.text) == len(normal.starts) == len(normal.ends)
    assert all(b == a + 1 and 0 <= a < len(text) for a, b in zip(normal.starts, normal.ends, strict=True))
    assert list(normal.starts) == sorted(normal.starts)


@given(unicode_texts(), st.sampled_from(NORMALIZERS[:4]))
def test_normalize_twice_changes_only_blanks(text, normalizer):
    """Clean text is a fixed point, but for the blanks around CJK, which come again."""
    once = normalizer.normalize(text).text
    assert normalizer.normalize(once).text.split() == once.split()


@pytest.mark.parametrize(
    ("text", "expected", "sources"),
    [
        ("Ünï", "uni", [0, 1, 2]),
        ("e\u0301t", "et", [0, 2]),
        ("a\x00b", "ab", [0, 2]),
        ("中x", " 中 x", [0, 0, 0, 1]),
        ("각", "\u1100\u1161\u11a8", [0, 0, 0]),
        ("İ", "i", [0]),
        ("ΑΣ", "ας".replace("ς", "σ"), [0, 1]),
        ("\ud800a\udfff", "a", [1]),
    ],
)
def test_normalize_worked_examples(text, expected, sources):
    """Accents, controls, CJK, Hangul, dotted I, no final sigma, lone surrogates."""
    normal = BertNormalizer().normalize(text)
    assert (normal.text, list(normal.starts)) == (expected, sources)


def test_normalize_replaces_lone_surrogates_where_it_does_not_clean():
    """Without clean_text a lone surrogate is U+FFFD, at its place."""
    normal = BertNormalizer(clean_text=False).normalize("a\ud800b")
    assert (normal.text, list(normal.starts)) == ("a\ufffdb", [0, 1, 2])


def test_normalize_orders_marks_by_class():
    """U+302E (class 224) and U+1D165 (216) are kept and change places; sources go by position."""
    normal = BertNormalizer().normalize("a\u302e\U0001d165")
    assert (normal.text, list(normal.starts)) == ("a\U0001d165\u302e", [0, 1, 2])


def test_unicode_tables_agree_with_python_where_all_versions_do():
    """Decompositions, classes and lower case of Unicode 3.2 never changed, but for two corrected mistakes."""
    old = unicodedata.ucd_3_2_0
    for c in map(chr, range(0x2FFFF)):
        if old.category(c) in ("Cn", "Cs", "Co") or "\uac00" <= c <= "\ud7a3":
            continue
        assert mapping("NFD").get(c, c) == unicodedata.normalize("NFD", c), hex(ord(c))
        assert c in mapping("NFD") or combining_classes().get(c, 0) == unicodedata.combining(c), hex(ord(c))
        assert mapping("LOWER").get(c, c) == c.lower(), hex(ord(c))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_fold_table_equals_normalize(normalizer):
    """Each code point alone: the kernels' table says what the plain form does, over every block of Unicode."""
    fold = fold_table(normalizer)
    cjk = code_points("CJK") if normalizer.handle_chinese_chars else ()
    for c in [*range(0x3200), *range(0xA000, 0xAD00, 3), *range(0xD700, 0x20100, 5), 0x2F800, 0xE0001, 0x10FFFD]:
        normal = normalizer.normalize(chr(c)).text
        if fold.kind[c] == SPACE:
            assert normal.isspace() or normal in code_points("WHITE_SPACE")
        elif fold.kind[c] != REORDER:
            assert fold.kind[c] == LOOK_UP or fold.start[c] == 0 or chr(c) in cjk
            place = int(fold.start[c])
            out = fold.outputs[place + 1 : place + 1 + fold.outputs[place]] & 0xFFFFFF if place else [c]
            assert "".join(map(chr, out)) == normal.strip(" ")
    assert fold.kind[ord("a")] == INSIDE and fold.kind.dtype == np.uint8


def test_unicode_tables_are_those_of_unicode_data():
    """Made anew from Python's unicodedata; where it has another version, compared on what 3.2 had and never changed."""
    made, same = tables(), unicodedata.unidata_version in unicode_tables.__doc__
    for name, text in made.items():
        assert not same or getattr(unicode_tables, name) == text, name
    for name in SETS:
        now = {chr(c) for a, b in ranges(made[name]) for c in range(a, b + 1)}
        different = settled().intersection(now ^ code_points(name, "unicode"))
        assert not different, (name, sorted(map(ascii, different)))


DIFFERENCES = {  # from Unicode 14: general categories of about 8 in BERT's rules, of 16 in regular expressions
    "DROPPED": 13,
    "PUNCTUATION": 106,
    "CJK": 256,
    "NONSPACING_MARKS": 385,
    "COMBINING_MARKS": 315,
    "WORD": 9465,
    "NUMERIC": 133,
    "PUNCTUATION_CATEGORY": 36,
    "SYMBOL_CATEGORY": 773,
    "DECIMALS": 100,
    "UPPER": 27,
    "LOWER_CASE": 31,
    "CASELESS": 9214,
    "MARKS": 93,
    "NUMBERS": 120,
    "LOWER": 55,
    "NFD": 1,
    "NFKD": 72,
}


def test_library_differs_from_unicode_data_as_stated():
    """In so many code points, which came or changed later than Unicode 3.2; and it knows fewer marks' classes."""
    for name in SETS:
        different = code_points(name) ^ code_points(name, "unicode")
        assert len(different) == DIFFERENCES.get(name, 0), name
        assert not different & settled() or name == "CJK"  # that is a slip in its list of blocks
    for name in MAPPINGS:
        theirs, unicode = mapping(name), mapping(name, "unicode")
        different = {c for c in theirs.keys() | unicode if theirs.get(c) != unicode.get(c)}
        assert len(different) == DIFFERENCES[name] and not different & settled(), name
    assert combining_classes().items() < combining_classes("unicode").items()
    assert len(combining_classes("unicode")) - len(combining_classes()) == 98


def test_unicode_rules_of_one_version():
    """U+10F82 (Unicode 14) is a mark of class 230, and U+11938 is two characters, but not to the library."""
    assert "\U00010f82" in code_points("NONSPACING_MARKS", "unicode") - code_points("NONSPACING_MARKS")
    assert combining_classes("unicode")["\U00010f82"] == 230 and "\U00010f82" not in combining_classes()
    assert mapping("NFD", "unicode")["\U00011938"] == "\U00011935\U00011930"
    assert "\U00011938" not in mapping("NFD")


@cache
def settled():
    """Characters that Unicode 3.2 had and whose category never changed."""
    old, now = unicodedata.ucd_3_2_0, unicodedata
    settled = (c for c in map(chr, range(0x30000)) if old.category(c) not in ("Cn", "Cs", "Co"))
    return {c for c in settled if old.category(c) == now.category(c)}
