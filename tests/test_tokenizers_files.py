"""tokenizer.json and vocab.txt, both ways, whole and damaged."""

import copy
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizers
from helpers import bert_tokenizer
from strategies import piece_vocabularies, unicode_texts
from tokenizers import BertNormalizer, TokenizerFileError

TOK = bert_tokenizer()
DOCUMENT = json.loads(TOK.to_json())


def equal(a, b, texts):
    first, second = a.encode_batch(texts), b.encode_batch(texts)
    return (first.ids == second.ids).all() and (first.offsets == second.offsets).all()


@given(piece_vocabularies(), st.booleans(), st.sampled_from([None, True, False]), st.lists(unicode_texts(), max_size=3))
def test_json_save_then_load_changes_nothing(tokens, lowercase, strip_accents, texts):
    """Every setting survives, and saving again gives the same bytes."""
    tok = bert_tokenizer(
        tokens, BertNormalizer(lowercase=lowercase, strip_accents=strip_accents), max_input_chars_per_word=7
    )
    again = tokenizers.files._from_dict(json.loads(tok.to_json()))
    assert again.to_json() == tok.to_json() and equal(tok, again, texts)


def test_files_save_then_load(tmp_path):
    """.json, .txt, and a folder; the folder prefers tokenizer.json."""
    texts = ["The word! Üñable 中", "xyz ABC"]
    for name in ("mine.json", "vocab.txt"):
        TOK.save(tmp_path / name)
        assert equal(TOK, tokenizers.load(tmp_path / name), texts)
    assert equal(TOK, tokenizers.load(tmp_path), texts)
    cased = bert_tokenizer(normalizer=BertNormalizer(lowercase=False))
    cased.save(tmp_path)
    assert tokenizers.load(tmp_path).to_json() == cased.to_json()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_vocab_txt_normalizer_from_the_file_beside_it_or_the_caller(tmp_path):
    """lowercase wins, then tokenizer_config.json, then BERT's default."""
    TOK.save(tmp_path / "vocab.txt")
    assert tokenizers.load(tmp_path).normalizer == BertNormalizer()
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "strip_accents": true}')
    assert tokenizers.load(tmp_path).normalizer == BertNormalizer(lowercase=False, strip_accents=True)
    assert tokenizers.load(tmp_path, lowercase=True).normalizer.lowercase
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "no"}')
    with pytest.raises(TokenizerFileError, match="do_lower_case: unexpected 'no'"):
        tokenizers.load(tmp_path)


def test_bert_processing_is_the_bert_template():
    """The older post-processor means [CLS] a [SEP] b [SEP]."""
    document = copy.deepcopy(DOCUMENT)
    document["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    assert tokenizers.files._from_dict(document).template == TOK.template


def test_file_settings_of_truncation_and_padding_are_kept(tmp_path):
    """What the file says of truncation and padding comes back on saving, but cuts nothing by itself."""
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "a.json").write_text(json.dumps({**DOCUMENT, "truncation": truncation}))
    tok = tokenizers.load(tmp_path / "a.json")
    assert len(tok.encode("the word the word").ids) == 6
    assert json.loads(tok.to_json())["truncation"] == truncation


BERT = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}


def change(path, value):
    """The document with one value changed, or removed where value is KeyError."""
    document = copy.deepcopy(DOCUMENT)
    at = document
    for key in path[:-1]:
        at = at[key]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (
            ("model", "type"),
            "Odd",
            "model: expected BPE or Unigram or WordLevel or WordPiece, got 'Odd', which is not supported",
        ),
        (("normalizer", "type"), "NFX", "normalizer: 'NFX' is not supported; known are BertNormalizer, "),
        (("normalizer", "type"), "Identity", "normalizer: 'Identity' is not supported"),
        (("normalizer",), {"type": "Sequence", "normalizers": [{"type": "X"}]}, "normalizer: 'X' is not supported"),
        (("normalizer",), {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}, "the pattern '\\(' is not"),
        (
            ("normalizer",),
            {"type": "Replace", "pattern": {"Odd": "a"}, "content": ""},
            "a String or a Regex, got Odd",
        ),
        (("pre_tokenizer", "type"), "UnicodeScripts", "pre_tokenizer: 'UnicodeScripts' is not supported"),
        (("pre_tokenizer",), {"type": "Punctuation", "behavior": "Odd"}, "behavior 'Odd' is not supported"),
        (("pre_tokenizer",), {"type": "Digits", "individual_digits": 1}, "individual_digits: unexpected 1"),
        (("pre_tokenizer",), {"type": "CharDelimiterSplit"}, "lacks the key 'delimiter'"),
        (("post_processor", "type"), "Odd", "post_processor: expected .* got 'Odd'"),
        (("post_processor",), {"type": "Sequence", "processors": [BERT, BERT]}, "two templates after each other"),
        (("decoder", "type"), "Odd", "decoder: 'Odd' is not supported"),
        (("added_tokens", 0, "lstrip"), 1, r"added token '\[PAD\]': lstrip: unexpected 1"),
        (("added_tokens", 0), "x", "added token: unexpected 'x'"),
        (("added_tokens", 0, "id"), 1 << 40, "ids must be 0"),
        (("added_tokens", 0, "id"), 9, r"added token '\[PAD\]': id 9 is not its id"),
        (("model", "vocab"), ["a"], "vocab: unexpected"),
        (("model", "vocab", "a"), "1", "id of 'a': unexpected '1'"),
        (("model", "vocab", "a"), True, "id of 'a': unexpected True"),
        (("model", "vocab", "a"), 3, "ids must be 0"),
        (("model", "vocab"), {"a": 0}, "lacks the unknown token"),
        (("model", "vocab"), KeyError, "lacks the key 'vocab'"),
        (("model",), KeyError, "lacks the key 'model'"),
        (("model", "max_input_chars_per_word"), "100", "max_input_chars_per_word: unexpected"),
        (("normalizer", "lowercase"), 1, "lowercase: unexpected 1"),
        (("post_processor", "special_tokens", "[CLS]", "ids"), [7], "ids that the vocabulary does not have"),
        (
            ("post_processor", "special_tokens"),
            {},
            r"special token '\[CLS\]' is not among its",
        ),
    ],
)
def test_json_that_cannot_be_followed_is_refused(tmp_path, path, value, reason):
    """Unknown components by name, wrong types and ids by key: always TokenizerFileError with the file's name."""
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(change(path, value)))
    with pytest.raises(TokenizerFileError, match="bad.json: .*" + reason):
        tokenizers.load(file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON, or cut off"),
        (b"[]", "the document: unexpected"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"[" * 200_000, "bad.json"),
        (b'{"model": {"type": "WordPiece", "vocab": {"\\ud800": 0}}}', "surrogates not allowed"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "a": 2}}}', "the key 'a' is there twice"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": 1e999}}}', "id of 'a': unexpected inf"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": -1}}}', "ids must be 0"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": 99999999999}}}', "ids must be 0"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": ' + b"9" * 5000 + b"}}}", "bad.json"),
        (b'{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "a"}}', "lacks the unknown token 'a'"),
        (b'{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": null}}', "unk_token: unexpected None"),
    ],
)
def test_json_that_is_garbled_is_refused(tmp_path, content, reason):
    """Empty, no object, no JSON, no UTF-8, nested without end, a lone surrogate as token, keys twice, huge numbers."""
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(TokenizerFileError, match=reason):
        tokenizers.load(tmp_path / "bad.json")


