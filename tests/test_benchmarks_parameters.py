"""What docs/choosing-parameters.md rests on: rankings of a small corpus, fused and measured."""

import numpy as np

from benchmarks.parameters import PARTS, Corpus, ef_at
from helpers import ROOT

TEXTS = ["a dog guards the door", "the cat sleeps", "birds eat seeds", "owls hunt after dark"]
VECTORS = np.eye(4, dtype=np.float32)


def test_corpus_shares_go_from_words_to_vectors():
    """All of the weight on one side gives that side's ranking, by scores and by ranks, and the measures are its own."""
    asked = ["birds eat seeds", "the cat sleeps"]
    corpus = Corpus(TEXTS, asked, VECTORS, VECTORS[[3, 1]], relevant=[[2], [1]])
    assert [ids[0] for ids, _ in corpus.dense] == [3, 1] and [ids[0] for ids, _ in corpus.sparse] == [2, 1]
    for by in ("convex", "reciprocal rank"):
        assert [ids[0] for ids, _ in corpus.fused(by, share=1.0)] == [3, 1]
        assert [ids[0] for ids, _ in corpus.fused(by, share=0.0)] == [2, 1]
    assert corpus.measure(corpus.fused("convex", 0.0))["mrr@10"] == 1.0
    assert corpus.measure([(ids[:1], scores[:1]) for ids, scores in corpus.dense])["mrr@10"] == 0.5


def test_ef_of_a_recall_lies_between_those_measured():
    """Interpolated on the curve; nothing is said beyond it."""
    recalls = np.linspace(0.8, 0.98, 10)
    assert ef_at(0.8, recalls) == 10 and 14 <= ef_at(0.83, recalls) <= 20 and ef_at(0.99, recalls) == "–"


def test_choosing_parameters_names_the_benchmark_and_its_pictures():
    """The page tells the command, and every picture of it is in the repository."""
    page = (ROOT / "docs" / "choosing-parameters.md").read_text(encoding="utf-8")
    assert "python -m benchmarks parameters" in page and all(f"`{part}`" in page for part in PARTS)
    pictures = {part.split(")")[0] for part in page.split("](images/")[1:]}
    assert pictures == {path.name for path in (ROOT / "docs" / "images").glob("parameters-*.svg")}
