"""Normalizers, pre-tokenizers, decoders and added tokens: laws of offsets, worked examples, refusals."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import assert_batch_equals_plain, bert_tokenizer, byte_tokenizer
from strategies import unicode_texts
from tokenizers import AddedToken, BertNormalizer, Tokenizer, WordLevel
from tokenizers import decoders as dec
from tokenizers import normalizers as nor
from tokenizers import pretokenizers as pre
from tokenizers.added_tokens import AddedTokens
from tokenizers.normalize import Identity, replace_surrogates, unchanged
from tokenizers.patterns import Pattern, compiled
from tokenizers.pretokenize import PatternPreTokenizer
from tokenizers.template import Template

FORMS = [nor.NFC(), nor.NFD(), nor.NFKC(), nor.NFKD()]
CHAINS = [
    *FORMS,
    nor.Lowercase(),
    nor.StripAccents(),
    nor.Strip(),
    nor.Replace(Pattern(regex=r"\s+"), " "),
    nor.Sequence((nor.NFD(), nor.StripAccents(), nor.Lowercase())),
    nor.Sequence((nor.Replace(Pattern(literal="a"), "xyz"), nor.NFKC(), nor.Prepend("▁"))),
]
CUTTERS = [
    pre.Whitespace(),
    pre.Punctuation("MergedWithPrevious"),
    pre.Metaspace(),
    pre.Metaspace(prepend_scheme="first", split=False),
    pre.Sequence((pre.WhitespaceSplit(), pre.Digits(True), pre.Punctuation())),
    pre.ByteLevel(),
    PatternPreTokenizer("cl100k"),
    PatternPreTokenizer(add_prefix_space=True),
]
# Code points whose normal forms no Unicode version has changed for long
SETTLED = st.characters(min_codepoint=0x20, max_codepoint=0x52F) | st.sampled_from("각힣ᄀ\u1161\u11a8ﬁ①Å…㍿\u3099か")


@given(st.text(SETTLED, max_size=20), st.sampled_from(FORMS))
def test_normal_forms_equal_pythons(text, normalizer):
    """NFC, NFD, NFKC and NFKD of settled code points are those of unicodedata."""
    assert normalizer.normalize(text).text == unicodedata.normalize(type(normalizer).__name__, text)


@given(unicode_texts(), st.sampled_from(CHAINS))
def test_sources_are_in_order_and_in_range(text, normalizer):
    """Each character has a slice that is not empty, and neither starts nor ends ever go back."""
    normal = normalizer.normalize(text)
    spans = list(zip(normal.starts, normal.ends, strict=True))
    assert len(spans) == len(normal.text) and all(0 <= a < b <= len(text) for a, b in spans)
    assert list(normal.starts) == sorted(normal.starts) and list(normal.ends) == sorted(normal.ends)


@given(unicode_texts(max_size=15), st.sampled_from([*FORMS, nor.Lowercase(), CHAINS[8]]), st.data())
def test_a_slice_of_the_source_gives_what_came_from_it(text, normalizer, data):
    """Any stretch of the normalized text is found again in its slice of the source, normalized by itself."""
    text = replace_surrogates(text)
    normal = normalizer.normalize(text)
    start = data.draw(st.integers(0, len(normal.text)))
    end = data.draw(st.integers(start, len(normal.text)))
    if start < end:
        source = text[normal.starts[start] : normal.ends[end - 1]]
        assert normal.text[start:end] in normalizer.normalize(source).text


@pytest.mark.parametrize(
    ("normalizer", "text", "expected", "spans"),
    [
        (nor.NFKC(), "cafe\u0301", "café", [(0, 1), (1, 2), (2, 3), (3, 5)]),
        (nor.NFD(), "é", "e\u0301", [(0, 1), (0, 1)]),
        (nor.NFKD(), "xﬁ", "xfi", [(0, 1), (1, 2), (1, 2)]),
        (nor.NFC(), "\u1100\u1161\u11a8", "각", [(0, 3)]),
        (nor.NFC(), "a\u0316\u0301", "á\u0316", [(0, 3), (1, 3)]),  # the accent passes the mark below
        (nor.NFD(), "a\u0301\u0316", "a\u0316\u0301", [(0, 1), (1, 3), (1, 3)]),
        (nor.Lowercase(), "İa", "i\u0307a", [(0, 1), (0, 1), (1, 2)]),
        (nor.Strip(), " \u3000a b ", "a b", [(2, 3), (3, 4), (4, 5)]),
        (nor.Replace(Pattern(regex=r"\s+"), "_"), "a \n b", "a_b", [(0, 1), (1, 4), (4, 5)]),
        (nor.Replace(Pattern(literal="."), ""), "a.b", "ab", [(0, 1), (2, 3)]),
        (nor.Prepend("▁"), "ab", "▁ab", [(0, 1), (0, 1), (1, 2)]),
        (nor.Prepend("▁"), "", "", []),
        (nor.NFC(), "\ud800a", "\ufffda", [(0, 1), (1, 2)]),
    ],
)
def test_normalizers_worked_examples(normalizer, text, expected, spans):
    """What comes out, and the slice that each character came from."""
    normal = normalizer.normalize(text)
    assert (normal.text, list(zip(normal.starts, normal.ends, strict=True))) == (expected, spans)


@given(unicode_texts(), st.sampled_from(CUTTERS), st.sampled_from([Identity(), nor.NFKC(), BertNormalizer()]))
def test_pieces_are_in_order_and_say_where_they_come_from(text, cutter, normalizer):
    """Pieces together hold the normalized text's own characters, in order, at their own places."""
    normal = normalizer.normalize(text)
    pieces = [piece for piece in cutter.pieces(normal) if piece.text]
    starts = [start for piece in pieces for start in piece.starts]
    assert starts == sorted(starts)
    if hasattr(cutter, "words") and callable(getattr(cutter, "split", None)) and normal.text.startswith(" "):
        assert cutter.words(normal.text) == [piece.text for piece in cutter.pieces(normal)]


