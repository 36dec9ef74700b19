"""The encoder and the dual encoder: against the padded textbook form, and every gradient against differences."""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import tiny_tokenizer
from minibert import checkpoint
from minibert.checkpoint import CheckpointError
from minibert.encoder import EncoderConfig, encoder, initialize, orthogonal
from minibert.losses import in_batch_cross_entropy
from minibert.models.dual_encoder import DualEncoder, DualEncoderConfig
from minibert.ops import cls_pooling
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from oracles import transformer as oracle
from strategies import ragged_batches

pytestmark = pytest.mark.kernels
BERT_LIKE = EncoderConfig(11, width=8, layers=2, heads=2, ffn=12, positions=6, dropout=0.0)
TORCH_LIKE = EncoderConfig(
    11, width=8, layers=2, heads=2, ffn=12, positions=0, segments=0, activation="relu", embedding_norm=False,
    final_norm=True, dropout=0.0, eps=1e-5,
)  # fmt: skip
PRE_NORM = dataclasses.replace(BERT_LIKE, norm_first=True, final_norm=True, activation="gelu_tanh", head_width=3)
SINUSOIDAL = dataclasses.replace(TORCH_LIKE, positions=6, position="sinusoidal", final_norm=False, norm="rms")
T5_LIKE = dataclasses.replace(
    TORCH_LIKE, position="relative", buckets=8, farthest=5, norm="rms", norm_first=True, gated=True, biases=False,
    scaled=False, activation="gelu_tanh",
)  # fmt: skip
VARIANTS = {"bert": BERT_LIKE, "torch": TORCH_LIKE, "pre-norm": PRE_NORM, "2017": SINUSOIDAL, "t5": T5_LIKE}


def random_parameters(config, seed=0):
    """Float64 parameters with nothing at 0 or 1, so that no term hides."""
    parameters = Parameters(config.shapes, dtype=np.float64)
    parameters.flat[...] = 0.5 * np.random.default_rng(seed).standard_normal(parameters.flat.size)
    return parameters


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
@settings(max_examples=15)
@given(batch=ragged_batches())
def test_encoder_equals_the_padded_masked_textbook(config, batch):
    """Without padding the encoder gives what the padded, masked formula gives."""
    parameters = random_parameters(config)
    sorted_batch, back = batch.by_length()
    ours, _ = encoder(parameters, config, sorted_batch)
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids, segments = np.zeros(mask.shape, int), np.zeros(mask.shape, int)
    ids[mask], segments[mask] = batch.ids, batch.type_ids
    theirs = oracle.padded_encoder(parameters, config, ids, segments, mask)
    for b, sorted_b in enumerate(back):
        rows = ours[sorted_batch.starts[sorted_b] : sorted_batch.starts[sorted_b + 1]]
        np.testing.assert_allclose(rows, theirs[b, mask[b]], atol=1e-10)


def test_rows_wanted_twice_are_refused():
    """encoder_backward would keep the gradient of one of them."""
    batch = Ragged.from_sequences([[1, 2, 3]])
    with pytest.raises(ValueError, match="expected rows that differ, got 3 of which 2 differ"):
        encoder(random_parameters(BERT_LIKE), BERT_LIKE, batch, rows=np.array([0, 2, 0]))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("base", VARIANTS.values(), ids=VARIANTS)
def test_dual_encoder_gradients_are_derivatives(base, normalize):
    """The loss's change in a random direction of each tensor equals that tensor's gradient, with dropout on."""
    settings_ = dataclasses.asdict(base) | {"dropout": 0.2}
    config = DualEncoderConfig(**settings_, dim=5, max_length=6, normalize=normalize, temperature=0.7)
    model = DualEncoder(None, config, random_parameters(config))
    rng = np.random.default_rng(3)
    questions, answers = (
        Ragged.from_sequences([rng.integers(0, 11, n).tolist() for n in lengths]) for lengths in ([3, 1, 6], [2, 6, 6])
    )
    questions.type_ids[::2] = min(1, config.segments)
    loss, gradients = model.loss_and_gradients(questions, answers, np.random.default_rng(9))
    step = 1e-5
    for name in model.parameters:
        tensor, direction = model.parameters[name], rng.standard_normal(model.parameters[name].shape)
        ends = []
        for sign in (1, -1):
            tensor += sign * step * direction
            ends.append(model.loss_and_gradients(questions, answers, np.random.default_rng(9))[0])
            tensor -= sign * step * direction
        numeric = (ends[0] - ends[1]) / (2 * step)
        analytic = np.sum(gradients[name] * direction)
        assert abs(numeric - analytic) < 1e-7 * (1 + np.abs(gradients[name] * direction).sum()), name
    assert np.isfinite(loss)


