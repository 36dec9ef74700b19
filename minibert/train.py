"""The training loop: batch, forward, loss, backward, step; progress, evaluation, checkpoints and exact resume.

`train` is the loop of every task. A task gives it parameters, batches of row numbers, and a function from some rows to
their loss and gradients; the functions below and those beside the models are such tasks:

    def train_scorer(model, examples, labels, *, epochs, batch_size=32, learning_rate=1e-3, seed=0, **options):
        texts = model.tokenize(examples, "silent")
        return train(
            model.parameters,
            lambda rows, rng: model.loss_and_gradients(texts.take(rows), labels[rows], rng),
            lambda epoch: batches(len(texts), batch_size, seed, epoch, smallest=1),
            epochs=epochs, learning_rate=learning_rate, seed=seed,
            settings={"batch_size": batch_size, "config": str(model.config), "data": digest(texts, labels)},
            **options,
        )

All randomness is a function of the seed and the step's number: the order of an epoch of (seed, epoch), the dropout of
a step of (seed, step). A checkpoint therefore holds no generator's state, and training that was interrupted goes on
to the same bits as training that was not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from minibert.data import batches, batches_by_tokens
from minibert.optim import SCHEDULES, AdamW, clip_by_norm
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.training_run import CHECKPOINT as CHECKPOINT
from minibert.training_run import METRICS as METRICS
from minibert.training_run import TrainingRun

if TYPE_CHECKING:
    from minibert.models.dual_encoder import DualEncoder
    from minibert.models.translator import Translator

LossAndGradients = Callable[[np.ndarray, np.random.Generator], tuple[float, Parameters]]


def train(
    parameters: Parameters,
    loss_and_gradients: LossAndGradients,
    batches: Callable[[int], Iterable[np.ndarray]],
    *,
    epochs: int,
    learning_rate: float,
    settings: dict,
    schedule: str = "linear",
    warmup: int = 100,
    weight_decay: float = 0.0,
    beta2: float = 0.999,
    eps: float = 1e-8,
    clip: float = 1.0,
    micro_batch: int | None = None,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    evaluate: Callable[[], dict[str, float]] | None = None,
    evaluate_every: int | None = None,
    stop_on: str | None = None,
    patience: int = 3,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train `parameters`, in place, with AdamW.

    loss_and_gradients(rows, rng) is asked for the mean loss over some rows of a batch; rng draws its dropout.
    batches(epoch) gives an epoch's arrays of row numbers, as many in every epoch, and always the same for one epoch.

    micro_batch: a step passes at most so many rows through the network at once and adds up their gradients, each share
    by its rows. That equals the whole batch wherever the loss is a mean over rows. It does not where rows meet in the
    loss, as in-batch negatives do: they then meet within a micro-batch only; nor quite where the loss is a mean over
    tokens, of which micro-batches have unlike numbers.

    stop_on: a number of the records. Training ends when `patience` evaluations in a row have not bettered it, and in
    any case leaves the weights that were best. Losses and perplexities are better lower, all else higher.

    folder: where the checkpoint goes, every `checkpoint_every` steps and at the end, and the records as metrics.jsonl;
    those of an earlier training are removed at the start, unless
    resume: go on from that checkpoint, to the same weights and records as without the interruption.

    Returns  the history: one record an epoch, and one every `evaluate_every` steps, each with step, epoch, the mean
             loss since the record before, the learning rate, and what `evaluate()` gave
    Units    learning_rate: the peak, > 0; schedule: one of `optim.SCHEDULES`; warmup, evaluate_every, checkpoint_every:
             steps; evaluate_every: by default an epoch, and at the end in any case; weight_decay: see `optim.AdamW`;
             clip: largest norm of the whole gradient; settings: what else, beside the numbers above, must be the same
             for resuming to make sense, as JSON can hold it
    Raises   ValueError: a number that cannot be; CheckpointError: resume with other settings, which it names, or data;
             FloatingPointError: a loss or gradient that is not finite, with the step, its rows, and the guilty ones
    """
    _check_options(epochs, learning_rate, schedule, warmup, micro_batch, evaluate_every, checkpoint_every, patience)
    if stop_on is not None and evaluate is None and stop_on != "loss":
        raise ValueError(f"expected an evaluation that gives {stop_on!r} to stop on, got none")
    per_epoch = sum(1 for _ in batches(0))
    if not per_epoch:
        raise ValueError("expected at least one batch in an epoch, got none")
    total = epochs * per_epoch
    settings = settings | {
        "epochs": epochs, "learning_rate": learning_rate, "schedule": schedule, "warmup": warmup,
        "weight_decay": weight_decay, "beta2": beta2, "eps": eps, "clip": clip, "micro_batch": micro_batch,
        "seed": seed, "stop_on": stop_on, "patience": patience, "evaluate_every": evaluate_every,
    }  # fmt: skip
    adam = AdamW(parameters, weight_decay, beta2=beta2, eps=eps)
    run = TrainingRun(parameters, adam, settings, folder)
    if resume:
        run.load()
    run.start()

    order = islice(chain.from_iterable(map(batches, range(epochs))), run.step, None)
    bar = tqdm(order, "train", total, initial=run.step, unit="step", disable=not progress)
    for rows in bar:
        if run.stalled:
            break
        rate = float(learning_rate * SCHEDULES[schedule](run.step, warmup, total))
        loss, gradients = _finite_gradients(run, loss_and_gradients, rows, micro_batch, clip)
        adam.step(parameters.flat, gradients.flat, rate)
        run.losses.append(loss)
        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)

        epoch_ends = run.step % per_epoch == 0
        evaluates = run.step % (evaluate_every or per_epoch) == 0 or run.step == total
        if epoch_ends or evaluates:
            results = evaluate() if evaluate and evaluates else {}
            run.record({"epoch": run.step / per_epoch, "learning_rate": rate}, results)
        last = run.step == total or run.stalled
        if run.path and (last or (checkpoint_every and run.step % checkpoint_every == 0)):
            run.save()
    run.restore_best()
    return run.history


