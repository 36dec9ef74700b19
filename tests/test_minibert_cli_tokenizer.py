"""`minibert tokenizer`: what it prints, plain and in colour, and how it refuses."""

import sys

import pytest

from helpers import bert_tokenizer, byte_tokenizer
from minibert.cli import main
from tokenizers import SentencePiece, Unigram
from tokenizers.charsmap import SentencePieceNormalizer
from tokenizers.explain import explain
from tokenizers.sentencepiece import SentencePieceBPE

BPE = byte_tokenizer([(b" ", b"a"), (b"b", b"b"), (b" a", b"bb")], special_tokens=["<s>"])


@pytest.fixture
def run(tmp_path, capsys):
    """Run `tokenizer encode` or `decode` on a saved tokenizer; (exit code, lines, stderr)."""

    def run(tokenizer, action, *argv, name="tokenizer.json"):
        tokenizer.save(tmp_path / name)
        code = main(["tokenizer", action, *map(str, argv), "--tokenizer", str(tmp_path / name)])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_encode_prints_ids_that_decode_takes(run):
    """One line of ids a text, and back."""
    tok = bert_tokenizer()
    code, lines, _ = run(tok, "encode", "the word", "unable")
    assert code == 0 and lines == [" ".join(map(str, tok.encode(text).ids)) for text in ("the word", "unable")]
    assert run(tok, "decode", *lines[0].split())[1] == ["the word"]
    assert run(tok, "decode", *lines[0].split(), "--keep-special")[1] == ["[CLS] the word [SEP]"]


def test_show_prints_the_merges_of_byte_pair_encoding(run):
    """Each merge with its rank, then tokens with what they are slices of."""
    _, lines, _ = run(BPE, "encode", " abb<s>", "--show", "--special")
    assert [line.split() for line in lines] == [
        ["text", "abb<s>"],
        ["normalized", "abb"],
        ["pieces", "abb"],
        ["Ġ", "·", "a", "·", "b", "·", "b"],
        ["Ġa", "·", "b", "·", "b", "Ġ", "+", "a,", "rank", "0"],
        ["Ġa", "·", "bb", "b", "+", "b,", "rank", "1"],
        ["Ġabb", "Ġa", "+", "bb,", "rank", "2"],
        ["added", "<s>", "259"],
        ["258", "Ġabb", "0:4", "abb"],
        ["259", "<s>", "4:7", "<s>"],
    ]


def test_show_prints_the_longest_matches_of_wordpiece():
    """What is left after each, and the unknown word; what cannot be seen is spelled out."""
    lines = explain(bert_tokenizer(), "Únable\x00 жé\ud800")
    assert lines[0] == "text        Únable\\x00 жé\\ud800" and "  unable → un   left: able" in lines
    assert any("→ [UNK]" in line for line in lines) and any("##able → ##able" in line for line in lines)


def test_show_prints_the_lattice_of_unigram_with_its_best_path(run):
    """Every candidate, those of the best path starred; and the n best cuts and draws of it."""
    model = Unigram(["<unk>", "▁", "a", "b", "ab", "▁ab"], [0, -2, -2, -2, -3, -5.5])
    tok = SentencePiece(model, SentencePieceNormalizer())
    _, lines, _ = run(tok, "encode", "ab", "--show", name="x.model")
    stars = [line.split()[1:] for line in lines if line.strip().startswith("*")]
    assert stars == [["0:1", "-2.000", "▁"], ["1:3", "-3.000", "ab"]]
    _, lines, _ = run(tok, "encode", "ab", "--n-best", 3, name="x.model")
    assert [line.split() for line in lines] == [["-5.000", "▁", "ab"], ["-5.500", "▁ab"], ["-6.000", "▁", "a", "b"]]
    _, lines, _ = run(tok, "encode", "ab", "--sample", 20, "--alpha", 0, name="x.model")
    assert set(lines) == {"▁ ab", "▁ a b", "▁ab"}


def test_show_prints_the_joins_of_sentencepieces_bpe():
    """By score; a long text is cut short."""
    tok = SentencePiece(
        SentencePieceBPE(["<unk>", "▁", "a", "b", "ab", "▁ab"], [0, -1, -2, -3, -4, -5]), SentencePieceNormalizer()
    )
    lines = explain(tok, "ab")
    assert lines[3:6] == ["  ▁ · a · b", "  ▁ · ab   a + b, score -4", "  ▁ab   ▁ + ab, score -5"]
    assert len(explain(BPE, "b" * 500)) < 500


def test_colours_on_a_terminal_only(run, monkeypatch):
    """Escapes where stdout is a terminal, none with NO_COLOR."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert any("\x1b[" in line for line in run(BPE, "encode", " a", "--show")[1])
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b[" in line for line in run(BPE, "encode", " a", "--show")[1])


def test_sampling_is_seeded(run):
    """The same seed, the same draws; dropout 0 is no draw."""
    sample = ["encode", " abb abb abb", "--sample", 8, "--dropout", 0.5]
    first = run(BPE, *sample)[1]
    assert first == run(BPE, *sample)[1] != run(BPE, *sample, "--seed", 1)[1] and len(set(first)) > 1
    assert set(run(BPE, *sample[:-1], 0)[1]) == {"Ġabb Ġabb Ġabb"}


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["decode", 999], "ids[0]: expected 0 … 259, got 999"),
        (["encode", "a", "--n-best", 2], "--n-best needs a Unigram model"),
        (["encode", "a", "--sample", 2, "--dropout", 2], "dropout: expected 0 … 1, got 2.0"),
    ],
)
def test_mistakes_end_in_one_line(run, argv, reason):
    """Exit code 1 and the reason."""
    code, _, err = run(BPE, *argv)
    assert code == 1 and err == f"minibert: error: {reason}\n"


@pytest.mark.parametrize("model", ["bpe", "wordpiece", "wordlevel"])
def test_tokenizer_train_writes_a_tokenizer_of_the_size_asked_for(model, tmp_path, capsys):
    """From the lines of files; twice, the same file; SentencePiece's kinds end in .model."""
    (tmp_path / "a").write_text("the cat sat\n" * 5 + "on the mat", encoding="utf-8")
    (tmp_path / "b").write_text("a dog and a log\n" * 5, encoding="utf-8")
    written = []
    for name in ("x.json", "y.json"):
        argv = ["tokenizer", "train", tmp_path / "a", tmp_path / "b", "--model", model, "--out", tmp_path / name]
        assert main([*map(str, argv), "--vocab-size", "262"]) == 0
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1] and "tokens, saved" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["tokenizer", "train", str(tmp_path / "a"), "--model", "unigram", "--out", str(tmp_path / "x.json")])
    assert "SentencePiece's files end in .model" in capsys.readouterr().err
