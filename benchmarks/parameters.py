"""What each parameter costs and gives: the tables and curves of docs/choosing-parameters.md.

python -m benchmarks parameters [graph quantization sizes chunks stages weights] [--figures docs/images]

    graph         M and ef_construction: 20,000 rows of the mixture (vectors.py), 128 wide, squared l2
    sizes         the ef that a recall takes, by the number of rows
    quantization  float32, int8 and int4, on the mixture and on the docstrings' vectors
    stages        recall by the depth of the first stage, and what reranking so many brings: docstrings
    weights       vectors' share in a hybrid search: docstrings, and SciFact
    chunks        how much of a document is embedded at once: SciFact

Docstrings are the 6,541 answers of `minibert demo`, asked by its held-out questions, with its model, trained here in a
minute. SciFact is read from MINIBERT_DATA and embedded by all-MiniLM-L6-v2; without the folder it is left out.
Seconds are the processor's, one thread.
"""

import argparse
import functools
import os
import time
from pathlib import Path

import numpy as np

import ann
import tokenizers
from benchmarks.ann import EFS, K, speed_at, tie_aware_recall
from benchmarks.harness import Chart, machine, table
from benchmarks.peers import Peer
from benchmarks.pictures import line_chart, save, slug
from benchmarks.vectors import mixture
from minibert import DualEncoder, DualEncoderConfig, SentenceEncoder, demo
from minibert.retrieval.bm25 import BM25
from minibert.retrieval.fusion import convex, reciprocal_rank
from minibert.retrieval.measures import mean, measure
from minibert.retrieval.passages import Cutter
from minibert.retrieval.token_match import TokenMatch
from minibert.retrieval.trec import read_beir
from minibert.stdlib_corpus import docstrings, pairs, training_pairs

ROWS, QUERIES = 20_000, 1000
DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200)
SHARES = np.linspace(0, 1, 11)
DOCUMENTS = 1500  # of SciFact: those that are judged, and others


def cpu(call):
    start = time.process_time()
    call()
    return time.process_time() - start


# ---- the index -------------------------------------------------------------------------------------------------------


class Measured:
    """An index of rows: what building took, and recall@10 and queries/s at each ef."""

    def __init__(self, rows, queries, metric="l2", **options):
        ann.HNSW(rows.shape[1], metric, **options).add(rows[:300])  # compiled
        self.index = ann.HNSW(rows.shape[1], metric, **options)
        self.build = cpu(lambda: self.index.add(rows))
        exact = ann.Exact(rows.shape[1], metric)
        exact.add(rows)
        truth = exact.search(queries, K)[1]
        self.recalls, self.speeds = [], []
        for ef in EFS:
            search = functools.partial(self.index.search, queries, K, ef)
            self.recalls.append(tie_aware_recall(search()[1], truth))
            self.speeds.append(len(queries) / float(np.median([cpu(search) for _ in range(5)])))

    @property
    def bytes(self):
        index = self.index
        arrays = index._vectors, index._ids, index._live, *index._tables().values()
        return sum(array[: len(index)].nbytes for array in arrays) / len(index)

    def row(self):
        """Build, bytes a row, recall at ef 40, queries/s at recall .95 and .99."""
        at = [speed_at(level, self.recalls, self.speeds) for level in (0.95, 0.99)]
        return [self.build, self.bytes, f"{self.recalls[EFS.index(40)]:.3f}", *(x if x == x else "–" for x in at)]


HEADER = ["build, s", "bytes a row", "recall@10 at ef 40", "queries/s at .95", "queries/s at .99"]


def speed_chart(title, measured):
    lines = {name: (one.recalls, one.speeds) for name, one in measured.items()}
    return Chart(title, "recall@10", "queries/s, one thread", lines)


def graph():
    rows, queries = mixture(ROWS, 128, 0), mixture(QUERIES, 128, 1)
    for name, values, fixed in (
        ("M", (4, 8, 16, 32, 64), {"ef_construction": 200}),
        ("ef_construction", (25, 50, 100, 200, 400), {"M": 16}),
    ):
        measured = {f"{name} {value}": Measured(rows, queries, **{name: value}, **fixed) for value in values}
        yield [name, *HEADER], [[value, *one.row()] for value, one in zip(values, measured.values(), strict=True)]
        yield speed_chart(f"HNSW by {name}", measured)


def sizes():
    queries, found = mixture(QUERIES, 128, 1), []
    counts = (1000, 10_000, 50_000)
    for n in counts:
        found.append(Measured(mixture(n, 128, 0), queries))
    levels = (0.90, 0.95, 0.99)
    rows = [
        [f"{n:,}", *(ef_at(level, one.recalls) for level in levels), one.index.tune(0.95, queries=queries).effort]
        for n, one in zip(counts, found, strict=True)
    ]
    yield ["rows", *(f"ef for {level:.2f}" for level in levels), "tune(0.95)"], rows
    lines = {f"{n:,} rows": (EFS, one.recalls) for n, one in zip(counts, found, strict=True)}
    yield Chart("recall by ef", "ef", "recall@10", lines, log_x=True, log_y=False)


