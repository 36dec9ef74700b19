"""Files: Hugging Face's tokenizer.json and BERT's vocab.txt, both ways.

Writing goes to a temporary file that replaces the old one at the end. Reading checks everything and refuses what this
package does not know, by name, rather than giving other ids.
"""

import json
import os
import tempfile
from pathlib import Path

from .normalize import BertNormalizer
from .pretokenize import BertPreTokenizer
from .template import Template, bert_template
from .tokenizer import Tokenizer
from .wordpiece import SPECIAL_TOKENS, WordPiece, WordPieceDecoder


class TokenizerFileError(ValueError):
    """A file that is not a tokenizer, or not one this package can follow exactly: names the file and the reason."""


def load(path, *, lowercase=None):
    """Tokenizer from tokenizer.json, vocab.txt, or a folder that holds one of them (the first before the second).

    A vocab.txt does not say how text is normalized: tokenizer_config.json beside it does, or `lowercase`, or else
    BERT's default, lower case.

    Raises   TokenizerFileError: names the file and what is wrong with it; OSError: cannot be read
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
        if not found:
            raise TokenizerFileError(f"{path}: holds neither tokenizer.json nor vocab.txt")
        path = found[0]
    try:
        if path.suffix == ".txt":
            return _from_vocab_txt(path, lowercase)
        if lowercase is not None:
            raise ValueError("lowercase applies to vocab.txt only, a tokenizer.json says it itself")
        return _from_dict(_read_json(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"lacks the key {error}" if isinstance(error, KeyError) else str(error)
        raise TokenizerFileError(f"{path}: {reason}") from error


def save(tokenizer, path):
    """Write a tokenizer to name.json, to name.txt (vocabulary only) or into a folder, as tokenizer.json."""
    path = Path(path)
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.suffix == ".txt":
        write_atomically(path, _vocab_txt(tokenizer))
    elif path.suffix == ".json":
        write_atomically(path, to_json(tokenizer))
    else:
        raise ValueError(f"{path}: expected a folder that exists, or a name that ends in .json or .txt")


def write_atomically(path, text):
    """Replace a file at once: after a crash or a full disk it holds the old text or the new, never a part."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's own 0600 would hide the file from others
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# tokenizer.json


def to_json(tokenizer):
    """Text of tokenizer.json: vocabulary in the order of ids, two spaces of indent, as Hugging Face writes it."""
    model, normalizer, specials = tokenizer.model, tokenizer.normalizer, tokenizer.special_tokens
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    by_id = sorted(specials.items(), key=lambda item: item[1])
    named = {name for name, _ in (*tokenizer.template.single, *tokenizer.template.pair)} - {"A", "B"}
    document = {
        "version": "1.0",
        "truncation": tokenizer.file_settings.get("truncation"),
        "padding": tokenizer.file_settings.get("padding"),
        "added_tokens": [{"id": i, "content": token, **flags} for token, i in by_id],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": normalizer.clean_text,
            "handle_chinese_chars": normalizer.handle_chinese_chars,
            "strip_accents": normalizer.strip_accents,
            "lowercase": normalizer.lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": _template_items(tokenizer.template.single),
            "pair": _template_items(tokenizer.template.pair),
            "special_tokens": {t: {"id": t, "ids": [specials[t]], "tokens": [t]} for t in sorted(named)},
        },
        "decoder": {"type": "WordPiece", "prefix": tokenizer.decoder.prefix, "cleanup": tokenizer.decoder.clean_up},
        "model": {
            "type": "WordPiece",
            "unk_token": model.unk_token,
            "continuing_subword_prefix": model.prefix,
            "max_input_chars_per_word": model.max_input_chars_per_word,
            "vocab": dict(sorted(model.vocab.items(), key=lambda item: item[1])),
        },
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _template_items(pieces):
    kinds = {"A": "Sequence", "B": "Sequence"}
    return [{kinds.get(name, "SpecialToken"): {"id": name, "type_id": type_id}} for name, type_id in pieces]


