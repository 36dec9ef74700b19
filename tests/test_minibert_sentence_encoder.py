"""The sentence encoder: its folders both ways, what it refuses, its vectors, and every gradient against differences."""

import dataclasses
import json
import re

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import tiny_tokenizer
from minibert import SentenceEncoder, SentenceEncoderConfig, checkpoint, hf_t5
from minibert.checkpoint import CheckpointError
from minibert.encoder import BERT_BASE, BERT_LARGE
from minibert.parameters import Parameters
from minibert.retrieval import Store
from minibert.sentence_network import POOLINGS, Dense, Normalize, pool, sentence_vectors, sentence_vectors_backward
from oracles import transformer as oracle
from strategies import ragged_batches

pytestmark = pytest.mark.kernels
HEAD = (Dense(6, activation="tanh"), Normalize(), Dense(5, bias=False, activation="identity"), Normalize())
CONFIG = SentenceEncoderConfig(60, width=8, layers=2, heads=2, ffn=12, positions=12, max_length=10, pooler=True)
PROMPTED = dataclasses.replace(
    CONFIG, pooling=("mean", "lasttoken"), include_prompt=False, head=HEAD, prompts={"query": "the cat ", "other": "a "}
)
TEXTS = ["the cat sat", "", "a dog", "the dog and the cat", " \n", "the cat sat"]


def make(config, seed=0):
    tokenizer = tiny_tokenizer()
    return SentenceEncoder.create(tokenizer, dataclasses.replace(config, vocab_size=tokenizer.vocab_size), seed)


@pytest.fixture
def model():
    return make(CONFIG)


@pytest.mark.parametrize(("config", "count"), [(BERT_BASE, 109_482_240), (BERT_LARGE, 335_141_888)])
def test_bert_presets_have_the_published_counts(config, count):
    """As many parameters as the library's models, pooler included."""
    assert sum(int(np.prod(shape)) for shape in config.shapes.values()) == count


T5 = dataclasses.replace(CONFIG, **hf_t5.VARIANT, head_width=3, activation="gelu_tanh", gated=True, pooler=False)


@pytest.mark.parametrize("config", [CONFIG, PROMPTED, T5], ids=["plain", "modules", "t5"])
def test_sentence_encoder_load_gives_back_what_save_wrote(config, tmp_path):
    """Configuration, tokenizer, weights and vectors, without a warning."""
    model = make(config)
    model.save(tmp_path)
    again = SentenceEncoder.load(tmp_path)
    assert again.config == model.config
    assert again.fingerprint == model.fingerprint
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))
    assert again.dim == model.encode(TEXTS).shape[1]


def test_sentence_encoder_saves_no_encoder_that_the_library_lacks(tmp_path):
    """A pre-norm BERT is no model of theirs: refused, and nothing is written."""
    with pytest.raises(ValueError, match="expected an encoder of bert or t5"):
        make(dataclasses.replace(CONFIG, norm_first=True)).save(tmp_path)
    assert not list(tmp_path.iterdir())


def rewrite(folder, change):
    """Change the tensors of a saved folder, and drop our own metadata, as another library would write them."""
    tensors, _ = checkpoint.load_file(folder / "model.safetensors")
    tensors = {name: np.array(tensor) for name, tensor in tensors.items()}
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def rename(tensors):
    """The names of a pre-training checkpoint of the first years."""
    for name in list(tensors):
        old = re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", name))
        tensors[f"bert.{old}"] = tensors.pop(name)
    tensors["cls.predictions.bias"] = np.zeros(60, np.float32)
    tensors["bert.embeddings.position_ids"] = np.arange(12)[None]


def test_sentence_encoder_reads_the_names_of_older_checkpoints(model, tmp_path):
    """The prefix "bert.", gamma and beta, a pre-training head, a buffer of positions."""
    model.save(tmp_path)
    rewrite(tmp_path, rename)
    np.testing.assert_array_equal(SentenceEncoder.load(tmp_path).parameters.flat, model.parameters.flat)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_sentence_encoder_reads_other_precisions(model, tmp_path, dtype):
    """Every number as that precision holds it."""
    model.save(tmp_path)
    expected, header, content = {}, {}, b""
    for name, tensor in model.parameters.items():
        if dtype == "BF16":
            stored = (np.ascontiguousarray(tensor).view(np.uint32) >> 16).astype(np.uint16)
            expected[name] = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            stored = tensor.astype(dtype.replace("F", "f").replace("16", "2").replace("64", "8"))
            expected[name] = stored.astype(np.float32)
        span = [len(content), len(content) + stored.nbytes]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": span}
        content += stored.tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)
    loaded = SentenceEncoder.load(tmp_path)
    for name in model.parameters:
        np.testing.assert_array_equal(loaded.parameters[name], expected[name])


