"""The recipes from USE to DRAGON, small: each learns, its parts do what its paper says, and refuse what cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import marked_tokenizer
from minibert import losses
from minibert.models import distillation, dpr, dragon, e5, sbert, sentence_t5, use
from minibert.models.colbert import ColBERT, ColBERTConfig, train_colbert
from minibert.models.dual_encoder import DOCUMENT, QUERY, DualEncoder
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.parameters import Parameters
from minibert.ragged import Ragged
from minibert.retrieval.bm25 import BM25
from minibert.sentence_network import SentenceEncoderConfig
from minibert.train import CHECKPOINT, of_stage

WORDS = "cat dog mat log sun sea car map".split()
PAIRS = [(f"{a} {b}", f"the {a} is on the {b} here") for a in WORDS for b in WORDS if a < b]
PASSAGES = [passage for _, passage in PAIRS]
SIZES = dict(width=16, layers=1, heads=2, ffn=16, positions=16, dropout=0.0)
OPTIONS = dict(batch_size=8, learning_rate=5e-3, warmup=2, progress=False)


@pytest.fixture(scope="module")
def tokenizer():
    return marked_tokenizer(PASSAGES)


def sentence_encoder(tokenizer, **changes):
    return SentenceEncoder.create(
        tokenizer, SentenceEncoderConfig(tokenizer.vocab_size, **SIZES | {"max_length": 16} | changes)
    )


def rankings(k):
    words = BM25()
    words.add(PASSAGES)
    return words.search([question for question, _ in PAIRS], k=k)[0]


def falls(history, share=0.8):
    return history[-1]["loss"] < share * history[0]["loss"]


# ---- USE -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(1, 7))
def test_use_bigrams_follow_their_words(sequences, bigrams):
    """n words, then n − 1 numbers of the bigrams' rows, equal for equal neighbours."""
    batch = use.with_bigrams(Ragged.from_sequences(sequences), bigrams, 10 + bigrams)
    rows = {}
    for words, ids in zip(sequences, np.split(batch.ids, batch.starts[1:-1]), strict=True):
        assert ids[: len(words)].tolist() == words and len(ids) == 2 * len(words) - 1
        for pair, row in zip(zip(words, words[1:], strict=False), ids[len(words) :].tolist(), strict=True):
            assert 10 <= row < 10 + bigrams and rows.setdefault(pair, row) == row


@pytest.mark.parametrize("variant", ["transformer", "averaging"])
def test_use_learns_saves_and_loads(tokenizer, tmp_path, variant):
    """Both variants, by the same training; what was saved gives the same vectors."""
    if variant == "averaging":
        config = use.averaging_config(tokenizer.vocab_size, 16, (16,), 8, bigrams=32, max_length=16)
    else:
        config = use.transformer_config(tokenizer.vocab_size, 16, 1, 8, heads=2, positions=16, max_length=16)
    model = use.USE.create(tokenizer, config)
    assert falls(sbert.train_pairs(model, PAIRS, epochs=4, **OPTIONS))
    model.save(tmp_path)
    loaded = use.USE.load(tmp_path)
    assert loaded.config == config
    np.testing.assert_array_equal(loaded.encode(PASSAGES[:5]), model.encode(PASSAGES[:5]))
    similar = use.angular_similarity(model.encode(PASSAGES[:3]), model.encode(PASSAGES[:3]))
    assert (np.diagonal(similar) > 0.999).all() and (similar >= 0).all()
    assert use.angular_similarity(np.eye(2), -np.eye(2)).tolist() == [[0, 0.5], [0.5, 0]]


def test_use_averages_words_and_bigrams(tokenizer):
    """By hand: the sum of the rows of words and bigrams / √n, before the dense layers."""
    config = use.averaging_config(tokenizer.vocab_size, 16, (), 8, bigrams=32, max_length=16)
    model = use.USE.create(tokenizer, config)
    batch, _ = model.features(model.tokenize(["the cat is here"])[0])
    rows = model.parameters["embeddings.word_embeddings.weight"][batch.ids]
    pooled = rows.sum(axis=0) / np.sqrt(len(rows))
    y = model.parameters["2_Dense.linear.weight"] @ pooled + model.parameters["2_Dense.linear.bias"]
    np.testing.assert_allclose(model.encode(["the cat is here"])[0], y / np.linalg.norm(y), rtol=1e-5, atol=1e-6)


