"""BM25: words, scores by the formula, the first k without scoring all, files."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import interpreted
from minibert.checkpoint import CheckpointError
from minibert.retrieval.bm25 import BM25, Postings, highest_impacts, search_batch
from minibert.retrieval.words import Vocabulary, words
from oracles.bm25 import bm25 as oracle

pytestmark = pytest.mark.kernels
texts_of_few_words = st.lists(
    st.lists(st.sampled_from("a b c d e f the of".split()), max_size=8).map(" ".join), max_size=12
)
any_text = st.text(st.one_of(st.characters(), st.sampled_from("ab _+#1é中國ひらกข한ﬁǅß\ud800")), max_size=30)


def built(index, texts, ids=None):
    """The index with these texts added."""
    index.add(texts, ids)
    return index


@pytest.mark.parametrize(
    "text, expected",
    [
        ("C++ and C#, not a+b: naïve, x_1", ["c++", "and", "c#", "not", "a", "b", "naïve", "x_1"]),
        ("STRASSE ﬁne", ["strasse", "fine"]),
        ("a++b c+#", ["a", "b", "c+#"]),
        ("东京大学 ひ B2", ["东京", "京大", "大学", "ひ", "b2"]),
        ("हिन्दी 5 + 5", ["हिन्दी", "5", "5"]),
        ("佐々木", ["佐々", "々木"]),
        ("ΜΑΪ́ΟΥ", words("μαΐου")),
        ("", []),
        (" \n!", []),
    ],
)
def test_words_by_example(text, expected):
    """Signs behind a word, case, ligatures, scripts without blanks, marks inside words."""
    assert words(text) == expected


@given(st.lists(any_text, max_size=6))
@example(["a++b", "c+#", "ภาษาไทย+"])
def test_vocabulary_numbers_the_words(texts):
    """The kernel finds the words of the plain form, and equal numbers are equal words."""
    vocabulary = Vocabulary()
    numbers, starts = vocabulary.number(texts)
    names = list(vocabulary)
    found = [[names[n] for n in numbers[a:b]] for a, b in zip(starts, starts[1:], strict=False)]
    assert found == [words(text) for text in texts]
    assert len(set(names)) == len(names) == len(vocabulary)
    assert vocabulary.find(names).tolist() == list(range(len(names)))
    assert vocabulary.find(["no such word"]).tolist() == [-1]


def test_vocabulary_grows_over_blocks():
    """Thousands of texts in several blocks get one number a word."""
    texts = [f"word{i} word{i // 2} same" for i in range(200 if interpreted() else 3000)]
    vocabulary = Vocabulary()
    numbers, _ = vocabulary.number(iter(texts))
    names = list(vocabulary)
    assert [names[n] for n in numbers] == [word for text in texts for word in text.split()]


@given(texts_of_few_words, texts_of_few_words, st.sampled_from([0.0, 1.2, 1.5]), st.sampled_from([0.0, 0.75, 1.0]))
def test_bm25_scores_by_the_formula(texts, queries, k1, b):
    """Each score is the formula's, to the rounding of float32 sums."""
    index = built(BM25(k1, b), texts)
    documents = [text.split() for text in texts]
    for query in queries:
        expected = oracle(documents, query.split(), k1, b)
        np.testing.assert_allclose(index.scores(query), expected, rtol=1e-5, atol=0)


@given(texts_of_few_words, texts_of_few_words, st.data())
def test_bm25_terms_add_up_to_the_scores(texts, queries, data):
    """Documents in any order, others removed, ids that do not ascend: each word gives what it alone would score."""
    ids = data.draw(st.permutations(range(100, 100 + len(texts))))
    index = built(BM25(), texts, ids)
    gone = data.draw(st.sets(st.sampled_from(ids), max_size=3)) if ids else set()
    index.remove(sorted(gone))
    asked = data.draw(st.permutations([id for id in ids if id not in gone]))

    def scored(query):
        score = dict(zip(index.ids.tolist(), index.scores(query).tolist(), strict=True))
        return [score[id] for id in asked]

    for query in queries:
        names, values = index.terms(query, asked)
        np.testing.assert_allclose(values.sum(axis=1), scored(query), rtol=1e-6)
        for name, column in zip(names, values.T, strict=True):
            assert column.tolist() == scored(" ".join([name] * query.split().count(name)))
    with pytest.raises(ValueError, match="id 99 is not in the index"):
        index.terms("a", [99])


