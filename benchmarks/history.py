"""What each step of the field's history claims, small: the same start, data and number of steps, with it and without.

python -m benchmarks history --data FOLDER [--only dpr colbert …] [--seed 0] [--model FOLDER]

Retrieval is measured on SQuAD's questions and the sentences that answer them (nqg_squad_pairs): MRR@10 of 500
questions held out, among 2,000 sentences; similarity on the STS benchmark's dev set: Spearman × 100. "MiniLM/2" is the
lower two of all-MiniLM-L6-v2's six layers, a start that has learned words but neither task; "random" draws all weights.
"""

import argparse
import csv
import functools
import gzip
import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import ann
import tokenizers
from benchmarks.harness import machine, table
from benchmarks.peers import Peer
from minibert import ColBERT, CrossEncoder, DualEncoder, SentenceEncoder
from minibert.formats import read_nli
from minibert.metrics import mrr_at_k, spearman
from minibert.models import dpr, dragon, e5, sbert, sentence_t5, use
from minibert.models.colbert import train_colbert
from minibert.models.distillation import train_distilled
from minibert.models.headed import fit
from minibert.parameters import Parameters
from minibert.retrieval import BM25, ColBERTIndex
from minibert.retrieval.fusion import reciprocal_rank

NEEDED = "nqg_squad_pairs", "sts_benchmark", "snli", "multi30k_captions5"
LENGTH = 64  # tokens
TEST, AMONG = 500, 2000
TRAIN = 2000
BATCH = 32


class Setting:
    """The data, the start and what is measured; costly parts are made once."""

    def __init__(self, data: Path, model: str | None, seed: int):
        self.data, self.seed = data, seed
        if model is None:
            with Peer("st_encoder") as peer:
                model = peer.call("minilm_folder")
        self.folder = model
        self.minilm = SentenceEncoder.load(model)
        sides = [(data / "nqg_squad_pairs" / f"{name}.txt").read_text("utf-8") for name in ("questions", "sentences")]
        pairs = list(dict.fromkeys(zip(*(side.strip().split("\n") for side in sides), strict=True)))
        random.Random(0).shuffle(pairs)
        self.test, self.train = pairs[:TEST], pairs[TEST : TEST + TRAIN]
        self.passages = list(dict.fromkeys(sentence for _, sentence in pairs))[:AMONG]
        self.corpus = list(dict.fromkeys(sentence for _, sentence in self.train))
        self.options = {"batch_size": BATCH, "warmup": 10, "seed": seed, "progress": False}

    def student(self, layers: int = 2) -> SentenceEncoder:
        """MiniLM/2: embeddings and the first two layers."""
        config = replace(self.minilm.config, layers=layers, pooler=False, max_length=LENGTH, dropout=0.0)
        parameters = Parameters(config.shapes)
        for name in config.shapes:
            parameters[name][...] = self.minilm.parameters[name]
        return SentenceEncoder(self.minilm.tokenizer, config, parameters)

    def mrr(self, model) -> float:
        """MRR@10 of the held-out questions."""
        questions, right = zip(*self.test, strict=True)
        number = {passage: i for i, passage in enumerate(self.passages)}
        relevant = np.array([number[passage] for passage in right])
        if isinstance(model, ColBERT):
            index = ColBERTIndex(model.dim, bits=None)
        else:
            index = ann.Exact(model.dim, metric=model.metric)
        index.add(model.encode_document(self.passages, on_truncate="silent"))
        ranked, _ = index.search(model.encode_query(questions, on_truncate="silent"), k=10)
        return 100 * mrr_at_k(ranked, relevant)

    def sts(self, encoder) -> float:
        """Spearman × 100 on the STS benchmark's dev set."""
        with open(next((self.data / "sts_benchmark").glob("*dev*")), encoding="utf-8") as file:
            rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row) >= 7]
        u, v = (encoder.encode([row[i] for row in rows], normalize=True, on_truncate="silent") for i in (5, 6))
        return 100 * spearman((u * v).sum(axis=1), np.array([float(row[4]) for row in rows]))

    @functools.cached_property
    def by_words(self) -> np.ndarray:
        """BM25's ranking of the training sentences, for each training question: (TRAIN, 30)."""
        words = BM25()
        words.add(self.corpus)
        return words.search([question for question, _ in self.train], k=30)[0]

    @functools.cached_property
    def by_meaning(self) -> np.ndarray:
        """MiniLM's."""
        index = ann.Exact(self.minilm.dim)
        index.add(self.minilm.encode(self.corpus, on_truncate="silent"))
        return index.search(self.minilm.encode([question for question, _ in self.train], on_truncate="silent"), k=30)[0]

    @functools.cached_property
    def cross(self) -> CrossEncoder:
        """A cross-encoder from MiniLM, trained on the last 1,000 training questions with a BM25 negative each."""
        model = CrossEncoder.from_encoder(self.folder, seed=self.seed, max_length=96)
        examples = self.hard(negatives=1)[-1000:]
        questions = [example[0] for example in examples for _ in range(2)]
        passages = [passage for example in examples for passage in example[1:]]
        labels = [1, 0] * len(examples)
        fit(model, model.examples(questions, passages, labels), epochs=1, learning_rate=1e-4, **self.options)
        return model

    def hard(self, negatives: int) -> list[tuple[str, ...]]:
        """Training pairs with BM25's negatives."""
        return dpr.hard_negatives(self.train, self.corpus, self.by_words, negatives)

    def nli(self) -> list[tuple[str, str, str]]:
        """(premise, entailed, contradicting) of SNLI's dev set."""
        return sentence_t5.nli_triplets(read_nli(self.data / "snli" / "dev.txt"))

    def captions(self, count: int) -> list[tuple[str, str]]:
        """Two captions of one picture."""
        texts = []
        for i in (1, 2):
            with gzip.open(self.data / "multi30k_captions5" / f"train.{i}.en.gz", "rt", encoding="utf-8") as file:
                texts.append(file.read().strip().split("\n"))
        return list(zip(*texts, strict=True))[:count]

    def small_tokenizer(self, texts):
        return tokenizers.WordPiece.train(texts, vocab_size=6000)


