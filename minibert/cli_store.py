"""The commands that fill a store and keep it: ingest."""

from __future__ import annotations

from pathlib import Path

from minibert.cli_options import on_terminal, open_store, whole


def add_commands(command) -> None:
    """Add them to the command line; `command(name, run)` gives what adds an option."""
    option = command("ingest", ingest)
    option("paths", nargs="+", type=Path, metavar="PATH", help="files, or folders of them")
    option("--store", type=Path, required=True, help="folder of the store; made when it is not there")
    option("--model", type=Path, help="folder of the encoder; by default the one the store remembers")
    option(
        "--chunk", choices=("sentences", "tokens", "structure"), default="sentences", help="what passages are made of"
    )
    option("--chunk-size", type=whole(1), help="tokens in a passage; by default what the encoder reads at once")
    option("--overlap", type=whole(0), default=0, help="tokens that a passage repeats of the one before")
    option("--precision", choices=("float32", "int8"), help="of a new store's vectors; by default float32")
    option("--batch-size", type=whole(1), default=512, help="documents committed together")


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
