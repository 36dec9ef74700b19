"""Unigram language model as Kudo 2018 states it: every cut of a text, and its probability."""

import math

UNKNOWN_PENALTY = 10.0


def cuts(text, scores):
    """[(log probability, [piece, …])] of every cut; a character that is no piece stands alone, below all pieces."""
    if not text:
        return [(0.0, [])]
    unknown = min(scores.values(), default=0.0) - UNKNOWN_PENALTY
    found = []
    for end in range(1, len(text) + 1):
        piece = text[:end]
        if piece in scores or end == 1:
            score = scores.get(piece, unknown)
            found += [(score + rest, [piece, *pieces]) for rest, pieces in cuts(text[end:], scores)]
    return found


def probabilities(text, scores, alpha=1.0):
    """{cut: its probability among all, as p ** alpha}."""
    found = cuts(text, scores)
    total = math.fsum(math.exp(alpha * score) for score, _ in found)
    return {tuple(pieces): math.exp(alpha * score) / total for score, pieces in found}
