"""SentencePiece's .model files, whole and damaged, and the character maps inside."""

import struct
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizers_sentencepiece import REWRITING, RULES, model_of, scored_pieces

import tokenizers
from strategies import unicode_texts
from tokenizers import SentencePiece, TokenizerFileError, Unigram
from tokenizers.charsmap import Charsmap, SentencePieceNormalizer
from tokenizers.charsmap_rules import compile_rules, fold_case, rewrite, without_redundant
from tokenizers.pieces import CONTROL, USER_DEFINED
from tokenizers.sentencepiece import SentencePieceBPE
from tokenizers.sentencepiece_files import (
    PIECE,
    fields,
    from_model,
    read_message,
    read_varint,
    to_model,
    usual_pieces,
    varint,
    write_message,
)

MORE = [("<s>", 0.0, CONTROL), ("ﬁx", 0.0, USER_DEFINED)]
TEXTS = ["abcd ﬁx  ﬁ<s>\u200b中😀", "", " "]


def tokenizer_of(kind=Unigram, scores=None, byte_fallback=False, **options):
    model = model_of(kind, scores or {"▁": -1.0, "ab": -2.0, "▁a": -0.125}, MORE, byte_fallback)
    options = {"charsmap": REWRITING, "name": "own", "user_defined": ("ﬁx",), **options}
    return SentencePiece(model, SentencePieceNormalizer(**options))


def state(tok):
    return tok.model.pieces, tok.model.scores, tok.model.kinds, tok.normalizer, tok.decoder.unk_surface


@given(scored_pieces(), st.sampled_from([Unigram, SentencePieceBPE]), *[st.booleans()] * 4)
def test_model_file_save_then_load_changes_nothing(scores, kind, fallback, dummy, collapse, suffix):
    """Pieces, scores, kinds, every option; the file is the same when it is saved again."""
    options = {"add_dummy_prefix": dummy, "remove_extra_whitespaces": collapse, "whitespace_as_suffix": suffix}
    tok = tokenizer_of(kind, scores, fallback, **options)
    data = to_model(tok)
    again = from_model(data)
    assert type(again.model) is kind and to_model(again) == data
    assert state(again)[1:] == (np.float32(tok.model.scores).tolist(), *state(tok)[2:])
    for text in TEXTS:
        assert again.encode(text) == tok.encode(text)


def test_load_and_save_by_path(tmp_path):
    """A folder finds it; a failed save leaves the old file; other suffixes are refused."""
    tok = tokenizer_of()
    tok.save(tmp_path / "tokenizer.model")
    for path in (tmp_path, tmp_path / "tokenizer.model"):
        assert state(tokenizers.load(path)) == state(tok)
    with pytest.raises(ValueError, match=r"\.model"):
        tok.save(tmp_path / "x.vocab")


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    """Every prefix; the message names a byte or what is missing."""
    data = to_model(tokenizer_of(charsmap=b""))
    for size in range(len(data)):
        with pytest.raises(ValueError, match="byte|lacks"):
            from_model(data[:size])
    (tmp_path / "x.model").write_bytes(data[:100])
    with pytest.raises(TokenizerFileError, match=r"x\.model: byte \d+"):
        tokenizers.load(tmp_path / "x.model")


@given(st.binary(max_size=60), st.integers(0, 10**6), st.integers(0, 255))
def test_damaged_files_never_crash(junk, place, byte):
    """Random bytes, and a byte changed anywhere in a real file: a tokenizer or one clear error."""
    data = bytearray(to_model(tokenizer_of()))
    data[place % len(data)] = byte
    for damaged in (bytes(data), junk):
        try:
            tok = from_model(damaged)
        except ValueError:
            continue
        ids = tok.encode(TEXTS[0]).ids
        assert all(0 <= i < tok.vocab_size for i in ids)
        assert isinstance(tok.decode(ids), str)


PARTS = {"piece": st.text(max_size=9) | st.just("é" * 62), "score": st.floats(width=32), "kind": st.integers(0, 200)}


@given(st.lists(st.fixed_dictionaries({}, optional=PARTS), max_size=5))
def test_usual_pieces_are_read_as_any_message(rows):
    """Up to the first that is laid out in another way: it has no string or score, or a size takes more than a byte."""
    messages = [write_message(row, PIECE) for row in rows]
    data = b"".join(b"\x0a" + varint(len(message)) + message for message in messages)
    usual = [
        {"piece", "score"} <= row.keys() and len(m) < 128 and row.get("kind", 1) < 128
        for row, m in zip(rows, messages, strict=True)
    ]
    *columns, end = usual_pieces(data)
    read = [read_message(data, a, b, PIECE) for _, _, a, b in fields(data, 0, end)]
    assert len(read) == [*usual, False].index(False)
    assert repr([[row["piece"], row["score"], row.get("kind", 1)] for row in read]) == repr(
        list(map(list, zip(*columns, strict=True)))
    )


