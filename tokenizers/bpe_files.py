"""Byte-level BPE in files: tokenizer.json's parts, GPT-2's vocab.json with merges.txt, tiktoken's table of ranks."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .bpe import ALPHABET, BPE, byte_level, unspell
from .json_parts import checked_vocab, read_text, typed
from .merges import read_merges
from .parts import PreTokenizer
from .patterns import Pattern
from .pretokenize import PATTERNS, PatternPreTokenizer
from .pretokenizers import ByteLevel, Metaspace, Sequence, Split, Whole
from .template import Template

if TYPE_CHECKING:
    from .added_tokens import AddedToken
    from .tokenizer import Tokenizer

MERGES_BESIDE = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}  # encoder.json: as GPT-2 was published
PATTERN_OF_FILE = {"r50k_base": "gpt2", "p50k_base": "gpt2", "cl100k_base": "cl100k", "o200k_base": "o200k"}
OFF = {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}

# tokenizer.json


def write_model(model: BPE) -> dict[str, Any]:
    """The model of a tokenizer.json."""
    return {
        **OFF,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": model.ignore_merges,
        "vocab": dict(sorted(model.vocab.items(), key=lambda item: item[1])),
        "merges": [list(pair) for pair in model.merges],
    }


def read_model(found: dict[str, Any], added: list[AddedToken]) -> BPE:
    """BPE of the model of a tokenizer.json; `added`: tokens that no merge makes and no piece of text is."""
    for name in OFF:
        if found.get(name):
            raise ValueError(f"model: {name} {found[name]!r} is not supported")
    if found.get("byte_fallback"):
        raise ValueError("model: byte_fallback is not supported")
    vocab, apart = dict(found["vocab"]), {token.content for token in added if token.special}
    for token in added:
        if token.content not in vocab:
            vocab[token.content] = token.id
            apart.add(token.content)
    merges = read_merges(found["merges"])
    ignore_merges = typed(found.get("ignore_merges", False), bool, "ignore_merges")
    return BPE(vocab, merges, ignore_merges=ignore_merges, special_tokens=apart)


def in_characters(pretokenizer: PreTokenizer) -> bool:
    """Whether a file's pre-tokenizer leaves the text in characters, as Llama's do (none, or ▁ in place of blanks)."""
    steps = pretokenizer.pretokenizers if isinstance(pretokenizer, Sequence) else (pretokenizer,)
    return isinstance((steps or (Whole(),))[-1], (Whole, Metaspace))


def over_text(pretokenizer: PreTokenizer) -> PreTokenizer:
    """What cuts text as a file's pre-tokenizer cuts it before it spells bytes: our model takes the text itself."""
    steps = pretokenizer.pretokenizers if isinstance(pretokenizer, Sequence) else (pretokenizer,)
    *before, last = steps or (Whole(),)
    if not isinstance(last, ByteLevel):
        raise ValueError(f"pre_tokenizer: expected ByteLevel at the end, got {type(last).__name__!r}: not supported")
    if last.use_regex:
        last = PatternPreTokenizer("gpt2", last.add_prefix_space)
        return Sequence((*before, last)) if before else last
    if last.add_prefix_space:
        raise ValueError("pre_tokenizer: ByteLevel's add_prefix_space without its pattern is not supported")
    names = {Split(Pattern(regex=regex), "Isolated"): name for name, regex in PATTERNS.items()}
    if len(before) == 1 and before[0] in names:
        return PatternPreTokenizer(names[before[0]])
    return Sequence(tuple(before))


def in_bytes(pretokenizer: PreTokenizer) -> PreTokenizer:
    """The inverse of `over_text`."""
    steps = pretokenizer.pretokenizers if isinstance(pretokenizer, Sequence) else (pretokenizer,)
    last, spell = (steps or (None,))[-1], ByteLevel(False, True, False)
    if isinstance(last, PatternPreTokenizer):
        regex = Split(Pattern(regex=PATTERNS[last.pattern]), "Isolated")
        gpt2 = last.pattern == "gpt2"
        steps = (*steps[:-1], ByteLevel(last.add_prefix_space, True, True)) if gpt2 else (*steps[:-1], regex, spell)
    else:
        steps = (*steps, spell)
    return steps[0] if len(steps) == 1 else Sequence(steps)


# vocab.json and merges.txt


