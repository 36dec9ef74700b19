"""Whatever a Python string can hold, and what is no string, for every family of tokenizers."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import bert_tokenizer, byte_tokenizer
from tokenizers import (
    BPE,
    SentencePiece,
    Template,
    Tokenizer,
    Unigram,
    WordLevel,
    WordPiece,
    decoders,
    normalizers,
    pretokenizers,
)
from tokenizers.character_bpe import CharacterBPE
from tokenizers.charsmap import SentencePieceNormalizer
from tokenizers.pieces import BYTE, BYTE_PIECES, NORMAL, UNKNOWN
from tokenizers.sentencepiece import SentencePieceBPE

PIECES = ["<unk>", "▁", "a", "b", "ab", "▁ab", *BYTE_PIECES]
SCORED = PIECES, [0.0, -1, -2, -3, -4, -5, *[0.0] * 256], [UNKNOWN, *[NORMAL] * 5, *[BYTE] * 256]
FAMILIES = {
    "WordPiece": bert_tokenizer(),
    "byte BPE": byte_tokenizer([(b" ", b"a"), (b"b", b"b"), (b"\xf0", b"\x9f")]),
    "word level": Tokenizer(
        WordLevel({"[UNK]": 0, "ab": 1, "a": 2}),
        normalizers.NFKC(),
        pretokenizers.Whitespace(),
        Template(),
        decoders.Spaced(),
        {},
    ),
    "Unigram": SentencePiece(Unigram(*SCORED, byte_fallback=True), SentencePieceNormalizer()),
    "SentencePiece BPE": SentencePiece(SentencePieceBPE(*SCORED, byte_fallback=True), SentencePieceNormalizer()),
}
every_family = pytest.mark.parametrize("tok", FAMILIES.values(), ids=FAMILIES)
TEXTS = [
    "",
    " ",
    " \t\n\r\u3000 ",
    "\x00",
    "a\x00b\x01\x7f\x85",
    "\ufeffab",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈",
    "\ud800",
    "a\udfffb\ud83d",
    "e" + "\u0301" * 200,
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u202eab\u202c",
    "中文没有空格 ไทยไม่มีช่องว่าง",
    "ﬁ…㍿ İß",
    "ab" * 5000,
    "[SEP] <s> <|endoftext|> [sep] <unk> <0x41>",
    "\U0010ffff\U000e0001\ue000",
]


@every_family
def test_every_text_has_sound_ids_and_offsets(tok):
    """Ids in the vocabulary, offsets in the text and in order, the batch as the single texts, and decode takes them."""
    batch = tok.encode_batch(TEXTS, add_special_tokens=False)
    for b, text in enumerate(TEXTS):
        single = tok.encode(text, add_special_tokens=False)
        assert single.ids == batch.row(b)["ids"].tolist() and single == batch.encoding(b)
        assert all(0 <= i < tok.vocab_size for i in single.ids)
        assert all(0 <= start <= end <= len(text) for start, end in single.offsets)
        assert [start for start, _ in single.offsets] == sorted(start for start, _ in single.offsets)
        assert isinstance(tok.decode(single.ids), str)
        assert [i for i, *_ in tok.segment(text)] == single.ids


@every_family
@pytest.mark.parametrize("bad", [None, b"ab", math.nan, 7, ["a"], np.str_])
def test_what_is_no_string_is_refused_with_its_place(tok, bad):
    """TypeError that names the text and the type."""
    with pytest.raises(TypeError, match=r"texts\[1\]: expected str, got "):
        tok.encode_batch(["a", bad])
    with pytest.raises(TypeError, match=r"texts\[0\]"):
        tok.encode(bad)


@every_family
def test_lone_surrogates_are_kept_replaced_or_refused(tok):
    """By option, and refused with the place."""
    texts = ["a", "a\ud800b"]
    assert len(tok.encode_batch(texts)) == 2
    replaced = tok.encode_batch(texts, lone_surrogates="replace")
    assert replaced.ids.tolist() == tok.encode_batch(["a", "a\ufffdb"]).ids.tolist()
    with pytest.raises(ValueError, match=r"texts\[1\]: lone surrogate '\\ud800' at character 1"):
        tok.encode_batch(texts, lone_surrogates="raise")
    with pytest.raises(ValueError, match="lone_surrogates: expected one of"):
        tok.encode("a", lone_surrogates="drop")


@every_family
def test_decode_refuses_ids_that_are_none(tok):
    """Out of range, negative, not whole: with their place; ids that split a character are U+FFFD."""
    for bad in (tok.vocab_size, -1, 1 << 40):
        with pytest.raises(ValueError, match=rf"ids\[0\]: expected 0 … {tok.vocab_size - 1}, got {bad}"):
            tok.decode([bad])
    with pytest.raises(TypeError, match=r"ids\[1\]: expected an integer, got float"):
        tok.decode([0, 1.0])
    assert tok.decode([]) == "" and tok.decode(np.array([], int)) == ""


def test_ids_that_split_a_character_are_decoded_to_replacement_characters():
    """The first bytes of an emoji alone are U+FFFD; with the rest they are the emoji."""
    for name in ("byte BPE", "Unigram", "SentencePiece BPE"):
        tok = FAMILIES[name]
        ids = tok.encode("a👍").ids
        assert tok.decode(ids) == "a👍" and tok.decode(ids[:-1]).startswith("a\ufffd")


@every_family
def test_lengths_that_cannot_be_are_refused(tok):
    """A negative max_length, a stride that leaves nothing new or goes with no window, options that do not exist."""
    text = "a b a b a b a b"
    specials = tok.template.specials(False)
    with pytest.raises(ValueError, match="max_length: expected an integer ≥ 0, got -1"):
        tok.encode_batch([text], max_length=-1)
    with pytest.raises(ValueError, match=r"texts\[1\]: stride 2 must be below the 2 tokens that a window holds"):
        tok.encode_batch(["", text], max_length=specials + 2, on_truncate="window", stride=2)
    with pytest.raises(ValueError, match="stride 1: expected on_truncate='window'"):
        tok.encode_batch([text], max_length=9, stride=1)
    with pytest.raises(ValueError, match="truncation_side: expected one of 'right', 'left', got 'top'"):
        tok.encode_batch([text], truncation_side="top")
    with pytest.raises(ValueError, match="truncation 'only_second' needs pairs"):
        tok.encode_batch([text], truncation="only_second")
    with pytest.raises(ValueError, match=r"texts\[0\]: only_first may be cut, but the other text alone takes"):
        tok.encode_batch(["a"], [text], max_length=specials + 3, truncation="only_first")


@every_family
@given(length=st.integers(4, 12), stride=st.integers(0, 3), left=st.booleans())
def test_windows_hold_every_token_once_but_for_the_stride(tok, length, stride, left):
    """Windows of a text, each less what it shares with the one before, are the text's tokens; nothing is truncated."""
    texts, specials = ["ab a b " * 6, "", "a"], tok.template.specials(False)
    options = {"truncation_side": "left" if left else "right", "stride": stride, "add_special_tokens": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = tok.encode_batch(texts, max_length=length, on_truncate="window", **options)
    assert not batch.truncated.any() and max(batch.lengths) <= length + specials
    for b, text in enumerate(texts):
        rows = [batch.row(r)["ids"].tolist() for r in np.flatnonzero(batch.text_index == b)]
        whole = list(rows[0])
        for row in rows[1:]:
            whole = row[: len(row) - stride] + whole if left else whole + row[stride:]
        assert whole == tok.encode(text, add_special_tokens=False).ids


@every_family
@pytest.mark.parametrize("name, least", [("max_length", 0), ("stride", 0), ("threads", 1), ("pad_to_multiple_of", 1)])
@pytest.mark.parametrize("bad", [True, 2.0, "2", math.nan, -1])
def test_numbers_that_are_not_whole_are_refused(tok, name, least, bad):
    """With what was expected and what came."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer ≥ {least}, got "):
        tok(["a b"], padding=False, **{name: bad})


@every_family
def test_no_text_gives_no_row(tok):
    """As lists too, where np.split would give one."""
    found = tok([], padding=False, return_offsets_mapping=True)
    assert found and all(rows == [] for rows in found.values())


def test_max_length_may_be_huge():
    """The "no limit" of many configuration files, int(1e30)."""
    tok = FAMILIES["WordPiece"]
    assert tok.encode("ab ab", "ab", max_length=10**30) == tok.encode("ab ab", "ab")


def test_special_tokens_are_named_by_a_collection_or_all():
    """A lone str, which is a collection of letters, and an unknown name are refused; an iterator is read once."""
    tok, texts = FAMILIES["WordPiece"], ["ab", "a [SEP]", "[SEP]"]
    for name in ("allowed_special", "disallowed_special"):
        with pytest.raises(ValueError, match=rf"{name}: expected a collection of tokens or 'all', got '\[SEP\]'"):
            tok.encode_batch(texts, **{name: "[SEP]"})
        with pytest.raises(ValueError, match=rf"{name}: \['\[SPE\]'\] are no special tokens"):
            tok.encode_batch(texts, **{name: ["[SPE]"]})
    with pytest.raises(ValueError, match=r"texts\[1\] holds '\[SEP\]', which disallowed_special refuses"):
        tok.encode_batch(texts, disallowed_special=iter(["[SEP]"]))
    allowed = tok.encode_batch(texts, ["[SEP]"] * 3, allowed_special=iter(["[SEP]"]))
    assert allowed.ids.tolist() == tok.encode_batch(texts, ["[SEP]"] * 3, allowed_special=["[SEP]"]).ids.tolist()
    once, twice = (tok.segment_batch(texts, names) for names in (iter(["[SEP]"]), ["[SEP]"]))
    assert once.ids.tolist() == twice.ids.tolist()


@pytest.mark.parametrize("train", [BPE.train, WordPiece.train, WordLevel.train])
@pytest.mark.parametrize("name, least", [("vocab_size", 1), ("min_frequency", 0)])
@pytest.mark.parametrize("bad", [True, 300.0, math.nan, None])
def test_training_refuses_numbers_that_are_not_whole(train, name, least, bad):
    """Before it starts: with a min_frequency of nan it would never end."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer ≥ {least}, got {bad}"):
        train(["ab ab ab"], **{"vocab_size": 300, name: bad})
    with pytest.raises(ValueError, match="limit_alphabet: expected an integer ≥ 1, got 2.5"):
        WordPiece.train(["ab ab ab"], limit_alphabet=2.5)


