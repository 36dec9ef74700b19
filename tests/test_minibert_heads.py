"""BERT's heads and the models that have one: gradients, folders, scores in any company, spans, words over tokens."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import assert_gradient, assert_weights_gradient, bert_tokenizer, tiny_tokenizer
from minibert.checkpoint import CheckpointError, load_file, save_file
from minibert.encoder import initialize
from minibert.formats import Question
from minibert.heads import HeadConfig
from minibert.models.classifier import Classifier
from minibert.models.cross_encoder import CrossEncoder
from minibert.models.headed import Examples, fit
from minibert.models.reader import Reader, best_spans, places
from minibert.models.sentence_encoder import SentenceEncoder
from minibert.models.tagger import Tagger
from minibert.ops import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    span_cross_entropy,
    span_cross_entropy_backward,
)
from minibert.ragged import Ragged
from strategies import ragged_batches

TOKENIZER = tiny_tokenizer()
LABELS = {Classifier: ("bad", "good"), CrossEncoder: ("LABEL_0",), Tagger: ("O", "B-X", "I-X"), Reader: ()}
MODELS = [Classifier, CrossEncoder, Tagger, Reader]


def new_model(kind, seed=0, **changes):
    sizes = dict(width=16, layers=2, heads=2, ffn=24, positions=32, max_length=16, dropout=0.0)
    config = HeadConfig(TOKENIZER.vocab_size, **sizes | {"head": kind.head, "labels": LABELS[kind]} | changes)
    return kind.create(TOKENIZER, config, seed)


def some_examples(kind, batch, rng):
    """Random targets of the kind's form."""
    if kind is Tagger:
        return Examples(batch, np.r_[0, rng.integers(-1, 3, len(batch.ids) - 1)], per_token=True)
    if kind is Reader:
        return Examples(batch, np.stack([rng.integers(0, batch.lengths), rng.integers(0, batch.lengths)], axis=1))
    return Examples(batch, rng.integers(0, 2, len(batch)))


def test_binary_cross_entropy_is_its_formula_and_has_its_gradient():
    """Also where e^s overflows; targets may lie between no and yes."""
    rng = np.random.default_rng(0)
    scores, targets = 5 * rng.standard_normal(7), rng.random(7)
    loss, _ = binary_cross_entropy(scores, targets)
    p = 1 / (1 + np.exp(-scores))
    assert loss == pytest.approx(-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)), rel=1e-12)
    assert_gradient(lambda s: binary_cross_entropy(s, targets), binary_cross_entropy_backward, [scores], rng)
    far, cache = binary_cross_entropy(np.array([1000.0, -1000.0]), np.array([0, 1]))
    assert far == 1000
    assert binary_cross_entropy_backward(1.0, cache).tolist() == [0.5, -0.5]
    with pytest.raises(ValueError, match="got 2 in row 1"):
        binary_cross_entropy(np.zeros(2), np.array([0, 2]))


