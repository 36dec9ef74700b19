"""Pictures show the numbers they are given, the same bytes every time; the command draws them."""

import json
import shlex
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ann
import tokenizers
from ann.trace import trace
from helpers import run_python, tiny_tokenizer
from minibert import DualEncoder, DualEncoderConfig, SentenceEncoder, Store, cli, plots
from minibert.plots.similarity import NUMBERED
from minibert.retrieval.search import Hit
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


@pytest.fixture(scope="module")
def dual(tmp_path_factory):
    tokenizer = tiny_tokenizer()
    model = DualEncoder.create(tokenizer, DualEncoderConfig(tokenizer.vocab_size, width=16, layers=1, heads=2, ffn=16))
    path = tmp_path_factory.mktemp("dual")
    model.save(path)
    return path


def vectors():
    """(n, D) numbers, some rows equal."""
    shapes = st.tuples(st.integers(1, 6), st.integers(1, 5))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(-4, 4).map(float)))


def lines_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_similarity_map_shows_every_number_and_text():
    """One image a panel, the scores; each cell's text is its number, each tick's a text, long ones cut."""
    texts, scores = ["a", "price in $", "x" * 60], np.array([[1, 0.5, -0.2], [0.5, 1, 0], [-0.2, 0, 1]])
    axes = plots.similarity_map(texts, texts, {"": scores}).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), scores)
    assert [text.get_text() for text in axes.texts] == [f"{score:.2f}" for score in scores.ravel()]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", r"price in \$", "x" * 39 + "…"]
    many = ["a"] * (NUMBERED + 1)
    assert not plots.similarity_map(many, many, {"": np.eye(NUMBERED + 1)}).axes[0].texts


def test_similarity_map_has_one_scale_for_all_panels():
    """Questions beside answers, before and after training: the same colour is the same number."""
    before, after = np.array([[0.1, 0.2, 0.3]]), np.array([[2.0, -1.0, 0.0]])
    panes = plots.similarity_map(["q"], ["a", "b", "c"], {"before": before, "after": after}).axes[:2]
    assert [axes.get_title() for axes in panes] == ["before", "after"]
    for axes, scores in zip(panes, (before, after), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), scores)
        assert axes.images[0].get_clim() == (-1.0, 2.0)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]


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


@given(vectors())
def test_principal_plane_keeps_what_varies_most(rows):
    """Its shares are the two largest eigenvalues of the covariance; the points have that variance, and no other."""
    points, shares = plots.principal_plane(rows)
    centered = rows - rows.mean(axis=0)
    values = np.sort(np.linalg.eigvalsh(centered.T @ centered))[::-1]
    values = np.pad(values, (0, 2))[:2]
    size = (centered**2).sum() + 1e-9
    np.testing.assert_allclose(points.T @ points, np.diag(values), atol=1e-8 * size)
    np.testing.assert_allclose(shares * (centered**2).sum(), values, atol=1e-8 * size)


def test_principal_plane_keeps_the_distances_of_a_plane():
    """Points of a plane in space keep their distances; a point alone, and points of a line, have zeros."""
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((9, 2)) @ np.linalg.qr(rng.standard_normal((5, 2)))[0].T + 3
    points, shares = plots.principal_plane(flat)
    distances = [np.linalg.norm(rows[:, None] - rows, axis=-1) for rows in (flat, points)]
    np.testing.assert_allclose(*distances, atol=1e-12)
    assert shares.sum() == pytest.approx(1)
    assert not plots.principal_plane(np.ones((1, 4)))[0].any()
    assert not plots.principal_plane(np.arange(4)[:, None])[0][:, 1].any()


def test_projection_draws_points_labels_groups_and_links():
    """A panel a set of vectors: each group its points, each link a line between two of them."""
    vectors = np.random.default_rng(0).standard_normal((4, 3))
    links = [(0, 2), (1, 3)]
    figure = plots.projection({"one": vectors, "two": -vectors}, ["p", "q", "r", "s"], ["x", "x", "y", "y"], links)
    points, shares = plots.principal_plane(vectors)
    axes = figure.axes[0]
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    np.testing.assert_allclose([line.get_xydata() for line in axes.get_lines()], points[links])
    assert [text.get_text() for text in axes.texts] == ["p", "q", "r", "s"]
    first, second = axes.collections
    np.testing.assert_allclose(first.get_offsets(), points[:2])
    np.testing.assert_allclose(second.get_offsets(), points[2:])
    assert axes.get_xlabel() == f"{shares[0]:.0%} of the variance"


