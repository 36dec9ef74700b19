"""Byte pair encoding as its papers state it: loops over strings of bytes or characters, nothing fast."""


def encode(data, rank_of, whole=()):
    """Join the neighbours of the lowest rank, the leftmost first, until no two have one; a whole token stays whole."""
    parts = [data] if data in whole else [data[i : i + 1] for i in range(len(data))]
    while True:
        pairs = [(rank_of(a, b), i) for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False))]
        known = [(rank, i) for rank, i in pairs if rank is not None]
        if not known:
            return parts
        _, i = min(known)
        parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]


def train(words, alphabet, vocab_size, min_frequency=1):
    """Pairs joined in turn: counts of the whole corpus anew before each, ties to the smaller ids; (tokens, merges)."""
    ids = {token: i for i, token in enumerate(alphabet)}
    corpus, merges = [(list(word), n) for word, n in words.items()], []
    while len(ids) < vocab_size:
        counts = {}
        for parts, n in corpus:
            for pair in zip(parts, parts[1:], strict=False):
                counts[pair] = counts.get(pair, 0) + n
        if not counts:
            break
        left, right = min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
        if counts[left, right] < min_frequency:
            break
        ids.setdefault(left + right, len(ids))
        merges.append((left, right))
        corpus = [(join(parts, left, right), n) for parts, n in corpus]
    return list(ids), merges


def join(parts, left, right):
    """Every occurrence of a pair, from the left, as one."""
    out, i = [], 0
    while i < len(parts):
        both = parts[i : i + 2] == [left, right]
        out.append(left + right if both else parts[i])
        i += 2 if both else 1
    return out