@given(ragged_batches(), st.integers(0, 2**32 - 1))
def test_encoder_rows_do_not_depend_on_the_rest_of_the_batch(batch, seed):
    """A sequence alone has the vectors it has in company."""
    parameters = random_parameters(BERT_LIKE)
    batch, _ = batch.by_length()
    together, _ = encoder(parameters, BERT_LIKE, batch)
    one = seed % len(batch)
    alone, _ = encoder(parameters, BERT_LIKE, batch.take(np.array([one])))
    np.testing.assert_allclose(together[batch.starts[one] : batch.starts[one + 1]], alone, atol=1e-12)


@given(ragged_batches())
def test_encoder_of_some_rows_equals_those_rows_of_all(batch):
    """Asking for the rows of [CLS] alone gives what pooling after the whole encoder gives."""
    batch, _ = batch.by_length()
    for config in (BERT_LIKE, TORCH_LIKE):
        parameters = random_parameters(config)
        pooled, _ = cls_pooling(encoder(parameters, config, batch)[0], batch)
        first_rows, _ = encoder(parameters, config, batch, rows=batch.starts[:-1])
        np.testing.assert_allclose(first_rows, pooled, atol=1e-12)


@given(ragged_batches())
def test_ragged_take_and_by_length_move_whole_sequences(batch):
    """Sorting by length and back is the identity; runs cover all rows; positions restart."""
    sequences = np.split(batch.ids, batch.starts[1:-1])
    sorted_batch, back = batch.by_length()
    assert (np.diff(sorted_batch.lengths) >= 0).all()
    again = sorted_batch.take(back)
    assert [s.tolist() for s in np.split(again.ids, again.starts[1:-1])] == [s.tolist() for s in sequences]
    assert (again.type_ids == batch.type_ids).all()
    covered = [row for rows, count, length in batch.runs for row in range(rows.start, rows.start + count * length)]
    assert covered == list(range(len(batch.ids)))
    assert batch.positions.tolist() == [i for s in sequences for i in range(len(s))]


def test_initialize_keeps_the_bag_of_words():
    """Orthogonal maps keep inner products; two draws with one seed are the same bits, and nothing else is random."""
    q = orthogonal(7, 4, np.random.default_rng(0))
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-14)
    np.testing.assert_allclose(orthogonal(4, 7, np.random.default_rng(0)), q.T)
    first, second = Parameters(BERT_LIKE.shapes), Parameters(BERT_LIKE.shapes)
    initialize(first, np.random.default_rng(1))
    initialize(second, np.random.default_rng(1))
    assert (first.flat == second.flat).all()
    assert (first["encoder.layer.0.output.LayerNorm.weight"] == 1).all()
    assert (first["encoder.layer.0.output.dense.bias"] == 0).all()


def test_parameters_are_views_of_one_vector():
    """Fused query, key and value, prefixes and names all show the same numbers."""
    p = random_parameters(BERT_LIKE)
    layer = p.sub("encoder.layer.1.")
    fused = layer.stacked("attention.self.query.weight", 3)
    parts = [p[f"encoder.layer.1.attention.self.{part}.weight"] for part in ("query", "key", "value")]
    np.testing.assert_array_equal(fused, np.concatenate(parts))
    fused[...] = 7
    assert (parts[1] == 7).all() and np.count_nonzero(p.flat == 7) == fused.size


def test_parameters_load_names_every_misfit():
    """Missing, unexpected, wrongly shaped and not finite tensors are named."""
    p = Parameters({"a": (2,), "b": (3, 1)})
    with pytest.raises(ValueError, match=r"missing a; b: expected .*\(3, 1\), got \(1, 3\): transposed; unexpected c"):
        p.load({"b": np.zeros((1, 3)), "c": np.zeros(1)})
    with pytest.raises(ValueError, match="b holds NaN"):
        p.load({"a": np.ones(2), "b": np.full((3, 1), np.nan)})
    with pytest.raises(ValueError, match="a: expected floating-point numbers, got int64"):
        p.load({"a": np.ones(2, np.int64), "b": np.ones((3, 1))})
    assert (p.flat == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "divisible by 3 heads, got 8"),
        ({"layers": 0}, "layers to be a whole number of at least 1, got 0"),
        ({"layers": 2.0}, "layers to be a whole number of at least 1, got 2.0"),
        ({"segments": -1}, "segments to be a whole number of at least 0, got -1"),
        ({"dropout": 1.5}, r"dropout in \[0, 1\)"),
        ({"temperature": 0.0}, "temperature above 0, got 0.0"),
        ({"activation": "tanh"}, "gelu, gelu_tanh, relu, got 'tanh'"),
        ({"norm": "batch"}, "a norm of layer, rms, got 'batch'"),
        ({"position": "rotary"}, "a position of learned, sinusoidal, relative, got 'rotary'"),
        ({"position": "relative", "buckets": 6}, "buckets in fours"),
        ({"max_length": 7}, "max_length in 2 … 6, got 7"),
        ({"dim": 0}, "dim to be a whole number of at least 1"),
    ],
)
def test_config_refuses_what_cannot_be_built(changes, message):
    """Sizes that do not fit each other are named."""
    with pytest.raises(ValueError, match=message):
        DualEncoderConfig(**dataclasses.asdict(BERT_LIKE) | {"max_length": 6} | changes)