@given(ragged_batches(), st.integers(0, 2**32 - 1))
def test_span_cross_entropy_is_a_softmax_over_each_sequence_alone(batch, seed):
    """The mean of 2 B cross entropies, written out; the gradient by differences."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((len(batch.ids), 2))
    targets = rng.integers(0, batch.lengths[:, None], (len(batch), 2))
    loss, _ = span_cross_entropy(scores, batch, targets)
    losses = []
    for b, (start, end) in enumerate(zip(batch.starts[:-1], batch.starts[1:], strict=True)):
        for side in (0, 1):
            own = scores[start:end, side]
            losses.append(np.log(np.exp(own).sum()) - own[targets[b, side]])
    assert loss == pytest.approx(np.mean(losses), rel=1e-12)
    assert_gradient(lambda s: span_cross_entropy(s, batch, targets), span_cross_entropy_backward, [scores], rng)


def test_span_cross_entropy_refuses_places_outside_a_sequence():
    """Else a place would fall into the padding, and the loss be infinite."""
    batch = Ragged.from_sequences([[1, 2, 3], [1]])
    with pytest.raises(ValueError, match=r"0 … 0, got \[0, 1\] in sequence 1"):
        span_cross_entropy(np.zeros((4, 2)), batch, np.array([[0, 2], [0, 1]]))


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_of_every_model_equal_differences(kind):
    """In float64, along random directions of all weights, encoder and head; examples in any order give the same."""
    rng = np.random.default_rng(1)
    model = new_model(kind)
    model.parameters = model.parameters.astype(np.float64)
    model.parameters.flat += 0.1 * rng.standard_normal(model.parameters.flat.shape)
    batch = Ragged.from_sequences([rng.integers(0, TOKENIZER.vocab_size, n).tolist() for n in (5, 2, 5, 9)])
    examples = some_examples(kind, batch, rng)
    loss, d = model.loss_and_gradients(examples)
    turned = model.loss_and_gradients(examples.take(np.array([3, 1, 0, 2])))
    assert turned[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(turned[1].flat, d.flat, atol=1e-12)
    assert_weights_gradient(model.parameters, lambda: model.loss_and_gradients(examples), rng)


@pytest.mark.parametrize("kind", MODELS)
def test_folders_give_back_the_model_and_refuse_others(kind, tmp_path):
    """Weights, labels, length and tokenizer; another head, a changed tokenizer, missing weights are told."""
    model = new_model(kind)
    model.save(tmp_path)
    again = kind.load(tmp_path)
    assert again.config == model.config and again.fingerprint == model.fingerprint
    other = Tagger if kind is not Tagger else Reader
    with pytest.raises(CheckpointError, match="expected a BertFor"):
        other.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text().replace("the", "thy"))
    with pytest.raises(CheckpointError, match="not the file that model.safetensors was saved with"):
        kind.load(tmp_path)
    model.save(tmp_path)
    tensors, _ = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.startswith("bert."))
    save_file(tmp_path / "model.safetensors", {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(CheckpointError, match="missing"):
        kind.load(tmp_path)


def test_labels_that_do_not_exclude_each_other_are_refused(tmp_path):
    """Their probabilities are no softmax."""
    new_model(Classifier).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"problem_type": "multi_label_classification"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="labels that exclude each other, got multi_label_classification"):
        Classifier.load(tmp_path)


def test_labels_without_names_are_those_of_transformers(tmp_path):
    """transformers leaves out the names of two labels that nobody named."""
    new_model(Classifier).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["id2label"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Classifier.load(tmp_path).config.labels == ("LABEL_0", "LABEL_1")


def test_encoders_of_other_folders_start_a_model(tmp_path):
    """From a sentence encoder's folder and from that of another head: the encoder's weights, and the pooler's."""
    model = new_model(Classifier)
    model.save(tmp_path / "headed")
    SentenceEncoder.load(tmp_path / "headed").save(tmp_path / "sentences")
    for folder in ("headed", "sentences"):
        for kind in (Classifier, Tagger):
            started = kind.from_encoder(tmp_path / folder, labels=("a", "b", "c"), max_length=9, dropout=0.25, seed=3)
            assert started.config.labels == ("a", "b", "c")
            assert (started.config.max_length, started.config.dropout) == (9, 0.25)
            for name, tensor in started.parameters.items():
                if not name.startswith("classifier."):
                    np.testing.assert_array_equal(tensor, model.parameters[name])
    with pytest.raises(ValueError, match="at most 32 positions, got 33"):
        Reader.from_encoder(tmp_path / "headed", max_length=33)


def test_configurations_that_cannot_be_are_refused():
    """Heads, labels and vocabulary."""
    for changes, message in (
        ({"labels": ()}, "expected labels that differ"),
        ({"labels": ("a", "a")}, "expected labels that differ"),
        ({"head": "span"}, "expected no labels"),
        ({"head": "crown"}, "expected a head of"),
        ({"head": "token"}, "with the head 'sequence'"),
        ({"vocab_size": 3}, "expected a vocab_size of at least"),
        ({"pooler": True}, "expected pooler to be False"),
    ):
        config = dict(vocab_size=TOKENIZER.vocab_size, width=16, heads=2, labels=("a", "b")) | changes
        with pytest.raises(ValueError, match=message):
            Classifier.create(TOKENIZER, HeadConfig(**config))
    with pytest.raises(ValueError, match="expected a cross-encoder's one label, got 2"):
        new_model(CrossEncoder, labels=("a", "b"))
    with pytest.raises(TypeError, match="several labels, got the str 'ab'"):
        new_model(Classifier, labels="ab")


WORDS = st.sampled_from(["the", "cat", "sat", "on", "a", "dog", "catdog", "zzz", "\x00"])  # catdog: three tokens


