"""Clean-up with offsets, and words."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import wordpiece as oracle
from strategies import unicode_texts
from tokenizers import BertNormalizer, BertPreTokenizer
from tokenizers.normalize import INSIDE, LOOK_UP, REORDER, SPACE, code_points, combining_classes, fold_table, mapping

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


def test_unicode_tables_differ_from_unicode_data_only_in_younger_code_points():
    """The tables are the library's, which mixes versions: what Unicode 3.2 had already and never changed is the same.

    Of Python 3.11's Unicode 14, 385 nonspacing and 106 punctuation marks are not those of the library's BERT rules.
    """
    old, now = unicodedata.ucd_3_2_0, unicodedata
    rules = {
        "NONSPACING_MARKS": lambda c: now.category(c) == "Mn" and c not in mapping("NFD"),
        "COMBINING_MARKS": lambda c: now.category(c)[0] == "M",
        "PUNCTUATION_CATEGORY": lambda c: now.category(c)[0] == "P",
        "SYMBOL_CATEGORY": lambda c: now.category(c)[0] == "S",
        "NUMBERS": lambda c: now.category(c)[0] == "N",
        "DECIMALS": lambda c: now.category(c) == "Nd",
        "MARKS": lambda c: now.category(c)[0] == "M",
        "LOWER_CASE": lambda c: now.category(c) == "Ll",
    }
    settled = [c for c in map(chr, range(0x30000)) if old.category(c) not in ("Cn", "Cs", "Co")]
    settled = [c for c in settled if old.category(c) == now.category(c)]
    for name, rule in rules.items():
        table = code_points(name)
        different = {c for c in settled if (c in table) != rule(c)}
        assert not different, (name, sorted(map(ascii, different)))
