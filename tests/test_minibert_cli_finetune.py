"""pretrain, finetune and predict on the command line: every task from files to answers, resumed; bad input."""

import io
import json

import numpy as np
import pytest
from test_minibert_cli import fails, main

from minibert import Classifier, CrossEncoder, Reader, Tagger
from minibert.models.bert import Bert

SMALL = "--vocab-size 60 --width 16 --layers 1 --heads 2 --max-length 24 --dropout 0 --warmup 2".split()
FAST = [*SMALL, "--epochs", "12", "--batch-size", "4", "--lr", "5e-3"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with small files of every kind."""
    folder = tmp_path_factory.mktemp("finetune")
    (folder / "texts").mkdir()
    for name in "ab":
        (folder / "texts" / f"{name}.txt").write_text("The cat sat. A dog ran. The mat is old. A log is wet. " * 10)
    (folder / "labels.txt").write_text("1 the cat sat\n0 a dog ran\n1 a cat ran\n0 the dog sat\n")
    (folder / "pairs.tsv").write_text("the cat\ta cat\t1\nthe cat\ta dog\t0\nthe dog\ta dog\t1\nthe dog\ta cat\t0\n")
    (folder / "tags.txt").write_text("the O\ncat B-PET\n\na O\ndog B-PET\nran O\n")
    questions = [
        {"id": str(i), "question": "who?", "context": text, "answers": [{"text": text.split()[1], "answer_start": at}]}
        for i, (text, at) in enumerate([("the cat sat", 4), ("a dog ran", 2)])
    ]
    questions.append({"id": "2", "question": "who?", "context": "ran", "answers": []})
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return folder


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_pretrain_shows_held_out_perplexity_and_goes_on(home):
    """From files and folders; a finished run resumed saves the same model; another start is possible; errors."""
    run = "pretrain", "texts", "--out", "bert", *SMALL, "--epochs", "2", "--batch-size", "8", "--held-out", "0.2"
    lines = lines_of(main(*run, cwd=home))
    assert "held_out_perplexity" in lines[-2] and lines[-1] == "saved bert"
    first = Bert.load(home / "bert").fingerprint
    lines_of(main(*run, "--resume", cwd=home))
    assert Bert.load(home / "bert").fingerprint == first
    assert fails(main(*run, "--resume", "--lr", "1e-3", cwd=home), "learning_rate 0.0005, now 0.001")
    more = "pretrain", "texts/a.txt", "--model", "bert", "--out", "more", "--epochs", "1", "--max-length", "20"
    assert "saved more" in lines_of(main(*more, "--held-out", "0", cwd=home))
    assert Bert.load(home / "more").config.max_length == 20
    lines_of(main(*more[:-2], "--held-out", "0", cwd=home))
    assert Bert.load(home / "more").config.max_length == 24  # the model's own
    (home / "empty.txt").write_text(" \n")
    assert fails(main("pretrain", "empty.txt", "--out", "x", cwd=home), "empty.txt: expected text, got none")


@pytest.mark.parametrize(
    ("task", "file", "options", "kind", "measure"),
    [
        ("classifier", "labels.txt", [], Classifier, "accuracy"),
        ("classifier", "pairs.tsv", ["--pairs"], Classifier, "macro_f1"),
        ("tagger", "tags.txt", [], Tagger, "precision"),
        ("reader", "questions.jsonl", [], Reader, "best_f1"),
        ("reranker", "pairs.tsv", [], CrossEncoder, "mrr@10"),
    ],
)
def test_finetune_trains_every_task_from_random_weights_and_from_an_encoder(home, task, file, options, kind, measure):
    """Evaluated on the way; a model that was trained starts another; resumed to the same bits."""
    out = task + "".join(options)
    run = "finetune", task, file, *options, "--out", out, "--eval", file, *FAST
    assert f"  {measure} " in lines_of(main(*run, cwd=home))[-2]
    model = kind.load(home / out)
    lines_of(main(*run, "--resume", cwd=home))
    assert kind.load(home / out).fingerprint == model.fingerprint
    again = "finetune", task, file, *options, "--model", out, "--out", "again", "--epochs", "1", "--lr", "1e-9"
    lines_of(main(*again, cwd=home))
    started = kind.load(home / "again")
    np.testing.assert_allclose(
        started.parameters.sub("encoder.").flat, model.parameters.sub("encoder.").flat, atol=1e-6
    )


def test_predict_answers_every_line(home, monkeypatch):
    """A label and its probability, a score, tagged words, a slice of the text or no answer."""
    for task, file, lines in (
        ("classifier", "labels.txt", "the cat sat\na dog ran\n"),
        ("reranker", "pairs.tsv", "the cat\ta cat\nthe cat\ta dog\n"),
        ("tagger", "tags.txt", "the cat\n"),
        ("reader", "questions.jsonl", "who?\tthe cat sat\nwho?\t\n"),
    ):
        lines_of(main("finetune", task, file, "--out", task, *FAST, "--epochs", "30", cwd=home))
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        answers = lines_of(main("predict", "--model", task, cwd=home))
        if task == "classifier":
            assert [answer.split("\t")[0] for answer in answers] == ["1", "0"]
        elif task == "reranker":
            assert float(answers[0]) > float(answers[1])
        elif task == "tagger":
            assert answers == ["the O", "cat B-PET", ""]
        else:
            assert answers[0].startswith("cat\t4:7\t") and answers[1] == "no answer"


def test_bad_input_is_told(home, monkeypatch):
    """Unknown labels at evaluation, labels that are no numbers, malformed lines, models that predict nothing."""
    (home / "other.txt").write_text("1 the cat\n2 a dog\n")
    run = "finetune", "classifier", "labels.txt", "--out", "x", *FAST
    assert fails(main(*run, "--eval", "other.txt", cwd=home), "other.txt: expected labels of labels.txt, 0, 1, got '2'")
    for label in ("yes", "7", "nan"):
        (home / "named.tsv").write_text(f"a\tb\t1\nc\td\t{label}\n")
        rerank = "finetune", "reranker", "named.tsv", "--out", "x", *FAST
        assert fails(main(*rerank, cwd=home), f"named.tsv, pair 2: expected a label in 0 … 1, got '{label}'")
    assert fails(
        main("pretrain", "texts/a.txt", "--out", "x", *SMALL, cwd=home),
        "--held-out 0.05, the end of every document: expected text for at least 2 pairs of 24 tokens, got",
    )
    refused = main("finetune", "tagger", "words.txt", "--pairs", "--out", "x", cwd=home)
    assert refused.returncode == 2 and "--pairs: expected the task classifier, got tagger" in refused.stderr
    (home / "no.tsv").write_text("a\tb\t0\n")
    rerank = "finetune", "reranker", "pairs.tsv", "--eval", "no.tsv", "--out", "untrained", *FAST
    assert fails(main(*rerank, cwd=home), "no.tsv: expected a question with an answer, got none in 1 pairs")
    assert not (home / "untrained").exists()  # told before training
    (home / "same.txt").write_text("1 the cat\n1 a dog\n")
    assert fails(
        main("finetune", "classifier", "same.txt", "--out", "x", *FAST, cwd=home), "expected labels that differ"
    )
    assert fails(main("finetune", "tagger", "labels.json", "--out", "x", cwd=home), "labels.json: No such file")
    main("pretrain", "texts", "--out", "bert", *SMALL, "--epochs", "1", cwd=home)
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n"))
    assert fails(main("predict", "--model", "bert", cwd=home), "got BertForPreTraining")
    main("finetune", "reranker", "pairs.tsv", "--out", "pairs", *FAST, "--epochs", "1", cwd=home)
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n"))
    assert fails(main("predict", "--model", "pairs", cwd=home), "line 1: expected two texts with a tab between, got 1")