@given(st.lists(st.lists(WORDS, max_size=20).map(" ".join), min_size=1, max_size=6), st.randoms())
def test_cross_encoder_scores_do_not_depend_on_company_or_order(documents, random):
    """Bit for bit, and for no documents there are no scores; the probability is the logit's sigmoid."""
    model = new_model(CrossEncoder)
    scores = model.score("the cat", documents)
    order = list(range(len(documents)))
    random.shuffle(order)
    np.testing.assert_array_equal(model.score("the cat", [documents[i] for i in order]), scores[order])
    np.testing.assert_array_equal(model.score("the cat", documents[:1]), scores[:1])
    np.testing.assert_allclose(model.score("the cat", documents, "probability"), 1 / (1 + np.exp(-scores)), rtol=1e-5)
    assert model.score("the cat", []).shape == (0,)


def test_cross_encoder_learns_and_bad_input_is_told(tmp_path):
    """Animals are answers, other words are not; labels that cannot teach are refused."""
    words = ["the", "cat", "sat", "on", "mat", "dog", "log"]
    pairs = [(a, b) for a in words for b in words]
    labels = [float(b in ("cat", "dog")) for _, b in pairs]
    model = new_model(CrossEncoder)
    examples = model.examples(*zip(*pairs, strict=True), labels)
    history = fit(
        model, examples, epochs=30, batch_size=16, learning_rate=5e-3, warmup=10, progress=False, folder=tmp_path
    )
    assert history[-1]["loss"] < 0.1
    scores = model.score_pairs(*zip(*pairs, strict=True))
    assert ((scores > 0) == np.array(labels)).all()
    with pytest.raises(ValueError, match="expected labels that differ, got 1.0 for all 2 pairs"):
        model.examples(["a", "b"], ["c", "d"], [1, 1])
    with pytest.raises(ValueError, match="as many labels as documents, 2, got 1"):
        model.examples(["a", "b"], ["c", "d"], [1])
    with pytest.raises(ValueError, match="scale: expected one of 'logit', 'probability', got 'percent'"):
        model.score("a", ["b"], "percent")
    with pytest.raises(TypeError, match=r"documents\[1\]: expected str, got NoneType"):
        model.score("a", ["b", None])
    with pytest.raises(CheckpointError, match="batch_size 16, now 8"):
        fit(model, examples, epochs=30, batch_size=8, learning_rate=5e-3, warmup=10, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="at least one example"):
        fit(model, examples.take(np.array([], int)))


