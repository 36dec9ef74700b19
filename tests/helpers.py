"""What several test files need."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


class HashEncoder:
    """An encoder that needs no training: a text's vector is the sum of its words' fixed random vectors, normalised."""

    metric = "cosine"

    def __init__(self, dim=24, seed=0):
        self.dim, self.seed = dim, seed
        self.fingerprint = f"hash-{dim}-{seed}"

    def encode_query(self, texts, progress=False, on_truncate="warn"):
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split() or [""]:
                rng = np.random.default_rng([self.seed, zlib.crc32(word.encode("utf-8", "surrogatepass"))])
                row += rng.standard_normal(self.dim, np.float32)
            row /= np.sqrt(row @ row)
        return vectors

    encode_document = encode_query


def run_python(code, *argv, cwd=None, timeout=900, **environment):
    """Run code in a new interpreter that sees the packages and tests of this checkout; the finished process."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", **environment}
    command = [sys.executable, "-c", code, *map(str, argv)]
    return subprocess.run(command, cwd=cwd, env=env, timeout=timeout, capture_output=True, encoding="utf-8")


def assert_gradient(forward, backward, arrays, rng, step=1e-6):
    """backward's gradients equal central differences of forward, in a random direction of all arrays together.

    With random weights w the scalar is L = Σ w·y. Its change along directions v is (L(x + hv) − L(x − hv)) / 2h, off by
    O(h²) and by the rounding error of L over h; the gradient says Σ dx·v.
    """
    y, cache = forward(*arrays)
    w = rng.standard_normal(np.shape(y))
    gradients = backward(w if np.ndim(y) else float(w), cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    directions = [rng.standard_normal(array.shape) for array in arrays]

    def loss(sign):
        return np.sum(w * forward(*(a + sign * step * v for a, v in zip(arrays, directions, strict=True)))[0])

    numeric = (loss(1) - loss(-1)) / (2 * step)
    analytic = sum(np.sum(g * v) for g, v in zip(gradients, directions, strict=True))
    terms = sum(np.sum(np.abs(g * v)) for g, v in zip(gradients, directions, strict=True)) + np.sum(np.abs(w * y))
    assert abs(numeric - analytic) <= 1e-8 * (1 + terms), (numeric, analytic)


def assert_weights_gradient(parameters, loss_and_gradients, rng, step=1e-6):
    """A model's gradients equal central differences of its loss, along three random directions of all weights."""
    _, d = loss_and_gradients()
    flat = parameters.flat.copy()
    for _ in range(3):
        direction = rng.standard_normal(flat.shape)
        losses = []
        for sign in (1, -1):
            parameters.flat[...] = flat + sign * step * direction
            losses.append(loss_and_gradients()[0])
        numeric, analytic = (losses[0] - losses[1]) / (2 * step), d.flat @ direction
        assert abs(numeric - analytic) <= 1e-6 * abs(analytic) + 1e-7, (numeric, analytic)
    parameters.flat[...] = flat


def interpreted():
    """Whether the kernels run as plain Python (NUMBA_DISABLE_JIT=1): a test then takes fewer rows."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def tiny_tokenizer():
    """A WordPiece tokenizer of a few words."""
    import tokenizers

    texts = ["the cat sat on the mat", "a dog sat on a log", "the dog and the cat"] * 3
    return tokenizers.WordPiece.train(texts, vocab_size=60)


def marked_tokenizer(texts):
    """A WordPiece tokenizer of some texts' words, with [MASK] and the markers that ColBERT puts behind [CLS]."""
    import tokenizers

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
    return tokenizers.WordPiece.train(texts * 3, vocab_size=60, special_tokens=specials)


LETTERS = [
    *"abcdefghijklmnopqrstuvwxyzαβσ",
    "the",
    "word",
    "##piece",
    "un",
    "##able",
    "中",
    "!",
    "#",
    "[",
    "]",
    "\u1100",
]
TOKENS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LETTERS,
    *("##" + c for c in "abcdefghijklmnopqrstuvwxyz\u1161"),
]


def bert_tokenizer(tokens=TOKENS, normalizer=None, **options):
    """A BERT tokenizer over a list of tokens; those in square brackets are the special ones."""
    from tokenizers import BertNormalizer, BertPreTokenizer, Tokenizer, WordPiece
    from tokenizers.decoders import WordPiece as Decoder
    from tokenizers.template import bert_template

    vocab = {token: i for i, token in enumerate(tokens)}
    specials = {t: i for t, i in vocab.items() if t.startswith("[") and t.endswith("]")}
    parts = WordPiece(vocab, **options), normalizer or BertNormalizer(), BertPreTokenizer()
    return Tokenizer(*parts, bert_template(specials), Decoder(), specials)


def byte_tokenizer(merges=(), pattern="gpt2", special_tokens=(), by_ranks=False):
    """A byte-level tokenizer of merges of byte strings; by_ranks: as tiktoken has it, the tokens' ids are the ranks."""
    from tokenizers import BPE
    from tokenizers.bpe import ALPHABET, byte_level, spell

    tokens = list(dict.fromkeys([*(bytes([byte]) for byte in ALPHABET), *(left + right for left, right in merges)]))
    specials = {token: len(tokens) + i for i, token in enumerate(special_tokens)}
    ranks = {token: i for i, token in enumerate(tokens)}
    if by_ranks:
        return byte_level(BPE.from_ranks(ranks, specials), pattern, specials)
    vocab = {**{spell(token): i for token, i in ranks.items()}, **specials}
    model = BPE(vocab, [(spell(left), spell(right)) for left, right in merges], special_tokens=specials)
    return byte_level(model, pattern, specials)


def assert_batch_equals_plain(tok, texts):
    """The kernel's ids, offsets and word numbers of a batch are those of the plain form, text by text."""
    for _ in range(2):  # the second time the pieces come from the cache
        batch = tok.segment_batch(texts)
        for b, text in enumerate(texts):
            part = slice(batch.starts[b], batch.starts[b + 1])
            columns = batch.ids[part], batch.offsets[part, 0], batch.offsets[part, 1], batch.word_ids[part]
            assert list(zip(*(column.tolist() for column in columns), strict=True)) == tok.segment(text), ascii(text)