def compare_use(s: Setting):
    pairs = s.captions(4000)
    tok = s.small_tokenizer([text for pair in pairs for text in pair])
    sizes = {"dim": 128, "max_length": LENGTH, "dropout": 0.0}
    variants = {
        "deep averaging": use.averaging_config(tok.vocab_size, 128, (128,), bigrams=1 << 13, **sizes),
        "transformer": use.transformer_config(tok.vocab_size, 128, 2, heads=4, **sizes),
    }
    for name, config in variants.items():
        model = use.USE.create(tok, config, s.seed)

        def run(model=model):
            sbert.train_pairs(model, pairs, epochs=3, learning_rate=1e-3, **s.options)

        texts = [text for pair in pairs[:1000] for text in pair]
        yield name, run, lambda model=model, texts=texts: (s.sts(model), texts_a_second(model, texts))


def texts_a_second(model, texts) -> float:
    start = time.process_time()
    model.encode(texts)
    return len(texts) / (time.process_time() - start)


def compare_dpr(s: Setting):
    # two layers have not yet brought a sentence's meaning to [CLS]; cosines, as MiniLM's vectors are made for them
    hard = s.hard(1)[:1500]
    pairs = [example[:2] for example in hard]
    for name, examples in (("in-batch negatives", pairs), ("and one of BM25's", hard)):
        settings = {"max_length": LENGTH, "normalize": True, "temperature": 0.05}
        model = DualEncoder.from_encoder(s.student(layers=6), s.seed, **settings)

        def run(model=model, examples=examples):
            dpr.train_dpr(model, examples, epochs=1, **s.options | {"learning_rate": 1e-4})

        yield name, run, lambda model=model: s.mrr(model)


def compare_sentence_t5(s: Setting):
    pairs, triplets = s.captions(4000), s.nli()
    tok = s.small_tokenizer([text for pair in pairs for text in pair] + [text for row in triplets for text in row])
    sizes = {"width": 128, "layers": 2, "heads": 4, "ffn": 512, "max_length": LENGTH, "dropout": 0.0}
    config = sentence_t5.sentence_t5_config(tok.vocab_size, dim=128, **sizes)
    for name, first, epochs in (("stage 2 alone", [], 4), ("stages 1 and 2", pairs, 2)):
        model = SentenceEncoder.create(tok, config, s.seed)

        def run(model=model, first=first, epochs=epochs):
            options = s.options | {"temperature": 0.05}
            options.pop("batch_size")
            sentence_t5.train_two_stages(model, first, triplets, epochs=(2, epochs), batch_sizes=(32, 32), **options)

        yield name, run, lambda model=model: s.sts(model)


def compare_e5(s: Setting):
    hard = s.hard(3)[:500]
    weak = s.train[500:]
    teacher = np.array([s.cross.score(example[0], example[1:]) for example in hard])
    for name, pairs in (("fine-tuning alone", []), ("weak pairs, then fine-tuning", weak)):
        model = e5.e5(s.student())

        def run(model=model, pairs=pairs):
            options = s.options | {"temperature": 0.05}
            if pairs:
                e5.train_weak(model, pairs, epochs=1, learning_rate=2e-4, **options)
            e5.train_supervised(model, hard, teacher, epochs=2, learning_rate=1e-4, **options)

        yield name, run, lambda model=model: s.mrr(model)


def compare_margin_mse(s: Setting):
    hard = s.hard(3)[:500]
    teacher = np.array([s.cross.score(example[0], example[1:]) for example in hard])
    for name in ("labels: in-batch", "MarginMSE of a cross-encoder"):
        model = s.student()

        def run(model=model, name=name):
            options = s.options | {"epochs": 3, "learning_rate": 2e-4, "temperature": 0.05}
            if name.startswith("labels"):
                sbert.train_pairs(model, hard, **options)
            else:
                train_distilled(model, hard, teacher, loss="margin_mse", **options)

        yield name, run, lambda model=model: s.mrr(model)


