"""WordPiece and byte-level BPE against Hugging Face's library and tiktoken: the same ids, then alternating rounds.

python -m benchmarks tokenizers [FILE …]: text files, one document a paragraph; by default, the docstrings of the
standard library and, in other languages, the text sets in the folder that MINIBERT_DATA names. Every second document
fills the cache, the others are timed: text never seen, as in steady use. One thread; English with two as well.

WordPiece has MiniLM's own vocabulary, in every language; byte-level BPE 32,000 tokens learned from the documents that
fill the cache, of all languages together; and GPT-2's own where MINIBERT_DATA has it.
"""

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tokenizers
from benchmarks.harness import Result, Row, compare, require_equal
from benchmarks.peers import Peer
from benchmarks.texts import by_script, first_megabytes
from benchmarks.tokenizer_limits import limit_rows
from tokenizers.bpe import BPE, byte_level, unspell

MAX_LENGTH = 256
ENGLISH = ("en", "en wiki", "files")


def read_documents(paths):
    """Paragraphs of UTF-8 files."""
    return [part for path in paths for part in Path(path).read_text("utf-8").split("\n\n") if part.strip()]


def fresh(tokenizer, seen, run):
    """A timed run whose cache was filled from other texts."""

    def timed():
        tokenizer.forget()
        tokenizer.encode_batch(seen)
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return timed


def megabytes(texts):
    return sum(len(text.encode()) for text in texts) / 1e6


class Case(NamedTuple):
    """What is timed: our call, the peer's function with its arguments, the library's call behind that."""

    what: str
    texts: list
    run: Callable
    function: str
    arguments: dict
    call: str


def cases(tokenizer, unseen, threads):
    """Ids only, ids with offsets, and on one thread, where there is a token to pad with, pairs as padded arrays."""

    def ids():
        return tokenizer.encode_batch(unseen, threads=threads).ids

    def offsets():
        return tokenizer.encode_batch(unseen, threads=threads).offsets

    yield Case("ids", unseen, ids, "encode_kept", {"name": "unseen"}, "encode_batch_fast")
    yield Case("ids and offsets", unseen, offsets, "encode_kept_offsets", {"name": "unseen"}, "encode_batch")
    if "[PAD]" in tokenizer.special_tokens and threads == 1:
        padded = functools.partial(tokenizer, unseen, next_ones(unseen), max_length=MAX_LENGTH)
        what, arguments = f"pairs, cut at {MAX_LENGTH}, as padded arrays", {"name": "pairs", "max_length": MAX_LENGTH}
        yield Case(what, 2 * unseen, padded, "encode_kept_padded", arguments, "encode_batch_fast")


def next_ones(texts):
    """The text to pair with each."""
    return texts[1:] + texts[:1]


def encode_rows(name, tokenizer, peer, path, script, texts, rounds, threads=1):
    """A row for each case, once ids, offsets and padded arrays are known to be the same."""
    seen, unseen = texts[::2], texts[1::2]
    theirs = peer.call("encode", path=path, texts=unseen)
    batch = tokenizer.encode_batch(unseen, threads=threads)
    require_equal(f"{name}, ids, {script}", batch.ids, theirs["ids"])
    require_equal(f"{name}, offsets, {script}", batch.offsets, theirs["offsets"])
    peer.call("keep", name="unseen", texts=unseen)
    peer.call("keep", name="pairs", texts=list(zip(unseen, next_ones(unseen), strict=True)))
    for case in cases(tokenizer, unseen, threads):
        if case.function == "encode_kept_padded":
            padded = peer.call("encode_padded", path=path, texts=unseen, pairs=next_ones(unseen), max_length=MAX_LENGTH)
            require_equal(f"{name}, {case.what}, {script}", case.run()["input_ids"], padded["input_ids"])
        theirs = peer.timed(case.function, path=path, **case.arguments)
        result = compare(fresh(tokenizer, seen, case.run), theirs, rounds)
        names = {"against": f"tokenizers: {case.call}", "data": script, "threads": threads}
        yield Row.timed(f"{name} {case.what}", "MB/s", result, megabytes(case.texts), **names)


