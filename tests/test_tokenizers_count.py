"""Counting words in blocks: the same as a Counter of what the plain forms cut."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizers
from helpers import run_python
from strategies import pattern_texts, unicode_texts
from tokenizers import BertNormalizer, BertPreTokenizer, PatternPreTokenizer
from tokenizers.bpe import to_bytes
from tokenizers.count import WordCounter, count_pieces, count_words, read_files, word_key
from tokenizers.engine import code_array
from tokenizers.pretokenize import PATTERNS


def as_dict(words):
    """{tuple of units: count}, in order."""
    rows = np.split(words.units, words.starts[1:-1])
    return {tuple(row.tolist()): n for row, n in zip(rows, words.counts.tolist(), strict=True)}


@pytest.mark.kernels
@given(
    st.lists(pattern_texts(), min_size=1, max_size=6), st.sampled_from(sorted(PATTERNS)), st.sampled_from([1, 9, 99])
)
def test_count_pieces_equals_a_counter(texts, pattern, block):
    """Pieces as UTF-8, in the order in which they first came; blocks of any size."""
    texts, cut = [*texts, "a"], PatternPreTokenizer(pattern)
    expected = Counter(tuple(to_bytes(text[a:b])) for text in texts for a, b in cut.split(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenizers.count.BLOCK", block)
        counted = as_dict(count_pieces(iter(texts), cut))
    assert list(counted.items()) == list(expected.items())


@pytest.mark.kernels
@given(st.lists(unicode_texts(), min_size=1, max_size=6), st.booleans(), st.booleans(), st.booleans())
def test_count_words_equals_a_counter(texts, clean, lowercase, strip):
    """BERT's words, normalized, also those with marks that change places."""
    texts, normalizer = [*texts, "a"], BertNormalizer(clean_text=clean, lowercase=lowercase, strip_accents=strip)
    expected, cut = Counter(), BertPreTokenizer()
    for normal in (normalizer.normalize(text).text for text in texts):
        expected.update(tuple(map(ord, normal[a:b])) for a, b in cut.split(normal))
    assert as_dict(count_words(texts, normalizer, cut)) == expected


@pytest.mark.kernels
def test_counting_trusts_no_hash():
    """Two words of one hash are told apart; so are short ones, which are their own key, that differ by a NUL."""
    words, counter = (
        ["\u6000\u80ce\u6000", "\u61ad\u6000\u8981", "a", "\0a", "\u6000\u80ce\u6000"],
        WordCounter(np.uint32),
    )
    keys = [word_key(code_array([word])[0], 0, 3) for word in words[:2]]
    counter.add(words, [1] * 5)
    assert keys[0] == keys[1] and [*as_dict(counter.result()).values()] == [2, 1, 1, 1]


def test_read_files_gives_lines_with_their_ends(tmp_path):
    """File after file, only "\\n" ends a line; what is not UTF-8 is named, as is a path in place of a list."""
    (tmp_path / "a").write_bytes("eins\r\nzw\u2028ei".encode())
    (tmp_path / "b").write_bytes(b"\ndrei\n")
    assert list(read_files([tmp_path / "a", tmp_path / "b"])) == ["eins\r\n", "zw\u2028ei", "\n", "drei\n"]
    (tmp_path / "c").write_bytes(b"ok\n\xff")
    with pytest.raises(ValueError, match=r"c: not UTF-8 text: .*position 3"):
        list(read_files([tmp_path / "c"]))
    with pytest.raises(TypeError, match="expected a list of paths, got str"):
        read_files("a")


def test_training_memory_is_that_of_the_distinct_words(tmp_path):
    """From a file of 40 MB of few words, peak memory stays within 25 MB of that from one of 0.4 MB."""
    (tmp_path / "small").write_text("the cat sat on the mat and it sat there\n" * 10_000)
    (tmp_path / "large").write_text("the cat sat on the mat and it sat there\n" * 1_000_000)
    code = (
        "import sys, tokenizers\n"
        "from benchmarks.peers.worker import peak_mb\n"
        "tokenizers.BPE.train(tokenizers.read_files(sys.argv[1:]), vocab_size=300)\n"
        "print(peak_mb())"
    )
    small, large = (float(run_python(code, tmp_path / name).stdout) for name in ("small", "large"))
    assert large - small < 25, (small, large)


def test_training_from_files_equals_training_from_their_lines(tmp_path):
    """The same tokenizer.json, also the second time."""
    lines = ["the cat's hat\n", "\n", "é the bat"]
    (tmp_path / "a").write_text("".join(lines), encoding="utf-8")
    files = [tokenizers.BPE.train(read_files([tmp_path / "a"]), vocab_size=280).to_json() for _ in range(2)]
    assert files == [tokenizers.BPE.train(lines, vocab_size=280).to_json()] * 2
