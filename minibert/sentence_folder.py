"""A folder of sentence-transformers, both ways: the modules of modules.json around a Hugging Face folder.

    modules.json                        Transformer, Pooling, then Dense and Normalize in any number and order
    sentence_bert_config.json           the longest text
    config_sentence_transformers.json   prompts, the similarity the vectors are meant for
    config.json, model.safetensors, tokenizer.json, tokenizer_config.json        the encoder itself
    1_Pooling/config.json, 2_Dense/config.json, 2_Dense/model.safetensors, …

Without modules.json it is a plain BERT folder, whose token vectors are averaged, as sentence-transformers does.
model.safetensors carries checksums of what must go with it: a folder whose saving was cut short is refused.
"""

from __future__ import annotations

import json
import zlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers
from minibert import checkpoint, hf_folder
from minibert.checkpoint import CheckpointError
from minibert.hf_folder import CONFIG, WEIGHTS, read_json
from minibert.parameters import Parameters
from minibert.sentence_network import POOLINGS, Dense, Normalize, SentenceEncoderConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODULES, SETTINGS, LENGTH = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
LONGEST = 512  # tokens, where neither positions nor the tokenizer's settings say less
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
POOLING_KEYS = {  # what all versions read; vectors of several modes stand side by side in this order
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
TORCH_ACTIVATIONS = {
    "identity": "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
}
SPECIAL_TOKENS = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def load(folder: str | PathLike[str]) -> tuple[Tokenizer, SentenceEncoderConfig, Parameters]:
    """(tokenizer, configuration, parameters) of a folder.

    Raises   FileNotFoundError; CheckpointError: names the file and what does not fit
    """
    folder = Path(folder)
    try:
        root, modules = _modules(folder)
        tensors, facts = hf_folder.read_weights(root)
        settings = hf_folder.read_config(root) | modules | _settings(folder)
        settings["max_length"] = max_length(root, settings.get("positions", 0))
        config = SentenceEncoderConfig(**settings, pooler="pooler.dense.weight" in tensors)
        companions = {}
        for name, _ in config.dense_modules():
            path = hf_folder.weights_path(folder / name)
            companions[f"{name}/{WEIGHTS}"] = path
            dense, _ = checkpoint.load_file(path)
            tensors |= {f"{name}.{key}": tensor for key, tensor in dense.items()}
        parameters = Parameters(config.shapes)
        parameters.load(tensors)
        tokenizer = tokenizers.load(root)
        check_companions(folder, facts)
        return tokenizer, config, parameters
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder}: not a model that can be read: {error}") from error


def save(
    folder: str | PathLike[str], tokenizer: Tokenizer, config: SentenceEncoderConfig, parameters: Parameters
) -> None:
    """Write the folder; contents are on the disk before the first name changes, the weights' name last.

    Raises   OSError: the disk is full, or the folder cannot be written
    """
    folder = Path(folder)
    companions = {TOKENIZER: tokenizer.to_json().encode()}
    for name, _ in config.dense_modules():
        tensors = {key.removeprefix(f"{name}."): p for key, p in parameters.items() if key.startswith(f"{name}.")}
        companions[f"{name}/{WEIGHTS}"] = checkpoint.to_bytes(tensors)
    crc32 = {name: zlib.crc32(content) for name, content in companions.items()}
    encoder = {name: p for name, p in parameters.items() if "_Dense." not in name}
    files = {
        **{name: text.encode() for name, text in _texts(tokenizer, config).items()},
        **companions,
        WEIGHTS: checkpoint.to_bytes(hf_folder.to_theirs(encoder, config), {"companions": json.dumps(crc32)}),
    }
    checkpoint.save_folder(folder, files)


def _modules(folder: Path) -> tuple[Path, dict]:
    """(the encoder's own folder, the settings that the modules give)."""
    path = folder / MODULES
    if not path.exists():
        return folder, {}
    found = json.loads(path.read_text("utf-8"))
    kinds = [(module["type"].rpartition(".")[2], folder / module["path"]) for module in found]
    if [kind for kind, _ in kinds] == ["Transformer"]:  # a cross-encoder's
        return kinds[0][1], {}
    if [kind for kind, _ in kinds[:2]] != ["Transformer", "Pooling"]:
        raise CheckpointError(f"{path}: expected a Transformer and a Pooling first, got {[kind for kind, _ in kinds]}")
    for _, home in kinds:
        if not home.resolve().is_relative_to(folder.resolve()):
            raise CheckpointError(f"{path}: expected modules within the folder, got {home}")
    head = tuple(_head_module(kind, home, path) for kind, home in kinds[2:])
    return kinds[0][1], {**_pooling(kinds[1][1] / CONFIG), "head": head}


