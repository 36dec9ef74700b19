"""The encoder–decoder against PyTorch: how good its translations are, and how long a step of training takes.

python -m benchmarks translation: one step (forward, backward, Adam), alternating, on batches with the lengths of short
sentences, losses compared first; batches of like lengths, and shuffled ones, in which PyTorch has more to pad.

python -m benchmarks translation --data FOLDER: trains both from the same weights on the same batches of FOLDER's
train.{de,en}.gz (Multi30k: 29,000 pairs), then translates val.de.gz with either's weights, greedily and by a beam of 4.
Goes on from --folder where it was stopped; --only trains one side, so that two processes can share a machine; --report
gives the table of what both have finished so far.
"""

import argparse
import gzip
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import Result, Row, compare, require_close, table
from benchmarks.peers import Peer
from benchmarks.peers.worker import peak_mb
from minibert import checkpoint, runtime
from minibert.data import batches_by_tokens
from minibert.encoder_decoder import EncoderDecoderConfig, initialize, loss_and_gradients, shift_right
from minibert.metrics import bleu
from minibert.models.translator import BOS, Translator, train_tokenizer
from minibert.ops import sinusoids
from minibert.optim import Adam, warmup_inverse_sqrt
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.train import train_translator

SIZES = {"width": 128, "layers": 3, "heads": 4, "ffn": 512, "positions": 100, "dropout": 0.1}
WIDER = SIZES | {"width": 256, "heads": 8, "ffn": 1024}
VOCAB_SIZE, EPOCHS, TOKENS, SMOOTHING, SEED = 6000, 10, 1024, 0.1, 0
LEARNING_RATE, WARMUP = 1.5e-3, 1000
BOS_ID = 1  # of random words
CALL = 20  # steps that the twin takes before it reports


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks translation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of both; set OPENBLAS_NUM_THREADS to the same")
    parser.add_argument("--small", action="store_true", help="steps of the smaller model alone")
    parser.add_argument("--data", type=Path, help="folder of train.de.gz, train.en.gz, val.de.gz, val.en.gz")
    parser.add_argument("--folder", type=Path, default="minibert-translation", help="where trainings are kept")
    parser.add_argument("--only", choices=["ours", "torch"], help="train this side alone")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(argv)
    if (blas := runtime.openblas()) and blas[1] != options.threads:
        parser.error(f"NumPy's BLAS has {blas[1]} threads: run with OPENBLAS_NUM_THREADS={options.threads}")
    if options.data is None:
        return speed(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(read(options.data / "train.de.gz"), read(options.data / "train.en.gz"), strict=True))
    model = new_model(pairs)
    sides = {"ours": train_ours, "torch": train_torch}
    for side in [] if options.report else [options.only] if options.only else sides:
        sides[side](model, pairs, options)
    if options.report or not options.only:
        print(quality(model, read(options.data / "val.de.gz"), read(options.data / "val.en.gz"), options.folder))
    return 0


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def new_model(pairs):
    """The untrained translator, the same in every run."""
    tokenizer = train_tokenizer([text for pair in pairs for text in pair], VOCAB_SIZE)
    return Translator.create(tokenizer, EncoderDecoderConfig(tokenizer.vocab_size, **SIZES), seed=SEED)


def train_ours(model, pairs, options):
    """Our training; the weights of every epoch, and in the checkpoint the history with the processor's seconds."""
    folder = options.folder / "ours"
    seconds = time.process_time()

    def evaluate():
        nonlocal seconds
        before, seconds = seconds, time.process_time()
        epoch = len(list(folder.glob("epoch-*")))
        checkpoint.save_file(folder / f"epoch-{epoch}.safetensors", dict(model.parameters))
        return {"seconds": seconds - before}

    train_translator(
        model, pairs, epochs=EPOCHS, tokens_per_batch=TOKENS, learning_rate=LEARNING_RATE, warmup=WARMUP,
        smoothing=SMOOTHING, seed=SEED, folder=folder, resume=(folder / "checkpoint.safetensors").exists(),
        evaluate=evaluate, checkpoint_every=100,
    )  # fmt: skip


def train_torch(model, pairs, options):
    """The twin's training, from the same weights over the same batches at the same rates."""
    folder = options.folder / "torch"
    folder.mkdir(exist_ok=True)
    sources, targets = (model.tokenize(list(texts), "silent") for texts in zip(*pairs, strict=True))
    lengths = np.stack((sources.lengths, targets.lengths), axis=1)
    bos = model.tokenizer.special_tokens[BOS]
    history = json.loads((folder / "history.json").read_text()) if (folder / "history.json").exists() else []
    with new_twin(model.parameters, model.config, options.threads) as peer:
        if history:
            peer.call("load", path=folder / "twin.pt")
        step = sum(record["steps"] for record in history)
        for epoch in range(len(history), EPOCHS):
            losses, seconds = [], 0.0
            batches = batches_by_tokens(lengths, TOKENS, SEED, epoch)
            for start in range(0, len(batches), CALL):
                chunk = batches[start : start + CALL]
                padded = [pad(sources.take(indices), targets.take(indices), bos) for indices in chunk]
                rates = [LEARNING_RATE * warmup_inverse_sqrt(step + i, WARMUP) for i in range(len(chunk))]
                result = peer.call("train", batches=padded, rates=rates)
                losses += result["losses"]
                seconds += result["seconds"]
                step += len(chunk)
            history.append({"steps": len(batches), "loss": float(np.mean(losses)), "seconds": seconds})
            checkpoint.save_file(folder / f"epoch-{epoch}.safetensors", peer.call("weights"))
            peer.call("save", path=folder / "twin.pt")
            (folder / "history.json").write_text(json.dumps(history, indent=1))


