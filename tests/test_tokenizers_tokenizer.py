"""The whole pipeline: golden examples, laws, bad input."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import bert_tokenizer, run_python
from strategies import unicode_texts
from tokenizers import BPE, BertNormalizer, Tokenizer, WordLevel, WordPiece

TOK = bert_tokenizer()
GOLDEN = bert_tokenizer(
    [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"tokenization is fun un ##aff ##able ##s ##ization ! ' , 中".split(),
    ]
)


def test_tokenizer_golden_encoding():
    """Every field of one pair, worked out by hand."""
    encoding = GOLDEN.encode("Tokenization is\tFÚN!", "unaffable 中")
    assert encoding.tokens == [
        "[CLS]",
        "tokenization",
        "is",
        "fun",
        "!",
        "[SEP]",
        "un",
        "##aff",
        "##able",
        "中",
        "[SEP]",
    ]
    assert encoding.ids == [2, 5, 6, 7, 13, 3, 8, 9, 10, 16, 3]
    assert encoding.offsets == [
        (0, 0),
        (0, 12),
        (13, 15),
        (16, 19),
        (19, 20),
        (0, 0),
        (0, 2),
        (2, 5),
        (5, 9),
        (10, 11),
        (0, 0),
    ]
    assert encoding.type_ids == [0] * 6 + [1] * 5
    assert encoding.word_ids == [None, 0, 1, 2, 3, None, 0, 0, 0, 1, None]
    assert encoding.special_tokens_mask == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert encoding.attention_mask == [1] * 11 and len(encoding) == 11


@pytest.mark.parametrize(
    ("text", "tokens", "offsets"),
    [
        ("", [], []),
        (" \n\u3000", [], []),
        ("\x00\u200b", [], []),
        ("dog", ["[UNK]"], [(0, 3)]),
        ("unxs", ["[UNK]"], [(0, 4)]),
        ("f\u0301u\x00n", ["fun"], [(0, 5)]),
        ("isx is", ["[UNK]", "is"], [(0, 3), (4, 6)]),
        ("un" + "s" * 98, ["un", *["##s"] * 98], [(0, 2), *((i, i + 1) for i in range(2, 100))]),
        ("un" + "s" * 99, ["[UNK]"], [(0, 101)]),
        ("\ud800is", ["is"], [(1, 3)]),
        ("中中", ["中", "中"], [(0, 1), (1, 2)]),
    ],
)
def test_tokenizer_golden_words(text, tokens, offsets):
    """Empty, blank and invisible texts, unknown words, dropped characters, 100 and 101 letters, a lone surrogate."""
    encoding = GOLDEN.encode(text, add_special_tokens=False)
    assert (encoding.tokens, encoding.offsets) == (tokens, offsets)


@pytest.mark.kernels
@given(st.lists(unicode_texts(), max_size=5))
def test_encode_batch_equals_encode(texts):
    """A text's row does not depend on its neighbours."""
    batch = TOK.encode_batch(texts)
    assert len(batch) == len(texts) and batch.starts[-1] == len(batch.ids)
    for b, text in enumerate(texts):
        single, row = TOK.encode(text), batch.row(b)
        assert single.ids == row["ids"].tolist()
        assert single.offsets == [tuple(o) for o in row["offsets"].tolist()]
        assert [-1 if w is None else w for w in single.word_ids] == row["word_ids"].tolist()
        assert single.special_tokens_mask == row["special_tokens_mask"].tolist()


@given(unicode_texts())
def test_offsets_slice_the_source(text):
    """The slice at each token, normalized by itself, is the token; slices are in order and do not overlap."""
    encoding = TOK.encode(text, add_special_tokens=False)
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        clean = BertNormalizer().normalize(text[start:end]).text.strip()
        # several tokens may come from one character (각 gives jamo, ≠ gives =), which then is the slice of each
        assert token == "[UNK]" or token.removeprefix("##") in clean or token.removeprefix("##") == clean
    starts = [start for start, _ in encoding.offsets]
    assert starts == sorted(starts) and all(a < b <= len(text) for a, b in encoding.offsets)


