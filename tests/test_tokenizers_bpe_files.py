"""Byte-level BPE in tokenizer.json, vocab.json with merges.txt, and .tiktoken, whole and damaged."""

import copy
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizers
from helpers import bert_tokenizer, byte_tokenizer
from strategies import merge_tables, pattern_texts
from tokenizers import TokenizerFileError
from tokenizers.pretokenize import PATTERNS

MERGES = [(b" ", b"a"), (b"b", b"b"), (b" a", b"bb"), (b"a", b"b")]
TEXTS = ["bb abb ab\n 12345 it's IT'S é中😀\ud800", "", "<|end|>"]
TOK = byte_tokenizer(MERGES, special_tokens=["<|end|>"])
ROBERTA = {
    "type": "RobertaProcessing",
    "sep": ["</s>", 261],
    "cls": ["<s>", 260],
    "trim_offsets": True,
    "add_prefix_space": False,
}


def read(document):
    return tokenizers.files._from_dict(json.loads(json.dumps(document)))


def equal(a, b, texts=TEXTS):
    first, second = a.encode_batch(texts, allowed_special="all"), b.encode_batch(texts, allowed_special="all")
    return first.ids.tolist() == second.ids.tolist() and (first.offsets == second.offsets).all()


@given(merge_tables(), st.sampled_from(sorted(PATTERNS)), st.lists(pattern_texts(), max_size=3))
def test_bpe_json_save_then_load_changes_nothing(merges, pattern, texts):
    """Every setting survives, and saving again gives the same text."""
    tok = byte_tokenizer(merges, pattern, ["<s>"])
    again = read(json.loads(tok.to_json()))
    assert again.to_json() == tok.to_json() and again.pretokenizer == tok.pretokenizer and equal(tok, again, texts)


def test_bpe_files_save_then_load(tmp_path):
    """tokenizer.json, the two files of GPT-2, a table of ranks; folders find them."""
    for folder, name in (("a", "tokenizer.json"), ("b", "vocab.json")):
        (tmp_path / folder).mkdir()
        TOK.save(tmp_path / folder / name)
        for path in (tmp_path / folder, tmp_path / folder / name):
            again = tokenizers.load(path)
            assert equal(TOK, again) and again.special_tokens == TOK.special_tokens
    assert sorted(os.listdir(tmp_path / "b")) == ["merges.txt", "vocab.json"]
    ranks = byte_tokenizer(MERGES, "cl100k", ["<|end|>"], by_ranks=True)
    for name, pattern in (("x.tiktoken", "cl100k"), ("cl100k_base.tiktoken", None)):
        ranks.save(tmp_path / name)
        again = tokenizers.load(tmp_path / name, pattern=pattern, special_tokens=ranks.special_tokens)
        assert again.vocab == ranks.vocab and again.model.pairs == ranks.model.pairs and equal(ranks, again)
    ranks.save(tmp_path / "ranks.json")
    assert equal(ranks, tokenizers.load(tmp_path / "ranks.json"))


def document(**changes):
    found = json.loads(byte_tokenizer(MERGES, special_tokens=["<s>", "</s>", "<mask>"]).to_json())
    return {**found, **changes}


def test_bpe_roberta_template_and_trimmed_offsets(tmp_path):
    """<s> a </s> </s> b </s>, all of type 0; blanks belong to tokens, not to their offsets; the file comes back."""
    tok = read(document(post_processor=ROBERTA))
    encoding = tok.encode("bb abb  c ", "a")
    assert encoding.tokens == ["<s>", "bb", "Ġabb", "Ġ", "Ġ", "c", "Ġ", "</s>", "</s>", "a", "</s>"]
    offsets = [(0, 0), (0, 2), (3, 6), (7, 7), (8, 8), (8, 9), (10, 10), (0, 0), (0, 0), (0, 1), (0, 0)]
    assert encoding.offsets == offsets and set(encoding.type_ids) == {0}
    assert encoding.offsets[1:7] == [(a, b) for _, a, b, _ in tok.segment("bb abb  c ")]
    tok.save(tmp_path)
    assert json.loads(tok.to_json())["post_processor"] == ROBERTA and equal(tok, tokenizers.load(tmp_path))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    assert json.loads(read(document(post_processor=byte_level)).to_json())["post_processor"] == byte_level


def test_bpe_special_token_that_takes_blanks_along():
    """<mask> with lstrip: the white space before it is part of it, but never that of another token."""
    changed = document()
    changed["added_tokens"][2]["lstrip"] = True
    tok = read(changed)
    encoding = tok.encode("bb \n\t<mask>  <mask><s> <mask> b", allowed_special="all")
    assert encoding.tokens == ["bb", "<mask>", "<mask>", "<s>", "<mask>", "Ġ", "b"]
    assert encoding.offsets[:5] == [(0, 2), (2, 11), (11, 19), (19, 22), (22, 29)]
    assert "<mask>" not in tok.encode("bb <mask>").tokens
    trimmed = read({**changed, "post_processor": ROBERTA}).encode("bb \n<mask>", allowed_special="all")
    assert trimmed.offsets[1:-1] == [(0, 2), (4, 10)]
    assert json.loads(tok.to_json())["added_tokens"] == changed["added_tokens"]


def test_bpe_older_json():
    """Merges as "a b", no type or ignore_merges, an empty prefix, control tokens that are not in the model."""
    found = document()
    del found["model"]["type"], found["model"]["ignore_merges"], found["model"]["vocab"]["<s>"]
    found["model"] |= {"merges": ["Ġ a", "b b", "Ġa bb", "a b"], "continuing_subword_prefix": ""}
    tok = read(found)
    assert equal(tok, read(document())) and tok.token_to_id("<s>") == document()["added_tokens"][0]["id"]


