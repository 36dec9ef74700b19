"""The training loop: batch, forward, loss, backward, step; progress, evaluation, checkpoints and exact resume.

All randomness is a function of the seed and the step's number: the order of an epoch of (seed, epoch), the dropout of
a step of (seed, step). A checkpoint therefore holds no generator's state, and training that was interrupted goes on
to the same bits as training that was not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minibert import checkpoint
from minibert.checkpoint import CheckpointError
from minibert.data import batches, batches_by_tokens, batches_per_epoch
from minibert.optim import Adam, clip_by_norm, warmup_inverse_sqrt, warmup_linear

CHECKPOINT = "checkpoint.safetensors"


def train_dual_encoder(
    model,
    pairs: list[tuple[str, str]],
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    warmup: int = 100,
    clip: float = 1.0,
    seed: int = 0,
    folder=None,
    resume: bool = False,
    evaluate: Callable[[], dict[str, float]] | None = None,
    evaluate_every: int | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train both towers, in place, on matching pairs with in-batch negatives and Adam. Long texts are cut.

    Returns  the history: one record an epoch, and one every `evaluate_every` steps, each with step, epoch, the mean
             loss since the record before, the learning rate, and what `evaluate()` gave
    Units    warmup, evaluate_every, checkpoint_every: steps; learning_rate: the peak, see `warmup_linear`;
             clip: largest norm of the whole gradient; folder: where checkpoints go; resume: go on from the one there
    Raises   ValueError: fewer than 2 pairs, a batch of one, or a number of steps below 1; CheckpointError: resume with
             other settings or pairs; FloatingPointError: a loss or gradient that is not finite, with step and pairs
    """
    if len(pairs) < 2 or batch_size < 2 or epochs < 1:
        raise ValueError(
            f"expected at least 2 pairs, a batch size of 2 and 1 epoch, got {len(pairs)}, {batch_size} and {epochs}"
        )
    for name, steps in (("evaluate_every", evaluate_every), ("checkpoint_every", checkpoint_every)):
        if steps is not None and steps < 1:
            raise ValueError(f"expected {name} of at least 1 step, got {steps}")
    if warmup < 0:
        raise ValueError(f"expected warmup of 0 steps or more, got {warmup}")
    questions, answers = (model.tokenize(list(texts), "silent") for texts in zip(*pairs, strict=True))
    per_epoch = batches_per_epoch(len(pairs), batch_size)
    total = epochs * per_epoch
    settings = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "warmup": warmup, "clip": clip,
        "seed": seed, "config": str(model.config), "pairs": _digest(questions, answers),
    }  # fmt: skip
    run = _Run(model, Adam(model.parameters.flat), settings, None if folder is None else Path(folder) / CHECKPOINT)
    if resume:
        run.load()

    return _loop(
        run,
        (batches(len(pairs), batch_size, seed, epoch) for epoch in range(epochs)),
        lambda indices, rng: model.loss_and_gradients(questions.take(indices), answers.take(indices), rng),
        lambda step: learning_rate * warmup_linear(step, warmup, total),
        total=total, per_epoch=per_epoch, clip=clip, evaluate=evaluate, evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every, progress=progress,
    )  # fmt: skip