def test_use_bigrams_are_no_tokens_and_go_with_a_skipped_prompt(tokenizer):
    """A vector for each token alone; a prompt that is not pooled leaves the text and [SEP], with their bigrams."""
    config = use.averaging_config(tokenizer.vocab_size, 16, (), 8, bigrams=32, max_length=16)
    model = use.USE.create(tokenizer, replace(config, prompts={"query": "dog log "}, include_prompt=False))
    table = model.parameters["embeddings.word_embeddings.weight"]
    ids = tokenizer.encode("the cat").ids
    np.testing.assert_array_equal(model.token_embeddings("the cat"), table[ids])
    kept = use.with_bigrams(Ragged.from_sequences([ids[1:]]), 32, config.vocab_size).ids
    y = model.parameters["2_Dense.linear.weight"] @ (table[kept].sum(axis=0) / np.sqrt(len(kept)))
    asked = model.encode(["the cat"], prompt_name="query")[0]
    np.testing.assert_allclose(asked, y / np.linalg.norm(y), rtol=1e-5, atol=1e-6)


def test_use_refuses_bigrams_beside_layers(tokenizer):
    """And tables without a word."""
    with pytest.raises(ValueError, match="none beside layers, got 8 and 1 layers"):
        use.USEConfig(50, width=16, layers=1, heads=2, bigrams=8)
    with pytest.raises(ValueError, match="bigrams in 0 … 49"):
        use.USEConfig(50, width=16, layers=0, heads=2, bigrams=50)


# ---- DPR and DRAGON --------------------------------------------------------------------------------------------------


def test_dpr_negatives_are_the_best_ranked_that_do_not_answer():
    """Of each ranking the first passage that no pair gives to this question and `answers` does not name."""
    pairs = [("q", "a"), ("q", "b"), ("r", "c")]
    ranked = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 0, 1, -1]])
    passages = ["a", "b", "c", "d"]
    assert dpr.hard_negatives(pairs, passages, ranked) == [("q", "a", "c"), ("q", "b", "d"), ("r", "c", "a")]
    also = dpr.hard_negatives(pairs, passages, ranked, answers=lambda pair, passage: (pair, passage) == (2, "a"))
    assert also[2] == ("r", "c", "b")
    assert dpr.hard_negatives(pairs, passages, ranked, negatives=2)[2] == ("r", "c", "a", "b")
    with pytest.raises(ValueError, match="3 passages that do not answer pair 0, got 2"):
        dpr.hard_negatives(pairs, passages, ranked, negatives=3)
    with pytest.raises(ValueError, match="a ranking for each of 2 pairs, got 3"):
        dpr.hard_negatives(pairs[:2], passages, ranked)


def test_dpr_learns_from_an_encoder(tokenizer):
    """Both towers start with the encoder's weights, and differ afterwards."""
    encoder = sentence_encoder(tokenizer)
    model = DualEncoder.from_encoder(encoder, max_length=16)
    for side in (QUERY, DOCUMENT):
        for name, tensor in encoder.parameters.items():
            np.testing.assert_array_equal(model.parameters[side + name], tensor)
    examples = dpr.hard_negatives(PAIRS, PASSAGES, rankings(5))
    assert all(negative != passage for _, passage, negative in examples)
    assert falls(dpr.train_dpr(model, examples, epochs=6, **OPTIONS))
    assert (model.parameters.sub(QUERY).flat != model.parameters.sub(DOCUMENT).flat).any()


