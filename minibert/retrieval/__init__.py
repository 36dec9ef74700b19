"""Documents on disk, found by meaning: chunk → embed → store → search. Imports nothing heavy until a name is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minibert.retrieval.bm25 import BM25 as BM25
    from minibert.retrieval.chat import ChatEndpoint as ChatEndpoint
    from minibert.retrieval.chunk import Chunk as Chunk
    from minibert.retrieval.chunk import chunk_text as chunk_text
    from minibert.retrieval.colbert_index import ColBERTIndex as ColBERTIndex
    from minibert.retrieval.extractive import BestSentence as BestSentence
    from minibert.retrieval.extractive import BestSpan as BestSpan
    from minibert.retrieval.pipeline import ingest as ingest
    from minibert.retrieval.pipeline import read_documents as read_documents
    from minibert.retrieval.rag import Answer as Answer
    from minibert.retrieval.rag import Citation as Citation
    from minibert.retrieval.search import Hit as Hit
    from minibert.retrieval.search import Hits as Hits
    from minibert.retrieval.store import Encoder as Encoder
    from minibert.retrieval.store import Store as Store
    from minibert.retrieval.store import StoreError as StoreError

_HOMES = {
    "Answer": "rag",
    "BestSentence": "extractive",
    "BestSpan": "extractive",
    "BM25": "bm25",
    "ChatEndpoint": "chat",
    "Chunk": "chunk",
    "Citation": "rag",
    "chunk_text": "chunk",
    "ColBERTIndex": "colbert_index",
    "ingest": "pipeline",
    "read_documents": "pipeline",
    "Encoder": "store",
    "Hit": "search",
    "Hits": "search",
    "Store": "store",
    "StoreError": "store",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'minibert.retrieval' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"minibert.retrieval.{_HOMES[name]}"), name)
