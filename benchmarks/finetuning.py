"""Fine-tuning all-MiniLM-L6-v2 and its PyTorch twin: same start, same batches, same optimizer, no dropout.

python -m benchmarks finetuning --data FOLDER sst2 wikigold squad2 wikiqa

sst2: sentiment, accuracy. wikigold: names, entity F1. squad2: answers and none, on articles that training has not seen.
wikiqa: a cross-encoder that reranks the first 50 sentences that the encoder finds among all of the dev set, ours alone;
its twin's hundred steps are a test. The sizes are such that a task takes minutes of one core. Losses are compared step
by step; either side's weights are evaluated by our code, whose scores equal transformers' to 1e-5 by test. Seconds are
the processor's. FOLDER holds sst2/train.txt and dev.txt, wikigold/wikigold.conll.txt, squad2_half_dev/dev-v2.0.json,
wikiqa/train.txt and dev.txt.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import ann
from benchmarks.harness import machine, table
from benchmarks.peers import Peer
from minibert import Classifier, CrossEncoder, Reader, SentenceEncoder, Tagger
from minibert.data import batches
from minibert.formats import read_conll, read_labelled, read_labelled_pairs, read_squad
from minibert.models.headed import Examples, HeadedModel, fit
from minibert.optim import SCHEDULES
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.measures import mean, measure

SEED = 0
STEPS_A_CALL = 20
CANDIDATES = 50
WEIGHT_DECAY = 0.01
LOGIT_WEIGHT = 0.1  # of a cosine's: logits spread some ten times as wide


class Task(NamedTuple):
    """A model ready to learn, its examples, how it is trained, what measures it, and whether the twin learns it too."""

    model: HeadedModel
    examples: Examples
    options: dict
    evaluate: Callable[[HeadedModel], dict[str, float]]
    twin: bool = True


def sst2(data, folder):
    """1,200 of the 6,920 sentences, one epoch."""
    rng = np.random.default_rng(SEED)
    rows, dev = (read_labelled(data / "sst2" / f"{name}.txt") for name in ("train", "dev"))
    rows = [rows[i] for i in rng.permutation(len(rows))[:1200]]
    model = Classifier.from_encoder(folder, SEED, labels=("0", "1"), max_length=64, dropout=0.0)
    options = dict(epochs=1, batch_size=12, learning_rate=1e-4, warmup=20)
    return Task(model, model.examples(*columns(rows)), options, lambda model: model.evaluate(*columns(dev)))


def wikigold(data, folder):
    """Every fifth sentence is held out; one epoch."""
    rows = read_conll(data / "wikigold" / "wikigold.conll.txt")
    dev, rows = rows[::5], [row for i, row in enumerate(rows) if i % 5]
    labels = tuple(sorted({tag for _, tags in rows for tag in tags}))
    model = Tagger.from_encoder(folder, SEED, labels=labels, max_length=128, dropout=0.0)
    options = dict(epochs=1, batch_size=12, learning_rate=3e-4, warmup=20)
    return Task(model, model.examples(*columns(rows)), options, lambda model: model.evaluate(*columns(dev)))


def squad2(data, folder):
    """350 questions of the first three quarters, one epoch; 200 of the last quarter are held out."""
    questions = read_squad(data / "squad2_half_dev" / "dev-v2.0.json")
    contexts = list(dict.fromkeys(q.context for q in questions))
    border = contexts[3 * len(contexts) // 4]
    at = next(i for i, q in enumerate(questions) if q.context == border)
    rng = np.random.default_rng(SEED)
    rows = [questions[i] for i in rng.permutation(at)[:350]]
    dev = [questions[at + i] for i in rng.permutation(len(questions) - at)[:200]]
    model = Reader.from_encoder(folder, SEED, max_length=192, dropout=0.0)
    options = dict(epochs=1, batch_size=3, learning_rate=1e-4, warmup=20)
    return Task(model, model.examples(rows), options, lambda model: model.evaluate(dev))


def wikiqa(data, folder):
    """Answers with a sentence of the same page and two that BM25 finds on others; 50 are reranked for 63 questions."""
    rows, dev = (read_labelled_pairs(data / "wikiqa" / f"{name}.txt") for name in ("train", "dev"))
    rng, pages = np.random.default_rng(SEED), {}
    for question, text, label in rows:
        pages.setdefault(question, {"0": [], "1": []})[label].append(text)
    texts = [text for _, text, _ in rows]
    words = BM25()
    words.add(texts)
    answered = [question for question, page in pages.items() if page["1"]]
    hard = dict(zip(answered, words.search(answered, k=CANDIDATES)[0], strict=True))
    learned = []
    for question in answered:
        others = [texts[i] for i in hard[question] if i >= 0 and rows[i][0] != question]
        for answer in pages[question]["1"]:
            near = rng.permutation(pages[question]["0"])[:1].tolist()
            wrong = near + [others[i] for i in rng.permutation(len(others))[: 3 - len(near)]]
            learned += [(question, answer, 1.0), *((question, text, 0.0) for text in wrong)]
    model = CrossEncoder.from_encoder(folder, SEED, max_length=96, dropout=0.0)
    judgements = {}
    for question, text, label in dev:
        if label == "1":
            judgements.setdefault(question, {})[text] = 1
    judgements = dict(list(judgements.items())[::2])
    first = first_stage(folder, list(judgements), list(dict.fromkeys(text for _, text, _ in dev)))

    def rerank(model):
        alone, both = {}, {}
        for question, found in first.items():
            scores = model.score(question, list(found)).tolist()
            alone[question] = dict(zip(found, scores, strict=True))
            both[question] = {text: found[text] + LOGIT_WEIGHT * score for text, score in alone[question].items()}
        return {
            **measures(judgements, first, "first stage"),
            **measures(judgements, alone, "reranked"),
            **measures(judgements, both, "reranked, with the first stage's cosine"),
        }

    options = dict(epochs=1, batch_size=16, learning_rate=1e-4, warmup=20)
    return Task(model, model.examples(*columns(learned)), options, rerank, twin=False)


def first_stage(folder, questions, texts):
    """{question: {text: cosine}} of the first 50 texts."""
    encoder = SentenceEncoder.load(folder)
    index = ann.Exact(encoder.dim, metric="cosine")
    index.add(encoder.encode(texts, on_truncate="silent"))
    ids, distances = index.search(encoder.encode(questions, on_truncate="silent"), k=CANDIDATES)
    return {
        question: {texts[i]: 1 - float(distance) for i, distance in zip(row, own, strict=True)}
        for question, row, own in zip(questions, ids, distances, strict=True)
    }


def measures(judgements, run, name):
    """MRR@10 and MAP@10 over all questions that have an answer, found or not."""
    means = mean(measure(judgements, run, [10]))
    return {f"{kind} {name}": means[kind] for kind in ("mrr@10", "map@10")}


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def padded(examples, head):
    """Examples as the twin takes them: ids, mask, types, targets."""
    batch = examples.batch
    mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
    ids, types = np.zeros(mask.shape, np.int64), np.zeros(mask.shape, np.int64)
    ids[mask], types[mask] = batch.ids, batch.type_ids
    targets = examples.targets
    if head == "token":
        targets = np.full(mask.shape, -100)
        targets[mask] = np.where(examples.targets < 0, -100, examples.targets)
    return {"ids": ids, "mask": mask, "types": types, "targets": targets}


def train_twin(task, start, folder):
    """The twin's losses and its processor seconds; its weights end in `folder`."""
    options, head = task.options, task.model.config.head
    order = [
        rows
        for epoch in range(options["epochs"])
        for rows in batches(len(task.examples), options["batch_size"], SEED, epoch, smallest=1)
    ]
    steps = [
        padded(task.examples.take(rows), head)
        | {"rate": options["learning_rate"] * SCHEDULES["linear"](step, options["warmup"], len(order))}
        for step, rows in enumerate(order)
    ]
    losses, seconds = [], 0.0
    with Peer("torch_finetuning") as peer:
        peer.call("create", path=str(start), head=head, weight_decay=WEIGHT_DECAY)
        for at in range(0, len(steps), STEPS_A_CALL):
            some, spent = peer.call("train", steps=steps[at : at + STEPS_A_CALL])
            losses, seconds = losses + some, seconds + spent
        peer.call("save", path=str(folder))
    return losses, seconds