def rank_rows(model, path, texts, rounds):
    """Rows: the same tokens by rank, against tiktoken, with the patterns that both know."""
    with Peer("tiktoken_bpe") as peer:
        for script, documents in texts.items():
            seen, unseen = documents[::2], documents[1::2]
            peer.call("keep", name="unseen", texts=unseen)
            for pattern in ("gpt2", "cl100k", "o200k"):
                tokenizer = byte_level(model, pattern)
                theirs = peer.call("encode", path=path, pattern=pattern, texts=unseen)["ids"]
                require_equal(f"{pattern}, {script}", tokenizer.encode_batch(unseen).ids, theirs)
                ours = fresh(tokenizer, seen, lambda t=tokenizer, unseen=unseen: t.encode_batch(unseen).ids)
                result = compare(ours, peer.timed("encode_kept", path=path, pattern=pattern, name="unseen"), rounds)
                names = {"against": "tiktoken: encode_ordinary", "data": script}
                yield Row.timed(f"BPE by rank, {pattern} pattern", "MB/s", result, megabytes(unseen), **names)


def trained_bpe(texts, folder):
    """(tokenizer, its tokenizer.json, model by ranks, its .tiktoken) of half the documents of every language."""
    tokenizer = BPE.train([text for documents in texts.values() for text in documents[::2]], vocab_size=32_000)
    ordinary = sorted((i, token) for token, i in tokenizer.vocab.items() if token not in tokenizer.special_tokens)
    ranks = BPE.from_ranks({unspell(token): rank for rank, (_, token) in enumerate(ordinary)})
    paths = f"{folder}/tokenizer.json", f"{folder}/bpe.tiktoken"
    tokenizer.save(paths[0])
    byte_level(ranks).save(paths[1])
    return tokenizer, paths[0], ranks, paths[1]


def models_of(peer, bpe, bpe_path, folder):
    """{name: (tokenizer, its tokenizer.json)}."""
    minilm = f"{peer.call('minilm_folder')}/tokenizer.json"
    models = {"WordPiece": (tokenizers.load(minilm), minilm), "BPE": (bpe, bpe_path)}
    gpt2 = Path(os.environ.get("MINIBERT_DATA") or "no MINIBERT_DATA") / "tok_gpt2_bpe"
    if gpt2.is_dir():
        models["GPT-2's BPE"] = tokenizers.load(gpt2), f"{folder}/gpt2.json"
        models["GPT-2's BPE"][0].save(models["GPT-2's BPE"][1])
    return models


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokenizers", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="languages, with commas between")
    parser.add_argument("--megabytes", type=float, help="of each language at most")
    options = parser.parse_args(argv)
    texts, missing = ({"files": read_documents(options.files)}, []) if options.files else by_script()
    wanted = options.only.split(",") if options.only else list(texts)
    texts = {name: first_megabytes(texts[name], options.megabytes) for name in wanted if name in texts}
    if missing:
        print(f"MINIBERT_DATA has not: {', '.join(missing)}; these rows are left out or shorter\n")
    rows, (script, english) = [], next(iter(texts.items()))
    with tempfile.TemporaryDirectory() as folder:
        bpe, path, ranks, ranks_path = trained_bpe(texts, folder)
        with Peer("hf_tokenizers") as peer, Peer("hf_tokenizers", threads=2) as two:
            models = models_of(peer, bpe, path, folder)
            for name, (tokenizer, path) in models.items():
                for script, documents in texts.items():
                    if name != "GPT-2's BPE" or script in ENGLISH:
                        rows += encode_rows(name, tokenizer, peer, path, script, documents, options.rounds)
                        if script in ENGLISH:
                            rows += encode_rows(
                                name, tokenizer, two, path, script, documents, options.rounds, threads=2
                            )
            rows += rank_rows(ranks, ranks_path, texts, options.rounds)
            loads = {name: (*model, peer.timed("load", path=model[1])) for name, model in models.items()}
            rows += limit_rows(loads, english)
    sizes = ", ".join(f"{name} {megabytes(part):.2f} MB" for name, part in texts.items())
    return [
        Result(
            "tokenizers",
            f"Texts to ids, half of each set timed, the other half in the cache: {sizes}. WordPiece has MiniLM's "
            "vocabulary, byte-level BPE 32,000 tokens.",
            "Ids, offsets and padded arrays of all texts are the same.",
            rows,
        )
    ]
