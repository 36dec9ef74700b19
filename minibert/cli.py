"""The command `minibert`. A mistake of the user's ends in one line on stderr and exit code 1, bad usage in exit code 2.

Every command imports what it needs when it runs, so that --help answers at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from minibert.cli_finetune import add_commands as add_finetune_commands
from minibert.cli_options import load_encoder, on_terminal, whole
from minibert.cli_plot import add_commands as add_plot_commands
from minibert.cli_search import add_commands as add_search_commands
from minibert.cli_store import add_ingest_command, add_store_commands
from minibert.cli_tokenizer import add_commands as add_tokenizer_commands
from minibert.cli_train import add_commands as add_training_commands
from minibert.cli_translate import add_commands as add_translator_commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    args = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            code = args.run(args) or 0
            sys.stdout.flush()  # a reader that went away is told here, not when the interpreter ends
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        except (ValueError, OSError, FloatingPointError, ImportError) as error:
            if args.traceback:
                raise
            print(f"minibert: error: {_message(error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("minibert: interrupted", file=sys.stderr)
            return 130


def demo(args) -> int:
    """Train on Python's own docstrings, index them, answer ten questions."""
    from minibert import demo

    return demo.main(args.folder, seed=args.seed, progress=on_terminal())


def info(args) -> None:
    """Print versions, processor, BLAS kernel and threads."""
    from minibert import runtime

    facts = runtime.info()
    width = max(map(len, facts))
    print("\n".join(f"{name:{width}}  {value}" for name, value in facts.items()))


def embed(args) -> None:
    """Embed a text a line with a sentence encoder, into a NumPy file."""
    import numpy as np

    from ann.files import atomic_write
    from minibert.data import read_text
    from minibert.models.sentence_encoder import SentenceEncoder

    texts = [line.removesuffix("\r") for line in read_text(args.file).removesuffix("\n").split("\n")]
    model = SentenceEncoder.load(args.model, args.dim, args.quantize)
    vectors = model.encode(texts, args.normalize, on_terminal(), args.on_truncate, prompt_name=args.prompt)
    with atomic_write(args.out) as file:
        np.save(file, vectors, allow_pickle=False)
    print(f"{len(vectors)} vectors of {vectors.shape[1]} numbers in {args.out}")


def evaluate(args) -> None:
    """Rank all answers for every question (MRR, recall), or a BEIR collection (nDCG, MAP, recall, P, MRR)."""
    from minibert.data import read_pairs
    from minibert.retrieval.evaluate import evaluate_pairs

    if (args.pairs is None) == (args.beir is None):
        args.refuse("expected a file of pairs, or --beir FOLDER")
    if args.beir is not None:
        return _evaluate_collection(args)
    pairs = read_pairs(args.pairs)
    for name, value in evaluate_pairs(load_encoder(args.model), pairs, args.k).items():
        print(f"{name} {value:.4f}")
    print(f"questions {len(pairs)}")


def _evaluate_collection(args) -> None:
    from minibert.retrieval.evaluate import collection_runs
    from minibert.retrieval.measures import CUTS, mean, measure
    from minibert.retrieval.trec import read_beir, without_self_hits, write_run

    collection = read_beir(args.beir)
    runs = collection_runs(load_encoder(args.model), collection, progress=on_terminal())
    runs = {name: without_self_hits(run, collection.judgements) for name, run in runs.items()}
    means = {name: mean(measure(collection.judgements, run)) for name, run in runs.items()}
    print("measure".ljust(12) + "".join(name.rjust(9) for name in means))
    for kind in ("ndcg", "map", "recall", "p", "mrr"):
        for k in CUTS:
            print(f"{kind}@{k}".ljust(12) + "".join(f"{values[f'{kind}@{k}']:9.4f}" for values in means.values()))
    print(f"queries {len(collection.judgements)}")
    if args.runs:
        args.runs.mkdir(parents=True, exist_ok=True)
    for name, run in runs.items() if args.runs else ():
        write_run(args.runs / f"{name}.run", run, tag=f"minibert-{name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minibert", description="Embedding models from text to ranked answers.")
    parser.add_argument("--traceback", action="store_true", help="on an error, show where in the code it arose")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run):
        sub = commands.add_parser(
            name, help=run.__doc__, description=run.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        sub.set_defaults(run=run, refuse=sub.error)
        return sub.add_argument

    option = command("demo", demo)
    option("--folder", type=Path, default="minibert-demo", help="where its model and store go")
    option("--seed", type=whole(0), default=0, help="same seed, same numbers")

    command("info", info)
    add_tokenizer_commands(commands)
    add_training_commands(command)

    option = command("embed", embed)
    option("file", type=Path, metavar="FILE", help="a text a line, UTF-8")
    option("--model", type=Path, required=True, help="folder of sentence-transformers or of BERT")
    option("--out", type=Path, required=True, metavar="FILE.npy", help="rows in the order of the lines, float32")
    option("--normalize", action="store_true", help="unit vectors, also where the model has no such module")
    option("--prompt", metavar="NAME", help="the model's prompt to put before each text; by default its default one")
    option("--dim", type=whole(1), help="keep only the first numbers of each vector")
    option("--quantize", choices=("int8",), help="multiply in 8 bits: more than twice as fast, nearly the same vectors")
    option("--on-truncate", choices=("warn", "silent", "raise", "window"), default="warn", help="for texts too long")

    add_ingest_command(command)
    add_store_commands(commands)
    add_search_commands(command)

    option = command("eval", evaluate)
    option("pairs", nargs="?", metavar="PAIRS", help=".tsv or .jsonl file of questions and answers")
    option("--beir", type=Path, metavar="FOLDER", help="a collection: corpus.jsonl, queries.jsonl, qrels/test.tsv")
    option("--model", type=Path, required=True, help="folder of the encoder")
    option("-k", type=whole(1), default=10, help="depth of the ranking of pairs")
    option("--runs", type=Path, metavar="FOLDER", help="where TREC run files of the collection go")

    add_finetune_commands(command)
    add_translator_commands(command)
    add_plot_commands(commands)
    return parser


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"minibert: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
