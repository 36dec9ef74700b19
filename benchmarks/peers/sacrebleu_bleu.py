"""BLEU as sacreBLEU gives it by default: 13a words, exponential smoothing."""

import sacrebleu
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a


def corpus_bleu(hypotheses, references):
    """0 … 100."""
    return sacrebleu.corpus_bleu(hypotheses, [references]).score


def words(texts):
    """The words of each text."""
    tokenizer = Tokenizer13a()
    return [tokenizer(text.rstrip()).split() for text in texts]
