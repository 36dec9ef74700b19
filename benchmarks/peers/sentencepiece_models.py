"""Google's sentencepiece, in the peers' interpreter: what the tests and the benchmark ask it."""

import numpy as np
import sentencepiece

MODELS = {}  # by path, so that a call is timed without loading
TEXTS = {}


def version():
    return sentencepiece.__version__


def load(path):
    """Open a .model file; the number of its pieces."""
    if path not in MODELS:
        MODELS[path] = sentencepiece.SentencePieceProcessor(model_file=path)
    return MODELS[path].vocab_size()


def forget():
    """Drop the models: a path may hold another one by now."""
    MODELS.clear()


def encode(path, texts):
    """Ids of all texts, on top of each other."""
    load(path)
    rows = [MODELS[path].encode(text) for text in texts]
    return {"ids": np.array([i for row in rows for i in row], np.int32), "starts": np.cumsum([0, *map(len, rows)])}


def decode(path, rows):
    load(path)
    return [MODELS[path].decode(row) for row in rows]


def normalize(path, texts):
    load(path)
    return [MODELS[path].normalize(text) for text in texts]


def normalize_by(name, texts, escape_whitespaces=False):
    """Texts by one of the library's own rules, blanks left as they are."""
    normalizer = sentencepiece.SentencePieceNormalizer(
        rule_name=name, escape_whitespaces=escape_whitespaces, add_dummy_prefix=False, remove_extra_whitespaces=False
    )
    return [normalizer.normalize(text) for text in texts]


def nbest(path, texts, n):
    load(path)
    return [MODELS[path].nbest_encode(text, nbest_size=n) for text in texts]


def train(path, texts, **options):
    """Train a model and write it to `path`."""
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=file, **options)


def pieces(path):
    """[(piece, score)] of a .model file."""
    load(path)
    return [(MODELS[path].id_to_piece(i), MODELS[path].get_score(i)) for i in range(MODELS[path].vocab_size())]


def scores(path):
    return [score for _, score in pieces(path)]


def keep(name, texts):
    """Hold texts here, so that a timed call does not pay for their journey."""
    TEXTS[name] = texts


def encode_kept(path, name):
    """The number of tokens."""
    return sum(map(len, MODELS[path].encode(TEXTS[name])))