@given(unicode_texts())
def test_word_ids_count_up_and_join_words(text):
    """Word numbers start at 0, go up by at most one, and tokens that continue share their word's number."""
    encoding = TOK.encode(text, add_special_tokens=False)
    assert all(b - a in (0, 1) for a, b in zip([-1, *encoding.word_ids], encoding.word_ids, strict=False))
    for token, before, word in zip(encoding.tokens[1:], encoding.word_ids, encoding.word_ids[1:], strict=False):
        assert token.startswith("##") == (before == word)


@given(st.lists(st.sampled_from(["the", "word", "un", "unable", "a"]), min_size=1, max_size=8))
def test_decode_inverts_encode_on_known_words(words):
    """Lower-case words between single blanks come back."""
    assert TOK.decode(TOK.encode(" ".join(words)).ids) == " ".join(words)


@given(unicode_texts())
def test_encode_inverts_decode(text):
    """Decoding and encoding again gives the same ids, where nothing was unknown."""
    ids = TOK.encode(text).ids
    if TOK.model.unk_id not in ids:
        assert TOK.encode(TOK.decode(ids, clean_up=False)).ids == ids


def test_decode_options_and_errors():
    """Special tokens and clean-up as asked; an id out of range is named with its place."""
    ids = GOLDEN.encode("is fun , un ! [MASK]").ids
    assert GOLDEN.decode(ids) == "is fun, un!"
    assert GOLDEN.decode(ids, clean_up=False) == "is fun , un !"
    assert GOLDEN.decode(np.array([2, 6, 3]), skip_special_tokens=False) == "[CLS] is [SEP]"
    assert GOLDEN.decode([]) == ""
    for bad in (-1, GOLDEN.vocab_size):
        with pytest.raises(ValueError, match=rf"ids\[1\]: expected 0 … 16, got {bad}"):
            GOLDEN.decode([5, bad])
    with pytest.raises(TypeError, match=r"ids\[0\]: expected an integer, got float"):
        GOLDEN.decode([5.0])


def test_special_tokens_in_text_are_text_unless_allowed():
    """ "[SEP]" in a user's text is three pieces, or the control token where it is named; nothing else changes."""
    text = "un[SEP]a [MASK]"
    plain = TOK.encode(text, add_special_tokens=False)
    assert 3 not in plain.ids and plain.tokens[:2] == ["un", "["]
    some = TOK.encode(text, add_special_tokens=False, allowed_special={"[SEP]"})
    assert some.tokens[:3] == ["un", "[SEP]", "a"] and some.tokens[-1] == "]"
    every = TOK.encode(text, add_special_tokens=False, allowed_special="all")
    assert every.tokens == ["un", "[SEP]", "a", "[MASK]"] and every.offsets == [(0, 2), (2, 7), (7, 8), (9, 15)]
    assert every.word_ids == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="are no special tokens"):
        TOK.encode("a", allowed_special={"<s>"})
    with pytest.raises(ValueError, match="a collection of tokens or 'all'"):
        TOK.encode("a", allowed_special="[SEP]")


@given(st.lists(unicode_texts(), max_size=4))
def test_allowed_special_changes_only_texts_that_hold_them(texts):
    """With specials allowed, the batch equals the plain form row by row."""
    batch = TOK.segment_batch(texts, "all")
    for b, text in enumerate(texts):
        row = slice(batch.starts[b], batch.starts[b + 1])
        expected = TOK.segment(text, "all")
        assert batch.ids[row].tolist() == [i for i, *_ in expected]
        assert batch.word_ids[row].tolist() == [word for *_, word in expected]


@pytest.mark.parametrize("bad", [None, b"bytes", math.nan, 3, ["nested"]])
def test_encode_refuses_what_is_not_text(bad):
    """TypeError with the position and the type."""
    with pytest.raises(TypeError, match=rf"texts\[1\]: expected str, got {type(bad).__name__}"):
        TOK.encode_batch(["a", bad])
    with pytest.raises(TypeError, match=r"pairs\[0\]: expected str"):
        TOK.encode_batch(["a"], [3])
    with pytest.raises(TypeError, match="texts"):
        TOK.encode(bad)


