"""minibert: embedding models from architecture to production, in NumPy and Numba.

    text ──tokenizers──▶ ids ──minibert──▶ vectors ──ann──▶ neighbours ──minibert.retrieval──▶ ranked, cited answers

Importing this package loads neither NumPy nor Numba: names are fetched on first use, so that `minibert.runtime`
can choose the BLAS kernel before NumPy reads its environment, and `minibert --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minibert import runtime

if TYPE_CHECKING:
    from minibert.encoder_decoder import EncoderDecoderConfig as EncoderDecoderConfig
    from minibert.heads import HeadConfig as HeadConfig
    from minibert.models.bert import Bert as Bert
    from minibert.models.classifier import Classifier as Classifier
    from minibert.models.colbert import ColBERT as ColBERT
    from minibert.models.colbert import ColBERTConfig as ColBERTConfig
    from minibert.models.cross_encoder import CrossEncoder as CrossEncoder
    from minibert.models.dual_encoder import DualEncoder as DualEncoder
    from minibert.models.dual_encoder import DualEncoderConfig as DualEncoderConfig
    from minibert.models.reader import Reader as Reader
    from minibert.models.sentence_encoder import SentenceEncoder as SentenceEncoder
    from minibert.models.tagger import Tagger as Tagger
    from minibert.models.translator import Translator as Translator
    from minibert.retrieval import Store as Store
    from minibert.sentence_network import SentenceEncoderConfig as SentenceEncoderConfig

__version__ = "0.1.0"

_HOMES = {
    "Bert": "minibert.models.bert",
    "Classifier": "minibert.models.classifier",
    "ColBERT": "minibert.models.colbert",
    "ColBERTConfig": "minibert.models.colbert",
    "CrossEncoder": "minibert.models.cross_encoder",
    "DualEncoder": "minibert.models.dual_encoder",
    "DualEncoderConfig": "minibert.models.dual_encoder",
    "EncoderDecoderConfig": "minibert.encoder_decoder",
    "HeadConfig": "minibert.heads",
    "Reader": "minibert.models.reader",
    "SentenceEncoder": "minibert.models.sentence_encoder",
    "SentenceEncoderConfig": "minibert.sentence_network",
    "Store": "minibert.retrieval",
    "Tagger": "minibert.models.tagger",
    "Translator": "minibert.models.translator",
}


def _require_our_tokenizers() -> None:
    """Refuse to run beside Hugging Face's package of the same name, which would be imported silently instead."""
    remedy = "minibert needs an environment of its own: python -m venv .venv && .venv/bin/pip install minibert"
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(f"minibert cannot import its package `tokenizers`: {error}. {remedy}") from error
    if getattr(tokenizers, "__project__", None) != "minibert":
        raise ImportError(
            f"minibert found another library's `tokenizers` in the way: {tokenizers.__file__}. "
            f"Both projects own that name. Uninstall that one, or: {remedy}"
        )


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'minibert' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


runtime.choose_blas_kernel()
_require_our_tokenizers()