def train_ours(task):
    """Our losses and processor seconds; the task's model is trained."""
    began = time.process_time()
    history = fit(
        task.model, task.examples, seed=SEED, weight_decay=WEIGHT_DECAY, evaluate_every=1, progress=False,
        **task.options,
    )  # fmt: skip
    return [record["loss"] for record in history], time.process_time() - began


def compare(task):
    """Train both sides from the same weights: our losses, theirs, our seconds, theirs, the twin as a model of ours."""
    with tempfile.TemporaryDirectory() as home:
        start, theirs = Path(home) / "start", Path(home) / "theirs"
        task.model.save(start)
        their_losses, their_seconds = train_twin(task, start, theirs)
        shutil.copy(start / "tokenizer.json", theirs)
        twin = type(task.model).load(theirs)
    twin.config = task.model.config  # transformers does not keep max_length
    losses, seconds = train_ours(task)
    return losses, their_losses, seconds, their_seconds, twin


def report(name, task):
    """Train and evaluate, and print both."""
    print(f"\n{name}: {len(task.examples)} examples, {task.options}, seed {SEED}")
    if not task.twin:
        losses, seconds = train_ours(task)
        rows = [*task.evaluate(task.model).items(), ("processor seconds of training", seconds)]
        print(table(["", "ours"], rows), flush=True)
    else:
        losses, theirs, seconds, their_seconds, twin = compare(task)
        difference = np.abs(np.subtract(losses, theirs))
        ours, other = task.evaluate(task.model), task.evaluate(twin)
        print(f"losses differ by {difference[:100].max():.1e} at most in 100 steps, {difference.max():.1e} in all")
        rows = [[key, value, other[key]] for key, value in ours.items()]
        print(table(["", "ours", "PyTorch"], [*rows, ["processor seconds", seconds, their_seconds]]), flush=True)
    first, last = np.mean(losses[:20]), np.mean(losses[-20:])
    print(f"{len(losses)} steps; loss, mean of 20 steps: the first {first:.3f}, the last {last:.3f}", flush=True)


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks finetuning", description=__doc__)
    parser.add_argument(
        "tasks", nargs="*", choices=[[], *TASKS], default=[*TASKS], metavar="TASK", help=", ".join(TASKS)
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    options = parser.parse_args(argv)
    with Peer("st_encoder") as peer:
        folder = peer.call("minilm_folder")
    print(f"one thread a side; {machine()}")
    for name in options.tasks:
        report(name, TASKS[name](options.data, folder))
    return 0


TASKS = {"sst2": sst2, "wikigold": wikigold, "squad2": squad2, "wikiqa": wikiqa}
