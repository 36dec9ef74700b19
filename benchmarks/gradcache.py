"""What gradient caching saves: peak memory and time of one step on many pairs, each in a process of its own.

python -m benchmarks gradcache: a dual encoder, 128 wide, 2 layers, random texts of 8 to 48 tokens. Memory is what the
step added to the process's peak; the gradients' norm shows that the numbers are the same.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from benchmarks.harness import machine, table
from benchmarks.peers.worker import peak_mb
from minibert.encoder import initialize
from minibert.models.dual_encoder import DOCUMENT, QUERY, DualEncoder, DualEncoderConfig
from minibert.parameters import Parameters
from minibert.ragged import Ragged

RUNS = [(64, None), (1024, None), (1024, 64), (4096, 64)]  # pairs, texts that pass at once


def step(pairs, part):
    """Loss, norm of the gradient, MB added to the peak, seconds of the processor."""
    config = DualEncoderConfig(8000, dropout=0.0, normalize=True, temperature=0.05)
    parameters, rng = Parameters(config.shapes), np.random.default_rng(0)
    initialize(parameters.sub(QUERY), rng)
    parameters.sub(DOCUMENT).flat[...] = parameters.sub(QUERY).flat
    model = DualEncoder(None, config, parameters)
    sides = [
        Ragged.from_sequences([rng.integers(5, 8000, n).tolist() for n in rng.integers(8, 49, pairs)]) for _ in range(2)
    ]
    model.loss_and_gradients(*(side.take(np.arange(2)) for side in sides))  # compiled, and pages touched
    before, start = peak_mb(), time.process_time()
    loss, d = model.loss_and_gradients(*sides, part=part)
    return [loss, float(np.linalg.norm(d.flat)), peak_mb() - before, time.process_time() - start]


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks gradcache", description=__doc__)
    parser.add_argument("--one", metavar="JSON", help="pairs and texts at once: one step in this process")
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(step(*json.loads(options.one))))
        return
    rows = []
    for run in RUNS:
        command = [sys.executable, "-m", "benchmarks", "gradcache", "--one", json.dumps(run)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append([run[0], run[1] or "all", *json.loads(done.stdout)])
    print(machine() + "\n")
    print(table(["pairs", "texts at once", "loss", "norm of gradient", "MB", "CPU s"], rows))