@pytest.mark.parametrize(
    ("cutter", "text", "expected"),
    [
        (pre.Whitespace(), "it's 3½ — ok", ["it", "'", "s", "3", "½", "—", "ok"]),
        (pre.WhitespaceSplit(), " it's\u3000ok ", ["it's", "ok"]),
        (pre.Punctuation("Removed"), "a,b!", ["a", "b"]),
        (pre.Punctuation("MergedWithNext"), "a,,b!", ["a", ",", ",b", "!"]),
        (pre.Punctuation("Contiguous"), "a,,b", ["a", ",,", "b"]),
        (pre.Digits(), "a12½", ["a", "12½"]),
        (pre.Digits(True), "a12", ["a", "1", "2"]),
        (pre.CharDelimiterSplit("-"), "a-b--c", ["a", "b", "c"]),
        (pre.Split(Pattern(regex=r"\d+"), "Removed", True), "a12b3", ["12", "3"]),
        (pre.Metaspace(), "a  b", ["▁a", "▁", "▁b"]),
        (pre.Metaspace(prepend_scheme="never"), "a b", ["a", "▁b"]),
        (pre.Metaspace(split=False), "a b", ["▁a▁b"]),
        (pre.ByteLevel(), "é b", ["ĠÃ©", "Ġb"]),
        (pre.ByteLevel(False, True, False), "a b", ["aĠb"]),
        (pre.Sequence(()), "a b", ["a b"]),
    ],
)
def test_pre_tokenizers_worked_examples(cutter, text, expected):
    """The pieces."""
    assert [piece.text for piece in cutter.pieces(unchanged(text))] == expected


@pytest.mark.parametrize(
    ("decoder", "tokens", "expected"),
    [
        (dec.Spaced(), ["a", "b"], "a b"),
        (dec.WordPiece(), ["it", "##s", "'", "s", "."], "its ' s."),
        (dec.WordPiece(cleanup=False), ["a", "."], "a ."),
        (dec.Metaspace(), ["▁a▁", "▁b"], "a b"),
        (dec.Metaspace(prepend_scheme="never"), ["▁a", "▁b"], " a b"),
        (dec.BPEDecoder(), ["a", "b</w>", "c</w>"], "ab c"),
        (dec.ByteFallback(), ["a", "<0xC3>", "<0xA9>", "<0xC3>", "b"], "a\ufffd\ufffd\ufffdb"),
        (dec.ByteFallback(), ["<0xC3>", "<0xA9>", "b"], "éb"),
        (dec.Sequence((dec.Fuse(), dec.Strip(" ", 1, 0))), [" a", " b"], "a b"),
        (dec.Strip(" ", 1, 1), ["  a ", "   "], " a "),
        (dec.Replace(Pattern(literal="▁"), " "), ["▁a"], " a"),
        (dec.CTC(), ["<pad>", "a", "a", "<pad>", "a", "|", "b"], "aa b"),
        (dec.ByteLevel(), ["Ã", "©", "Ã"], "é\ufffd"),
    ],
)
def test_decoders_worked_examples(decoder, tokens, expected):
    """The text."""
    assert decoder.decode(tokens) == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "not supported"),
        (r"\p{Han}", "uses .*Han}"),
        (r"\h", "uses"),
        ("[a[b]]", "a class inside a class"),
        ("a{1,2}+", "an interval"),
    ],
)
def test_patterns_that_cannot_be_followed_are_refused(pattern, reason):
    """By what they use."""
    with pytest.raises(ValueError, match="pattern .*" + reason.replace("{", r"\{")):
        compiled(pattern)