HOSTILE = {
    "a huge size": (b"\x0a\xff\xff\xff\xff\x07abc", "byte 0: a field of 2147483647 bytes"),
    "a varint without end": (b"\x0a" + b"\xff" * 20, "byte 1: a number without an end"),
    "a group": (b"\x0b" * 100_000, "byte 0: a field of number 1 and wire type 3"),
    "field number 0": (b"\x00\x00", "field of number 0"),
    "not UTF-8": (b"\x0a\x04\x0a\x02\xff\xfe", "byte 4: not UTF-8"),
    "score of a wrong type": (b"\x0a\x02\x10\x01", "score has wire type 0"),
    "nothing": (b"", "lacks pieces"),
    "word model": (b"\x0a\x03\x0a\x01a\x12\x02\x18\x03\x1a\x00", "'word' is not supported"),
    "short charsmap": (b"\x0a\x05\x0a\x01a\x18\x02\x12\x00\x1a\x07\x12\x05abcde", "charsmap of 5 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(case):
    data, reason = HOSTILE[case]
    with pytest.raises(ValueError, match=reason):
        from_model(data)


@given(st.integers(-(2**63), 2**63 - 1))
def test_varint_inverts(value):
    encoded = varint(value)
    assert read_varint(encoded, 0, len(encoded)) == (value & (1 << 64) - 1, len(encoded))


KEYS = st.text("abé中😀", min_size=1, max_size=4)


@given(st.dictionaries(KEYS, st.text("xyé", max_size=3), min_size=1, max_size=20), st.text("abé中😀\x00", max_size=12))
def test_compiled_rules_rewrite_the_longest_key(rules, text):
    """The double array finds what a dict of all keys does, and NUL is no key."""
    normalizer = SentencePieceNormalizer(compile_rules(rules), False, False, False)
    assert normalizer.normalize(text).text == rewrite(rules, text, max(map(len, rules)))


def test_broken_charsmaps_are_refused():
    """Sizes that do not fit, nodes and values that point outside, strings without an end."""
    size = struct.unpack("<I", REWRITING[:4])[0]
    units = np.frombuffer(REWRITING, "<u4", size // 4, 4)
    broken = [
        REWRITING[:3],
        struct.pack("<I", 2**31) + REWRITING[4:],
        REWRITING[:-1],
        struct.pack("<I", 1000) + REWRITING[4:],
    ]
    for at, unit in ((0, 1 << 31), (0, 256), (int(np.flatnonzero(units < 1 << 31)[1]), 0x7FFFFC00)):
        changed = units.copy()
        changed[at] = unit
        broken.append(REWRITING[:4] + changed.tobytes() + REWRITING[4 + size :])
    leaves = units.copy()
    leaves[units >= 1 << 31] |= 0xFFFFF
    broken.append(REWRITING[:4] + leaves.tobytes() + REWRITING[4 + size :])
    for data in broken:
        with pytest.raises(ValueError, match="charsmap"):
            Charsmap(data)


def test_redundant_rules_go():
    """What shorter rules give anyway."""
    assert without_redundant({"a": "b", "c": "d", "ac": "bd", "ca": "x"}) == {"a": "b", "c": "d", "ca": "x"}


def test_case_folding_is_one_for_one():
    assert "".join(map(fold_case, "AßẞİΣςᾈK")) == "aßßİσσᾀk"


@given(unicode_texts())
def test_nfkc_normalizer_is_nfkc(text):
    """On texts whose sequences compose to one character, with blanks left alone."""
    normalizer = SentencePieceNormalizer.named("nfkc", add_dummy_prefix=False, remove_extra_whitespaces=False)
    for c in text:
        if not "\ud800" <= c <= "\udfff":
            assert normalizer.normalize(c).text == unicodedata.normalize("NFKC", c).replace(" ", "▁")
    assert normalizer.normalize("e\u0301 각 ｶﾞ").text == "é▁각▁ガ"
    assert set(RULES) - {"㍿"}


def test_unknown_normalizers_are_refused():
    with pytest.raises(ValueError, match="nmt_nfkc, nfkc"):
        SentencePieceNormalizer.named("nfc")


def test_sentencepiece_has_no_json():
    """It says where the tokenizer can be saved instead."""
    tok = SentencePiece(Unigram(["<unk>", "a"], [0.0, -1.0]), SentencePieceNormalizer())
    with pytest.raises(ValueError, match="a SentencePiece tokenizer is saved as .model"):
        tok.to_json()