def train_translator(
    model,
    pairs: list[tuple[str, str]],
    *,
    epochs: int,
    tokens_per_batch: int = 4096,
    learning_rate: float | None = None,
    warmup: int = 4000,
    smoothing: float = 0.1,
    clip: float = np.inf,
    seed: int = 0,
    folder=None,
    resume: bool = False,
    evaluate: Callable[[], dict[str, float]] | None = None,
    evaluate_every: int | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train an encoder–decoder, in place, on pairs of a text and its translation, as in Vaswani 2017, section 5.

    Batches by tokens, Adam with β₂ = 0.98 and ε = 1e-9, the inverse square root schedule, smoothed labels. Long texts
    are cut.

    Returns  the history, as train_dual_encoder
    Units    tokens_per_batch: of each side; learning_rate: the peak, by default the paper's (D · warmup)^−½;
             smoothing: ε; the rest as train_dual_encoder
    Raises   ValueError: no pairs, or a number of tokens, epochs or steps below 1; the rest as train_dual_encoder
    """
    numbers = {
        "pairs": len(pairs), "tokens_per_batch": tokens_per_batch, "epochs": epochs, "warmup": warmup,
        "evaluate_every": evaluate_every, "checkpoint_every": checkpoint_every,
    }  # fmt: skip
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"expected {name} of at least 1, got {value}")
    learning_rate = (model.config.width * warmup) ** -0.5 if learning_rate is None else learning_rate
    sources, targets = (model.tokenize(list(texts), "silent") for texts in zip(*pairs, strict=True))
    lengths = np.stack((sources.lengths, targets.lengths), axis=1)
    per_epoch = len(batches_by_tokens(lengths, tokens_per_batch, seed, 0))
    settings = {
        "epochs": epochs, "tokens_per_batch": tokens_per_batch, "learning_rate": learning_rate, "warmup": warmup,
        "smoothing": smoothing, "clip": clip, "seed": seed, "config": str(model.config),
        "pairs": _digest(sources, targets),
    }  # fmt: skip
    adam = Adam(model.parameters.flat, beta2=0.98, eps=1e-9)
    run = _Run(model, adam, settings, None if folder is None else Path(folder) / CHECKPOINT)
    if resume:
        run.load()
    return _loop(
        run,
        (batches_by_tokens(lengths, tokens_per_batch, seed, epoch) for epoch in range(epochs)),
        lambda indices, rng: model.loss_and_gradients(sources.take(indices), targets.take(indices), smoothing, rng),
        lambda step: learning_rate * warmup_inverse_sqrt(step, warmup),
        total=epochs * per_epoch, per_epoch=per_epoch, clip=clip, evaluate=evaluate, evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every, progress=progress,
    )  # fmt: skip


def _loop(
    run: _Run,
    epochs: Iterable[Iterable[np.ndarray]],
    loss_and_gradients: Callable,
    rate_at: Callable[[int], float],
    *,
    total: int,
    per_epoch: int,
    clip: float,
    evaluate: Callable[[], dict[str, float]] | None,
    evaluate_every: int | None,
    checkpoint_every: int | None,
    progress: bool,
) -> list[dict[str, float]]:
    """Every step that the run has not yet taken; the history."""
    order = islice(chain.from_iterable(epochs), run.step, None)
    for indices in tqdm(order, "train", total, initial=run.step, unit="step", disable=not progress):
        rng = np.random.default_rng([run.settings["seed"], run.step, 1])
        rate = rate_at(run.step)
        try:
            loss, gradients = loss_and_gradients(indices, rng)
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss}")
            clip_by_norm(gradients.flat, clip)
        except FloatingPointError as error:
            raise FloatingPointError(f"step {run.step}, pairs {indices.tolist()}: {error}") from error
        run.adam.step(run.model.parameters.flat, gradients.flat, rate)
        run.losses.append(loss)

        epoch_ends = run.step % per_epoch == 0
        evaluates = evaluate is not None and run.step % (evaluate_every or per_epoch) == 0
        if epoch_ends or evaluates:
            run.record(epoch=run.step / per_epoch, learning_rate=rate, **(evaluate() if evaluates else {}))
        if run.path and (run.step == total or (checkpoint_every and run.step % checkpoint_every == 0)):
            run.save()
    return run.history


class _Run:
    """What a checkpoint holds: weights, Adam's moments, the loss of every step, the history."""

    def __init__(self, model, adam: Adam, settings: dict, path: Path | None):
        self.model, self.adam, self.settings, self.path = model, adam, settings, path
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []

    @property
    def step(self) -> int:
        """Steps taken."""
        return len(self.losses)

    def record(self, **facts: float) -> None:
        """Add a record with the mean loss since the last one."""
        since = int(self.history[-1]["step"]) if self.history else 0
        self.history.append({"step": self.step, "loss": float(np.mean(self.losses[since:])), **facts})

    def save(self) -> None:
        """Write the checkpoint, all in one file."""
        state = {"adam.m": self.adam.m, "adam.v": self.adam.v, "losses": np.array(self.losses)}
        metadata = {"settings": json.dumps(self.settings), "history": json.dumps(self.history)}
        checkpoint.save_file(self.path, dict(self.model.parameters) | state, metadata)

    def load(self) -> None:
        """Go on from the checkpoint; CheckpointError where it was written with other settings."""
        if self.path is None:
            raise ValueError("expected a folder to resume from, got none")
        tensors, metadata = checkpoint.load_file(self.path)
        try:
            saved, self.history = json.loads(metadata["settings"]), json.loads(metadata["history"])
            moments = tensors.pop("adam.m"), tensors.pop("adam.v")
            self.losses = tensors.pop("losses").tolist()
        except KeyError as error:
            raise CheckpointError(f"{self.path}: not a training checkpoint: no {error}") from error
        other = [
            f"{key} {saved.get(key)!r}, now {value!r}"
            for key, value in self.settings.items()
            if saved.get(key) != value
        ]
        if other:
            raise CheckpointError(f"{self.path}: was written with other settings: {'; '.join(other)}")
        self.model.parameters.load(tensors)
        self.adam.m[...], self.adam.v[...] = moments
        self.adam.t = self.step


def _digest(*sides) -> str:
    digest = hashlib.sha256()
    for side in sides:
        digest.update(side.starts.tobytes() + side.ids.tobytes())
    return digest.hexdigest()
