"""The pictures: plot similarity, projection, tokens, attention, curve, merges, hnsw, stages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from minibert.cli_options import load_encoder, open_store, whole
from minibert.cli_search import add_search_options, search_options

ENCODER = "folder of a sentence encoder (sentence-transformers, BERT) or of a dual encoder"
SENTENCE_ENCODER = "folder of sentence-transformers or of BERT"


def add_commands(commands) -> None:
    """Add `plot` and its actions to the commands of a parser."""
    about = "Draw what a model sees, how it learned or how a search went, into a .png, .svg or .pdf file."
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
    option("file", type=Path, metavar="FILE", help="a text a line; for a dual encoder question, tab, answer")
    option("--model", type=Path, action="append", required=True, help=f"{ENCODER}; again for one more picture")

    option = action(projection)
    option("file", type=Path, metavar="FILE", help="a text, or group, tab, text a line; as above for a dual encoder")
    option("--model", type=Path, action="append", required=True, help=f"{ENCODER}; again for one more picture")

    option = action(tokens)
    option("texts", nargs="+", metavar="TEXT", help="one or more texts")
    option("--model", type=Path, required=True, help=SENTENCE_ENCODER)
    option("--layer", type=int, default=-1, help="from 1; -1 is the last")

    option = action(attention)
    option("text", help="one text")
    option("--model", type=Path, required=True, help=SENTENCE_ENCODER)
    option("--layer", type=int, default=-1, help="from 1; -1 is the last")

    option = action(curve)
    option("runs", type=Path, nargs="+", metavar="PATH", help="metrics.jsonl files, or folders that have one")

    option = action(merges)
    option("text", help="one text")
    option("--tokenizer", type=Path, required=True, metavar="PATH", help="file or folder of a byte-level BPE tokenizer")

    option = action(hnsw)
    option("index", type=Path, metavar="FILE", help="an index that ann.HNSW saved")
    option("--query", type=float, nargs="+", required=True, metavar="NUMBER", help="as many as a row has")
    option("--ef", type=whole(1), default=10, help="how many rows the walk on layer 0 keeps")

    option = action(stages)
    option("question", help="one question")
    option("-k", type=whole(1), default=5, help="hits")
    add_search_options(option)


def similarity(args) -> None:
    """The similarity of each text to each other, or of questions to answers, as heat maps."""
    from minibert import plots

    panels = {}
    for folder in args.model:
        (rows, u), (columns, v) = _sides(load_encoder(folder), args.file)
        panels[_title(folder, args)] = u @ v.T
    plots.save(plots.similarity_map(rows, columns, panels), args.out)
    print(f"{len(rows)} texts in {args.out}")


def projection(args) -> None:
    """The vectors of texts, or of questions and answers, in the plane in which they vary most."""
    import numpy as np

    from minibert import plots

    panels = {}
    labels: Sequence[str] = ()
    groups: Sequence[str] = ()
    links: list[tuple[int, int]] = []
    for folder in args.model:
        model = load_encoder(folder)
        if _is_dual(model):
            (questions, u), (answers, v) = _sides(model, args.file)
            first = {
                answer: row for row, answer in reversed([*enumerate(answers)])
            }  # an answer to several is one point
            places = {answer: len(questions) + place for place, answer in enumerate(first)}
            labels, groups = [*questions, *first], ["question"] * len(questions) + ["answer"] * len(first)
            links = [(row, places[answer]) for row, answer in enumerate(answers)]
            panels[_title(folder, args)] = np.vstack([u, v[[*first.values()]]])
        else:
            groups, _, labels = zip(*(line.rpartition("\t") for line in _lines(args.file)), strict=True)
            panels[_title(folder, args)] = model.encode(labels, normalize=True)
    plots.save(plots.projection(panels, labels, groups, links), args.out)
    print(f"{len(labels)} texts in {args.out}")


def tokens(args) -> None:
    """The vectors of the tokens of texts, static and in a layer, in the plane in which they vary most."""
    import numpy as np

    from minibert import plots
    from minibert.models.sentence_encoder import SentenceEncoder

    model = SentenceEncoder.load(args.model)
    layers = {"layer 0": 0, f"layer {args.layer if args.layer > 0 else model.config.layers}": args.layer}
    panels = {
        title: np.vstack([model.token_embeddings(text, layer) for text in args.texts])
        for title, layer in layers.items()
    }
    names = [model.tokenizer.encode(text).tokens for text in args.texts]
    groups = [text for text, own in zip(args.texts, names, strict=True) for _ in own]
    plots.save(plots.projection(panels, sum(names, []), groups), args.out)
    print(f"{len(groups)} tokens in {args.out}")


def attention(args) -> None:
    """Where each token of a text looks, in every head of a layer."""
    from minibert import plots
    from minibert.models.sentence_encoder import SentenceEncoder

    model = SentenceEncoder.load(args.model)
    weights = model.attention_weights(args.text, args.layer)
    plots.save(plots.attention_map(model.tokenizer.encode(args.text).tokens, weights), args.out)
    print(f"{len(weights)} heads in {args.out}")


def curve(args) -> None:
    """Loss and evaluations of one or more trainings, by step."""
    from minibert import plots

    runs = {str(path): plots.read_records(path) for path in args.runs}
    plots.save(plots.training_curve(runs), args.out)
    print(f"{sum(map(len, runs.values()))} records in {args.out}")


def merges(args) -> None:
    """Byte pair encoding of a text, merge by merge."""
    import tokenizers
    from minibert import plots

    rows = plots.merge_rows(tokenizers.load(args.tokenizer), args.text)
    plots.save(plots.merges(rows), args.out)
    print(f"{len(rows[-1])} tokens in {args.out}")


def hnsw(args) -> None:
    """The search for one vector in an HNSW index, layer by layer, step by step."""
    import ann
    from minibert import plots

    index = ann.load(args.index)
    if not isinstance(index, ann.HNSW):
        raise ValueError(f"{args.index}: expected an HNSW index, got {type(index).__name__}")
    plots.save(plots.hnsw_walks(index, args.query, args.ef), args.out)
    print(f"{len(index)} rows in {args.out}")


def stages(args) -> None:
    """The rank that each stage of a search of a store gave to its hits."""
    from minibert import plots

    with open_store(args, create=False) as store:
        hits = store.search(args.question, args.k, **search_options(args))
    plots.save(plots.stage_ranks(hits), args.out)
    print(f"{len(hits)} hits in {args.out}")


def _sides(model, path: Path):
    """(texts, vectors) twice: questions and answers for a dual encoder, else the same texts on both sides."""
    if _is_dual(model):
        from minibert.data import read_pairs

        questions, answers = map(list, zip(*read_pairs(path), strict=True))
        return (questions, model.encode_query(questions)), (answers, model.encode_document(answers))
    texts = _lines(path)
    return ((texts, model.encode(texts, normalize=True)),) * 2


def _is_dual(model) -> bool:
    return model.kind == "dual_encoder"


def _lines(path: Path) -> list[str]:
    from minibert.data import read_text

    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: expected at least one text, got none")
    return lines


def _title(folder: Path, args) -> str:
    """A panel's: the folder, where there are several."""
    return str(folder) if len(args.model) > 1 else ""