def test_encoder_refuses_long_sequences_and_foreign_ids():
    """More tokens than positions and ids outside the table are errors with their place."""
    p = random_parameters(BERT_LIKE)
    with pytest.raises(ValueError, match="at most 6 tokens a sequence, got 7 in sequence 1"):
        encoder(p, BERT_LIKE, Ragged.from_sequences([[1], [1] * 7]))
    with pytest.raises(ValueError, match="ids in 0 … 10, got 11 at position 2"):
        encoder(p, BERT_LIKE, Ragged.from_sequences([[1, 2, 11]]))
    with pytest.raises(ValueError, match="none in sequence 1"):
        Ragged.from_sequences([[1], [], [2]])
    with pytest.raises(ValueError, match="starts to begin at 0, got 1"):
        Ragged(np.ones(3, int), np.zeros(3, int), np.array([1, 3]))


def test_in_batch_cross_entropy_refuses_a_batch_without_negatives():
    """One pair has nothing to be told from."""
    one = np.zeros((1, 4))
    for queries in (one, one[:0]):
        with pytest.raises(ValueError, match="at least 2 and as many documents"):
            in_batch_cross_entropy(queries, queries)
    with pytest.raises(ValueError, match="temperature above 0, got 0"):
        in_batch_cross_entropy(np.zeros((2, 4)), np.zeros((2, 4)), 0)


@pytest.fixture(scope="module")
def model():
    tokenizer = tiny_tokenizer()
    config = DualEncoderConfig(tokenizer.vocab_size, width=16, layers=1, heads=2, ffn=32, positions=12, max_length=12)
    return DualEncoder.create(tokenizer, config, seed=4)


def test_dual_encoder_load_inverts_save(model, tmp_path):
    """The same weights, configuration, tokenizer and so the same vectors."""
    model.save(tmp_path / "m")
    again = DualEncoder.load(tmp_path / "m")
    assert again.fingerprint == model.fingerprint and again.config == model.config
    texts = ["the cat sat", "", "a mat"]
    np.testing.assert_array_equal(again.encode_query(texts), model.encode_query(texts))
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


def test_dual_encoder_encode_keeps_order_and_shape(model):
    """Row i is text i; no text is (0, dim) float32; both towers start equal."""
    texts = ["the cat sat on the mat", "", "cat", "the dog", "cat sat"] * 30
    vectors = model.encode_query(texts)
    for i in (0, 1, 149):
        np.testing.assert_allclose(vectors[i], model.encode_query([texts[i]])[0], atol=1e-5)
    with pytest.raises(TypeError, match="list of texts, got a str"):
        model.encode_query("the cat")
    empty = model.encode_document([])
    assert empty.shape == (0, model.dim) and empty.dtype == np.float32
    np.testing.assert_array_equal(model.encode_document(texts), vectors)


def test_dual_encoder_load_refuses_damage(model, tmp_path):
    """A truncated, altered or foreign file raises one CheckpointError that names it."""
    model.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    for cut in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=str(weights)):
            DualEncoder.load(tmp_path)
    weights.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with pytest.raises(CheckpointError, match="altered"):
        DualEncoder.load(tmp_path)
    for tensors, facts in (
        ({"a": np.zeros(2)}, {}),
        ({"a": np.zeros(2)}, {"config": model._config_json(), "tokenizer": model.tokenizer.to_json()}),
        (dict(model.parameters), {"config": '{"model": "bert"}', "tokenizer": model.tokenizer.to_json()}),
        (dict(model.parameters), {"config": model._config_json(), "tokenizer": "{}"}),
    ):
        checkpoint.save_file(weights, tensors, facts)
        with pytest.raises(CheckpointError, match="not a dual encoder that `save` wrote"):
            DualEncoder.load(tmp_path)


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_dual_encoder_save_killed_at_any_rename_leaves_old_or_new(model, tmp_path, monkeypatch, renames):
    """Stopped before each change of a name: the model that loads is the old one or the new one, whole."""
    new = DualEncoder.create(model.tokenizer, model.config, seed=9)
    model.save(tmp_path)
    replace, left = os.replace, iter(range(renames))

    def stop(*names):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr(os, "replace", stop)
    try:
        new.save(tmp_path)
    except KeyboardInterrupt:
        assert renames < 3
    assert DualEncoder.load(tmp_path).fingerprint == (new if renames else model).fingerprint
    assert len(list(tmp_path.iterdir())) == 3  # no litter


def test_dual_encoder_create_refuses_a_small_vocabulary(model):
    """Ids that the table would not hold are refused at once."""
    small = dataclasses.replace(model.config, vocab_size=3)
    with pytest.raises(ValueError, match="vocab_size of at least"):
        DualEncoder.create(model.tokenizer, small)
