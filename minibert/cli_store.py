"""The commands that fill a store and look after it: ingest, store check | repair | compact | stats."""

from __future__ import annotations

from pathlib import Path

from minibert.cli_options import on_terminal, open_store, whole


def add_ingest_command(command) -> None:
    """Add it to the command line; `command(name, run)` gives what adds an option."""
    option = command("ingest", ingest)
    option("paths", nargs="+", type=Path, metavar="PATH", help="files, or folders of them")
    option("--store", type=Path, required=True, help="folder of the store; made when it is not there")
    option("--model", type=Path, help="folder of the encoder; by default the one the store remembers")
    kinds = ("sentences", "tokens", "structure")
    option("--chunk", choices=kinds, help="what passages are made of; by default as before: first, sentences")
    option("--chunk-size", type=whole(1), help="tokens in a passage; first, what the encoder reads at once")
    option("--overlap", type=whole(0), help="tokens that a passage repeats of the one before; first, 0")
    option("--precision", choices=("float32", "int8"), help="of a new store's vectors; by default float32")
    option("--batch-size", type=whole(1), default=512, help="documents committed together")


def add_store_commands(commands) -> None:
    """Add `store check`, `repair`, `compact` and `stats` to the commands of a parser."""
    about = "Look after a store: what is wrong with it, mend it, give back room, what it takes."
    actions = commands.add_parser("store", help=about, description=about).add_subparsers(
        required=True, metavar="ACTION"
    )
    for run in (check, repair, compact, stats):
        sub = actions.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        sub.set_defaults(run=run, refuse=sub.error)
        sub.add_argument("store", type=Path, metavar="STORE", help="its folder")
        if run is repair:
            sub.add_argument("--model", type=Path, help="folder of the encoder; by default the one it remembers")


def ingest(args) -> None:
    """Chunk, embed and store text, Markdown, reStructuredText, HTML, Python source, JSON lines, CSV, BEIR's folders."""
    from minibert.retrieval.pipeline import ingest, read_documents

    documents = read_documents(args.paths)
    options = {name: getattr(args, name) for name in ("chunk", "chunk_size", "overlap", "precision")}
    with open_store(args, create=True, **options) as store:
        added, replaced, unchanged = ingest(store, documents, batch_size=args.batch_size, progress=on_terminal())
        of_them = f", {replaced} of them in place of earlier ones" if replaced else ""
        were_there = f", {unchanged} were there already" if unchanged else ""
        print(f"{added} documents added{of_them}{were_there}, {len(store)} in {args.store}")


def check(args) -> int:
    """Read everything and tell what is wrong; exit code 1 where something is."""
    with _without_encoder(args.store) as store:
        findings, size = store.check(), len(store)
    print("\n".join(findings) or f"nothing is wrong with {args.store}, {size} documents")
    return bool(findings)


def repair(args) -> int:
    """Make faulty passages, vectors and index files anew from the documents."""
    with open_store(args, create=False) as store:
        found, left = store.repair(), store.check()
    print("\n".join(f"mended: {finding}" for finding in found if finding not in left) or "nothing to mend")
    print("".join(f"left: {finding}\n" for finding in left), end="")
    return bool(left)


def compact(args) -> None:
    """Give back the room of what was removed, and build the index files anew."""
    with _without_encoder(args.store) as store:
        before, after = store.compact()
    print(f"{before:,} bytes before, {after:,} after")


def stats(args) -> None:
    """Print how much there is and what it takes."""
    with _without_encoder(args.store) as store:
        facts = store.stats()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  " + (f"{value:,.0f}" if isinstance(value, (int, float)) else value))


def _without_encoder(path: Path):
    from minibert.retrieval.store import Store
    from minibert.retrieval.upkeep import Recorded

    return Store.open(path, Recorded(Store.facts(path)), create=False)
