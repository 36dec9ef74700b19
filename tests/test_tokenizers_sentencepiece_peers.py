"""SentencePiece's models equal sentencepiece, and T5's and Llama's tokenizer.json Hugging Face's library: all texts."""

import gzip
import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from test_tokenizers_unigram_files import LLAMA
from text_sets import DATA, assert_same_ids, batches, fuzz, needs_data, text_sets

import tokenizers
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from tokenizers import SentencePiece, Tokenizer, Unigram
from tokenizers.charsmap import SentencePieceNormalizer
from tokenizers.charsmap_rules import rules
from tokenizers.sentencepiece import SentencePieceBPE

pytestmark = pytest.mark.peers
WORDS = [
    "<sep>",
    " <sep>",
    "<s>",
    "</s>",
    "<unk>",
    "  ",
    "\t",
    "\n",
    "▁",
    "foo bar",
    "the ",
    "ing",
    "é",
    "ﬁ",
    "①",
    "。",
]
WORDS += ["\u3000", "a\u0301", "ＡＢ", "😀", "\x00", "xyzzy", "==", "=== ", "\u200b", "\u200d", " " * 9, "\uff5e"]
OPTIONS = [
    {},
    {"user_defined_symbols": ["<sep>", "foo bar", "==", "===", "▁the", "x"]},
    {"byte_fallback": True, "user_defined_symbols": ["<sep>", "é"], "add_dummy_prefix": False},
    {"treat_whitespace_as_suffix": True, "control_symbols": ["<c>", "a"], "unk_id": 3, "pad_id": 0, "unk_surface": "?"},
    {"split_by_whitespace": False, "remove_extra_whitespaces": False, "user_defined_symbols": ["  "]},
    {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True},
    {"normalization_rule_name": "nmt_nfkc_cf", "remove_extra_whitespaces": False, "treat_whitespace_as_suffix": True},
]


@pytest.fixture(scope="module")
def peer():
    with Peer("sentencepiece_models") as peer:
        yield peer


@pytest.fixture(scope="module")
def hf():
    with Peer("hf_tokenizers") as peer:
        yield peer


def valid(texts):
    """Texts without lone surrogates, which the library refuses."""
    return [text.encode("utf-8", "replace").decode() for text in texts]