# Added tokens

TOKENS = [
    AddedToken("<s>", 10, lstrip=True),
    AddedToken("ab", 11, special=False, single_word=True),
    AddedToken("abc", 12, special=False),
    AddedToken("É", 13, special=False, normalized=True),
    AddedToken(" x", 14, special=False, rstrip=True),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abcab ab", [("abc", 12), ("ab ", None), ("ab", 11)]),
        ("a \n<s> b", [("a", None), (" \n<s>", 10), (" b", None)]),
        ("<s> <s>", [("<s>", 10), (" <s>", 10)]),
        ("aÉé", [("a", None), ("é", 13), ("é", 13)]),
        ("a x  x", [("a", None), (" x  ", 14), ("x", None)]),
        ("", []),
    ],
)
def test_added_tokens_are_found_as_their_flags_say(text, expected):
    """The longest of the leftmost; alone as a word; with blanks; in the normalized text."""
    added = AddedTokens(TOKENS, nor.Lowercase())
    parts = [(part.normal.text, part.token and part.token.id) for part in added.split(text)]
    assert parts == expected
    assert added.occur_in(text) == any(i is not None for _, i in parts)
    places = [place for part in added.split(text) for place in part.normal.starts]
    assert places == list(range(len(text)))


def with_added(*tokens):
    """A word-level tokenizer of "a" and "b" with added tokens."""
    model = WordLevel({"[UNK]": 0, "a": 1, "b": 2})
    specials = {token.content: token.id for token in tokens if token.special}
    parts = model, nor.Lowercase(), pre.Whitespace(), Template(), dec.Spaced(), specials
    return Tokenizer(*parts, added_tokens=list(tokens))


def test_added_words_are_honoured_and_control_tokens_only_where_allowed():
    """A word that was added is always a token; decoding leaves out control tokens alone."""
    tok = with_added(AddedToken("[X]", 3), AddedToken("Ab", 4, special=False))
    ids = tok.encode("A Ab[X] b", allowed_special="all").ids
    assert ids == [1, 4, 3, 2] and tok.decode(ids) == "a Ab b" and tok.vocab_size == 5
    assert tok.encode("a[X]").ids == [1, 0, 0, 0] and tok.token_to_id("Ab") == 4
    with pytest.raises(ValueError, match=r"texts\[1\] holds '\[X\]', which disallowed_special refuses"):
        tok.encode_batch(["a", "b [X]"], disallowed_special="all")
    assert tok.encode("[X]", allowed_special={"[X]"}, disallowed_special="all").ids == [3]
    with pytest.raises(ValueError, match="id 1 is that of 'a' and of"):
        with_added(AddedToken("[X]", 1))


@given(st.lists(st.lists(unicode_texts(max_size=6), max_size=4), max_size=4))
def test_words_as_input_are_encoded_one_by_one(rows):
    """The tokens of a list of words are those of its words; word_ids are places in the list."""
    tok = bert_tokenizer()
    batch = tok.encode_batch(rows, is_split_into_words=True, add_special_tokens=False)
    for b, words in enumerate(rows):
        singles = [tok.encode(word, add_special_tokens=False) for word in words]
        row = batch.encoding(b)
        assert row.ids == [i for single in singles for i in single.ids]
        assert row.offsets == [span for single in singles for span in single.offsets]
        assert row.word_ids == [w for w, single in enumerate(singles) for _ in single.ids]


@pytest.mark.parametrize("lowercase", [True, False])
def test_models_take_normalized_text_whatever_normalizes_it(lowercase):
    """A word-level and a byte-level model behind BERT's normalizer see what it leaves, and offsets lead back."""
    normalizer, texts = BertNormalizer(lowercase=lowercase), ["Héllo  a", "a\x00\u4e2d", ""]
    words = WordLevel.train(["hello a"], lowercase=lowercase)
    byte_level = byte_tokenizer([(b"a", b"b")])
    pieces = Tokenizer(
        byte_level.model, normalizer, byte_level.pretokenizer, byte_level.template, byte_level.decoder, {}
    )
    for tok in (words, pieces):
        assert_batch_equals_plain(tok, texts)
    assert words.encode("Héllo a").tokens == ["hello" if lowercase else "[UNK]", "a"]
