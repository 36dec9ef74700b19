"""The loop for any task, on linear regression: micro-batches, AdamW, schedules, early stopping, records, kill -9."""

import json
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import run_python
from minibert import data, optim
from minibert.checkpoint import CheckpointError
from minibert.parameters import Parameters
from minibert.train import CHECKPOINT, METRICS, digest, train

SHAPES = {"dense.weight": (1, 3), "LayerNorm.weight": (1,), "dense.bias": (1,)}
ROWS = 20


def regression(seed=0):
    """Parameters, and (loss, gradients) of the mean squared error of g · (w x + b) over some rows, with noise drawn."""
    rng = np.random.default_rng(seed)
    p = Parameters(SHAPES, dtype=np.float64)
    p.flat[...] = rng.standard_normal(p.flat.size)
    x, y = rng.standard_normal((ROWS, 3)), rng.standard_normal(ROWS)

    def loss_and_gradients(rows, rng):
        inner = x[rows] @ p["dense.weight"][0] + p["dense.bias"]
        error = p["LayerNorm.weight"] * inner - y[rows]
        d = p.zeros_like()
        dinner = 2 * error * p["LayerNorm.weight"] / len(rows)
        d["dense.weight"][0] = dinner @ x[rows]
        d["dense.bias"][...] = dinner.sum()
        d["LayerNorm.weight"][...] = 2 * error @ inner / len(rows)
        return np.mean(error**2), d

    return p, loss_and_gradients, x, y


def run(p, loss_and_gradients, **changes):
    options = dict(epochs=4, learning_rate=0.05, warmup=2, seed=3, settings={}, progress=False)
    return train(p, loss_and_gradients, lambda epoch: data.batches(ROWS, 7, 3, epoch, 1), **options | changes)


@given(st.integers(1, 7))
def test_micro_batches_equal_the_whole_batch(size):
    """For a mean over rows: the same losses and weights, up to rounding, also where the last part is smaller."""
    whole, parts = regression(), regression()
    expected = run(*whole[:2])
    history = run(*parts[:2], micro_batch=size)
    np.testing.assert_allclose(parts[0].flat, whole[0].flat, rtol=1e-10)
    np.testing.assert_allclose([r["loss"] for r in history], [r["loss"] for r in expected], rtol=1e-12)


def test_micro_batches_draw_apart():
    """Each micro-batch has its own generator, the same in every run; the first is that of the whole batch."""
    p, loss_and_gradients, *_ = regression()
    drawn = []

    def drawing(rows, rng):
        drawn.append(rng.random())
        return loss_and_gradients(rows, rng)

    for size in (None, 4, 4):
        run(p, drawing, epochs=1, micro_batch=size)
    whole, first, again = drawn[:3], drawn[3:9], drawn[9:]
    assert first == again and len(set(first)) == 6
    assert first[::2] == whole


def test_adamw_shrinks_matrices_alone():
    """One step: θ (1 − α λ) − α sign(g) for the matrix; no shrinking of a bias or a norm's gain; λ = 0 is Adam."""
    p, g = Parameters(SHAPES, dtype=np.float64), np.array([1.0, -1, 2, 1, -3])
    p.flat[...] = [1, 2, 3, 4, 5]
    optim.AdamW(p, 0.5).step(p.flat, g, 0.1)
    np.testing.assert_allclose(p.flat, [0.95 - 0.1, 1.9 + 0.1, 2.85 - 0.1, 4 - 0.1, 5 + 0.1], rtol=1e-6)
    plain, same = p.astype(np.float32), p.astype(np.float32)
    optim.Adam(plain.flat).step(plain.flat, g.astype(np.float32), 0.1)
    optim.AdamW(same, 0.0).step(same.flat, g.astype(np.float32), 0.1)
    assert (plain.flat == same.flat).all()
    with pytest.raises(ValueError, match="weight decay of 0 or more, got -1"):
        optim.AdamW(p, -1)


def test_what_decays_goes_by_name():
    """The names of BERT, of T5 and of heads."""
    kept = ["a.LayerNorm.weight", "encoder.norm.weight", "a.dense.bias", "encoder.relative_attention_bias.weight"]
    assert not any(map(optim.decays, kept))
    assert all(map(optim.decays, ["embeddings.word_embeddings.weight", "a.dense.weight", "classifier.weight"]))


def test_schedules_have_the_published_corners():
    """Cosine: up, half-way down in the middle, 0 at the end; constant: up and level; all start at 1 / warmup."""
    cosine = [optim.warmup_cosine(step, 4, 12) for step in (0, 3, 4, 6, 8, 12, 13)]
    np.testing.assert_allclose(cosine, [0.25, 1, 1, 0.5 + 0.5**1.5, 0.5, 0, 0], atol=1e-15)
    assert [optim.warmup_constant(step, 2, 9) for step in (0, 1, 8)] == [0.5, 1, 1]
    for name, share in optim.SCHEDULES.items():
        assert share(0, 5, 20) == pytest.approx(0.2), name
        assert share(0, 0, 20) == 1, name


