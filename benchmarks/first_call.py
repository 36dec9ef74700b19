"""What compiling costs, which no other benchmark counts: the first call of each room, in processes of its own.

python -m benchmarks first_call: with an empty cache, where Numba compiles every kernel; with a filled one, where a new
process reads them from the disk; and the same call once more in that process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from benchmarks.harness import ROOT, Result, Row

SCRIPT = """
import json, time
import minibert
import ann, tokenizers
import numpy as np
from minibert import SentenceEncoder, SentenceEncoderConfig
from minibert.retrieval.bm25 import BM25
texts = ["a few words", "a few more words"] * 9
rows = np.random.default_rng(0).standard_normal((100, 32), np.float32)
{setup}
seconds = []
for _ in range(2):
    start = time.perf_counter()
    {call}
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""
TRAIN = "tokenizer = tokenizers.WordPiece.train(texts, 40, progress=False)"
MODEL = f"""{TRAIN}
config = SentenceEncoderConfig(tokenizer.vocab_size, width=32, layers=1, heads=2, ffn=64)
model = SentenceEncoder.create(tokenizer, config)"""
ROOMS = {  # (set-up, call)
    "WordPiece: train and encode": ("", f"{TRAIN}; tokenizer.encode_batch(texts).offsets"),
    "BPE: train and encode": ("", "tokenizers.BPE.train(texts, 300, progress=False).encode_batch(texts).offsets"),
    "HNSW: add and search": ("", 'index = ann.HNSW(32, "l2"); index.add(rows); index.search(rows[:1])'),
    "HNSW int8: add and search": (
        "",
        'index = ann.HNSW(32, "l2", quantize="int8"); index.add(rows); index.search(rows[:1])',
    ),
    "BM25: index and search": ("", "index = BM25(); index.add(texts); index.search(texts[:1])"),
    "encoder: texts to vectors": (MODEL, "model.encode(texts)"),
}


def seconds(room, cache):
    """[first call, second call] of a new process."""
    setup, call = ROOMS[room]
    run = [sys.executable, "-c", SCRIPT.format(setup=setup, call=call)]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=ROOT)
    return json.loads(done.stdout)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks first_call", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of the filled cache")
    args = parser.parse_args(argv)
    rows = []
    for room in ROOMS:
        with tempfile.TemporaryDirectory() as cache:
            compiled = seconds(room, cache)[0]
            later = [seconds(room, cache) for _ in range(args.rounds)]
        rows.append(Row(room, "s", [compiled], data="empty cache"))
        rows += [Row(room, "s", [s[i] for s in later], data=data) for i, data in enumerate(("from disk", "again"))]
    about = "A first call on a handful of texts or rows, imports not counted; the encoder's tokenizer has been called."
    return [Result("first_call", about, "No library is timed.", rows)]