def new_twin(parameters, config, threads):
    """A peer with these weights."""
    peer = Peer("torch_translator", threads=threads)
    places = sinusoids(config.positions, config.width).astype(np.float32)
    sizes = {name: getattr(config, name) for name in ("vocab_size", *SIZES)}
    peer.call("create", tensors=dict(parameters), config=sizes, places=places, threads=threads, seed=SEED)
    return peer


def pad(sources, targets, bos, smoothing=SMOOTHING):
    """A batch as the twin takes it."""
    source_ids, mask = padded(sources, 0)
    inputs, labels = padded(shift_right(targets, bos), 0)[0], padded(targets, -100)[0]
    return {
        "sources": source_ids, "source_mask": mask, "inputs": inputs, "labels": labels, "smoothing": smoothing,
    }  # fmt: skip


def padded(batch, fill):
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids = np.full(mask.shape, fill, np.int64)
    ids[mask] = batch.ids
    return ids, mask


def quality(model, texts, references, folder):
    """Markdown: the loss, the processor's seconds and BLEU of both after every epoch that both finished."""
    _, facts = checkpoint.load_file(folder / "ours" / "checkpoint.safetensors")
    histories = json.loads(facts["history"]), json.loads((folder / "torch" / "history.json").read_text())
    rows = []
    for epoch, records in enumerate(zip(*histories, strict=False)):
        scores = []
        for side in ("ours", "torch"):
            model.parameters.load(checkpoint.load_file(folder / side / f"epoch-{epoch}.safetensors")[0])
            scores.append([bleu(model.translate(texts, beam=beam), references) for beam in (1, 4)])
        columns = [[record["loss"], *score, record["seconds"]] for record, score in zip(records, scores, strict=True)]
        rows.append([epoch + 1, *(value for pair in zip(*columns, strict=True) for value in pair)])
    facts = "loss", "BLEU greedy", "BLEU beam 4", "CPU s"
    names = [f"{fact}, {side}" for fact in facts for side in ("ours", "PyTorch")]
    return table(["epoch", *names], rows)


def speed(options):
    """One step of either, alternating, on the same batches; losses compared first."""
    settings = [(SIZES, VOCAB_SIZE, 1024, False), (SIZES, VOCAB_SIZE, 1024, True), (SIZES, VOCAB_SIZE, 4096, False)]
    if not options.small:
        settings += [(WIDER, 8000, 4096, False), (WIDER, 8000, 4096, True)]
    rows = [row for setting in settings for row in step_rows(*setting, options)]
    return [
        Result(
            f"translation: {options.threads} thread{'s' * (options.threads > 1)}",
            f"A step of the encoder–decoder (forward, backward, Adam), dropout {SIZES['dropout']}, 3 + 3 layers, on "
            "batches with the lengths of captions: of like lengths, or shuffled, where PyTorch has more to pad. Memory "
            "is the peak of the process so far.",
            "Losses of all batches agree to 1e-5.",
            rows,
        )
    ]


def step_rows(sizes, vocab_size, tokens, shuffled, options):
    """Time of a step and peak memory of one model on one kind of batch."""
    config = EncoderDecoderConfig(vocab_size, **sizes)
    p = Parameters(config.shapes)
    initialize(p, np.random.default_rng(SEED))
    batches = synthetic_batches(np.random.default_rng(SEED), vocab_size, tokens, shuffled)
    padded = [pad(*batch, BOS_ID) for batch in batches]
    still = replace(config, dropout=0.0)
    with new_twin(p, still, options.threads) as peer:
        losses = peer.call("train", batches=padded, rates=[0.0] * len(batches))["losses"]
    ours = [loss_and_gradients(p, still, *batch, BOS_ID, SMOOTHING)[0] for batch in batches]
    require_close("encoder–decoder: losses", ours, losses, rtol=1e-5)
    adam, rng = Adam(p.flat, beta2=0.98, eps=1e-9), np.random.default_rng(SEED)

    def steps():
        for batch in batches:
            _, gradients = loss_and_gradients(p, config, *batch, BOS_ID, SMOOTHING, rng)
            adam.step(p.flat, gradients.flat, 1e-4)

    real = sum(len(side.ids) for batch in batches for side in batch)
    padding = sum(batch["sources"].size + batch["inputs"].size for batch in padded) / real
    data = f"{config.width} wide, {tokens:,} tokens a side, {'shuffled' if shuffled else 'alike'}, {padding:.2f} padded"
    names = {"data": data, "against": "torch", "threads": options.threads}
    with new_twin(p, config, options.threads) as peer:
        theirs = peer.timed("train", batches=padded, rates=[1e-4] * len(batches))
        result = compare(steps, theirs, options.rounds)
        peaks = [[peak_mb()], [peer.call("peak_mb")]]
    yield Row.timed("encoder–decoder: forward, backward, Adam", "tokens/s", result, real, **names)
    yield Row("encoder–decoder: peak memory", "MB", *peaks, **names)


def synthetic_batches(rng, vocab_size, tokens, shuffled, count=2):
    """Batches of random words in lengths as of captions: 14 ± 4 tokens, sources 2.5 more or less than their targets."""
    targets = np.clip(np.round(rng.normal(14, 4, 10 * tokens)), 3, 50).astype(int)
    sources = np.clip(np.round(targets + rng.normal(0, 2.5, len(targets))), 2, 50).astype(int)
    batches = batches_by_tokens(np.stack((sources, targets), axis=1), tokens, SEED, 0)[:count]
    if shuffled:
        batches = [rng.choice(len(targets), tokens // 14, replace=False) for _ in batches]
    return [
        [
            Ragged.from_sequences([rng.integers(3, vocab_size, n).tolist() for n in side[b]])
            for side in (sources, targets)
        ]
        for b in batches
    ]