@given(texts_of_few_words, texts_of_few_words, st.integers(1, 14), st.data())
def test_bm25_search_is_the_top_of_all_scores(texts, queries, k, data):
    """The first k by score, then by row, among the allowed; no hit has score 0."""
    index = built(BM25(), texts)
    allow = data.draw(st.none() | st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)).map(np.array))
    allow = None if allow is None else allow.astype(bool)
    ids, scores = index.search(queries, k, allow, threads=data.draw(st.sampled_from([1, 3])))
    for query, row, row_scores in zip(queries, ids, scores, strict=True):
        everything = index.scores(query) * (True if allow is None else allow)
        best = [i for i in np.lexsort((np.arange(len(texts)), -everything)).tolist() if everything[i] > 0][:k]
        got = [i for i in row.tolist() if i >= 0]
        np.testing.assert_allclose(row_scores[: len(got)], everything[best], rtol=1e-5)
        assert len(got) == len(best) == np.count_nonzero(row_scores)
        assert set(got) <= set(np.flatnonzero(everything).tolist())


def test_bm25_prunes_and_stays_exact():
    """Zipf-like texts, where frequent words are left out of the first pass: the same hits as from all scores."""
    rng = np.random.default_rng(0)
    count = 60 if interpreted() else 4000
    texts = [" ".join(f"w{n}" for n in rng.zipf(1.3, 12) if n < 5000) for _ in range(count)]
    index = built(BM25(), texts)
    queries = [" ".join(f"w{n}" for n in rng.zipf(1.3, 7) if n < 5000) for _ in range(10 if interpreted() else 200)]
    ids, scores = index.search(queries, 10)
    for query, row, row_scores in zip(queries, ids, scores, strict=True):
        everything = index.scores(query)
        order = np.lexsort((np.arange(count), -everything))[:10]
        np.testing.assert_allclose(row_scores, everything[order], rtol=1e-5)
        got = row[row >= 0]
        np.testing.assert_allclose(everything[got], row_scores[: len(got)], rtol=1e-5)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.sampled_from(["a b", "a a c", "", "d e f a"])), max_size=8)
)
def test_bm25_changes_leave_what_a_fresh_index_has(changes):
    """After adds, replacements and removals every score is the same to the bit as in an index built at once."""
    index, model = BM25(), {}
    for add, id, text in changes:
        if add:
            index.add([text], [id])
            model.pop(id, None)
            model[id] = text
        elif id in model:
            index.remove([id])
            del model[id]
    fresh = built(BM25(), list(model.values()), list(model))
    assert index.ids.tolist() == fresh.ids.tolist() == list(model)
    for query in ("a", "b c", "d a a"):
        np.testing.assert_array_equal(index.scores(query), fresh.scores(query))
        np.testing.assert_array_equal(index.search([query], 3)[0], fresh.search([query], 3)[0])


def test_bm25_ids_and_allow():
    """Ids are the caller's; a mask or a list of ids leaves out the others."""
    index = built(BM25(), ["red fish", "blue fish", "one fish", "no"], ids=[40, 30, 20, 10])
    assert index.search(["fish"], 4)[0].tolist() == [[40, 30, 20, -1]]
    assert index.search(["fish"], 2, allow=[20, 10])[0].tolist() == [[20, -1]]
    assert index.search(["fish"], 2, allow=np.array([False, True, False, True]))[0].tolist() == [[30, -1]]


def test_bm25_answers_where_nothing_is():
    """Empty corpus, empty documents, unknown words: no hits, and no error."""
    for texts in ([], ["", "  "], ["something else"]):
        ids, scores = built(BM25(), texts).search(["fish", ""], 3)
        assert ids.tolist() == [[-1] * 3] * 2
        assert not scores.any()
    assert built(BM25(), ["fish"]).search([], 3)[0].shape == (0, 3)


def test_bm25_stems_documents_and_questions():
    """Words with one stem are one word, and the file remembers that there is a stemmer."""
    index = built(BM25(stem=lambda word: word.rstrip("s")), ["many cats", "one cat", "dogs"])
    assert index.search(["cats"], 3)[0].tolist() == [[0, 1, -1]]
    assert len(index.vocabulary) == 4


