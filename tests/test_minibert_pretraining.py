"""Pre-training BERT: pairs of texts, masks, the loss of both tasks and its gradients, what is learned, exact resume."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import assert_weights_gradient, bert_tokenizer, byte_tokenizer, tiny_tokenizer
from minibert.checkpoint import CheckpointError
from minibert.heads import HeadConfig
from minibert.models.bert import Bert
from minibert.models.headed import fit
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.pretraining import Masked, mask_words, sentence_pairs
from minibert.ragged import Ragged
from strategies import ragged_batches

TOKENIZER = tiny_tokenizer()
SPECIALS = list(TOKENIZER.special_tokens.values())
CLS, SEP, MASK = (TOKENIZER.special_tokens[name] for name in ("[CLS]", "[SEP]", "[MASK]"))
SENTENCES = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "dog", "mat", "log"]), min_size=1, max_size=12)
DOCUMENTS = st.lists(st.lists(SENTENCES.map(" ".join), min_size=3, max_size=9).map(". ".join), min_size=1, max_size=4)


def new_model(seed=0, **changes):
    sizes = dict(width=16, layers=2, heads=2, ffn=24, positions=32, max_length=16, dropout=0.0, head="pretraining")
    return Bert.create(TOKENIZER, HeadConfig(TOKENIZER.vocab_size, **sizes | changes), seed)


def parts_of(batch, b):
    """(a, b) of one pair, as lists of ids."""
    ids, types = (side[batch.starts[b] : batch.starts[b + 1]] for side in (batch.ids, batch.type_ids))
    assert ids[0] == CLS and ids[-1] == SEP and (ids == SEP).sum() == 2
    middle = ids.tolist().index(SEP)
    assert types.tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
    return ids[1:middle].tolist(), ids[middle + 1 : -1].tolist()


@given(DOCUMENTS, st.integers(8, 24), st.integers(0, 9))
def test_pairs_follow_each_other_or_come_from_elsewhere(documents, max_length, seed):
    """In their document's ids every text stands; what follows stands right behind, and all of it is used in order."""
    whole = [TOKENIZER.encode(text.replace(".", " ."), add_special_tokens=False).ids for text in documents]
    try:
        batch, labels = sentence_pairs(documents, TOKENIZER, max_length, seed)
    except ValueError as error:
        assert "at least 2 pairs" in str(error) or "one document of that length" in str(error)
        return
    assert batch.lengths.max() <= max_length and set(labels) <= {0, 1}

    def found(ids):
        return [(d, i) for d, own in enumerate(whole) for i in range(len(own)) if own[i : i + len(ids)] == ids]

    for b, label in enumerate(labels):
        first, second = parts_of(batch, b)
        assert first and second and found(first) and found(second)
        follows = any((d, i + len(first)) in found(second) for d, i in found(first))
        assert follows or label == 1


def test_half_of_the_second_texts_come_from_elsewhere_and_length_does_not_tell_which():
    """400 sentences of different words: the right half, of another document, and equally long on average."""
    rng = np.random.default_rng(0)
    letters = [*"abcdefghijklmnopqrst"]
    tokenizer = bert_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters])
    documents = [
        ". ".join(" ".join(rng.choice(letters[:10] if d else letters[10:], rng.integers(2, 9))) for _ in range(200))
        for d in (0, 1)
    ]
    batch, labels = sentence_pairs(documents, tokenizer, 32, seed=1)
    assert abs(labels.mean() - 0.5) < 0.15
    lengths = [batch.lengths[labels == label].mean() for label in (0, 1)]
    assert abs(lengths[0] - lengths[1]) < 1.5
    first_letter, used = tokenizer.token_to_id("a"), 0
    for b, label in enumerate(labels):
        a_text, b_text = parts_of(batch, b)
        used += len(a_text) + (0 if label else len(b_text))
        sides = [{(i >= first_letter + 10) for i in ids if i >= first_letter} for ids in (a_text, b_text)]
        assert len(sides[0] | sides[1]) == 1 + label  # of one document, or of two
    whole = len(tokenizer.encode(" ".join(documents), add_special_tokens=False).ids)
    assert whole - 2 * 29 <= used <= whole  # all of each document, in order, but a last sentence
    again, same = sentence_pairs(documents, tokenizer, 32, seed=1)
    assert again.ids.tolist() == batch.ids.tolist() and same.tolist() == labels.tolist()


