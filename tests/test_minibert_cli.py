"""The command line, run as users run it: right answers, exit codes, and one line for every kind of bad input."""

import contextlib
import dataclasses
import io
import json
import os
import re
import resource
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import ROOT, tiny_tokenizer
from minibert import SentenceEncoder, SentenceEncoderConfig, cli
from minibert.models.dual_encoder import DualEncoder
from minibert.parameters import Parameters

SMALL = "--vocab-size 200 --width 16 --layers 1 --heads 2 --dim 8 --max-length 16 --epochs 2 --warmup 2 --batch-size 8"
ANIMALS = ["cat", "dog", "owl", "bee", "ant", "cow", "hen", "pig"]


def main(*argv, cwd):
    """Run the command in this process, which is quicker; the same result as `minibert`'s."""
    stdout, stderr, old = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = cli.main([str(argument) for argument in argv])
    except SystemExit as exit:
        code = exit.code
    finally:
        os.chdir(old)
    return SimpleNamespace(returncode=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())


def minibert(*argv, cwd, largest_file=None):
    """Run the command in a new process, writing no file larger than `largest_file` bytes."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-m", "minibert.cli", *map(str, argv)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    options = {"preexec_fn": limit} if largest_file else {}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=900, **options)


def fails(done, *words):
    """Whether a run ended in exit code 1 and one line on stderr that holds all these words."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("minibert: warning: ")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(lines) == 1 and lines[0].startswith("minibert: error: "), done.stderr
    return all(word in lines[0] for word in words) or pytest.fail(f"{words} not all in: {lines[0]}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with pairs, a trained model, texts and a store of them."""
    home = tmp_path_factory.mktemp("home")
    pairs = [f"what does the {a} see\tthe {a} sees the {b}" for a in ANIMALS for b in ANIMALS]
    (home / "pairs.tsv").write_text("\n".join(pairs), encoding="utf-8")
    (home / "texts").mkdir()
    for animal in ANIMALS:
        (home / "texts" / f"{animal}.md").write_text(f"# The {animal}\n\nIt lives on a farm.\n", encoding="utf-8")
    (home / "texts" / "more.jsonl").write_text('{"id": "j1", "text": "the fox sees the hen"}\n\n', encoding="utf-8")
    done = main("train", "pairs.tsv", "--out", "model", *SMALL.split(), "--eval", "pairs.tsv", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "saved model" in done.stdout and "mrr@10" in done.stdout
    done = main("ingest", "texts", "--store", "store", "--model", "model", cwd=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9 documents added, 9 in store\n", "")
    return home


def copy(path, to):
    """Copy a folder; returns the copy."""
    to.mkdir()
    for file in path.iterdir():
        if file.is_dir():
            copy(file, to / file.name)
        else:
            (to / file.name).write_bytes(file.read_bytes())
    return to


def test_cli_query_answers_from_another_process_and_folder(home, tmp_path):
    """The store remembers its model; approximate and exact search print the same hits with source and span."""
    done = minibert("query", "the fox sees the hen", "--store", home / "store", "-k", 9, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "j1 [0:20]\n    the fox sees the hen" in done.stdout
    assert done.stdout.count("texts/") == 8
    exact = main("query", "the fox sees the hen", "--store", home / "store", "-k", 9, "--exact", cwd=tmp_path)
    assert exact.stdout == done.stdout


def test_ask_prints_the_answer_and_the_cited_words(home):
    """The quoted sentence, its number, and where it stands; the options of the search hold."""
    done = main("ask", "what does the fox see", "--store", "store", "--hybrid", "--where", '{"source": null}', cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the fox sees the hen [1]\n\n[1] j1 [0:20]\n    the fox sees the hen\n"
    done = main("ask", "the fox", "--store", "store", "--where", '{"source": "none"}', cwd=home)
    assert (done.returncode, done.stdout) == (0, "no passage was found\n")


def test_ask_a_chat_model_says_what_is_missing_or_wrong(home, monkeypatch):
    """No address, nothing that listens there, a budget without room; the key is never printed."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (home / "key").write_text("sk-secret\n")
    command = ("ask", "the fox", "--store", "store", "--chat", "tiny")
    assert fails(main(*command, cwd=home), "OPENAI_BASE_URL is not set")
    done = main(*command, "--url", "http://127.0.0.1:9/v1", "--key-file", "key", "--timeout", 2, cwd=home)
    assert fails(done, "http://127.0.0.1:9/v1", "refused") and "secret" not in done.stderr
    done = main("ask", "the fox", "--store", "store", "--budget", 9, cwd=home)
    assert fails(done, "expected a budget of at least")
    least = re.search(r"at least (\d+)", done.stderr)[1]
    done = main("ask", "the fox", "--store", "store", "-k", 99, "--budget", least, cwd=home)
    left_out, found = re.search(r"(\d+) of (\d+) passages did not fit", done.stdout).groups()
    assert 0 < int(left_out) < int(found) < 99
    assert main("ask", "the fox", "--store", "store", "--url", "http://127.0.0.1:9", cwd=home).returncode == 2


def test_documents_do_not_steer_the_terminal(home, tmp_path):
    """Control characters of a text, a name or an answer are blanks where they are printed."""
    (tmp_path / "evil.jsonl").write_text(json.dumps({"id": "a\x1b[2J", "text": "the\x1b]0;fox\x07 sees \u202ethe hen"}))
    done = main("ingest", "evil.jsonl", "--store", "store", "--model", home / "model", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for command in ("query", "ask"):
        done = main(command, "the fox sees", "--store", "store", cwd=tmp_path)
        assert "a [2J [0:" in done.stdout and "the ]0;fox sees the hen" in done.stdout
        assert all(c.isprintable() or c == "\n" for c in done.stdout)


def test_serve_says_why_it_cannot(home):
    """A port that is taken, a host that is not here, a store that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert fails(main("serve", "--store", "store", "--port", port, cwd=home), "in use")
    assert fails(main("serve", "--store", "store", "--port", 0, "--host", "203.0.113.1", cwd=home), "address")
    assert fails(main("serve", "--store", "nowhere", "--port", 0, cwd=home), "nowhere: no store there")
    assert "at most 65535" in main("serve", "--store", "store", "--port", 65536, cwd=home).stderr
    assert "at most 86400" in main("ask", "the fox", "--store", "store", "--timeout", 10**12, cwd=home).stderr


def test_query_by_words_too_under_a_condition_explained(home):
    """--hybrid finds by words, --where leaves out, --explain says what each stage gave and how long it took."""
    source = '{"source": "texts/owl.md"}'
    command = ("query", "the owl", "--store", "store", "--hybrid", "--where", source, "--diversity", 0.2, "--explain")
    done = main(*command, cwd=home)
    assert done.returncode == 0 and done.stderr == ""
    assert "texts/owl.md" in done.stdout and "texts/cat.md" not in done.stdout
    for told in (
        "sparse: rank 1, score",
        "terms (dense",
        "diversity: rank 1",
        "passages that met the condition: 1",
        "milliseconds: encode",
    ):
        assert told in done.stdout, done.stdout
    wrong = main("query", "the owl", "--store", "store", "--where", '{"a": {"$x": 1}}', cwd=home)
    assert fails(wrong, "where.a: expected an operator")
    assert main("query", "owl", "--store", "store", "--where", "{", cwd=home).returncode == 2


def test_eval_of_a_beir_folder(home, tmp_path):
    """Every measure of every run, and run files that can be read again."""
    from minibert.retrieval.trec import read_run

    lines = [f'{{"_id": "{a}", "title": "the {a}", "text": "sees the hen"}}' for a in ANIMALS]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "what does the owl see"}')
    (tmp_path / "qrels.tsv").write_text("q 0 owl 1\n")
    done = main("eval", "--beir", tmp_path, "--model", home / "model", "--runs", tmp_path / "runs", cwd=home)
    assert done.returncode == 0, done.stderr
    assert ["recall@1000", *["1.0000"] * 4] in map(str.split, done.stdout.splitlines())
    assert set(read_run(tmp_path / "runs" / "hybrid.run")["q"]) == set(ANIMALS)
    assert main("eval", "--model", home / "model", cwd=home).returncode == 2
    assert fails(main("eval", "--beir", home, "--model", home / "model", cwd=home), "lacks corpus.jsonl")


def test_cli_query_of_unknown_words_only(home):
    """Nothing but unknown words is an error that names the question; one known word is enough for an answer."""
    done = minibert("query", "-q", "owl", "--question=☃☃ ☂", "--store", "store", "-k", 1, cwd=home)
    assert fails(done, "question 2: none of its words is in the encoder's vocabulary: '☃☃ ☂'")
    done = main("query", "-q", "☃☃ owl", "--question=owl", "--store", "store", "-k", 1, cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("\n☃☃ owl\n 1  ") and "\nowl\n 1  " in done.stdout


def test_cli_query_joins_its_words(home):
    """Forgotten quotes make no difference; neither words nor -q is bad usage."""
    quoted = main("query", "the fox sees the hen", "--store", "store", "-k", 2, cwd=home)
    assert quoted.returncode == 0 and quoted.stdout
    for argv in ("query the fox sees the hen --store store -k 2", "query --store store -k 2 the fox sees the hen"):
        assert main(*argv.split(), cwd=home) == quoted
    assert main("query", "--store", "store", cwd=home).returncode == 2


def test_cli_is_quiet_when_its_reader_goes_away(home):
    """A closed pipe ends in the exit code of SIGPIPE, without a word."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "minibert.cli", "query", "owl", "--store", "store"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=home, env=env, stdout=write, stderr=subprocess.PIPE, timeout=900)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_cli_ingest_says_what_it_replaced(home, tmp_path):
    """What is there already stays; chunked otherwise it is replaced; a file named twice is one."""
    store = copy(home / "store", tmp_path / "store")
    done = main("ingest", "texts", "texts/owl.md", "--store", store, "--batch-size", 4, cwd=home)
    assert done.stdout == f"0 documents added, 9 were there already, 9 in {store}\n"
    done = main("ingest", "texts", "--store", store, "--chunk", "structure", cwd=home)
    assert done.stdout == f"9 documents added, 9 of them in place of earlier ones, 9 in {store}\n"
    options = ["--store", tmp_path / "cut", "--model", "model", "--chunk", "structure", "--chunk-size", 5]
    assert main("ingest", "texts", *options, cwd=home).stdout.startswith("9 documents added, ")
    done = main("ingest", "texts", "--store", tmp_path / "cut", cwd=home)  # as the store was made
    assert done.stdout.startswith("0 documents added, 9 were there already")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "A.TXT").write_text("upper case")
    (tmp_path / "new" / "B.JSONL").write_text('{"id": "b", "text": "also"}')
    done = main("ingest", "new", "new/A.TXT", "--store", "store", cwd=tmp_path)
    assert done.stdout == "2 documents added, 11 in store\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a"}', "with an id that is a text"),
        ('{"id": 3, "text": "a"}', "with an id that is a text"),
        ('{"id": "x", "text": 3}', "document 'x': expected text"),
        ('{"id": "x", "text": "a", "metadata": []}', "document 'x': expected metadata to be a dict"),
        ("[1]", "expected a dict"),
        ("[" * 100_000, "expected JSON"),
        ('{"id": ' + "1" * 5000 + "}", "expected JSON"),
    ],
)
def test_cli_json_lines_errors_name_file_and_line(home, tmp_path, line, reason):
    """Whatever is wrong with a line, of documents or of pairs, the error says where it stands."""
    (tmp_path / "d.jsonl").write_text('{"id": "good", "text": "good"}\n\n' + line)
    done = main("ingest", "d.jsonl", "--store", home / "store", cwd=tmp_path)
    assert fails(done, "d.jsonl, line 3: ", reason)
    (tmp_path / "p.jsonl").write_text('{"question": "q", "answer": "a"}\n' + line)
    assert fails(main("eval", "p.jsonl", "--model", home / "model", cwd=tmp_path), "p.jsonl, line 2: expected")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[(option, "-1") for option in ("--checkpoint-every", "--warmup", "--epochs", "--seed", "--lr")],
        *[(option, "0") for option in ("--epochs", "--temperature", "--clip", "--vocab-size")],
        *[(option, "many") for option in ("--epochs", "--lr")],
    ],
)
def test_cli_train_refuses_numbers_out_of_range(home, option, value):
    """Bad usage, with the option, what it expects and what it got."""
    done = main("train", "pairs.tsv", "--out", "never", option, value, cwd=home)
    assert done.returncode == 2 and not (home / "never").exists()
    assert f"argument {option}: expected a " in done.stderr and f"got {value}\n" in done.stderr


def test_cli_train_defaults_are_the_measured_ones():
    """Unit vectors, a temperature that fits them, no dropout, the demo's learning rate."""
    args = cli._parser().parse_args(["train", "pairs.tsv", "--out", "model"])
    assert (args.normalize, args.temperature, args.dropout, args.lr) == (True, 0.05, 0.0, 5e-4)


def test_cli_eval_prints_metrics(home):
    """MRR and recall at the asked depth, and the number of questions."""
    done = main("eval", "pairs.tsv", "--model", "model", "-k", 64, cwd=home)
    assert done.returncode == 0 and "recall@64 1.0000\nquestions 64\n" in done.stdout


def test_cli_info_names_versions_and_blas(home):
    """Versions, processor, and what multiplies matrices."""
    done = minibert("info", cwd=home)
    assert done.returncode == 0
    for name in ("minibert", "numpy", "numba", "cpu", "blas"):
        assert any(line.startswith(name) for line in done.stdout.splitlines()), name


def test_cli_train_resumes_to_the_same_model(home, tmp_path):
    """--resume from the finished checkpoint ends in the same weights; with other settings it is refused."""
    copy(home / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    again = ["train", home / "pairs.tsv", "--out", "model", *SMALL.split(), "--resume"]
    done = main(*again, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fingerprints = [DualEncoder.load(folder / "model").fingerprint for folder in (home, tmp_path)]
    assert fingerprints[0] == fingerprints[1]  # of configuration, tokenizer and every weight
    assert fails(main(*again, "--seed", 5, cwd=tmp_path), "checkpoint.safetensors", "other settings")
    done = main(*again, "--vocab-size", 2000, cwd=tmp_path)
    assert fails(done, "training began with --vocab-size 200, now --vocab-size 2000")


def test_cli_help_is_light():
    """--help loads neither NumPy nor Numba; bad usage is exit code 2."""
    code = (
        "import sys; from minibert import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as exit: assert not exit.code\n"
        "assert not {'numpy', 'numba', 'sqlite3', 'tqdm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert all(f"    {name} " in done.stdout for name in ("demo", "info", "train", "ingest", "query", "eval"))
    assert main("query", cwd=ROOT).returncode == 2
    assert main("fly", cwd=ROOT).returncode == 2


def test_cli_empty_corpus(home, tmp_path):
    """A folder without texts, a .jsonl file without lines, pairs without pairs."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "e.jsonl").write_text("\n")
    (tmp_path / "e.tsv").write_text("")
    ingest = ["--store", tmp_path / "store", "--model", home / "model"]
    assert fails(minibert("ingest", "empty", *ingest, cwd=tmp_path), "empty", "the corpus is empty")
    assert not (tmp_path / "store").exists()
    assert fails(main("ingest", "e.jsonl", *ingest, cwd=tmp_path), "the corpus is empty")
    assert fails(main("query", "owl", "--store", tmp_path / "store", cwd=tmp_path), "store", "holds no documents")
    assert fails(main("train", "e.tsv", "--out", "m", cwd=tmp_path), "e.tsv", "empty")
    assert not (tmp_path / "m").exists()


def test_cli_empty_document(home, tmp_path):
    """The error names the document; the store is as before."""
    store = copy(home / "store", tmp_path / "store")
    (tmp_path / "a.txt").write_text("owl")
    (tmp_path / "b.txt").write_text(" \n")
    assert fails(minibert("ingest", "a.txt", "b.txt", "--store", store, cwd=tmp_path), "b.txt", "is empty")
    done = main("query", "owl", "--store", store, "-k", 50, cwd=tmp_path)
    assert "a.txt" not in done.stdout and done.stdout.count("texts/") == 8


def test_cli_not_utf8(home, tmp_path):
    """The error names file and byte, for texts, .jsonl and pairs."""
    for name in ("a.txt", "a.jsonl", "a.tsv"):
        (tmp_path / name).write_bytes(b"ok\tok \xff")
    for name in ("a.txt", "a.jsonl"):
        assert fails(minibert("ingest", name, "--store", home / "store", cwd=tmp_path), name, "UTF-8", "0xff at 6")
    assert fails(main("eval", "a.tsv", "--model", home / "model", cwd=tmp_path), "a.tsv", "UTF-8", "0xff at 6")


def test_cli_other_encoders_store(home, tmp_path):
    """A store refuses questions and documents of another model, naming both."""
    options = [*SMALL.split(), "--seed", 1, "--max-length", 80, "--normalize"]
    done = main("train", "pairs.tsv", "--out", tmp_path / "other", *options, cwd=home)
    assert done.returncode == 0, done.stderr
    for command in (["query", "cat"], ["ingest", "texts"]):
        done = minibert(*command, "--store", "store", "--model", tmp_path / "other", cwd=home)
        assert fails(done, "store.sqlite", "written with the encoder", "this one is")


def test_cli_truncated_files(home, tmp_path):
    """A truncated model or checkpoint is named; a truncated index too, and deleting it brings the same answers back."""
    before = main("query", "the fox sees the hen", "--store", home / "store", cwd=tmp_path).stdout
    for name in ("model", "store"):
        copy(home / name, tmp_path / name)
    for file in ("model/model.safetensors", "model/training/checkpoint.safetensors", "store/index.ann"):
        path = tmp_path / file
        path.write_bytes(path.read_bytes()[:-100])
    query = ["query", "the fox sees the hen", "--store", "store"]
    assert fails(minibert(*query, cwd=tmp_path), "store/index.ann", "delete store/index.ann")
    (tmp_path / "store" / "index.ann").unlink()
    done = minibert(*query, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, before)
    assert done.stderr.startswith("minibert: warning: store/index.ann is missing")
    assert fails(main(*query, "--model", "model", cwd=tmp_path), "model/model.safetensors")
    train = ["train", home / "pairs.tsv", "--out", "model", *SMALL.split(), "--resume"]
    assert fails(minibert(*train, cwd=tmp_path), "model/training/checkpoint.safetensors")


def test_cli_missing_files(home, tmp_path):
    """Whatever is not there is named."""
    assert fails(minibert("query", "q", "--store", "nowhere", cwd=tmp_path), "nowhere: no store there")
    assert fails(
        main("ingest", "gone.txt", "--store", home / "store", cwd=tmp_path), "gone.txt: no such file or folder"
    )
    assert fails(main("train", "gone.tsv", "--out", "m", cwd=tmp_path), "gone.tsv: No such file")
    assert fails(main("eval", home / "pairs.tsv", "--model", "gone", cwd=tmp_path), "gone", "No such file")
    (tmp_path / "a.txt").write_text("a")
    assert fails(main("ingest", "a.txt", "--store", "new", cwd=tmp_path), "new: no store there")


def test_cli_full_disk(home, tmp_path):
    """Neither ingest nor training loses what was there when a write finds no room."""
    copy(home / "store", tmp_path / "store")
    copy(home / "model", tmp_path / "model")
    (tmp_path / "long.txt").write_text("word " * 50_000)
    done = minibert("ingest", "long.txt", "--store", "store", cwd=tmp_path, largest_file=80_000)
    assert fails(done, "store.sqlite", "disk full")
    train = ["train", home / "pairs.tsv", "--out", "model", *SMALL.split(), "--seed", 3]
    done = minibert(*train, cwd=tmp_path, largest_file=20_000)
    assert fails(done, "model", "File too large")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (
        home / "model" / "model.safetensors"
    ).read_bytes()
    done = main("query", "owl", "--store", "store", "--model", "model", "-k", 50, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("texts/") == 8 and "long.txt" not in done.stdout


def test_embed_writes_a_row_a_line(tmp_path):
    """Vectors of the lines, blank ones included, as `encode` gives them; a wrong prompt or folder is one line."""
    config = SentenceEncoderConfig(60, width=8, layers=1, heads=2, ffn=8, positions=8, max_length=8)
    tokenizer = tiny_tokenizer()
    config = dataclasses.replace(config, vocab_size=tokenizer.vocab_size)
    model = SentenceEncoder(tokenizer, config, Parameters(config.shapes))
    model.parameters.flat[...] = np.random.default_rng(0).standard_normal(model.parameters.flat.size)
    model.save(tmp_path / "model")
    (tmp_path / "texts.txt").write_bytes("the cat\r\n\na\u2028dog\n".encode())
    embed = "embed", "texts.txt", "--model", "model", "--out", "x.npy"
    done = main(*embed, "--normalize", cwd=tmp_path)
    assert done.stdout == "3 vectors of 8 numbers in x.npy\n", done.stderr
    expected = model.encode(["the cat", "", "a\u2028dog"], normalize=True)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    assert fails(main(*embed, "--prompt", "query", cwd=tmp_path), "got 'query'")
    assert fails(main(*embed, "--dim", 9, cwd=tmp_path), "truncate_dim in 1 … 8, got 9")
    assert fails(main("embed", "texts.txt", "--model", "none", "--out", "y.npy", cwd=tmp_path), "none", "No such file")


def test_cli_store_is_looked_after(home, tmp_path):
    """check tells and exits with 1, repair mends, compact and stats count; a folder without a store is named."""
    store = copy(home / "store", tmp_path / "store")
    assert main("store", "check", store, cwd=home).stdout == f"nothing is wrong with {store}, 9 documents\n"
    (store / "index.ann").write_bytes(b"rubbish")
    done = main("store", "check", store, cwd=home)
    assert done.returncode == 1 and "index.ann cannot be read" in done.stdout
    done = main("store", "repair", store, cwd=home)
    assert done.returncode == 0 and done.stdout.startswith("mended: ") and "left" not in done.stdout
    assert main("store", "repair", store, cwd=home).stdout == "nothing to mend\n"
    assert main("store", "compact", store, cwd=home).stdout.endswith(" after\n")
    done = main("store", "stats", store, cwd=home)
    assert re.match(r"documents +9\n", done.stdout) and re.search(r"\nprecision +float32\n", done.stdout)
    for action in ("check", "repair", "compact", "stats"):
        assert fails(main("store", action, tmp_path / "none", cwd=home), "none: no store there")
