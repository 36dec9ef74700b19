"""`minibert tokenizer`: train a tokenizer; encode and decode with any tokenizer file, and see how it comes about."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from minibert.cli_options import whole

MODELS = {  # name → class of `tokenizers`, options of its train
    "bpe": ("BPE", {}),
    "wordpiece": ("WordPiece", {}),
    "wordlevel": ("WordLevel", {}),
    "unigram": ("SentencePiece", {"model": "unigram", "hard_vocab_limit": False}),
    "sentencepiece-bpe": ("SentencePiece", {"model": "bpe", "hard_vocab_limit": False}),
}
COLOURS = (36, 33, 35, 32, 34)  # of neighbouring tokens on a terminal


def add_commands(commands) -> None:
    """Add `tokenizer train`, `encode` and `decode` to the commands of a parser."""
    about = "Train a tokenizer; text to ids and back, with any tokenizer file."
    actions = commands.add_parser("tokenizer", help=about, description=about).add_subparsers(
        required=True, metavar="ACTION"
    )

    def action(name, run):
        sub = actions.add_parser(
            name, help=run.__doc__, description=run.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        sub.set_defaults(run=run, refuse=sub.error)
        return sub.add_argument

    option = action("train", train)
    option("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text, one text a line")
    option("--model", choices=MODELS, default="bpe", help="which kind of tokenizer")
    option("--vocab-size", type=whole(1), default=8000, metavar="N", help="tokens in all")
    option("--out", type=Path, required=True, metavar="PATH", help="file to write; .model for SentencePiece's two")
    tokenizer = {"type": Path, "required": True, "metavar": "PATH", "help": "its file, or the folder of it"}
    option = action("encode", encode)
    option("--tokenizer", **tokenizer)
    option("text", nargs="+", help="one text each")
    option("--show", action="store_true", help="print each stage: normalized, pieces, merges or lattice, tokens")
    option("--special", action="store_true", help="control tokens in the text count as such")
    option("--n-best", type=whole(1), metavar="N", help="the N most probable cuts (Unigram)")
    option("--sample", type=whole(1), metavar="N", help="N cuts drawn by --alpha (Unigram) or --dropout (BPE)")
    option("--alpha", type=float, default=0.1, help="cuts are drawn by probability to this power")
    option("--dropout", type=float, default=0.1, help="probability that a merge is left out")
    option("--seed", type=whole(0), default=0, help="of the draws")
    option = action("decode", decode)
    option("--tokenizer", **tokenizer)
    option("ids", nargs="+", type=int, help="token numbers")
    option("--keep-special", action="store_true", help="write control tokens too")


def train(args) -> None:
    """Learn a tokenizer from text files and save it."""
    import tokenizers

    kind, options = MODELS[args.model]
    if kind == "SentencePiece" and args.out.suffix != ".model":
        args.refuse(f"--out: SentencePiece's files end in .model, got {args.out}")
    lines = (line.rstrip("\n") if kind == "SentencePiece" else line for line in tokenizers.read_files(args.files))
    trained = getattr(tokenizers, kind).train(lines, args.vocab_size, progress=sys.stderr.isatty(), **options)
    trained.save(args.out)
    print(f"{trained.vocab_size} tokens, saved {args.out}")


def encode(args) -> None:
    """Print the ids of texts, or how they come about."""
    import numpy as np

    import tokenizers
    from tokenizers.explain import explain, visible

    tokenizer, rng = tokenizers.load(args.tokenizer), np.random.default_rng(args.seed)
    special = "all" if args.special else ()
    sentencepiece = tokenizer if isinstance(tokenizer, tokenizers.SentencePiece) else None
    if args.n_best is not None and sentencepiece is None:
        raise ValueError("--n-best needs a Unigram model")
    for text in args.text:
        if args.show:
            print("\n".join(explain(tokenizer, text, paint, special)))
        elif args.n_best is None and args.sample is None:
            print(*tokenizer.encode(text, allowed_special=special).ids)
        for score, found in (
            sentencepiece.nbest(text, args.n_best, with_scores=True) if sentencepiece and args.n_best else ()
        ):
            print(f"{score:10.3f}  {' '.join(paint(visible(t), n) for n, t in enumerate(found.tokens))}")
        for _ in range(args.sample or 0):
            strength = args.alpha if sentencepiece else args.dropout
            found = tokenizer.sample(text, strength, rng=rng)
            print(" ".join(paint(visible(t), n) for n, t in enumerate(found.tokens)))


def decode(args) -> None:
    """Print the text of ids."""
    import tokenizers

    text = tokenizers.load(args.tokenizer).decode(args.ids, skip_special_tokens=not args.keep_special)
    print(text.encode("utf-8", "replace").decode())  # a lone surrogate cannot be written


def paint(text: str, number: int) -> str:
    """A token in one of a few colours on a terminal, as it is elsewhere or where NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS[number % len(COLOURS)]}m{text}\x1b[0m"
