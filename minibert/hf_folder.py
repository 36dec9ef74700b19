"""A Hugging Face BERT folder, both ways: config.json ⇄ EncoderConfig, model.safetensors ⇄ parameters.

Our parameters carry the checkpoint's own keys, so reading is a look-up: the prefix "bert." of models that were saved
with a head comes off, and what only such heads use is left out. Pickled weights (pytorch_model.bin) can run code when
they are opened and are refused.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from minibert import checkpoint
from minibert.checkpoint import CheckpointError
from minibert.encoder import EncoderConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
KEYS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
}
ACTIVATIONS = {"gelu": "gelu", "relu": "relu"}
FIXED = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
NOT_WEIGHTS = ("embeddings.position_ids",)  # a buffer of older versions: 0, 1, 2, …
HEADS = ("cls.",)  # masked words and next sentence, of pre-training
OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # of layer norms, in the first checkpoints


def read_config(folder) -> dict:
    """The settings of an EncoderConfig that config.json asks for; `pooler` is for the weights to say.

    Raises   CheckpointError: no file, no JSON, a missing setting, or one that means another network, each by name
    Differs  attention_probs_dropout_prob is not kept apart from hidden_dropout_prob
    """
    path = Path(folder) / CONFIG
    settings = read_json(path)
    for key, expected in FIXED.items():
        if (got := settings.get(key, expected)) != expected:
            raise CheckpointError(f"{path}: expected {key} to be {expected!r}, got {got!r}")
    missing = [key for key in KEYS.values() if key not in settings]
    if missing:
        raise CheckpointError(f"{path}: lacks {', '.join(missing)}")
    activation = settings.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"{path}: expected hidden_act of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return {
        **{ours: settings[theirs] for ours, theirs in KEYS.items()},
        "activation": ACTIVATIONS[activation],
        "dropout": settings.get("hidden_dropout_prob", 0.1),
        "eps": settings.get("layer_norm_eps", 1e-12),
    }


def config_json(config: EncoderConfig) -> str:
    """The config.json of this encoder."""
    settings = {
        "architectures": ["BertModel"],
        **FIXED,
        **{theirs: getattr(config, ours) for ours, theirs in KEYS.items()},
        "hidden_act": {ours: theirs for theirs, ours in ACTIVATIONS.items()}[config.activation],
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "layer_norm_eps": config.eps,
        "dtype": "float32",
    }
    return json.dumps(settings, indent=2)


def read_weights(folder) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(tensors by our names, metadata) of model.safetensors.

    Raises   FileNotFoundError; CheckpointError: a damaged file, or pickled weights only
    """
    tensors, facts = checkpoint.load_file(weights_path(folder))
    ours = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("bert.")
        for old, new in OLD_NAMES.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        if name not in NOT_WEIGHTS and not name.startswith(HEADS):
            ours[name] = tensor
    return ours, facts


def weights_path(folder) -> Path:
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
