"""Parts that every tokenizer.json has, checked as they are read: types, special tokens, templates."""

import json
from dataclasses import replace

from .template import Template

STRICT = ("single_word", "lstrip", "rstrip", "normalized")  # flags of an added token


def known(document, role, types):
    """The component of that role, if its type is one of those known."""
    component = typed(document, dict, "the document")[role]
    found = component.get("type") if isinstance(component, dict) else component
    if found not in types:
        raise ValueError(f"{role}: expected {' or '.join(sorted(types))}, got {found!r}, which is not supported")
    return component


def typed(value, types, name):
    """A JSON value, if its type is right (true is no number)."""
    if not isinstance(value, types) or (types is int and isinstance(value, bool)):
        raise ValueError(f"{name}: unexpected {value!r:.40}")
    return value


def checked_vocab(vocab):
    for token, i in typed(vocab, dict, "vocab").items():
        typed(i, int, f"id of {token!r:.40}")
    "".join(vocab).encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return vocab


def special_token(token, vocab, flags=()):
    """(content, id) of an added token, if it is a control token; `flags` names those that may be set."""
    content = typed(token["content"], str, "added token")
    odd = [flag for flag in STRICT if flag not in flags and token.get(flag)]
    if odd or not token.get("special"):
        kind = ", ".join(odd) or "not special"
        raise ValueError(f"added token {content!r}: its kind ({kind}) is not supported")
    if not content or vocab.get(content) != token["id"]:
        raise ValueError(f"added token {content!r}: id {token['id']} is not its id in the vocabulary")
    return content, token["id"]


def write_special_tokens(tokenizer):
    """The added_tokens of a tokenizer, in the order of ids."""
    entries = []
    for content, i in sorted(tokenizer.special_tokens.items(), key=lambda item: item[1]):
        lstrip, rstrip = tokenizer.strips.get(content, (False, False))
        flags = {"single_word": False, "lstrip": lstrip, "rstrip": rstrip, "normalized": False, "special": True}
        entries.append({"id": i, "content": content, **flags})
    return entries


def read_template(document, vocab, more=()):
    """Template and {token: id} of its special tokens; `more` names further post-processors that may stand there."""
    if document.get("post_processor") is None:
        return Template(), {}
    found = known(document, "post_processor", {"TemplateProcessing", "BertProcessing", *more})
    read = {"BertProcessing": _around, "RobertaProcessing": _around, "ByteLevel": lambda _: (Template(), {})}
    template, used = read.get(found["type"], _template_processing)(found)
    if unmarked := {name: i for name, i in used.items() if vocab.get(name) != i}:
        raise ValueError(f"post_processor: ids that the vocabulary does not have: {unmarked}")
    if found["type"] in ("RobertaProcessing", "ByteLevel") and typed(found["trim_offsets"], bool, "trim_offsets"):
        if found["add_prefix_space"]:
            raise ValueError("post_processor: trim_offsets together with add_prefix_space is not supported")
        template = replace(template, trim_offsets=True)
    return template, used


def _around(found):
    """BERT's  [CLS] a [SEP] b [SEP]  and RoBERTa's  <s> a </s> </s> b </s>."""
    (cls, cls_id), (sep, sep_id) = found["cls"], found["sep"]
    single = ((cls, 0), ("A", 0), (sep, 0))
    second = (("B", 1), (sep, 1)) if found["type"] == "BertProcessing" else ((sep, 0), ("B", 0), (sep, 0))
    return Template(single, (*single, *second)), {cls: cls_id, sep: sep_id}


def _template_processing(found):
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


def write_template(tokenizer):
    """TemplateProcessing of a tokenizer."""
    template, specials = tokenizer.template, tokenizer.special_tokens
    named = {name for name, _ in (*template.single, *template.pair)} - {"A", "B"}
    return {
        "type": "TemplateProcessing",
        "single": template_items(template.single),
        "pair": template_items(template.pair),
        "special_tokens": {t: {"id": t, "ids": [specials[t]], "tokens": [t]} for t in sorted(named)},
    }


def template_items(pieces):
    kinds = {"A": "Sequence", "B": "Sequence"}
    return [{kinds.get(name, "SpecialToken"): {"id": name, "type_id": type_id}} for name, type_id in pieces]


def read_json(path):
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, or cut off: {error}") from error


def read_text(path):
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