def test_texts_that_give_no_pairs_are_told():
    """Nothing, one sentence, one document that fits into a pair, no room for two tokens."""
    for documents, max_length, message in (
        ([""], 16, "at least 2 pairs of 16 tokens, got 0"),
        (["the cat"], 16, "at least 2 pairs of 16 tokens, got 0"),
        (["the cat. the dog"], 4, "room for two tokens, got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            sentence_pairs(documents, TOKENIZER, max_length)
    with pytest.raises(ValueError, match="at least 2 pairs|one document of that length"):
        sentence_pairs(["the cat. the dog. the log"], TOKENIZER, 32)


def test_pairs_of_unknown_words_are_left_out():
    """Nothing of them could be masked, whatever batch they came into."""
    documents = ["the cat. the dog. the log. the mat.", "ж. щ. " * 6]
    pairs, labels = sentence_pairs(documents, TOKENIZER, 8)
    assert len(pairs) == len(labels) >= 2
    for row in range(len(pairs)):
        assert len(mask_words(pairs.take(np.array([row])), TOKENIZER, np.random.default_rng(0)).rows)
    with pytest.raises(ValueError, match="text for at least 2 pairs of 8 tokens, got 0"):
        sentence_pairs(documents[1:], TOKENIZER, 8)


@given(ragged_batches(vocabulary=TOKENIZER.vocab_size, longest=30), st.integers(0, 2**32 - 1))
def test_masks_hide_15_percent_of_every_sequences_words(batch, seed):
    """Rounded, at least one, never a special or the first token; all else stays, and the hidden words are told."""
    ordinary = ~np.isin(batch.ids, SPECIALS) & (batch.positions > 0)
    if not ordinary.any():
        with pytest.raises(ValueError, match="special tokens alone"):
            mask_words(batch, TOKENIZER, np.random.default_rng(seed))
        return
    masked = mask_words(batch, TOKENIZER, np.random.default_rng(seed))
    assert ordinary[masked.rows].all() and (np.diff(masked.rows) > 0).all()
    np.testing.assert_array_equal(batch.ids[masked.rows], masked.words)
    others = np.setdiff1d(np.arange(len(batch.ids)), masked.rows)
    np.testing.assert_array_equal(masked.batch.ids[others], batch.ids[others])
    assert not np.isin(masked.batch.ids[masked.rows], [i for i in SPECIALS if i != MASK]).any()
    for start, end in zip(batch.starts[:-1], batch.starts[1:], strict=True):
        words = ordinary[start:end].sum()
        expected = max(1, round(0.15 * words)) if words else 0
        assert ((masked.rows >= start) & (masked.rows < end)).sum() == expected


def test_masks_are_80_10_10():
    """Of 6,000 selected words, within three deviations; every place is as likely as any other."""
    rng = np.random.default_rng(0)
    words = np.setdiff1d(np.arange(TOKENIZER.vocab_size), SPECIALS)
    batch = Ragged.from_sequences([[CLS, *rng.choice(words, 40).tolist(), SEP] for _ in range(1000)])
    masked = mask_words(batch, TOKENIZER, rng)
    ids = masked.batch.ids[masked.rows]
    assert len(ids) == 6000
    assert abs((ids == MASK).mean() - 0.8) < 3 * (0.8 * 0.2 / 6000) ** 0.5
    kept = 0.1 + 0.1 / len(words)  # a word at random may be the same
    assert abs((ids == masked.words).mean() - kept) < 3 * (kept * 0.9 / 6000) ** 0.5
    places = np.bincount(batch.positions[masked.rows], minlength=42)[1:41]
    assert abs(places - 150).max() < 5 * 150**0.5


def test_a_tokenizer_without_a_mask_is_refused():
    """A byte-level one, for instance."""
    batch = Ragged.from_sequences([[1, 2, 3]])
    with pytest.raises(ValueError, match=re.escape("expected a tokenizer with [MASK] or <mask>, got one without")):
        mask_words(batch, byte_tokenizer(), np.random.default_rng(0))


def test_gradients_of_both_tasks_equal_differences():
    """In float64, along random directions of all weights; the tied table gets both of its gradients."""
    rng = np.random.default_rng(1)
    model = new_model()
    model.parameters = model.parameters.astype(np.float64)
    model.parameters.flat += 0.1 * rng.standard_normal(model.parameters.flat.shape)
    batch = Ragged.from_sequences([rng.integers(0, TOKENIZER.vocab_size, n).tolist() for n in (3, 5, 5, 9)])
    masked = Masked(batch, np.array([1, 4, 9, 15]), np.array([7, 8, 7, 9]))
    labels = np.array([0, 1, 1, 0])
    assert_weights_gradient(model.parameters, lambda: model.masked_loss_and_gradients(masked, labels), rng)


DOCUMENT = ". ".join(["the cat sat on the mat", "a dog sat on a log"] * 60)


@pytest.fixture(scope="module")
def pretrained():
    """A model that has learned two sentences by heart, and its history."""
    model = new_model(width=32, ffn=64, positions=24, max_length=24)
    examples = model.examples([DOCUMENT, DOCUMENT])
    history = fit(
        model, examples, epochs=40, batch_size=16, learning_rate=5e-3, warmup=20, progress=False,
        evaluate=lambda: model.evaluate(examples),
    )  # fmt: skip
    return model, history, examples


def test_pretraining_learns_words_from_both_sides(pretrained):
    """The perplexity falls to little more than 1, and the hidden word depends on what stands around it."""
    model, history, _ = pretrained
    assert history[0]["held_out_perplexity"] > 5
    assert history[-1]["held_out_perplexity"] < 2 and history[-1]["word_accuracy"] > 0.8
    for text, word in (("the cat sat on the [MASK].", "mat"), ("a [MASK] sat on a log.", "dog")):
        [[(best, probability), *_]] = model.fill(text)
        assert best == word and probability > 0.5
    with pytest.raises(ValueError, match="expected a text with"):
        model.fill("the cat")
    with pytest.raises(ValueError, match="longer than 24 tokens"):
        model.fill("[MASK] " * 30)


def test_evaluation_is_the_mean_over_all_masked_words_and_pairs(pretrained):
    """Equal to one pass over everything with the same masks, whose loss training's own function gives."""
    model, _, examples = pretrained
    few = examples.take(np.arange(20))
    measured = model.evaluate(few, seed=3)
    ordered = few.by_length()
    masked = mask_words(ordered.batch, TOKENIZER, np.random.default_rng(3))
    loss, _ = model.masked_loss_and_gradients(masked, ordered.targets)
    assert measured["held_out_loss"] == pytest.approx(loss, rel=1e-5)
    assert model.evaluate(few, seed=3) == measured
    assert 1 <= measured["held_out_perplexity"] <= np.exp(loss)


def test_pretrained_folder_starts_other_models(pretrained, tmp_path):
    """It loads again, and as a sentence encoder of mean vectors; its encoder is what others take."""
    model, *_ = pretrained
    model.save(tmp_path)
    assert Bert.load(tmp_path).fingerprint == model.fingerprint
    encoder = SentenceEncoder.load(tmp_path)
    assert encoder.config.pooling == ("mean",)
    for name in encoder.parameters:
        np.testing.assert_array_equal(encoder.parameters[name], model.parameters[name])


def test_pretraining_resumes_to_the_same_bits(tmp_path):
    """Masks and dropout depend on seed and step alone; other data or another configuration are refused."""

    def train(folder, stop=None, **changes):
        model = new_model(dropout=0.1, **changes)
        examples = model.examples([DOCUMENT])
        if stop is not None:
            calls, inner = [], model.loss_and_gradients

            def limited(*args):
                calls.append(1)
                if len(calls) > stop:
                    raise KeyboardInterrupt
                return inner(*args)

            model.loss_and_gradients = limited
        options = dict(epochs=2, batch_size=8, learning_rate=1e-3, warmup=3, progress=False, folder=folder)
        fit(
            model,
            examples,
            resume=stop is None and (folder / "checkpoint.safetensors").exists(),
            checkpoint_every=2,
            **options,
        )
        return model.parameters.flat

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop=5)
    np.testing.assert_array_equal(train(tmp_path / "cut"), whole)
    with pytest.raises(CheckpointError, match="was written with other settings: config"):
        train(tmp_path / "cut", eps=1e-6)
