"""The index of late interaction: codes, the three steps of a search, changes, files."""

import errno
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ann
from ann.files import CorruptIndexError, read_tables, write_tables
from minibert.ops import max_sim
from minibert.ragged import TokenVectors
from minibert.retrieval import colbert_index, residual_codes
from minibert.retrieval.colbert_index import ColBERTIndex, estimate, estimate_fast

DIM = 16
TOPICS = np.random.default_rng(0).standard_normal((40, DIM))


def texts(rng, count, longest=12, noise=0.3):
    """Texts of tokens around a few topics, unit vectors."""
    lengths = rng.integers(1, longest + 1, count)
    rows = TOPICS[rng.integers(0, len(TOPICS), lengths.sum())] + noise * rng.standard_normal((lengths.sum(), DIM))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return TokenVectors(rows.astype(np.float32), np.concatenate(([0], np.cumsum(lengths))))


def part(documents, first, last):
    return TokenVectors.from_list([documents[i] for i in range(first, last)], DIM)


def brute_force(queries, vectors, k):
    """Ids of highest MaxSim with {id: vectors}, equal scores by the smaller id; and the scores."""
    numbers = np.array(sorted(vectors))
    scores = max_sim(queries, TokenVectors.from_list([vectors[i] for i in numbers.tolist()], DIM))[0]
    orders = [np.lexsort((numbers, -row))[:k] for row in scores]
    return numbers[orders], np.take_along_axis(scores, np.array(orders), axis=1)


@pytest.fixture
def few():
    """The young are coded from 64 tokens on, so that small indexes are coded too."""
    with patch.object(colbert_index, "YOUNG", 64):
        yield


@pytest.mark.kernels
@given(st.sampled_from(residual_codes.BITS), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_residual_codes_kernels_equal_the_plain_forms(bits, rows, dim, seed):
    """Any width, whole bytes or not; each number decodes to the level nearest to it."""
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((3, dim)).astype(np.float32)
    levels = np.sort(rng.standard_normal((3, 1 << bits)), axis=1).astype(np.float32)
    vectors, owners = rng.standard_normal((rows, dim)).astype(np.float32), rng.integers(0, 3, rows).astype(np.int32)
    codes = residual_codes.pack(vectors, centroids, levels, owners, bits)
    np.testing.assert_array_equal(residual_codes.pack_fast(vectors, centroids, levels, owners, bits), codes)
    plain = residual_codes.unpack(codes, centroids, levels, owners, bits)
    np.testing.assert_allclose(
        residual_codes.unpack_fast(codes, centroids, levels, owners, bits), plain, rtol=1e-5, atol=1e-6
    )
    nearest = np.array(
        [
            [
                centroids[c, d] + min(levels[c], key=lambda level, c=c, d=d: abs(v[d] - centroids[c, d] - level))
                for d in range(dim)
            ]
            for v, c in zip(vectors, owners, strict=True)
        ]
    )
    np.testing.assert_allclose(plain, nearest / np.linalg.norm(nearest, axis=1)[:, None], rtol=1e-4, atol=1e-6)


@pytest.mark.kernels
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_estimate_kernel_equals_the_plain_form(count, tokens, seed):
    """Centroid interaction of any documents, in any order."""
    rng = np.random.default_rng(seed)
    starts = np.concatenate(([0], np.cumsum(rng.integers(1, 5, count))))
    products = rng.standard_normal((4, tokens)).astype(np.float32)
    owners, documents = rng.integers(0, 4, starts[-1]).astype(np.int32), rng.permutation(count)
    got = estimate_fast(products, owners, starts, documents)
    np.testing.assert_allclose(got, estimate(products, owners, starts, documents), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4, None])
def test_exact_search_is_brute_force(few, bits):
    """Every document scored with the vectors that the index holds, coded and young; whole ones are the given ones."""
    rng = np.random.default_rng(1)
    documents, queries = texts(rng, 60), texts(rng, 5)
    index = ColBERTIndex(DIM, bits)
    for first in (0, 40, 58):
        index.add(part(documents, first, min(first + 40, 60)) if first < 58 else part(documents, 0, 2), None)
    held = {int(i): index.vectors(int(i)) for i in index.ids}
    ids, scores = index.search(queries, k=7, exact=True)
    expected, expected_scores = brute_force(queries, held, 7)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    assert (len(index._held.coded.owners) > 0) == (bits is not None)
    if bits is None:
        np.testing.assert_array_equal(held[41], documents[41])


def test_probing_finds_what_exact_finds():
    """With all centroids probed and enough candidates the two agree; by default nearly so. More bits lose less."""
    rng = np.random.default_rng(2)
    documents, queries = texts(rng, 1500), texts(rng, 30)
    truth, _ = brute_force(queries, {i: documents[i] for i in range(1500)}, 10)
    recalls = []
    for bits in (1, 2, 4):
        index = ColBERTIndex(DIM, bits)
        index.add(documents)
        assert len(index._held.young) == 0
        exact = index.search(queries, exact=True)
        for got, expected in zip(index.search(queries, probes=10**6, candidates=1500), exact, strict=True):
            np.testing.assert_array_equal(got, expected)
        assert recall(index.search(queries, probes=16)[0], exact[0]) > 0.9
        recalls.append(recall(exact[0], truth))
    assert recalls == sorted(recalls) and recalls[-1] > 0.9


