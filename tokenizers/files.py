"""Files, both ways: tokenizer.json, BERT's vocab.txt, GPT-2's vocab.json with merges.txt, and .tiktoken.

Writing goes to a temporary file that replaces the old one at the end. Reading checks everything and refuses what this
package does not know, by name, rather than giving other ids.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from . import bpe_files, components, decoders, sentencepiece_files
from .bpe import BPE
from .character_bpe import read_character_bpe, write_character_bpe
from .json_parts import (
    checked_vocab,
    known,
    parse_json,
    read_added_tokens,
    read_json,
    read_template,
    read_text,
    typed,
    write_added_tokens,
    write_template,
)
from .normalize import BertNormalizer
from .pretokenize import BertPreTokenizer
from .sentencepiece import SentencePiece
from .template import bert_template
from .tokenizer import Tokenizer
from .unigram_files import read_unigram, unigram_vocab, write_unigram
from .wordlevel import WordLevel
from .wordpiece import SPECIAL_TOKENS, WordPiece

# what a wrong document runs into; OverflowError: a{99999999999} in a pattern
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
MODEL_NAMES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")  # SentencePiece's
NAMES = ("tokenizer.json", "vocab.txt", "vocab.json", "encoder.json", *MODEL_NAMES)  # in a folder, the first there


class TokenizerFileError(ValueError):
    """A file that is not a tokenizer, or not one this package can follow exactly: names the file and the reason."""


@contextmanager
def collection_paused() -> Iterator[None]:
    """Python's cyclic collector off: it looks at every object anew as a vocabulary grows, a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@collection_paused()
