"""OpenAI's tiktoken, in the peers' interpreter: what the tests and the benchmark ask it."""

import base64
import itertools

import numpy as np
import tiktoken
import tiktoken_ext.openai_public as public

PATTERNS = {
    "gpt2": public.r50k_pat_str,
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"""
    r"""\s*[\r\n]|\s+(?!\S)|\s""",  # as its openai_public.py has it, which gives it only with a download
    "o200k": "|".join(
        [
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""\p{N}{1,3}""",
            r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
            r"""\s*[\r\n]+""",
            r"""\s+(?!\S)""",
            r"""\s+""",
        ]
    ),
}
ENCODINGS = {}  # by path and pattern, so that a call is timed without loading
TEXTS = {}


def version():
    return tiktoken.__version__


def load(path, pattern):
    """Open a .tiktoken file with one of the patterns."""
    if (path, pattern) not in ENCODINGS:
        with open(path, encoding="ascii") as lines:
            ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
        ENCODINGS[path, pattern] = tiktoken.Encoding(
            name=pattern, pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={}
        )
    return ENCODINGS[path, pattern].n_vocab


def encode(path, pattern, texts):
    """Ids of all texts, on top of each other."""
    load(path, pattern)
    rows = ENCODINGS[path, pattern].encode_ordinary_batch(texts, num_threads=2)
    starts = np.cumsum([0, *map(len, rows)])
    return {"ids": np.fromiter(itertools.chain.from_iterable(rows), np.int32, starts[-1]), "starts": starts}


def keep(name, texts):
    """Hold texts here, so that a timed call does not pay for their journey."""
    TEXTS[name] = texts


def encode_kept(path, pattern, name):
    """The number of tokens."""
    encoding = ENCODINGS[path, pattern]
    return sum(len(encoding.encode_ordinary(text)) for text in TEXTS[name])
