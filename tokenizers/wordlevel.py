"""Word level: each word that the vocabulary knows is one token, every other word is the unknown token."""


class WordLevel:
    """A table of words.

    Source   the word vocabularies before subwords, e.g. Bengio et al. 2003; Hugging Face's WordLevel for ids
    Raises   ValueError: unk_token is not in vocab, or ids are not 0 … n - 1, each once
    """

    def __init__(self, vocab, unk_token="[UNK]"):
        if unk_token not in vocab:
            raise ValueError(f"the vocabulary lacks the unknown token {unk_token!r}")
        if len(set(vocab.values())) < len(vocab) or min(vocab.values()) < 0:
            raise ValueError("ids must be 0 or more, each once")
        self.vocab, self.unk_token, self.unk_id = vocab, unk_token, vocab[unk_token]

    def match(self, word):
        """[(id, start, end)]: the word as a whole."""
        return [(self.vocab.get(word, self.unk_id), 0, len(word))]

    def engine(self, normalizer, pretokenizer):
        """None: a dictionary is fast enough."""
        return None