def test_json_cut_off_anywhere_is_refused(tmp_path):
    """No beginning of a file loads as a smaller tokenizer."""
    data, file = TOK.to_json().rstrip().encode(), tmp_path / "cut.json"
    for size in range(0, len(data), 41):
        file.write_bytes(data[:size])
        with pytest.raises(TokenizerFileError, match="cut.json"):
            tokenizers.load(file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty or cut off"),
        ("[UNK]\n[CLS]\n[SEP]\nab", "cut off"),
        ("[UNK]\n\n[CLS]\n", "line 2 is empty"),
        ("[UNK]\na\na\n", "line 3 repeats 'a' of line 2"),
        ("[CLS]\n[SEP]\na\n", r"unknown token '\[UNK\]'"),
        ("[UNK]\n[CLS]\na\n", r"lacks \[SEP\]"),
    ],
)
def test_vocab_txt_that_is_damaged_is_refused(tmp_path, content, reason):
    """Cut off, empty lines, repeated tokens, missing special tokens."""
    (tmp_path / "vocab.txt").write_text(content, encoding="utf-8")
    with pytest.raises(TokenizerFileError, match="vocab.txt: .*" + reason):
        tokenizers.load(tmp_path / "vocab.txt")


def test_vocab_txt_with_windows_line_ends(tmp_path):
    """CR LF ends a line as LF does."""
    (tmp_path / "vocab.txt").write_bytes(b"[UNK]\r\n[CLS]\r\n[SEP]\r\nab\r\n")
    assert tokenizers.load(tmp_path).encode("ab").ids == [1, 3, 2]


def test_save_refuses_what_the_file_cannot_hold(tmp_path):
    """vocab.txt has no room for other special tokens or line ends; other names and missing folders are errors."""
    with pytest.raises(ValueError, match="cannot hold the token 'a\\\\nb'"):
        bert_tokenizer(["[UNK]", "[CLS]", "[SEP]", "a\nb"]).save(tmp_path / "v.txt")
    with pytest.raises(ValueError, match=r"cannot say that '\[X\]' is a special token"):
        bert_tokenizer(["[UNK]", "[CLS]", "[SEP]", "[X]"]).save(tmp_path / "v.txt")
    with pytest.raises(ValueError, match="ends in .json or .txt"):
        TOK.save(tmp_path / "file.bin")
    with pytest.raises(TokenizerFileError, match="none of tokenizer.json, vocab.txt"):
        tokenizers.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        tokenizers.load(tmp_path / "none.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, step):
    """A full disk at any step: the old file is whole, no temporary file stays."""
    path = tmp_path / "tokenizer.json"
    TOK.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        bert_tokenizer(["[UNK]", "[CLS]", "[SEP]"]).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["tokenizer.json"]


def test_save_writes_through_a_link(tmp_path):
    """The file that a symbolic link names is replaced, not the link; new files may be read by others."""
    real, link = tmp_path / "real.json", tmp_path / "tokenizer.json"
    link.symlink_to(real)
    TOK.save(link)
    assert link.is_symlink() and real.read_text() == TOK.to_json()
    (tmp_path / "plain").touch()
    assert real.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ({"Regex": "a{99999999999}"}, "the repetition number is too large"),
        ({"Foo": "a"}, "pre_tokenizer: pattern: expected a String or a Regex, got Foo"),
        ({}, "pre_tokenizer: pattern: expected a String or a Regex, got neither"),
    ],
)
def test_patterns_that_are_none_are_refused(pattern, reason):
    """With the file's own error, and the reason."""
    split = {"type": "Split", "pattern": pattern, "behavior": "Removed", "invert": False}
    with pytest.raises(TokenizerFileError, match=reason):
        tokenizers.from_json(json.dumps({**DOCUMENT, "pre_tokenizer": split}))