def load(
    path: str | PathLike[str],
    *,
    lowercase: bool | None = None,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Tokenizer:
    """Tokenizer from tokenizer.json, vocab.txt, vocab.json with merges.txt, name.tiktoken, name.model, or a folder.

    A vocab.txt does not say how text is normalized: tokenizer_config.json beside it does, or `lowercase`, or else
    BERT's default, lower case. A .tiktoken file does not say which `pattern` cuts text (see PATTERNS; the names of the
    published ones do) and has no `special_tokens`, {token: id}.

    Raises   TokenizerFileError: names the file and what is wrong with it; OSError: cannot be read
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if not found:
            raise TokenizerFileError(f"{path}: holds none of {', '.join(NAMES)}")
        path = found[0]
    try:
        if lowercase is not None and path.suffix != ".txt":
            raise ValueError("lowercase applies to vocab.txt only, a tokenizer.json says it itself")
        if (pattern or special_tokens) and path.suffix != ".tiktoken":
            raise ValueError("pattern and special_tokens apply to .tiktoken files only")
        if path.suffix == ".txt":
            return _from_vocab_txt(path, lowercase)
        if path.suffix == ".model":
            return sentencepiece_files.from_model(path.read_bytes())
        if path.suffix == ".tiktoken":
            return bpe_files.from_tiktoken(path, pattern, special_tokens)
        document = read_json(path)
        if merges := bpe_files.merges_beside(path, document):
            return bpe_files.from_vocab_and_merges(document, merges)
        return _from_dict(document)
    except UNREADABLE as error:
        raise TokenizerFileError(f"{path}: {_reason(error)}") from error


def from_json(text: str) -> Tokenizer:
    """Tokenizer from the text of a tokenizer.json, as `Tokenizer.to_json` gives it.

    Raises   TokenizerFileError: what is wrong with it
    """
    try:
        return _from_dict(parse_json(text))
    except UNREADABLE as error:
        raise TokenizerFileError(f"tokenizer.json as text: {_reason(error)}") from error


def _reason(error):
    return f"lacks the key {error}" if isinstance(error, KeyError) else str(error)


def save(tokenizer: Tokenizer, path: str | PathLike[str]) -> None:
    """Write a tokenizer to name.json or a folder, as tokenizer.json; or to vocab.txt, vocab.json, name.tiktoken.

    The last three hold less: a vocabulary, and the merges in merges.txt beside vocab.json.
    """
    path = Path(path)
    if path.is_dir():
        path = path / ("tokenizer.model" if isinstance(tokenizer, SentencePiece) else "tokenizer.json")
    byte_level = isinstance(tokenizer.model, BPE)
    if isinstance(tokenizer, SentencePiece):
        if path.suffix != ".model":
            raise ValueError(f"{path}: expected a name that ends in .model")
        write_atomically(path, sentencepiece_files.to_model(tokenizer))
    elif path.suffix == ".txt" and isinstance(tokenizer.model, WordPiece):
        write_atomically(path, _vocab_txt(tokenizer))
    elif path.suffix == ".tiktoken" and byte_level:
        write_atomically(path, bpe_files.tiktoken_text(tokenizer))
    elif path.name == "vocab.json" and byte_level:
        vocab, merges = bpe_files.vocab_and_merges_text(tokenizer)
        write_atomically(path.with_name("merges.txt"), merges)
        write_atomically(path, vocab)
    elif path.suffix == ".json":
        write_atomically(path, to_json(tokenizer))
    else:
        kinds = {BPE: ".json or .tiktoken", WordPiece: ".json or .txt"}.get(type(tokenizer.model), ".json")
        raise ValueError(f"{path}: expected a folder that exists, or a name that ends in {kinds}")


def write_atomically(path: str | PathLike[str], text: str | bytes) -> None:
    """Replace a file at once: after a crash or a full disk it holds the old text or bytes or the new, never a part.

    As atomic_write of ann/files.py: neither package imports the other.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
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


# tokenizer.json


def to_json(tokenizer: Tokenizer) -> str:
    """Text of tokenizer.json: vocabulary in the order of ids, two spaces of indent, as Hugging Face writes it."""
    pretokenizer, decoder, model = tokenizer.pretokenizer, tokenizer.decoder, tokenizer.model
    kind = type(model).__name__
    document = {
        "version": "1.0",
        "truncation": tokenizer.file_settings.get("truncation"),
        "padding": tokenizer.file_settings.get("padding"),
        "added_tokens": write_added_tokens(tokenizer),
        "normalizer": components.write(tokenizer.normalizer),
        "pre_tokenizer": components.write(bpe_files.in_bytes(pretokenizer) if kind == "BPE" else pretokenizer),
        "post_processor": write_template(tokenizer),
        "decoder": components.write(decoder),
        "model": {"type": kind.removeprefix("Character"), **MODELS[kind][1](model)},
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _from_dict(document):
    model = typed(document, dict, "the document")["model"]
    for name, kind in (("merges", "BPE"), ("unk_id", "Unigram")):  # older files leave the type out
        if name in model:
            model.setdefault("type", kind)
    kind = known(document, "model", set(MODELS) - {"CharacterBPE"})["type"]
    vocab = unigram_vocab(model) if kind == "Unigram" else model["vocab"]
    added = read_added_tokens(document, checked_vocab(vocab))
    normalizer, pretokenizer, decoder = (
        components.read(document.get(role), role) for role in ("normalizer", "pre_tokenizer", "decoder")
    )
    if kind == "BPE" and not bpe_files.in_characters(pretokenizer):
        pretokenizer = bpe_files.over_text(pretokenizer)
    elif kind == "BPE":
        kind = "CharacterBPE"
    template, used = read_template(document, {**vocab, **{token.content: token.id for token in added}})
    specials = {**{token.content: token.id for token in added if token.special}, **used}
    settings = {name: document.get(name) for name in ("truncation", "padding")}
    model = MODELS[kind][0](model, added)
    return Tokenizer(model, normalizer, pretokenizer, template, decoder, specials, settings, added)


def _write_wordpiece(model):
    return {
        "unk_token": model.unk_token,
        "continuing_subword_prefix": model.prefix,
        "max_input_chars_per_word": model.max_input_chars_per_word,
        "vocab": by_id(model.vocab),
    }


def _read_wordpiece(found, added):
    longest = typed(found["max_input_chars_per_word"], int, "max_input_chars_per_word")
    prefix = typed(found["continuing_subword_prefix"], str, "continuing_subword_prefix")
    return WordPiece(found["vocab"], found["unk_token"], prefix, longest)


def _write_wordlevel(model):
    return {"vocab": by_id(model.vocab), "unk_token": model.unk_token}


def _read_wordlevel(found, added):
    return WordLevel(found["vocab"], typed(found["unk_token"], str, "unk_token"))


def by_id(vocab: dict[str, int]) -> dict[str, int]:
    """A vocabulary in the order of its ids."""
    return dict(sorted(vocab.items(), key=lambda item: item[1]))


MODELS: dict[str, tuple[Callable[..., Any], Callable[..., dict]]] = {  # type in the file → (its reader, its writer)
    "BPE": (bpe_files.read_model, bpe_files.write_model),
    "CharacterBPE": (read_character_bpe, write_character_bpe),
    "Unigram": (read_unigram, write_unigram),
    "WordLevel": (_read_wordlevel, _write_wordlevel),
    "WordPiece": (_read_wordpiece, _write_wordpiece),
}


# vocab.txt


def _vocab_txt(tokenizer):
    """One token a line, in the order of ids."""
    tokens = sorted(tokenizer.model.vocab, key=tokenizer.model.vocab.get)
    if bad := [t for t in tokens if not t or "\n" in t or t != t.rstrip("\r")]:
        raise ValueError(f"vocab.txt cannot hold the token {bad[0]!r}: save as tokenizer.json")
    if bad := sorted(set(tokenizer.special_tokens) - set(SPECIAL_TOKENS)):
        raise ValueError(f"vocab.txt cannot say that {bad[0]!r} is a special token: save as tokenizer.json")
    return "".join(token + "\n" for token in tokens)


def _from_vocab_txt(path, lowercase):
    text = read_text(path)
    if not text.endswith("\n"):
        raise ValueError("the last line has no end: empty or cut off")
    vocab: dict[str, int] = {}
    for i, line in enumerate(text[:-1].split("\n")):
        token = line.rstrip("\r")
        if not token or token in vocab:
            problem = f"repeats {token!r} of line {vocab[token] + 1}" if token else "is empty"
            raise ValueError(f"line {i + 1} {problem}")
        vocab[token] = i
    specials = {token: vocab[token] for token in SPECIAL_TOKENS if token in vocab}
    settings = path.with_name("tokenizer_config.json")
    settings = typed(read_json(settings), dict, settings.name) if settings.is_file() else {}

    def setting(name, default):
        value = settings.get(name, default)
        return typed(value, (bool, type(default)), f"{path.parent / 'tokenizer_config.json'}: {name}")

    normalizer = BertNormalizer(
        handle_chinese_chars=setting("tokenize_chinese_chars", True),
        strip_accents=setting("strip_accents", None),
        lowercase=setting("do_lower_case", True) if lowercase is None else lowercase,
    )
    template = bert_template(specials)
    return Tokenizer(WordPiece(vocab), normalizer, BertPreTokenizer(), template, decoders.WordPiece(), specials)
