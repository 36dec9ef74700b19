"""Answers from a store: how often the sentence that is quoted holds the answer. all-MiniLM-L6-v2, SQuAD's questions.

python -m benchmarks answers --data dev-v2.0.json: its paragraphs are the store; --questions answerable ones, drawn with
--seed, ask. The five hits of a hybrid search are the sources, of which each way to rank sentences puts one first. It
holds the answer if one of those that annotators gave stands in it.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import machine, table
from benchmarks.peers import Peer
from minibert import SentenceEncoder
from minibert.formats import read_squad
from minibert.retrieval import BM25, Store
from minibert.retrieval.chunk import split_sentences
from minibert.retrieval.extractive import rank_sentences


def first_sentences(question, passages, encoder):
    """The sentence that each way to rank them puts first."""
    texts = [text[start:end] for text in passages for start, end in split_sentences(text)]
    words = BM25()
    words.add(texts)
    similarity = encoder.encode_document(texts) @ encoder.encode_query([question])[0]
    best = rank_sentences(question, passages, encoder)[0]
    return {
        "vectors": texts[int(np.argmax(similarity))],
        "BM25": texts[int(np.argmax(words.scores(question)))],
        "both, fused (BestSentence)": passages[best.passage][slice(*best.span)],
    }


def main(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks answers", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="of SQuAD 1.1 or 2.0")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    questions = read_squad(args.data)
    paragraphs = {text: str(i) for i, text in enumerate(dict.fromkeys(q.context for q in questions))}
    answerable = [q for q in questions if q.answers]
    drawn = np.random.default_rng(args.seed).permutation(len(answerable))[: args.questions]
    asked = [answerable[i] for i in drawn]
    with Peer("st_encoder") as peer:
        encoder = SentenceEncoder.load(peer.call("minilm_folder"))

    held, found = {}, 0
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store", encoder) as store:
        store.add({"id": id, "text": text} for text, id in paragraphs.items())
        for q in asked:
            hits = store.search(q.question, k=5, hybrid=True)
            found += paragraphs[q.context] in {hit.id for hit in hits}
            for name, sentence in first_sentences(q.question, [hit.text for hit in hits], encoder).items():
                right = any(text.lower() in sentence.lower() for text, _ in q.answers)
                held[name] = held.get(name, 0) + right
    print(f"{machine()}; {len(asked)} questions, {len(paragraphs)} paragraphs, seed {args.seed}")
    print(f"the question's own paragraph is among the five sources: {found / len(asked):.3f}\n")
    print(table(["first sentence by", "holds the answer"], [[name, n / len(asked)] for name, n in held.items()]))