def made_up(count, seed):
    """Fuzzed strings, and strings of what the normalizer, user-defined and control pieces treat in their own way."""
    rng = random.Random(seed)
    words = ["".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12))) for _ in range(count // 2)]
    return [*fuzz(count - len(words), seed), *words]


def ids_of(tok):
    def encode(texts):
        batch = tok.encode_batch(texts)
        return batch.ids, batch.starts

    return encode


def theirs_of(peer, path):
    def encode(texts):
        found = peer.call("encode", path=str(path), texts=texts)
        return found["ids"], found["starts"]

    return encode


@needs_data
@pytest.mark.parametrize("name", ["test_model", "test_ja_model", "llama2.tokenizer"])
def test_sentencepiece_ids_equal_the_library_on_all_texts(peer, tmp_path, name):
    """Published models: every document, 100,000 fuzzed strings; what we save gives the same there; texts come back."""
    path = Path(DATA) / "tok_sentencepiece" / f"{name}.model"
    tok = tokenizers.load(path)
    assert_same_ids(ids_of(tok), theirs_of(peer, path), map(valid, text_sets()))
    texts = made_up(100_000, seed=1)
    assert_same_ids(ids_of(tok), theirs_of(peer, path), batches(texts))
    tok.save(tmp_path / "ours.model")
    assert_same_ids(ids_of(tok), theirs_of(peer, tmp_path / "ours.model"), batches(texts[::10]))
    rows = [tok.encode(text).ids for text in texts[::20]]
    assert [tok.decode(row) for row in rows] == peer.call("decode", path=str(path), rows=rows)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_sentencepiece_options_equal_the_library(peer, tmp_path, kind, options):
    """Models that the library trains with each option: ids, decoding, and the file that we write."""
    path, lines = tmp_path / "x.model", [line for text in stdlib_docstrings(150_000) for line in text.split("\n")]
    peer.call(
        "train",
        path=str(path),
        texts=lines,
        model_type=kind,
        vocab_size=700,
        minloglevel=2,
        hard_vocab_limit=False,
        **options,
    )
    tok, texts = tokenizers.load(path), made_up(6_000, seed=2)
    assert_same_ids(ids_of(tok), theirs_of(peer, path), [texts])
    tok.save(tmp_path / "ours.model")
    assert_same_ids(ids_of(tok), theirs_of(peer, tmp_path / "ours.model"), [texts])
    rng, control = random.Random(3), set(tok.special_tokens.values())
    rows = [[rng.randrange(tok.vocab_size) for _ in range(rng.randint(1, 9))] for _ in range(1000)]
    rows = [[i for i in row if i not in control] or [5] for row in rows]  # a control piece ends a character there
    assert [tok.decode(row) for row in rows] == peer.call("decode", path=str(path), rows=rows)


def test_long_texts_keep_ties_and_rebasing(peer, tmp_path):
    """Letters in runs, whose cuts tie but for rounding, up to sums beyond ±100,000 and in one word of 200,000."""
    path = tmp_path / "x.model"
    pieces = {"▁": -2.0, "b": -7.3, "bb": -14.6, "bbb": -21.9, "c": -9.1, "cc": -18.2, "▁b": -9.3, "é": -5.5}
    tok = SentencePiece(Unigram(["<unk>", *pieces], [0.0, *pieces.values()]), SentencePieceNormalizer())
    tok.save(path)
    tok, rng = tokenizers.load(path), random.Random(4)
    texts = ["".join(rng.choices("bbbc é", k=n)) for n in (100, 3000, 20_000, 60_000)]
    texts += ["b" * 200_000, "bc" * 50_000, "".join(rng.choices("bc", k=100_000))]
    assert_same_ids(ids_of(tok), theirs_of(peer, path), [texts])


def test_nbest_equals_the_library(peer, tmp_path):
    """The ten best cuts of 300 words, by their scores' order; the ids of the best."""
    path, lines = tmp_path / "x.model", [line for text in stdlib_docstrings(150_000) for line in text.split("\n")]
    peer.call("train", path=str(path), texts=lines, model_type="unigram", vocab_size=700, minloglevel=2)
    tok, words = tokenizers.load(path), sorted({word for line in lines for word in line.split()})[::40][:300]
    for word, theirs in zip(words, peer.call("nbest", path=str(path), texts=words, n=10), strict=True):
        ours = tok.nbest(word, 10, with_scores=True)
        scores = [score for score, _ in ours]
        assert sorted(scores, reverse=True) == scores and len(ours) == len(theirs)
        unsure = {round(a, 3) for a, b in zip(scores, scores[1:], strict=False) if a - b < 1e-3}
        for (score, encoding), row in zip(ours, theirs, strict=True):
            assert encoding.ids == row or any(abs(score - u) < 2e-3 for u in unsure) or score == scores[-1]


@pytest.mark.parametrize("name", ["nfkc", "nmt_nfkc_cf"])
def test_character_maps_are_those_of_the_library(peer, name):
    """On every key, but for characters that the running Python does not know yet."""
    ours = rules(name)
    keys = sorted({*ours, *(chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000)})
    theirs = peer.call("normalize_by", name=name, texts=keys)
    different = [
        (key, ours.get(key, key), out) for key, out in zip(keys, theirs, strict=True) if ours.get(key, key) != out
    ]
    newer = [row for row in different if any(unicodedata.category(c) == "Cn" for c in row[0])]
    print(f"{name}: {len(keys):,} strings, {len(newer)} newer than Unicode {unicodedata.unidata_version}")
    assert different == newer


def test_library_opens_a_model_with_our_character_map(peer, tmp_path):
    """A model built here, with nmt_nfkc made here, gives the same ids there, Unigram and BPE."""
    letters = sorted({c for text in stdlib_docstrings(50_000) for c in text if c.isprintable() and c != " "})
    pieces = ["<unk>", "▁", *letters, "▁a", "th", "the", "▁the", "ing", "か", "が", "각"]
    for kind in (Unigram, SentencePieceBPE):
        normalizer = SentencePieceNormalizer.named("nmt_nfkc")
        tok = SentencePiece(kind(pieces, [0.0, *(-1.0 - i / 8 for i in range(len(pieces) - 1))]), normalizer)
        tok.save(tmp_path / "x.model")
        assert_same_ids(ids_of(tok), theirs_of(peer, tmp_path / "x.model"), [made_up(20_000, seed=5)])
        peer.call("forget")


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """(our tokenizer, the file) of t5-small."""
    path = tmp_path_factory.mktemp("t5") / "tokenizer.json"
    path.write_bytes(gzip.decompress((Path(DATA) / "tok_hf_json" / "t5-small.tokenizer.json.gz").read_bytes()))
    return tokenizers.load(path), path


def golden(name):
    rows = json.loads((Path(DATA) / "tok_golden" / "tokenizer_tests.json").read_text("utf-8"))[name]
    assert len(rows) == 18
    return rows


@needs_data
def test_t5_and_llama_equal_golden_rows(t5):
    """18 recorded strings each, and the long text; Llama's from its .model, with <s> before them."""
    tok = t5[0]
    assert all(tok.encode(row["input"]).ids == row["encoded"]["input_ids"] for row in golden("t5-base"))
    long = json.loads((Path(DATA) / "tok_golden" / "t5_base_encoded.json").read_text("utf-8"))
    assert tok.encode(long["text"], add_special_tokens=False).tokens == long["bpe_tokens"]
    llama = tokenizers.load(Path(DATA) / "tok_sentencepiece" / "llama2.tokenizer.model")
    for row in golden("coreml-projects/Llama-2-7b-chat-coreml"):
        assert [1, *llama.encode(row["input"]).ids] == row["encoded"]["input_ids"]
    long = json.loads((Path(DATA) / "tok_golden" / "llama_encoded.json").read_text("utf-8"))
    assert llama.encode(long["text"]).tokens == long["bpe_tokens"]


def all_allowed(tok):
    def encode(texts):
        batch = tok.encode_batch(texts, allowed_special="all")
        return batch.ids, batch.starts

    return encode


@needs_data
def test_t5_equals_the_library(hf, t5, tmp_path):
    """100,000 fuzzed strings and a sample of all documents; what we save gives the same there, and decodes the same."""
    tok, path = t5
    texts = made_up(100_000, seed=6)
    sample = valid([text[:2000] for part in text_sets() for text in part[::40]])
    assert_same_ids(all_allowed(tok), theirs_of(hf, path), batches([*texts, *sample]))
    tok.save(tmp_path / "ours.json")
    assert_same_ids(all_allowed(tok), theirs_of(hf, tmp_path / "ours.json"), [texts[::20]])
    rows = [tok.encode(text).ids for text in texts[::50]]
    assert [tok.decode(row) for row in rows] == hf.call("decode", path=str(path), rows=rows)


@needs_data
def test_llama_as_json_equals_the_library(hf, tmp_path):
    """Llama as a tokenizer.json that we write, with merges: 100,000 fuzzed strings; ids as by its .model."""
    model = tokenizers.load(Path(DATA) / "tok_sentencepiece" / "llama2.tokenizer.model")
    ids, scores = model.model.text_ids, model.model.scores
    pairs = [(p[:k], p[k:]) for p in ids for k in range(1, len(p)) if p[:k] in ids and p[k:] in ids]
    pairs.sort(key=lambda pair: (-scores[ids[pair[0] + pair[1]]], ids[pair[0]], ids[pair[1]]))
    parts = {**LLAMA["model"], "vocab": model.vocab, "merges": list(map(list, pairs))}
    tok = tokenizers.from_json(json.dumps({**LLAMA, "model": parts, "added_tokens": []}))
    assert isinstance(tok, Tokenizer)
    tok.save(tmp_path / "llama.json")
    texts = made_up(100_000, seed=7)
    assert_same_ids(all_allowed(tok), theirs_of(hf, tmp_path / "llama.json"), batches(texts))
    assert_same_ids(ids_of(tok), ids_of(model), [texts[:5000]])
    rows = [tok.encode(text).ids for text in texts[::50]]
    assert [tok.decode(row) for row in rows] == hf.call("decode", path=str(tmp_path / "llama.json"), rows=rows)


@needs_data
def test_hugging_face_and_sentencepiece_disagree_as_stated(hf, peer, t5, tmp_path):
    """The same pieces by both: a short cluster loses its accent in Hugging Face's library, not in sentencepiece."""
    tok, path = t5
    kinds = tok.model.kinds
    normalizer = SentencePieceNormalizer(tok.normalizer.map.blob)
    same = SentencePiece(Unigram(tok.model.pieces, tok.model.scores, kinds), normalizer)
    same.save(tmp_path / "t5.model")
    text = "①\u0301"
    theirs = hf.call("encode", path=str(path), texts=[text], add_special_tokens=False)["ids"].tolist()
    other = peer.call("encode", path=str(tmp_path / "t5.model"), texts=[text])["ids"].tolist()
    assert tok.encode(text, add_special_tokens=False).ids == theirs != same.encode(text).ids == other
    texts = [t for t in fuzz(5_000, seed=8) if t.isascii()]
    assert np.array_equal(tok.encode_batch(texts, add_special_tokens=False).ids, same.encode_batch(texts).ids)
