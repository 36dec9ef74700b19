"""What the commands in several files share: types of options, the tokenizer that a training begins with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def whole(least: int) -> Callable[[str], int]:
    """An option's type: a whole number from `least` on."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text}")
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
