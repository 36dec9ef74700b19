"""The published patterns: their plain form and the kernel's."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strategies import pattern_texts
from tokenizers import PatternPreTokenizer
from tokenizers.engine import encoded
from tokenizers.pretokenize import CASELESS, LOWER, MARK, NUMBER, OTHER, PATTERNS, SPACE, UPPER, kind_table
from tokenizers.pretokenize_kernel import PATTERN_NUMBERS, piece_end
from tokenizers.utf8 import encode

names = st.sampled_from(sorted(PATTERNS))


def pieces(text, name):
    return [text[a:b] for a, b in PatternPreTokenizer(name).split(text)]


def kernel_split(text, name):
    """[(start, end)] by the loop over bytes."""
    data, _ = encoded([text])
    characters = [i for i, c in enumerate(text) for _ in encode(c)] + [len(text)]
    found, i = [], 0
    while i < len(characters) - 1:
        start, i = i, piece_end(PATTERN_NUMBERS[name], kind_table(), data, i, len(characters) - 1)
        found.append((characters[start], characters[i]))
    return found


@pytest.mark.kernels
@given(pattern_texts(), names)
@example("中A \u0301A", "o200k")
def test_pattern_kernel_equals_the_pattern(text, name):
    """The loop over bytes ends each piece where the regular expression does."""
    assert kernel_split(text, name) == PatternPreTokenizer(name).split(text)


@given(pattern_texts(), names)
def test_pattern_pieces_make_up_the_text(text, name):
    """No character falls between two pieces, none is in two."""
    assert "".join(pieces(text, name)) == text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "gpt2",
            "I'll say:  it's  12345!\n\n x",
            ["I", "'ll", " say", ":", " ", " it", "'s", " ", " 12345", "!", "\n\n", " x"],
        ),
        ("gpt2", "DON'T \n", ["DON", "'", "T", " \n"]),
        ("cl100k", "DON'T 12345 (x)\r\n \n y", ["DON", "'T", " ", "123", "45", " (", "x", ")\r\n", " \n", " y"]),
        ("cl100k", "a \n  ", ["a", " \n  "]),
        ("llama3", "a \n  ", ["a", " \n", "  "]),
        ("o200k", "HTTPServer isn'tIt ab/\n/c", ["HTTPServer", " isn't", "It", " ab", "/\n/", "c"]),
        ("o200k", "cafe\u0301 \u0301A 中文A", ["cafe\u0301", " \u0301", "A", " 中文", "A"]),
    ],
)
def test_pattern_worked_examples(name, text, expected):
    """Contractions in either case, blanks before words, three digits, line ends, words that change case."""
    assert pieces(text, name) == expected
    assert [text[a:b] for a, b in kernel_split(text, name)] == expected


def test_pattern_classes_are_a_partition_that_python_agrees_with_where_settled():
    """Each code point has one kind; on Latin, Greek and Cyrillic letters it is what Python says."""
    kinds = kind_table()
    assert set(np.unique(kinds)) == {UPPER, LOWER, CASELESS, MARK, NUMBER, SPACE, OTHER}
    for c in range(0x21, 0x52F):
        letter, upper = bool(kinds[c] & (UPPER | LOWER | CASELESS)), kinds[c] == UPPER
        assert letter == chr(c).isalpha() or chr(c).isspace() or c in (0x345,), hex(c)
        assert upper == (chr(c).isupper() or chr(c).istitle()), hex(c)


def test_pattern_unknown_name_is_refused():
    """The names there are stand in the message."""
    with pytest.raises(ValueError, match=re.escape("expected one of gpt2, cl100k, llama3, o200k, got 'bert'")):
        PatternPreTokenizer("bert")