def ef_at(level, recalls):
    """The ef at which a recall is reached, interpolated; "–" beyond the largest."""
    return round(float(np.interp(level, recalls, EFS))) if recalls[0] <= level <= recalls[-1] else "–"


def quantization():
    found = corpus()
    sets = {
        "mixture": (mixture(ROWS, 128, 0), mixture(QUERIES, 128, 1), "l2"),
        "docstrings": (found.answers, found.questions, "cosine"),
    }
    kinds = {"float32": None, "int8": "int8", "int4": "int4"}
    for name, (rows, queries, metric) in sets.items():
        measured = {kind: Measured(rows, queries, metric, quantize=quantize) for kind, quantize in kinds.items()}
        yield [f"{name}, {len(rows):,}", *HEADER], [[kind, *one.row()] for kind, one in measured.items()]
        yield speed_chart(f"HNSW by quantization, {name}", measured)


# ---- the stages ------------------------------------------------------------------------------------------------------


class Corpus:
    """Texts and questions with a model's vectors: rankings of each question by vectors, by words, and of both."""

    def __init__(self, texts, asked, answers, questions, relevant):
        self.texts, self.asked, self.answers, self.questions = texts, asked, answers, questions
        self.relevant = [{str(row): 1 for row in rows} for rows in relevant]

    @functools.cached_property
    def dense(self):
        index = ann.Exact(self.answers.shape[1], "cosine")
        index.add(self.answers)
        ids, distances = index.search(self.questions, min(max(DEPTHS), len(index)))
        return list(zip(ids, 1 - distances.astype(np.float64), strict=True))

    @functools.cached_property
    def sparse(self):
        index = BM25()
        index.add(self.texts)
        found = zip(*index.search(self.asked, max(DEPTHS)), strict=True)
        return [(ids[ids >= 0], scores[ids >= 0].astype(np.float64)) for ids, scores in found]

    def fused(self, by, share=0.5, depth=100):
        """Both rankings made one, the vectors' weight a share of 1."""
        weights, rows = (share, 1 - share), []
        for pair in zip(self.dense, self.sparse, strict=True):
            ids, scores = ([part[:depth] for part in side] for side in zip(*pair, strict=True))
            row = convex(ids, scores, weights) if by == "convex" else reciprocal_rank(ids, weights=weights)
            rows.append((row.ids, row.scores))
        return rows

    def measure(self, rows, cuts=(10,)):
        """Means over the questions of every measure at the cuts."""
        run = {str(q): dict(zip(map(str, ids.tolist()), scores, strict=True)) for q, (ids, scores) in enumerate(rows)}
        return mean(measure({str(q): judged for q, judged in enumerate(self.relevant)}, run, cuts))


@functools.cache
def demo_model():
    """(the demo's model, questions, answers, the row of each question's answer): held-out packages, seed 0."""
    everything = docstrings()
    found, held_out = pairs(everything), demo.held_out_packages(everything, 0)
    test = [i for i, (*_, doc) in enumerate(found) if doc.package in held_out]
    learned = training_pairs([doc for doc in everything if doc.package not in held_out])
    tokenizer = tokenizers.WordPiece.train((text for pair in learned for text in pair), vocab_size=demo.VOCABULARY)
    model = DualEncoder.create(tokenizer, DualEncoderConfig(tokenizer.vocab_size, **demo.SIZES), 0)
    demo.train_dual_encoder(model, learned, **demo.TRAINING, seed=0, progress=False)
    return model, [found[i][0] for i in test], [answer for _, answer, _ in found], test


@functools.cache
def corpus():
    """The demo's docstrings."""
    model, asked, answers, test = demo_model()
    questions, vectors = demo.embed(model, asked, answers)
    return Corpus(answers, asked, vectors, questions, [[row] for row in test])


@functools.cache
def scifact(limit=DOCUMENTS, quantize=None):
    """(encoder, documents, questions, relevant rows) of some of SciFact, or None where MINIBERT_DATA has it not."""
    folder = Path(os.environ.get("MINIBERT_DATA") or "no MINIBERT_DATA") / "scifact"
    if not folder.is_dir():
        return None
    collection = read_beir(folder)
    documents = list(collection.documents())
    judged = {id for found in collection.judgements.values() for id in found}
    documents.sort(key=lambda document: document["id"] not in judged)  # stable: the judged ones first
    documents = documents[: max(limit, len(judged))]
    row = {document["id"]: i for i, document in enumerate(documents)}
    asked = [collection.queries[id] for id in collection.judgements]
    relevant = [[row[id] for id, grade in found.items() if grade > 0] for found in collection.judgements.values()]
    with Peer("hf_tokenizers") as peer:
        return SentenceEncoder.load(peer.call("minilm_folder"), quantize=quantize), documents, asked, relevant


def scifact_corpus():
    encoder, documents, asked, relevant = scifact()
    texts = [" ".join(filter(None, (document["title"], document["text"]))) for document in documents]
    vectors = encoder.encode_document(texts, on_truncate="silent"), encoder.encode_query(asked, on_truncate="silent")
    return Corpus(texts, asked, *vectors, relevant)


