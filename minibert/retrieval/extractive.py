"""Generators that quote: their answer is a stretch of a source, so it can be looked up to the character.

    BestSentence   the sentence that the encoder and BM25 together rank first; needs no model but the encoder
    BestSpan       the span that a question-answering model finds, or nothing

Source   Yang, Yih & Meek 2015 (WikiQA, EMNLP) for answer sentence selection, by words and by vectors; Cormack 2009
         for the fusion of the two; Devlin 2018 for the reader, see models/reader.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minibert.retrieval.bm25 import BM25
from minibert.retrieval.chunk import Span, split_sentences
from minibert.retrieval.fusion import reciprocal_rank
from minibert.retrieval.passages import find_unknown
from minibert.retrieval.rag import Draft, Prompt

if TYPE_CHECKING:
    from minibert.models.reader import Reader
    from minibert.retrieval.store import Encoder


class Sentence(NamedTuple):
    """A sentence: the passage it stands in, from 0, its span there, and its score."""

    passage: int
    span: Span
    score: float


def rank_sentences(question: str, passages: list[str], encoder: Encoder) -> list[Sentence]:
    """The sentences of the passages, best first: by the encoder's similarity and by BM25 among them, fused.

    Of a question whose words the encoder all does not know, its vector says nothing: then BM25 alone ranks.
    """
    places = [(p, span) for p, passage in enumerate(passages) for span in split_sentences(passage)]
    texts = [passages[p][start:end] for p, (start, end) in places]
    if not texts:
        return []
    words = BM25()
    words.add(texts)
    found, _ = words.search([question], k=len(texts))
    rankings = [found[0][found[0] >= 0]]
    if not len(rankings[0]) or not find_unknown(encoder, [question]):
        similarity = encoder.encode_document(texts) @ encoder.encode_query([question])[0]
        rankings.append(np.argsort(-similarity, kind="stable"))
    fused = reciprocal_rank(rankings)
    ranked = zip(fused.ids.tolist(), fused.scores.tolist(), strict=True)
    return [Sentence(places[i][0], places[i][1], score) for i, score in ranked]


class BestSentence:
    """Answers with the best sentence of the sources."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder

    def generate(self, prompt: Prompt) -> Draft:
        """That sentence, cited."""
        best, *_ = rank_sentences(prompt.question, [hit.text for hit in prompt.sources], self.encoder)
        return _quote(prompt, best.passage, best.span)


class BestSpan:
    """Answers with the span that a `minibert.Reader` finds in the sources; with nothing where it finds no answer."""

    def __init__(self, reader: Reader):
        self.reader = reader

    def generate(self, prompt: Prompt) -> Draft:
        """The span, cited."""
        found = self.reader.answer(prompt.question, [hit.text for hit in prompt.sources])
        return _quote(prompt, found[0].context, (found[0].start, found[0].end)) if found else Draft("", {})


def _quote(prompt: Prompt, passage: int, span: Span) -> Draft:
    text = prompt.sources[passage].text[slice(*span)]
    return Draft(f"{' '.join(text.split())} [{passage + 1}]", {passage + 1: span})
