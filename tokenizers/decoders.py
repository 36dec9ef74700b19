"""Tokens → text: the decoders of tokenizer.json, each a small component named and filled as there.

`decode_chain` takes and gives a list of strings; the text is these together. Byte-level tokens that split a character
give U+FFFD for what is not UTF-8: who decodes a stream holds tokens back until no U+FFFD ends the text.
"""

import re
from dataclasses import dataclass, field, replace
from itertools import groupby

from .bpe import unspell
from .patterns import Pattern

CLOSED_UP = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")


class Decoder:
    """What makes text of tokens."""

    def decode(self, tokens: list[str], clean_up: bool | None = None) -> str:
        """Text of a list of tokens; clean_up, if not None, in place of the component's own `cleanup`."""
        if clean_up is not None and hasattr(self, "cleanup"):
            return replace(self, cleanup=clean_up).decode(tokens)  # type: ignore[type-var]  # all are dataclasses
        return "".join(self.decode_chain(tokens))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        """The strings that the tokens become."""
        raise NotImplementedError


@dataclass(frozen=True)
class Spaced(Decoder):
    """A space between all tokens: no decoder in the file."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [" ".join(tokens)]


@dataclass(frozen=True)
class WordPiece(Decoder):
    """A space before each word, none before the inside of a word; cleanup closes the gap before ". , 's" and such.

    Source   Hugging Face's WordPiece decoder, whose two rules across tokens (" ' ", " do not") can never apply
    """

    prefix: str = "##"
    cleanup: bool = True

    def decode_chain(self, tokens: list[str]) -> list[str]:
        inside = [i > 0 and token.startswith(self.prefix) for i, token in enumerate(tokens)]
        parts = [
            token[len(self.prefix) :] if inner else " " * (i > 0) + token
            for i, (token, inner) in enumerate(zip(tokens, inside, strict=True))
        ]
        return list(map(closed_up, parts)) if self.cleanup else parts


def closed_up_text(text: str) -> str:
    """The same for a whole text, where an apostrophe between blanks loses both.

    Source   clean_up_tokenization of Hugging Face's transformers
    """
    return closed_up(text.replace(" ' ", "'"))


def closed_up(token: str) -> str:
    """No space before punctuation and contractions."""
    for end in CLOSED_UP:
        token = token.replace(" " + end, end)
    return token


@dataclass(frozen=True)
class ByteLevel(Decoder):
    """Tokens → bytes → text; what is not UTF-8 becomes U+FFFD, but three bytes of a lone surrogate become it again.

    Source   Hugging Face's ByteLevel decoder; tiktoken's decode
    """

    add_prefix_space: bool = True
    trim_offsets: bool = True
    use_regex: bool = True

    def decode_chain(self, tokens: list[str]) -> list[str]:
        data = b"".join(data if (data := unspell(token)) is not None else token.encode() for token in tokens)
        parts = re.split(b"(\xed[\xa0-\xbf][\x80-\xbf])", data)
        return [part.decode("utf-8", ("replace", "surrogatepass")[i % 2]) for i, part in enumerate(parts)]


@dataclass(frozen=True)
class Metaspace(Decoder):
    """A space for every sign "▁", but none at the beginning where encoding put it there."""

    replacement: str = "▁"
    prepend_scheme: str = "always"
    split: bool = True

    def decode_chain(self, tokens: list[str]) -> list[str]:
        first = "" if self.prepend_scheme != "never" else " "
        return [token.replace(self.replacement, " " if i else first) for i, token in enumerate(tokens)]


@dataclass(frozen=True)
class BPEDecoder(Decoder):
    """A space for every sign of a word's end but the last."""

    suffix: str = "</w>"

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [token.replace(self.suffix, " " * (i < len(tokens) - 1)) for i, token in enumerate(tokens)]


@dataclass(frozen=True)
class ByteFallback(Decoder):
    """Runs of tokens such as <0xE4> are bytes of UTF-8; where they are not, each is U+FFFD."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        out: list[str] = []
        for is_byte, run in groupby(tokens, lambda token: re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token) is not None):
            if not is_byte:
                out += run
                continue
            data = bytes(int(token[3:5], 16) for token in run)
            try:
                out.append(data.decode())
            except UnicodeDecodeError:
                out += ["\ufffd"] * len(data)
        return out


@dataclass(frozen=True)
class Fuse(Decoder):
    """All tokens as one, so that the next step works on the whole."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return ["".join(tokens)]


@dataclass(frozen=True)
class Strip(Decoder):
    """Up to `start` of one character off the front of each token, and up to `stop` off its end."""

    content: str
    start: int = 0
    stop: int = 0

    def decode_chain(self, tokens: list[str]) -> list[str]:
        out = []
        for token in tokens:
            before = len(token) - len(token.lstrip(self.content))
            after = len(token) - len(token.rstrip(self.content))
            out.append(token[min(before, self.start) : max(len(token) - min(after, self.stop), 0)])
        return out


@dataclass(frozen=True)
class Replace(Decoder):
    """Every match of a pattern in each token replaced."""

    pattern: Pattern
    content: str

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [self.pattern.replaced(token, self.content) for token in tokens]


@dataclass(frozen=True)
class CTC(Decoder):
    """Connectionist temporal classification: runs of one token count once, blanks not at all."""

    pad_token: str = "<pad>"
    word_delimiter_token: str = "|"
    cleanup: bool = True

    def decode_chain(self, tokens: list[str]) -> list[str]:
        parts = [token.replace(self.pad_token, "") for token, _ in groupby(tokens)]
        if self.cleanup:
            parts = [closed_up(part).replace(self.word_delimiter_token, " ") for part in parts]
        return [part for part in parts if part]


@dataclass(frozen=True)
class Sequence(Decoder):
    """One decoder after the other."""

    decoders: tuple = field(default=())

    def decode_chain(self, tokens: list[str]) -> list[str]:
        for decoder in self.decoders:
            tokens = decoder.decode_chain(tokens)
        return tokens
