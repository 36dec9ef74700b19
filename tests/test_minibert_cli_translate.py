"""The translator on the command line: trained on two files, resumed to the same bits, asked by words and by lines."""

import gzip
import io

import pytest
from test_minibert_cli import fails, main
from test_minibert_translator import PAIRS

from minibert.data import read_parallel
from minibert.models.translator import Translator

SMALL = "--vocab-size 300 --width 16 --layers 1 --heads 2 --ffn 16 --max-length 20 --tokens 60 --epochs 2 --warmup 5"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with two files of lines and a model trained on them."""
    folder = tmp_path_factory.mktemp("translate")
    (folder / "de.txt").write_text("\n".join(source for source, _ in PAIRS) + "\n", encoding="utf-8")
    with gzip.open(folder / "en.gz", "wt", encoding="utf-8") as file:
        file.write("\r\n".join(target for _, target in PAIRS))
    done = main(
        "train-translator", "de.txt", "en.gz", "--out", "m", "--eval", "de.txt", "en.gz", *SMALL.split(), cwd=folder
    )
    assert done.returncode == 0 and "BLEU " in done.stdout and done.stdout.endswith("saved m\n"), done.stderr
    return folder


def test_translate_answers_words_and_lines(home, monkeypatch):
    """The words of one text, or a line for every line, blank ones and none at all included."""
    model = Translator.load(home / "m")
    [expected] = model.translate(["hund läuft"], beam=2)
    done = main("translate", "hund", "läuft", "--model", "m", "--beam", 2, cwd=home)
    assert done.stdout == expected + "\n", done.stderr
    for lines in ("", "hund läuft\n\nkatze\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        done = main("translate", "--model", "m", cwd=home)
        assert done.stdout == "".join(text + "\n" for text in model.translate(lines.split("\n")[:-1])), done.stderr


def test_train_translator_resumes_to_the_same_model(home):
    """A finished training that is resumed saves the same model; one with another vocabulary is refused."""
    before = Translator.load(home / "m").fingerprint
    again = "train-translator", "de.txt", "en.gz", "--out", "m", "--resume", *SMALL.split()
    assert main(*again, cwd=home).returncode == 0
    assert Translator.load(home / "m").fingerprint == before
    assert fails(main(*again, "--vocab-size", 299, cwd=home), "began with --vocab-size 300")
    assert fails(main(*again, "--warmup", 6, cwd=home), "warmup 5, now 6")


def test_read_parallel_names_file_and_line(home, tmp_path):
    """Files that do not fit each other, empty lines, and a broken archive."""
    assert read_parallel(home / "de.txt", home / "en.gz") == PAIRS
    a, b = tmp_path / "a.txt", tmp_path / "b.gz"
    whole = gzip.compress(b"one\ntwo\n")
    for left, right, message in (
        (b"eins\n", whole, "b.gz: expected as many lines as .*a.txt, 1, got 2"),
        (b"eins\n \n", whole, "a.txt, line 2: expected a text, got an empty line"),
        (b"", gzip.compress(b""), "a.txt: expected at least one line"),
        (b"eins\nzwei", whole[:-3], "b.gz: not a whole .gz file"),
        (b"eins\nzwei", b"one\ntwo", "b.gz: not a whole .gz file"),
        (b"\xff\nzwei", whole, "a.txt: expected UTF-8, got byte 0xff at 0"),
    ):
        a.write_bytes(left), b.write_bytes(right)
        with pytest.raises(ValueError, match=message):
            read_parallel(a, b)


def test_translate_refuses_bad_usage(home):
    """A beam of none, and a folder without a translator."""
    assert main("translate", "hund", "--model", "m", "--beam", 0, cwd=home).returncode == 2
    assert fails(main("translate", "hund", "--model", "none", cwd=home), "none", "No such file")