WORDS, DENSE = "embeddings.word_embeddings.weight", "encoder.layer.1.intermediate.dense.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(DENSE), f"missing {DENSE}"),
        (lambda t: t.update(extra=np.zeros(2, np.float32)), "unexpected extra"),
        (
            lambda t: t.update({DENSE: t[DENSE].T.copy()}),
            rf"{DENSE}: expected shape \(12, 8\), got \(8, 12\): transposed",
        ),
        (
            lambda t: t.update({DENSE: t[DENSE].astype(np.int32)}),
            f"{DENSE}: expected floating-point numbers, got int32",
        ),
        (lambda t: t[WORDS].__setitem__((3, 1), np.nan), f"{WORDS} holds NaN or infinity"),
    ],
    ids=["missing", "extra", "transposed", "integers", "nan"],
)
def test_sentence_encoder_load_refuses_a_wrong_tensor_by_name(model, tmp_path, change, message):
    """One CheckpointError names the folder and the tensor."""
    model.save(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path))}.*{message}"):
        SentenceEncoder.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"model_type": "roberta"}, "model_type of bert, t5, got 'roberta'"),
        ("config.json", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("config.json", {"hidden_act": "silu"}, "hidden_act of .*got 'silu'"),
        ("config.json", {"hidden_size": None}, "width to be a whole number"),
        ("config.json", {"num_attention_heads": 3}, "divisible by 3 heads"),
        ("config.json", {"max_position_embeddings": 9}, "max_length of at most 9"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling of .*got 'median'"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "manhattan"}, "similarity of .*'manhattan'"),
        ("2_Dense/config.json", {"activation_function": "os.system"}, "activation of .*got os.system"),
    ],
)
def test_sentence_encoder_load_refuses_a_setting_by_name(tmp_path, file, change, message):
    """What asks for another network is refused, not guessed."""
    make(PROMPTED).save(tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        SentenceEncoder.load(tmp_path)


def test_sentence_encoder_load_refuses_pickles_and_mixed_folders(model, tmp_path):
    """Pickled weights come with the way to convert them; a file of another saving is named."""
    make(PROMPTED).save(tmp_path)
    dense, tokenizer = tmp_path / "2_Dense" / "model.safetensors", tmp_path / "tokenizer.json"
    whole = dense.read_bytes()
    make(PROMPTED, seed=1).save(tmp_path / "other")
    dense.write_bytes((tmp_path / "other" / "2_Dense" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="2_Dense/model.safetensors: not the file that"):
        SentenceEncoder.load(tmp_path)
    dense.write_bytes(whole)
    tokenizer.write_text(tokenizer.read_text() + "\n")
    with pytest.raises(CheckpointError, match="tokenizer.json: not the file that"):
        SentenceEncoder.load(tmp_path)
    modules = tmp_path / "modules.json"
    modules.write_text(modules.read_text().replace('"1_Pooling"', '"../1_Pooling"'))
    with pytest.raises(CheckpointError, match="within the folder"):
        SentenceEncoder.load(tmp_path)
    model.save(tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pytorch_model.bin: pickled.*Convert.*save_pretrained"):
        SentenceEncoder.load(tmp_path / "pickled")
    with pytest.raises(FileNotFoundError):
        SentenceEncoder.load(tmp_path / "nowhere")


def test_sentence_encoder_encodes_nothing_and_blanks(model):
    """No text gives no row, of the right width and type; a blank one is its special tokens."""
    empty, truncated = model.encode([], return_truncated=True)
    assert empty.shape == (0, model.dim) and empty.dtype == np.float32 and truncated.shape == (0,)
    vectors = model.encode(TEXTS)
    assert vectors.dtype == np.float32 and np.isfinite(vectors).all()
    np.testing.assert_array_equal(vectors[1], vectors[4])
    np.testing.assert_allclose(np.linalg.norm(model.encode(TEXTS, normalize=True), axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("wrong", [None, b"bytes", float("nan"), 3])
def test_sentence_encoder_names_the_position_of_what_is_no_text(model, wrong):
    """A TypeError says which."""
    with pytest.raises(TypeError, match=rf"texts\[1\]: expected str, got {type(wrong).__name__}"):
        model.encode(["a", wrong])
    with pytest.raises(TypeError, match="expected a sequence of str, got str"):
        model.encode("the cat")


LONG = "the cat sat on the mat and the dog sat on the log"


def test_sentence_encoder_never_truncates_in_silence(model):
    """It warns, refuses, or says nothing where that was asked for; the mask tells which."""
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than 10 tokens, the first is texts\[1\]"):
        cut, truncated = model.encode(["a dog", LONG], return_truncated=True)
    assert truncated.tolist() == [False, True]
    np.testing.assert_array_equal(model.encode(["a dog", LONG], on_truncate="silent"), cut)
    with pytest.raises(ValueError, match=r"texts\[1\]"):
        model.encode(["a dog", LONG], on_truncate="raise")
    with pytest.raises(ValueError, match="on_truncate: expected"):
        model.encode(["a dog"], on_truncate="guess")


@pytest.mark.parametrize("config", [CONFIG, PROMPTED], ids=["plain", "prompted"])
def test_sentence_encoder_windows_are_averaged_by_their_tokens(config):
    """A long text's vector is the mean of its windows', each behind the prompt; short texts are as ever."""
    model = make(config)
    prompt = "the cat " if config.prompts else ""
    ids = model.tokenizer.encode(LONG, add_special_tokens=False).ids
    room = config.max_length - 2 - len(model.tokenizer.encode(prompt, add_special_tokens=False).ids)
    windows = [ids[at : at + room] for at in range(0, len(ids), room)]
    assert len(windows) > 1
    singles = model.encode([model.tokenizer.decode(window) for window in windows], prompt=prompt)
    weights = np.array([len(window) + 1.0 for window in windows])  # [SEP] is a token too
    expected = weights @ singles / weights.sum()
    if config.head:
        expected /= np.linalg.norm(expected)
    vectors, truncated = model.encode(["a dog", LONG], on_truncate="window", prompt=prompt, return_truncated=True)
    np.testing.assert_allclose(vectors[1], expected, atol=1e-6)
    np.testing.assert_allclose(vectors[0], model.encode(["a dog"], prompt=prompt)[0], atol=1e-6)
    assert truncated.tolist() == [False, True]


def test_sentence_encoder_prompts(tmp_path):
    """By name, given, by default, and by side; unknown ones and those without room are refused."""
    model = make(dataclasses.replace(PROMPTED, include_prompt=True))
    by_name = model.encode(["a dog"], prompt_name="query")
    np.testing.assert_array_equal(by_name, model.encode(["the cat a dog"]))
    np.testing.assert_array_equal(by_name, model.encode(["a dog"], prompt="the cat "))
    np.testing.assert_array_equal(by_name, model.encode_query(["a dog"]))
    np.testing.assert_array_equal(model.encode(["a dog"]), model.encode_document(["a dog"]))
    by_default = make(dataclasses.replace(PROMPTED, include_prompt=True, default_prompt="query"))
    np.testing.assert_array_equal(by_name, by_default.encode(["a dog"]))
    np.testing.assert_array_equal(model.encode(["a dog"]), by_default.encode(["a dog"], prompt=""))
    with pytest.raises(ValueError, match="prompt of query, other, got 'passage'"):
        model.encode(["a"], prompt_name="passage")
    with pytest.raises(ValueError, match="room for a text in 10 tokens"):
        make(PROMPTED).encode(["a"], prompt=LONG)


def test_sentence_encoder_truncates_dimensions(model, tmp_path):
    """The first numbers of the vectors, of unit length where that is asked for; impossible widths are refused."""
    model.save(tmp_path)
    short = SentenceEncoder.load(tmp_path, truncate_dim=3)
    assert short.dim == 3 and short.fingerprint != model.fingerprint
    np.testing.assert_array_equal(short.encode(TEXTS), model.encode(TEXTS)[:, :3])
    np.testing.assert_allclose(np.linalg.norm(short.encode(TEXTS, normalize=True), axis=1), 1, rtol=1e-6)
    for wrong in (0, 9, 999):
        with pytest.raises(ValueError, match=f"truncate_dim in 1 … 8, got {wrong}"):
            SentenceEncoder.load(tmp_path, truncate_dim=wrong)


def test_token_embeddings_are_static_below_and_contextual_above(model):
    """One word in two sentences: one vector in layer 0, two in every other layer; the last layer is what is pooled."""
    texts, rows = ["the cat sat", "a dog and the cat"], []
    for text in texts:
        rows.append(model.tokenizer.encode(text).tokens.index("cat"))
    for layer in range(model.config.layers + 1):
        a, b = (model.token_embeddings(text, layer)[row] for text, row in zip(texts, rows, strict=True))
        assert np.array_equal(a, b) == (layer == 0)
    np.testing.assert_allclose(model.token_embeddings(texts[0]).mean(axis=0), model.encode(texts[:1])[0], atol=1e-6)
    for layer, first in ((3, 0), (-4, 0), (0, 1)):
        look = model.token_embeddings if first == 0 else model.attention_weights
        with pytest.raises(ValueError, match=f"a layer in {first} … 2.*got {layer}"):
            look(texts[0], layer)


def test_attention_weights_are_the_textbook_softmax(model):
    """Layer 1 by the formula, head by head; all rows of all layers sum to 1."""
    text, p, d = "the cat sat on a log", model.parameters, model.config.width // model.config.heads
    for layer in (1, 2, -1):
        np.testing.assert_allclose(model.attention_weights(text, layer).sum(axis=-1), 1, rtol=1e-6)
    ids = model.tokenizer.encode(text).ids
    x = p[WORDS][ids] + p["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + p["embeddings.token_type_embeddings.weight"][0]
    gamma, beta = p["embeddings.LayerNorm.weight"], p["embeddings.LayerNorm.bias"]
    x = np.array([oracle.layer_norm(row, gamma, beta, model.config.eps) for row in x])
    q, k = (x @ p[f"encoder.layer.0.attention.self.{part}.weight"].T for part in ("query", "key"))
    for h in range(model.config.heads):
        part = slice(h * d, (h + 1) * d)
        expected = [oracle.softmax(row) for row in q[:, part] @ k[:, part].T / np.sqrt(d)]
        np.testing.assert_allclose(model.attention_weights(text, 1, head=h), expected, atol=1e-6)
    with pytest.raises(ValueError, match="a head in 0 … 1, got 2"):
        model.attention_weights(text, 1, head=2)
    with pytest.raises(ValueError, match="longer than 10 tokens"):
        model.attention_weights(LONG)


@given(ragged_batches(), st.integers(0, 2))
def test_pooling_equals_its_definition(batch, skipped):
    """Sequence by sequence, with and without the first tokens."""
    skipped = min(skipped, batch.lengths.min() - 1)
    x = np.random.default_rng(1).standard_normal((len(batch.ids), 3))
    config = dataclasses.replace(CONFIG, pooling=tuple(POOLINGS))
    y, _ = pool(x, config, batch, int(skipped))
    for b, row in enumerate(y):
        tokens = x[batch.starts[b] + skipped : batch.starts[b + 1]]
        weights = np.arange(skipped + 1, skipped + len(tokens) + 1)
        expected = {
            "cls": tokens[0],
            "max": [max(column) for column in tokens.T],
            "mean": sum(tokens) / len(tokens),
            "mean_sqrt_len_tokens": sum(tokens) / np.sqrt(len(tokens)),
            "weightedmean": sum(w * token for w, token in zip(weights, tokens, strict=True)) / sum(weights),
            "lasttoken": tokens[-1],
        }
        np.testing.assert_allclose(row, np.concatenate([expected[name] for name in POOLINGS]), rtol=1e-12, atol=1e-14)


@settings(max_examples=8)
@given(ragged_batches(vocabulary=11), st.integers(0, 1))
def test_sentence_vectors_gradients_are_derivatives(batch, skipped):
    """All poolings and modules at once: each tensor's gradient is the change of a random sum of the vectors."""
    skipped = int(min(skipped, batch.lengths.min() - 1))
    config = dataclasses.replace(CONFIG, vocab_size=11, pooling=tuple(POOLINGS), head=HEAD, pooler=False, dropout=0.2)
    p = Parameters(config.shapes, dtype=np.float64)
    rng = np.random.default_rng(2)
    p.flat[...] = 0.5 * rng.standard_normal(p.flat.size)
    vectors, cache = sentence_vectors(p, config, batch, np.random.default_rng(9), skipped)
    w, d = rng.standard_normal(vectors.shape), p.zeros_like()
    sentence_vectors_backward(w, cache, config, d)
    for name in p:
        direction, ends = rng.standard_normal(p[name].shape), []
        for sign in (1, -1):
            p[name][...] += sign * 1e-6 * direction
            ends.append(np.sum(w * sentence_vectors(p, config, batch, np.random.default_rng(9), skipped)[0]))
            p[name][...] -= sign * 1e-6 * direction
        numeric, analytic = (ends[0] - ends[1]) / 2e-6, np.sum(d[name] * direction)
        assert abs(numeric - analytic) < 1e-6 * (1 + np.abs(d[name] * direction).sum()), name


def test_store_takes_a_sentence_encoder(model, tmp_path):
    """Documents embedded by it are found, and another encoder's store is refused."""
    with Store.open(tmp_path / "store", model) as store:
        store.add([{"id": "a", "text": "the cat sat on the mat"}, {"id": "b", "text": "a dog"}])
        assert store.search("a dog", k=1)[0].id == "b"
    with pytest.raises(ValueError, match="written with the encoder"):
        Store.open(tmp_path / "store", make(CONFIG, seed=1))