@given(texts_of_few_words)
def test_bm25_save_and_load_change_nothing(tmp_path_factory, texts):
    """A loaded index gives the same ids and scores, bit for bit, and what was kept with it."""
    path = tmp_path_factory.mktemp("bm25") / "index.bm25"
    index = built(BM25(1.2, 0.5), texts, ids=range(7, 7 + len(texts)))
    index.metadata["generation"] = "g1"
    index.save(path)
    loaded = BM25.load(path)
    assert loaded.metadata == {"generation": "g1"}
    loaded.add(["a z"], [99])
    loaded.remove([99])
    for a, b in zip(index.search(["a b the", "c"], 5), loaded.search(["a b the", "c"], 5), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bm25_refuses_a_damaged_file_and_another_stemmer(tmp_path):
    """A flipped byte and a file written with a stemmer are errors that name the file."""
    path = tmp_path / "index.bm25"
    built(BM25(stem=lambda word: word[:4]), ["connected cats"]).save(path)
    with pytest.raises(CheckpointError, match="index.bm25: written with another stemmer"):
        BM25.load(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="index.bm25"):
        BM25.load(path, stem=lambda word: word[:4])


def test_bm25_stays_whole_when_an_add_is_refused():
    """Words of texts that were refused are nobody's, in memory and in the file."""
    index = built(BM25(), ["alpha beta"])
    with pytest.raises(ValueError, match="expected one for each"):
        index.add(["gamma delta"], ids=[5, 6])
    assert index.search(["gamma"], 1)[0].tolist() == [[-1]]
    assert not index.scores("delta").any()
    index.add(["delta"])
    assert index.search(["delta"], 2)[0].tolist() == [[1, -1]]


def test_bm25_loaded_index_takes_more(tmp_path):
    """What was read from a file can grow."""
    built(BM25(), ["alpha beta"]).save(tmp_path / "x.bm25")
    loaded = BM25.load(tmp_path / "x.bm25")
    loaded.add(["", "gamma"])
    assert loaded.search(["gamma"], 1)[0].tolist() == [[2]]


def test_bm25_default_ids_end_with_the_integers():
    """After the largest id there is no next one."""
    index = built(BM25(), ["a"], [2**63 - 1])
    with pytest.raises(ValueError, match="no 1 numbers are left"):
        index.add(["b"])


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: BM25(k1=-1), ValueError, "k1"),
        (lambda: BM25(b=2), ValueError, "b in"),
        (lambda: built(BM25(), ["a", None]), TypeError, r"texts\[1\]: expected str, got NoneType"),
        (lambda: built(BM25(), ["a"], ids=[1, 2]), ValueError, "expected one for each of 1"),
        (lambda: built(BM25(), ["a"]).remove([3]), ValueError, "id 3 is not in the index"),
        (lambda: built(BM25(), ["a"]).search("a"), TypeError, "expected a sequence"),
        (lambda: built(BM25(), ["a"]).search(["a", 3]), TypeError, r"queries\[1\]"),
        (lambda: built(BM25(), ["a"]).search(["a"], 0), ValueError, "k: expected"),
    ],
)
def test_bm25_refuses_bad_input(call, error, message):
    """Errors say what was expected, what came and where."""
    with pytest.raises(error, match=message):
        call()


def test_bm25_tie_with_a_row_that_only_the_later_word_finds():
    """Rows met by the first word do not shut out one of the second that is just as good and stands before them."""
    starts = np.array([0, 1, 20])  # the first word is in row 1, the second in row 0 and in many others
    rows, impacts = np.array([1, 0, *range(2, 20)], np.int32), np.array([1, 1, *[0.5] * 18], np.float32)
    postings = Postings(starts, rows, impacts, highest_impacts(starts, impacts))
    found, scores = np.full((1, 1), -1, np.int64), np.zeros((1, 1), np.float32)
    terms, weights = np.array([0, 1]), np.ones(2, np.float32)
    search_batch(postings, 20, np.array([0, 2]), terms, weights, np.empty(0, np.bool_), False, found, scores)
    assert found.tolist() == [[0]] and scores.tolist() == [[1.0]]
