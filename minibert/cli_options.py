"""What the commands in several files share: types of options, encoders and stores opened, a training's tokenizer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An option's type: a whole number from `least` on, up to `most`."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            limit = "" if most is None else f" and at most {most}"
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}{limit}, got {text}")
        return int(text)

    return whole


def positive(text: str) -> float:
    """An option's type: a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def json_value(text: str):
    """An option's type: JSON."""
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON: {error}") from error


def on_terminal() -> bool:
    """Whether someone watches the progress."""
    return sys.stderr.isatty()


def first_tokenizer(folder: Path, train: Callable, pairs, vocab_size: int, resume: bool):
    """The tokenizer of a training: made of its pairs by `train`, or the one that it began with."""
    import tokenizers
    from minibert.checkpoint import save_folder
    from minibert.data import read_text

    began = f"--vocab-size {vocab_size}"  # asked for: a small corpus gives fewer tokens
    if resume:
        if (before := read_text(folder / "began.txt")) != began:
            raise ValueError(f"{folder}: training began with {before}, now {began}: it can only go on with the same")
        return tokenizers.load(folder / "tokenizer.json")
    texts = [text for pair in pairs for text in pair]
    tokenizer = train(texts, vocab_size=vocab_size, progress=on_terminal())
    save_folder(folder, {"tokenizer.json": tokenizer.to_json().encode(), "began.txt": began.encode()})
    return tokenizer


def is_saved(folder: Path, kind: str) -> bool:
    """Whether the folder's config.json says that it is such a `SavedModel`."""
    config = folder / "config.json"
    return config.is_file() and f'"model": "{kind}"' in config.read_text("utf-8", "replace")


def load_encoder(folder: Path):
    """The sentence or dual encoder in a folder."""
    from minibert.models.dual_encoder import DualEncoder
    from minibert.models.sentence_encoder import SentenceEncoder

    others = (folder / "modules.json").is_file() or (folder / "config.json").is_file()
    dual = is_saved(folder, "dual_encoder") or not others
    return (DualEncoder if dual else SentenceEncoder).load(folder)


def open_store(args, create: bool, **options):
    """The store of --store with the encoder of --model, or with the one it remembers."""
    from minibert.retrieval.store import Store, StoreError

    folder = args.model
    if folder is None:
        remembered = Store.facts(args.store).get("model")
        if remembered is None:
            raise StoreError(f"{args.store}: does not say where its encoder is: name it with --model")
        folder = Path(remembered)
    store = Store.open(args.store, load_encoder(folder), create=create, **options)
    if create:
        store.remember(model=str(folder.resolve()))
    return store
