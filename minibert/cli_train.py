"""The commands that train what makes vectors: train (a dual encoder), train-sentences (a sentence encoder)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from minibert.cli_options import first_tokenizer, on_terminal, positive, whole

SENTENCE_TASKS = "nli", "sts", "triplets", "pairs"


def add_commands(command) -> None:
    """Add both to the command line; `command(name, run)` gives what adds an option."""
    option = command("train", train)
    option("pairs", metavar="PAIRS", help=".tsv (question, tab, answer) or .jsonl ({question, answer}) file; further "
           "fields, or negatives: [...], are hard negatives")  # fmt: skip
    option("--eval", metavar="PAIRS", help="pairs to evaluate on after every epoch")
    option("--dim", type=whole(1), default=128, help="width of the vectors")
    option("--normalize", action=argparse.BooleanOptionalAction, default=True, help="compare by cosine")
    option("--margin", type=float, help="learn by the margin contrastive loss, in place of cross entropy; e.g. 0.5")
    option("--mask-duplicates", action="store_true", help="an answer that stands twice in a batch is no negative")
    _add_sizes(option, dropout=0.0)
    _add_contrast(option)
    _add_loop(option, epochs=5, batch_size=64, lr=5e-4, weight_decay=0.0, stop_on="mrr@10")

    option = command("train-sentences", train_sentences)
    option("data", type=Path, metavar="FILE", help="what --task asks for, as data sets come: .tsv, .csv, .jsonl, .txt")
    option("--task", choices=SENTENCE_TASKS, required=True, help="premise, hypothesis, label; two texts and a score; "
           "anchor, positive, negative; two texts that belong together")  # fmt: skip
    option("--model", type=Path, metavar="FOLDER", help="sentence encoder or BERT to start from; else random weights")
    option("--eval", type=Path, metavar="FILE", help="two texts and a score: Spearman's correlation after every epoch")
    option(
        "--scores", type=float, nargs=2, default=(0.0, 5.0), metavar=("LOW", "HIGH"), help="least and greatest score"
    )
    option("--pooling", choices=("mean", "cls", "max"), default="mean", help="of token vectors, without --model")
    option("--margin", type=float, default=1.0, help="by which a triplet's negative is to be farther")
    _add_sizes(option, dropout=0.1, new=", without --model")
    _add_contrast(option)
    _add_loop(option, epochs=1, batch_size=32, lr=None, weight_decay=0.01, stop_on="spearman")


def _add_sizes(option, dropout: float, new: str = "") -> None:
    option("--vocab-size", type=whole(1), default=8000, help="tokens of the WordPiece vocabulary" + new)
    option("--width", type=whole(1), default=128, help="width of the hidden layers" + new)
    option("--layers", type=whole(1), default=2, help="encoder layers" + new)
    option("--heads", type=whole(1), default=4, help="attention heads" + new)
    option("--max-length", type=whole(2), default=64, help="tokens read of a text, specials included" + new)
    option("--dropout", type=float, default=dropout, help="share of hidden values dropped in training")


def _add_contrast(option) -> None:
    option("--temperature", type=positive, default=0.05, help="what scores of pairs are divided by in the loss")
    option("--symmetric", action="store_true", help="answers look for their questions as well")
    option(
        "--grad-cache", type=whole(1), metavar="N", help="texts passed through at once; the loss sees the whole batch"
    )


def _add_loop(option, epochs: int, batch_size: int, lr: float | None, weight_decay: float, stop_on: str) -> None:
    option("--out", type=Path, required=True, metavar="MODEL", help="folder of the trained model")
    option("--resume", action="store_true", help="go on from the last checkpoint of --out")
    option("--epochs", type=whole(1), default=epochs, help="passes over the data")
    option("--batch-size", type=whole(2), default=batch_size, help="examples in a step")
    option("--micro-batch", type=whole(2), metavar="N", help="examples passed at once, their gradients added up")
    option(
        "--lr",
        type=positive,
        default=lr,
        help="highest learning rate" + ("" if lr else "; 2e-5 with --model, else 5e-4"),
    )
    option(
        "--schedule", choices=("linear", "cosine", "inverse_sqrt", "constant"), default="linear", help="after warm-up"
    )
    option("--warmup", type=whole(0), default=100, help="steps to reach the highest learning rate")
    option("--weight-decay", type=float, default=weight_decay, help="of matrices; not of biases and norms")
    option("--clip", type=positive, default=1.0, help="largest norm of a gradient")
    option("--seed", type=whole(0), default=0, help="of weights, order and dropout")
    option("--eval-every", type=whole(1), metavar="N", help="steps between evaluations; by default an epoch")
    option("--patience", type=whole(1), metavar="N", help=f"stop after N evaluations without a better {stop_on}; the "
           "best weights are kept")  # fmt: skip
    option("--checkpoint-every", type=whole(0), default=200, help="steps between checkpoints; 0: only the last")


def train(args) -> None:
    """Train a dual encoder on question-answer pairs and save it."""
    from minibert.data import read_examples, read_pairs
    from minibert.models.dual_encoder import DualEncoder, DualEncoderConfig
    from minibert.retrieval.evaluate import evaluate_pairs
    from minibert.train import train_dual_encoder
    from tokenizers import WordPiece

    examples = read_examples(args.pairs)
    held_out = read_pairs(args.eval) if args.eval else None
    # Tokenizer and checkpoints of a training under way stand apart: a model in --out stays until this one is done.
    tokenizer = first_tokenizer(args.out / "training", WordPiece.train, examples, args.vocab_size, args.resume)
    config = DualEncoderConfig(
        vocab_size=tokenizer.vocab_size,
        dim=args.dim,
        normalize=args.normalize,
        temperature=args.temperature,
        **_sizes(args),
    )
    model = DualEncoder.create(tokenizer, config, seed=args.seed)
    history = train_dual_encoder(
        model,
        examples,
        ids="text" if args.mask_duplicates else None,
        symmetric=args.symmetric,
        margin=args.margin,
        **_loop(args, "mrr@10", 5e-4, (lambda: evaluate_pairs(model, held_out)) if held_out else None),
    )
    _finish(args, model, history)


def train_sentences(args) -> None:
    """Train a sentence encoder on labelled, graded or matching texts and save it."""
    from minibert import formats
    from minibert.data import read_examples
    from minibert.models import sbert
    from minibert.models.sentence_encoder import SentenceEncoder
    from minibert.sentence_network import SentenceEncoderConfig
    from tokenizers import WordPiece

    low, high = args.scores
    if not low < high:
        args.refuse(f"argument --scores: expected the least first, got {low} and {high}")

    def graded(path):
        rows = formats.read_sts(path)
        if wrong := [score for _, _, score in rows if not low <= score <= high]:
            raise ValueError(f"{path}: expected scores in {low:g} … {high:g}, which --scores sets, got {wrong[0]:g}")
        return [(a, b, (score - low) / (high - low)) for a, b, score in rows]

    tasks: dict[str, tuple[Callable, Callable, dict]] = {
        "nli": (formats.read_nli, sbert.train_nli, {}),
        "sts": (graded, sbert.train_sts, {}),
        "triplets": (formats.read_triplets, sbert.train_triplets, {"margin": args.margin}),
        "pairs": (read_examples, sbert.train_pairs, {"temperature": args.temperature, "symmetric": args.symmetric}),
    }
    read, learn, options = tasks[args.task]
    examples = read(args.data)
    held_out = formats.read_sts(args.eval) if args.eval else None  # the scale makes no difference to ranks
    if args.model:
        model = SentenceEncoder.load(args.model)
        model.config = replace(model.config, dropout=args.dropout)
    else:
        texts = [row[:2] if args.task in ("nli", "sts") else row for row in examples]
        tokenizer = first_tokenizer(args.out / "training", WordPiece.train, texts, args.vocab_size, args.resume)
        config = SentenceEncoderConfig(tokenizer.vocab_size, pooling=(args.pooling,), **_sizes(args))
        model = SentenceEncoder.create(tokenizer, config, seed=args.seed)
    evaluate = (lambda: {"spearman": sbert.sts_spearman(model, held_out)}) if held_out else None
    history = learn(model, examples, **options, **_loop(args, "spearman", 2e-5 if args.model else 5e-4, evaluate))
    _finish(args, model, history)


def _sizes(args) -> dict:
    sizes = {"width": args.width, "layers": args.layers, "heads": args.heads, "ffn": 4 * args.width}
    return sizes | {"positions": args.max_length, "max_length": args.max_length, "dropout": args.dropout}


def _loop(args, stop_on: str, lr: float, evaluate) -> dict:
    """What both trainings hand to the loop."""
    if args.patience and evaluate is None:
        args.refuse("argument --patience: expected --eval as well, to know when to stop")
    names = "epochs", "batch_size", "micro_batch", "grad_cache", "schedule", "warmup", "weight_decay", "clip", "seed"
    return {name: getattr(args, name) for name in (*names, "resume")} | {
        "learning_rate": args.lr or lr,
        "folder": args.out / "training",
        "evaluate": evaluate,
        "evaluate_every": args.eval_every,
        "stop_on": stop_on if args.patience else None,
        "patience": args.patience or 1,
        "checkpoint_every": args.checkpoint_every or None,
        "progress": on_terminal(),
    }


def _finish(args, model, history: list[dict[str, float]]) -> None:
    model.save(args.out)
    for record in history:
        print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    print(f"saved {args.out}")