def train_dual_encoder(
    model: DualEncoder,
    examples: Sequence[tuple[str, ...]],
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    ids: Sequence[Sequence[Hashable]] | str | None = None,
    symmetric: bool = False,
    margin: float | None = None,
    grad_cache: int | None = None,
    seed: int = 0,
    **options: Any,
) -> list[dict[str, float]]:
    """Train both towers, in place, on matching pairs with in-batch negatives. Long texts are cut.

    An example is a question, its document, and perhaps hard negatives: documents that do not answer it, any number.
    All documents of a batch are candidates of all its questions.

    ids: for each example an id of each of its documents. A question leaves out the other documents of its document's
    id: they answer it too. "text" stands for the documents' own texts: what stands twice in a batch is then no negative
    of its own question. symmetric: documents look for their questions as well. margin: of the margin contrastive loss,
    which takes the place of cross entropy; documents of one id are then all matches. grad_cache: texts that pass
    through a tower at once, while the loss is over the whole batch, see `gradcache`.

    Returns  the history, see `train`, whose `options` are taken too
    Raises   ValueError: fewer than 2 examples, a batch or micro-batch of one, an example of less than two texts, or ids
             that do not fit; the rest as `train`
    """
    check_rows_meet(len(examples), batch_size, options.get("micro_batch"))
    short = [number for number, example in enumerate(examples) if len(example) < 2]
    if short:
        raise ValueError(f"expected a question and a document, got {examples[short[0]]!r} in example {short[0]}")
    questions = model.tokenize([example[0] for example in examples], "silent")
    texts, own = numbered(example[1:] for example in examples)
    documents = model.tokenize(texts, "silent")
    keys = own if ids == "text" or ids is None else numbered(ids)[1]
    if [len(row) for row in keys] != [len(row) for row in own]:
        raise ValueError("expected an id for each document of each example, got another number of them")

    def loss_and_gradients(rows, rng):
        marks = None if ids is None else _candidates(keys, rows)
        batch = questions.take(rows), documents.take(_candidates(own, rows))
        return model.loss_and_gradients(*batch, rng, ids=marks, symmetric=symmetric, margin=margin, part=grad_cache)

    tables = (np.fromiter(chain.from_iterable(table), np.int64) for table in (own, keys))
    settings = {
        "batch_size": batch_size, "symmetric": symmetric, "margin": margin, "grad_cache": grad_cache,
        "ids": ids is not None, "config": str(model.config), "pairs": digest(questions, documents, *tables),
    }  # fmt: skip
    return train(
        model.parameters,
        loss_and_gradients,
        lambda epoch: batches(len(examples), batch_size, seed, epoch),
        epochs=epochs, learning_rate=learning_rate, seed=seed, settings=settings, **options,
    )  # fmt: skip


