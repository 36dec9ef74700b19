"""Pictures show the numbers they are given, the same bytes every time; the command draws them."""

import json
import struct

import numpy as np
import pytest

from helpers import run_python, tiny_tokenizer
from minibert import SentenceEncoder, cli, plots
from minibert.sentence_network import SentenceEncoderConfig

RECORDS = [{"step": 5, "loss": 2.0, "epoch": 0.5, "learning_rate": 0.1}]
RECORDS += [{"step": 10, "loss": 1.5, "epoch": 1.0, "learning_rate": 0.05, "spearman": 0.4}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = tiny_tokenizer()
    config = SentenceEncoderConfig(tokenizer.vocab_size, width=16, layers=2, heads=2, ffn=16, max_length=16)
    path = tmp_path_factory.mktemp("encoder")
    SentenceEncoder.create(tokenizer, config).save(path)
    return path


def lines_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_similarity_map_shows_every_number_and_text():
    """One image, the scores; each cell's text is its number, each tick's a text, long ones cut."""
    texts, scores = ["a", "price in $", "x" * 60], np.array([[1, 0.5, -0.2], [0.5, 1, 0], [-0.2, 0, 1]])
    axes = plots.similarity_map(texts, scores).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), scores)
    assert [text.get_text() for text in axes.texts] == [f"{score:.2f}" for score in scores.ravel()]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", r"price in \$", "x" * 39 + "…"]
    assert not plots.similarity_map(["a"] * (plots.NUMBERED + 1), np.eye(plots.NUMBERED + 1)).axes[0].texts


def test_attention_map_has_a_panel_a_head():
    """Each with its own weights."""
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (5, 3))
    figure = plots.attention_map(["[CLS]", "cat", "[SEP]"], weights)
    assert len(figure.axes) == 5
    for axes, head in zip(figure.axes, weights, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), head)


def test_training_curve_draws_every_number_by_step():
    """Loss and what evaluations gave, a line a run; records without a number leave it out."""
    figure = plots.training_curve({"first": RECORDS, "second": RECORDS[:1]})
    loss, spearman = figure.axes
    assert lines_of(loss) == {"first": [[5, 2.0], [10, 1.5]], "second": [[5, 2.0]]}
    assert lines_of(spearman) == {"first": [[10, 0.4]]}
    assert (loss.get_ylabel(), spearman.get_ylabel()) == ("loss", "spearman")


def test_read_records_reads_what_training_wrote(tmp_path):
    """A file or its folder; a line that is still being written is left out, any other bad one is named."""
    path = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps(record) + "\n" for record in RECORDS)
    path.write_text(whole + '{"step": 15, "lo')
    assert plots.read_records(path) == plots.read_records(tmp_path) == RECORDS
    for content, message in [
        ('{"step": 1}\nnothing\n', "line 2: expected a record of numbers, got 'nothing'"),
        ("[1]\n", "line 1: expected a record"),
        ('{"step": "x"}\n', "line 1: expected a record"),
        ('{"step": 1}', "at least one record, got none"),
    ]:
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            plots.read_records(path)


@pytest.mark.parametrize("suffix", plots.FORMATS)
def test_the_same_figure_is_the_same_bytes(tmp_path, suffix):
    """No date, no random name inside."""
    for name in ("a", "b"):
        plots.save(plots.training_curve({"run": RECORDS}), tmp_path / f"{name}{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    assert content == (tmp_path / f"b{suffix}").read_bytes() and len(content) > 1000


def test_command_draws_similarity_curve_and_attention(folder, tmp_path, capsys):
    """Three pictures from a folder of a model, a file of texts, a file of records."""
    texts, records = tmp_path / "texts.txt", tmp_path / "metrics.jsonl"
    texts.write_text("the cat sat\n\na dog\n")
    records.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    for arguments, said in [
        (["similarity", texts, "--model", folder, "--out", tmp_path / "s.png"], "2 texts in"),
        (["curve", records, tmp_path, "--out", tmp_path / "c.svg"], "4 records in"),
        (["attention", "the cat", "--model", folder, "--layer", "1", "--out", tmp_path / "a.png"], "2 heads in"),
    ]:
        assert cli.main(["plot", *map(str, arguments)]) == 0
        assert said in capsys.readouterr().out
    assert (tmp_path / "s.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", (tmp_path / "s.png").read_bytes()[16:24])) > 300
    assert "spearman" in (tmp_path / "c.svg").read_text()
    texts.write_text("\n")
    assert cli.main(["plot", "similarity", str(texts), "--model", str(folder), "--out", str(tmp_path / "x.png")]) == 1
    assert "at least one text" in capsys.readouterr().err
    assert cli.main(["plot", "curve", str(records), "--out", str(tmp_path / "x.gif")]) == 1
    assert "ending in .png, .svg, .pdf, got .gif" in capsys.readouterr().err


def test_without_matplotlib_the_command_says_what_to_install(tmp_path):
    """And everything else works without."""
    (tmp_path / "metrics.jsonl").write_text(json.dumps(RECORDS[0]) + "\n")
    code = """
import sys
sys.modules["matplotlib"] = None
from minibert import cli, plots
sys.exit(cli.main(["plot", "curve", sys.argv[1], "--out", sys.argv[1] + "/c.png"]))
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 1 and "pip install 'minibert[plot]'" in done.stderr


def test_plots_refuse_what_cannot_be():
    """Shapes and numbers."""
    for call, message in [
        (lambda: plots.similarity_map(["a"], np.ones((2, 2))), r"each of 1 names, got \(2, 2\)"),
        (lambda: plots.similarity_map(["a"], np.full((1, 1), np.nan)), "finite numbers, got nan"),
        (lambda: plots.attention_map(["a"], np.ones((2, 2, 2))), "each of 1 names"),
        (lambda: plots.training_curve({"run": []}), "step and loss, got none of run"),
        (lambda: plots.training_curve({"run": [{"loss": 1.0}]}), "step and loss, got others of run"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
