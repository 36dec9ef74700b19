"""What models with a tokenizer have in common: one true file that holds weights, settings and tokenizer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tokenizers
from minibert import checkpoint
from minibert.checkpoint import CheckpointError
from minibert.encoder import EncoderConfig
from minibert.parameters import Parameters

if TYPE_CHECKING:
    from typing_extensions import Self

    from tokenizers import Tokenizer

MODEL = "model.safetensors"


class SavedModel:
    """A tokenizer, a configuration and parameters, and their way to the disk and back."""

    kind: ClassVar[str]  # what the file says it is
    config_class: ClassVar[type]

    def __init__(self, tokenizer: Tokenizer, config: Any, parameters: Parameters):
        self.tokenizer, self.config, self.parameters = tokenizer, config, parameters

    @property
    def fingerprint(self) -> str:
        """SHA-256 of configuration, tokenizer and weights: equal fingerprints give equal results."""
        digest = hashlib.sha256(self._config_json().encode())
        digest.update(self.tokenizer.to_json().encode())
        digest.update(self.parameters.flat.data)
        return digest.hexdigest()

    @property
    def parts(self) -> dict[str, str]:
        """What the fingerprint covers, piece by piece, to tell what differs: weights, tokenizer, and every setting."""
        pieces = {"weights": self.parameters.flat.tobytes(), "tokenizer": self.tokenizer.to_json().encode()}
        settings = {name: json.dumps(value) for name, value in asdict(self.config).items()}
        return {**{name: hashlib.sha256(piece).hexdigest() for name, piece in pieces.items()}, **settings}

    def save(self, folder: str | PathLike[str]) -> None:
        """Write model.safetensors, which holds all, and copies of config.json and tokenizer.json for other readers.

        Raises   OSError: the disk is full, or the folder cannot be written; the old files are as they were
        """
        config, tokenizer = self._config_json(), self.tokenizer.to_json()
        facts = {"config": config, "tokenizer": tokenizer}
        files = {
            "config.json": config.encode(),
            "tokenizer.json": tokenizer.encode(),
            MODEL: checkpoint.to_bytes(dict(self.parameters), facts),
        }
        checkpoint.save_folder(folder, files)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Read the model.safetensors that `save` wrote; the copies beside it are not read.

        Raises   FileNotFoundError; CheckpointError: truncated, altered, or another kind of model
        """
        path = Path(folder) / MODEL
        tensors, facts = checkpoint.load_file(path)
        try:
            settings = json.loads(facts["config"])
            if settings.pop("model") != cls.kind:
                raise ValueError("another kind of model")
            config = cls.config_class(**settings)
            parameters = Parameters(config.shapes)
            parameters.load(tensors)
            return cls(tokenizers.from_json(facts["tokenizer"]), config, parameters)
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path}: not a {cls.kind.replace('_', ' ')} that `save` wrote: {error}") from error

    def _config_json(self) -> str:
        return json.dumps({"model": self.kind, **asdict(self.config)}, indent=2)


def encoder_settings(model: SavedModel) -> dict:
    """A model's settings that are its encoder's: what another model around the same encoder is configured with."""
    return {field.name: getattr(model.config, field.name) for field in fields(EncoderConfig)}


def copy_encoder(model: SavedModel, parameters: Parameters) -> None:
    """Copy a model's encoder into another one's parameters, which have the same names; others stay as they are."""
    for name in EncoderConfig(**encoder_settings(model)).shapes:
        parameters[name][...] = model.parameters[name]


def check_vocabulary(tokenizer: Tokenizer, config: EncoderConfig) -> None:
    """ValueError where the configuration's vocabulary is smaller than the tokenizer's."""
    if config.vocab_size < tokenizer.vocab_size:
        raise ValueError(f"expected a vocab_size of at least {tokenizer.vocab_size}, got {config.vocab_size}")