SPLIT = {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Isolated", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("model", "dropout"), 0.1, "model: dropout 0.1 is not supported"),
        (("model", "unk_token"), "<unk>", "model: unk_token '<unk>' is not supported"),
        (("model", "continuing_subword_prefix"), "##", "continuing_subword_prefix '##'"),
        (("model", "end_of_word_suffix"), "</w>", "end_of_word_suffix '</w>'"),
        (("model", "byte_fallback"), True, "byte_fallback is not supported"),
        (("model", "ignore_merges"), 1, "ignore_merges: unexpected 1"),
        (("model", "merges"), {}, "merges: unexpected"),
        (("model", "merges", 0), ["a"], "merges: expected pairs of tokens, got"),
        (("model", "merges", 0), ["a", "é"], "merge 'a' 'é': not all of it"),
        (("model", "vocab"), {"a": 0}, "lacks 255 of the 256 bytes"),
        (("model", "vocab", "<s>"), 0, "added token '<s>': id 260 is not its id"),
        (("pre_tokenizer", "type"), "Whitespace", "pre_tokenizer: expected ByteLevel at the end, got 'Whitespace'"),
        (("pre_tokenizer",), {**BYTES, "add_prefix_space": True}, "add_prefix_space without its pattern"),
        (
            ("pre_tokenizer",),
            {"type": "Sequence", "pretokenizers": [BYTES, SPLIT]},
            "ByteLevel at the end, got 'Split'",
        ),
        (("post_processor",), {**ROBERTA, "cls": ["<s>", 3]}, "ids that the vocabulary does not have"),
        (("post_processor",), {"type": "Sequence"}, "lacks the key 'processors'"),
        (("post_processor",), {"type": "Sequence", "processors": [ROBERTA, BYTES]}, "trimming offsets twice"),
        (("added_tokens", 0, "id"), 3, "added token '<s>': id 3 is not its id"),
        (("added_tokens", 0, "id"), "3", "id of '<s>': unexpected '3'"),
    ],
)
def test_bpe_json_that_cannot_be_followed_is_refused(tmp_path, path, value, reason):
    """What would give other ids is named; wrong types too."""
    changed = copy.deepcopy(document())
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (tmp_path / "bad.json").write_text(json.dumps(changed))
    with pytest.raises(TokenizerFileError, match="bad.json: .*" + reason):
        tokenizers.load(tmp_path / "bad.json")


def test_bpe_vocab_json_that_is_damaged_is_refused(tmp_path):
    """No merges beside it, a merges.txt cut off or with a line of one token, unknown tokens."""
    TOK.save(tmp_path / "vocab.json")
    merges = (tmp_path / "merges.txt").read_text()
    for text, reason in (
        (merges[:-1], "merges.txt: the last line has no end"),
        (merges + "a\n", "merges.txt: line 6: expected two tokens, got 'a'"),
        (merges + "é é\n", "merge 'é' 'é': not all"),
    ):
        (tmp_path / "merges.txt").write_text(text)
        with pytest.raises(TokenizerFileError, match="vocab.json: .*" + reason):
            tokenizers.load(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(TokenizerFileError, match="lacks merges.txt beside it"):
        tokenizers.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "pattern", "reason"),
    [
        ("YQ== 0\n", None, "does not say how text is cut: give pattern, one of gpt2, "),
        ("YQ== 0\n", "bert", "pattern: expected one of"),
        ("YQ== 0", "gpt2", "cut off"),
        ("", "gpt2", "cut off"),
        ("YQ== 0\nYQ== 1\n", "gpt2", "line 2: the token b'a' is there twice"),
        ("YQ==\n", "gpt2", "line 1: expected base64 and a rank"),
        ("Y 0\n", "gpt2", "line 1: expected base64 and a rank"),
        ("YQ== x\n", "gpt2", "line 1: expected base64 and a rank"),
        ("YQ== 0\n", "gpt2", "lacks 255 of the 256 bytes"),
    ],
)
def test_tiktoken_file_that_is_damaged_is_refused(tmp_path, text, pattern, reason):
    """Cut off, garbled, tokens twice, bytes missing."""
    (tmp_path / "x.tiktoken").write_text(text)
    with pytest.raises(TokenizerFileError, match="x.tiktoken: .*" + reason):
        tokenizers.load(tmp_path / "x.tiktoken", pattern=pattern)


def test_bpe_save_refuses_what_the_file_cannot_hold(tmp_path):
    """Ranks are no merges, merges no ranks; WordPiece has neither."""
    for tok, name, reason in (
        (TOK, "x.tiktoken", "holds ranks, not merges"),
        (TOK, "vocab.txt", "ends in .json or .tiktoken"),
        (byte_tokenizer(MERGES, "o200k"), "vocab.json", "GPT-2's kind of tokenizer only"),
        (byte_tokenizer(MERGES, by_ranks=True), "vocab.json", "GPT-2's kind of tokenizer only"),
        (bert_tokenizer(), "x.tiktoken", "ends in .json or .txt"),
    ):
        with pytest.raises(ValueError, match=reason):
            tok.save(tmp_path / name)
    with pytest.raises(TokenizerFileError, match="pattern and special_tokens apply to .tiktoken files only"):
        tokenizers.load(tmp_path / "a.json", pattern="gpt2")
    assert os.listdir(tmp_path) == []