def _head_module(kind: str, home: Path, path: Path) -> Dense | Normalize:
    if kind == "Normalize":
        return Normalize()
    if kind != "Dense":
        raise CheckpointError(f"{path}: expected Dense or Normalize after pooling, got {kind}")
    settings = read_json(home / CONFIG)
    names = {theirs: ours for ours, theirs in TORCH_ACTIVATIONS.items()}
    activation = settings["activation_function"]
    if activation not in names:
        raise CheckpointError(f"{home / CONFIG}: expected an activation of {', '.join(names)}, got {activation}")
    return Dense(settings["out_features"], settings.get("bias", True), names[activation])


def _pooling(path: Path) -> dict:
    settings = read_json(path)
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for mode, key in POOLING_KEYS.items() if settings.get(key)] or ["mean"]
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if unknown := [mode for mode in modes if mode not in POOLINGS]:
        raise CheckpointError(f"{path}: expected a pooling of {', '.join(POOLINGS)}, got {unknown[0]!r}")
    return {"pooling": modes, "include_prompt": settings.get("include_prompt", True)}


def _settings(folder: Path) -> dict:
    path = folder / SETTINGS
    settings = read_json(path) if path.exists() else {}
    return {
        "prompts": {name: text for name, text in (settings.get("prompts") or {}).items() if text},
        "default_prompt": settings.get("default_prompt_name"),
        "similarity": settings.get("similarity_fn_name") or "cosine",
    }


def max_length(root: Path, positions: int) -> int:
    """The longest text: as sentence_bert_config.json says, else the tokenizer's settings, within the positions."""
    path = root / LENGTH
    settings = read_json(path) if path.exists() else {}
    if settings.get("do_lower_case"):
        raise CheckpointError(f"{path}: do_lower_case is not followed here: let the tokenizer.json lower the case")
    if settings.get("max_seq_length"):
        return settings["max_seq_length"]
    path = root / TOKENIZER_CONFIG
    named = read_json(path).get("model_max_length") if path.exists() else None
    return min(int(named or LONGEST), positions or LONGEST)


def check_companions(folder: Path, facts: dict[str, str]) -> None:
    """CheckpointError where a file is not the one that the weights were saved with."""
    for name, crc32 in json.loads(facts.get("companions", "{}")).items():
        if zlib.crc32((folder / name).read_bytes()) != crc32:
            raise CheckpointError(
                f"{folder / name}: not the file that {WEIGHTS} was saved with: altered, or the saving was cut short"
            )


def tokenizer_config(tokenizer: Tokenizer, longest: int) -> dict:
    """What tokenizer_config.json says beside tokenizer.json."""
    specials = {
        role: next((token for token in names if token in tokenizer.special_tokens), None)
        for role, names in SPECIAL_TOKENS.items()
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest}
    return settings | {role: token for role, token in specials.items() if token is not None}


def _texts(tokenizer, config: SentenceEncoderConfig) -> dict[str, str]:
    """The JSON files of a folder, by name."""
    types = ["Transformer", "Pooling", *(type(module).__name__ for module in config.head)]
    homes = ["", *(f"{i}_{kind}" for i, kind in enumerate(types[1:], 1))]
    modules = [
        {"idx": i, "name": str(i), "path": home, "type": f"sentence_transformers.models.{kind}"}
        for i, (home, kind) in enumerate(zip(homes, types, strict=True))
    ]
    pooling: dict[str, Any] = {"word_embedding_dimension": config.width, "include_prompt": config.include_prompt}
    pooling |= {key: mode in config.pooling for mode, key in POOLING_KEYS.items()}
    if list(config.pooling) != [mode for mode in POOLING_KEYS if mode in config.pooling]:
        pooling |= {"pooling_mode": config.pooling}  # another order: only versions from 6 on can say that
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": dict(config.prompts),
        "default_prompt_name": config.default_prompt,
        "similarity_fn_name": config.similarity,
    }
    documents = {
        MODULES: modules,
        SETTINGS: settings,
        LENGTH: {"max_seq_length": config.max_length, "do_lower_case": False},
        TOKENIZER_CONFIG: tokenizer_config(tokenizer, config.max_length),
        f"{homes[1]}/{CONFIG}": pooling,
    }
    inputs = len(config.pooling) * config.width
    for name, module in config.dense_modules():
        documents[f"{name}/{CONFIG}"] = {
            "in_features": inputs,
            "out_features": module.width,
            "bias": module.bias,
            "activation_function": TORCH_ACTIVATIONS[module.activation],
        }
        inputs = module.width
    return {name: json.dumps(document, indent=2) for name, document in documents.items()} | {
        CONFIG: hf_folder.config_json(config)
    }
