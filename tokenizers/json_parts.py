"""Parts that every tokenizer.json has, checked as they are read: types, added tokens, post-processors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .added_tokens import AddedToken
from .engine import MAX_ID
from .template import SEQUENCES, Template

if TYPE_CHECKING:
    from .tokenizer import Tokenizer


def known(document: Any, role: str, types: Collection[str]) -> Any:
    """The component of that role, if its type is one of those known."""
    component = typed(document, dict, "the document")[role]
    found = component.get("type") if isinstance(component, dict) else component
    if found not in types:
        raise ValueError(f"{role}: expected {' or '.join(sorted(types))}, got {found!r}, which is not supported")
    return component


def typed(value: Any, types: Any, name: str) -> Any:
    """A JSON value, if its type is right (true is no number)."""
    if not isinstance(value, types) or (types is int and isinstance(value, bool)):
        raise ValueError(f"{name}: unexpected {value!r:.40}")
    return value


def checked_vocab(vocab: Any) -> dict[str, int]:
    """{token: id}, if the ids are whole numbers in range and no token holds a lone surrogate."""
    ids = typed(vocab, dict, "vocab").values()
    if set(map(type, ids)) != {int} or min(ids) < 0 or max(ids) > MAX_ID:
        for token, i in vocab.items():  # which one
            checked_id(i, token)
    "".join(vocab).encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return vocab


def checked_id(i: Any, token: str) -> int:
    """An id, if it is a whole number in range."""
    if not 0 <= typed(i, int, f"id of {token!r:.40}") <= MAX_ID:
        raise ValueError(f"id of {token!r:.40}: ids must be 0 … {MAX_ID}, got {i}")
    return i


# Added tokens


def read_added_tokens(document: dict[str, Any], vocab: dict[str, int]) -> list[AddedToken]:
    """AddedTokens of a document; their ids are those of the model's vocabulary, or new."""
    tokens = []
    for entry in document.get("added_tokens") or []:
        content = typed(typed(entry, dict, "added token")["content"], str, "added token")
        content.encode()
        if not content or vocab.get(content, entry["id"]) != checked_id(entry["id"], content):
            raise ValueError(f"added token {content!r}: id {entry['id']} is not its id in the vocabulary")
        flags = [f.name for f in dataclasses.fields(AddedToken)[2:]]
        values = {name: typed(entry.get(name, False), bool, f"added token {content!r}: {name}") for name in flags}
        tokens.append(AddedToken(content, entry["id"], **values))
    return tokens


def write_added_tokens(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The added_tokens of a tokenizer, in the order of ids."""
    order = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
    return [{name: getattr(token, name) for name in order} for token in tokenizer.added_tokens]


# Post-processors


def read_template(document: dict[str, Any], vocab: dict[str, int]) -> tuple[Template, dict[str, int]]:
    """Template and {token: id} of its special tokens; vocab holds the added tokens too."""
    found = document.get("post_processor")
    template = Template()
    used: dict[str, int] = {}
    for step in _post_processors(found):
        kind = step["type"]
        if kind != "ByteLevel":
            if template.single != Template().single or used:
                raise ValueError("post_processor: two templates after each other are not supported")
            around, used = (_template_processing if kind == "TemplateProcessing" else _around)(step)
            template = replace(template, single=around.single, pair=around.pair)
        if kind in ("RobertaProcessing", "ByteLevel") and typed(step["trim_offsets"], bool, "trim_offsets"):
            if template.trim_offsets:
                raise ValueError("post_processor: trimming offsets twice is not supported")
            prefix = typed(step["add_prefix_space"], bool, "add_prefix_space")
            template = replace(template, trim_offsets=True, add_prefix_space=prefix)
    if unmarked := {name: i for name, i in used.items() if vocab.get(name) != i}:
        raise ValueError(f"post_processor: ids that the vocabulary does not have: {unmarked}")
    return template, used


def _post_processors(found):
    """The post-processors of a document, one after the other."""
    if found is None:
        return []
    single = {"TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"}
    known({"post_processor": found}, "post_processor", {*single, "Sequence"})
    if found["type"] != "Sequence":
        return [found]
    return [step for inner in typed(found["processors"], list, "processors") for step in _post_processors(inner)]


def _around(found):
    """BERT's  [CLS] a [SEP] b [SEP]  and RoBERTa's  <s> a </s> </s> b </s>."""
    (cls, cls_id), (sep, sep_id) = found["cls"], found["sep"]
    single = ((cls, 0), ("A", 0), (sep, 0))
    second = (("B", 1), (sep, 1)) if found["type"] == "BertProcessing" else ((sep, 0), ("B", 0), (sep, 0))
    return Template(single, (*single, *second)), {cls: cls_id, sep: sep_id}


def _template_processing(found):
    """A template; a special token may stand for several, which then stand in its place."""
    stands_for: dict[str, list[str]] = {}
    used: dict[str, int] = {}
    for name, token in found["special_tokens"].items():
        stands_for[name] = typed(token["tokens"], list, f"post_processor: tokens of {name!r}")
        used |= zip(stands_for[name], token["ids"], strict=True)

    def pieces(side):
        for entry in found[side]:
            for kind, item in entry.items():
                name, type_id = item["id"], typed(item["type_id"], int, "type_id")
                if kind == "Sequence" and name in SEQUENCES:
                    yield name, type_id
                elif name in stands_for:
                    yield from ((token, type_id) for token in stands_for[name])
                else:
                    raise ValueError(f"post_processor: special token {name!r} is not among its special_tokens")

    return Template(tuple(pieces("single")), tuple(pieces("pair"))), used


def write_template(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """The post_processor of a tokenizer."""
    template, specials = tokenizer.template, tokenizer.special_tokens
    trims = {"add_prefix_space": template.add_prefix_space, "trim_offsets": True}
    if (template.single, template.pair) == (Template().single, Template().pair):
        return {"type": "ByteLevel", **trims, "use_regex": True} if template.trim_offsets else None
    if template.trim_offsets:
        cls, sep = template.single[0][0], template.single[-1][0]
        roberta = {"type": "RobertaProcessing", "sep": [sep, specials.get(sep)], "cls": [cls, specials.get(cls)]}
        if (template.single, template.pair) == ((around := _around(roberta)[0]).single, around.pair):
            return {**roberta, "trim_offsets": True, "add_prefix_space": template.add_prefix_space}
    named = {name for name, _ in (*template.single, *template.pair)} - set(SEQUENCES)
    processing = {
        "type": "TemplateProcessing",
        "single": template_items(template.single),
        "pair": template_items(template.pair),
        "special_tokens": {t: {"id": t, "ids": [specials[t]], "tokens": [t]} for t in sorted(named)},
    }
    if not template.trim_offsets:
        return processing
    return {"type": "Sequence", "processors": [{"type": "ByteLevel", **trims, "use_regex": True}, processing]}


def template_items(pieces: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    """One side of a TemplateProcessing."""
    kinds = {"A": "Sequence", "B": "Sequence"}
    return [{kinds.get(name, "SpecialToken"): {"id": name, "type_id": type_id}} for name, type_id in pieces]


# Text


def parse_json(text: str) -> Any:
    """JSON value of a text in which no key is there twice."""
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r:.40} is there twice")
    return found


def read_json(path: Path) -> Any:
    """JSON value of a file; ValueError: not JSON, or a key is there twice."""
    try:
        return parse_json(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, or cut off: {error}") from error


def read_text(path: Path) -> str:
    """Text of a file; ValueError: not UTF-8, with the place."""
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
