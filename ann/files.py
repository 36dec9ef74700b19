"""Index files: one self-describing file that is never half written and never half believed.

A file is in the safetensors format, so any safetensors reader opens it:

    8 bytes      length of the header, little endian
    header       JSON: table name → dtype, shape, data_offsets;  "__metadata__" → strings (below)
    tables       each starts on a 64-byte line; the format allows no gaps, so a gap is a table "padding.…" of zeros

Metadata: format, format_version, class, dim, metric, count, next_id, what the class adds (M, seed, …), `user` (the
index's own `metadata`, as JSON), crc32.<table> for each table, and crc32, of the header itself with this entry empty.

Saving writes a new file beside the old one, fsyncs it, and renames it over the old one. Loading checks the sizes before
it allocates, then the checksums, then the structure (check.py), and raises CorruptIndexError with the file and reason.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .graph import COUNT, LAST_ID, LINE, LIVE, aligned_empty
from .inputs import MAX_ID, positive_int
from .recall import Recall

if TYPE_CHECKING:
    from .index import Index

CLASSES = ("Exact", "HNSW", "IVF", "IVFPQ", "NSW", "RPForest")
FORMAT, VERSION = "minibert-ann", "2"
MAX_HEADER = 1 << 24
DTYPES = {"F32": "<f4", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1"}
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
MAPPED = ("vectors", "codes", "neighbors0")  # large and well aligned; the other tables are always read into memory


class CorruptIndexError(ValueError):
    """A file is not an index, or is a damaged one."""


# ---- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` at the end of the block, whole and on disk, or not at all."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened, and the rename is durable without
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_tables(path: str | PathLike[str], tables: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write arrays and strings as a checksummed safetensors file."""
    header: dict[str, dict] = {"__metadata__": dict(metadata)}
    parts: list[memoryview] = []
    end = 0
    for name, table in tables.items():
        if end % LINE:
            padding = np.zeros(-end % LINE, np.uint8)
            end = _describe(header, parts, f"padding.{len(parts)}", padding, end)
        end = _describe(header, parts, name, np.ascontiguousarray(table), end)
    text = _sealed(header)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for part in parts:
            file.write(part)


def _describe(header, parts, name, table, start):
    data = table.reshape(-1).view(np.uint8)
    header["__metadata__"][f"crc32.{name}"] = f"{zlib.crc32(data):08x}"
    header[name] = {"dtype": CODES[table.dtype], "shape": list(table.shape), "data_offsets": [start, start + data.size]}
    parts.append(data.data)
    return start + data.size


def _sealed(header):
    """The header's bytes, with its own checksum in, and blanks up to a 64-byte line of the file."""
    header["__metadata__"]["crc32"] = ""
    header["__metadata__"]["crc32"] = f"{zlib.crc32(_canonical(header)):08x}"
    text = _canonical(header)
    return text + b" " * (-(8 + len(text)) % LINE)