def train_translator(
    model: Translator,
    pairs: list[tuple[str, str]],
    *,
    epochs: int,
    tokens_per_batch: int = 4096,
    learning_rate: float | None = None,
    warmup: int = 4000,
    smoothing: float = 0.1,
    seed: int = 0,
    **options: Any,
) -> list[dict[str, float]]:
    """Train an encoder–decoder, in place, on pairs of a text and its translation, as in Vaswani 2017, section 5.

    Batches by tokens, Adam with β₂ = 0.98 and ε = 1e-9, the inverse square root schedule, smoothed labels, no clipping.
    Long texts are cut.

    Returns  the history, see `train`, whose `options` are taken too
    Units    tokens_per_batch: of each side; learning_rate: the peak, by default the paper's (D · warmup)^−½;
             smoothing: ε
    Raises   ValueError: no pairs, or a number of tokens or warm-up steps below 1; the rest as `train`
    """
    for name, value in {"pairs": len(pairs), "tokens_per_batch": tokens_per_batch, "warmup": warmup}.items():
        if value < 1:
            raise ValueError(f"expected {name} of at least 1, got {value}")
    learning_rate = (model.config.width * warmup) ** -0.5 if learning_rate is None else learning_rate
    sources, targets = (model.tokenize(list(texts), "silent") for texts in zip(*pairs, strict=True))
    lengths = np.stack((sources.lengths, targets.lengths), axis=1)
    settings = {
        "tokens_per_batch": tokens_per_batch, "smoothing": smoothing, "config": str(model.config),
        "pairs": digest(sources, targets),
    }  # fmt: skip
    vaswani: dict[str, Any] = {"schedule": "inverse_sqrt", "beta2": 0.98, "eps": 1e-9, "clip": np.inf}
    return train(
        model.parameters,
        lambda rows, rng: model.loss_and_gradients(sources.take(rows), targets.take(rows), smoothing, rng),
        lambda epoch: batches_by_tokens(lengths, tokens_per_batch, seed, epoch),
        epochs=epochs, learning_rate=learning_rate, warmup=warmup, seed=seed, settings=settings, **vaswani | options,
    )  # fmt: skip


def of_stage(options: dict, stage: int) -> dict:
    """The options of one stage of several: its own folder in `folder`, and `resume` where that has a checkpoint.

    Without `resume` an earlier training's checkpoints of later stages are removed, as `train` removes this stage's.
    """
    if options.get("folder") is None:
        return options
    resume, home = options.get("resume", False), Path(options["folder"])
    for later in home.glob(f"stage-*/{CHECKPOINT}"):
        if not resume and int(later.parent.name.removeprefix("stage-")) > stage:
            later.unlink()
    folder = home / f"stage-{stage}"
    return options | {"folder": folder, "resume": resume and (folder / CHECKPOINT).exists()}


def numbered(rows: Iterable[Sequence[Hashable]]) -> tuple[list, list[list[int]]]:
    """(the distinct values of all rows, in order, the rows with each value's number in its place)."""
    numbers: dict = {}
    table = [[numbers.setdefault(value, len(numbers)) for value in row] for row in rows]
    return list(numbers), table


