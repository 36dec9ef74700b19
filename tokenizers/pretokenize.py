"""Normalized text → words: where the model's pieces may never cross."""

from .normalize import code_points


class BertPreTokenizer:
    """BERT's words: split at white space, and every punctuation mark is a word.

    Source   BasicTokenizer of github.com/google-research/bert: all of Unicode's P*, and any ASCII that is neither
             letter, digit nor space ("$", "+", "~" …)
    """

    def split(self, text):
        """[(start, end)] of the words of a text."""
        spaces, punctuation = code_points("WHITE_SPACE"), code_points("PUNCTUATION")
        words, start = [], 0
        for i, c in enumerate(text):
            if c in spaces or c in punctuation:
                if i > start:
                    words.append((start, i))
                if c in punctuation:
                    words.append((i, i + 1))
                start = i + 1
        if len(text) > start:
            words.append((start, len(text)))
        return words

    def __eq__(self, other):
        return type(other) is BertPreTokenizer

    __hash__ = object.__hash__
