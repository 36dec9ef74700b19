"""Weights on disk: safetensors files, checksummed, and folders that a crash cannot leave half new."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

METADATA = "minibert"  # all facts as JSON under one key: safetensors writes several keys in random order


class CheckpointError(ValueError):
    """A file that cannot be what it should be: truncated, altered, incomplete or of another kind."""


def save_file(path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write one safetensors file with a CRC-32 for every tensor; a failure leaves the old file as it was.

    Raises   OSError: the disk is full, or the folder cannot be written
    """
    path = Path(path)
    save_folder(path.parent, {path.name: to_bytes(tensors, metadata)})


def load_file(path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, checked against the checksums where it has them.

    Raises   FileNotFoundError; CheckpointError: truncated, altered, or no safetensors file at all
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        tensors = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error
    if METADATA not in header.get("__metadata__", {}):
        return tensors, {}
    expected, _, text = header["__metadata__"][METADATA].partition(" ")
    if f"{zlib.crc32(text.encode()):08x}" != expected:
        raise CheckpointError(f"{path}: its metadata was altered")
    facts = json.loads(text)
    for name in tensors.keys() | facts["crc32"].keys():
        if name not in tensors or name not in facts["crc32"] or checksum(tensors[name]) != facts["crc32"][name]:
            raise CheckpointError(f"{path}: tensor {name} was altered")
    return tensors, facts["metadata"]


def to_bytes(tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file as bytes, with a CRC-32 of every tensor and of the metadata."""
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    facts = {"metadata": metadata or {}, "crc32": {name: checksum(tensor) for name, tensor in tensors.items()}}
    text = json.dumps(facts)
    return safetensors.numpy.save(tensors, {METADATA: f"{zlib.crc32(text.encode()):08x} {text}"})


def checksum(tensor: np.ndarray) -> int:
    """CRC-32 of a tensor's bytes."""
    return zlib.crc32(np.ascontiguousarray(tensor).data)


def save_folder(folder, files: dict[str, bytes]) -> None:
    """Write files into one folder so that all are new or, after an error, all are old.

    All contents go to temporary files first, where a full disk shows; only then are they renamed, one after the other.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            written.append((temporary, folder / name))
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for temporary, target in written:
            os.replace(temporary, target)
    except OSError as error:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"nothing was saved: {error.strerror}", str(folder)) from error
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


TORCH_NAMES = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


def from_torch_encoder(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state of a PyTorch `Encoder` module (embedding_layer, encoder = TransformerEncoder, projection) in our names.

    Shapes   in_proj_weight (3D, D) and in_proj_bias (3D,) become query, key and value; nothing else changes
    """
    tensors = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        parts = module.split(".")
        if module == "embedding_layer":
            tensors["embeddings.word_embeddings.weight"] = tensor
        elif parts[:2] == ["encoder", "layers"]:
            layer, inner = f"encoder.layer.{parts[2]}", ".".join(parts[3:])
            if kind.startswith("in_proj_"):
                for part, block in zip(("query", "key", "value"), np.split(tensor, 3), strict=True):
                    tensors[f"{layer}.attention.self.{part}.{kind.removeprefix('in_proj_')}"] = block
            else:
                tensors[f"{layer}.{TORCH_NAMES[inner]}.{kind}"] = tensor
        else:
            tensors[name] = tensor
    return tensors
