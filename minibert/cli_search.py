"""The commands that search a store: query, ask, serve."""

from __future__ import annotations

import textwrap
from pathlib import Path

from minibert.cli_options import is_saved, json_value, open_store, whole

WIDTH = 100  # columns of a shown passage
SEARCH = ("exact", "where", "hybrid", "diversity", "candidates")  # options of Store.search_batch


def add_commands(command) -> None:
    """Add them to the command line; `command(name, run)` gives what adds an option."""
    option = command("query", query)
    option("words", nargs="*", default=[], metavar="WORD", help="the words of one question")
    option("-q", "--question", action="append", default=[], metavar="TEXT", help="a question; repeat it for several")
    option("-k", type=whole(1), default=10, help="hits a question")
    add_search_options(option)
    option("--explain", action="store_true", help="show what each stage gave to each hit, and the time it took")

    option = command("ask", ask)
    option("words", nargs="+", metavar="WORD", help="the words of the question")
    option("-k", type=whole(1), default=5, help="passages that the answer may rest on")
    add_search_options(option)
    _add_generator(option)

    option = command("serve", serve)
    option("--host", default="127.0.0.1", help="address of this machine to listen at")
    option("--port", type=whole(0, 65535), default=8000, help="0: any that is free")
    _add_store(option)
    _add_generator(option)


def _add_store(option) -> None:
    option("--store", type=Path, required=True, help="folder of the store")
    option("--model", type=Path, help="folder of the encoder; by default the one the store remembers")
    option("--rerank", type=Path, metavar="MODEL", help="folder of a cross-encoder or ColBERT that orders candidates")


def add_search_options(option) -> None:
    """Add what says how a store is searched."""
    _add_store(option)
    option("--exact", action="store_true", help="scan every vector in place of HNSW")
    option("--hybrid", action="store_true", help="by words, too: BM25's ranking is fused with the vectors'")
    option("--where", type=json_value, metavar="JSON", help='only where metadata meet this: {"year": {"$gte": 2020}}')
    option("--diversity", type=float, default=0.0, help="0 to 1: how much a hit loses by repeating those before it")
    option("--candidates", type=whole(1), help="passages that a stage hands to the next; by default 100, or k")


def _add_generator(option) -> None:
    option("--budget", type=whole(1), default=2048, help="tokens of the prompt, counted by the encoder's tokenizer")
    option("--reader", type=Path, metavar="MODEL", help="let a reader quote the answer; by default the best sentence")
    option("--chat", nargs="?", const="", metavar="MODEL", help="let a chat model answer; by default $OPENAI_MODEL")
    option("--url", help="its OpenAI-compatible address, as http://127.0.0.1:8080/v1; by default $OPENAI_BASE_URL")
    option("--key-file", type=Path, metavar="FILE", help="holds its key; by default $OPENAI_API_KEY")
    option("--timeout", type=whole(1, 86400), default=60, help="seconds that a try to reach it may take")


def query(args) -> None:
    """Answer questions from a store with its nearest passages."""
    questions = ([" ".join(args.words)] if args.words else []) + args.question
    if not questions:
        args.refuse("expected a question")
    with open_store(args, create=False) as store:
        found = store.search_batch(questions, args.k, **search_options(args))
        for question, hits in zip(questions, found, strict=True):
            if len(questions) > 1:
                print(f"\n{question}")
            for rank, hit in enumerate(hits, start=1):
                print(f"{rank:2}  {hit.score:.4f}  {_place(hit, hit.span)}")
                _print_passage(hit.text)
                for stage, note in hit.stages.items() if args.explain else ():
                    print(f"    {stage}: {_told(note)}")
            if not hits:
                print("no hit")
        if args.explain and found[0].matching is not None:
            print(f"passages that met the condition: {found[0].matching}")
        if args.explain:
            print("milliseconds: " + ", ".join(f"{stage} {time:.1f}" for stage, time in found[0].times.items()))


def ask(args) -> None:
    """Answer a question from a store's passages, and show those that the answer cites."""
    generator = make_generator(args)
    with open_store(args, create=False) as store:
        options = {"k": args.k, "budget": args.budget, **search_options(args)}
        answer = store.ask(" ".join(args.words), generator, **options)
    lines = [_plain(line) for line in answer.text.splitlines()]
    print("\n".join(lines) or ("the passages hold no answer" if answer.sources else "no passage was found"))
    for citation in answer.citations:
        print(f"\n[{citation.number}] {_place(citation.hit, citation.span)}")
        _print_passage(citation.text)
    if answer.unknown:
        print(f"\ncited, but no source has the number: {', '.join(map(str, answer.unknown))}")
    if answer.unread:
        print(f"\nnot read as citations: {', '.join(f'{_plain(bracket):.60}' for bracket in answer.unread)}")
    if not answer.complete:
        print("\nthe model was stopped at its limit: the answer is cut off")
    if answer.left_out:
        found = len(answer.sources) + len(answer.left_out)
        print(f"\n{len(answer.left_out)} of {found} passages did not fit into {args.budget} tokens")


def serve(args) -> None:
    """Show a search page for a store, and answer the same as JSON, on this machine."""
    try:
        from minibert.web import app
        from minibert.web.service import Service
    except ImportError as error:
        raise ValueError(f"{error}: serve needs its extra: pip install 'minibert[serve]'") from error

    generator, reranker = make_generator(args), load_reranker(args.rerank)
    service = Service(lambda: open_store(args, create=False), generator, reranker, args.budget)
    try:
        app.serve(service, args.host, args.port)
    finally:
        service.close()


def make_generator(args):
    """The generator that the options ask for; None: the default one."""
    if args.chat is None and (args.url or args.key_file):
        args.refuse("--url and --key-file go with --chat")
    if args.chat is not None and args.reader:
        args.refuse("expected --chat or --reader, got both")
    if args.reader:
        from minibert.models.reader import Reader
        from minibert.retrieval.extractive import BestSpan

        return BestSpan(Reader.load(args.reader))
    if args.chat is None:
        return None
    from minibert.data import read_text
    from minibert.retrieval.chat import ChatEndpoint

    key = read_text(args.key_file).strip() if args.key_file else None
    return ChatEndpoint.from_environment(args.url, args.chat, key, timeout=args.timeout)


def load_reranker(folder: Path | None):
    """The cross-encoder or ColBERT in a folder; None: none."""
    if folder is None:
        return None
    from minibert.models.colbert import ColBERT
    from minibert.models.cross_encoder import CrossEncoder

    return (ColBERT if is_saved(folder, "colbert") else CrossEncoder).load(folder)


def search_options(args) -> dict:
    """The arguments of `Store.search_batch` that the options ask for."""
    return {name: getattr(args, name) for name in SEARCH} | {"rerank": load_reranker(args.rerank)}


def _place(hit, span) -> str:
    return f"{_plain(hit.source)} [{span[0]}:{span[1]}]" + (f"  {_plain(hit.context)}" if hit.context else "")


def _print_passage(text: str) -> None:
    passage = _plain(text)
    passage = passage if len(passage) <= 3 * WIDTH else passage[: 3 * WIDTH - 2] + " …"
    print(textwrap.indent(textwrap.fill(passage, WIDTH), "    "))


def _plain(text: str) -> str:
    """On one line, without the control characters by which a document could steer the terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _told(facts: dict) -> str:
    """A dictionary of names and numbers in one line."""
    told = {name: f"({_told(value)})" if isinstance(value, dict) else value for name, value in facts.items()}
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in told.items()
    )
