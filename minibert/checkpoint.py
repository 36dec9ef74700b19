"""Weights on disk: safetensors files, checksummed, and folders whose one true file a crash leaves old or new."""

from __future__ import annotations

import errno
import json
import os
import zlib
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from ann.files import atomic_write

METADATA = "minibert"  # all facts as JSON under one key: safetensors writes several keys in random order


class CheckpointError(ValueError):
    """A file that cannot be what it should be: truncated, altered, incomplete or of another kind."""


def save_file(
    path: str | PathLike[str], tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Write one safetensors file with a CRC-32 for every tensor; a failure leaves the old file as it was.

    Raises   OSError: the disk is full, or the folder cannot be written
    """
    path = Path(path)
    save_folder(path.parent, {path.name: to_bytes(tensors, metadata)})


def load_file(path: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(tensors, metadata) of a safetensors file, checked against the checksums where it has them.

    The tensors are read-only views of the mapped file; bfloat16, which NumPy lacks, comes as float32.
    Raises   FileNotFoundError; CheckpointError: truncated, altered, or no safetensors file at all
    """
    path = Path(path)
    try:
        with safetensors.safe_open(path, "np"):  # checks the header, and that the tensors fill the file exactly
            content = np.memmap(path, np.uint8, "r")
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end].tobytes())
        texts = header.pop("__metadata__", {})
        tensors = {name: _tensor(content[end:], **entry) for name, entry in header.items()}
    except FileNotFoundError as error:  # safetensors' own has no file name
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error
    if METADATA not in texts:
        return tensors, {}
    expected, _, text = texts[METADATA].partition(" ")
    if f"{zlib.crc32(text.encode()):08x}" != expected:
        raise CheckpointError(f"{path}: its metadata was altered")
    facts = json.loads(text)
    for name in tensors.keys() | facts["crc32"].keys():
        if name not in tensors or name not in facts["crc32"] or checksum(tensors[name]) != facts["crc32"][name]:
            raise CheckpointError(f"{path}: tensor {name} was altered")
    return tensors, facts["metadata"]


DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
DTYPES |= {"I8": "<i1", "U8": "<u1", "BOOL": "?"}


def _tensor(content: np.ndarray, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    """One entry of a safetensors header as an array."""
    if dtype not in DTYPES:
        raise ValueError(f"expected numbers of {', '.join(DTYPES)}, got {dtype}")
    tensor = content[slice(*data_offsets)].view(DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        tensor = (tensor.astype("<u4") << 16).view("<f4")
    return tensor


def to_bytes(tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file as bytes, with a CRC-32 of every tensor and of the metadata."""
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    facts = {"metadata": metadata or {}, "crc32": {name: checksum(tensor) for name, tensor in tensors.items()}}
    text = json.dumps(facts)
    return safetensors.numpy.save(tensors, {METADATA: f"{zlib.crc32(text.encode()):08x} {text}"})


def checksum(tensor: np.ndarray) -> int:
    """CRC-32 of a tensor's bytes."""
    return zlib.crc32(np.ascontiguousarray(tensor).data)


def save_folder(folder: str | PathLike[str], files: dict[str, bytes]) -> None:
    """Write files into a folder, made if need be. All contents are on the disk before the first name changes.

    The last file named is the first to take its place: with the truth in that one and copies before it, a crash at any
    moment leaves the old or the new.
    Raises   OSError: the disk is full, or the folder cannot be written; the old files are as they were
    """
    folder = Path(folder)
    try:
        with ExitStack() as renames:  # unwinds from the last to the first
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                file = renames.enter_context(atomic_write(folder / name))
                file.write(content)
                file.flush()
    except OSError as error:
        raise OSError(error.errno, f"cannot be saved: {error.strerror}", str(folder)) from error


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
