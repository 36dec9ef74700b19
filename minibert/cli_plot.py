"""The pictures: plot similarity, plot curve, plot attention."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_commands(commands) -> None:
    """Add `plot similarity`, `curve` and `attention` to the commands of a parser."""
    about = "Draw similarities, training curves or attention, into a .png, .svg or .pdf file."
    actions = commands.add_parser("plot", help=about, description=about).add_subparsers(required=True, metavar="ACTION")

    def action(run):
        sub = actions.add_parser(
            run.__name__,
            help=run.__doc__,
            description=run.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.set_defaults(run=run, refuse=sub.error)
        sub.add_argument("--out", type=Path, required=True, metavar="FILE", help="ending in .png, .svg or .pdf")
        return sub.add_argument

    option = action(similarity)
    option("file", type=Path, metavar="FILE", help="a text a line, UTF-8")
    option("--model", type=Path, required=True, help="folder of sentence-transformers or of BERT")

    option = action(curve)
    option("runs", type=Path, nargs="+", metavar="PATH", help="metrics.jsonl files, or folders that have one")

    option = action(attention)
    option("text", help="one text")
    option("--model", type=Path, required=True, help="folder of sentence-transformers or of BERT")
    option("--layer", type=int, default=-1, help="from 1; -1 is the last")


def similarity(args) -> None:
    """The similarity of each text of a file to each other, as a heat map."""
    from minibert import plots
    from minibert.data import read_text
    from minibert.models.sentence_encoder import SentenceEncoder

    texts = [line for line in read_text(args.file).splitlines() if line.strip()]
    if not texts:
        raise ValueError(f"{args.file}: expected at least one text, got none")
    model = SentenceEncoder.load(args.model)
    vectors = model.encode(texts, normalize=True)
    plots.save(plots.similarity_map(texts, vectors @ vectors.T), args.out)
    print(f"{len(texts)} texts in {args.out}")


def curve(args) -> None:
    """Loss and evaluations of one or more trainings, by step."""
    from minibert import plots

    runs = {str(path): plots.read_records(path) for path in args.runs}
    plots.save(plots.training_curve(runs), args.out)
    print(f"{sum(map(len, runs.values()))} records in {args.out}")


def attention(args) -> None:
    """Where each token of a text looks, in every head of a layer."""
    from minibert import plots
    from minibert.models.sentence_encoder import SentenceEncoder

    model = SentenceEncoder.load(args.model)
    weights = model.attention_weights(args.text, args.layer)
    plots.save(plots.attention_map(model.tokenizer.encode(args.text).tokens, weights), args.out)
    print(f"{len(weights)} heads in {args.out}")
