"""BERT's clean-up, WordPiece and its training as their papers and first code state them: loops, nothing fast."""

import unicodedata


def is_space(c):
    return c in " \t\n\r" or unicodedata.category(c) == "Zs"


def is_control(c):
    return c not in "\t\n\r" and unicodedata.category(c) in ("Cc", "Cf", "Co")


def is_cjk(c):
    ranges = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return any(a <= ord(c) <= b for a, b in ranges)


def is_punctuation(c):
    ascii_mark = ord(c) < 128 and c.isprintable() and not c.isalnum() and c != " "
    return ascii_mark or unicodedata.category(c).startswith("P")


def normalize(text, lowercase=True):
    """Clean, set CJK apart, and, with lowercase, strip accents and lower the case."""
    text = "".join(" " if is_space(c) else c for c in text if c not in "\0\ufffd" and not is_control(c))
    text = "".join(f" {c} " if is_cjk(c) else c for c in text)
    if lowercase:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        text = "".join(c.lower() for c in text)
    return text


def words(text):
    """Split at white space, then before and after each punctuation mark."""
    return [w for run in text.split() for w in "".join(f" {c} " if is_punctuation(c) else c for c in run).split()]


def pieces(word, vocab, unk="[UNK]", longest=100):
    """The longest known beginning, then the same for the rest; the word is unknown if any rest is."""
    found, rest, prefix = [], word, ""
    while rest and len(word) <= longest:
        fitting = [prefix + rest[:k] for k in range(1, len(rest) + 1) if prefix + rest[:k] in vocab]
        if not fitting:
            return [unk]
        found.append(max(fitting, key=len))
        rest, prefix = rest[len(found[-1]) - len(prefix) :], "##"
    return [unk] if rest else found


def train(words, tokens, vocab_size, min_frequency):
    """Count all pairs of the whole corpus anew before each join; ties to the smaller ids."""
    tokens = list(tokens)
    corpus = [([word[0], *("##" + c for c in word[1:])], n) for word, n in words.items()]
    while len(tokens) < vocab_size:
        counts = {}
        for cut, n in corpus:
            for a, b in zip(cut, cut[1:], strict=False):
                counts[a, b] = counts.get((a, b), 0) + n
        if not counts:
            break
        ids = {token: i for i, token in enumerate(tokens)}
        (a, b), count = min(counts.items(), key=lambda item: (-item[1], ids[item[0][0]], ids[item[0][1]]))
        if count < min_frequency:
            break
        joined = a + b[2:]
        if joined not in ids:
            tokens.append(joined)
        corpus = [(_join(cut, a, b, joined), n) for cut, n in corpus]
    return tokens


def _join(cut, a, b, joined):
    if len(cut) < 2:
        return cut
    if cut[0] == a and cut[1] == b:
        return [joined, *_join(cut[2:], a, b, joined)]
    return [cut[0], *_join(cut[1:], a, b, joined)]


def longest_first(a, b, room):
    """Take one token at a time from the longer; of two equally long from the one that was the shorter, or else a."""
    a0, b0 = a, b
    while a + b > room:
        if a > b or (a == b and a0 <= b0):
            a -= 1
        else:
            b -= 1
    return a, b
