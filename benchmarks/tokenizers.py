"""WordPiece and byte-level BPE against Hugging Face's library and tiktoken: one thread, alternating medians.

The same ids are checked first.

python -m benchmarks tokenizers [FILE …]: text files, one document a paragraph; by default, the docstrings of the
standard library and, in other languages, the text sets in the folder that MINIBERT_DATA names. Every second document
fills the cache, the others are timed: text never seen, as in steady use.

WordPiece has MiniLM's own vocabulary, in every language; byte-level BPE 32,000 tokens learned from the documents that
fill the cache, of all languages together; and GPT-2's own where MINIBERT_DATA has it.
"""

import argparse
import functools
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import tokenizers
from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer
from benchmarks.texts import by_script
from benchmarks.tokenizer_limits import limit_rows
from tokenizers.bpe import BPE, byte_level, unspell

MAX_LENGTH = 256
ENGLISH = ("en", "en wiki", "files")


def read_documents(paths):
    """Paragraphs of UTF-8 files."""
    return [part for path in paths for part in Path(path).read_text("utf-8").split("\n\n") if part.strip()]


def same_ids(ours, theirs, what):
    if not np.array_equal(ours, theirs):
        raise SystemExit(f"{what}: different ids or offsets, nothing to time")


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


def encode_rows(name, tokenizer, peer, path, script, texts, rounds):
    """Table rows: ids only, ids with offsets, and, where there is a token to pad with, pairs as padded arrays."""
    seen, unseen = texts[::2], texts[1::2]
    pairs = unseen[1:] + unseen[:1]
    theirs = peer.call("encode", path=path, texts=unseen)
    batch = tokenizer.encode_batch(unseen)
    same_ids(batch.ids, theirs["ids"], f"{name}, {script}")
    same_ids(batch.offsets, theirs["offsets"], f"{name}, {script}")
    peer.call("keep", name="unseen", texts=unseen)
    peer.call("keep", name="pairs", texts=list(zip(unseen, pairs, strict=True)))
    cases = [
        ("ids", unseen, lambda: tokenizer.encode_batch(unseen).ids, "encode_kept", {"name": "unseen"}),
        ("offsets", unseen, lambda: tokenizer.encode_batch(unseen).offsets, "encode_kept_offsets", {"name": "unseen"}),
    ]
    if "[PAD]" in tokenizer.special_tokens:
        padded = functools.partial(tokenizer, unseen, pairs, max_length=MAX_LENGTH)
        what, cut = f"pairs, cut at {MAX_LENGTH}, padded, as arrays", {"name": "pairs", "max_length": MAX_LENGTH}
        cases.append((what, unseen + pairs, padded, "encode_kept_padded", cut))
    for what, timed_texts, run, function, more in cases:
        result = compare(fresh(tokenizer, seen, run), peer.timed(function, path=path, **more), rounds)
        yield row(name, f"{script}: {what}", result, timed_texts)


def rank_rows(model, path, texts, rounds):
    """Table rows: the same tokens by rank, against tiktoken, with the patterns that both know."""
    with Peer("tiktoken_bpe") as peer:
        for script, documents in texts.items():
            seen, unseen = documents[::2], documents[1::2]
            peer.call("keep", name="unseen", texts=unseen)
            for pattern in ("gpt2", "cl100k", "o200k"):
                tokenizer = byte_level(model, pattern)
                theirs = peer.call("encode", path=path, pattern=pattern, texts=unseen)["ids"]
                same_ids(tokenizer.encode_batch(unseen).ids, theirs, f"{pattern}, {script}")
                ours = fresh(tokenizer, seen, lambda t=tokenizer, unseen=unseen: t.encode_batch(unseen).ids)
                result = compare(ours, peer.timed("encode_kept", path=path, pattern=pattern, name="unseen"), rounds)
                yield row(f"{pattern} pattern (tiktoken)", f"{script}: ids", result, unseen)


def trained_bpe(texts, folder):
    """(tokenizer, its tokenizer.json, model by ranks, its .tiktoken) of half the documents of every language."""
    tokenizer = BPE.train([text for documents in texts.values() for text in documents[::2]], vocab_size=32_000)
    ordinary = sorted((i, token) for token, i in tokenizer.vocab.items() if token not in tokenizer.special_tokens)
    ranks = BPE.from_ranks({unspell(token): rank for rank, (_, token) in enumerate(ordinary)})
    paths = f"{folder}/tokenizer.json", f"{folder}/bpe.tiktoken"
    tokenizer.save(paths[0])
    byte_level(ranks).save(paths[1])
    return tokenizer, paths[0], ranks, paths[1]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokenizers", description=__doc__)
    parser.add_argument("files", nargs="*", help="UTF-8 text")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="languages, with commas between")
    options = parser.parse_args(argv)
    texts, missing = ({"files": read_documents(options.files)}, []) if options.files else by_script()
    if options.only:
        texts = {name: texts[name] for name in options.only.split(",")}
    if missing:
        print(f"MINIBERT_DATA has not: {', '.join(missing)}; these rows are left out or shorter\n")
    rows, english = [], next(iter(texts.values()))
    with Peer("hf_tokenizers") as peer, tempfile.TemporaryDirectory() as folder:
        bpe, path, ranks, ranks_path = trained_bpe(texts, folder)
        minilm = f"{peer.call('minilm_folder')}/tokenizer.json"
        models = {"WordPiece MiniLM": (tokenizers.load(minilm), minilm), "BPE 32,000": (bpe, path)}
        gpt2 = Path(os.environ.get("MINIBERT_DATA") or "no MINIBERT_DATA") / "tok_gpt2_bpe"
        if gpt2.is_dir():
            models["BPE GPT-2"] = tokenizers.load(gpt2), f"{folder}/gpt2.json"
            models["BPE GPT-2"][0].save(models["BPE GPT-2"][1])
        for name, (tokenizer, path) in models.items():
            peer.call("load", path=path)
            for script, documents in texts.items():
                if name != "BPE GPT-2" or script in ENGLISH:
                    rows += encode_rows(name, tokenizer, peer, path, script, documents, options.rounds)
        rows += rank_rows(ranks, ranks_path, texts, options.rounds)
        version = peer.call("version")
        limits = limit_rows(
            {name: (*model, peer.timed("load", path=model[1])) for name, model in models.items()}, english
        )
        print(", ".join(f"{name} {sum(len(t.encode()) for t in part) / 1e6:.2f} MB" for name, part in texts.items()))
        print(f"{machine()}; tokenizers {version}\n")
        print(table(["vocabulary", "task", "ours MB/s", "theirs MB/s", "ratio"], rows), end="\n\n")
        print(table(["vocabulary", "limit", "measured", "goal"], limits))
    return 0