def stopping(folder, kill=None, **changes):
    """Training whose evaluation is 1, 3, 2, 2, 2, … : the second is best. `kill`: at which evaluation to break off."""
    p, loss_and_gradients, *_ = regression()
    seen = []

    def evaluate():
        calls = len((folder / METRICS).read_text().splitlines())
        if calls == kill:
            raise KeyboardInterrupt
        seen.append(p.flat.copy())
        return {"f1": [1, 3, 2][min(calls, 2)]}

    options = dict(folder=folder, evaluate=evaluate, evaluate_every=3, checkpoint_every=2, stop_on="f1", patience=2)
    return p, seen, lambda **more: run(p, loss_and_gradients, epochs=20, **options | changes | more)


def test_training_stops_early_and_keeps_the_best_weights(tmp_path):
    """Two evaluations without a better one end it; broken off and resumed it ends with the same weights and records."""
    p, seen, go = stopping(tmp_path / "whole")
    history = go()
    assert [r["f1"] for r in history] == [1, 3, 2, 2] and history[-1]["step"] == 12
    assert (p.flat == seen[1]).all()
    for kill in (1, 2, 3):
        _, _, broken = stopping(tmp_path / f"{kill}", kill)
        with pytest.raises(KeyboardInterrupt):
            broken()
        again, _, go_on = stopping(tmp_path / f"{kill}")
        assert go_on(resume=True) == history
        assert (again.flat == p.flat).all()
        assert go_on(resume=True) == history  # a finished run stays finished
    with pytest.raises(CheckpointError, match="patience 2, now 3"):
        stopping(tmp_path / "whole")[2](resume=True, patience=3)
    with pytest.raises(CheckpointError, match="evaluate_every 3, now 4"):
        stopping(tmp_path / "whole")[2](resume=True, evaluate_every=4)


@pytest.mark.parametrize(("every", "steps"), [(5, [5, 10, 12]), (100, [12])])
def test_the_last_step_is_evaluated(every, steps):
    """Else the weights that training ends with would never compete for the best."""
    p, loss_and_gradients, *_ = regression()
    scores = iter(range(9))
    history = run(
        p, loss_and_gradients, evaluate=lambda: {"f1": next(scores)}, evaluate_every=every, stop_on="f1", patience=9
    )
    assert [record["step"] for record in history if "f1" in record] == steps


def test_numpy_numbers_and_tuples_are_kept_and_found_again(tmp_path):
    """As settings; a training is not lost at its end because a checkpoint cannot hold them."""
    options = dict(folder=tmp_path, learning_rate=np.float32(0.05), seed=np.int64(3), settings={"dims": (1, 2)})
    whole, again = regression(), regression()
    history = run(*whole[:2], **options)
    assert run(*again[:2], **options, resume=True) == history
    assert (again[0].flat == whole[0].flat).all()


def test_records_are_json_lines_that_resuming_continues(tmp_path):
    """metrics.jsonl is the history; what was recorded past the checkpoint, or half a line, is taken back."""
    p, loss_and_gradients, *_ = regression()
    history = run(p, loss_and_gradients, folder=tmp_path, evaluate_every=2)
    path = tmp_path / METRICS
    whole = path.read_text()
    assert [json.loads(line) for line in whole.splitlines()] == history
    assert [record["step"] for record in history] == [2, 3, 4, 6, 8, 9, 10, 12]
    p, loss_and_gradients, *_ = regression()

    steps = iter(range(9))

    def broken(rows, rng):
        return loss_and_gradients(rows, rng) if next(steps) < 8 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        run(p, broken, folder=tmp_path, evaluate_every=2, checkpoint_every=3)
    with path.open("a") as file:
        file.write('{"step": 9')
    p, loss_and_gradients, *_ = regression()
    assert run(p, loss_and_gradients, folder=tmp_path, evaluate_every=2, resume=True) == history
    assert path.read_text() == whole


