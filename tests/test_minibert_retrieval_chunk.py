"""Chunks: exact spans, nothing lost, never over the budget."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tokenizers
from minibert.retrieval.chunk import (
    chunk_text,
    count_characters,
    count_tokens,
    count_words,
    split_sentences,
    split_words,
)

texts = st.text(alphabet="ab .!?\n\t。é\u200b\u0301'\")", max_size=200) | st.text(max_size=60)
counts = st.sampled_from([count_words, count_characters])
splits = st.sampled_from([split_sentences, split_words])
sizes = st.integers(1, 12)


@given(texts, sizes, st.integers(0, 11), counts, splits)
@example("a b. " * 3, 2, 1, count_words, split_sentences)
def test_chunk_span_is_its_text(text, size, overlap, count, split):
    """source[start:end] == chunk.text, for every chunk, with and without overlap; no chunk is blank at its ends."""
    for chunk in chunk_text(text, size, min(overlap, size - 1), count, split):
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text and chunk.text == chunk.text.strip()


@given(texts, sizes, st.integers(0, 11), counts, splits)
@example("a. b c. d e.", 3, 2, count_words, split_sentences)
def test_chunk_covers_every_word(text, size, overlap, count, split):
    """Every character that is not white space is in a chunk, and the chunks go forward."""
    chunks = chunk_text(text, size, min(overlap, size - 1), count, split)
    covered = np.zeros(len(text), bool)
    for chunk in chunks:
        covered[chunk.start : chunk.end] = True
    assert all(covered[i] for i, character in enumerate(text) if not character.isspace())
    ends = [chunk.end for chunk in chunks]
    assert ends == sorted(set(ends))


@given(texts, sizes, st.integers(0, 11), counts, splits)
@example("a. b.", 4, 0, count_characters, split_sentences)
def test_chunk_keeps_budget(text, size, overlap, count, split):
    """No chunk counts for more than the budget, and what it repeats of the one before for no more than the overlap."""
    overlap = min(overlap, size - 1)
    chunks = chunk_text(text, size, overlap, count, split)
    assert max(count([chunk.text for chunk in chunks]), default=0) <= size
    for before, after in zip(chunks, chunks[1:], strict=False):
        shared = text[after.start : max(before.end, after.start)]
        assert count([shared])[0] <= overlap


@given(texts, sizes)
@example("? 。?", 2)  # two words, of three sentences
def test_chunk_packs_greedily(text, size):
    """Oracle: a text that fits is one chunk; else sentences that fit are packed by what they count for together."""
    words = {span: len(text[slice(*span)].split()) for span in split_sentences(text)}
    if max(words.values(), default=0) > size:
        return
    runs = []
    for span in words:
        fits = runs and sum(words[sentence] for sentence in [*runs[-1], span]) <= size
        if runs and (fits or len(text.split()) <= size):
            runs[-1].append(span)
        else:
            runs.append([span])
    expected = [(run[0][0], run[-1][1]) for run in runs]
    assert [(chunk.start, chunk.end) for chunk in chunk_text(text, size)] == expected


def test_chunk_overlap_repeats_whole_sentences():
    """With room for one sentence of overlap, each chunk starts with the last sentence of the one before."""
    text = "One two. Three four. Five six. Seven."
    chunks = [chunk.text for chunk in chunk_text(text, size=4, overlap=2)]
    assert chunks == ["One two. Three four.", "Three four. Five six.", "Five six. Seven."]


def test_chunk_of_words_ends_anywhere():
    """Packed from words, chunks are as full as they can be, wherever sentences end, and overlap by words."""
    chunks = [chunk.text for chunk in chunk_text("One two. Three four. Five six.", 3, 1, split=split_words)]
    assert chunks == ["One two. Three", "Three four. Five", "Five six."]


def test_chunk_cuts_long_sentences_at_words():
    """A sentence over the budget is cut between words; a word over the budget in halves."""
    assert [chunk.text for chunk in chunk_text("a b c d e. f", size=2)] == ["a b", "c d", "e. f"]
    assert [chunk.text for chunk in chunk_text("abcdefgh ij", size=5, count=count_characters)] == ["abcd", "efgh", "ij"]


def test_split_sentences_golden():
    """Ends of sentences in English and Japanese, quotes, numbers, paragraphs."""
    text = 'He said "Stop!" Then 3.5 km… more.\nA title\n\nNext?! これは文。次の文。'
    sentences = [text[start:end] for start, end in split_sentences(text)]
    assert sentences == ['He said "Stop!"', "Then 3.5 km…", "more.", "A title", "Next?!", "これは文。", "次の文。"]


@pytest.mark.parametrize("text", ["!" * 200_000, "'" * 200_000, ".'" * 100_000, "\n" * 200_000, " " * 200_000])
def test_split_sentences_is_linear(text):
    """Long runs of what ends a sentence take no quadratic time."""
    start = time.perf_counter()
    split_sentences(text)
    assert time.perf_counter() - start < 2  # linear: some 10 ms; quadratic: minutes


def test_chunk_counts_tokens_of_a_tokenizer():
    """The budget may be an encoder's tokens, its special ones not counted."""

    class Tokenizer:  # one token a character that is not white space, between [CLS] and [SEP]
        def encode(self, text):
            return SimpleNamespace(ids=[0, *re.sub(r"\s", "", text).encode("utf-32-le")[::4], 1])

        def encode_batch(self, texts):
            return SimpleNamespace(starts=np.cumsum([0] + [len(self.encode(text).ids) for text in texts]))

    chunks = chunk_text("aa bb cc dd", size=4, count=count_tokens(Tokenizer()))
    assert [chunk.text for chunk in chunks] == ["aa bb", "cc dd"]


TOKENIZER = tokenizers.WordPiece.train(["ab abc cab aab. cd bcd a. b, c! d"] * 2, vocab_size=30)


@given(st.text("abcd. 。é\n", max_size=80), st.integers(1, 9), st.integers(0, 8))
@example("abcd" * 5, 3, 0)
def test_chunk_never_passes_the_encoders_length(text, size, overlap):
    """A WordPiece tokenizer makes at most `size` tokens of a chunk, even of parts of a word far over the budget."""
    chunks = chunk_text(text, size, min(overlap, size - 1), count_tokens(TOKENIZER))
    assert all(len(TOKENIZER.encode(chunk.text, add_special_tokens=False).ids) <= size for chunk in chunks)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (5, 5), (5, -1)])
def test_chunk_refuses_impossible_budget(size, overlap):
    """The message says what was expected and what came."""
    with pytest.raises(ValueError, match=f"got size {size} and overlap {overlap}"):
        chunk_text("a b", size, overlap)