def test_dragon_draws_labels_from_its_teachers():
    """A positive of the first ranks and a negative of the last of one and the same teacher; every teacher is drawn."""
    rng = np.random.default_rng(0)
    teachers = [np.arange(first, first + 8) + np.zeros((40, 1), int) for first in (0, 20, 40)]
    passages = [str(i) for i in range(60)]
    examples = dragon.augmented(["q"] * 40, passages, teachers, rng, (0, 2), (6, 8))
    firsts = [int(positive) // 20 * 20 for _, positive, _ in examples]
    assert set(firsts) == {0, 20, 40}
    for first, (_, positive, negative) in zip(firsts, examples, strict=True):
        assert int(positive) - first in (0, 1) and int(negative) - first in (6, 7)


def test_dragon_learns_in_stages(tokenizer):
    """Stage t of 1, 2; each with labels of its own; the same seed gives the same weights."""
    teachers, models = [rankings(12), rankings(12)[:, ::-1].copy()], []
    for _ in range(2):
        model = DualEncoder.from_encoder(sentence_encoder(tokenizer), max_length=16)
        options = dict(positives=(0, 1), negatives=(6, 12), epochs=3, seed=1) | OPTIONS
        history = dragon.train_dragon(model, [question for question, _ in PAIRS], PASSAGES, teachers, **options)
        models.append(model)
    assert [record["stage"] for record in history] == [0] * 3 + [1] * 3
    assert falls(history[:3], 0.95)
    np.testing.assert_array_equal(models[0].parameters.flat, models[1].parameters.flat)


def test_stages_resume_in_folders_of_their_own(tokenizer, tmp_path):
    """Whatever stage was interrupted, all go on to the same weights."""
    teachers, questions = [rankings(12), rankings(12)[:, ::-1].copy()], [question for question, _ in PAIRS]
    options = dict(positives=(0, 1), negatives=(6, 12), folder=tmp_path) | OPTIONS
    flats = []
    for resume in (False, True, True):
        model = DualEncoder.from_encoder(sentence_encoder(tokenizer), max_length=16)
        history = dragon.train_dragon(model, questions, PASSAGES, teachers, resume=resume, **options)
        assert [record["stage"] for record in history] == [0, 1]
        flats.append(model.parameters.flat)
        (tmp_path / "stage-1" / CHECKPOINT).unlink(missing_ok=True)
    np.testing.assert_array_equal(flats[0], flats[1])
    np.testing.assert_array_equal(flats[0], flats[2])


def test_a_fresh_run_of_stages_forgets_those_of_an_earlier_one(tokenizer, tmp_path):
    """A later stage's old checkpoint must not be what a resumed run goes on from."""
    for stage in (0, 1, 2):
        (tmp_path / f"stage-{stage}").mkdir()
        (tmp_path / f"stage-{stage}" / CHECKPOINT).touch()
    assert of_stage({"folder": tmp_path, "resume": True}, 1)["resume"]
    assert not of_stage({"folder": tmp_path}, 1)["resume"]
    assert [(tmp_path / f"stage-{stage}" / CHECKPOINT).exists() for stage in (0, 1, 2)] == [True, True, False]


def test_dragon_refuses_what_cannot_be_right():
    """Ranks that overlap, rankings that are too short, stages without teachers."""
    rng, ranked = np.random.default_rng(0), np.zeros((1, 8), int)
    for teachers, ranks, message in (
        ([ranked], ((0, 5), (4, 8)), "positives before negatives"),
        ([ranked], ((-1, 2), (4, 8)), "positives before negatives"),
        ([], ((0, 2), (4, 8)), "expected teachers"),
        ([ranked], ((0, 2), (4, 9)), r"shape \(1, 9\), got \(1, 8\) of teacher 0"),
        ([ranked, ranked - 1], ((0, 2), (4, 8)), "got fewer of teacher 1 for question 0"),
    ):
        with pytest.raises(ValueError, match=message):
            dragon.augmented(["q"], ["p"], teachers, rng, *ranks)
    with pytest.raises(ValueError, match="stages of 1 … 1 teachers, got 2"):
        dragon.train_dragon(None, ["q"], ["p"], [ranked], stages=[1, 2])


# ---- Sentence-T5 and E5 ----------------------------------------------------------------------------------------------


def test_sentence_t5_is_t5_averaged_and_learns_in_two_stages(tokenizer, tmp_path):
    """A T5 encoder by configuration, whose folder is sentence-transformers'; pairs first, then triplets."""
    config = sentence_t5.sentence_t5_config(
        tokenizer.vocab_size, dim=8, width=16, layers=1, heads=2, ffn=16, max_length=16
    )
    model = SentenceEncoder.create(tokenizer, config)
    triplets = [(question, passage, f"no {passage}") for question, passage in PAIRS]
    history = sentence_t5.train_two_stages(
        model, PAIRS, triplets, epochs=(3, 2), batch_sizes=(8, 8), learning_rates=(1e-2, 3e-3), progress=False, warmup=2
    )
    assert [record["stage"] for record in history] == [1, 1, 1, 2, 2] and falls(history[:3])
    model.save(tmp_path)
    vectors = SentenceEncoder.load(tmp_path).encode(PASSAGES[:4])
    np.testing.assert_array_equal(vectors, model.encode(PASSAGES[:4]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    only = sentence_t5.train_two_stages(model, [], triplets, epochs=(9, 1), batch_sizes=(8, 8), progress=False)
    assert [record["stage"] for record in only] == [2]


def test_nli_triplets_pair_what_a_premise_entails_with_what_contradicts_it():
    """Premises with both; neutral ones and those left over are not used."""
    rows = [("p", "e1", "entailment"), ("p", "c1", "contradiction"), ("p", "n", "neutral"), ("p", "e2", "entailment")]
    rows += [("q", "e", "entailment"), ("r", "c", "contradiction"), ("p", "c2", "contradiction")]
    assert sentence_t5.nli_triplets(rows) == [("p", "e1", "c1"), ("p", "e2", "c2")]


def test_e5_prefixes_and_filters(tokenizer):
    """Each side has its prefix; a pair whose passage others beat is filtered out."""
    encoder = sentence_encoder(tokenizer)
    model = e5.e5(encoder)
    assert model.parameters is encoder.parameters
    asked = {"prompts": {"task": "find: "}, "default_prompt": "task", "include_prompt": False}
    encoder.config = replace(encoder.config, **asked)
    np.testing.assert_array_equal(e5.e5(encoder).encode_query(["cat"]), model.encode_query(["cat"]))
    encoder.config = replace(encoder.config, prompts={}, default_prompt=None)
    np.testing.assert_array_equal(model.encode_query(["cat"]), encoder.encode(["query: cat"]))
    np.testing.assert_array_equal(model.encode_document(["cat"]), encoder.encode(["passage: cat"]))
    assert e5.prefixed([("a", "b", "c")]) == [("query: a", "passage: b", "passage: c")]

    class Chosen:
        def encode_query(self, texts, on_truncate):
            return np.array([{"q": [1.0, 0], "r": [0, 1], "s": [1, 0]}[t] for t in texts])

        def encode_document(self, texts, on_truncate):
            return np.array([{"a": [1.0, 0], "b": [0, 1], "c": [-1, 0], "long": [4, 5]}[t] for t in texts])

    pairs = [("q", "a"), ("r", "b"), ("s", "c")]
    assert e5.consistent(Chosen(), pairs, kept=1) == pairs[:2] and e5.consistent(Chosen(), pairs, kept=3) == pairs
    assert e5.consistent(Chosen(), []) == []
    assert e5.consistent(Chosen(), [("q", "a"), ("r", "long")], kept=1)[0] == ("q", "a")  # cosines, whatever the length
    assert (
        len(e5.consistent(Chosen(), [("r", "a"), ("r", "b"), ("q", "b")], kept=2)) == 3
    )  # b stands twice, counts once
    with pytest.raises(ValueError, match="at least 1 passage"):
        e5.consistent(Chosen(), pairs, kept=0)


def test_e5_learns_in_two_stages(tokenizer):
    """Weak pairs, then a teacher's scores: the loss falls in both."""
    model = e5.e5(sentence_encoder(tokenizer))
    assert falls(e5.train_weak(model, PAIRS, epochs=4, **OPTIONS))
    examples = dpr.hard_negatives(PAIRS, PASSAGES, rankings(6), negatives=2)
    teacher = np.tile([4.0, 0.0, -1.0], (len(examples), 1))
    assert falls(e5.train_supervised(model, examples, teacher, epochs=6, **OPTIONS))


# ---- distillation ----------------------------------------------------------------------------------------------------


def test_own_scores_are_a_view_of_the_blocks_diagonals():
    """Passage c of question i is column c · B + i."""
    scores = np.arange(12.0).reshape(2, 6)
    assert distillation.own(scores).tolist() == [[0, 2, 4], [7, 9, 11]]
    distillation.own(scores)[...] = -1
    assert (scores == -1).sum() == 6


@pytest.mark.parametrize(("loss", "contrast"), [("kl", 0.0), ("kl", 0.2), ("margin_mse", 0.5)])
def test_distillation_gradients_are_derivatives(tokenizer, monkeypatch, loss, contrast):
    """The loss that training sees, in a random direction of all weights, in float64."""
    encoder = sentence_encoder(tokenizer)
    encoder.parameters = Parameters(encoder.parameters.shapes, encoder.parameters.flat.astype(np.float64))
    examples = dpr.hard_negatives(PAIRS[:4], PASSAGES, rankings(6)[:4], negatives=2)
    teacher = np.random.default_rng(0).standard_normal((4, 3))
    seen = {}
    monkeypatch.setattr(sbert, "train", lambda parameters, function, *args, **rest: seen.update(function=function))
    distillation.train_distilled(
        encoder, examples, teacher, loss=loss, temperature=0.3, contrast=contrast, epochs=1, progress=False
    )
    rows, flat, rng = np.arange(4), encoder.parameters.flat, np.random.default_rng(1)
    _, d = seen["function"](rows, None)
    direction, step = rng.standard_normal(flat.shape), 1e-6
    ends = []
    for sign in (1, -1):
        flat += sign * step * direction
        ends.append(seen["function"](rows, None)[0])
        flat -= sign * step * direction
    terms = d.flat * direction
    assert abs((ends[0] - ends[1]) / (2 * step) - terms.sum()) < 1e-6 * (1 + np.abs(terms).sum())


def test_distillation_teaches_the_teachers_order(tokenizer):
    """After training on scores that contradict the labels, the student ranks as the teacher, not as the labels."""
    encoder = sentence_encoder(tokenizer)
    examples = dpr.hard_negatives(PAIRS[:12], PASSAGES, rankings(6)[:12])
    teacher = np.tile([0.0, 6.0], (12, 1))
    for loss in ("kl", "margin_mse"):
        distillation.train_distilled(encoder, examples, teacher, loss=loss, temperature=0.1, epochs=30, **OPTIONS)
        vectors = [encoder.encode(list(texts), normalize=True) for texts in zip(*examples, strict=True)]
        right, wrong = ((vectors[0] * side).sum(axis=1) for side in vectors[1:])
        assert (wrong > right).mean() > 0.9, loss


def test_distillation_leaves_out_a_passage_that_stands_twice(tokenizer):
    """Two questions with one right passage: its other place is no negative; a fitting teacher adds no loss."""
    encoder, examples = sentence_encoder(tokenizer), [("cat", "dog", "mat"), ("cat", "dog", "mat")]
    vectors = encoder.encode(["cat", "dog", "mat"], normalize=True)
    cosines = vectors[:1] @ vectors[1:].T / 0.1
    options = {"temperature": 0.1, "contrast": 1.0, "epochs": 1} | OPTIONS
    record = distillation.train_distilled(encoder, examples, cosines[[0, 0]], **options)[0]
    right, wrong = np.exp(cosines[0])
    np.testing.assert_allclose(record["loss"], -np.log(right / (right + 2 * wrong)), rtol=1e-3, atol=1e-4)


def test_distillation_refuses_what_cannot_be_right(tokenizer):
    """Shapes, losses, numbers."""
    encoder, examples = sentence_encoder(tokenizer), [("q", "a", "b"), ("r", "b", "a")]
    good = np.zeros((2, 2))
    for teacher, options, message in (
        (np.zeros((2, 3)), {}, r"finite scores of shape \(2, 2\), got \(2, 3\)"),
        (good * np.nan, {}, "finite scores"),
        (good, {"loss": "mse"}, "a loss of kl, margin_mse, got 'mse'"),
        (good, {"temperature": 0}, "a temperature above 0"),
        (good, {"contrast": -1}, "contrast of 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            distillation.train_distilled(encoder, examples, teacher, epochs=1, **options)


# ---- ColBERT ---------------------------------------------------------------------------------------------------------


def test_colbert_trains_with_negatives_and_with_a_teacher(tokenizer):
    """Hard negatives and, in version 2, a cross-encoder's scores; what cannot be right is refused."""
    config = ColBERTConfig(tokenizer.vocab_size, **SIZES, dim=8, query_length=8, max_length=16)
    model = ColBERT.create(tokenizer, config)
    examples = dpr.hard_negatives(PAIRS, PASSAGES, rankings(5))
    teacher = np.tile([4.0, 0.0], (len(examples), 1))
    assert falls(train_colbert(model, examples, epochs=9, **OPTIONS))
    assert falls(train_colbert(ColBERT.create(tokenizer, config), examples, teacher=teacher, epochs=9, **OPTIONS))
    for bad, options, message in (
        (examples[:1], {}, "at least 2 pairs"),
        (examples, {"batch_size": 1}, "batch size of 2, got 28 and 1"),
        (examples, {"micro_batch": 1}, "micro-batches of at least 2 pairs, got 1"),
        ([*examples, ("q", "a")], {}, r"as many passages in every example, got \[2, 3\]"),
        (examples, {"teacher": teacher[:, :1]}, r"scores of shape \(28, 2\)"),
        (examples, {"teacher": teacher * np.nan}, r"scores of shape \(28, 2\), got \[nan nan\] in row 0"),
    ):
        with pytest.raises(ValueError, match=message):
            train_colbert(model, bad, epochs=1, **options)


def test_in_batch_recipes_refuse_a_batch_of_one(tokenizer):
    """Every contrastive recipe needs something to tell a passage from; equal passages are not that."""
    encoder = sentence_encoder(tokenizer)
    for run in (
        lambda: e5.train_weak(encoder, PAIRS[:1]),
        lambda: sentence_t5.train_two_stages(encoder, PAIRS, [], batch_sizes=(1, 1)),
        lambda: dpr.train_dpr(DualEncoder.from_encoder(encoder, max_length=16), PAIRS, batch_size=1),
    ):
        with pytest.raises(ValueError, match="at least 2 pairs and a batch size of 2"):
            run()
    assert losses.diagonal_cross_entropy(np.ones((2, 2)), ids=np.array([7, 7]))[0] == 0