def test_training_killed_by_kill_9_goes_on_to_the_same_bits(tmp_path):
    """In another process, with micro-batches and early stopping; weights, history and metrics.jsonl are the same."""
    code = """
import os, signal, sys
from test_minibert_train_loop import *
p, loss_and_gradients, *_ = regression()
def deadly(rows, rng, calls=iter(range(40))):
    if next(calls) == 25: os.kill(os.getpid(), signal.SIGKILL)
    return loss_and_gradients(rows, rng)
run(p, deadly, folder=sys.argv[1], checkpoint_every=1, **KILLED(p))
"""
    done = run_python(code, tmp_path / "killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    p, loss_and_gradients, *_ = regression()
    history = run(p, loss_and_gradients, folder=tmp_path / "killed", resume=True, **KILLED(p))
    q, loss_and_gradients, *_ = regression()
    assert run(q, loss_and_gradients, folder=tmp_path / "whole", **KILLED(q)) == history
    assert (p.flat == q.flat).all()
    assert (tmp_path / "killed" / METRICS).read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()


def KILLED(p):
    evaluate = {"evaluate": lambda: {"norm": p.flat @ p.flat}, "evaluate_every": 2, "stop_on": "norm"}
    return evaluate | {"micro_batch": 3, "weight_decay": 0.1, "schedule": "cosine", "patience": 50}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_names_the_guilty_rows(bad):
    """Step, rows of the batch, and those of them whose loss or gradient is not finite by itself."""
    p, loss_and_gradients, x, y = regression()
    guilty = list(data.batches(ROWS, 7, 3, 0, 1))[1][[2, 5]]
    x[guilty[0], 1] = y[guilty[1]] = bad
    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError) as error:
        run(p, loss_and_gradients)
    assert str(error.value).startswith("step 1: the loss is ")
    assert f"not finite by themselves: {guilty.tolist()}" in str(error.value)


def test_training_finds_no_guilty_row_where_there_is_none():
    """A loss that overflows only in company blames the batch."""
    p, loss_and_gradients, *_ = regression()

    def crowded(rows, rng):
        loss, d = loss_and_gradients(rows, rng)
        return (loss if len(rows) < 3 else np.inf), d

    with pytest.raises(FloatingPointError, match=r"step 0: the loss is inf; rows \[.*\]; .* themselves: none"):
        run(p, crowded)


def test_train_refuses_what_cannot_be():
    """Numbers, names, and an evaluation that does not give what training is to stop on."""
    p, loss_and_gradients, *_ = regression()
    for options, message in [
        ({"learning_rate": 0.0}, "learning rate above 0, got 0.0"),
        ({"learning_rate": np.nan}, "learning rate above 0, got nan"),
        ({"schedule": "step"}, "schedule of linear, cosine, inverse_sqrt, constant, got 'step'"),
        ({"epochs": 0}, "epochs of at least 1, got 0"),
        ({"micro_batch": 0}, "micro_batch of at least 1, got 0"),
        ({"patience": 0}, "patience of at least 1, got 0"),
        ({"stop_on": "f1"}, "an evaluation that gives 'f1'"),
        ({"stop_on": "f1", "evaluate": lambda: {"f2": 1}}, "a number 'f1' to stop on"),
        ({"stop_on": "f1", "evaluate": lambda: {"f1": np.nan}}, "a number 'f1' to stop on"),
        ({"evaluate": lambda: {"loss": 1}}, "otherwise than 'loss'"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(p, loss_and_gradients, **options)


def test_train_refuses_an_epoch_without_batches():
    """One example, where each batch needs two."""
    p, loss_and_gradients, *_ = regression()
    with pytest.raises(ValueError, match="at least one batch in an epoch"):
        train(p, loss_and_gradients, lambda epoch: data.batches(1, 7, 3, epoch), epochs=1, learning_rate=1, settings={})


def test_a_run_from_the_start_removes_an_earlier_runs_checkpoint(tmp_path):
    """Killed before its own first checkpoint it cannot be taken for the earlier run."""
    p, loss_and_gradients, *_ = regression()
    run(p, loss_and_gradients, folder=tmp_path)

    def killed(rows, rng):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(p, killed, folder=tmp_path)
    with pytest.raises(FileNotFoundError, match=CHECKPOINT):
        run(p, loss_and_gradients, folder=tmp_path, resume=True)


def test_resume_refuses_other_data_and_settings_by_name(tmp_path):
    """Of the task and of the loop; a checkpoint of nothing is no checkpoint."""
    p, loss_and_gradients, x, y = regression()
    run(p, loss_and_gradients, folder=tmp_path, settings={"data": digest(x, y)})
    with pytest.raises(CheckpointError, match="data '.*', now '.*'; schedule 'linear', now 'cosine'"):
        settings = {"data": digest(x + 1, y)}
        run(p, loss_and_gradients, folder=tmp_path, settings=settings, schedule="cosine", resume=True)
    (tmp_path / CHECKPOINT).unlink()
    with pytest.raises(FileNotFoundError, match=CHECKPOINT):
        run(p, loss_and_gradients, folder=tmp_path, resume=True)
