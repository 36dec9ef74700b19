"""Byte-level BPE in files: tokenizer.json's parts, GPT-2's vocab.json with merges.txt, tiktoken's table of ranks."""

import base64
import json

from .bpe import ALPHABET, BPE, ByteLevelDecoder, byte_level, unspell
from .json_parts import checked_vocab, known, read_template, read_text, special_token, typed, write_template
from .normalize import Identity
from .pretokenize import PATTERNS, PatternPreTokenizer
from .template import Template
from .tokenizer import Tokenizer

MERGES_BESIDE = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}  # encoder.json: as GPT-2 was published
PATTERN_OF_FILE = {"r50k_base": "gpt2", "p50k_base": "gpt2", "cl100k_base": "cl100k", "o200k_base": "o200k"}
OFF = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}

# tokenizer.json


def document_parts(tokenizer):
    """The components of tokenizer.json."""
    model = tokenizer.model
    return {
        "normalizer": None,
        "pre_tokenizer": _write_pretokenizer(tokenizer.pretokenizer.pattern),
        "post_processor": _write_post_processor(tokenizer),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            **OFF,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": model.ignore_merges,
            "vocab": dict(sorted(model.vocab.items(), key=lambda item: item[1])),
            "merges": [list(pair) for pair in model.merges],
        },
    }


def _write_pretokenizer(pattern):
    if pattern == "gpt2":
        return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    split = {"type": "Split", "pattern": {"Regex": PATTERNS[pattern]}, "behavior": "Isolated", "invert": False}
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, to_bytes]}


def _write_post_processor(tokenizer):
    template = tokenizer.template
    if not template.trim_offsets:
        return None if template == Template() else write_template(tokenizer)
    if template == Template(trim_offsets=True):
        return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    cls, sep = template.single[0][0], template.single[-1][0]
    single = ((cls, 0), ("A", 0), (sep, 0))
    if template != Template(single, (*single, (sep, 0), ("B", 0), (sep, 0)), trim_offsets=True):
        raise ValueError("tokenizer.json: trim_offsets goes with RoBERTa's template or none")
    ids = {name: [token, tokenizer.special_tokens[token]] for name, token in (("sep", sep), ("cls", cls))}
    return {"type": "RobertaProcessing", **ids, "trim_offsets": True, "add_prefix_space": False}


def from_document(document, settings):
    """Tokenizer of a tokenizer.json whose model is BPE."""
    model = document["model"]
    for name in OFF:
        if model.get(name):
            raise ValueError(f"model: {name} {model[name]!r} is not supported")
    if model.get("byte_fallback"):
        raise ValueError("model: byte_fallback is not supported")
    if (normalizer := document.get("normalizer")) is not None:
        raise ValueError(f"normalizer: expected none, got {normalizer.get('type')!r}, which is not supported")
    pattern = _read_pretokenizer(document)
    known(document, "decoder", {"ByteLevel"})
    vocab, added = dict(checked_vocab(model["vocab"])), document.get("added_tokens") or []
    for token in added:
        vocab.setdefault(typed(token["content"], str, "added token"), typed(token["id"], int, "id of an added token"))
    specials = dict(special_token(token, vocab, ("lstrip", "rstrip", "normalized")) for token in added)
    strips = {t["content"]: (t["lstrip"], t["rstrip"]) for t in added if t.get("lstrip") or t.get("rstrip")}
    template, used = read_template(document, vocab, ("ByteLevel", "RobertaProcessing"))
    specials |= used
    merges = [_read_merge(pair) for pair in typed(model["merges"], list, "merges")]
    ignore_merges = typed(model.get("ignore_merges", False), bool, "ignore_merges")
    model = BPE(vocab, merges, ignore_merges=ignore_merges, special_tokens=specials)
    parts = Identity(), PatternPreTokenizer(pattern), template, ByteLevelDecoder()
    return Tokenizer(model, *parts, specials, settings, strips)


def _read_merge(pair):
    """["a", "b"], or "a b" in older files."""
    pair = pair.split(" ") if isinstance(pair, str) else pair
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise ValueError(f"merges: expected pairs of tokens, got {pair!r:.40}")
    return tuple(pair)