def test_encode_batch_refuses_one_string_and_unequal_pairs():
    """A str is not a sequence of texts; pairs must match texts."""
    with pytest.raises(TypeError, match="texts: expected a sequence of str, got str"):
        TOK.encode_batch("text")
    with pytest.raises(ValueError, match="as many pairs as texts, 2, got 1"):
        TOK.encode_batch(["a", "b"], ["c"])


def test_encode_batch_of_nothing_keeps_shapes_and_types():
    """No texts give arrays of no rows, with the dtypes and widths of any batch."""
    for batch in (TOK.encode_batch([]), TOK.encode_batch(["a"])):
        assert batch.ids.dtype == batch.type_ids.dtype == batch.word_ids.dtype == np.int32
        assert batch.offsets.shape == (len(batch.ids), 2) and batch.offsets.dtype == np.int32
        assert batch.starts.dtype == np.int64 and batch.special_tokens_mask.dtype == bool
    assert len(TOK.encode_batch([])) == 0 and TOK.encode_batch([]).starts.tolist() == [0]


@pytest.mark.parametrize("run", ["a", " ", "中", "\u0301", "!", "a\u0301", "각", "\ud800", "\u302e"])
def test_encode_is_linear_in_length(run):
    """A run four times as long takes about four times as long; 10 leaves room for noise, the square would be 16."""

    def seconds(n):
        text, best = run * n, math.inf
        for _ in range(3):
            start = time.perf_counter()
            TOK.encode_batch([text])
            best = min(best, time.perf_counter() - start)
        return best

    size = 20_000 if run == "\u302e" else 400_000 // len(run)  # marks that move go the plain way
    seconds(10)
    assert seconds(4 * size) < 10 * seconds(size) + 0.05


def test_vocabulary_lookups():
    """Both ways, None where there is nothing, and a copy that may be changed."""
    assert GOLDEN.token_to_id("fun") == 7 and GOLDEN.id_to_token(7) == "fun"
    assert GOLDEN.token_to_id("dog") is None and GOLDEN.id_to_token(-1) is None and GOLDEN.id_to_token(17) is None
    GOLDEN.vocab.clear()
    assert GOLDEN.vocab_size == len(GOLDEN.vocab) == 17


def test_training_and_encoding_end_to_end():
    """A trained tokenizer encodes its corpus without unknowns and decodes it back."""
    texts = ["The quick brown fox", "the quicker brown foxes", "quick foxes, brown bread!"]
    tok = WordPiece.train(texts, vocab_size=120, min_frequency=1)
    assert [tok.decode(tok.encode(t).ids) for t in texts] == [t.lower() for t in texts]
    cased = WordPiece.train(texts, vocab_size=120, lowercase=False, min_frequency=1)
    assert [cased.decode(cased.encode(t).ids) for t in texts] == texts


def test_import_is_lazy():
    """Importing the package, or asking for a name it lacks, loads neither NumPy nor Numba."""
    code = "import sys, tokenizers; hasattr(tokenizers, 'x'); print({'numpy', 'numba'} & set(sys.modules))"
    assert run_python(code).stdout.strip() == "set()"


def test_threads_do_not_share_a_cache():
    """Four threads over one tokenizer give what one gives."""
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"the word {'un' * (i % 5)} able {i} {'x' * (i % 50)}" for i in range(400)]
    expected = TOK.encode_batch(texts).ids
    with ThreadPoolExecutor(4) as pool:
        assert all((batch.ids == expected).all() for batch in pool.map(TOK.encode_batch, [texts] * 16))


@pytest.mark.parametrize("kind", [WordLevel, BPE])
def test_berts_normalizer_works_before_every_engine(kind):
    """Models whose engine knows no normalizer see the text that BERT's made: as step by step."""
    trained = kind.train(["the cat sat", "a cafe"] * 3, 300)
    parts = trained.model, BertNormalizer(), trained.pretokenizer, trained.template, trained.decoder
    tokenizer = Tokenizer(*parts, trained.special_tokens)
    text = "The CAT, a Café"
    assert tokenizer.encode(text).ids == [i for i, *_ in tokenizer.segment(text)]
    assert tokenizer.encode(text).offsets == [(start, end) for _, start, end, _ in tokenizer.segment(text)]
    assert tokenizer.encode(text).tokens[0] in ("the", "t", "th")
