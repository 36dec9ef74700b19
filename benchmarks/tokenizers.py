"""WordPiece and byte-level BPE against Hugging Face's library and tiktoken: one thread, alternating medians.

The same ids are checked first.

python -m benchmarks tokenizers [FILE …]: text files, one document a paragraph; by default, the docstrings of the
standard library. Every second document fills the cache, the others are timed: text never seen, as in steady use.
"""

import argparse
import functools
import tempfile
import time
from pathlib import Path

import numpy as np

import tokenizers
from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer
from benchmarks.texts import stdlib_docstrings
from tokenizers.bpe import BPE, byte_level, unspell

MAX_LENGTH = 256


def read_documents(paths):
    """Paragraphs of UTF-8 files."""
    return [part for path in paths for part in Path(path).read_text("utf-8").split("\n\n") if part.strip()]


def same_ids(ours, theirs, what):
    if not np.array_equal(ours, theirs):
        raise SystemExit(f"{what}: different ids, nothing to time")


def fresh(tokenizer, seen, run):
    """A timed run whose cache was filled from other texts."""

    def timed():
        tokenizer.forget()
        tokenizer.encode_batch(seen)
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return timed


def row(name, what, result, texts):
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    return [name, what, megabytes / result.ours, megabytes / result.theirs, result.ratio]


def encode_rows(name, tokenizer, peer, path, texts, rounds):
    """Table rows: ids only, ids with offsets, and, where there is a token to pad with, padded arrays."""
    seen, unseen = texts[::2], texts[1::2]
    peer.call("load", path=path)
    same_ids(tokenizer.encode_batch(unseen).ids, peer.call("encode", path=path, texts=unseen)["ids"], name)
    peer.call("keep", name="unseen", texts=unseen)
    cases = [
        ("ids (theirs: encode_batch_fast)", lambda: tokenizer.encode_batch(unseen).ids, "encode_kept", {}),
        (
            "ids and offsets (theirs: encode_batch)",
            lambda: tokenizer.encode_batch(unseen).offsets,
            "encode_kept_offsets",
            {},
        ),
    ]
    if "[PAD]" in tokenizer.special_tokens:
        padded, cut = lambda: tokenizer(unseen, max_length=MAX_LENGTH), {"max_length": MAX_LENGTH}
        cases.append((f"padded, cut at {MAX_LENGTH}, as NumPy arrays", padded, "encode_kept_padded", cut))
    for what, run, function, more in cases:
        theirs = peer.timed(function, path=path, name="unseen", **more)
        yield row(name, what, compare(fresh(tokenizer, seen, run), theirs, rounds), unseen)


def rank_rows(trained, folder, texts, rounds):
    """Table rows: the same tokens by rank, against tiktoken, with the patterns that both know."""
    seen, unseen = texts[::2], texts[1::2]
    ordinary = sorted((i, token) for token, i in trained.vocab.items() if token not in trained.special_tokens)
    model, path = (
        BPE.from_ranks({unspell(token): rank for rank, (_, token) in enumerate(ordinary)}),
        f"{folder}/x.tiktoken",
    )
    byte_level(model).save(path)
    with Peer("tiktoken_bpe") as peer:
        peer.call("keep", name="unseen", texts=unseen)
        for pattern in ("gpt2", "cl100k", "o200k"):
            tokenizer = byte_level(model, pattern)
            theirs = peer.call("encode", path=path, pattern=pattern, texts=unseen)["ids"]
            same_ids(tokenizer.encode_batch(unseen).ids, theirs, pattern)
            ours = fresh(tokenizer, seen, lambda tokenizer=tokenizer: tokenizer.encode_batch(unseen).ids)
            result = compare(ours, peer.timed("encode_kept", path=path, pattern=pattern, name="unseen"), rounds)
            yield row(f"byte BPE {len(ordinary):,}, {pattern}", "ids (theirs: tiktoken)", result, unseen)


def training_rows(peer, texts, rounds):
    for kind, function in ((tokenizers.WordPiece, "train"), (tokenizers.BPE, "train_bpe")):
        ours = functools.partial(kind.train, texts, vocab_size=8000)
        result = compare(lambda ours=ours: ours() and None, peer.timed(function, texts=texts, vocab_size=8000), rounds)
        yield row(f"{kind.__name__} 8,000", "training", result, texts)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokenizers", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    texts = read_documents(options.files) if options.files else stdlib_docstrings()
    rows = []
    with Peer("hf_tokenizers") as peer, tempfile.TemporaryDirectory() as folder:
        minilm = peer.call("minilm_folder")
        rows += encode_rows("MiniLM", tokenizers.load(minilm), peer, f"{minilm}/tokenizer.json", texts, options.rounds)
        for kind in (tokenizers.WordPiece, tokenizers.BPE):
            trained, path = kind.train(texts[::2], vocab_size=8000), f"{folder}/{kind.__name__}.json"
            trained.save(path)
            rows += encode_rows(f"{kind.__name__} 8,000", trained, peer, path, texts, options.rounds)
        rows += rank_rows(trained, folder, texts, options.rounds)
        rows += training_rows(peer, texts, min(3, options.rounds))
        version = peer.call("version")
    print(f"{len(texts):,} documents, {sum(map(len, texts)):,} characters; {machine()}; tokenizers {version}\n")
    print(table(["vocabulary", "task", "ours MB/s", "theirs MB/s", "ratio"], rows))
    return 0
