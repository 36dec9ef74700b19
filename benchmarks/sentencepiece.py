"""SentencePiece's Unigram and BPE against sentencepiece: the same ids first, then alternating rounds.

python -m benchmarks sentencepiece [FILE …]: text files, one document a line; by default, the docstrings of the standard
library. The library trains a model on every second document, which also fills the cache; the others are timed: text
never seen, as in steady use. With docstrings come texts of 1 MB of one kind of character.
"""

import argparse
import tempfile
from pathlib import Path

import tokenizers
from benchmarks.harness import Result, Row, compare, require_equal
from benchmarks.peers import Peer
from benchmarks.texts import first_megabytes, stdlib_docstrings
from benchmarks.tokenizers import fresh, megabytes

RUNS = {"one letter": "a", "blanks": " ", "CJK": "語", "combining marks": "\u0301"}
MEGABYTE = 1_000_000
KINDS = {"unigram": "Unigram ids", "bpe": "SentencePiece BPE ids"}


def train(peer, path, texts, kind, vocab_size):
    """A model that the library trains on lines of texts, and our tokenizer of its file."""
    lines = [line for text in texts for line in text.split("\n")]
    options = {"vocab_size": vocab_size, "hard_vocab_limit": False, "minloglevel": 2}
    peer.call("train", path=path, texts=lines, model_type=kind, **options)
    peer.call("load", path=path)
    return tokenizers.load(path)


def encode_row(task, data, tokenizer, peer, path, seen, unseen, rounds):
    theirs = peer.call("encode", path=path, texts=unseen)["ids"]
    require_equal(f"{task}, {data}", tokenizer.encode_batch(unseen).ids, theirs)
    peer.call("keep", name="unseen", texts=unseen)
    ours = fresh(tokenizer, seen, lambda: tokenizer.encode_batch(unseen).ids)
    result = compare(ours, peer.timed("encode_kept", path=path, name="unseen"), rounds)
    return Row.timed(task, "MB/s", result, megabytes(unseen), against="sentencepiece: encode", data=data)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks sentencepiece", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--megabytes", type=float, help="of each text at most")
    options = parser.parse_args(argv)
    texts = {Path(file).stem: Path(file).read_text("utf-8").split("\n") for file in options.files}
    rows = []
    with Peer("sentencepiece_models") as peer, tempfile.TemporaryDirectory() as folder:
        for name, documents in (texts or {"docstrings": stdlib_docstrings()}).items():
            documents = [text for text in first_megabytes(documents, options.megabytes) if text.strip()]
            seen, unseen = documents[::2], documents[1::2]
            for kind, task in KINDS.items():
                path = f"{folder}/{name}-{kind}.model"
                tokenizer = train(peer, path, seen, kind, options.vocab_size)
                rows.append(encode_row(task, name, tokenizer, peer, path, seen, unseen, options.rounds))
                for run, character in RUNS.items() if not texts else ():
                    text = [character * (MEGABYTE // len(character.encode()))]
                    what = f"{task}, 1 MB of one kind", run
                    rows.append(encode_row(*what, tokenizer, peer, path, seen, text, min(3, options.rounds)))
    about = (
        f"Models of {options.vocab_size:,} pieces that the library trained on half the documents; the others are timed."
    )
    return [Result("sentencepiece", about, "The ids are the same.", rows)]
