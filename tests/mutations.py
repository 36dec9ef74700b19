"""Mutation check (`make mutation`): would the tests notice if one line of the code were wrong?

Each of the 40 mutations below changes one line, by a sign, an index, a constant or a comparison, as a slip of the hand
would. It is applied to a copy of the tree, never in place, and the tests of that code run there as `make test` runs
them: the kernels interpreted, then everything compiled, each until the first failure. A mutation is caught where a test
fails or does not end. By number: `python tests/mutations.py 3 7`.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from conftest import kernel_cache

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / ".mutations"
SECONDS = 420  # of one run of the tests; the slowest takes a quarter of it


class Mutation(NamedTuple):
    file: str
    old: str
    new: str


LINES = {  # file: (what stands in it once, what stands there instead)
    # operations: epsilon, sign, last index, the causal mask, the backward of a mask, constants, ties
    "minibert/ops/layer_norm.py": [
        ("1.0 / np.sqrt(variance / width + eps)", "1.0 / (np.sqrt(variance / width) + eps)"),
        ("- total - xhat[t, d] * along)", "- total + xhat[t, d] * along)"),
    ],
    "minibert/ops/softmax.py": [
        ("for j in range(width // 4 * 4, width):", "for j in range(width // 4 * 4 + 1, width):"),
    ],
    "minibert/ops/attention.py": [
        ("np.ones(scores.shape[-2:], bool), 1)", "np.ones(scores.shape[-2:], bool), 2)"),
        ("softmax_backward(dropout_backward(ddropped, mask)", "softmax_backward(ddropped"),
    ],
    "minibert/ops/activations.py": [
        ("density = r + TWO * u *", "density = r + u *"),
    ],
    "minibert/ops/pooling.py": [
        ("(batch.positions + 1 + skipped)", "(batch.positions + skipped)"),
        ("first = reaches & (before == ", "first = reaches & (before >= "),
    ],
    "minibert/ops/l2_norm.py": [
        ("(y, divisor, norm >= eps)", "(y, divisor, norm > 0)"),
    ],
    "minibert/ops/cross_entropy.py": [
        ("(smoothing / classes)", "(smoothing / (classes - 1))"),
    ],
    # losses: margin, offset of a block, temperature, hinge, constants, widths
    "minibert/losses/contrastive.py": [
        ("scores - scores.dtype.type(margin)", "scores + scores.dtype.type(margin)"),
        ("right = start + np.arange(len(scores))", "right = np.arange(len(scores))"),
        ("dscores /= heat", "dscores *= heat"),
    ],
    "minibert/losses/pairs.py": [
        ("dover = (over > 0)", "dover = (over >= 0)"),
        ("total = np.exp(-top) + shares.sum()", "total = 1 + shares.sum()"),
    ],
    "minibert/losses/distillation.py": [
        ("return heat**2 * terms.sum()", "return heat * terms.sum()"),
    ],
    "minibert/losses/matryoshka.py": [
        ("gradient[:, :dim] += ", "gradient[:, :dim] = "),
    ],
    # HNSW: the bound of ef, ties, a layer too few; Algorithm 4's comparison, full lists, the tree
    "ann/hnsw_search.py": [
        ("if size < ef or found < W[ef - 1]:", "if size < ef - 1 or found < W[ef - 1]:"),
        ("if w_size < ef or key(d, e) < W[ef - 1]:", "if w_size <= ef or key(d, e) < W[ef - 1]:"),
        ("if sizes[b] < ef and found == wide:", "if sizes[b] < ef and found < wide:"),
        ("if count == k and d > distances[k - 1]:", "if count == k and d >= distances[k - 1]:"),
        ("range(graph.levels[entry_point], level, -1)", "range(graph.levels[entry_point], level + 1, -1)"),
    ],
    "ann/hnsw.py": [
        ("np.int64(R[place])) < d:", "np.int64(R[place])) <= d:"),
        ("    if size < m_max:", "    if size <= m_max:"),
        ("limit = max(1, parameters.M_max0 // 2)", "limit = max(1, parameters.M_max0 // 4)"),
    ],
    # BPE: the leftmost of equal ranks, which of two merges came first, offsets, the way back
    "tokenizers/bpe.py": [
        ("_, i, joined = min(known)", "_, i, joined = min(known, key=lambda merge: (merge[0], -merge[1]))"),
    ],
    "tokenizers/bpe_kernel.py": [
        ("rank < rank_a and rank <= rank_b:", "rank <= rank_a and rank <= rank_b:"),
        ("if 0 <= rank < best:", "if 0 <= rank <= best:"),
        ("= made_a > made_b, ", "= made_a >= made_b, "),
        ("seen - (data[i] & 0xC0 == 0x80)", "seen"),
        ("deepest = max(deepest, i)", "deepest = i"),
    ],
    # WordPiece: where the longest match ends, the token with id 0, the longest word, pieces inside a word
    "tokenizers/wordpiece.py": [
        ("range(len(word), start, -1)", "range(len(word), start + 1, -1)"),
    ],
    "tokenizers/wordpiece_kernel.py": [
        ("if token_of(unit) >= 0:", "if token_of(unit) > 0:"),
        ("known = word.n[1] <= rules.max_chars", "known = word.n[1] < rules.max_chars"),
        ("lengths[ids[t], min(position, 1)]", "lengths[ids[t], 0]"),
    ],
    # BM25: idf, length normalisation, ties in the ranking, rounding
    "minibert/retrieval/bm25.py": [
        ("/ (documents + 0.5))", "/ (documents + 1.0))"),
        ("(1 - self.b + self.b * ", "(1 + self.b * "),
    ],
    "minibert/retrieval/postings.py": [
        ("and row < rows[size - 1])", "and row > rows[size - 1])"),
        ("row < rows[place - 1])", "row > rows[place - 1])"),
        ("* (1 - size * EPSILON)", "* (1 + size * EPSILON)"),
    ],
}
MUTATIONS = [Mutation(file, old, new) for file, changes in LINES.items() for old, new in changes]

TESTS = {  # of the code whose path begins so
    "minibert/ops": "ops encoder encoder_decoder inference sentence_encoder colbert",
    "minibert/losses": "losses gradcache train sbert",
    "ann/hnsw": "hnsw index changes codes files",
    "tokenizers/bpe": "bpe tokenizer kernels",
    "tokenizers/wordpiece": "wordpiece tokenizer kernels",
    "minibert/retrieval/": "retrieval_bm25 retrieval_search",
}


def tests_of(file):
    """The test files that touch a file, the closest first."""
    names = next(names for start, names in TESTS.items() if file.startswith(start)).split()
    return [f"tests/test_{file.split('/')[0]}_{name}.py" for name in names]


def copy_tree(tree):
    """The checkout anew, with the times of its files, by which Numba knows them; compiled kernels are kept."""
    for old in tree.iterdir() if tree.exists() else ():
        if old.name != ".numba":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    skipped = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "minibert-demo")
    shutil.copytree(ROOT, tree, ignore=skipped, dirs_exist_ok=True)


def apply(mutation, tree, compiled):
    """Change the line, and prepare a cache of kernels in which those that it does not touch are found compiled.

    The cache is named after the text of all kernels (conftest.py); Numba compiles those in files of a new date anew.

    Raises   ValueError: the line does not stand in the file just once
    """
    path = tree / mutation.file
    text = path.read_text("utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file}: expected {mutation.old!r} once, got it {text.count(mutation.old)} times")
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")
    cache = kernel_cache(tree)
    if cache != compiled:
        shutil.copytree(compiled, cache)
        for other in importers(tree, path):
            os.utime(other)
    return cache


def importers(tree, path):
    """The files that import a file, or import one of these, and so on."""
    files = [other for room in ("ann", "minibert", "tokenizers") for other in (tree / room).rglob("*.py")]
    sources = {other: other.read_text("utf-8") for other in files}
    found, waiting = set(), [path]
    while waiting:
        imported = re.compile(rf"^\s*(from|import) [\w.]*\b{waiting.pop().stem}\b", re.MULTILINE)
        new = [other for other, text in sources.items() if other not in found and imported.search(text)]
        found.update(new)
        waiting += new
    return found


def run_tests(tree, file, kernels):
    """(whether the tests of a file pass, what pytest says of the first that does not)."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(file)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    if kernels:
        command += ["-m", "kernels and not peers"]
        environment |= {"NUMBA_DISABLE_JIT": "1", "HYPOTHESIS_PROFILE": "quick"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, encoding="utf-8", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False, f"no end within {SECONDS} s"
    if done.returncode not in (0, 1):  # 1: a test failed; any other says nothing of the mutation
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return done.returncode == 0, failed[0] if failed else ""


def check(number, tree, compiled):
    """Whether a test fails where mutation `number` is in; prints the verdict."""
    mutation, start = MUTATIONS[number - 1], time.perf_counter()
    copy_tree(tree)
    cache = apply(mutation, tree, compiled)
    passed, failed = run_tests(tree, mutation.file, kernels=True)
    if passed:
        passed, failed = run_tests(tree, mutation.file, kernels=False)
    if cache != compiled:
        shutil.rmtree(cache)
    told = "NOT CAUGHT" if passed else f"caught by {failed}"
    print(f"{number:2}  {mutation.file}: {mutation.new}\n    {told} ({time.perf_counter() - start:.0f} s)", flush=True)
    return not passed


def main(numbers):
    """Check the mutations of these numbers; the exit code is 1 where more than two in forty are not caught."""
    copy_tree(TREE)
    for file in {tests_of(MUTATIONS[number - 1].file)[0]: MUTATIONS[number - 1].file for number in numbers}.values():
        passed, failed = run_tests(TREE, file, kernels=False)
        if not passed:
            raise RuntimeError(f"{failed} fails without any mutation")
    compiled = kernel_cache(TREE)
    caught = sum([check(number, TREE, compiled) for number in numbers])
    print(f"{caught} of {len(numbers)} caught")
    return 0 if caught >= len(numbers) * 38 / 40 else 1


if __name__ == "__main__":
    sys.exit(main([int(number) for number in sys.argv[1:]] or range(1, len(MUTATIONS) + 1)))
