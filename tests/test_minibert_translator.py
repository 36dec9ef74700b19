"""The translator: texts in and out, training and exact resume, saving; on a language of a few words."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import tiny_tokenizer
from minibert.checkpoint import CheckpointError
from minibert.data import batches_by_tokens
from minibert.encoder_decoder import EncoderDecoderConfig
from minibert.models.dual_encoder import DualEncoder
from minibert.models.translator import EOS, Translator, train_tokenizer
from minibert.optim import warmup_inverse_sqrt
from minibert.train import train_translator

GERMAN = {"hund": "dog", "katze": "cat", "schläft": "sleeps", "läuft": "runs"}
SENTENCES = [words for length in (1, 2, 3) for words in itertools.product(GERMAN, repeat=length)]
ALL_PAIRS = [(" ".join(words), " ".join(GERMAN[word] for word in words)) for words in SENTENCES]
PAIRS = [pair for i, pair in enumerate(ALL_PAIRS) if i % 8]
UNSEEN = ALL_PAIRS[::8]
TOKENIZER = train_tokenizer([text for pair in PAIRS for text in pair], 300)


def new_model(seed=0, **changes):
    sizes = dict(width=32, layers=1, heads=2, ffn=32, positions=20, dropout=0.1)
    return Translator.create(TOKENIZER, EncoderDecoderConfig(TOKENIZER.vocab_size, **sizes | changes), seed)


def run(model, **changes):
    settings = dict(epochs=2, tokens_per_batch=100, warmup=20, seed=5, progress=False)
    return train_translator(model, PAIRS, **settings | changes)


@pytest.fixture(scope="module")
def trained():
    model = new_model(dropout=0.0)
    history = run(model, epochs=30, learning_rate=1e-2, tokens_per_batch=60)
    return model, history


def test_translator_learns_a_word_by_word_language(trained):
    """The loss falls; sentences are translated, greedily and by beam, far more of the unseen ones than by guessing."""
    model, history = trained
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    for pairs, share in ((PAIRS, 0.8), (UNSEEN, 0.3)):
        for beam in (1, 4):
            translations = model.translate([source for source, _ in pairs], beam=beam)
            right = [ours == target for ours, (_, target) in zip(translations, pairs, strict=True)]
            assert np.mean(right) > share, (beam, np.mean(right))


def test_translations_do_not_depend_on_the_batch(trained):
    """Alone, in another order, twice in one list: the same text; blank ones have an empty one."""
    model, _ = trained
    texts = [source for source, _ in PAIRS[:20]] + ["", " \n"]
    translations = model.translate(texts)
    assert translations[-2:] == ["", ""]
    assert model.translate(texts[::-1]) == translations[::-1]
    assert [model.translate([text])[0] for text in texts] == translations
    assert model.translate(texts * 9, beam=4) == translations * 9
    best = model.search(texts)
    assert [model.tokenizer.decode(found[0].ids) for found in best[:-2]] == translations[:-2] and best[-1] == []


def test_translate_refuses_what_cannot_be(trained):
    """No text is no translation; what is no text is named by its place."""
    model, _ = trained
    assert model.translate([]) == []
    for texts, message in ((["ein", None], r"texts\[1\]: expected str, got NoneType"), ([b"ein"], r"texts\[0\]"),
                           ("ein", "expected a sequence of str, got str"), (None, "got NoneType")):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            model.translate(texts)
    for beam in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=f"beam of at least 1 and an alpha of at least 0, got {beam}"):
            model.translate(["ein"], beam=beam)
    with pytest.raises(ValueError, match="alpha of at least 0, got 4 and -1"):
        model.translate(["ein"], alpha=-1)
    long = "ein hund " * 20
    with pytest.warns(UserWarning, match=r"longer than 20 tokens, the first is texts\[1\]"):
        assert len(model.translate(["ein", long])) == 2
    with pytest.raises(ValueError, match=r"longer than 20 tokens, the first is texts\[0\]"):
        model.translate([long], on_truncate="raise")


@pytest.mark.parametrize("stop", [1, 5])
def test_train_translator_resumed_equals_uninterrupted(tmp_path, stop):
    """Killed after a checkpoint, with dropout on: the same weights and history, bit for bit."""
    whole, killed, resumed = new_model(), new_model(), new_model()
    history = run(whole)
    assert history[-1]["step"] == 6
    ticks = iter(range(10**6))

    def dying(*batch):
        if next(ticks) == stop:
            raise KeyboardInterrupt
        return Translator.loss_and_gradients(killed, *batch)

    killed.loss_and_gradients = dying
    with pytest.raises(KeyboardInterrupt):
        run(killed, folder=tmp_path, checkpoint_every=1)
    assert run(resumed, folder=tmp_path, resume=True) == history
    assert (resumed.parameters.flat == whole.parameters.flat).all()
    with pytest.raises(CheckpointError, match="smoothing 0.1, now 0.2"):
        run(new_model(), folder=tmp_path, resume=True, smoothing=0.2)


def test_train_translator_refuses_what_cannot_be():
    """Nothing to train on, and numbers below 1, are named."""
    with pytest.raises(ValueError, match="pairs of at least 1, got 0"):
        train_translator(new_model(), [], epochs=1)
    for name in ("tokens_per_batch", "epochs", "warmup", "checkpoint_every"):
        with pytest.raises(ValueError, match=f"{name} of at least 1, got 0"):
            run(new_model(), **{name: 0})


def test_translator_load_inverts_save(tmp_path):
    """The same weights, settings and tokenizer; another kind of model is refused."""
    model = new_model(seed=3)
    model.save(tmp_path)
    again = Translator.load(tmp_path)
    assert again.fingerprint == model.fingerprint and again.config == model.config
    ids = again.tokenize(["ein hund", ""]).ids
    assert ids.tolist() == model.tokenize(["ein hund", ""]).ids.tolist()
    assert ids[-1] == TOKENIZER.special_tokens[EOS]
    with pytest.raises(CheckpointError, match="not a dual encoder that `save` wrote: another kind of model"):
        DualEncoder.load(tmp_path)
    with pytest.raises(ValueError, match="vocab_size of at least"):
        Translator.create(TOKENIZER, EncoderDecoderConfig(10))
    with pytest.raises(ValueError, match="the tokenizer lacks <bos>, <eos>"):
        Translator.create(tiny_tokenizer(), EncoderDecoderConfig(100))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30), st.integers(1, 40))
def test_batches_by_tokens_are_a_partition_within_the_budget(lengths, tokens):
    """Every pair once; no batch of several above the budget; as many batches, other ones, in every epoch."""
    lengths = np.array(lengths)
    first, second = (batches_by_tokens(lengths, tokens, 7, epoch) for epoch in (0, 1))
    for batches in (first, second):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert all(len(batch) == 1 or lengths[batch].sum(axis=0).max() <= tokens for batch in batches)
        assert len(batches) == len(first)
    again = batches_by_tokens(lengths, tokens, 7, 0)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in first]


def test_batches_by_tokens_put_like_lengths_together():
    """Padding a batch to its longest target would waste next to nothing."""
    lengths = np.random.default_rng(0).integers(1, 40, (2000, 2))
    batches = batches_by_tokens(lengths, 500, 0, 0)
    assert np.mean([np.ptp(lengths[batch, 1]) for batch in batches]) < 1
    assert np.mean([lengths[batch].sum(axis=0).max() for batch in batches]) > 350


def test_warmup_inverse_sqrt_is_the_papers_rate():
    """Times (D · warmup)^−½ it is D^−½ · min(t^−½, t · warmup^−3/2), t from 1."""
    for step in (0, 1, 3998, 3999, 4000, 100_000):
        t = step + 1
        paper = 512**-0.5 * min(t**-0.5, t * 4000**-1.5)
        assert (512 * 4000) ** -0.5 * warmup_inverse_sqrt(step, 4000) == pytest.approx(paper, rel=1e-12)
