"""Components of tokenizer.json, read into and written from the dataclasses named like them, field by field."""

import dataclasses
import types
from typing import Any

from . import decoders, normalizers, pretokenizers
from .json_parts import typed
from .normalize import BertNormalizer, Identity
from .patterns import Pattern, compiled
from .pretokenize import PATTERNS, BertPreTokenizer
from .unigram_files import Precompiled

NESTED = {"normalizers": "normalizer", "pretokenizers": "pre_tokenizer", "decoders": "decoder"}


def _by_name(module, *more):
    """{name: class} of the components that a module defines, and of some from elsewhere."""
    own = [value for value in vars(module).values() if dataclasses.is_dataclass(value)]
    return {cls.__name__: cls for cls in [*own, *more] if cls.__module__ == module.__name__ or cls in more}


ABSENT = {"normalizer": Identity(), "pre_tokenizer": pretokenizers.Whole(), "decoder": decoders.Spaced()}
KNOWN = {
    "normalizer": _by_name(normalizers, BertNormalizer, Precompiled),
    "pre_tokenizer": _by_name(pretokenizers, BertPreTokenizer),
    "decoder": _by_name(decoders),
}
CHOICES = {"behavior": pretokenizers.BEHAVIORS, "prepend_scheme": ("always", "first", "never")}


def read(found: Any, role: str) -> Any:
    """Component of a role ("normalizer", "pre_tokenizer", "decoder") from its JSON value; null does nothing.

    Raises   ValueError: unknown, by name, or a field is of a wrong kind; KeyError: a field is missing
    """
    if found is None:
        return ABSENT[role]
    name = typed(found, dict, role).get("type")
    if name not in KNOWN[role] or type(ABSENT[role]).__name__ == name:
        raise ValueError(f"{role}: {name!r} is not supported; known are {', '.join(sorted(KNOWN[role]))}")
    if name == "Metaspace":
        found = _older_metaspace(found)
    fields = dataclasses.fields(KNOWN[role][name])
    values = {f.name: _value(found[f.name], f, role) for f in fields if f.name in found or _required(f)}
    return KNOWN[role][name](**values)


def _required(field):
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _older_metaspace(found):
    """Files once said add_prefix_space: false for prepend_scheme "never"."""
    return {**found, "prepend_scheme": "never"} if found.get("add_prefix_space") is False else found


def _value(value, field, role):
    if field.type is Pattern:
        kinds = {"String": "literal", "Regex": "regex"}
        found = typed(value, dict, f"{role}: {field.name}")
        if found.keys() not in ({"String"}, {"Regex"}):
            got = ", ".join(found) or "neither"
            raise ValueError(f"{role}: {field.name}: expected a String or a Regex, got {got}")
        ((kind, text),) = found.items()
        pattern = Pattern(**{kinds[kind]: typed(text, str, f"{role}: {kind}")})
        if kind == "Regex" and text not in PATTERNS.values():  # those are known and slow to compile
            compiled(text)
        return pattern
    if field.name in NESTED:
        return tuple(read(typed(item, dict, role), role) for item in typed(value, list, f"{role}: {field.name}"))
    optional = isinstance(field.type, types.UnionType)
    value = typed(value, field.type.__args__ if optional else field.type, f"{role}: {field.name}")
    if field.name in CHOICES and value not in CHOICES[field.name]:
        raise ValueError(f"{role}: {field.name} {value!r} is not supported")
    return value


def write(component: Any) -> dict[str, Any] | None:
    """JSON value of a component."""
    if component in ABSENT.values():
        return None
    values = {f.name: getattr(component, f.name) for f in dataclasses.fields(component)}
    return {"type": type(component).__name__, **{name: _json(value) for name, value in values.items()}}


def _json(value):
    if isinstance(value, Pattern):
        return {"Regex": value.regex} if value.literal is None else {"String": value.literal}
    return [write(item) for item in value] if isinstance(value, tuple) else value
