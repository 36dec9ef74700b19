"""The commands of models with a head: pretrain, finetune, predict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from minibert.cli_options import first_tokenizer, on_terminal, positive, whole

if TYPE_CHECKING:
    from minibert.models.headed import HeadedModel

DEFAULT_LENGTH = 128
TASKS = "classifier", "tagger", "reader", "reranker"


def add_commands(command) -> None:
    """Add all to the command line; `command(name, run)` gives what adds an option."""
    option = command("pretrain", pretrain)
    option("corpus", nargs="+", type=Path, metavar="PATH", help="a document each: text files, folders of .txt")
    option("--out", type=Path, required=True, metavar="MODEL", help="folder of the trained model")
    option("--model", type=Path, metavar="FOLDER", help="go on from this BERT; by default from random weights")
    option("--held-out", type=float, default=0.05, help="share at the end of every document to evaluate on")
    _add_sizes(option)
    _add_training(option, epochs=10, batch_size=32, lr=5e-4)

    option = command("finetune", finetune)
    option("task", choices=TASKS, help="label texts, label words, find answers, or score documents for a question")
    option("data", type=Path, metavar="FILE", help="labelled texts, CoNLL, SQuAD, or labelled pairs")
    option("--out", type=Path, required=True, metavar="MODEL", help="folder of the trained model")
    option("--model", type=Path, metavar="FOLDER", help="BERT or sentence encoder to start from; else random weights")
    option("--eval", type=Path, metavar="FILE", help="evaluate on this file after every epoch")
    option("--pairs", action="store_true", help="the classifier reads pairs of texts")
    _add_sizes(option)
    _add_training(option, epochs=3, batch_size=32, lr=5e-5)

    option = command("predict", predict)
    option("--model", type=Path, required=True, help="folder of a model that finetune, or transformers, saved")
    option("--on-truncate", choices=("warn", "silent", "raise"), default="warn", help="for texts too long")


def _add_sizes(option) -> None:
    option("--vocab-size", type=whole(1), default=8000, help="tokens of the WordPiece vocabulary, without --model")
    option("--width", type=whole(1), default=128, help="width of the hidden layers, without --model")
    option("--layers", type=whole(1), default=2, help="encoder layers, without --model")
    option("--heads", type=whole(1), default=4, help="attention heads, without --model")
    option("--max-length", type=whole(5), help=f"tokens read at once; by default the --model's, or {DEFAULT_LENGTH}")
    option("--dropout", type=float, default=0.1, help="share of hidden values dropped in training")


def _add_training(option, epochs: int, batch_size: int, lr: float) -> None:
    option("--epochs", type=whole(1), default=epochs, help="passes over the examples")
    option("--batch-size", type=whole(1), default=batch_size, help="examples in a step")
    option("--lr", type=positive, default=lr, help="highest learning rate")
    option("--warmup", type=whole(0), default=100, help="steps to reach it")
    option("--seed", type=whole(0), default=0, help="of weights, order, masks and dropout")
    option("--resume", action="store_true", help="go on from the last checkpoint of --out")
    option("--checkpoint-every", type=whole(0), default=200, help="steps between checkpoints; 0: only the last")


def pretrain(args) -> None:
    """Train BERT on plain text: masked words and next sentences."""
    from minibert.models.bert import Bert

    if not 0 <= args.held_out < 1:
        args.refuse(f"argument --held-out: expected a share in [0, 1), got {args.held_out}")
    learned, held_out = zip(*(_held_out(text, args.held_out) for text in _documents(args.corpus)), strict=True)
    if args.model:
        model = Bert.load(args.model)
        model.config = replace(
            model.config, dropout=args.dropout, max_length=args.max_length or model.config.max_length
        )
    else:
        model = _fresh(args, Bert, list(learned), ())
    try:
        others = model.examples(held_out) if args.held_out else None
    except ValueError as error:
        raise ValueError(f"--held-out {args.held_out:g}, the end of every document: {error}") from error
    _fit(args, model, model.examples(learned, args.seed), others and (lambda: model.evaluate(others)))


def _held_out(text: str, share: float) -> tuple[str, str]:
    """A text without its end, and that end; cut at a blank."""
    cut = text.rfind(" ", 0, len(text) - int(len(text) * share)) if share else -1
    return (text[:cut], text[cut:]) if cut > 0 else (text, "")


def finetune(args) -> None:
    """Train a classifier, tagger, reader or reranker, from an encoder or from random weights."""
    if args.pairs and args.task != "classifier":
        args.refuse(f"argument --pairs: expected the task classifier, got {args.task}")
    task = _task(args.task, args.pairs)
    rows = task.read(args.data)
    held_out = task.read(args.eval) if args.eval else None
    labels = tuple(sorted({*task.labels(rows)}))
    if unknown := {*task.labels(held_out or [])} - {*labels}:
        raise ValueError(f"{args.eval}: expected labels of {args.data}, {', '.join(labels)}, got {min(unknown)!r}")
    if args.task == "reranker" and held_out and max(label for *_, label in held_out) <= 0.5:
        raise ValueError(f"{args.eval}: expected a question with an answer, got none in {len(held_out)} pairs")
    if args.model:
        settings = {"dropout": args.dropout, "labels": labels, "max_length": args.max_length}
        settings = {name: value for name, value in settings.items() if value not in ((), None)}
        model = task.kind.from_encoder(args.model, args.seed, **settings)
    else:
        model = _fresh(args, task.kind, task.texts(rows), labels)
    _fit(args, model, task.examples(model, rows), held_out and (lambda: task.evaluate(model, held_out)))


class _Task(NamedTuple):
    """What a task makes of its file: rows, and of rows their texts, labels, examples and an evaluation."""

    kind: type[HeadedModel]
    read: Callable
    texts: Callable
    labels: Callable
    examples: Callable
    evaluate: Callable


def _task(name: str, pairs: bool) -> _Task:
    from minibert import formats
    from minibert.models.classifier import Classifier
    from minibert.models.cross_encoder import CrossEncoder
    from minibert.models.reader import Reader
    from minibert.models.tagger import Tagger
    from minibert.retrieval.evaluate import evaluate_reranker

    def columns(rows):
        return [list(column) for column in zip(*rows, strict=True)]

    if name == "tagger":
        return _Task(
            Tagger, formats.read_conll,
            texts=lambda rows: [" ".join(words) for words, _ in rows],
            labels=lambda rows: [tag for _, tags in rows for tag in tags],
            examples=lambda model, rows: model.examples(*columns(rows)),
            evaluate=lambda model, rows: model.evaluate(*columns(rows)),
        )  # fmt: skip
    if name == "reader":
        return _Task(
            Reader, formats.read_squad,
            texts=lambda rows: [text for row in rows for text in (row.question, row.context)],
            labels=lambda rows: [],
            examples=lambda model, rows: model.examples(rows),
            evaluate=lambda model, rows: model.evaluate(rows),
        )  # fmt: skip
    if name == "reranker":
        return _Task(
            CrossEncoder, _read_scored,
            texts=lambda rows: [text for row in rows for text in row[:2]],
            labels=lambda rows: CrossEncoder.LABELS,
            examples=lambda model, rows: model.examples(*columns(rows)),
            evaluate=evaluate_reranker,
        )  # fmt: skip

    def text_label_pair(rows):
        *texts, labels = columns(rows)
        return texts[0], labels, (texts[1] if pairs else None)

    return _Task(
        Classifier, formats.read_labelled_pairs if pairs else formats.read_labelled,
        texts=lambda rows: [text for row in rows for text in row[:-1]],
        labels=lambda rows: [row[-1] for row in rows],
        examples=lambda model, rows: model.examples(*text_label_pair(rows)),
        evaluate=lambda model, rows: model.evaluate(*text_label_pair(rows)),
    )  # fmt: skip


def _read_scored(path) -> list[tuple[str, str, float]]:
    """Labelled pairs whose labels are numbers, 0 … 1."""
    from minibert.data import finite_number
    from minibert.formats import read_labelled_pairs

    rows = []
    for number, (first, second, label) in enumerate(read_labelled_pairs(path), 1):
        score = finite_number(label)
        if score is None or not 0 <= score <= 1:
            raise ValueError(f"{path}, pair {number}: expected a label in 0 … 1, got {label!r}")
        rows.append((first, second, score))
    return rows


def predict(args) -> None:
    """Ask a model for every line of the standard input: a text, words, or two texts with a tab between."""
    from minibert import hf_folder

    lines = [line.removesuffix("\n") for line in sys.stdin]
    settings = hf_folder.read_json(args.model / hf_folder.CONFIG)
    architecture = (settings.get("architectures") or ["BertModel"])[0]
    if architecture not in _PREDICTIONS:
        known = ", ".join(_PREDICTIONS)
        raise ValueError(f"{args.model}: expected a model of {known}, got {architecture}")
    for answer in _PREDICTIONS[architecture](args.model, lines, len(settings.get("id2label") or ()), args.on_truncate):
        print(answer)


def _predict_sequences(folder, lines: list[str], labels: int, on_truncate: str):
    from minibert.models.classifier import Classifier
    from minibert.models.cross_encoder import CrossEncoder

    if labels == 1:
        scores = CrossEncoder.load(folder).score_pairs(*_two_texts(lines), on_truncate=on_truncate)
        yield from (f"{score:.6g}" for score in scores.tolist())
        return
    model = Classifier.load(folder)
    texts, seconds = _two_texts(lines) if any("\t" in line for line in lines) else (lines, None)
    for own in model.probabilities(texts, seconds, on_truncate=on_truncate):
        yield f"{model.config.labels[own.argmax()]}\t{own.max():.4f}"


def _predict_tokens(folder, lines: list[str], labels: int, on_truncate: str):
    from minibert.models.tagger import Tagger

    sentences = [line.split() for line in lines]
    for words, tags in zip(sentences, Tagger.load(folder).predict(sentences), strict=True):
        yield from (f"{word} {tag}" for word, tag in zip(words, tags, strict=True))
        yield ""


def _predict_spans(folder, lines: list[str], labels: int, on_truncate: str):
    from minibert.models.reader import Reader

    model = Reader.load(folder)
    for question, context in zip(*_two_texts(lines), strict=True):
        best = model.answer(question, [context], on_truncate=on_truncate)
        yield from (f"{a.text}\t{a.start}:{a.end}\t{a.margin:.4f}" for a in best)
        if not best:
            yield "no answer"


_PREDICTIONS = {
    "BertForSequenceClassification": _predict_sequences,
    "BertForTokenClassification": _predict_tokens,
    "BertForQuestionAnswering": _predict_spans,
}


def _two_texts(lines: list[str]) -> tuple[list[str], list[str]]:
    rows = [line.split("\t") for line in lines]
    for number, fields in enumerate(rows, 1):
        if len(fields) != 2:
            raise ValueError(f"line {number}: expected two texts with a tab between, got {len(fields)}")
    return [fields[0] for fields in rows], [fields[1] for fields in rows]


def _fresh(args, kind, texts: list[str], labels: tuple[str, ...]):
    """A model with random weights and a vocabulary made of the texts."""
    from minibert.heads import HeadConfig
    from tokenizers import WordPiece

    rows = [(text,) for text in texts]
    tokenizer = first_tokenizer(args.out / "training", WordPiece.train, rows, args.vocab_size, args.resume)
    longest = args.max_length or DEFAULT_LENGTH
    config = HeadConfig(
        tokenizer.vocab_size, width=args.width, layers=args.layers, heads=args.heads, ffn=4 * args.width,
        positions=longest, max_length=longest, dropout=args.dropout, head=kind.head, labels=labels,
    )  # fmt: skip
    return kind.create(tokenizer, config, args.seed)


def _fit(args, model, examples, evaluate) -> None:
    """Train, save, and print the records."""
    from minibert.models.headed import fit

    history = fit(
        model, examples, epochs=args.epochs, batch_size=args.batch_size, learning_rate=args.lr, warmup=args.warmup,
        seed=args.seed, folder=args.out / "training", resume=args.resume, evaluate=evaluate,
        checkpoint_every=args.checkpoint_every or None, progress=on_terminal(),
    )  # fmt: skip
    model.save(args.out)
    for record in history:
        print("  ".join(f"{name} {value:.4g}" for name, value in record.items()))
    print(f"saved {args.out}")


def _documents(paths: list[Path]) -> list[str]:
    from minibert.data import read_text

    files = [file for path in paths for file in (sorted(path.rglob("*.txt")) if path.is_dir() else [path])]
    texts = [read_text(file) for file in files]
    if not any(text.strip() for text in texts):
        raise ValueError(f"{', '.join(map(str, paths))}: expected text, got none")
    return texts
