"""WordPiece: matching, the kernel, training."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tokenizers
from helpers import assert_batch_equals_plain, bert_tokenizer
from oracles import wordpiece as oracle
from strategies import piece_vocabularies, unicode_texts
from tokenizers import BertNormalizer, WordPiece
from tokenizers.wordpiece import SPECIAL_TOKENS

WORDS = st.text("abc", max_size=12) | st.text("abcd", max_size=5)


@st.composite
def vocabularies_and_words(draw):
    """A vocabulary, and a word that its pieces make up, or one of chance."""
    tokens = draw(piece_vocabularies())
    pieces = st.sampled_from([token.removeprefix("##") for token in tokens[4:]] or ["a"])
    return tokens, draw(st.lists(pieces, min_size=1, max_size=4).map("".join) | WORDS.filter(bool))


@given(vocabularies_and_words(), st.sampled_from([100, 100, 5]))
@example((["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "ab", "##b", "##c"], "abc"), 100)
def test_wordpiece_match_equals_the_definition(drawn, longest):
    """Longest beginning first, spelled out over all prefixes; pieces cover the word without gaps."""
    tokens, word = drawn
    model = bert_tokenizer(tokens, max_input_chars_per_word=longest).model
    found = model.match(word)
    assert [tokens[i] for i, _, _ in found] == oracle.pieces(word, set(tokens), longest=longest)
    assert [0, *(end for _, _, end in found)] == [*(start for _, start, _ in found), len(word)]


@pytest.mark.kernels
@given(piece_vocabularies(), st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=4), st.integers(1, 12))
def test_wordpiece_kernel_equals_the_plain_form(tokens, texts, longest):
    """The kernel's trie and cache give the plain form's ids, offsets and words for any vocabulary."""
    assert_batch_equals_plain(bert_tokenizer(tokens, max_input_chars_per_word=longest), texts)


@pytest.mark.kernels
def test_wordpiece_kernel_knows_the_token_with_id_0():
    """Where a vocabulary begins with a word, that is found as any other."""
    tok = bert_tokenizer(["a", "##b", "[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    assert tok.segment_batch(["ab a"]).ids.tolist() == [0, 1, 0]


@pytest.mark.kernels
@pytest.mark.parametrize("cased", [False, True])
def test_wordpiece_kernel_equals_the_plain_form_on_unicode(cased):
    """Normalization by table equals normalization by steps, whatever the text holds."""
    tok = bert_tokenizer(normalizer=BertNormalizer(lowercase=not cased, clean_text=not cased))

    @given(st.lists(unicode_texts(), max_size=3))
    def check(texts):
        assert_batch_equals_plain(tok, texts)

    check()


@pytest.mark.kernels
def test_wordpiece_kernel_equals_the_plain_form_when_the_cache_overflows(monkeypatch):
    """A cache of two records forgets again and again and never gives a wrong chunk; blocks of any size join up."""
    for name, value in {"SHORT_RECORDS": 2, "LONG_RECORDS": 2, "BLOCK": 50}.items():
        monkeypatch.setattr(f"tokenizers.engine.{name}", value)
    texts = ["the word wordpiece " * 3, "x" * 39 + " " + "y" * 40, "", "a!b" * 20, "unable éé 中中 각"] * 2
    assert_batch_equals_plain(bert_tokenizer(), texts)


@pytest.mark.kernels
@pytest.mark.parametrize("unk", ["unk", "##n"])
def test_wordpiece_unknown_token_that_is_a_word_too(unk):
    """Where the unknown token's id may stand for its own letters, offsets are still those of the plain form."""
    tok = bert_tokenizer(["[CLS]", "[SEP]", "u", unk, "##x", "##nk"], unk_token=unk)
    assert_batch_equals_plain(tok, ["unkx unkz unk", "unx", "x ux unn"])


def test_wordpiece_without_inside_pieces_knows_single_pieces_only():
    """A vocabulary without "##" makes every longer word unknown."""
    tok = bert_tokenizer(["[UNK]", "[CLS]", "[SEP]", "a", "ab"])
    assert tok.encode("a ab abc").ids == [1, 3, 4, 0, 2]


