"""SentencePiece's two models and normalizer: the plain forms against naive ones, and the laws of the pipeline."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import assert_batch_equals_plain
from oracles import bpe as bpe_oracle
from oracles import unigram as unigram_oracle
from strategies import unicode_texts
from tokenizers import SentencePiece, Unigram
from tokenizers.charsmap import SentencePieceNormalizer
from tokenizers.charsmap_rules import compile_rules
from tokenizers.pieces import BYTE, BYTE_PIECES, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from tokenizers.sentencepiece import SentencePieceBPE

IDENTITY = SentencePieceNormalizer(remove_extra_whitespaces=False)
RULES = {"ﬁ": "fi", "①": "1", "a\u0301": "á", "\t": " ", "\u200b": " ", "\x01": "", "…": "...", "㍿": "株式会社"}
REWRITING = compile_rules(RULES)


@st.composite
def scored_pieces(draw, letters="abc", max_size=12):
    """{piece: score}: strings over a few letters, not always all letters, scores all different and exact in float32."""
    pieces = draw(st.lists(st.text(letters, min_size=1, max_size=4), unique=True, max_size=max_size))
    scores = draw(st.permutations(range(1, len(pieces) + 1)))
    return {piece: -score / 8 - 2**-10 * score**2 for piece, score in zip(pieces, scores, strict=True)}


def model_of(kind, scores, more=(), byte_fallback=False):
    """Model of {piece: score}, and of further (piece, score, kind)."""
    rows = [("<unk>", 0.0, UNKNOWN), *((piece, score, NORMAL) for piece, score in scores.items()), *more]
    rows += [(piece, 0.0, BYTE) for piece in BYTE_PIECES] if byte_fallback else []
    return kind(*zip(*rows, strict=True), byte_fallback=byte_fallback)


def spelled(model, text):
    return [text[start:end] for _, start, end in model.match(text)]


def joined_unknown(pieces, scores):
    """Neighbouring characters that are no pieces as one."""
    out, unknown = [], False
    for piece in pieces:
        if piece not in scores and unknown:
            out[-1] += piece
        else:
            out.append(piece)
        unknown = piece not in scores
    return out


@given(scored_pieces(), st.text("abcd", max_size=9), st.sampled_from(["sentencepiece", "hf"]))
def test_unigram_finds_the_most_probable_cut(scores, text, compat):
    """Of all cuts, with a score that no other beats."""
    if not scores:
        return
    rows = [("<unk>", min(scores.values())), *scores.items()]  # Hugging Face's minimum counts every row
    model = Unigram(*zip(*rows, strict=True), compat=compat)
    ranked = sorted(unigram_oracle.cuts(text, scores), key=lambda cut: -cut[0])
    best = [joined_unknown(pieces, scores) for score, pieces in ranked if score >= ranked[0][0] - 1e-4]
    assert spelled(model, text) in best


@given(scored_pieces(), st.text("abcd", max_size=8), st.integers(1, 12))
def test_unigram_nbest_are_the_most_probable_cuts(scores, text, n):
    """The n best scores, in order, no cut twice."""
    model = model_of(Unigram, scores)
    ranked = sorted((score for score, _ in unigram_oracle.cuts(text, scores)), reverse=True)
    found = model.nbest(text, n)
    assert np.allclose([score for score, _ in found], ranked[:n], rtol=1e-5)
    assert len({tuple(parts) for _, parts in found}) == len(found)


def test_unigram_samples_follow_the_probabilities():
    """20,000 cuts at two temperatures, each within 4 standard deviations of its probability; same seed, same cuts."""
    scores = {"a": -2.0, "b": -2.5, "ab": -3.0, "aba": -4.0, "ba": -3.5}
    model, text = model_of(Unigram, scores), "ababa"
    for alpha in (0.3, 1.0):
        rng, n = np.random.default_rng(1), 20_000
        counts = Counter(tuple(text[a:b] for _, a, b in model.sample(text, alpha, rng)) for _ in range(n))
        expected = unigram_oracle.probabilities(text, scores, alpha)
        assert set(counts) <= set(expected)
        for cut, p in expected.items():
            assert abs(counts[cut] - n * p) < 4 * math.sqrt(n * p * (1 - p)) + 1
    draws = [model.sample(text * 9, 0.5, np.random.default_rng(7)) for _ in range(2)]
    assert draws[0] == draws[1]
    assert model.sample(text, 1000.0, np.random.default_rng(0)) == model.match(text)


@given(scored_pieces(), st.text("abcd", max_size=14))
def test_sentencepiece_bpe_joins_the_highest_score_first(scores, text):
    """Equal to joining one pair at a time, all looked at anew."""
    model = model_of(SentencePieceBPE, scores)
    parts = bpe_oracle.encode(text, lambda a, b: -scores[a + b] if a + b in scores else None)
    assert spelled(model, text) == joined_unknown(parts, scores)


def test_sentencepiece_bpe_takes_unused_pieces_apart():
    """Into the two that they were made of, down to pieces in use, or unknown characters."""
    unused = [("abc", -0.5, UNUSED), ("ab", -1.0, UNUSED)]
    model = model_of(SentencePieceBPE, {"a": -9.0, "c": -8.0, "abcd": -3.0}, unused)
    assert spelled(model, "abc") == ["a", "b", "c"] and spelled(model, "abcd") == ["abcd"]


def test_user_defined_pieces_are_never_cut_and_control_pieces_never_found():
    """The longest at each place, untouched by normalization; control pieces are letters."""
    more = [("<s>", 0.0, CONTROL), ("ﬁ", 0.0, USER_DEFINED), ("ab", 0.0, USER_DEFINED), ("abab", 0.0, USER_DEFINED)]
    for kind in (Unigram, SentencePieceBPE):
        model = model_of(kind, {"▁": -1.0, "a": -2.0, "b": -2.0, "<": -3.0, "s": -3.0, ">": -3.0, "aba": -0.1}, more)
        normalizer = SentencePieceNormalizer(REWRITING, user_defined=tuple(model.of_kind(USER_DEFINED)))
        tok = SentencePiece(model, normalizer)
        assert tok.encode("ababﬁab").tokens == ["▁", "abab", "ﬁ", "ab"]
        assert tok.encode("<s>").tokens == ["▁", "<", "s", ">"]
        assert tok.encode("a<s>", allowed_special="all").tokens == ["▁", "a", "<s>"]


@given(unicode_texts(), st.booleans(), st.booleans(), st.booleans())
@example("  a  ﬁ\t…  ", True, True, False)
def test_normalizer_follows_its_rules(text, dummy, collapse, suffix):
    """Longest rule first, then blanks: the same in three lines over strings; sources in order and inside the text."""
    normalizer = SentencePieceNormalizer(REWRITING, dummy, collapse, whitespace_as_suffix=suffix)
    normal = normalizer.normalize(text)
    out = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text).replace("a\u0301", "á")
    out = "".join(RULES.get(c, c) for c in out)
    blank_only = not text or (collapse and not "".join(RULES.get(c, c) or "\x01" for c in text).strip(" "))
    if collapse:
        out = " ".join(part for part in out.split(" ") if part)
    out = out.replace(" ", "▁")
    if not suffix and dummy and not blank_only:
        out = "▁" + out
    if collapse:
        out = out.rstrip("▁")
    if suffix and dummy and not blank_only:
        out += "▁"
    assert normal.text == out
    assert list(normal.starts) == sorted(normal.starts) and list(normal.ends) == sorted(normal.ends)
    assert all(0 <= a <= b <= len(text) for a, b in zip(normal.starts, normal.ends, strict=True))
    for c, a, b in zip(normal.text, normal.starts, normal.ends, strict=True):
        assert a == b or c in RULES.get(text[a:b], text[a:b]).replace(" ", "▁") or "\ud800" <= text[a] <= "\udfff"


@pytest.mark.parametrize("kind", [Unigram, SentencePieceBPE])
@given(text=unicode_texts())
def test_byte_fallback_gives_every_text_back(kind, text):
    """decode(encode(text)) is the text, where blanks are kept and nothing is rewritten."""
    tok = SentencePiece(model_of(kind, {"▁": -2.0, "e": -3.0, "▁the": -4.0, "th": -5.0}, byte_fallback=True), IDENTITY)
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff" and c != "▁")
    assert tok.decode(tok.encode(text).ids) == text


@given(unicode_texts())
def test_text_comes_back_under_the_rule_of_blanks(text):
    """Known text loses its blanks at the ends, and runs of them become one."""
    scores = {c: -2.0 for c in "▁abcdefghijklmnopqrstuvwxyz.,'"}
    tok = SentencePiece(model_of(Unigram, scores), SentencePieceNormalizer())
    text = "".join(c for c in text if c in scores or c == " ").replace("▁", "")
    assert tok.decode(tok.encode(text).ids) == " ".join(text.split())


@pytest.mark.parametrize("kind", [Unigram, SentencePieceBPE])
@given(text=unicode_texts())
def test_offsets_cover_the_text(kind, text):
    """Tokens stand in order; what lies between two is blank or dropped; words are numbered in order."""
    scores = {"▁": -1.0, "f": -2.0, "i": -2.5, "fi": -3.0, "▁the": -4.0, "1": -3.0, ".": -2.0, "..": -5.0}
    for fallback in (False, True):
        tok = SentencePiece(model_of(kind, scores, byte_fallback=fallback), SentencePieceNormalizer(REWRITING))
        at = word = 0
        for _, start, end, number in tok.segment(text):
            assert all(RULES.get(c, c) in (" ", "") for c in text[at:start])
            assert start <= end <= len(text) and number in (word, word + 1)
            at, word = max(at, end), number


def test_decoding_broken_bytes_and_unknown_pieces():
    """Each byte that is no character is U+FFFD; the unknown is a mark of its own; ids out of range are refused."""
    model = model_of(Unigram, {"▁": -2.0, "a": -3.0}, [("<s>", 0.0, CONTROL)], byte_fallback=True)
    tok = SentencePiece(model, IDENTITY)
    byte = [tok.token_to_id(piece) for piece in BYTE_PIECES]
    assert tok.decode([byte[0xE4], byte[0xB8], byte[0x41], byte[0xE4], byte[0xB8], byte[0xAD]]) == "\ufffd\ufffdA中"
    assert tok.decode([1, 0, 2]) == " ⁇ a"
    assert tok.decode([3, 2]) == "a" and tok.decode([3, 2], skip_special_tokens=False) == "<s>a"
    for bad in (-1, tok.vocab_size):
        with pytest.raises(ValueError, match=r"ids\[1\]"):
            tok.decode([2, bad])
    assert len(tok.decode([byte[0xFF]] * 300_000)) == 300_000


SOME = {
    "▁": -2.0,
    "a": -3.0,
    "b": -3.25,
    "▁a": -2.5,
    "ab": -4.0,
    "▁▁": -5.0,
    "1": -4.5,
    "fi": -3.5,
    "i": -6.0,
    "f": -6.5,
}
CROSSING = {"a▁": -1.0, "a▁b": -1.5}  # words cannot be looked at alone
KINDS = st.sampled_from([Unigram, SentencePieceBPE])


@pytest.mark.kernels
@given(KINDS, scored_pieces("ab▁"), st.lists(st.text("abc ▁", max_size=12), max_size=4), *[st.booleans()] * 5)
def test_sentencepiece_kernel_equals_the_plain_form(kind, scores, texts, fallback, dummy, collapse, suffix, escape):
    """Ids, offsets and words for any pieces and options, twice, so that cuts are remembered."""
    normalizer = SentencePieceNormalizer(b"", dummy, collapse, escape, suffix)
    assert_batch_equals_plain(SentencePiece(model_of(kind, scores, byte_fallback=fallback), normalizer), texts)


@pytest.mark.kernels
@given(KINDS, st.lists(unicode_texts(), max_size=3), *[st.booleans()] * 4)
def test_sentencepiece_kernel_equals_the_plain_form_on_unicode(kind, texts, fallback, collapse, crossing, kept):
    """A character map, user-defined pieces, pieces across blanks, lone surrogates."""
    more = [("ﬁ", 0.0, USER_DEFINED), ("b b", 0.0, USER_DEFINED), ("b▁b", 0.0, USER_DEFINED)] if kept else []
    model = model_of(kind, {**SOME, **(CROSSING if crossing else {})}, more, fallback)
    user_defined = tuple(model.of_kind(USER_DEFINED))
    normalizer = SentencePieceNormalizer(REWRITING, True, collapse, user_defined=user_defined)
    texts += ["a b b ﬁ b\ufb01b  ab", " ".join(texts)]
    assert_batch_equals_plain(SentencePiece(model, normalizer), texts)


@pytest.mark.kernels
@pytest.mark.parametrize("kind", [Unigram, SentencePieceBPE])
def test_sentencepiece_kernel_forgets_and_grows(kind, monkeypatch):
    """Caches of two records; texts that become longer than the room for them; several threads, the same ids."""
    for name, value in {"SHORT_RECORDS": 2, "LONG_RECORDS": 2, "BLOCK": 50}.items():
        monkeypatch.setattr(f"tokenizers.engine.{name}", value)
    long_map = compile_rules({"…": "ab" * 40, "\x01": ""})
    tok = SentencePiece(model_of(kind, SOME, byte_fallback=True), SentencePieceNormalizer(long_map))
    texts = ["a ab …… 中中", "", "ab ab  a\x01 \x01", "x" * 60 + " " + "ab" * 40, "…"] * 3
    assert_batch_equals_plain(tok, texts)
    assert (tok.encode_batch(texts, threads=3).ids == tok.encode_batch(texts).ids).all()


@pytest.mark.kernels
def test_unigram_kernel_keeps_ties_of_rounded_sums():
    """Cuts that tie but for rounding, after sums of every size, beyond the one where they begin anew."""
    scores = {"▁": -0.1, "b": -7.3, "bb": -14.6, "bbb": -21.9, "c": -99.7, "▁c": -99.9}
    tok = SentencePiece(model_of(Unigram, scores), SentencePieceNormalizer())
    text = " ".join("b" * (3 + i % 5) + " c" * (i % 4) for i in range(900))
    assert sum(scores["c"] for c in text if c == "c") < -100_000
    assert_batch_equals_plain(tok, [text, text[::-1]])


BAD_PIECES = {
    "twice": ((["<unk>", "a", "a"], [0, 0, 0]), "there twice"),
    "empty": ((["<unk>", ""], [0, 0]), "not empty"),
    "not finite": ((["<unk>", "a"], [0, math.nan]), "finite"),
    "surrogate": ((["<unk>", "\ud800"], [0, 0]), "surrogates"),
    "no unknown": ((["a"], [0], [NORMAL]), "one unknown"),
    "two unknown": ((["a", "b"], [0, 0], [UNKNOWN, UNKNOWN]), "one unknown"),
    "kind": ((["a", "b"], [0, 0], [UNKNOWN, 9]), "kind"),
    "byte": ((["a", "<0x00>"], [0, 0], [UNKNOWN, BYTE]), "byte"),
    "lengths": ((["a", "b"], [0]), "2 pieces, 1 scores"),
}


@pytest.mark.parametrize("case", BAD_PIECES)
def test_bad_pieces_are_refused(case):
    arguments, reason = BAD_PIECES[case]
    with pytest.raises(ValueError, match=reason):
        Unigram(*arguments)
    with pytest.raises(ValueError, match=reason):
        SentencePieceBPE(*arguments)


def test_bad_arguments_are_refused():
    """Each names what it got."""
    tok = SentencePiece(model_of(Unigram, {"a": -1.0}), IDENTITY)
    with pytest.raises(ValueError, match="got 0"):
        tok.nbest("a", 0)
    with pytest.raises(ValueError, match="got -1"):
        tok.sample("a", -1, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="NoneType"):
        tok.nbest(None, 1)
    with pytest.raises(ValueError, match="Unigram"):
        SentencePiece(model_of(SentencePieceBPE, {"a": -1.0}), IDENTITY).nbest("a", 2)
    with pytest.raises(ValueError, match="compat"):
        Unigram(["<unk>"], [0.0], compat="other")
    with pytest.raises(ValueError, match="256"):
        Unigram(["<unk>"], [0.0], byte_fallback=True)