@pytest.mark.parametrize("bad", [math.nan, 10**12, -1, True, 1.0, "1"])
def test_ids_that_no_table_can_hold_are_refused(bad):
    """Before a list of a million million tokens is made."""
    with pytest.raises(ValueError, match=r"ids must be 0 … 2097151, each once"):
        WordLevel({"[UNK]": bad})
    with pytest.raises(ValueError, match=r"ids must be 0 … 2097151, each once"):
        CharacterBPE({"[UNK]": bad}, [], unk_token="[UNK]")


@pytest.mark.parametrize("n", [2.5, math.nan, True, 0])
def test_nbest_refuses_what_is_no_number_of_texts(n):
    """Which it would compare with all the same."""
    with pytest.raises(ValueError, match=f"n: expected an integer ≥ 1, got {n}"):
        FAMILIES["Unigram"].nbest("ab", n)


def test_sampling_with_the_largest_alpha_gives_the_best_cut():
    """Products beyond the range of floats were nan, and the draws wrong."""
    tok = FAMILIES["Unigram"]
    for alpha in (1e3, 1e17, 1e308):
        assert tok.sample("ab ab b", alpha, rng=np.random.default_rng(0)).ids == tok.encode("ab ab b").ids


def test_pieces_are_remembered_where_they_are_short_and_until_forget():
    """What is kept is bounded in characters too."""
    tok = bert_tokenizer()
    tok.segment("ab " + "x" * 1000)
    assert tok._remembered.cache_info().currsize == 1
    tok.forget()
    assert tok._remembered.cache_info().currsize == 0


@every_family
def test_decode_refuses_options_and_ids_of_another_kind(tok):
    """clean_up is one of four; True is no id."""
    with pytest.raises(ValueError, match="clean_up: expected one of None, True, False, 'text', got 'nonsense'"):
        tok.decode([0], clean_up="nonsense")
    with pytest.raises(TypeError, match=r"ids\[0\]: expected an integer, got bool"):
        tok.decode([True])