def recall(found, expected):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, expected, strict=True)])


def test_adding_in_parts_finds_what_adding_at_once_finds():
    """Bit for bit while all are young or nothing is coded; in coded indexes nine of ten documents at least."""
    rng = np.random.default_rng(3)
    documents, queries = texts(rng, 2500), texts(rng, 20)
    for bits, count, least in ((None, 300, 1), (2, 300, 1), (4, 2500, 0.9)):
        whole, parts = ColBERTIndex(DIM, bits), ColBERTIndex(DIM, bits)
        whole.add(part(documents, 0, count))
        for first in range(0, count, 250):
            parts.add(part(documents, first, min(first + 250, count)))
        found, expected = parts.search(queries, exact=True), whole.search(queries, exact=True)
        assert recall(found[0], expected[0]) >= least, bits
        if least == 1:
            np.testing.assert_array_equal(found[1], expected[1])


@given(st.lists(st.tuples(st.sampled_from(["add", "upsert", "remove"]), st.integers(0, 30)), max_size=12))
def test_changes_leave_what_a_dictionary_holds(changes):
    """After any adds, replacements and removals, coded or not: the living documents, and none that was removed."""
    rng = np.random.default_rng(4)
    with patch.object(colbert_index, "YOUNG", 24):
        index, model = ColBERTIndex(DIM), {}
        for change, number in changes:
            if change == "remove":
                if gone := sorted(model)[: number % (len(model) + 1)]:
                    index.remove(gone)
                    for i in gone:
                        del model[i]
                continue
            new = texts(rng, 1 + number % 3, longest=6)
            wanted = [number + n for n in range(len(new))] if change == "upsert" else None
            for place, i in enumerate(index.add(new, wanted).tolist()):
                model[i] = new[place]
            assert len(index) == len(model)
        assert sorted(index.ids.tolist()) == sorted(model)
        for i in model:  # coded or whole, it is the document that was given last
            assert index.vectors(i).shape == model[i].shape
            assert (index.vectors(i) * model[i]).sum(axis=1).min() > 0.5
        ids, scores = index.search(texts(rng, 2), k=5, exact=True)
        found = ids[ids >= 0]
        assert set(found.tolist()) <= set(model) and (ids >= 0).sum(axis=1).tolist() == [min(5, len(model))] * 2
        assert np.isneginf(scores[ids < 0]).all()


def test_new_subjects_get_centroids_when_old_documents_go(few):
    """Documents on another subject each round, the old ones removed: codes stay as good as in a new index."""
    rng = np.random.default_rng(12)
    index = ColBERTIndex(DIM, bits=1)
    for _ in range(5):
        old, topics = index.ids, rng.standard_normal((20, DIM))
        rows = topics[rng.integers(0, 20, 1600)] + 0.2 * rng.standard_normal((1600, DIM))
        rows = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)
        for first in range(0, 1600, 160):
            index.add(TokenVectors(rows[first : first + 160], np.arange(0, 161, 8)))
        index.remove(old)
    assert len(index._held.young) == 0 and len(index) == 200
    held = np.concatenate([index.vectors(int(i)) for i in index.ids])
    assert (held * rows).sum(axis=1).mean() > 0.92


def test_an_index_of_one_none_and_all_removed():
    """From one document up; what is not there is −1."""
    rng = np.random.default_rng(5)
    index, query = ColBERTIndex(DIM), texts(rng, 1)
    assert index.search(query, k=2)[0].tolist() == [[-1, -1]]
    index.add(texts(rng, 1), [7])
    assert index.search(query, k=2)[0].tolist() == [[7, -1]]
    assert index.search(query, k=2, allow=[8])[0].tolist() == [[-1, -1]]
    index.remove([7])
    assert index.search(query, k=1)[0].tolist() == [[-1]] and len(index) == 0
    assert index.add(texts(rng, 2)).tolist() == [8, 9]  # an id is not used again by itself
    assert index.search(TokenVectors.from_list([], DIM))[0].shape == (0, 10)


def test_allow_narrows_both_ways_of_searching(few):
    """Only allowed documents, as ids or as a mask, exact or not."""
    rng = np.random.default_rng(6)
    index, query = ColBERTIndex(DIM), texts(rng, 1)
    index.add(texts(rng, 50))
    for exact in (False, True):
        ids = index.search(query, k=50, allow=index.ids % 2 == 0, exact=exact, probes=1000)[0]
        assert set(ids[ids >= 0].tolist()) == set(range(0, 50, 2))
        assert set(index.search(query, k=3, allow=[1, 3, 99], exact=exact, probes=1000)[0][0].tolist()) == {1, 3, -1}