def merges_beside(path: Path, document: Any) -> Path | None:
    """The file of merges that belongs to a vocab.json, None where the document is a tokenizer.json."""
    if path.name not in MERGES_BESIDE or (isinstance(document, dict) and isinstance(document.get("model"), dict)):
        return None
    return path.with_name(MERGES_BESIDE[path.name])


def from_vocab_and_merges(vocab: Any, merges_path: Path) -> Tokenizer:
    """Tokenizer of GPT-2's two files; tokens that are neither a byte nor merged of two are its control tokens."""
    if not merges_path.is_file():
        raise ValueError(f"lacks {merges_path.name} beside it")
    text = read_text(merges_path)
    if not text.endswith("\n"):
        raise ValueError(f"{merges_path.name}: the last line has no end: empty or cut off")
    lines = text[:-1].replace("\r\n", "\n").removesuffix("\r").split("\n")
    head = int(lines[0].startswith("#version"))
    merges = cast("list[tuple[str, str]]", [tuple(line.split(" ")) for line in lines[head:]])
    if set(map(len, merges)) - {2} or not all(map(all, merges)):
        number = next(n for n, pair in enumerate(merges, head) if len(pair) != 2 or not all(pair))
        raise ValueError(f"{merges_path.name}: line {number + 1}: expected two tokens, got {lines[number]!r:.40}")
    made = {*ALPHABET.values(), *map("".join, merges)}
    specials = [token for token in checked_vocab(vocab) if token not in made]
    return byte_level(BPE(vocab, merges, special_tokens=specials), "gpt2", specials)


def vocab_and_merges_text(tokenizer: Tokenizer) -> tuple[str, str]:
    """Texts of vocab.json and merges.txt."""
    model, around = tokenizer.model, (tokenizer.template, tokenizer.pretokenizer)
    if not isinstance(model, BPE) or model.ignore_merges or around != (Template(), PatternPreTokenizer("gpt2")):
        raise ValueError("vocab.json holds GPT-2's kind of tokenizer only: save as tokenizer.json")
    made = {*ALPHABET.values(), *(left + right for left, right in model.merges)}
    if bad := sorted(set(model.vocab) - made ^ set(tokenizer.special_tokens)):
        raise ValueError(f"vocab.json cannot say what {bad[0]!r} is: save as tokenizer.json")
    vocab = dict(sorted(model.vocab.items(), key=lambda item: item[1]))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in model.merges)]
    return json.dumps(vocab, ensure_ascii=False) + "\n", "\n".join(lines) + "\n"


# .tiktoken


def from_tiktoken(path: Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None) -> Tokenizer:
    """Tokenizer of a table of ranks: base64 of the bytes, a blank, the rank, in every line."""
    pattern = pattern or PATTERN_OF_FILE.get(path.stem)
    if pattern is None:
        raise ValueError(f"does not say how text is cut: give pattern, one of {', '.join(PATTERNS)}")
    PatternPreTokenizer(pattern)  # an unknown name is told before the file is read
    text = read_text(path)
    ranks: dict[bytes, int] = {}
    if not text.endswith("\n"):
        raise ValueError("the last line has no end: empty or cut off")
    for number, line in enumerate(text[:-1].split("\n"), 1):
        try:
            encoded, number_of_rank = line.split()
            data, rank = base64.b64decode(encoded, validate=True), int(number_of_rank)
        except ValueError as error:
            raise ValueError(f"line {number}: expected base64 and a rank, got {line!r:.40}") from error
        if data in ranks or not data:
            raise ValueError(f"line {number}: the token {data!r} is {'there twice' if data else 'empty'}")
        ranks[data] = rank
    return byte_level(BPE.from_ranks(ranks, special_tokens), pattern, special_tokens or ())


def tiktoken_text(tokenizer: Tokenizer) -> str:
    """Text of a .tiktoken file, which holds neither pattern nor control tokens."""
    model = tokenizer.model
    ordinary = {unspell(token) or b"": i for token, i in model.vocab.items() if token not in tokenizer.special_tokens}
    if not isinstance(model, BPE) or not model.by_rank:
        raise ValueError(".tiktoken holds ranks, not merges, whose ids may differ: make the model with BPE.from_ranks")
    lines = (base64.b64encode(data).decode() + f" {i}\n" for data, i in sorted(ordinary.items(), key=lambda kv: kv[1]))
    return "".join(lines)
