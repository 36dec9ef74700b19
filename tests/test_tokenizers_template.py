"""Templates, truncation, padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import bert_tokenizer
from oracles import wordpiece as oracle
from tokenizers import Template, Tokenizer
from tokenizers.template import bert_template
from tokenizers.truncation import fit, longest_first

TOK = bert_tokenizer()
TEXTS = st.lists(st.sampled_from(["", "the word", "unable", "a", "b c d e f", "中 word!"]), min_size=1, max_size=5)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 30))
def test_truncation_equals_taking_one_token_at_a_time(a, b, room):
    """The closed form equals the loop that always shortens the longer text."""
    got = longest_first(np.array([a]), np.array([b]), room)
    assert (got[0][0], got[1][0]) == oracle.longest_first(a, b, room)


@given(TEXTS, st.integers(2, 9))
def test_truncation_keeps_the_special_tokens_and_the_beginning(texts, max_length):
    """Each row is [CLS], the first tokens that fit, [SEP]; the mask says which rows were cut."""
    whole = TOK.encode_batch(texts)
    cut = TOK.encode_batch(texts, max_length=max_length, on_truncate="silent")
    for b in range(len(texts)):
        long, short = whole.row(b)["ids"].tolist(), cut.row(b)["ids"].tolist()
        assert short == (long if len(long) <= max_length else [*long[: max_length - 1], long[-1]])
        assert cut.truncated[b] == (len(long) > max_length)


@given(TEXTS, st.integers(3, 12), st.data())
def test_truncation_of_pairs_keeps_the_template(texts, max_length, data):
    """[CLS] a [SEP] b [SEP] with the beginnings of both, type ids 0 and 1, never longer than asked."""
    pairs = [data.draw(st.sampled_from(["", "the", "a b c d e f g"])) for _ in texts]
    batch = TOK.encode_batch(texts, pairs, max_length=max_length, on_truncate="silent")
    a, b = TOK.segment_batch(texts), TOK.segment_batch(pairs)
    kept_a, kept_b = fit(np.diff(a.starts), np.diff(b.starts), max_length - 3)
    for i in range(len(texts)):
        first, second = (s.ids[s.starts[i] : s.starts[i] + k[i]].tolist() for s, k in ((a, kept_a), (b, kept_b)))
        row = batch.row(i)
        assert row["ids"].tolist() == [2, *first, 3, *second, 3]
        assert row["type_ids"].tolist() == [0] * (len(first) + 2) + [1] * (len(second) + 1)
        assert np.flatnonzero(row["special_tokens_mask"]).tolist() == [0, len(first) + 1, len(row["ids"]) - 1]
        assert (row["word_ids"][row["special_tokens_mask"]] == -1).all()
        assert len(row["ids"]) <= max_length


def test_truncation_warns_raises_or_is_silent():
    """on_truncate says how a cut is reported, and the first row that was cut is named."""
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than 4 tokens, the first is texts\[1\]"):
        TOK.encode_batch(["a", "a b c d"], max_length=4)
    with pytest.raises(ValueError, match=r"texts\[1\]"):
        TOK.encode_batch(["a", "a b c d"], max_length=4, on_truncate="raise")
    with pytest.raises(ValueError, match="on_truncate: expected one of 'warn', 'raise', 'silent', 'window', got 'no'"):
        TOK.encode_batch(["a"], on_truncate="no")


@pytest.mark.parametrize(("pairs", "max_length", "specials"), [(None, 1, 2), (["b"], 2, 3), (None, 0, 2)])
def test_truncation_refuses_lengths_below_the_special_tokens(pairs, max_length, specials):
    """max_length must hold the special tokens at least, and may hold them alone."""
    with pytest.raises(ValueError, match=f"max_length {max_length} has no room for the {specials} special tokens"):
        TOK.encode_batch(["a"], pairs, max_length=max_length)
    assert len(TOK.encode_batch(["a"], pairs, max_length=specials, on_truncate="silent").ids) == specials


@pytest.mark.kernels
@given(TEXTS, st.integers(2, 9), st.sampled_from([True, "max_length"]), st.booleans(), st.sampled_from([None, 4]))
def test_padding_is_the_ragged_batch_filled_up(texts, max_length, padding, left, multiple):
    """Each row of the arrays: the ragged row, then [PAD], mask 0 and type 0, or these before it."""
    batch = TOK.encode_batch(texts, max_length=max_length, on_truncate="silent")
    how = {"padding_side": "left" if left else "right", "pad_to_multiple_of": multiple}
    arrays = TOK(texts, padding=padding, max_length=max_length, return_offsets_mapping=True, **how)
    width = max_length if padding == "max_length" else max(batch.lengths)
    width = -(-width // multiple) * multiple if multiple else width
    for b in range(len(texts)):
        row, rest = batch.row(b), [0] * (width - batch.lengths[b])
        ids, spans, ones = row["ids"].tolist(), row["offsets"].tolist(), [1] * batch.lengths[b]
        none = [[0, 0]] * len(rest)
        assert arrays["input_ids"][b].tolist() == (rest + ids if left else ids + rest)
        assert arrays["attention_mask"][b].tolist() == (rest + ones if left else ones + rest)
        assert arrays["offset_mapping"][b].tolist() == (none + spans if left else spans + none)
        assert arrays["token_type_ids"][b].tolist() == [0] * width


def test_padding_shapes_and_options():
    """No texts give (0, 0); padding False gives rows; truncation False cuts nothing; pairs have type 1."""
    assert TOK([])["input_ids"].shape == (0, 0)
    assert [len(row) for row in TOK(["a", "a b"], padding=False)["attention_mask"]] == [3, 4]
    assert TOK(["a b c d"], max_length=3, truncation=False)["input_ids"].shape == (1, 6)
    assert TOK(["a"], ["b"], padding="max_length", max_length=7)["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 0, 0]]
    with pytest.raises(ValueError, match="padding: expected one of True, False"):
        TOK(["a"], padding="most")
    with pytest.raises(ValueError, match="needs max_length"):
        TOK(["a"], padding="max_length")
    with pytest.raises(ValueError, match=r"lacks"):
        bert_tokenizer(["[UNK]", "[CLS]", "[SEP]"])(["a"])


def test_template_without_special_tokens_and_of_ones_own():
    """add_special_tokens=False leaves the sequences and their types; any template can be laid out."""
    assert TOK.encode("a", "b", add_special_tokens=False).type_ids == [0, 1]
    template = Template((("A", 0), ("[SEP]", 0)), (("[SEP]", 1), ("B", 1), ("[CLS]", 0), ("A", 0)))
    own = Tokenizer(TOK.model, TOK.normalizer, TOK.pretokenizer, template, TOK.decoder, TOK.special_tokens)
    encoding = own.encode("the", "word")
    assert encoding.tokens == ["[SEP]", "word", "[CLS]", "the"] and encoding.type_ids == [1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"lacks \[SEP\]"):
        bert_template({"[CLS]": 0})
    with pytest.raises(ValueError, match="template names '<s>'"):
        Tokenizer(TOK.model, TOK.normalizer, TOK.pretokenizer, Template((("<s>", 0),)), TOK.decoder, {})
