"""SentencePiece's .model files, both ways: protocol buffers, by hand.

A message is a row of fields: a varint that holds number << 3 | wire type, then a varint, four or eight bytes, or
a length and that many bytes, which may be a message again.

Source   protobuf.dev/programming-guides/encoding; sentencepiece_model.proto of sentencepiece 0.2.3
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .charsmap import SentencePieceNormalizer
from .pieces import CONTROL, NORMAL, USER_DEFINED
from .sentencepiece import UNKNOWN_SURFACE, SentencePiece, SentencePieceBPE
from .unigram import Unigram

Schema: TypeAlias = dict[str, tuple[int, type]]  # name → number, type of the value

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
PIECE = {"piece": (1, str), "score": (2, float), "kind": (3, int)}
NORMALIZER = {
    "name": (1, str),
    "charsmap": (2, bytes),
    "add_dummy_prefix": (3, bool),
    "remove_extra_whitespaces": (4, bool),
    "escape_whitespaces": (5, bool),
    "rule_tsv": (6, str),
}
TRAINER = {
    "input": (1, list),
    "model_prefix": (2, str),
    "model_type": (3, int),
    "vocab_size": (4, int),
    "accept_language": (5, list),
    "self_test_sample_size": (6, int),
    "input_format": (7, str),
    "character_coverage": (10, float),
    "input_sentence_size": (11, int),
    "mining_sentence_size": (12, int),
    "training_sentence_size": (13, int),
    "seed_sentencepiece_size": (14, int),
    "shrinking_factor": (15, float),
    "num_threads": (16, int),
    "num_sub_iterations": (17, int),
    "max_sentence_length": (18, int),
    "shuffle_input_sentence": (19, bool),
    "max_sentencepiece_length": (20, int),
    "split_by_unicode_script": (21, bool),
    "split_by_whitespace": (22, bool),
    "split_by_number": (23, bool),
    "treat_whitespace_as_suffix": (24, bool),
    "split_digits": (25, bool),
    "allow_whitespace_only_pieces": (26, bool),
    "control_symbols": (30, list),
    "user_defined_symbols": (31, list),
    "vocabulary_output_piece_score": (32, bool),
    "hard_vocab_limit": (33, bool),
    "use_all_vocab": (34, bool),
    "byte_fallback": (35, bool),
    "required_chars": (36, str),
    "unk_id": (40, int),
    "bos_id": (41, int),
    "eos_id": (42, int),
    "pad_id": (43, int),
    "unk_surface": (44, str),
    "unk_piece": (45, str),
    "bos_piece": (46, str),
    "eos_piece": (47, str),
    "pad_piece": (48, str),
    "train_extremely_large_corpus": (49, bool),
    "enable_differential_privacy": (50, bool),
    "differential_privacy_noise_level": (51, float),
    "differential_privacy_clipping_threshold": (52, int),
    "pretokenization_delimiter": (53, str),
    "seed_sentencepieces_file": (54, str),
    "auto_character_coverage": (55, bool),
}
WIRE = {int: VARINT, bool: VARINT, float: FIXED32, str: BYTES, bytes: BYTES, list: BYTES}


def from_model(data: bytes) -> SentencePiece:
    """Tokenizer of the bytes of a .model file.

    Raises   ValueError: says at which byte it is cut off or broken, or what in it is not supported
    """
    pieces, scores, kinds, at = usual_pieces(data)
    parts: dict[int, dict[str, Any]] = {}
    for number, wire, start, end in fields(data, at, len(data)):
        if number == 1 and wire == BYTES:
            piece = read_message(data, start, end, PIECE)
            pieces.append(piece.get("piece", ""))
            scores.append(piece.get("score", 0.0))
            kinds.append(piece.get("kind", NORMAL))
        elif number in (2, 3, 5) and wire == BYTES:
            parts[number] = read_message(data, start, end, NORMALIZER if number > 2 else TRAINER)
    if not pieces or 2 not in parts or 3 not in parts:
        missing = "pieces" if not pieces else "the trainer's settings" if 2 not in parts else "the normalizer"
        raise ValueError(f"lacks {missing}: no SentencePiece model, or cut off")
    settings, spec = parts[2], parts[3]
    kind = settings.get("model_type", 1)
    if kind not in (1, 2):
        raise ValueError(f"model_type {MODEL_TYPES.get(kind, kind)!r} is not supported")
    model = (Unigram, SentencePieceBPE)[kind - 1](
        pieces, scores, kinds, byte_fallback=settings.get("byte_fallback", False)
    )
    suffix, kept = settings.get("treat_whitespace_as_suffix", False), tuple(model.of_kind(USER_DEFINED))
    normalizer = read_normalizer(spec, whitespace_as_suffix=suffix, user_defined=kept)
    denormalizer = read_normalizer(parts[5]) if parts.get(5, {}).get("charsmap") else None
    surface = settings.get("unk_surface", UNKNOWN_SURFACE)
    return SentencePiece(model, normalizer, settings=settings, unk_surface=surface, denormalizer=denormalizer)


def usual_pieces(data: bytes) -> tuple[list[str], list[float], list[int], int]:
    """Strings, scores and kinds of the pieces that a file begins with, and where they end.

    Stops at the first that is not laid out as trainers do: string, score, and kind unless it is normal, each length in
    one byte. `read_message` takes any, ten times as slowly.
    """
    string_tag, score_tag, kind_tag = (number << 3 | WIRE[kind] for number, kind in PIECE.values())
    starts, at = [], 0
    while at + 3 < len(data) and data[at] == data[at + 2] == string_tag and data[at + 1] < 128:
        starts.append(at)
        at += 2 + data[at + 1]
    array, stops = np.frombuffer(data + bytes(8), np.uint8), np.array([*starts[1:], at])
    begins = np.array(starts, np.int64) + 4
    ends = np.minimum(begins + array[begins - 1], len(data))
    rest = stops[: len(starts)] - ends
    has_kind = (rest == 7) & (array[ends + 5] == kind_tag) & (array[ends + 6] < 128)
    usual = (array[ends] == score_tag) & ((rest == 5) | has_kind) & (stops[: len(starts)] <= len(data))
    n = len(starts) if usual.all() else int(np.argmin(usual))
    spans = zip(begins[:n].tolist(), ends[:n].tolist(), strict=True)
    try:
        strings = [data[begin:end].decode() for begin, end in spans]
    except UnicodeDecodeError:  # the other way says where
        return [], [], [], 0
    scores = sliding_window_view(array, 4)[ends[:n] + 1].view("<f4").ravel()
    kinds = np.where(has_kind, array[ends + 6], NORMAL)[:n]
    return strings, scores.tolist(), kinds.tolist(), int(stops[n - 1]) if n else 0


def read_normalizer(spec: dict[str, Any], **more: Any) -> SentencePieceNormalizer:
    """Normalizer of a NormalizerSpec's fields."""
    names = ("charsmap", "add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces", "name")
    return SentencePieceNormalizer(**{name: spec[name] for name in names if name in spec}, **more)


