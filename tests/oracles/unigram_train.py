"""What Unigram training is made of, spelled out: loops over strings, nothing fast."""

import math


def repeated(words, longest):
    """{string: count} of all strings of 2 to `longest` characters that occur at least twice in {word: count}.

    Of strings that begin at the same places only the longest counts.
    """
    places, counts = {}, {}
    for w, (word, count) in enumerate(words.items()):
        for i in range(len(word)):
            for j in range(i + 1, len(word) + 1):
                places.setdefault(word[i:j], set()).add((w, i))
                counts[word[i:j]] = counts.get(word[i:j], 0) + count
    extended = {(string[:-1], frozenset(places[string])) for string in places}
    kept = [s for s in places if (s, frozenset(places[s])) not in extended and counts[s] > 1]
    return {string: counts[string] for string in kept if 2 <= len(string) <= longest}


def log_likelihood(word, scores):
    """Log of the sum of the probabilities of all cuts, by logarithms throughout."""
    forward = [0.0] + [-math.inf] * len(word)
    for j in range(1, len(word) + 1):
        terms = [forward[i] + scores[word[i:j]] for i in range(max(0, j - 16), j) if word[i:j] in scores]
        top = max(terms)
        forward[j] = top + math.log(sum(math.exp(term - top) for term in terms))
    return forward[-1]


def best_parts(string, scores):
    """(score, parts) of the best cut of a string into two pieces or more."""
    best = {0: (0.0, [])}
    for j in range(1, len(string) + 1):
        for i in range(j):
            piece = string[i:j]
            if i in best and piece in scores and piece != string:
                total = best[i][0] + scores[piece]
                if j not in best or total > best[j][0]:
                    best[j] = total, [*best[i][1], piece]
    return best.get(len(string), (-math.inf, []))
