"""Unigram and BPE over characters in tokenizer.json: what T5's and Llama's files hold, whole and damaged."""

import base64
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizers_sentencepiece import REWRITING, RULES

import tokenizers
from helpers import assert_batch_equals_plain
from oracles import bpe as bpe_oracle
from strategies import unicode_texts
from tokenizers import TokenizerFileError
from tokenizers.character_bpe import CharacterBPE
from tokenizers.pieces import BYTE_PIECES
from tokenizers.unigram_files import Precompiled

CHARSMAP = base64.b64encode(REWRITING).decode()
SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
T5 = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [{"id": 0, "content": "</s>", **SPECIAL}, {"id": 8, "content": "<extra_id_0>", **SPECIAL}],
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": CHARSMAP},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        ],
    },
    "post_processor": None,
    "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    "model": {
        "type": "Unigram",
        "unk_id": 1,
        "vocab": [["</s>", 0.0], ["<unk>", 0.0], *([p, -2.0 - i] for i, p in enumerate(["▁", "a", "▁a", "fi", "b"]))],
        "byte_fallback": False,
    },
}
TOKENS = ["<unk>", "<s>", *BYTE_PIECES, "▁", "a", "b", "▁a", "ab", "▁ab"]
LLAMA = {
    **T5,
    "added_tokens": [{"id": i, "content": TOKENS[i], **SPECIAL} for i in (0, 1)],
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
    "pre_tokenizer": None,
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
    "model": {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": {token: i for i, token in enumerate(TOKENS)},
        "merges": [["▁", "a"], ["a", "b"], ["▁a", "b"]],
    },
}


def read(document, **model):
    document = copy.deepcopy(document)
    document["model"].update(model)
    return tokenizers.from_json(json.dumps(document))


@pytest.mark.parametrize("document", [T5, LLAMA], ids=["t5", "llama"])
def test_json_comes_back_as_it_was(document):
    """Reading and writing keeps every component; a file without the model's type is known by its fields."""
    assert json.loads(read(document).to_json()) == document
    older = copy.deepcopy(document)
    del older["model"]["type"]
    assert tokenizers.from_json(json.dumps(older)).to_json() == read(document).to_json()


def test_t5_pipeline_in_steps():
    """Words at white space, each with its ▁, unknown runs as one; control tokens in text only where allowed."""
    tok = read(T5)
    assert tok.encode("a  ﬁx\u200b ab").tokens == ["▁a", "▁", "fi", "<unk>", "▁a", "b"]
    assert tok.encode("a</s>").tokens == ["▁a", "<unk>"]
    assert tok.encode("a</s>", allowed_special="all").tokens == ["▁a", "</s>"]
    assert tok.encode("\uff1c/s\uff1e").ids.count(0) == 0
    assert tok.decode(tok.encode("a ﬁb a").ids) == "a fib a"
    assert tok.encode("<extra_id_0>", allowed_special="all").ids == [8]


@given(unicode_texts())
def test_llama_pipeline_gives_every_text_back(text):
    """Unknown characters are bytes, so decode(encode(text)) is the text."""
    tok = read(LLAMA)
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff" and c != "▁")
    assert tok.decode(tok.encode(text).ids) == text


@given(
    st.lists(st.sampled_from(["ab", "ba", "aa", "bb", "aba", "abab", "aab"]), unique=True), st.text("abc", max_size=9)
)
def test_character_bpe_joins_the_lowest_rank_first(joined, text):
    """Equal to joining one pair at a time, all looked at anew; unknown runs as one."""
    vocab = {token: i for i, token in enumerate(["<unk>", "a", "b", *joined])}
    splits = [(token[:i], token[i:]) for token in joined for i in range(1, len(token))]
    merges = [pair for pair in splits if pair[0] in vocab and pair[1] in vocab]
    model = CharacterBPE(vocab, merges, unk_token="<unk>", fuse_unk=True)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    parts = bpe_oracle.encode(text, lambda a, b: ranks.get((a, b)))
    joined_unknown = "".join(f" {part} " if part in vocab else part for part in parts).split()
    assert [text[start:end] for _, start, end in model.match(text)] == joined_unknown


@given(unicode_texts())
def test_precompiled_replaces_what_is_shorter_than_six_bytes_as_a_whole(text):
    """By the shortest key at its start; "a" with an accent is a key, a longer cluster goes character by character."""
    normal = Precompiled(CHARSMAP).normalize(text)
    for c, a, b in normal.chars():
        assert c in text[a:b] or c == "\ufffd" or any(c in RULES.get(text[a:k], "") for k in range(a + 1, b + 1))
    odd = Precompiled(CHARSMAP).normalize("①\u0301①\u20dda\u0301")
    assert odd.chars() == [("1", 0, 2), ("1", 2, 3), ("\u20dd", 3, 4), ("á", 4, 6)]


