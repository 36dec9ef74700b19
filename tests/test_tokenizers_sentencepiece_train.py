"""Training SentencePiece's models: which words, which characters, which pieces."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strategies import unicode_texts
from tokenizers import SentencePiece, Unigram
from tokenizers.charsmap import SentencePieceNormalizer
from tokenizers.pieces import BYTE_PIECES, CONTROL, SPACE, USER_DEFINED
from tokenizers.sentencepiece_train import count_words, cover, cut

TEXTS = [
    "the cat sat on the mat",
    "a dog sat on a log, 2024!",
    "the dog and the cat",
    "Кот и собака",
    "猫は猫である",
] * 4
END = "\U0010ffff"
MODELS = st.sampled_from(["unigram", "bpe"])


def as_dict(words):
    """{word: count}."""
    rows = np.split(words.units, words.starts[1:-1])
    return {"".join(map(chr, row)): n for row, n in zip(rows, words.counts.tolist(), strict=True)}


def train(texts=TEXTS, vocab_size=46, model="unigram", **options):
    return SentencePiece.train(texts, vocab_size, model, **{"normalizer": "identity", **options})


@given(st.lists(unicode_texts(), min_size=1, max_size=5), st.booleans())
@example(["e\u0301 \u1100\u1161 \u3000a\u3000", "<s>x <s"], False)
def test_words_counted_equal_those_of_whole_texts_normalized(texts, suffix):
    """Each raw word is normalized once, a stretch that may change at a time: the same words as from whole texts."""
    texts = [*texts, "a"]
    normalizer = SentencePieceNormalizer.named("nmt_nfkc", whitespace_as_suffix=suffix)
    expected = Counter()
    for text in texts:
        for part in normalizer.normalize(text).text.split("<s>"):
            blanks = part.replace(SPACE, SPACE + END) if suffix else part.replace(SPACE, END + SPACE)
            expected.update(word for word in blanks.split(END) if word.strip(SPACE))
    assert as_dict(count_words(texts, normalizer, ["<s>"])) == expected


@pytest.mark.parametrize(
    ("word", "options", "parts"),
    [
        ("▁don't2024", (True, True, False), ["▁don", "'", "t", "2024"]),
        ("▁don't2024", (True, False, False), ["▁don", "'", "t2024"]),
        ("▁don't2024", (True, True, True), ["▁don", "'", "t", "2", "0", "2", "4"]),
        ("▁don't2024", (False, True, False), ["▁don't2024"]),
        ("▁猫はネコー.", (True, True, False), ["▁猫はネコー", "."]),
        ("▁éаб", (True, True, False), ["▁é", "аб"]),
        ("▁e\u0301x", (True, True, False), ["▁e\u0301x"]),
        ("▁1", (True, True, True), ["▁", "1"]),
    ],
)
def test_words_are_cut_where_no_piece_may_cross(word, options, parts):
    """Scripts, numbers and single digits, by option; marks belong to what they stand on, kana to Han."""
    words = count_words([word[1:]], SentencePieceNormalizer(), ["<s>"])
    assert list(as_dict(cut(words, cover(words, 1.0), *options))) == list(dict.fromkeys(parts))


@pytest.mark.kernels
@given(st.lists(st.text("ab cé", max_size=9), max_size=4), st.booleans())
def test_words_counted_as_they_are_stand_between_blanks(texts, suffix):
    """Without a map of characters: each with its ▁ before or behind it."""
    words = Counter(word + SPACE if suffix else SPACE + word for text in [*texts, "a"] for word in text.split())
    assert as_dict(count_words([*texts, "a"], SentencePieceNormalizer(whitespace_as_suffix=suffix), ["<s>"])) == words


@pytest.mark.kernels
def test_rare_characters_are_no_pieces():
    """Below the coverage a character is left out, and no piece goes over it; so is NUL, which ends strings in files."""
    assert cover(count_words(["a\0"], SentencePieceNormalizer(), ["<s>"]), 1.0) == [ord("a"), ord("▁")]
    words = count_words(["aaab" * 50 + "q", "aq"], SentencePieceNormalizer(), ["<s>"])
    assert cover(words, 0.98) == [ord("a"), ord("b")] and cover(words, 1.0) == [ord(c) for c in "abq▁"]
    assert set(as_dict(cut(words, cover(words, 0.98), True, True, False))) == {"aaab" * 50, "a"}


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_training_gives_a_tokenizer_of_the_size_asked_for(model, tmp_path):
    """Training twice, from a list and a generator, gives the same file; text comes back; scores fall."""
    tok = train(model=model)
    assert tok.vocab_size == 46 and tok.decode(tok.encode(TEXTS[1]).ids) == TEXTS[1]
    tok.save(tmp_path / "a.model")
    train((text for text in TEXTS), model=model).save(tmp_path / "b.model")
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()
    assert tok.model.scores[3:] == sorted(tok.model.scores[3:], reverse=True)
    assert {*"".join(TEXTS).replace(" ", SPACE)} <= set(tok.vocab)
    assert type(Unigram.train(TEXTS, 46, normalizer="identity").model) is Unigram


@given(st.lists(st.text("ab ñяж1", max_size=12), min_size=1, max_size=6), MODELS)
def test_pieces_follow_the_rules(texts, model):
    """No piece holds a blank but at its start, two scripts, or more characters than allowed."""
    tok = train([*texts, "ab"], 300, model, hard_vocab_limit=False, max_sentencepiece_length=4)
    for piece in tok.model.pieces[3:]:
        letters = piece.removeprefix(SPACE)
        assert SPACE not in letters and len(piece) <= 4
        assert sum(map(bool, map(set(letters).intersection, ["abñ", "яж", "1"]))) <= 1


def test_training_with_symbols_and_bytes():
    """Ids: <unk>, <s>, </s>, control, user-defined, bytes, then pieces; symbols in the corpus teach nothing."""
    options = {"control_symbols": ["<pad>"], "user_defined_symbols": ["<sep>"], "byte_fallback": True}
    tok = train([*TEXTS, "<sep>qq<sep>qq<pad>qq"], 305, **options)
    assert tok.model.pieces[:5] == ["<unk>", "<s>", "</s>", "<pad>", "<sep>"] and tok.model.kinds[3:5] == [
        CONTROL,
        USER_DEFINED,
    ]
    assert tuple(tok.model.pieces[5:261]) == BYTE_PIECES and not any("sep" in piece for piece in tok.model.pieces[5:])
    assert "<sep>" in tok.encode("a<sep>b").tokens and tok.decode(tok.encode("ß").ids) == "ß"


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ([], {}, ValueError, "empty or holds no words"),
        (["", " "], {}, ValueError, "empty or holds no words"),
        (["\ud800"], {"normalizer": "nmt_nfkc"}, ValueError, "empty or holds no words"),  # it becomes a blank
        (["\0"], {"byte_fallback": True}, ValueError, "vocab_size 46 is too small: 259 symbols and 1 characters"),
        (["a", float("nan")], {}, TypeError, r"texts\[1\]: expected str, got float nan"),
        (["a", None], {}, TypeError, r"texts\[1\]: expected str, got NoneType"),
        (["a", b"b"], {}, TypeError, r"texts\[1\]: expected str, got bytes"),
        ("a single str", {}, TypeError, "expected an iterable of str, got str"),
        (["abcdef"], {"vocab_size": 8}, ValueError, "vocab_size 8 is too small: 3 symbols and 7 characters need 10"),
        (["abc"], {"vocab_size": 99}, ValueError, "too large for this corpus: it gives 7 pieces"),
        (["a"], {"model": "word"}, ValueError, "model: expected one of unigram, bpe, got 'word'"),
        (["a"], {"character_coverage": 0}, ValueError, "character_coverage: expected a share"),
    ],
)
def test_training_refuses_bad_corpora(texts, options, error, message):
    """Nothing to learn from, not text, an alphabet that does not fit, fewer pieces than asked for."""
    with pytest.raises(error, match=message):
        train(texts, **options)


def test_training_on_one_line_takes_what_there_is():
    """Without hard_vocab_limit a tiny corpus gives a tiny model."""
    for model in ("unigram", "bpe"):
        tok = train(["abab abab"], 99, model, hard_vocab_limit=False)
        assert 6 <= tok.vocab_size < 99 and tok.decode(tok.encode("ab ba").ids) == "ab ba"


@pytest.mark.parametrize("name", ["vocab_size", "max_sentencepiece_length", "seed_sentencepiece_size"])
@pytest.mark.parametrize("bad", [True, 46.0, 0, float("nan")])
def test_training_refuses_numbers_that_are_not_whole(name, bad):
    """With what was expected and what came."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer ≥ 1, got {bad}"):
        train(**{name: bad})


@pytest.mark.parametrize("model", ["unigram", "bpe"])
@pytest.mark.parametrize("text", ["\u0301", "\xa8"])
def test_training_takes_a_corpus_of_which_every_character_may_change(model, text):
    """A mark that may compose, a character with a compatibility form."""
    tok = train([text], 20, model, normalizer="nmt_nfkc", hard_vocab_limit=False)
    assert tok.model.unk_id not in tok.encode(text).ids and tok.vocab_size > 3


def test_training_shows_progress_when_asked(capsys):
    """A bar on stderr for reading and one for the pieces, none by default."""
    train()
    assert capsys.readouterr().err == ""
    train(progress=True)
    assert "reading" in (shown := capsys.readouterr().err) and "dropping" in shown