def test_merge_rows_are_the_cuts_of_every_piece():
    """Sennrich's words: a row a merge, each token on its bytes, the newest with its rank; the last row is the cut."""
    corpus = " ".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    bpe = tokenizers.BPE.train([corpus], vocab_size=256 + 7)
    rows = plots.merge_rows(bpe, "lowest €")
    assert [part.token for part in rows[-1]] == bpe.encode("lowest €").tokens
    assert [part.token for part in rows[0]][:6] == list("lowest")
    assert [[part for part in row if part.rank is not None][:1] for row in rows[1:3]] == [
        [("es", 3, 5, 0)],
        [("est", 3, 6, 1)],
    ]
    for row in rows:
        assert [part.start for part in row] == [0, *(part.end for part in row[:-1])] and row[-1].end == 10
    texts = [text.get_text() for text in plots.merges(rows).axes[0].texts]
    assert texts.count("est") == len(rows) - 2 and "0" in texts
    for tokenizer, text, message in [
        (tiny_tokenizer(), "a", "expected a byte-level BPE tokenizer, got one of WordPiece"),
        (bpe, "", "1 to 120 bytes, got 0"),
        (bpe, "€" * 41, "got 123"),
    ]:
        with pytest.raises(ValueError, match=message):
            plots.merge_rows(tokenizer, text)


@pytest.mark.parametrize("dim", [2, 5])
def test_hnsw_walks_draw_what_the_search_did(dim):
    """A panel a layer, from the top: its rows, what was measured, expanded and found, the query as a star."""
    rows = np.random.default_rng(0).standard_normal((60, dim)).astype(np.float32)
    index = ann.HNSW(dim, "l2", M=3, ef_construction=20)
    index.add(rows)
    query = rows[7] + np.float32(0.01)
    walks = trace(index, query, ef=4)
    figure = plots.hnsw_walks(index, query, ef=4)
    points = np.vstack([rows, query]) if dim == 2 else plots.principal_plane(np.vstack([rows, query]))[0]
    assert len(figure.axes) == len(walks) > 1
    for axes, walk in zip(figure.axes, walks, strict=True):
        drawn = {group.get_label(): group for group in axes.collections}
        for label, own in [
            ("measured", walk.measured),
            ("expanded, in this order", walk.expanded),
            ("found", walk.found),
        ]:
            np.testing.assert_allclose(drawn[label].get_offsets(), points[own], atol=1e-6)
        np.testing.assert_allclose(drawn["query"].get_offsets(), points[-1:], atol=1e-6)
        assert [text.get_text() for text in axes.texts] == [str(n) for n in range(1, len(walk.expanded) + 1)]
    assert len(drawn["rows of the layer"].get_offsets()) == 60 and walks[-1].found[0] == 7


def test_stage_ranks_draw_each_hit_from_stage_to_stage():
    """Lines of ranks, gaps where a stage did not find the hit, the score beside each rank."""
    stages = [
        {"dense": {"rank": 2, "score": 0.5}, "fusion": {"rank": 1, "score": 0.03}},
        {"dense": {"rank": 1, "score": 0.9}, "sparse": {"rank": 1, "score": 4.0}, "fusion": {"rank": 2, "score": 0.02}},
    ]
    hits = [Hit(f"d{n}", f"text {n}", 1.0, "", (0, 6), own) for n, own in enumerate(stages)]
    axes = plots.stage_ranks(hits).axes[0]
    first, second = (line.get_ydata() for line in axes.get_lines())
    np.testing.assert_array_equal(first, [2, np.nan, 1])
    np.testing.assert_array_equal(second, [1, 1, 2])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["dense", "sparse", "fusion"]
    assert [text.get_text() for text in axes.texts] == [
        "0.500",
        "0.030",
        "text 0",
        "0.900",
        "4.000",
        "0.020",
        "text 1",
    ]


def test_training_curve_names_every_run_in_its_legend():
    """Also one whose name matplotlib would hide."""
    figure = plots.training_curve({"_first": RECORDS, "second": RECORDS})
    assert [text.get_text().strip() for text in figure.axes[0].get_legend().get_texts()] == ["_first", "second"]


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


