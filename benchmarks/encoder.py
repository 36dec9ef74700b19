"""SentenceEncoder.encode in float32 and in int8 against sentence-transformers and ONNX Runtime in float32.

python -m benchmarks encoder: texts of 16 tokens, docstrings as they are (at most 256 tokens), texts of 256; with
all-MiniLM-L6-v2's weights and with a BERT-base of random ones; tokenization included on all sides. The ceiling is what
this machine's sgemm reaches on the encoder's own largest product, measured in the same rounds. In float32 outputs are
equal; the vectors of int8 are to have a mean cosine of 0.999 to those of float32.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.harness import Comparison, Result, Row, compare, in_turn, require_at_least, require_close
from benchmarks.peers import Peer
from minibert import SentenceEncoder, SentenceEncoderConfig, runtime
from minibert.encoder import BERT_BASE
from minibert.sentence_network import Normalize
from minibert.stdlib_corpus import docstrings

TOKENS = {"short": 16, "mixed": 256, "long": 256}  # at most
ROOM = 0.001  # by which the mean cosine of int8 to float32 may be below 1
MEMORY = """
import sys
from benchmarks.peers.worker import peak_mb
from minibert import SentenceEncoder
texts = open(sys.argv[2], encoding="utf-8").read().split("\\0")
SentenceEncoder.load(sys.argv[1]).encode(texts, on_truncate="silent", threads=int(sys.argv[3]))
print(peak_mb())
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


def product_seconds(config, lengths, threads):
    """What the products of all layers would take by themselves."""
    return flops(config, lengths) / ceiling(config, threads)


def our_peak_mb(folder, texts, threads):
    """The most memory that a process of its own holds to load the folder and encode the texts."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("\0".join(texts))
        file.flush()
        command = [sys.executable, "-c", MEMORY, folder, file.name, str(threads)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(name, folder, peers, args, tokens):
    """Rows of one model in float32 and in int8: speed against each library and sgemm alone, cosines, peak memory."""
    model = SentenceEncoder.load(folder)
    models = {name: model, f"{name} in int8": SentenceEncoder.load(folder, quantize="int8")}
    kinds = make_texts(model.tokenizer, tokens)
    peers["sentence-transformers"].call("load", path=folder)
    peers["onnxruntime"].call("load", path=folder, threads=args.threads)
    for kind in args.kinds:
        texts = kinds[kind]
        lengths = model.tokenize(texts, "silent")[0].lengths
        options = {"texts": texts, "on_truncate": "silent", "threads": args.threads}
        calls = {one: functools.partial(encoder.encode, **options) for one, encoder in models.items()}
        vectors, of_codes = (encode() for encode in calls.values())
        cosines, count = (vectors * of_codes).sum(axis=1), int(lengths.sum())  # both of length 1
        require_at_least(f"{name} in int8, {kind}: mean cosine", cosines.mean(), 1.0, ROOM)
        names = {"data": f"{kind} texts, {lengths.mean():.0f} tokens", "threads": args.threads}
        for library, peer in peers.items():
            peer.call("keep", name=kind, texts=texts)
            require_close(f"{name}, {kind}", vectors, peer.call("encode_kept", path=folder, name=kind), atol=1e-5)
            theirs = peer.timed("encode_kept", path=folder, name=kind)
            taken = in_turn(calls | {library: theirs}, args.rounds, warmup=1)
            for one in calls:
                result = Comparison(taken[one], taken[library])
                yield Row.timed(one, "tokens/s", result, count, against=library, **names)
        alone = functools.partial(product_seconds, model.config, lengths, args.threads)
        result = compare(calls[name], alone, args.rounds)
        yield Row.timed(f"{name}, of the ceiling", "tokens/s", result, count, against="sgemm alone", **names)
        yield Row(f"{name} in int8, mean cosine to float32", "cosine", [float(cosines.mean())], **names)
        yield Row(f"{name} in int8, least cosine to float32", "cosine", [float(cosines.min())], **names)
    memory = our_peak_mb(folder, texts, args.threads)
    for library, peer in peers.items():
        names = {"data": f"{kind} texts", "threads": args.threads, "against": library}
        yield Row(f"{name}, peak memory", "MB", [memory], [peer.call("peak_mb")], **names)


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
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for name in args.models:
            # fresh processes for each model, so that the peaks of memory are its own
            with Peer("st_encoder", args.threads) as st, Peer("onnx_encoder", args.threads) as onnx:
                peers, folder = {"sentence-transformers": st, "onnxruntime": onnx}, Path(home) / name
                minilm = SentenceEncoder.load(st.call("minilm_folder"))
                if name == "MiniLM-L6":
                    minilm.save(folder)
                else:
                    bert_base(minilm.tokenizer, folder)
                rows += measure(name, str(folder), peers, args, args.tokens // (1 if name == "MiniLM-L6" else 8))
    return [
        Result(
            f"encoder: {args.threads} thread{'s' * (args.threads > 1)}",
            "Texts to vectors, tokenization included: all-MiniLM-L6-v2, and a BERT-base of random weights; the "
            "libraries in float32, ours in float32 and with the layers' weights in int8; "
            f"{args.tokens:,} tokens of each kind of text, an eighth of that for BERT-base. The libraries pad batches "
            "of 32 to their longest text: where all mixed texts fit into one, that costs them most. The ceiling is our "
            "products in float32 alone, at the rate at which sgemm does the widest of them.",
            "All vectors of float32 agree to 1e-5; those of int8 have a mean cosine of at least 0.999 to them.",
            rows,
        )
    ]