def test_classifier_predicts_the_most_probable_label():
    """For texts and pairs, none among them; labels are checked."""
    model = new_model(Classifier)
    texts = ["the cat", "", "a dog sat on the mat"]
    probabilities = model.probabilities(texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert model.predict(texts) == [LABELS[Classifier][i] for i in probabilities.argmax(axis=1)]
    assert model.predict(texts, texts) == [
        LABELS[Classifier][i] for i in model.probabilities(texts, texts).argmax(axis=1)
    ]
    assert model.predict([]) == [] and model.probabilities([]).shape == (0, 2)
    with pytest.raises(ValueError, match="expected a label of bad, good, got 'fair' in row 1"):
        model.examples(["a", "b"], ["bad", "fair"])
    with pytest.raises(ValueError, match="expected labels that differ, got 'bad' for all 2 texts"):
        model.examples(["a", "b"], ["bad", "bad"])
    with pytest.raises(ValueError, match="as many labels as texts, 2, got 1"):
        model.examples(["a", "b"], ["bad"])


@given(st.lists(st.lists(WORDS, max_size=30), max_size=4))
def test_tagger_gives_every_word_the_label_of_its_first_token(sentences):
    """Also in later windows, and to words cut by one; a word without tokens gets O."""
    model = new_model(Tagger, max_length=8)
    batch, words = model._windows(sentences)
    assert batch.lengths.max(initial=0) <= 8
    marked = [tuple(word) for word in words[words[:, 0] >= 0].tolist()]
    with_tokens = [(i, j) for i, sentence in enumerate(sentences) for j, word in enumerate(sentence) if word != "\x00"]
    assert marked == with_tokens  # each once, in order
    firsts = [TOKENIZER.encode(sentences[i][j], add_special_tokens=False).ids[0] for i, j in with_tokens]
    assert batch.ids[words[:, 0] >= 0].tolist() == firsts
    labels = model.predict(sentences)
    assert [len(own) for own in labels] == [len(sentence) for sentence in sentences]
    for sentence, own in zip(sentences, labels, strict=True):
        assert all(label == "O" for word, label in zip(sentence, own, strict=True) if word == "\x00")


def test_tagger_learns_words_and_checks_labels():
    """cat and dog are entities; a sentence's labels are as many as its words."""
    sentences = [["the", "cat", "sat"], ["a", "dog"], ["cat", "on", "the", "mat"], ["dog", "dog", "sat"]]
    labels = [["B-X" if word in ("cat", "dog") else "O" for word in sentence] for sentence in sentences]
    model = new_model(Tagger)
    fit(model, model.examples(sentences, labels), epochs=40, batch_size=2, learning_rate=3e-3, progress=False)
    assert model.predict(sentences) == labels
    without = model.examples([["cat", "\x00"], [], ["\x00"], ["sat"]], [["B-X", "O"], [], ["O"], ["O"]])
    assert len(without) == 2  # nothing is learned where no word begins: alone in a batch it would have no loss
    for given_labels, message in (
        ([["O", "O"]], "sentence 0: expected 3 labels, one a word, got 2"),
        ([["O", "B-Y", "O"]], "expected a label of O, B-X, I-X, got 'B-Y' in row 1"),
        ([["O", "O", "O"]], "expected labels that differ, got 'O' for all words"),
        ([], "expected labels of 1 sentences, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.examples(sentences[:1], given_labels)


@given(st.integers(0, 9), st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_best_spans_are_those_of_all_pairs(tokens, longest, count, seed):
    """Every (i, j) tried; ties in favour of the earlier."""
    rng = np.random.default_rng(seed)
    first, last = rng.integers(-3, 3, (2, tokens)).astype(float)
    pairs = [(i, j, first[i] + last[j]) for i in range(tokens) for j in range(i, min(tokens, i + longest))]
    assert best_spans(first, last, longest, count) == sorted(pairs, key=lambda pair: -pair[2])[:count]


TEXTS = st.lists(WORDS, max_size=40).map(" ".join)


@given(TEXTS, st.lists(TEXTS, max_size=3), st.integers(1, 5), st.integers(1, 6))
def test_answers_are_slices_of_their_contexts_best_first(question, contexts, count, longest):
    """Never outside, never more than asked for, never too long; the same in windows as where nothing is cut off."""
    model = new_model(Reader, max_length=32)
    question = " ".join(question.split()[:6])
    answers = model.answer(question, contexts, count, threshold=None, longest=longest)
    assert len(answers) <= count
    assert [a.margin for a in answers] == sorted((a.margin for a in answers), reverse=True)
    for answer in answers:
        assert answer.text == contexts[answer.context][answer.start : answer.end] != ""
        tokens = TOKENIZER.encode(contexts[answer.context], add_special_tokens=False).offsets
        assert sum(answer.start <= start and end <= answer.end for start, end in tokens) <= longest
    sure = model.answer(question, contexts, count, longest=longest)
    assert [a for a in answers if a.margin >= 0] == sure


def test_windows_hold_each_answer_and_others_point_at_cls():
    """A long context in windows of 12 tokens: every window with the whole answer has its tokens, all others [CLS]."""
    model = new_model(Reader, max_length=16)
    context = "the cat sat on the mat and a dog sat on a log and the cat on the mat"
    start = context.index("a dog sat")
    question = Question("1", "the dog", context, (("a dog sat", start),))
    examples = model.examples([question])
    windows = model._windows([question.question], [context], None)
    held = 0
    for row, (first, last) in enumerate(examples.targets.tolist()):
        offsets = windows.row(row)["offsets"]
        if last:
            held += 1
            assert context[offsets[first][0] : offsets[last][1]] == "a dog sat"
        else:
            own = offsets[windows.row(row)["sequence_ids"] == 1]
            assert own[0][0] > start or own[-1][1] < start + len("a dog sat")
    assert 0 < held < len(examples)
    nothing = model.examples([Question("2", "the dog", context)])
    assert not nothing.targets.any()


def test_no_answer_scores_as_in_the_window_where_it_scores_least():
    """SQuAD's convention: the margin is over the least [CLS] of all windows, the score of the best span of any."""
    model = new_model(Reader, max_length=16)
    context = "the cat sat on the mat and a dog sat on a log and the cat on the mat"
    windows = model._windows(["the dog"], [context], None)
    scores = model.outputs(Ragged(windows.ids, windows.type_ids, windows.starts)).astype(np.float64)
    nothing = [scores[start].sum() for start in windows.starts[:-1]]
    best = -np.inf
    for row in range(len(windows)):
        tokens = windows.starts[row] + np.flatnonzero(windows.row(row)["sequence_ids"] == 1)
        best = max([best, *(scores[i, 0] + scores[j, 1] for i in tokens for j in tokens if i <= j)])
    [answer] = model.answer("the dog", [context], threshold=None)
    assert model.answer("the dog", [context], threshold=answer.margin) == [answer]  # the least one
    assert len(windows) > 1 and max(nothing) > min(nothing)
    assert answer.score == pytest.approx(best) and answer.margin == pytest.approx(best - min(nothing))


def test_places_are_the_tokens_that_cover_the_characters():
    """An answer that begins or ends within a token takes all of it."""
    row = {"sequence_ids": np.array([-1, 0, -1, 1, 1, 1, -1])}
    row["offsets"] = np.array([[0, 0], [0, 3], [0, 0], [0, 3], [4, 8], [8, 9], [0, 0]])
    assert places(row, 0, 3) == (3, 3)
    assert places(row, 5, 9) == (4, 5)
    assert places(row, 4, 7) == (4, 4)
    assert places(row, 8, 12) == (0, 0)


def test_reader_learns_a_slice_and_no_answer():
    """ "where" asks for what follows "on"; contexts without it have no answer."""
    contexts = ["the cat sat on the mat", "a dog sat on a log", "the dog", "a cat sat", "the cat on a log"]
    questions = []
    for number, context in enumerate(contexts):
        at = context.find(" on ") + 4
        answers = ((context[at:], at),) if " on " in context else ()
        questions.append(Question(str(number), "on", context, answers))
    model = new_model(Reader, max_length=32)
    fit(model, model.examples(questions), epochs=60, batch_size=5, learning_rate=3e-3, warmup=5, progress=False)
    for question in questions:
        found = model.answer("on", [question.context])
        assert [(a.text, a.start) for a in found] == list(question.answers)
    best, *_ = model.answer("on", contexts[2:], count=2)
    assert (best.context, best.text) == (2, "a log")
    assert model.predict([Question("6", "on", "\x00 ")]) == [None]
    with pytest.raises(ValueError, match="a count and a longest of at least 1, got 0 and 30"):
        model.answer("on", contexts, count=0)


def test_reader_cuts_questions_that_leave_no_room():
    """After 64 tokens, and so that a window of 32 holds more than the 10 it shares: 18; told, silent or refused."""
    model, long, contexts = new_model(Reader, max_length=32), "the cat on a " * 40, ["the mat " * 20]
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 18 tokens"):
        cut = model.answer(long, contexts, threshold=None)
    short = " ".join(long.split()[:18])
    assert cut == model.answer(short, contexts, threshold=None, on_truncate="raise")
    with pytest.raises(ValueError, match="longer than 18 tokens"):
        model.answer(long, contexts, on_truncate="raise")
    questions = [Question("1", text, contexts[0]) for text in (long, short, "")]
    assert model.predict(questions)[0] == model.predict(questions)[1] == cut[0]
    examples = model.examples(questions[:2])
    half = len(examples) // 2
    assert (
        examples.batch.ids[: examples.batch.starts[half]].tolist()
        == examples.batch.ids[examples.batch.starts[half] :].tolist()
    )
    wide = new_model(Reader, max_length=256, positions=256)
    with pytest.warns(UserWarning, match="longer than 64 tokens"):
        wide.answer(long, contexts)
    with pytest.raises(ValueError, match="a stride that leaves room for a question in 32 tokens, got 28"):
        model.answer("the", contexts, stride=28)


def test_fresh_weights_of_a_tied_table_are_small():
    """The table of words that also scores them starts with BERT's deviation, 0.02."""
    model = new_model(Reader)
    initialize(model.parameters, np.random.default_rng(0), words=0.02)
    assert model.parameters["embeddings.word_embeddings.weight"].std() == pytest.approx(0.02, rel=0.1)


def test_tokenizer_without_pairs_is_not_needed_to_classify():
    """Texts alone need no template of pairs."""
    tokenizer = bert_tokenizer()
    config = HeadConfig(tokenizer.vocab_size, width=16, heads=2, ffn=16, labels=("a", "b"))
    assert len(Classifier.create(tokenizer, config).predict(["word"])) == 1