@pytest.mark.parametrize(
    ("vocab", "options", "message"),
    [
        ({"a": 0}, {}, "lacks the unknown token"),
        ({"[UNK]": 0, "a": 2}, {}, "ids must be 0 … 1"),
        ({"[UNK]": 0, "a": 0}, {}, "ids must be 0 … 1"),
        ({"[UNK]": 0}, {"max_input_chars_per_word": 0}, "max_input_chars_per_word"),
    ],
)
def test_wordpiece_refuses_impossible_vocabularies(vocab, options, message):
    """No unknown token, gaps, repeated ids, no room for a letter."""
    with pytest.raises(ValueError, match=message):
        WordPiece(vocab, **options)


# Training

CORPORA = st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(1, 4), min_size=1, max_size=12)


@given(CORPORA, st.integers(0, 30), st.integers(1, 4))
def test_training_equals_counting_anew(words, more, min_frequency):
    """Counts that follow every join choose what a full recount before each join chooses."""
    base = [*SPECIAL_TOKENS, *"abc", "##a", "##b", "##c"]
    tok = WordPiece.train(
        [" ".join([word] * n) for word, n in words.items()],
        vocab_size=len(base) + more,
        min_frequency=min_frequency,
        alphabet=base[len(SPECIAL_TOKENS) :],
    )
    assert list(tok.vocab) == oracle.train(words, base, len(base) + more, min_frequency)


def test_training_alphabet_comes_first_and_may_be_limited():
    """Given characters keep their order before those of the corpus; words with rare ones are left out."""
    texts = ["ab ab ab zq ab", "é b"]
    tok = WordPiece.train(texts, vocab_size=40, alphabet=["##b", "b", "x"])
    assert list(tok.vocab)[5:13] == ["##b", "b", "x", "a", "e", "q", "z", "##q"]
    limited = WordPiece.train(texts, vocab_size=40, limit_alphabet=2)
    assert list(limited.vocab)[5:] == ["a", "b", "##b", "ab"] and limited.encode("zq").tokens[1] == "[UNK]"


def test_training_worked_example():
    """Counts: u+g 20, u+n 16, h+ug 15, p+un 12, then p+ug and hug+s tie at 5: p has the smaller id."""
    text = "hug " * 10 + "pug " * 5 + "pun " * 12 + "bun " * 4 + "hugs " * 5
    tok = WordPiece.train([text], vocab_size=21)
    assert list(tok.vocab)[5:] == [*"bghnpsu", "##g", "##n", "##s", "##u", "##ug", "##un", "hug", "pun", "pug"]


@given(st.lists(unicode_texts(), min_size=1, max_size=5))
def test_training_is_deterministic_and_cuts_its_own_words(texts):
    """The same texts give the same file, from a list or a generator, and no word of theirs is unknown."""
    texts = [*texts, "plain"]
    tok = WordPiece.train(texts, vocab_size=2000, min_frequency=1)
    assert WordPiece.train(iter(texts), vocab_size=2000, min_frequency=1).to_json() == tok.to_json()
    assert all(tok.model.unk_id not in [i for i, *_ in tok.segment(text)] for text in texts)


def test_training_stops_at_min_frequency_and_at_vocab_size():
    """Pairs below min_frequency are not joined; a full vocabulary has exactly its size."""
    texts = ["abcd abcd abce"]
    assert WordPiece.train(texts, vocab_size=500, min_frequency=4).vocab_size == 5 + 5 + 4
    assert WordPiece.train(texts, vocab_size=15, min_frequency=1).vocab_size == 15


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([], ValueError, "empty or holds no words"),
        (["", " \n\t", "\x00"], ValueError, "empty or holds no words"),
        (["a", None], TypeError, r"texts\[1\]: expected str, got NoneType"),
        (["a", b"b"], TypeError, r"texts\[1\]: expected str, got bytes"),
        ("a single str", TypeError, "expected an iterable of str, got str"),
        (None, TypeError, "expected an iterable of str, got NoneType"),
        (["a", float("nan")], TypeError, r"texts\[1\]: expected str, got float nan"),
        (["abcdefghij"], ValueError, "vocab_size 20 is too small: 5 special tokens and the alphabet .* need 24"),
    ],
)
def test_training_refuses_bad_corpora(texts, error, message):
    """Nothing to learn from, not text, or an alphabet that does not fit."""
    with pytest.raises(error, match=message):
        tokenizers.WordPiece.train(texts, vocab_size=20)


def test_training_shows_progress_when_asked(capsys):
    """Two bars on stderr, none by default."""
    WordPiece.train(["a b ab ab"], vocab_size=30)
    assert capsys.readouterr().err == ""
    WordPiece.train(["a b ab ab"], vocab_size=30, progress=True)
    assert "joining" in capsys.readouterr().err
