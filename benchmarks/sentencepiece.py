"""SentencePiece's Unigram and BPE against sentencepiece: one thread, alternating medians, the same ids checked first.

python -m benchmarks sentencepiece [FILE …]: text files, one document a line, a table row each; by default, the
docstrings of the standard library. The library trains a model on every second document, which also fills the cache; the
others are timed: text never seen, as in steady use. The last rows are 1 MB of one kind of character.
"""

import argparse
import tempfile
from pathlib import Path

import tokenizers
from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from benchmarks.tokenizers import fresh, row, same_ids

RUNS = {"one letter": "a", "blanks": " ", "CJK": "語", "combining marks": "\u0301"}
MEGABYTE = 1_000_000


def train(peer, path, texts, kind, vocab_size):
    """A model that the library trains on lines of texts, and our tokenizer of its file."""
    lines = [line for text in texts for line in text.split("\n")]
    options = {"vocab_size": vocab_size, "hard_vocab_limit": False, "minloglevel": 2}
    peer.call("train", path=path, texts=lines, model_type=kind, **options)
    peer.call("load", path=path)
    return tokenizers.load(path)


def encode_row(name, tokenizer, peer, path, seen, unseen, rounds):
    theirs = peer.call("encode", path=path, texts=unseen)["ids"]
    same_ids(tokenizer.encode_batch(unseen).ids, theirs, name)
    peer.call("keep", name="unseen", texts=unseen)
    ours = fresh(tokenizer, seen, lambda: tokenizer.encode_batch(unseen).ids)
    return row(*name, compare(ours, peer.timed("encode_kept", path=path, name="unseen"), rounds), unseen)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks sentencepiece", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--vocab-size", type=int, default=8000)
    options = parser.parse_args(argv)
    texts = {Path(file).stem: Path(file).read_text("utf-8").split("\n") for file in options.files}
    rows = []
    with Peer("sentencepiece_models") as peer, tempfile.TemporaryDirectory() as folder:
        for name, documents in (texts or {"docstrings": stdlib_docstrings()}).items():
            documents = [document for document in documents if document.strip()]
            seen, unseen = documents[::2], documents[1::2]
            for kind in ("unigram", "bpe"):
                path = f"{folder}/{name}-{kind}.model"
                tokenizer = train(peer, path, seen, kind, options.vocab_size)
                what = (f"{kind} {tokenizer.vocab_size:,}", name)
                rows.append(encode_row(what, tokenizer, peer, path, seen, unseen, options.rounds))
                for run, character in RUNS.items() if name == "docstrings" else ():
                    text = [character * (MEGABYTE // len(character.encode()))]
                    what = (f"{kind} {tokenizer.vocab_size:,}", f"1 MB of {run}")
                    rows.append(encode_row(what, tokenizer, peer, path, seen, text, min(3, options.rounds)))
        version = peer.call("version")
    print(f"{machine()}; sentencepiece {version}\n")
    print(table(["model", "text", "ours MB/s", "theirs MB/s", "ratio"], rows))
    return 0
