"""Every component of tokenizer.json equals Hugging Face's library on fuzzed Unicode, alone and in whole pipelines."""

import itertools
import json
import random

import numpy as np
import pytest
from test_tokenizers_peers import assert_equal, our_ids, their_ids
from text_sets import assert_same_ids, batches, every_document, fuzz, needs_data, text_sets

import tokenizers
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from helpers import bert_tokenizer
from tokenizers import components
from tokenizers.normalize import combining_classes, mapping, unchanged

pytestmark = pytest.mark.peers
STRING, REGEX = {"String": "un"}, {"Regex": r"\s+|[0-9]+(?=\p{L})"}
CLIP = {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}
NORMALIZERS = [
    *({"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")),
    *({"type": "Strip", "strip_left": left, "strip_right": right} for left in (0, 1) for right in (0, 1)),
    {"type": "Replace", "pattern": STRING, "content": "→x"},
    {"type": "Replace", "pattern": REGEX, "content": " "},
    {"type": "Prepend", "prepend": "▁▁"},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]},
    {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "NFKC"}]},
]
for entry in NORMALIZERS:  # JSON's true and false
    entry.update({key: bool(value) for key, value in entry.items() if key.startswith("strip_")})
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
DIGITS = {"type": "Digits", "individual_digits": True}
PRE_TOKENIZERS = [
    *({"type": name} for name in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")),
    *({"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS),
    *({**DIGITS, "individual_digits": individual} for individual in (False, True)),
    {"type": "CharDelimiterSplit", "delimiter": "a"},
    *({"type": "Split", "pattern": CLIP, "behavior": b, "invert": i} for b in BEHAVIORS for i in (False, True)),
    {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False},
    {"type": "Split", "pattern": {"Regex": r"^\w+|\d$|\S\n|\W"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": r"[\p{P}\p{S}]|[^\S\n]+"}, "behavior": "Isolated", "invert": False},
    *({**METASPACE, "prepend_scheme": scheme} for scheme in ("always", "first", "never")),
    {**METASPACE, "split": False},
    *({**BYTES, "add_prefix_space": p, "use_regex": r} for p in (False, True) for r in (False, True)),
    {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
    {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, DIGITS, {"type": "Punctuation"}]},
]
DECODERS = [
    *({"type": "WordPiece", "prefix": "##", "cleanup": clean} for clean in (True, False)),
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    *({**METASPACE, "prepend_scheme": scheme} for scheme in ("always", "first", "never")),
    {"type": "BPEDecoder", "suffix": "</w>"},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True},
]
LLAMA = [DECODERS[10], {"type": "ByteFallback"}, {"type": "Fuse"}, DECODERS[9]]
DECODERS.append({"type": "Sequence", "decoders": LLAMA})


@pytest.fixture(scope="module")
def hf():
    with Peer("hf_tokenizers", threads=2) as peer:
        yield peer


def document(**parts):
    """A tokenizer.json with a word-level model of two words."""
    empty = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}
    return {"version": "1.0", **empty, "added_tokens": [], "model": model, **parts}


def first_difference(texts, ours, theirs):
    return next(((text, a, b) for text, a, b in zip(texts, ours, theirs, strict=True) if a != b), None)


@pytest.mark.parametrize("entry", NORMALIZERS, ids=str)
def test_normalizers_equal_the_library(hf, entry):
    """Texts after the component."""
    texts = fuzz(5_000, seed=1)
    theirs = hf.call("normalize", document=json.dumps(document(normalizer=entry)), texts=texts)
    normalizer = components.read(entry, "normalizer")
    assert first_difference(texts, [normalizer.normalize(text).text for text in texts], theirs) is None


@pytest.mark.parametrize("name", ["NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Lowercase"])
def test_normalizers_equal_the_library_on_every_code_point(hf, name):
    """Each code point alone and before a mark."""
    points = [chr(c) for c in range(0x30000) if not 0xD800 <= c < 0xE000]
    texts = [*points, *(c + "\u0301" for c in mapping("NFKD") | mapping("NFD") if len(c) == 1)]
    theirs = hf.call("normalize", document=json.dumps(document(normalizer={"type": name})), texts=texts)
    normalizer = components.read({"type": name}, "normalizer")
    assert first_difference(texts, [normalizer.normalize(text).text for text in texts], theirs) is None


@pytest.mark.parametrize("entry", PRE_TOKENIZERS, ids=str)
def test_pre_tokenizers_equal_the_library(hf, entry):
    """Pieces and their offsets."""
    texts = [text for text in fuzz(3_000, seed=2) if text]
    theirs = hf.call("pre_tokenize", document=json.dumps(document(pre_tokenizer=entry)), texts=texts)
    theirs = [[(piece, *offsets) for piece, offsets in row] for row in theirs]
    pre_tokenizer = components.read(entry, "pre_tokenizer")
    ours = [pre_tokenizer.pieces(unchanged(text)) for text in texts]
    ours = [[(p.text, p.starts[0], p.ends[-1]) for p in row if p.text] for row in ours]
    assert first_difference(texts, ours, theirs) is None


@pytest.mark.parametrize("entry", DECODERS, ids=str)
def test_decoders_equal_the_library(hf, entry):
    """Lists of tokens of every kind."""
    rng = random.Random(3)
    pieces = ["a", "##b", "▁c", "▁", "d</w>", "</w>", "Ġe", "ÃĤ", "<0xC3>", "<0xA9>", "<0xff>", "<pad>", "|", " ", "."]
    pieces += ["'s", "n't", " f ", "▁▁", "é", "<0x4>"]
    rows = [rng.choices(pieces, k=rng.randint(1, 12)) for _ in range(1_000)]
    rows = [row for row in rows if entry["type"] != "BPEDecoder" or row]
    theirs = hf.call("decode_tokens", document=json.dumps(document(decoder=entry)), rows=rows)
    decoder = components.read(entry, "decoder")
    assert first_difference(rows, [decoder.decode(row) for row in rows], theirs) is None


def test_components_come_back_as_the_library_writes_them():
    """What is read is written again, with the defaults of fields that the file leaves out."""
    for role, entries in (("normalizer", NORMALIZERS), ("pre_tokenizer", PRE_TOKENIZERS), ("decoder", DECODERS)):
        for entry in entries:
            again = components.write(components.read(entry, role))
            assert components.read(again, role) == components.read(entry, role)
            assert {**again, **entry} == again or entry["type"] == "Sequence"


# Whole pipelines

ADDED = [
    {"content": "[SEP]", "special": True},
    {"content": "un", "single_word": True, "normalized": True},
    {"content": "Éa", "normalized": True},
    {"content": "ing", "lstrip": True},
    {"content": "<s>", "special": True, "lstrip": True, "rstrip": True},
    {"content": "the ", "rstrip": True, "normalized": True},
    {"content": "er", "single_word": True, "lstrip": True},
]


def wordlevel_document(texts, normalizer=None, pre_tokenizer=None, added=(), size=4_000, **parts):
    """A tokenizer.json whose vocabulary is the commonest pieces of some texts."""
    split = components.read(pre_tokenizer, "pre_tokenizer")
    normal = components.read(normalizer, "normalizer")
    counts = {}
    for text in texts:
        for piece in split.pieces(normal.normalize(text)):
            counts[piece.text] = counts.get(piece.text, 0) + 1
    words = sorted(filter(None, counts), key=lambda word: (-counts[word], word))[:size]
    vocab = {word: i for i, word in enumerate(["[UNK]", *words])}
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized", "special"], False)
    new = itertools.count(len(vocab))
    entries = [{"id": vocab.get(t["content"]) or next(new), **flags, **t} for t in added]
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    entries.sort(key=lambda entry: entry["id"])
    return document(normalizer=normalizer, pre_tokenizer=pre_tokenizer, added_tokens=entries, model=model, **parts)


@pytest.mark.parametrize("normalizer", [None, NORMALIZERS[5], NORMALIZERS[1], {"type": "NFKC"}], ids=str)
@pytest.mark.parametrize(
    "pre_tokenizer", [{"type": "Whitespace"}, METASPACE, {**METASPACE, "prepend_scheme": "first"}, BYTES], ids=str
)
def test_wordlevel_pipelines_with_added_tokens_equal_the_library(hf, tmp_path, normalizer, pre_tokenizer):
    """Whole encodings, control tokens honoured or not; offsets but where several characters became one."""
    texts = fuzz(3_000, seed=4) + stdlib_docstrings(20_000)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(wordlevel_document(texts[:1500], normalizer, pre_tokenizer, ADDED)))
    tok = tokenizers.load(path)
    if normalizer is not None:
        moving = set(combining_classes()) | {chr(c) for c in range(0x1100, 0x1200)}
        assert_same_ids(our_ids(tok), their_ids(hf, path), [texts])
        texts = [text for text in texts if moving.isdisjoint(text)]
    assert_equal(hf, tok, path, texts)
    theirs = their_ids(hf, path, encode_special_tokens=True)
    assert_same_ids(our_ids(tok, allowed_special=()), theirs, [texts])


@needs_data
def test_wordlevel_ids_equal_the_library_on_every_document(hf, tmp_path):
    """All text sets and 100,000 strings."""
    texts = [text for _, text in every_document()[::100]]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(wordlevel_document(texts, None, {"type": "Whitespace"})))
    ours, theirs = our_ids(tokenizers.load(path)), their_ids(hf, path)
    assert_same_ids(ours, theirs, text_sets())
    assert_same_ids(ours, theirs, batches(fuzz(100_000, seed=5)))


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[X]", "type_id": 3}}, {"Sequence": {"id": "A", "type_id": 1}}],
    "pair": [
        {"Sequence": {"id": "B", "type_id": 2}},
        {"SpecialToken": {"id": "[X]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "special_tokens": {"[X]": {"id": "[X]", "ids": [2, 3], "tokens": ["[CLS]", "[SEP]"]}},
}


@pytest.mark.parametrize("template", ["bert", "several ids"])
def test_windows_and_truncation_equal_the_library(hf, tmp_path, template):
    """Every strategy, side and stride that both allow, on texts and pairs."""
    path, rng = tmp_path / "tokenizer.json", random.Random(6)
    found = json.loads(bert_tokenizer().to_json())
    if template != "bert":
        found["post_processor"] = TEMPLATE
    path.write_text(json.dumps(found))
    tok, words = tokenizers.load(path), ["the", "word", "un", "able", "a", "!", "unable", "中"]
    texts, pairs = ([" ".join(rng.choices(words, k=rng.randint(0, 25))) for _ in range(10)] for _ in range(2))
    compared = 0
    for strategy, side, stride, length, paired, overflow in itertools.product(
        ["longest_first", "only_first", "only_second"], ["right", "left"], [0, 1, 3], [5, 9, 20], [0, 1], [0, 1]
    ):
        if (strategy == "only_second" and not paired) or (stride and not overflow):
            continue
        options = {"strategy": strategy, "direction": side, "stride": stride, "overflow": bool(overflow)}
        names = ["ids", "starts", "offsets", "word_ids", "special_tokens_mask", "sequence_ids"]
        if template == "bert" or not overflow:  # the library forgets a template's type ids in later windows
            names.append("type_ids")
        how = {"truncation": strategy, "truncation_side": side, "stride": stride}
        for b in range(len(texts)):  # one at a time: what one refuses, the other must
            one, other = texts[b : b + 1], pairs[b : b + 1] if paired else None
            try:
                ours = tok.encode_batch(one, other, length, "window" if overflow else "silent", **how)
            except ValueError as error:
                assert "stride" in str(error) or "alone takes" in str(error)
                continue
            theirs = hf.call("encode", path=str(path), texts=one, pairs=other, max_length=length, **options)
            for name in names:
                assert np.array_equal(getattr(ours, name), theirs[name]), (name, one, other, length, options)
            compared += 1
    print(f"{compared:,} texts and pairs in windows and cut: 0 different")
    assert compared > 400


def test_padding_equals_the_library(hf, tmp_path):
    """To the longest, to a length, to a multiple; at either side; with pairs and truncation."""
    tok, path = bert_tokenizer(), tmp_path / "tokenizer.json"
    tok.save(path)
    texts, pairs = ["the word", "", "un able a a a a a !"], ["a", "the the the", ""]
    for side, multiple, length, other in itertools.product(
        ["right", "left"], [None, 4, 7], [None, 6, 16], [None, pairs]
    ):
        theirs = hf.call(
            "encode_padded", path=str(path), texts=texts, pairs=other, max_length=length, direction=side,
            pad_to_multiple_of=multiple, length=length, pad_id=0, pad_token="[PAD]",
        )  # fmt: skip
        ours = tok(
            texts, other, "max_length" if length else True, max_length=length, pad_to_multiple_of=multiple,
            padding_side=side, return_offsets_mapping=True,
        )  # fmt: skip
        for name, column in ours.items():
            assert np.array_equal(column, theirs[name]), (name, side, multiple, length)


def test_words_as_input_equal_the_library(hf, tmp_path):
    """Lists of words, single and in pairs: places in the list, offsets in the word."""
    tok, path, rng = bert_tokenizer(), tmp_path / "tokenizer.json", random.Random(7)
    tok.save(path)
    fuzzed = fuzz(2_000, seed=8)
    texts, pairs = ([rng.choices(fuzzed, k=rng.randint(0, 6)) for _ in range(300)] for _ in range(2))
    for other in (None, pairs):
        options = {"is_pretokenized": True, "encode_special_tokens": True}
        theirs = hf.call("encode", path=str(path), texts=texts, pairs=other, **options)
        ours = tok.encode_batch(texts, other, is_split_into_words=True)
        for name in ("ids", "starts", "type_ids", "offsets", "word_ids", "special_tokens_mask"):
            assert np.array_equal(getattr(ours, name), theirs[name]), name


def test_questions_to_an_encoding_equal_the_library(hf, tmp_path):
    """Tokens, characters and words of texts and pairs, asked every way."""
    tok, path = bert_tokenizer(), tmp_path / "tokenizer.json"
    tok.save(path)
    hf.call("load", path=str(path))
    texts = ["the unable word! 中a", "", " a  un", "e\u0301 a\x00b 각", *fuzz(150, seed=9)]
    for text, pair in zip(texts, [None, "a", *reversed(texts[2:])], strict=False):
        theirs = hf.call("questions", path=str(path), text=text, pair=pair)
        found, sequences = tok.encode(text, pair, allowed_special="all"), range(2 if pair else 1)
        tokens = range(len(found))
        chars = [(c, s) for s in sequences for c in range(max(len(text), len(pair or "")) + 1)]
        words = [(w, s) for s in sequences for w in range(12)]
        asked = {name: [(t,) for t in tokens] for name in theirs if name.startswith("token")}
        asked |= {name: chars for name in theirs if name.startswith("char")}
        asked |= {name: words for name in theirs if name.startswith("word")}
        for name, arguments in asked.items():
            ours = [getattr(found, name)(*argument) for argument in arguments]
            assert [list(a) if isinstance(a, tuple) else a for a in ours] == theirs[name], (name, text, pair)


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("normalizer", [None, {"type": "NFC"}, {"type": "Lowercase"}], ids=str)
@pytest.mark.parametrize("trims", ["ByteLevel", "RobertaProcessing", "Sequence"])
def test_byte_level_pipelines_equal_the_library(hf, tmp_path, prefix, normalizer, trims):
    """Prefix space, normalizers before the kernel, trimmed offsets under every post-processor; our file too."""
    path = tmp_path / "tokenizer.json"
    hf.call("train_bpe", texts=stdlib_docstrings(30_000), vocab_size=500, path=str(path))
    found = json.loads(path.read_text())
    byte_level = {**BYTES, "add_prefix_space": prefix}
    specials = {"sep": ["<|endoftext|>", 0], "cls": ["<|endoftext|>", 0]}
    template = {
        **TEMPLATE,
        "special_tokens": {"[X]": {"id": "[X]", "ids": [0, 0], "tokens": ["<|endoftext|>"] * 2}},
    }
    processor = {
        "ByteLevel": byte_level,
        "RobertaProcessing": {"type": trims, **specials, "trim_offsets": True, "add_prefix_space": prefix},
        "Sequence": {"type": trims, "processors": [byte_level, template]},
    }[trims]
    found |= {"normalizer": normalizer, "pre_tokenizer": byte_level, "post_processor": processor}
    path.write_text(json.dumps(found))
    tok, texts = tokenizers.load(path), [text for text in fuzz(2_000, seed=10)]
    if normalizer == {"type": "NFC"}:
        moving = set(combining_classes()) | {chr(c) for c in range(0x1100, 0x1200)}
        texts = [text for text in texts if moving.isdisjoint(text)]
    assert_equal(hf, tok, path, texts)
    assert_equal(hf, tok, path, texts[:500], texts[500:1000])
    tok.save(tmp_path / "ours.json")
    assert_equal(hf, tok, tmp_path / "ours.json", texts)


@pytest.mark.parametrize(
    "steps",
    [
        [DIGITS, {**BYTES, "add_prefix_space": False}],
        [{"type": "Split", "pattern": CLIP, "behavior": "Removed", "invert": True}, {**BYTES, "use_regex": False}],
    ],
    ids=str,
)
def test_byte_level_sequences_equal_the_library(hf, tmp_path, steps):
    """Other pre-tokenizers before the bytes, as StarCoder's and others' files have them."""
    path = tmp_path / "tokenizer.json"
    hf.call("train_bpe", texts=stdlib_docstrings(30_000), vocab_size=500, path=str(path))
    found = json.loads(path.read_text())
    steps[-1]["add_prefix_space"] = False
    path.write_text(json.dumps({**found, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}))
    tok = tokenizers.load(path)
    assert_equal(hf, tok, path, fuzz(2_000, seed=11))
    tok.save(tmp_path / "ours.json")
    assert_equal(hf, tok, tmp_path / "ours.json", fuzz(500, seed=12))