def _canonical(header):
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_tables(path: str | PathLike[str], mmap: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and strings of a file that `write_tables` wrote; every byte is checked.

    With mmap, large tables are mapped, privately: changes to the index stay in memory and never reach the file.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            header, start = _read_header(file, size)
            mapped = np.memmap(file, np.uint8, mode="c").view(np.ndarray) if mmap else np.empty(0, np.uint8)
            tables = {}
            for name, entry in header.items():
                begin, end = (start + offset for offset in entry["data_offsets"])
                if mmap and name in MAPPED:
                    data = mapped[begin:end]
                else:
                    data = aligned_empty((end - begin,), np.uint8)
                    file.seek(begin)
                    _require(file.readinto(data.data) == end - begin, f"{name}: the file ends early")
                _require(f"{zlib.crc32(data.data):08x}" == header.crc32[name], f"{name}: the checksum does not match")
                tables[name] = data.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptIndexError(f"{path}: {error}") from error
    return {name: table for name, table in tables.items() if not name.startswith("padding.")}, header.metadata


class _Header(dict):
    """Table name → entry, with the metadata and the tables' checksums apart."""

    crc32: dict[str, str]
    metadata: dict[str, str]


def _read_header(file, size):
    """The checked header, and where the tables start."""
    _require(size >= 8, f"{size} bytes are too few for an index file")
    length = int.from_bytes(file.read(8), "little")
    _require(length <= min(size - 8, MAX_HEADER), f"a header of {length} bytes does not fit into a file of {size}")
    text = file.read(length)
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise ValueError(f"the header is not JSON: {error}") from error
    metadata = parsed["__metadata__"] if isinstance(parsed, dict) and "__metadata__" in parsed else {}
    _require(metadata.get("format") == FORMAT, "not an index of this library")
    _require(
        metadata.get("format_version") in ("1", VERSION),
        f"format version {metadata.get('format_version')!r} is unknown",
    )
    _require(text == _sealed(parsed), "header: the checksum does not match")
    header = _Header((name, entry) for name, entry in parsed.items() if name != "__metadata__")
    header.crc32 = {name: metadata[f"crc32.{name}"] for name in header}
    header.metadata = metadata
    expected = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        count = np.dtype(DTYPES[entry["dtype"]]).itemsize
        for length_of_axis in entry["shape"]:
            _require(type(length_of_axis) is int and length_of_axis >= 0, f"{name}: shape {entry['shape']}")
            count *= length_of_axis
        _require(begin == expected and end - begin == count, f"{name}: offsets {begin}, {end} do not fit its shape")
        expected = end
    _require(8 + length + expected == size, f"expected {8 + length + expected} bytes, got {size}")
    return header, 8 + length


def _require(condition, message):
    if not condition:
        raise ValueError(message)


# ---- indexes ---------------------------------------------------------------------------------------------------------


def save(index: Index, path: str | PathLike[str]) -> None:
    """Write an index; its own part are `_facts` (small numbers) and `_tables` (arrays)."""
    user = dict(index.metadata)
    if not _strings(user):
        raise ValueError("metadata: expected a dictionary of strings")
    count = index._count
    tables = {"vectors": index._vectors[:count], **index._tables(), "ids": index._ids[:count]}
    facts = {
        "dim": index.dim,
        "metric": index.metric,
        "count": count,
        "next_id": index._next_id,
        "effort": index.effort,
    }
    if index.certificate is not None:
        facts["certificate"] = json.dumps(index.certificate.facts())
    facts |= index._facts()
    about = {"format": FORMAT, "format_version": VERSION, "class": type(index).__name__, "user": json.dumps(user)}
    write_tables(path, tables, {**{name: str(value) for name, value in facts.items()}, **about})


def _strings(metadata):
    return isinstance(metadata, dict) and all(isinstance(text, str) for pair in metadata.items() for text in pair)


def load(path: str | PathLike[str], mmap: bool = False) -> Index:
    """Read an index of any class.

    mmap    map the vectors and links into memory instead of reading them; they are still read once, for the checksums
    Raises  CorruptIndexError: not an index, damaged, or of an unknown version; names the file and the reason
    """
    tables, facts = read_tables(path, mmap)
    try:
        if facts["format_version"] == "1" and "parent" in tables:
            tables["parent"][:1] = 0  # the root was row 0, with the parent -1
        return assemble(tables, facts)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CorruptIndexError(f"{path}: {error}") from error


def assemble(tables: dict[str, np.ndarray], facts: dict[str, str]) -> Index:
    """An index of tables and facts, its structure checked.

    Raises   ValueError, KeyError, TypeError, OverflowError; RecursionError: JSON nested too deep
    """
    from .check import structure

    _require(facts["class"] in CLASSES, f"class {facts['class']!r} is unknown")
    shape = int(facts["count"]), int(facts["dim"])
    got = tables["vectors"]  # first, as an index of a false dim would be allocated
    _require(got.dtype == np.float32 and got.shape == shape, f"vectors: shape {got.shape} in place of {shape}")
    index = getattr(import_module("ann"), facts["class"])._from_facts(facts)
    _restore(index, tables, facts)
    findings = structure(index)
    _require(not findings, "; ".join(findings[:3]))
    return index


def _restore(index, tables, facts):
    vectors, ids, count = tables["vectors"], tables["ids"], int(facts["count"])
    _require(ids.dtype == np.int64 and ids.shape == (count,), f"ids: shape {ids.shape}")
    next_id = int(facts["next_id"])
    _require(int(ids.max(initial=-1)) < next_id <= MAX_ID + 1, f"next_id {next_id} is among the ids")
    index._vectors, index._ids, index._live = vectors, ids, ids >= 0
    index._state[[COUNT, LIVE, LAST_ID]] = count, index._live.sum(), next_id - 1
    index._restore(tables)
    index.metadata = json.loads(facts["user"])
    _require(_strings(index.metadata), "user: expected a dictionary of strings")
    if "effort" in facts:  # files from before there was a certificate have neither
        index.effort = positive_int(int(facts["effort"]), "effort")
    if "certificate" in facts:
        index.certificate = Recall(**json.loads(facts["certificate"]))