def _from_dict(document):
    model = _known(document, "model", {"WordPiece"})
    model = WordPiece(
        _checked_vocab(model["vocab"]),
        model["unk_token"],
        model["continuing_subword_prefix"],
        _typed(model["max_input_chars_per_word"], int, "max_input_chars_per_word"),
    )
    normalizer = _known(document, "normalizer", {"BertNormalizer"})
    normalizer = BertNormalizer(
        *(_typed(normalizer[name], bool, name) for name in ("clean_text", "handle_chinese_chars")),
        _typed(normalizer["strip_accents"], (bool, type(None)), "strip_accents"),
        _typed(normalizer["lowercase"], bool, "lowercase"),
    )
    _known(document, "pre_tokenizer", {"BertPreTokenizer"})
    specials = {}
    for token in document.get("added_tokens") or []:
        specials.update(_special_token(token, model.vocab))
    decoder = WordPieceDecoder(model.prefix)
    if document.get("decoder") is not None:
        found = _known(document, "decoder", {"WordPiece"})
        decoder = WordPieceDecoder(_typed(found["prefix"], str, "prefix"), _typed(found["cleanup"], bool, "cleanup"))
    settings = {name: document.get(name) for name in ("truncation", "padding")}
    template, used = _template(document)
    if unmarked := {name: i for name, i in used.items() if specials.get(name, i) != i or model.vocab.get(name) != i}:
        raise ValueError(f"post_processor: ids that the vocabulary does not have: {unmarked}")
    return Tokenizer(model, normalizer, BertPreTokenizer(), template, decoder, {**specials, **used}, settings)


def _known(document, role, types):
    """The component of that role, if its type is one of those known."""
    component = _typed(document, dict, "the document")[role]
    found = component.get("type") if isinstance(component, dict) else component
    if found not in types:
        raise ValueError(f"{role}: expected {' or '.join(sorted(types))}, got {found!r}, which is not supported")
    return component


def _typed(value, types, name):
    """A JSON value, if its type is right (true is no number)."""
    if not isinstance(value, types) or (types is int and isinstance(value, bool)):
        raise ValueError(f"{name}: unexpected {value!r:.40}")
    return value


def _checked_vocab(vocab):
    for token, i in _typed(vocab, dict, "vocab").items():
        _typed(i, int, f"id of {token!r:.40}")
    "".join(vocab).encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return vocab


def _special_token(token, vocab):
    """{content: id} of an added token, if it is of the plain kind."""
    content = _typed(token["content"], str, "added token")
    odd = [flag for flag in ("single_word", "lstrip", "rstrip", "normalized") if token.get(flag)]
    if odd or not token.get("special"):
        kind = ", ".join(odd) or "not special"
        raise ValueError(f"added token {content!r}: its kind ({kind}) is not supported")
    if not content or vocab.get(content) != token["id"]:
        raise ValueError(f"added token {content!r}: id {token['id']} is not its id in the vocabulary")
    return {content: token["id"]}


def _template(document):
    """Template and {token: id} of its special tokens."""
    if document.get("post_processor") is None:
        return Template(), {}
    found = _known(document, "post_processor", {"TemplateProcessing", "BertProcessing"})
    if found["type"] == "BertProcessing":
        used = {name: i for name, i in (found["cls"], found["sep"])}
        (cls, _), (sep, _) = found["cls"], found["sep"]
        single = ((cls, 0), ("A", 0), (sep, 0))
        return Template(single, (*single, ("B", 1), (sep, 1))), used
    used = {}
    for name, token in found["special_tokens"].items():
        if token["tokens"] != [name] or len(token["ids"]) != 1:
            raise ValueError(f"post_processor: special token {name!r} that stands for several is not supported")
        used[name] = token["ids"][0]
    single, pair = (
        tuple((item["id"], item["type_id"]) for entry in found[side] for item in entry.values())
        for side in ("single", "pair")
    )
    for name, _ in (*single, *pair):
        if name not in ("A", "B", *used):
            raise ValueError(f"post_processor: special token {name!r} is not among its special_tokens")
    return Template(single, pair), used


def _read_json(path):
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, or cut off: {error}") from error


def _read_text(path):
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error


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
    text = _read_text(path)
    if not text.endswith("\n"):
        raise ValueError("the last line has no end: empty or cut off")
    vocab = {}
    for i, line in enumerate(text[:-1].split("\n")):
        token = line.rstrip("\r")
        if not token or token in vocab:
            problem = f"repeats {token!r} of line {vocab[token] + 1}" if token else "is empty"
            raise ValueError(f"line {i + 1} {problem}")
        vocab[token] = i
    specials = {token: vocab[token] for token in SPECIAL_TOKENS if token in vocab}
    settings = path.with_name("tokenizer_config.json")
    settings = _typed(_read_json(settings), dict, settings.name) if settings.is_file() else {}

    def setting(name, default):
        value = settings.get(name, default)
        return _typed(value, (bool, type(default)), f"{path.parent / 'tokenizer_config.json'}: {name}")

    normalizer = BertNormalizer(
        handle_chinese_chars=setting("tokenize_chinese_chars", True),
        strip_accents=setting("strip_accents", None),
        lowercase=setting("do_lower_case", True) if lowercase is None else lowercase,
    )
    template = bert_template(specials)
    return Tokenizer(WordPiece(vocab), normalizer, BertPreTokenizer(), template, WordPieceDecoder(), specials)