def to_model(tokenizer: SentencePiece) -> bytes:
    """Bytes of a .model file."""
    model, decoder = tokenizer.model, tokenizer.decoder
    derived = {
        "model_type": 1 if isinstance(model, Unigram) else 2,
        "vocab_size": len(model.pieces),
        "treat_whitespace_as_suffix": tokenizer.normalizer.whitespace_as_suffix,
        "byte_fallback": model.byte_fallback,
        "unk_id": model.unk_id,
        "unk_piece": model.pieces[model.unk_id],
        "unk_surface": decoder.unk_surface,
    }
    for name, default in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        piece = tokenizer.settings.get(f"{name}_piece", default)
        derived |= {f"{name}_id": model.of_kind(CONTROL).get(piece, -1), f"{name}_piece": piece}
    messages = [
        (1, write_message({"piece": piece, "score": score, "kind": kind}, PIECE))
        for piece, score, kind in zip(model.pieces, model.scores, model.kinds, strict=True)
    ]
    messages.append((2, write_message({**tokenizer.settings, **derived}, TRAINER)))
    messages.append((3, write_normalizer(tokenizer.normalizer)))
    if decoder.denormalizer:
        messages.append((5, write_normalizer(decoder.denormalizer)))
    return b"".join(varint(number << 3 | BYTES) + varint(len(data)) + data for number, data in messages)


def write_normalizer(normalizer: SentencePieceNormalizer) -> bytes:
    """Bytes of a NormalizerSpec."""
    names = ("name", "charsmap", "add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces")
    return write_message({name: getattr(normalizer, name) for name in names}, NORMALIZER)


# Protocol buffers


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, start, end) of the values of a message that is data[at:end]."""
    while at < end:
        key, start = read_varint(data, at, end)
        wire, stop = key & 7, None
        if wire == VARINT:
            _, stop = read_varint(data, start, end)
        elif wire == BYTES:
            length, start = read_varint(data, start, end)
            stop = start + length
        elif wire in (FIXED32, FIXED64):
            stop = start + (4 if wire == FIXED32 else 8)
        if stop is None or not 1 <= key >> 3 < 1 << 29:
            raise ValueError(f"byte {at}: a field of number {key >> 3} and wire type {wire}, which there is not")
        if stop > end:
            raise ValueError(
                f"byte {at}: a field of {stop - start} bytes, but {end - start} are left: cut off or broken"
            )
        yield key >> 3, wire, start, stop
        at = stop


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, place after it): seven bits a byte, the lowest first."""
    value = 0
    for i in range(at, min(end, at + 10)):
        value |= (data[i] & 127) << 7 * (i - at)
        if data[i] < 128:
            return value & (1 << 64) - 1, i + 1
    raise ValueError(f"byte {at}: a number without an end: cut off or broken")


def varint(value: int) -> bytes:
    """Bytes of a number; a negative one counts as its 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_message(data: bytes, start: int, end: int, schema: Schema) -> dict[str, Any]:
    """{name: value} of the fields that a schema {name: (number, type)} knows."""
    names = {number: (name, kind) for name, (number, kind) in schema.items()}
    values: dict[str, Any] = {}
    for number, wire, a, b in fields(data, start, end):
        if number not in names:
            continue
        name, kind = names[number]
        if wire != WIRE[kind]:
            raise ValueError(f"byte {a}: {name} has wire type {wire}, expected {WIRE[kind]}")
        value = _value(data, a, b, kind)
        values[name] = [*values.get(name, []), value] if kind is list else value
    return values


def _value(data, start, end, kind):
    if kind is float:
        return struct.unpack_from("<f", data, start)[0]
    if kind in (int, bool):
        value, _ = read_varint(data, start, end)
        return bool(value) if kind is bool else value - (value >> 63 << 64)
    if kind is bytes:
        return bytes(data[start:end])
    try:
        return bytes(data[start:end]).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {start + error.start}: not UTF-8") from error


def write_message(values: dict[str, Any], schema: Schema) -> bytes:
    """Bytes of a message with the fields of the schema that there are values for."""
    out = bytearray()
    for name, (number, kind) in schema.items():
        for value in values.get(name, []) if kind is list else [values[name]] if name in values else []:
            out += varint(number << 3 | WIRE[kind])
            if kind is float:
                out += struct.pack("<f", value)
            elif kind in (int, bool):
                out += varint(int(value))
            else:
                encoded = value if kind is bytes else value.encode()
                out += varint(len(encoded)) + encoded
    return bytes(out)