def stages():
    found = corpus()
    first = {"vectors": found.dense, "BM25": found.sparse, "hybrid": found.fused("convex", depth=max(DEPTHS))}
    recall = {name: found.measure(rows, DEPTHS) for name, rows in first.items()}
    lines = {name: [values[f"recall@{n}"] for n in DEPTHS] for name, values in recall.items()}
    yield ["first stage, recall at", *map(str, DEPTHS)], [[name, *values] for name, values in lines.items()]
    yield Chart(
        "recall by depth", "passages taken from the first stage", "the answer is among them",
        {name: (DEPTHS, values) for name, values in lines.items()}, log_x=True, log_y=False,
    )  # fmt: skip
    match, rows, depths = TokenMatch(demo_model()[0], found.texts), [], (0, 10, 20, 30, 50, 100)
    for n in depths:
        start = time.process_time()
        ranked = [reranked(match, *each, found.texts, n) for each in zip(found.asked, first["hybrid"], strict=True)]
        ms = 1000 * (time.process_time() - start) / len(found.asked)
        got = found.measure(ranked)
        rows.append([n, f"{got['mrr@10']:.3f}", f"{got['recall@10']:.3f}", ms if n else "–"])
    yield ["reranked of the hybrid's", "MRR@10", "recall@10", "ms a question"], rows
    lines = {name: (depths, [float(row[i]) for row in rows]) for i, name in ((1, "MRR@10"), (2, "recall@10"))}
    yield Chart("reranked", "passages reranked", "docstrings, the ten shown", lines, log_y=False)


def reranked(match, question, ranking, texts, n):
    """The first n of a ranking in the order of their tokens; without n as it stands."""
    ids, scores = ranking
    if not n:
        return ids[:100], scores[:100]
    return ids[:n], match.score(question, [texts[i] for i in ids[:n]]).astype(np.float64)


def weights():
    measured = {"docstrings": (corpus(), "mrr@10")}
    if scifact():
        measured["SciFact"] = scifact_corpus(), "ndcg@10"
    for name, (found, metric) in measured.items():
        by = {"scores (convex)": "convex", "ranks (reciprocal rank)": "reciprocal rank"}
        lines = {
            title: [found.measure(found.fused(kind, share))[metric] for share in SHARES] for title, kind in by.items()
        }
        yield [f"{name}, {metric}: vectors' share", *(f"{s:.1f}" for s in SHARES)], [[t, *v] for t, v in lines.items()]
        yield Chart(
            f"hybrid search, {name}", "share of the vectors", metric,
            {title: (SHARES.tolist(), values) for title, values in lines.items()}, log_y=False,
        )  # fmt: skip


def chunks():
    if not (given := scifact(0, "int8")):  # those judged: they are embedded once for each size
        return
    encoder, documents, asked, relevant = given
    questions, rows = encoder.encode_query(asked, on_truncate="silent"), []
    documents = [document | {"format": "text"} for document in documents]
    for size in (32, 64, 128, 254):
        cut = Cutter(encoder, "sentences", size)
        parts = [cut(document)[0] for document in documents]
        owner = np.repeat(np.arange(len(parts)), list(map(len, parts)))
        vectors = encoder.encode_document([text for part in parts for text in part], on_truncate="silent")
        similarity = questions @ vectors.T
        best = np.maximum.reduceat(similarity, np.searchsorted(owner, np.arange(len(parts))), axis=1)
        found = Corpus([], asked, vectors, questions, relevant)
        ranked = [(order := np.argsort(-row)[:100], row[order].astype(np.float64)) for row in best]
        got = found.measure(ranked, (10, 100))
        values = [f"{got[name]:.3f}" for name in ("ndcg@10", "recall@10", "recall@100")]
        rows.append([size, f"{len(owner):,}", 1.0 * vectors.nbytes / len(parts), *values])
    yield ["tokens a chunk", "chunks", "bytes a document", "nDCG@10", "recall@10", "recall@100"], rows
    size, _, _, ndcg, recall, _ = zip(*rows, strict=True)
    lines = {"nDCG@10": (size, list(map(float, ndcg))), "recall@10": (size, list(map(float, recall)))}
    title, x, y = "SciFact by chunk size", "tokens a chunk, at most", "documents, each by its best chunk"
    yield Chart(title, x, y, lines, log_x=True, log_y=False)


PARTS = {part.__name__: part for part in (graph, sizes, quantization, stages, weights, chunks)}


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks parameters", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="for the curves, as .svg")
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"expected parts of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if args.figures:
        args.figures.mkdir(parents=True, exist_ok=True)
    print(machine())
    for part in args.parts or PARTS:
        start = time.process_time()
        for one in PARTS[part]():
            if isinstance(one, Chart) and args.figures:
                save(line_chart(one), args.figures / f"parameters-{slug(one.title)}.svg")
            elif not isinstance(one, Chart):
                print("\n" + table(*one), flush=True)
        print(f"\n{part}: {time.process_time() - start:.0f} CPU s", flush=True)
