"""SBERT from random weights: what NLI and graded pairs teach an untrained and a masked-LM encoder; the PyTorch twin.

python -m benchmarks sbert --data FOLDER: that of snli, taxinli_mnli10k, sick and sts_benchmark. All encoders have one
WordPiece vocabulary, of the training texts, and mean pooling; the STS benchmark's test set is read by no training.
--out FOLDER keeps the encoders; `minibert plot similarity` draws their heat maps. --twin trains on STS-B's training set
without dropout, once more in PyTorch from the same weights on the same batches.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import tokenizers
from benchmarks.harness import machine, table
from benchmarks.peers import Peer
from benchmarks.training import padded_side
from minibert import SentenceEncoder
from minibert.data import batches
from minibert.formats import read_nli, read_sts
from minibert.heads import HeadConfig
from minibert.models.bert import Bert
from minibert.models.headed import fit
from minibert.models.sbert import sts_spearman, train_nli, train_sts
from minibert.sentence_network import SentenceEncoderConfig

SIZES = {"width": 256, "layers": 1, "heads": 4, "ffn": 512, "positions": 64, "max_length": 64}
NLI = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-4}
STS = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-3}
MASKED = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3}
ALIKE = [  # two sentences a topic, of few words in common: the heat maps' rows
    "A man is playing the guitar.", "Somebody strums a musical instrument.",
    "Two dogs run across the grass.", "A pair of puppies race over a field.",
    "A woman is slicing vegetables.", "The lady cuts some carrots.",
    "The stock market fell sharply today.", "Share prices dropped on Tuesday.",
]  # fmt: skip


def read(data):
    """(NLI examples, graded pairs of STS-B and of SICK, {part: STS-B})."""
    nli = [row for name in ("snli/dev.txt", "taxinli_mnli10k/taxinli_mnli10k.tsv") for row in read_nli(data / name)]
    nli += read_nli(data / "sick" / "SICK_train.txt")
    sts = {part: read_sts(data / "sts_benchmark" / f"sts-{part}.csv") for part in ("train", "dev", "test")}
    graded = [(a, b, score / 5) for a, b, score in sts["train"]]
    return nli, graded, [(a, b, (score - 1) / 4) for a, b, score in read_sts(data / "sick" / "SICK_train.txt")], sts


def topic_cosines(encoder):
    """(mean cosine of the two sentences of a topic, mean cosine of sentences of two topics) of ALIKE."""
    vectors = encoder.encode(ALIKE, normalize=True)
    scores, topics = vectors @ vectors.T, np.arange(len(ALIKE)) // 2
    same = topics[:, None] == topics
    return float(scores[same & ~np.eye(len(ALIKE), dtype=bool)].mean()), float(scores[~same].mean())


def masked_lm(tokenizer, nli, folder, seed):
    """A BERT that learned words and next sentences from the NLI texts, as a sentence encoder that averages."""
    config = HeadConfig(tokenizer.vocab_size, **SIZES, head="pretraining")
    model = Bert.create(tokenizer, config, seed)
    documents = [f"{premise.rstrip('.')}. {hypothesis}" for premise, hypothesis, _ in nli]
    history = fit(model, model.examples(documents, seed), seed=seed, progress=False, **MASKED)
    model.save(folder)
    print(f"masked LM: loss {history[0]['loss']:.2f} -> {history[-1]['loss']:.2f}", flush=True)
    return SentenceEncoder.load(folder)


def report(options, out):
    nli, graded, sick, sts = read(options.data)
    texts = [text for row in [*nli, *graded] for text in row[:2]]
    tokenizer = tokenizers.WordPiece.train(texts, vocab_size=8000)
    config = SentenceEncoderConfig(tokenizer.vocab_size, **SIZES, dropout=0.1)
    common = {"seed": options.seed, "progress": False}
    rows, start = [], time.process_time()

    def measure(name, encoder):
        nonlocal start
        seconds = time.process_time() - start
        scores = [sts_spearman(encoder, sts[part]) for part in ("dev", "test")]
        rows.append([name, *scores, *topic_cosines(encoder), seconds])
        print(*rows[-1], flush=True)
        encoder.save(out / name.replace(" ", "-").replace(",", ""))
        start = time.process_time()

    def from_random_weights():
        encoder = SentenceEncoder.create(tokenizer, config, options.seed)
        measure("untrained", encoder)
        train_nli(encoder, nli, **NLI, **common)
        measure("NLI", encoder)
        train_sts(encoder, graded + sick, **STS, **common)
        measure("NLI, then graded pairs", encoder)

    def from_graded_pairs_alone():
        encoder = SentenceEncoder.create(tokenizer, config, options.seed)
        train_sts(encoder, graded, **STS, **common)
        measure("STS-B alone", encoder)

    def from_masked_lm():
        encoder = masked_lm(tokenizer, nli, out / "bert", options.seed)
        measure("masked LM, averaged", encoder)
        train_nli(encoder, nli, **NLI, **common)
        train_sts(encoder, graded + sick, **STS, **common)
        measure("masked LM, NLI, graded pairs", encoder)

    parts = {"random": from_random_weights, "sts": from_graded_pairs_alone, "masked": from_masked_lm}
    for name in options.only or parts:
        parts[name]()
    print(f"\n{len(nli)} NLI, {len(graded)} STS-B, {len(sick)} SICK pairs; seed {options.seed}; {machine()}\n")
    print(table(HEAD, rows))


HEAD = ["encoder", "STS-B dev", "STS-B test", "same topic", "other topic", "CPU s"]


def twin(options):
    """An epoch on STS-B, ours and PyTorch's: losses of the first hundred steps, and test Spearman of both."""
    _, graded, _, sts = read(options.data)
    tokenizer = tokenizers.WordPiece.train([text for row in graded for text in row[:2]], vocab_size=8000)
    config = SentenceEncoderConfig(tokenizer.vocab_size, **SIZES, dropout=0.0)
    encoder = SentenceEncoder.create(tokenizer, config, options.seed)
    start = {name: array.copy() for name, array in encoder.parameters.items()}
    rate, size = 5e-4, 32
    history = train_sts(
        encoder, graded, epochs=1, batch_size=size, learning_rate=rate, schedule="constant", warmup=0,
        seed=options.seed, evaluate_every=1, progress=False,
    )  # fmt: skip
    labels = np.array([score for *_, score in graded], np.float32)
    sides = [encoder.tokenize([row[side] for row in graded], "silent")[0] for side in (0, 1)]
    steps = [
        ([padded_side(side.take(rows)) for side in sides], labels[rows])
        for rows in batches(len(graded), size, options.seed, 0, smallest=1)
    ]
    with Peer("torch_sbert") as peer:
        peer.call(
            "create", tensors=start, classifier=np.zeros((3, 3 * SIZES["width"]), np.float32), learning_rate=rate,
            weight_decay=0.01, pooling="mean", vocab_size=config.vocab_size, hidden_size=SIZES["width"],
            num_hidden_layers=SIZES["layers"], num_attention_heads=SIZES["heads"], intermediate_size=SIZES["ffn"],
            max_position_embeddings=SIZES["positions"], layer_norm_eps=config.eps,
        )  # fmt: skip
        expected = peer.call("train", task="sts", batches=steps)
        theirs = SentenceEncoder.create(tokenizer, config)
        theirs.parameters.load(peer.call("weights"))
    gaps = np.abs(np.array([record["loss"] for record in history]) - expected)
    print(f"largest difference of the loss: {gaps[:100].max():.1e} in 100 steps, {gaps.max():.1e} in all {len(gaps)}")
    print(f"STS-B test: ours {sts_spearman(encoder, sts['test']):.4f}, PyTorch {sts_spearman(theirs, sts['test']):.4f}")


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks sbert", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("MINIBERT_DATA") or None, help="of data sets")
    parser.add_argument("--out", type=Path, help="where the encoders are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=("random", "sts", "masked"), help="parts of the report")
    parser.add_argument("--twin", action="store_true", help="compare with PyTorch in place of the report")
    options = parser.parse_args(argv)
    if options.data is None or not options.data.is_dir():
        parser.error("expected --data, or MINIBERT_DATA, to be the folder of the data sets")
    if options.twin:
        return twin(options)
    with tempfile.TemporaryDirectory() as folder:
        return report(options, options.out or Path(folder))
