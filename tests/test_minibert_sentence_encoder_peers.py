"""The sentence encoder against sentence-transformers and transformers: folders both ways, vectors, gradients, STS-B."""

import csv
import os

import numpy as np
import pytest

from benchmarks.peers import Peer
from helpers import tiny_tokenizer
from minibert import SentenceEncoder, hf_folder, hf_t5
from minibert.encoder import BERT_BASE, BERT_LARGE, EncoderConfig, encoder, encoder_backward
from minibert.metrics import spearman
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.stdlib_corpus import docstrings

pytestmark = pytest.mark.peers
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
}
TEXTS = ["the cat sat on the mat", "a dog", "", "the dog and the cat sat on a log", "mat mat mat"]


@pytest.fixture(scope="module")
def peer():
    with Peer("st_encoder", threads=2) as peer:
        yield peer


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]},
        {"pooling": ["mean"], "dense": 7, "normalize": True},
        {"pooling": ["weightedmean", "cls", "max"], "include_prompt": False, "dense": 40},
    ],
    ids=["poolings", "modules", "prompt"],
)
def test_sentence_encoder_opens_and_writes_the_librarys_folders(peer, tmp_path, options):
    """A folder of sentence-transformers' making gives its vectors here; what we save of it gives them there again."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    sizes = SIZES | {"vocab_size": tokenizer.vocab_size}
    peer.call("save_sentence_model", path=theirs, tokenizer=str(tmp_path / "tokenizer.json"), **options, **sizes)
    model = SentenceEncoder.load(theirs)
    model.save(ours)
    for prompt in (None, "the log "):
        expected = peer.call("encode", path=theirs, texts=TEXTS, prompt=prompt)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(model.encode(TEXTS, prompt=prompt), expected, atol=1e-6 * scale)
        np.testing.assert_allclose(peer.call("encode", path=ours, texts=TEXTS, prompt=prompt), expected, atol=1e-6)
    expected = peer.call("encode", path=theirs, texts=TEXTS, truncate_dim=3)
    np.testing.assert_allclose(SentenceEncoder.load(ours, truncate_dim=3).encode(TEXTS), expected, atol=1e-6 * scale)
    assert peer.call("open_bert", path=ours) == peer.call("open_bert", path=theirs)


def test_minilm_vectors_and_sts_benchmark_equal_sentence_transformers(peer):
    """all-MiniLM-L6-v2: docstrings within 1e-5, and the same Spearman correlation on the STS benchmark's test set."""
    folder = peer.call("minilm_folder")
    model = SentenceEncoder.load(folder)
    texts = [found.text for found in docstrings()][:60]
    theirs = peer.call("encode", path=folder, texts=texts)
    np.testing.assert_allclose(model.encode(texts, on_truncate="silent"), theirs, atol=1e-5)
    data = os.environ.get("MINIBERT_DATA") or pytest.fail("MINIBERT_DATA does not say where the data sets are")
    scores, first, second = read_sts(f"{data}/sts_benchmark/sts-test.csv")
    similarities = []
    for encode in (model.encode, lambda texts: peer.call("encode", path=folder, texts=texts)):
        a, b = encode(first), encode(second)
        similarities.append((a * b).sum(axis=1))
    ours, theirs = (spearman(similarity, scores) for similarity in similarities)
    assert ours == pytest.approx(theirs, abs=5e-5)
    assert ours > 0.8


def read_sts(path):
    """Scores, first and second sentences; tab-separated without quoting."""
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return np.array([float(row[4]) for row in rows]), [row[5] for row in rows], [row[6] for row in rows]


def relative(ours, theirs):
    """Largest difference, relative to the largest number."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def padded(batch):
    """ids, mask and segment ids (B, L) of a ragged batch."""
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids, types = np.zeros(mask.shape, np.int64), np.zeros(mask.shape, np.int64)
    ids[mask], types[mask] = batch.ids, batch.type_ids
    return ids, mask.astype(np.int64), types


def test_bert_forward_and_gradients_equal_transformers(peer):
    """Random weights: every token's vector within 1e-5, every gradient within 1e-4, relative."""
    rng = np.random.default_rng(1)
    batch = Ragged.from_sequences([rng.integers(0, 50, n).tolist() for n in (1, 3, 3, 9, 24)])
    batch.type_ids[::3] = 1
    ids, mask, types = padded(batch)
    weights = rng.standard_normal((*ids.shape, 32)).astype(np.float32) * mask[..., None].astype(np.float32)
    twin = peer.call("bert_gradients", ids=ids, mask=mask, types=types, weights=weights, **SIZES, vocab_size=50)
    config = EncoderConfig(50, width=32, layers=2, heads=4, ffn=64, positions=24, pooler=True, dropout=0.0)
    p = Parameters(config.shapes)
    p.load(twin["state"])
    x, cache = encoder(p, config, batch)
    assert relative(x, twin["output"][mask > 0]) < 1e-5
    d = p.zeros_like()
    encoder_backward(weights[mask > 0], cache, config, d)
    for name, gradient in twin["gradients"].items():
        if name.endswith("key.bias"):  # shifts all scores of a row alike: 0 but for rounding
            assert max(np.abs(d[name]).max(), np.abs(gradient).max()) < 1e-3
        else:
            assert relative(d[name], gradient) < 1e-4, name


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_t5_encoder_forward_and_gradients_equal_transformers(peer, tmp_path, kind):
    """Random weights, sequences beyond the farthest bucket: vectors within 1e-5, gradients within 1e-4, relative."""
    rng = np.random.default_rng(1)
    batch = Ragged.from_sequences([rng.integers(0, 50, n).tolist() for n in (1, 3, 3, 40)])
    ids, mask, _ = padded(batch)
    weights = rng.standard_normal((*ids.shape, 32)).astype(np.float32) * mask[..., None].astype(np.float32)
    twin = peer.call("t5_gradients", path=str(tmp_path), ids=ids, mask=mask, weights=weights, kind=kind)
    tensors, _ = hf_folder.read_weights(tmp_path)
    config = EncoderConfig(**hf_folder.read_config(tmp_path))
    p = Parameters(config.shapes)
    p.load(tensors)
    x, cache = encoder(p, config, batch)
    assert relative(x, twin["output"][mask > 0]) < 1e-5
    d = p.zeros_like()
    encoder_backward(weights[mask > 0], cache, config, d)
    assert {hf_t5.to_theirs(name, config) for name in d} == set(twin["gradients"])
    for name in d:
        assert relative(d[name], twin["gradients"][hf_t5.to_theirs(name, config)]) < 1e-4, name


@pytest.mark.parametrize(("config", "sizes"), [(BERT_BASE, (768, 12, 12, 3072)), (BERT_LARGE, (1024, 24, 16, 4096))])
def test_bert_presets_are_the_librarys(peer, config, sizes):
    """Names, shapes and count of every parameter."""
    shapes = peer.call("bert_shapes", sizes=sizes)
    assert shapes == {name: list(shape) for name, shape in config.shapes.items()}