def compare_dragon(s: Setting):
    questions = [question for question, _ in s.train[:500]]
    crossed = []
    for question, words, meaning in zip(questions, s.by_words, s.by_meaning, strict=False):
        found = reciprocal_rank([words[words >= 0], meaning]).ids[:12]
        scores = s.cross.score(question, [s.corpus[i] for i in found])
        crossed.append(found[np.argsort(-scores, kind="stable")])
    teachers = [s.by_words[:500, :12], s.by_meaning[:500, :12], np.array(crossed)]
    for name, who in (("BM25 alone", teachers[:1] * 3), ("BM25, then MiniLM, then a cross-encoder", teachers)):
        model = DualEncoder.from_encoder(s.student(), s.seed, max_length=LENGTH)

        def run(model=model, who=who):
            options = s.options | {"positives": (0, 2), "negatives": (6, 12), "epochs": 2, "learning_rate": 2e-4}
            dragon.train_dragon(model, questions, s.corpus, who, **options)

        yield name, run, lambda model=model: s.mrr(model)


def compare_colbert(s: Setting):
    examples = s.hard(1)[:1500]
    options = s.options | {"epochs": 1, "learning_rate": 2e-4}
    single, late = s.student(), ColBERT.from_encoder(s.student(), s.seed, query_length=32, max_length=LENGTH)
    yield (
        "one vector",
        lambda: sbert.train_pairs(single, examples, temperature=0.05, ids="text", **options),
        lambda: s.mrr(single),
    )
    yield "late interaction", lambda: train_colbert(late, examples, **options), lambda: s.mrr(late)
    s.late = late


def compare_matryoshka(s: Setting):
    for name, dims in (("one width", None), ("widths 384, 128, 32", (384, 128, 32))):
        model = s.student()

        def run(model=model, dims=dims):
            options = s.options | {"epochs": 1, "learning_rate": 2e-4}
            sbert.train_pairs(model, s.train, temperature=0.05, ids="text", dims=dims, **options)

        def measure(model=model):
            cut = SentenceEncoder(model.tokenizer, replace(model.config, truncate_dim=32), model.parameters)
            return s.mrr(model), s.mrr(cut)

        yield name, run, measure


def index_table(model: ColBERT, s: Setting) -> str:
    """The compressed index against exact MaxSim of whole vectors, on the test questions."""
    documents = model.encode_document(s.passages, on_truncate="silent")
    queries = model.encode_query([question for question, _ in s.test], on_truncate="silent")
    truth = ColBERTIndex(model.dim, bits=None)
    truth.add(documents)
    expected, _ = truth.search(queries, exact=True)
    rows = []
    for bits in (1, 2, 4):
        index = ColBERTIndex(model.dim, bits)
        start = time.process_time()
        index.add(documents)
        built = time.process_time() - start
        index.search(queries)
        for exact in (False, True):
            start = time.process_time()
            found, _ = index.search(queries, exact=exact)
            spent = time.process_time() - start
            recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, expected, strict=True)])
            kind = "every document" if exact else "probed"
            rows.append([bits, 4 + 16 * bits, kind, 100 * recall, 1000 * spent / len(queries), built])
    header = ["bits", "bytes a token", "scored", "recall@10 %", "ms a query", "build s"]
    return f"{len(documents)} sentences, {len(documents.rows)} tokens of 512 bytes\n\n{table(header, rows)}"


COMPARISONS = {
    "use": (compare_use, "random", "STS-B Spearman; texts/s"),
    "dpr": (compare_dpr, "MiniLM", "MRR@10"),
    "sentence_t5": (compare_sentence_t5, "random", "STS-B Spearman"),
    "e5": (compare_e5, "MiniLM/2", "MRR@10"),
    "dragon": (compare_dragon, "MiniLM/2", "MRR@10"),
    "colbert": (compare_colbert, "MiniLM/2", "MRR@10"),
    "matryoshka": (compare_matryoshka, "MiniLM/2", "MRR@10; at 32 of 384"),
    "margin_mse": (compare_margin_mse, "MiniLM/2", "MRR@10"),
}


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks history", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("MINIBERT_DATA") or None, help="of data sets")
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="all-MiniLM-L6-v2's folder; by default the peers'")
    options = parser.parse_args(argv)
    missing = [name for name in NEEDED if options.data is None or not (Path(options.data) / name).is_dir()]
    if missing:
        print(f"no folder --data (or MINIBERT_DATA) with {', '.join(missing)}: nothing is compared")
        return 0
    s, rows = Setting(Path(options.data), options.model, options.seed), []
    for name in options.only:
        comparison, start, measured = COMPARISONS[name]
        for variant, run, measure in comparison(s):
            began = time.process_time()
            run()
            spent = time.process_time() - began
            result = measure()
            values = result if isinstance(result, tuple) else (result,)
            rows.append(
                [name, start, variant, measured, "; ".join(f"{value:,.1f}" for value in values), f"{spent:.0f}"]
            )
            print(json.dumps(rows[-1]), flush=True)
    print(f"\nseed {options.seed}; {machine()}\n")
    print(table(["model", "start", "variant", "measure", "result", "training CPU s"], rows))
    if hasattr(s, "late"):
        print(f"\n{index_table(s.late, s)}")
    return 0