PIECES = {"▁": -2.1, "b": -7.3, "bb": -14.6, "bbb": -21.9, "▁b": -9.4, "c": -9.1, "cc": -18.2}  # ties but for rounding
TIES = [["</s>", 0.0], ["<unk>", 0.0], *map(list, PIECES.items())]
READ = {
    "t5": read(T5),
    "ties": read({**T5, "added_tokens": T5["added_tokens"][:1]}, vocab=TIES),
    "llama": read(LLAMA),
    "unknown": read(LLAMA, byte_fallback=False),
}


def test_scores_count_as_the_library_reads_them():
    """Seventeen digits are rounded twice there, a few are exact; what is saved is the score itself."""
    tok = read(T5, vocab=[["</s>", 0.0], ["<unk>", 0.0], ["▁", -2.0122928619384766], ["a", -1.5], ["b", -1e-7]])
    assert tok.model.scores[2:] == [-2.0122928619384766, -1.5, -1e-7]
    assert tok.model.piece_scores[2:] == [-2.012292861938477, -1.5, -1e-7]


SHORT_TEXTS = st.text("ab  ▁\n\u3000\xa0ﬁ①\u0301é中\ud800", max_size=9) | st.text("bc ", max_size=40)


@pytest.mark.kernels
@pytest.mark.parametrize("kind", READ)
@given(texts=st.lists(SHORT_TEXTS, max_size=4))
def test_metaspace_kernels_equal_the_plain_form(kind, texts):
    """Ids, offsets and words, with white space of all kinds, ▁ in the text, unknown runs and ties of sums."""
    assert READ[kind]._engine is not None
    assert_batch_equals_plain(READ[kind], [*texts, *texts])


def test_metaspace_kernels_leave_the_rest_to_the_plain_form():
    """Other white-space rules, an unknown ▁, merges of byte tokens, unknown characters that stay apart."""
    pieces = [["</s>", 0.0], ["<unk>", 0.0], *([p, -1.0] for p in "abcdef")]
    others = {
        "no ▁": read(T5, vocab=pieces),
        "no words": read({**T5, "pre_tokenizer": None}),
        "in words": read({**LLAMA, "normalizer": None, "pre_tokenizer": T5["pre_tokenizer"]}),
        "whole tokens": read(LLAMA, ignore_merges=True),
        "apart": read(LLAMA, byte_fallback=False, fuse_unk=False),
        "bytes": read(LLAMA, vocab={**LLAMA["model"]["vocab"], "<0xC3><0xA9>": 300}, merges=[["<0xC3>", "<0xA9>"]]),
    }
    assert [name for name, tok in others.items() if tok._engine is not None] == []
    assert others["bytes"].encode("é").ids[-1] == 300


@given(unicode_texts() | st.text("a\u0301ﬁ①\u20ddＡ\r\n\t \u1100\u1161\u0600", max_size=12))
def test_precompiled_looks_closely_where_something_may_change(text):
    """The same, with sources, as of every user-perceived character."""
    normalizer = Precompiled(CHARSMAP)
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff")
    assert normalizer.normalize(text).chars() == normalizer._closely(text).chars()


BAD = {
    "no list": (T5, {"vocab": {"a": 1}}, "vocab"),
    "no pair": (T5, {"vocab": [["a"]]}, r"expected \[piece, score\], got \['a'\]"),
    "score": (T5, {"vocab": [["a", "b"]]}, r"expected \[piece, score\]"),
    "unk_id": (T5, {"unk_id": 99}, "unk_id: expected 0 … 6, got 99"),
    "no unk_id": (T5, {"unk_id": None}, "unk_id"),
    "twice": (T5, {"vocab": [["a", 0.0], ["a", 0.0]]}, "twice|not its id"),
    "bytes missing": (T5, {"byte_fallback": True}, "all 256 byte pieces"),
    "merge of unknown": (LLAMA, {"merges": [["a", "x"]]}, "merge 'a' 'x'"),
    "merge of three": (LLAMA, {"merges": [["a", "b", "c"]]}, "pairs of tokens"),
    "unk_token": (LLAMA, {"unk_token": "?"}, "lacks the unknown token"),
    "lost": (LLAMA, {"unk_token": None, "byte_fallback": False}, "would be lost"),
    "dropout": (LLAMA, {"dropout": 0.5}, "dropout"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_models_are_refused(case):
    document, model, reason = BAD[case]
    with pytest.raises(TokenizerFileError, match=reason):
        read(document, **model)


@pytest.mark.parametrize("charsmap", ["?", "AAAA", CHARSMAP[:-8], 7])
def test_broken_precompiled_maps_are_refused(charsmap):
    document = {**T5, "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}
    with pytest.raises(TokenizerFileError, match="charsmap"):
        tokenizers.from_json(json.dumps(document))