def test_command_draws_every_kind(folder, dual, tmp_path, capsys, monkeypatch):
    """A picture of each kind, from folders of models, texts, pairs, records, a tokenizer, an index, a store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("animals\tthe cat sat\n\nanimals\ta dog\n")
    (tmp_path / "pairs.tsv").write_text("the cat\tthe dog\na dog\ta cat\na cat\tthe dog\n")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    tokenizers.BPE.train(["low lower"], vocab_size=258).save(tmp_path / "bpe.json")
    index = ann.HNSW(2, "l2")
    index.add(np.eye(2))
    index.save(tmp_path / "points.ann")
    with Store.open(tmp_path / "store", DualEncoder.load(dual)) as store:
        store.add([{"id": "a", "text": "the cat sat"}, {"id": "b", "text": "a dog"}])
    for command, said in [
        (f"similarity texts.txt --model {folder} --out s.png", "2 texts in"),
        (f"similarity pairs.tsv --model {dual} --model {dual} --out s.svg", "3 texts in"),
        (f"projection texts.txt --model {folder} --out p.svg", "2 texts in"),
        (f"projection pairs.tsv --model {dual} --out q.svg", "5 texts in"),
        (f"tokens the\\ cat a\\ dog --model {folder} --out t.svg", "tokens in"),
        (f"attention the\\ cat --model {folder} --layer 1 --out a.png", "2 heads in"),
        ("curve metrics.jsonl . --out c.svg", "4 records in"),
        ("merges lower --tokenizer bpe.json --out m.svg", "tokens in"),
        ("hnsw points.ann --query 1 0.1 --ef 2 --out h.svg", "2 rows in"),
        (f"stages the\\ cat --store store --model {dual} --hybrid --diversity 0.2 --out r.svg", "2 hits in"),
    ]:
        assert cli.main(["plot", *shlex.split(command)]) == 0, command
        assert said in capsys.readouterr().out
    assert (tmp_path / "s.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert min(struct.unpack(">II", (tmp_path / "s.png").read_bytes()[16:24])) > 300
    assert "spearman" in (tmp_path / "c.svg").read_text()
    assert all(word in (tmp_path / "r.svg").read_text() for word in ("dense", "sparse", "fusion", "diversity"))


def test_command_says_what_is_wrong(folder, tmp_path, capsys, monkeypatch):
    """One line, exit code 1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "metrics.jsonl").write_text(json.dumps(RECORDS[0]) + "\n")
    exact, hnsw = ann.Exact(2), ann.HNSW(2)
    exact.save(tmp_path / "exact.ann")
    hnsw.save(tmp_path / "hnsw.ann")
    for command, said in [
        (f"similarity empty.txt --model {folder} --out x.png", "at least one text"),
        (f"projection empty.txt --model {folder} --out x.png", "at least one text"),
        ("curve metrics.jsonl --out x.gif", "ending in .png, .svg, .pdf, got .gif"),
        ("hnsw exact.ann --query 1 0 --out x.svg", "expected an HNSW index, got Exact"),
        ("hnsw hnsw.ann --query 1 0 --out x.svg", "all live, got none"),
        (f"attention a --model {folder} --layer 9 --out x.svg", "expected a layer in 1 … 2"),
    ]:
        assert cli.main(["plot", *command.split()]) == 1
        assert said in capsys.readouterr().err
    hnsw.add(np.eye(2))
    hnsw.save(tmp_path / "hnsw.ann")
    assert cli.main("plot hnsw hnsw.ann --query 1 0 0 --out x.svg".split()) == 1
    assert not list(tmp_path.glob("x.*"))


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
        (lambda: plots.similarity_map(["a"], ["b"], {"": np.ones((2, 2))}), r"1 rows and 1 columns .*, got \(2, 2\)"),
        (lambda: plots.similarity_map(["a"], ["b"], {"": np.full((1, 1), np.nan)}), "finite numbers, got nan"),
        (lambda: plots.attention_map(["a"], np.ones((2, 2, 2))), "1 rows and 1 columns"),
        (lambda: plots.attention_map(["a"] * 100, np.ones((12, 100, 100))), "most 76 tokens .* of 12 heads, got 100"),
        (lambda: plots.projection({"": np.ones((2, 3))}, ["a"]), "a label and a group a vector, got 1 and 1, 2"),
        (lambda: plots.principal_plane(np.ones((0, 3))), r"at least one row of numbers, got shape \(0, 3\)"),
        (lambda: plots.principal_plane(np.full((2, 2), np.inf)), "finite numbers, got inf"),
        (lambda: plots.stage_ranks([]), "at least one hit"),
        (lambda: plots.training_curve({"run": []}), "step and loss, got none of run"),
        (lambda: plots.training_curve({"run": [{"loss": 1.0}]}), "step and loss, got others of run"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
