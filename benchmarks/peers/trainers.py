"""Training with Hugging Face's tokenizers and with sentencepiece, in the peers' interpreter, from a file of lines."""


def bpe(path, vocab_size, out=None):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"min_frequency": 2, "special_tokens": ["<|endoftext|>"], "initial_alphabet": alphabet}
    _train(tokenizer, trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False, **options), path)
    return sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)


def wordpiece(path, vocab_size, out=None):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    options = {"min_frequency": 2, "special_tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]}
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=vocab_size, show_progress=False, **options), path)


def _train(tokenizer, trainer, path):
    with open(path, encoding="utf-8", newline="\n") as lines:
        tokenizer.train_from_iterator(lines, trainer)


def unigram(path, vocab_size, out):
    _sentencepiece(path, vocab_size, out, "unigram")


def sentencepiece_bpe(path, vocab_size, out):
    _sentencepiece(path, vocab_size, out, "bpe")


def _sentencepiece(path, vocab_size, out, model_type):
    import sentencepiece

    with open(path, encoding="utf-8", newline="\n") as lines, open(out, "wb") as file:
        options = {"vocab_size": vocab_size, "model_type": model_type, "num_threads": 1, "minloglevel": 2}
        texts = (line.rstrip("\n") for line in lines)
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=texts, model_writer=file, **options)
