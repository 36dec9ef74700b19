"""A Hugging Face folder, both ways: config.json ⇄ EncoderConfig, model.safetensors ⇄ parameters.

What differs from family to family stands in hf_bert.py and hf_t5.py. Pickled weights (pytorch_model.bin) can run code
when they are opened and are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minibert import checkpoint, hf_bert, hf_t5
from minibert.checkpoint import CheckpointError
from minibert.encoder import EncoderConfig

FAMILIES = {"bert": hf_bert, "t5": hf_t5}
WEIGHTS, CONFIG = "model.safetensors", "config.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def read_config(folder: str | PathLike[str]) -> dict:
    """The settings of an EncoderConfig that config.json asks for; `pooler` is for the weights to say.

    Raises   CheckpointError: no file, no JSON, a missing setting, or one that means another network, each by name
    """
    path = Path(folder) / CONFIG
    settings = read_json(path)
    family = _family(path, settings)
    for key, expected in family.FIXED.items():
        if (got := settings.get(key, expected)) != expected:
            raise CheckpointError(f"{path}: expected {key} to be {expected!r}, got {got!r}")
    missing = [key for key in family.KEYS.values() if key not in settings]
    if missing:
        raise CheckpointError(f"{path}: lacks {', '.join(missing)}")
    try:
        return {ours: settings[theirs] for ours, theirs in family.KEYS.items()} | family.read_settings(settings)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def config_json(config: EncoderConfig, **more: Any) -> str:
    """The config.json of this encoder, with further settings or others in their place.

    Raises   ValueError: Hugging Face's library has no such encoder
    """
    family = family_of(config)
    sizes = {theirs: getattr(config, ours) for ours, theirs in family.KEYS.items()}
    settings = {**family.FIXED, **sizes, **family.write_settings(config), "dtype": "float32", **more}
    return json.dumps(settings, indent=2)


def family_of(config: EncoderConfig) -> Any:
    """The family whose variant this encoder is; ValueError where it is none's."""
    for family in FAMILIES.values():
        if all(getattr(config, name) == value for name, value in family.VARIANT.items()):
            return family
    raise ValueError(f"expected an encoder of {' or '.join(FAMILIES)}, got another combination of variants")


def read_weights(folder: str | PathLike[str], **options: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(tensors by our names, metadata) of model.safetensors; options: those of the family's `to_ours`.

    Raises   FileNotFoundError; CheckpointError: a damaged file, or pickled weights only
    """
    path = Path(folder) / CONFIG
    family = _family(path, read_json(path))
    tensors, facts = checkpoint.load_file(weights_path(folder))
    named = ((family.to_ours(name, **options), tensor) for name, tensor in tensors.items())
    return {name: tensor for name, tensor in named if name is not None}, facts


def to_theirs(parameters: Mapping[str, np.ndarray], config: EncoderConfig, **options: Any) -> dict[str, np.ndarray]:
    """An encoder's tensors by the names of its family; options: those of its `to_theirs`."""
    family = family_of(config)
    return {family.to_theirs(name, config, **options): tensor for name, tensor in parameters.items()}


def _family(path: Path, settings: dict):
    if (kind := settings.get("model_type", "bert")) not in FAMILIES:
        raise CheckpointError(f"{path}: expected a model_type of {', '.join(FAMILIES)}, got {kind!r}")
    return FAMILIES[kind]


def weights_path(folder: str | PathLike[str]) -> Path:
    """Where a folder's weights are; CheckpointError where they are pickled only, with the way to convert them."""
    folder = Path(folder)
    found = [name for name in PICKLES if (folder / name).exists()]
    if found and not (folder / WEIGHTS).exists():
        raise CheckpointError(
            f"{folder / found[0]}: pickled weights can run code when opened and are not read. Convert them once: "
            f"python -c \"from transformers import AutoModel; AutoModel.from_pretrained('{folder}').save_pretrained("
            f"'{folder}', safe_serialization=True)\""
        )
    return folder / WEIGHTS


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises   FileNotFoundError; CheckpointError: not a JSON object
    """
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(settings).__name__}")
    return settings