def _candidates(table: list[list[int]], rows) -> np.ndarray:
    """The first of each row, then all others of theirs: a batch's documents, hard negatives last."""
    return np.array([table[i][0] for i in rows] + [number for i in rows for number in table[i][1:]])


def check_rows_meet(count: int, batch_size: int, micro_batch: int | None) -> None:
    """ValueError where a row would pass through an in-batch loss alone."""
    if count < 2 or batch_size < 2:
        raise ValueError(f"expected at least 2 pairs and a batch size of 2, got {count} and {batch_size}")
    for size in (min(count, batch_size), count % batch_size):
        if micro_batch and size > 1 and size // -(-size // micro_batch) < 2:
            raise ValueError(f"expected micro-batches of at least 2 pairs, got {micro_batch} of a batch of {size}")


def digest(*parts: Ragged | np.ndarray) -> str:
    """SHA-256 of ragged batches and arrays: what tells the data of one training from those of another."""
    sha = hashlib.sha256()
    for part in parts:
        for array in (part,) if isinstance(part, np.ndarray) else (part.starts, part.ids):
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _check_options(
    epochs, learning_rate, schedule, warmup, micro_batch, evaluate_every, checkpoint_every, patience
) -> None:
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"expected a learning rate above 0, got {learning_rate}: nothing would be learned")
    if schedule not in SCHEDULES:
        raise ValueError(f"expected a schedule of {', '.join(SCHEDULES)}, got {schedule!r}")
    if warmup < 0:
        raise ValueError(f"expected warmup of 0 steps or more, got {warmup}")
    for name, number in {
        "epochs": epochs, "micro_batch": micro_batch, "evaluate_every": evaluate_every,
        "checkpoint_every": checkpoint_every, "patience": patience,
    }.items():  # fmt: skip
        if number is not None and number < 1:
            raise ValueError(f"expected {name} of at least 1, got {number}")


def _finite_gradients(run: TrainingRun, loss_and_gradients, rows, micro_batch, clip) -> tuple[float, Parameters]:
    """Mean loss of a step's rows and the clipped gradients; an error that says all where they are not finite."""
    try:
        loss, gradients = _gradients(run, loss_and_gradients, rows, micro_batch or len(rows))
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")
        clip_by_norm(gradients.flat, clip)
        return loss, gradients
    except FloatingPointError as error:
        why = f"step {run.step}: {error}; rows {rows.tolist()}"
        if name := next((name for name, array in run.parameters.items() if not np.isfinite(array).all()), None):
            raise FloatingPointError(f"{why}; the weights {name} are not finite") from error
        guilty = [int(row) for row in rows if not _is_finite(run, loss_and_gradients, row)]
        raise FloatingPointError(f"{why}; not finite by themselves: {guilty or 'none'}") from error


def _gradients(run: TrainingRun, loss_and_gradients, rows, size: int) -> tuple[float, Parameters]:
    """Mean loss and gradients of a step, at most `size` rows at a time, in parts as even as can be."""
    loss, gradients = 0.0, None
    for number, part in enumerate(np.array_split(rows, -(-len(rows) // size))):
        part_loss, d = loss_and_gradients(part, run.generator(number))
        if len(part) == len(rows):
            return float(part_loss), d
        share = len(part) / len(rows)
        d.flat *= d.flat.dtype.type(share)
        loss += share * float(part_loss)
        if gradients is None:
            gradients = d
        else:
            gradients.flat += d.flat
    assert gradients is not None  # a batch has rows
    return loss, gradients


def _is_finite(run: TrainingRun, loss_and_gradients, row: int) -> bool:
    """Whether a row has a finite loss and gradient; it stands twice in its batch, for losses that need two rows."""
    with np.errstate(all="ignore"):
        try:
            loss, gradients = loss_and_gradients(np.array([row, row]), run.generator(0))
        except FloatingPointError:
            return False
        return bool(np.isfinite(loss) and np.isfinite(gradients.flat).all())
