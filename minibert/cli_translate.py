"""The commands of the translator: train-translator, translate."""

from __future__ import annotations

import sys
from pathlib import Path

from minibert.cli_options import first_tokenizer, on_terminal, positive, whole


def add_commands(command) -> None:
    """Add both to the command line; `command(name, run)` gives what adds an option."""
    option = command("train-translator", train_translator)
    option("source", type=Path, metavar="SOURCE", help="a sentence a line, UTF-8, also as .gz")
    option("target", type=Path, metavar="TARGET", help="its translation in the same line")
    option("--out", type=Path, required=True, metavar="MODEL", help="folder of the trained model")
    option("--eval", type=Path, nargs=2, metavar=("SOURCE", "TARGET"), help="lines to give the BLEU of at the end")
    option("--resume", action="store_true", help="go on from the last checkpoint of --out")
    option("--vocab-size", type=whole(1), default=8000, help="tokens of the BPE vocabulary that both languages share")
    option("--width", type=whole(1), default=256, help="width of the hidden layers")
    option("--layers", type=whole(1), default=3, help="encoder layers, and as many decoder layers")
    option("--heads", type=whole(1), default=8, help="attention heads")
    option("--ffn", type=whole(1), default=1024, help="width of the feed-forward networks")
    option("--max-length", type=whole(2), default=256, help="tokens of a text, <eos> included")
    option("--dropout", type=float, default=0.1, help="share of hidden values dropped in training")
    option("--epochs", type=whole(1), default=10, help="passes over the pairs")
    option("--tokens", type=whole(1), default=4096, help="tokens in a batch, on each side")
    option("--lr", type=positive, help="highest learning rate; by default (width · warmup)^-½")
    option("--warmup", type=whole(1), default=1000, help="steps to reach it")
    option("--smoothing", type=float, default=0.1, help="share of the label that is spread over all words")
    option("--seed", type=whole(0), default=0, help="of weights, order and dropout")
    option("--checkpoint-every", type=whole(0), default=200, help="steps between checkpoints; 0: only the last")

    option = command("translate", translate)
    option(
        "words", nargs="*", default=[], metavar="WORD", help="the words of one text; by default a text a line of stdin"
    )
    option("--model", type=Path, required=True, help="folder of the translator")
    option("--beam", type=whole(1), default=4, help="beginnings kept a text; 1: greedy")
    option("--on-truncate", choices=("warn", "silent", "raise"), default="warn", help="for texts too long")


def train_translator(args) -> None:
    """Train a translator on two files of lines and save it."""
    from minibert import train
    from minibert.data import read_parallel
    from minibert.encoder_decoder import EncoderDecoderConfig
    from minibert.metrics import bleu
    from minibert.models.translator import Translator, train_tokenizer

    pairs = read_parallel(args.source, args.target)
    held_out = read_parallel(*args.eval) if args.eval else None
    folder = args.out / "training"
    tokenizer = first_tokenizer(folder, train_tokenizer, pairs, args.vocab_size, args.resume)
    config = EncoderDecoderConfig(
        tokenizer.vocab_size,
        width=args.width,
        layers=args.layers,
        heads=args.heads,
        ffn=args.ffn,
        positions=args.max_length,
        dropout=args.dropout,
    )
    model = Translator.create(tokenizer, config, seed=args.seed)
    history = train.train_translator(
        model,
        pairs,
        epochs=args.epochs,
        tokens_per_batch=args.tokens,
        learning_rate=args.lr,
        warmup=args.warmup,
        smoothing=args.smoothing,
        seed=args.seed,
        folder=folder,
        resume=args.resume,
        checkpoint_every=args.checkpoint_every or None,
        progress=on_terminal(),
    )
    model.save(args.out)
    for record in history:
        print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    if held_out:
        sources, references = (list(texts) for texts in zip(*held_out, strict=True))
        print(f"BLEU {bleu(model.translate(sources, progress=on_terminal()), references):.2f}")
    print(f"saved {args.out}")


def translate(args) -> None:
    """Translate a text, or every line of the standard input."""
    from minibert.models.translator import Translator

    model = Translator.load(args.model)
    texts = [" ".join(args.words)] if args.words else [line.removesuffix("\n") for line in sys.stdin]
    for text in model.translate(texts, beam=args.beam, on_truncate=args.on_truncate, progress=on_terminal()):
        print(text.replace("\n", " "))  # a line for a line
