"""SentenceEncoder.encode against sentence-transformers and ONNX Runtime, float32: equal outputs, alternating medians.

python -m benchmarks encoder: texts of 16 tokens, docstrings as they are (at most 256 tokens), texts of 256; with
all-MiniLM-L6-v2's weights and with a BERT-base of random ones; tokenization included on all sides. The ceiling is what
this machine's sgemm reaches on the encoder's own largest product, measured in the same rounds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.harness import compare, machine, table
from benchmarks.peers import Peer
from minibert import SentenceEncoder, SentenceEncoderConfig, runtime
from minibert.encoder import BERT_BASE
from minibert.sentence_network import Normalize
from minibert.stdlib_corpus import docstrings

TOKENS = {"short": 16, "mixed": 256, "long": 256}  # at most
MEMORY = """
import resource, sys
from minibert import SentenceEncoder
texts = open(sys.argv[2], encoding="utf-8").read().split("\\0")
SentenceEncoder.load(sys.argv[1]).encode(texts, on_truncate="silent", threads=int(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def make_texts(tokenizer, tokens):
    """{kind: texts} of about so many tokens each, cut from docstrings at the end of a token."""
    rng = np.random.default_rng(0)
    found = [found.text for found in docstrings()]
    texts = [found[i] for i in rng.permutation(len(found))[:3000]]
    batch = tokenizer.encode_batch(texts)
    kinds = {kind: [] for kind in TOKENS}
    for b, text in enumerate(texts):
        ends = batch.row(b)["offsets"][:, 1]
        for kind, most in TOKENS.items():
            enough = len(ends) >= (most if kind != "mixed" else 0) and len(kinds[kind]) * most < 8 * tokens
            if enough:
                kinds[kind].append(text[: ends[min(most, len(ends)) - 2]])
    return {kind: cut(tokenizer, kinds[kind], tokens) for kind in TOKENS}


def cut(tokenizer, texts, tokens):
    """As many of the texts as hold about so many tokens."""
    lengths = tokenizer.encode_batch(texts).lengths
    return texts[: int(np.searchsorted(np.cumsum(lengths), tokens)) + 1]


def bert_base(tokenizer, folder):
    """A BERT-base with random weights, in a folder."""
    settings = asdict(BERT_BASE) | {"vocab_size": tokenizer.vocab_size}
    config = SentenceEncoderConfig(**settings, max_length=256, head=(Normalize(),))
    SentenceEncoder.create(tokenizer, config).save(folder)


def flops(config, lengths):
    """Multiplications and additions of the products of all layers."""
    dense = 2 * config.width * (4 * config.width + 2 * config.ffn) * int(lengths.sum())
    return config.layers * (dense + 4 * config.width * int((lengths**2).sum()))


def ceiling(config, threads):
    """FLOP/s of sgemm on 1024 rows of the widest product, all threads together: the best of some."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1024 * threads, config.width), np.float32)
    w = rng.standard_normal((config.ffn, config.width), np.float32)
    out = np.empty((len(x), len(w)), np.float32)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        np.matmul(x, w.T, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * len(x) * w.size / min(seconds)


def our_peak_mb(folder, texts, threads):
    """The most memory that a process of its own holds to load the folder and encode the texts."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("\0".join(texts))
        file.flush()
        command = [sys.executable, "-c", MEMORY, folder, file.name, str(threads)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name, folder, peers, args, tokens):
    """Rows of the table for one model."""
    model = SentenceEncoder.load(folder)
    kinds = make_texts(model.tokenizer, tokens)
    peers["sentence-transformers"].call("load", path=folder)
    peers["ONNX Runtime"].call("load", path=folder, threads=args.threads)
    rows = []
    for kind in args.kinds:
        texts = kinds[kind]
        lengths = model.tokenize(texts, "silent")[0].lengths

        def ours(texts=texts):
            return model.encode(texts, on_truncate="silent", threads=args.threads)

        vectors, ratios, seconds, share = ours(), [], [], []
        for peer in peers.values():
            peer.call("keep", name=kind, texts=texts)
            np.testing.assert_allclose(vectors, peer.call("encode_kept", path=folder, name=kind), atol=1e-5)
            limit = ceiling(model.config, args.threads)
            result = compare(lambda: ours() is None, peer.timed("encode_kept", path=folder, name=kind), args.rounds)
            ratios.append(result.ratio)
            seconds.append(result.ours)
            share.append(flops(model.config, lengths) / result.ours / limit)
        rate = int(lengths.sum()) / min(seconds)
        rows.append([name, f"{kind} ({lengths.mean():.0f})", rate, *ratios, f"{100 * max(share):.0f} %", limit / 1e9])
    memory = [our_peak_mb(folder, texts, args.threads), *(peer.call("peak_mb") for peer in peers.values())]
    return rows, [name, *memory]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoder", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of all; set OPENBLAS_NUM_THREADS to the same")
    parser.add_argument("--models", nargs="+", default=["MiniLM-L6", "BERT-base"], choices=["MiniLM-L6", "BERT-base"])
    parser.add_argument("--kinds", nargs="+", default=list(TOKENS), choices=list(TOKENS))
    parser.add_argument(
        "--tokens", type=int, default=16000, help="in the texts of each kind; BERT-base takes an eighth"
    )
    args = parser.parse_args(argv)
    _, blas_threads = runtime.openblas() or (None, args.threads)
    if blas_threads != args.threads:
        parser.error(f"NumPy's BLAS has {blas_threads} threads: start with OPENBLAS_NUM_THREADS={args.threads}")
    print(f"{machine()}, threads: {args.threads}\n")
    speed, memory = [], []
    with tempfile.TemporaryDirectory() as home:
        for name in args.models:
            # fresh processes for each model, so that the peaks of memory are its own
            with Peer("st_encoder", args.threads) as st, Peer("onnx_encoder", args.threads) as onnx:
                peers, folder = {"sentence-transformers": st, "ONNX Runtime": onnx}, Path(home) / name
                minilm = SentenceEncoder.load(st.call("minilm_folder"))
                if name == "MiniLM-L6":
                    minilm.save(folder)
                else:
                    bert_base(minilm.tokenizer, folder)
                tokens = args.tokens if name == "MiniLM-L6" else args.tokens // 8
                rows, peaks = measure(name, str(folder), peers, args, tokens)
                speed += rows
                memory.append(peaks)
                versions = [f"{library} {peer.call('version')}" for library, peer in peers.items()]
    header = ["model", "texts (mean tokens)", "tokens/s", *(f"× {v}" for v in versions), "of sgemm", "sgemm GFLOP/s"]
    print(table(header, speed))
    print()
    print(table(["model", "peak MB", *(f"{v}, MB" for v in versions)], memory))