def _read_pretokenizer(document):
    """Name of the pattern."""
    found = known(document, "pre_tokenizer", {"ByteLevel", "Sequence"})
    steps = found["pretokenizers"] if found["type"] == "Sequence" else [found]
    types = [known({"pre_tokenizer": step}, "pre_tokenizer", {"ByteLevel", "Split"})["type"] for step in steps]
    if types not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise ValueError(f"pre_tokenizer: the sequence {', '.join(types)} is not supported")
    if typed(steps[-1]["add_prefix_space"], bool, "add_prefix_space"):
        raise ValueError("pre_tokenizer: add_prefix_space is not supported")
    by_regex = typed(steps[-1].get("use_regex", True), bool, "use_regex")
    if by_regex != (len(steps) == 1):
        raise ValueError(f"pre_tokenizer: use_regex {by_regex} after {len(steps) - 1} other steps is not supported")
    if len(steps) == 1:
        return "gpt2"
    names = {text: name for name, text in PATTERNS.items()}
    regex = steps[0]["pattern"].get("Regex")
    if regex not in names or steps[0]["behavior"] != "Isolated" or steps[0]["invert"]:
        raise ValueError(f"pre_tokenizer: the pattern {regex!r} ({steps[0]['behavior']}) is not supported")
    return names[regex]


# vocab.json and merges.txt


def merges_beside(path, document):
    """The file of merges that belongs to a vocab.json, None where the document is a tokenizer.json."""
    if path.name not in MERGES_BESIDE or (isinstance(document, dict) and isinstance(document.get("model"), dict)):
        return None
    return path.with_name(MERGES_BESIDE[path.name])


def from_vocab_and_merges(vocab, merges_path):
    """Tokenizer of GPT-2's two files; tokens that are neither a byte nor merged of two are its control tokens."""
    if not merges_path.is_file():
        raise ValueError(f"lacks {merges_path.name} beside it")
    text = read_text(merges_path)
    if not text.endswith("\n"):
        raise ValueError(f"{merges_path.name}: the last line has no end: empty or cut off")
    merges = []
    for number, line in enumerate(text[:-1].split("\n"), 1):
        pair = tuple(line.rstrip("\r").split(" "))
        if number == 1 and line.startswith("#version"):
            continue
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{merges_path.name}: line {number}: expected two tokens, got {line!r:.40}")
        merges.append(pair)
    made = {*ALPHABET.values(), *(left + right for left, right in merges)}
    specials = [token for token in checked_vocab(vocab) if token not in made]
    return byte_level(BPE(vocab, merges, special_tokens=specials), "gpt2", specials)


def vocab_and_merges_text(tokenizer):
    """Texts of vocab.json and merges.txt."""
    model = tokenizer.model
    if model.ignore_merges or tokenizer.template != Template() or tokenizer.pretokenizer.pattern != "gpt2":
        raise ValueError("vocab.json holds GPT-2's kind of tokenizer only: save as tokenizer.json")
    made = {*ALPHABET.values(), *(left + right for left, right in model.merges)}
    if bad := sorted(set(model.vocab) - made ^ set(tokenizer.special_tokens)):
        raise ValueError(f"vocab.json cannot say what {bad[0]!r} is: save as tokenizer.json")
    vocab = dict(sorted(model.vocab.items(), key=lambda item: item[1]))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in model.merges)]
    return json.dumps(vocab, ensure_ascii=False) + "\n", "\n".join(lines) + "\n"


# .tiktoken


def from_tiktoken(path, pattern=None, special_tokens=None):
    """Tokenizer of a table of ranks: base64 of the bytes, a blank, the rank, in every line."""
    pattern = pattern or PATTERN_OF_FILE.get(path.stem)
    if pattern is None:
        raise ValueError(f"does not say how text is cut: give pattern, one of {', '.join(PATTERNS)}")
    PatternPreTokenizer(pattern)  # an unknown name is told before the file is read
    text, ranks = read_text(path), {}
    if not text.endswith("\n"):
        raise ValueError("the last line has no end: empty or cut off")
    for number, line in enumerate(text[:-1].split("\n"), 1):
        try:
            encoded, rank = line.split()
            data, rank = base64.b64decode(encoded, validate=True), int(rank)
        except ValueError as error:
            raise ValueError(f"line {number}: expected base64 and a rank, got {line!r:.40}") from error
        if data in ranks or not data:
            raise ValueError(f"line {number}: the token {data!r} is {'there twice' if data else 'empty'}")
        ranks[data] = rank
    return byte_level(BPE.from_ranks(ranks, special_tokens), pattern, special_tokens or ())


def tiktoken_text(tokenizer):
    """Text of a .tiktoken file, which holds neither pattern nor control tokens."""
    model = tokenizer.model
    ordinary = {unspell(token): i for token, i in model.vocab.items() if token not in tokenizer.special_tokens}
    if not model.by_rank:
        raise ValueError(".tiktoken holds ranks, not merges, whose ids may differ: make the model with BPE.from_ranks")
    lines = (base64.b64encode(data).decode() + f" {i}\n" for data, i in sorted(ordinary.items(), key=lambda kv: kv[1]))
    return "".join(lines)