def test_threads_and_repetition_change_nothing(few, tmp_path):
    """The same calls make the same file; any number of threads gives the same answers."""
    rng = np.random.default_rng(7)
    documents, queries = texts(rng, 120), texts(rng, 6)
    for name in ("a", "b"):
        index = ColBERTIndex(DIM, seed=3)
        index.add(documents)
        index.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for one, two in zip(index.search(queries), index.search(queries, threads=2), strict=True):
        np.testing.assert_array_equal(one, two)


def test_after_the_last_id_only_given_ids_are_taken():
    """2⁶³ − 1 is the last; there is no number after it, and no document needs none."""
    rng = np.random.default_rng(9)
    index, one = ColBERTIndex(DIM), texts(rng, 1)
    index.add(one, [2**63 - 1])
    with pytest.raises(ValueError, match="no 1 numbers are left after id 9223372036854775807; pass ids"):
        index.add(one)
    assert index.add(texts(rng, 0)).tolist() == []
    index.add(one, [5])
    assert index.ids.tolist() == [2**63 - 1, 5]


def test_saved_index_is_the_same_and_goes_on(few, tmp_path):
    """Coded, young and removed documents, the numbering and the caller's strings; the next adds make the same index."""
    rng = np.random.default_rng(8)
    index, more, queries = ColBERTIndex(DIM, 4, seed=2), texts(rng, 40), texts(rng, 4)
    index.add(texts(rng, 30))
    index.add(texts(rng, 3))
    index.remove([0, 31])
    index.metadata["model"] = "tiny"
    index.save(tmp_path / "a")
    loaded = ColBERTIndex.load(tmp_path / "a")
    assert loaded.metadata == {"model": "tiny"} and len(loaded) == len(index)
    for each in (index, loaded):
        assert each.add(more).tolist() == list(range(33, 73))
    for one, two in zip(index.search(queries), loaded.search(queries), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_failed_save_keeps_the_old_file(few, tmp_path):
    """The disk fills up while writing."""
    rng, path = np.random.default_rng(9), tmp_path / "a"
    index = ColBERTIndex(DIM)
    index.add(texts(rng, 20))
    index.save(path)
    before = path.read_bytes()
    index.add(texts(rng, 20))
    with patch("os.fsync", side_effect=OSError(errno.ENOSPC, "full")), pytest.raises(OSError, match="full"):
        index.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_damaged_files_are_refused(few, tmp_path):
    """Any flipped byte or cut, tables that do not fit together, and another index's file."""
    rng, path = np.random.default_rng(10), tmp_path / "a"
    index = ColBERTIndex(DIM)
    index.add(texts(rng, 20))
    index.add(texts(rng, 2))
    index.save(path)
    content = path.read_bytes()
    for place in rng.integers(0, len(content), 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CorruptIndexError):
            ColBERTIndex.load(path)
        path.write_bytes(content[:place])
        with pytest.raises(CorruptIndexError):
            ColBERTIndex.load(path)
    path.write_bytes(content)
    tables, facts = read_tables(path)
    for name, value, message in (
        ("owners", tables["owners"] + 1000, "centroid does not exist"),
        ("centroids", tables["centroids"] * np.float32(np.nan), "not finite"),
        ("starts", tables["starts"][::-1].copy(), "shape|expected|ascend"),
        ("young", tables["young"] * 2, "unit vectors"),
        ("ids", tables["ids"] + 100, "next_id"),
        ("ids", tables["ids"] * 0, "given twice"),
        ("levels", tables["levels"][:, :2], "levels: expected"),
    ):
        write_tables(path, tables | {name: value}, facts)
        with pytest.raises(CorruptIndexError, match=message):
            ColBERTIndex.load(path)
    ann.Exact(4).save(path)
    with pytest.raises(CorruptIndexError, match="expected a ColBERTIndex, got a Exact"):
        ColBERTIndex.load(path)


def test_colbert_index_refuses_what_cannot_be_right():
    """Nothing is added after an error, which says the row."""
    rng = np.random.default_rng(11)
    index, good = ColBERTIndex(DIM), texts(rng, 3)
    bad = TokenVectors(good.rows.copy(), good.starts)
    bad.rows[good.starts[1]] = np.nan
    wide = TokenVectors(np.ones((1, DIM + 1), np.float32), np.array([0, 1]))
    for wrong, ids, message in (
        (bad, None, f"unit vectors, got length nan in row {good.starts[1]}, text 1"),
        (wide, None, r"float32 rows of 16 numbers, got float32 \(1, 17\)"),
        (good, [1, 2], "one for each of 3 documents, got 2"),
        (good, [1, 1, 2], "given twice"),
        (good, [-1, 1, 2], "integers from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            index.add(wrong, ids)
    assert len(index) == 0
    index.add(good)
    with pytest.raises(ValueError, match="id 9 at position 1 is not in the index"):
        index.remove([0, 9])
    assert len(index) == 3
    for options in ({"k": 0}, {"probes": 0}, {"candidates": 0}, {"threads": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected an integer"):
            index.search(good, **options)
    with pytest.raises(ValueError, match="bits: expected one of 1, 2, 4, or None, got 3"):
        ColBERTIndex(DIM, bits=3)
    index.remove([1])
    for gone in (5, 1, -1):
        with pytest.raises(KeyError):
            index.vectors(gone)
