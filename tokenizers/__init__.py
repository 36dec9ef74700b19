"""Text ⇄ ids: the algorithms behind embedding models' tokenizers, readable, exact and fast.

Names are imported on first use, so that `import tokenizers` alone costs nothing (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .added_tokens import AddedToken as AddedToken
    from .bpe import BPE as BPE
    from .count import read_files as read_files
    from .encoding import Batch as Batch
    from .encoding import Encoding as Encoding
    from .files import TokenizerFileError as TokenizerFileError
    from .files import from_json as from_json
    from .files import load as load
    from .normalize import BertNormalizer as BertNormalizer
    from .pretokenize import BertPreTokenizer as BertPreTokenizer
    from .pretokenize import PatternPreTokenizer as PatternPreTokenizer
    from .sentencepiece import SentencePiece as SentencePiece
    from .template import Template as Template
    from .tokenizer import Tokenizer as Tokenizer
    from .unigram import Unigram as Unigram
    from .wordlevel import WordLevel as WordLevel
    from .wordpiece import WordPiece as WordPiece

__project__ = "minibert"  # tells this package from Hugging Face's of the same name

_HOME = {
    "BPE": "bpe",
    "read_files": "count",
    "TokenizerFileError": "files",
    "from_json": "files",
    "load": "files",
    "BertNormalizer": "normalize",
    "BertPreTokenizer": "pretokenize",
    "PatternPreTokenizer": "pretokenize",
    "SentencePiece": "sentencepiece",
    "Template": "template",
    "AddedToken": "added_tokens",
    "Batch": "encoding",
    "Encoding": "encoding",
    "Tokenizer": "tokenizer",
    "Unigram": "unigram",
    "WordLevel": "wordlevel",
    "WordPiece": "wordpiece",
}
__all__ = ["__project__", *_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return sorted(__all__)
