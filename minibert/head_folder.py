"""A Hugging Face folder of BERT with a head, both ways: config.json, model.safetensors, tokenizer.json.

The folders of transformers' BertForPreTraining, BertForSequenceClassification (sentence-transformers' cross-encoders
are such), BertForTokenClassification and BertForQuestionAnswering. Unlike a sentence encoder's, their weights stand
below "bert.", those of the head beside them. model.safetensors carries the checksum of its tokenizer.json.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tokenizers
from minibert import checkpoint, hf_bert, hf_folder, sentence_folder
from minibert.checkpoint import CheckpointError
from minibert.encoder import EncoderConfig
from minibert.heads import ARCHITECTURES, CLASSIFIER, HeadConfig
from minibert.hf_folder import CONFIG, WEIGHTS
from minibert.parameters import Parameters
from minibert.sentence_folder import TOKENIZER, TOKENIZER_CONFIG

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENCODER = [field.name for field in fields(EncoderConfig) if field.name != "pooler"]
MULTI = "multi_label_classification"  # transformers' problem_type where several labels hold at once: no softmax


def load(folder: str | PathLike[str], head: str) -> tuple[Tokenizer, HeadConfig, Parameters]:
    """(tokenizer, configuration, parameters) of a folder with such a head.

    Raises   FileNotFoundError; CheckpointError: another head, or names the file and what does not fit
    """
    folder = Path(folder)
    try:
        settings = hf_folder.read_json(folder / CONFIG)
        tensors, facts = hf_folder.read_weights(folder, head=True)
        sizes = hf_folder.read_config(folder)
        longest = sentence_folder.max_length(folder, sizes.get("positions", 0))
        labels = _labels(settings, len(tensors.get(f"{CLASSIFIER}.bias", ())))
        architectures = settings.get("architectures") or ["BertModel"]
        if head != "pretraining" and ARCHITECTURES[head] not in architectures:  # there, tensors tell
            raise CheckpointError(f"{folder / CONFIG}: expected a {ARCHITECTURES[head]}, got {architectures[0]}")
        if settings.get("problem_type") == MULTI:
            raise CheckpointError(f"{folder / CONFIG}: expected labels that exclude each other, got {MULTI}")
        config = HeadConfig(**sizes, head=head, labels=labels, max_length=longest)
        parameters = Parameters(config.shapes)
        parameters.load({name: t for name, t in tensors.items() if name in parameters or "pooler." not in name})
        tokenizer = tokenizers.load(folder)
        sentence_folder.check_companions(folder, facts)
        return tokenizer, config, parameters
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder}: not a model that can be read: {error}") from error


def load_encoder(folder: str | PathLike[str], **settings: Any) -> tuple[Tokenizer, HeadConfig, dict[str, np.ndarray]]:
    """(tokenizer, configuration, tensors) of any BERT or sentence-transformers folder, without its heads.

    The configuration is a HeadConfig with these settings; the tensors are the encoder's, and the pooler's where there
    is one and the head has one.
    Raises   FileNotFoundError; CheckpointError: names the file and what does not fit; ValueError: as HeadConfig
    """
    tokenizer, base, parameters = sentence_folder.load(folder)
    sizes = {name: getattr(base, name) for name in ENCODER} | {"max_length": base.max_length}
    config = HeadConfig(**sizes | settings)
    return tokenizer, config, {name: tensor for name, tensor in parameters.items() if name in config.shapes}


def save(folder: str | PathLike[str], tokenizer: Tokenizer, config: HeadConfig, parameters: Parameters) -> None:
    """Write the folder; contents are on the disk before the first name changes, the weights' name last.

    Raises   OSError: the disk is full, or the folder cannot be written; ValueError: transformers has no such encoder
    """
    if hf_folder.family_of(config) is not hf_bert:
        raise ValueError("expected an encoder of bert under a head, got another family's")
    names = dict(enumerate(config.labels))
    labels = {"id2label": names, "label2id": {label: i for i, label in names.items()}} if names else {}
    settings = hf_folder.config_json(config, architectures=[ARCHITECTURES[config.head]], **labels)
    inputs = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}  # else no segments are told apart
    tokenizer_settings = sentence_folder.tokenizer_config(tokenizer, config.max_length) | inputs
    text = tokenizer.to_json().encode()
    facts = {"companions": json.dumps({TOKENIZER: zlib.crc32(text)})}
    files = {
        CONFIG: settings.encode(),
        TOKENIZER_CONFIG: json.dumps(tokenizer_settings, indent=2).encode(),
        TOKENIZER: text,
        WEIGHTS: checkpoint.to_bytes(hf_folder.to_theirs(parameters, config, head=True), facts),
    }
    checkpoint.save_folder(folder, files)


def _labels(settings: dict, count: int) -> tuple[str, ...]:
    """The names of the classifier's `count` rows; transformers names those that nobody named LABEL_0, LABEL_1, …"""
    named = settings.get("id2label") or {}
    return tuple(named.get(str(i), f"LABEL_{i}") for i in range(count))
