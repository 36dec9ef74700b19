"""The commands train and train-sentences: their options reach the training."""

import json

import numpy as np
import pytest

from minibert import DualEncoder, SentenceEncoder, cli, plots
from minibert.data import read_examples, read_pairs

WORDS = "cat dog mat log sat on the and".split()
SMALL = "--vocab-size 60 --width 16 --layers 1 --heads 2 --max-length 12 --batch-size 4 --warmup 2 --lr 0.01".split()


def run(*arguments):
    return cli.main(list(map(str, arguments)))


def write(path, rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.fixture
def pairs(tmp_path):
    return write(tmp_path / "pairs.tsv", [(f"the {a} and {b}", f"{b} on a {a}") for a in WORDS for b in WORDS[:2]])


@pytest.fixture
def graded(tmp_path):
    rows = [(f"the {a}", f"the {b}", 5 if a == b else 1) for a in WORDS for b in WORDS[:3]]
    return write(tmp_path / "graded.tsv", [("sentence1", "sentence2", "score"), *rows])


def test_read_examples_reads_hard_negatives(tmp_path):
    """Further fields, or a list; where pairs are asked for they are refused with the line."""
    tsv = write(tmp_path / "e.tsv", [("q", "a"), ("r", "b", "no", "nor")])
    jsonl = tmp_path / "e.jsonl"
    rows = [{"question": "q", "answer": "a"}, {"question": "r", "answer": "b", "negatives": ["no", "nor"]}]
    jsonl.write_text("\n".join(map(json.dumps, rows)))
    assert read_examples(tsv) == read_examples(jsonl) == [("q", "a"), ("r", "b", "no", "nor")]
    with pytest.raises(ValueError, match="line 2: expected a question and an answer, got 4 texts"):
        read_pairs(tsv)
    jsonl.write_text('{"question": "q", "answer": "a", "negatives": "no"}')
    with pytest.raises(ValueError, match="line 1: expected a list of strings"):
        read_examples(jsonl)


def test_train_takes_every_option(pairs, tmp_path, capsys):
    """Cross entropy both ways with caching and early stopping, then the margin; the records become a curve."""
    out = tmp_path / "model"
    options = (
        "--symmetric --mask-duplicates --grad-cache 3 --schedule cosine --weight-decay 0.01 --eval-every 2".split()
    )
    assert run("train", pairs, "--out", out, *SMALL, *options, "--eval", pairs, "--patience", 99, "--epochs", 2) == 0
    assert "mrr@10" in capsys.readouterr().out
    records = plots.read_records(out / "training")
    assert [record["step"] for record in records] == [2, 4, 6, 8] and DualEncoder.load(out).dim == 128
    assert run("train", pairs, "--out", out, *SMALL, "--margin", 0.5, "--micro-batch", 2, "--epochs", 1) == 0
    assert run("train", pairs, "--out", out, *SMALL, "--margin", 0.5, "--resume", "--epochs", 1) == 1
    assert "micro_batch 2, now None" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("train", pairs, "--out", out, "--patience", 2)
    assert "argument --patience: expected --eval as well" in capsys.readouterr().err


def test_train_sentences_by_every_task(pairs, graded, tmp_path, capsys):
    """From random weights, then on from the folder that was saved; evaluation prints Spearman's correlation."""
    nli = write(tmp_path / "nli.tsv", [(f"the {a}", b, i % 3) for i, a in enumerate(WORDS) for b in WORDS[:2]])
    triplets = write(tmp_path / "triplets.tsv", [(f"the {a}", f"a {a}", b) for a in WORDS for b in WORDS if a != b])
    folder = tmp_path / "encoder"
    assert (
        run("train-sentences", graded, "--task", "sts", "--out", folder, *SMALL, "--eval", graded, "--pooling", "max")
        == 0
    )
    assert "spearman" in capsys.readouterr().out
    encoder = SentenceEncoder.load(folder)
    assert encoder.config.pooling == ("max",)
    for task, file in (("nli", nli), ("triplets", triplets), ("pairs", pairs)):
        out = tmp_path / task
        assert run("train-sentences", file, "--task", task, "--out", out, "--model", folder, "--batch-size", 4) == 0
        assert not np.array_equal(SentenceEncoder.load(out).encode(WORDS), encoder.encode(WORDS))
    capsys.readouterr()
    assert run("train-sentences", graded, "--task", "sts", "--out", tmp_path / "x", *SMALL, "--scores", 0, 1) == 1
    assert "graded.tsv: expected scores in 0 … 1, which --scores sets, got 5" in capsys.readouterr().err
