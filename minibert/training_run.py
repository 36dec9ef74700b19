"""What of a training is on the disk: the checkpoint, from which it goes on exactly, and its records as JSON lines."""

from __future__ import annotations

import json
import os
from os import PathLike
from pathlib import Path

import numpy as np

from ann.files import atomic_write
from minibert import checkpoint
from minibert.checkpoint import CheckpointError
from minibert.optim import AdamW
from minibert.parameters import Parameters

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
LOWER_IS_BETTER = ("loss", "perplexity")


class TrainingRun:
    """What a checkpoint holds: weights, the best weights, Adam's moments, the loss of every step, the history."""

    def __init__(self, parameters: Parameters, adam: AdamW, settings: dict, folder: str | PathLike[str] | None):
        self.parameters, self.adam = parameters, adam
        self.settings = json.loads(json.dumps(settings, default=np.generic.item))  # as a checkpoint gives them back
        self.path = None if folder is None else Path(folder) / CHECKPOINT
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: np.ndarray | None = None

    @property
    def step(self) -> int:
        """Steps taken."""
        return len(self.losses)

    def generator(self, micro_batch: int) -> np.random.Generator:
        """What draws the dropout of this step's micro-batch."""
        return np.random.default_rng([self.settings["seed"], self.step, 1, micro_batch])

    def record(self, facts: dict[str, float], results: dict[str, float]) -> None:
        """Add a record of the mean loss since the last one, these facts and the results of an evaluation."""
        since = int(self.history[-1]["step"]) if self.history else 0
        facts = {"step": self.step, "loss": float(np.mean(self.losses[since:])), **facts}
        if taken := facts.keys() & results.keys():
            raise ValueError(f"expected an evaluation to name its results otherwise than {min(taken)!r}")
        if results and np.isnan((facts | results).get(self.settings["stop_on"] or "loss", np.nan)):
            raise ValueError(f"expected a number {self.settings['stop_on']!r} to stop on, got {facts | results}")
        self.history.append(facts | {name: float(value) for name, value in results.items()})
        if self.best_record is self.history[-1]:
            self.best = self.parameters.flat.copy()
        if self.path:
            with open(self.path.with_name(METRICS), "a", encoding="utf-8") as file:
                file.write(_line(self.history[-1]))
                file.flush()
                os.fsync(file.fileno())

    @property
    def best_record(self) -> dict[str, float] | None:
        """The first record with the best value of what training stops on."""
        name = self.settings["stop_on"]
        scored = [] if name is None else [record for record in self.history if name in record]
        if not scored:
            return None
        best = min if name.endswith(LOWER_IS_BETTER) else max
        return best(scored, key=lambda record: record[name])

    @property
    def stalled(self) -> bool:
        """Whether the last `patience` evaluations bettered nothing."""
        name = self.settings["stop_on"]
        best = self.best_record
        later = sum(name in record and record["step"] > best["step"] for record in self.history) if best else 0
        return later >= self.settings["patience"]

    def restore_best(self) -> None:
        """Put the best weights back, where training kept them."""
        if self.best is not None:
            self.parameters.flat[...] = self.best

    def start(self) -> None:
        """Make the folder what this run is: metrics.jsonl the history up to its checkpoint, and nothing past it.

        A run from the start removes an earlier one's checkpoint: killed before its own first, it would go on with that.
        """
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.step:
                self.path.unlink(missing_ok=True)
            with atomic_write(self.path.with_name(METRICS)) as file:
                file.write("".join(map(_line, self.history)).encode())

    def save(self) -> None:
        """Write the checkpoint, all in one file; nothing without a folder."""
        if self.path is None:
            return
        state = {"adam.m": self.adam.m, "adam.v": self.adam.v, "losses": np.array(self.losses)}
        if self.best is not None:
            state["best"] = self.best
        metadata = {"settings": json.dumps(self.settings), "history": json.dumps(self.history)}
        checkpoint.save_file(self.path, dict(self.parameters) | state, metadata)

    def load(self) -> None:
        """Go on from the checkpoint; CheckpointError where it was written with other settings."""
        if self.path is None:
            raise ValueError("expected a folder to resume from, got none")
        tensors, metadata = checkpoint.load_file(self.path)
        try:
            saved, history = json.loads(metadata["settings"]), json.loads(metadata["history"])
            moments = tensors.pop("adam.m"), tensors.pop("adam.v")
            losses, best = tensors.pop("losses").tolist(), tensors.pop("best", None)
        except KeyError as error:
            raise CheckpointError(f"{self.path}: not a training checkpoint: no {error}") from error
        other = [
            f"{key} {saved.get(key)!r}, now {value!r}"
            for key, value in self.settings.items()
            if saved.get(key) != value
        ]
        if other:
            raise CheckpointError(f"{self.path}: was written with other settings: {'; '.join(other)}")
        self.parameters.load(tensors)
        self.adam.m[...], self.adam.v[...] = moments
        self.losses, self.history, self.adam.t = losses, history, len(losses)
        self.best = None if best is None else np.array(best)


def _line(record: dict[str, float]) -> str:
    return json.dumps(record) + "\n"
