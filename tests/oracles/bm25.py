"""BM25 by its formula, over lists of words, in float64."""

import math


def bm25(documents, query, k1, b):
    """Score of every document: lists of words → list of floats."""
    mean = sum(map(len, documents)) / max(1, len(documents)) or 1.0
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            n = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            tf = document.count(word)
            if tf:
                score += idf * tf / (tf + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores
