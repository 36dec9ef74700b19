"""Optimizer, batches, the loop and its checkpoints."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import run_python, tiny_tokenizer
from minibert import checkpoint, data, optim
from minibert.checkpoint import CheckpointError
from minibert.models.dual_encoder import DualEncoder, DualEncoderConfig
from minibert.train import CHECKPOINT, train_dual_encoder
from oracles import transformer as oracle

WORDS = "cat dog mat log sat on the and a".split()
PAIRS = [(f"the {a} and {b}", f"{b} on a {a}") for a in WORDS for b in WORDS[:3]]


def new_model():
    tokenizer = tiny_tokenizer()
    sizes = dict(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, ffn=16, dim=8)
    return DualEncoder.create(tokenizer, DualEncoderConfig(**sizes, normalize=True, temperature=0.1))


def run(model, **changes):
    settings = dict(epochs=3, batch_size=8, learning_rate=3e-3, warmup=3, seed=5, progress=False)
    return train_dual_encoder(model, PAIRS, **settings | changes)


@pytest.mark.kernels
@given(st.integers(1, 20), st.integers(1, 8), st.sampled_from([1e-3, 0.1]), st.integers(0, 2**32 - 1))
def test_adam_equals_algorithm_1(size, steps, rate, seed):
    """Any number of steps, and the plain form equals the compiled one."""
    rng = np.random.default_rng(seed)
    theta, gradients = rng.standard_normal(size), rng.standard_normal((steps, size))
    expected = oracle.adam(theta, gradients, rate)
    adam = optim.Adam(theta)
    for gradient in gradients:
        plain = [theta.copy(), gradient, adam.m.copy(), adam.v.copy()]
        adam.step(theta, gradient, rate)
        t = adam.t
        optim.adam_update(*plain, rate / (1 - 0.9**t), (1 - 0.999**t) ** -0.5, 1 - 0.9, 1 - 0.999, 1e-8)
        np.testing.assert_allclose(plain[0], theta, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(theta, expected, rtol=1e-11, atol=1e-13)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=9), st.floats(0.01, 1000))
def test_clip_by_norm_bounds_the_norm_and_keeps_the_direction(values, limit):
    """Long gradients are cut to the limit; short ones stay as they are."""
    gradient = np.array(values)
    before = gradient.copy()
    norm = optim.clip_by_norm(gradient, limit)
    assert norm == pytest.approx(np.sqrt(sum(x * x for x in values)), rel=1e-12)
    share = 1 if norm <= limit else limit / norm
    np.testing.assert_allclose(gradient, share * before, rtol=1e-12)


def test_warmup_linear_rises_then_falls():
    """The published corner points."""
    shares = [optim.warmup_linear(step, 4, 10) for step in range(11)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])


def test_optim_refuses_what_cannot_be_right():
    """Learning rate, clipping limit and gradient are checked."""
    theta = np.ones(2)
    with pytest.raises(ValueError, match="learning rate of 0 or more, got -1"):
        optim.Adam(theta).step(theta, theta, -1)
    with pytest.raises(ValueError, match="above 0, got 0"):
        optim.clip_by_norm(theta, 0)
    with pytest.raises(FloatingPointError, match="norm is nan"):
        optim.clip_by_norm(np.array([np.nan]), 1)


@given(st.integers(2, 50), st.integers(2, 20), st.integers(0, 5))
def test_batches_are_a_shuffled_partition(count, batch_size, epoch):
    """Every example once an epoch, but for a last batch of one; the same order for the same seed and epoch."""
    drawn = list(data.batches(count, batch_size, 7, epoch))
    everything = np.sort(np.concatenate(drawn))
    assert len(everything) >= count - (count % batch_size == 1) and (np.diff(everything) > 0).all()
    assert min(len(batch) for batch in drawn) > 1
    again = np.concatenate(list(data.batches(count, batch_size, 7, epoch)))
    assert (again == np.concatenate(drawn)).all()


def test_train_learns_and_repeats():
    """The loss falls; the same seed gives the same bits, another seed others."""
    first, second, third = new_model(), new_model(), new_model()
    history = run(first, epochs=20)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    run(second, epochs=20)
    run(third, epochs=20, seed=6)
    assert (first.parameters.flat == second.parameters.flat).all()
    assert (first.parameters.flat != third.parameters.flat).any()


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_train_resumed_equals_uninterrupted(tmp_path, stop):
    """Killed after a checkpoint anywhere in an epoch, with dropout on: the same weights and history, bit for bit."""
    whole = new_model()
    history = run(whole, evaluate=lambda: {"norm": float(np.linalg.norm(whole.parameters.flat))}, evaluate_every=3)
    killed = new_model()
    ticks = iter(range(10**6))

    def tick(_):
        if next(ticks) == stop:
            raise KeyboardInterrupt

    loss_and_gradients = killed.loss_and_gradients
    killed.loss_and_gradients = lambda *batch, **how: (tick(batch), loss_and_gradients(*batch, **how))[1]

    def evaluation(model):
        return lambda: {"norm": float(np.linalg.norm(model.parameters.flat))}

    with pytest.raises(KeyboardInterrupt):
        run(killed, folder=tmp_path, checkpoint_every=1, evaluate=evaluation(killed), evaluate_every=3)
    resumed = new_model()
    again = run(resumed, folder=tmp_path, resume=True, evaluate=evaluation(resumed), evaluate_every=3)
    assert (resumed.parameters.flat == whole.parameters.flat).all()
    assert again == history


def test_train_resume_refuses_other_settings_and_damage(tmp_path):
    """Another learning rate is named; a truncated checkpoint is named; a finished run stays finished."""
    model = new_model()
    history = run(model, folder=tmp_path)
    with pytest.raises(CheckpointError, match="learning_rate 0.003, now 0.1"):
        run(new_model(), folder=tmp_path, resume=True, learning_rate=0.1)
    again = new_model()
    assert run(again, folder=tmp_path, resume=True) == history
    assert (again.parameters.flat == model.parameters.flat).all()
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=str(path)):
        run(new_model(), folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="folder to resume from"):
        run(new_model(), resume=True)


def test_train_stops_at_a_loss_that_is_not_finite():
    """The error names the step and its pairs."""
    model = new_model()
    model.parameters["query.projection.bias"][0] = np.inf
    message = r"step 0: the loss is nan; rows \[.*\]; the weights query.projection.bias are not finite"
    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError, match=message):
        run(model)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        train_dual_encoder(new_model(), PAIRS[:1], epochs=1)
    for setting in ({"warmup": -1}, {"checkpoint_every": 0}, {"evaluate_every": -2}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            run(new_model(), **setting)


def test_checkpoint_load_inverts_save_and_finds_every_flip(tmp_path):
    """Tensors and metadata come back; with a bit flipped anywhere, an error or the same content."""
    path = tmp_path / "t.safetensors"
    tensors = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2], np.int32)}
    checkpoint.save_file(path, tensors, {"note": "é"})
    loaded, metadata = checkpoint.load_file(path)
    assert metadata == {"note": "é"}
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            changed, metadata = checkpoint.load_file(path)
        except CheckpointError as error:
            assert str(path) in str(error)
        else:  # the name of the metadata itself: without it the file looks like another program's
            assert metadata == {} and all((changed[name] == tensors[name]).all() for name in tensors)


def test_checkpoint_full_disk_keeps_the_old_files(tmp_path):
    """Where the second of two files does not fit, the error says so, both old files stay, and no litter is left."""
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from minibert import checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: checkpoint.save_folder(sys.argv[1], {'a': b'new', 'b': b'x' * 5000})\n"
        "except OSError as error: print(error)\n"
    )
    (tmp_path / "a").write_bytes(b"old a")
    (tmp_path / "b").write_bytes(b"old b")
    done = run_python(code, tmp_path)
    assert "cannot be saved: File too large" in done.stdout, done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old a", "b": b"old b"}


def test_read_pairs_reads_both_formats_and_names_the_line(tmp_path):
    """Two formats, and errors with file and line."""
    tsv, jsonl = tmp_path / "p.tsv", tmp_path / "p.jsonl"
    tsv.write_bytes("\ufeffwhat?\tthis\r\n\nwho?\tme".encode())
    rows = [("what?", "this"), ("who?", "me")]
    jsonl.write_text("\n".join(json.dumps({"question": q, "answer": a}) for q, a in rows))
    assert data.read_pairs(tsv) == data.read_pairs(jsonl) == rows
    for path, content, message in [
        (tsv, "a\tb\nonly one", "line 2: expected 2 fields separated by a tab, got 1"),
        (tsv, "a\t ", "line 1: expected a question and an answer, got an empty one"),
        (tsv, "\n\n", "at least one pair, got an empty file"),
        (jsonl, '{"question": "a", "answer": 3}', 'line 1: expected an object with the strings "question"'),
        (jsonl, "{", "line 1: expected JSON"),
        (tmp_path / "p.csv", "", "ending in .tsv or .jsonl, got .csv"),
    ]:
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            data.read_pairs(path)
    tsv.write_bytes(b"abc\xff\tb")
    with pytest.raises(ValueError, match=r"p\.tsv: expected UTF-8, got byte 0xff at 3"):
        data.read_pairs(tsv)
