"""The measuring tools: the peer's protocol (served here by the tests' own interpreter), timing, rows, tables."""

import sys

import numpy as np
import pytest

from benchmarks.harness import Row, compare, in_turn, require_at_least, require_close, require_equal, table
from benchmarks.peers import Peer, PeerError

PEER = """
import os
import numpy as np

def echo(**values):
    print("noise on stdout must not disturb the answers")
    return values

def environment():
    return dict(os.environ)

def fail():
    raise ValueError("pang")

def die():
    os._exit(3)
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_PEERS", sys.executable)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    script = tmp_path / "peer.py"
    script.write_text(PEER, encoding="utf-8")
    with Peer(script, threads=2) as peer:
        yield peer


def test_peer_returns_what_it_was_given(peer):
    """Nested JSON values and arrays of every shape and type come back equal."""
    matrix, empty = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4), np.int64)
    result = peer.call("echo", text="é\ud800\n", nested=[1, {"m": matrix}, None], empty=empty, scalar=np.float32(0.5))
    assert result["text"] == "é\ud800\n" and result["nested"][0] == 1 and result["scalar"] == 0.5
    np.testing.assert_array_equal(result["nested"][1]["m"], matrix)
    assert result["empty"].shape == (0, 4) and result["empty"].dtype == np.int64
    assert peer.last_seconds > 0


def test_peer_raises_with_its_traceback_and_goes_on(peer):
    """An exception in the peer carries its traceback here; the next call works; a death names the exit code."""
    with pytest.raises(PeerError, match="(?s)in fail.*ValueError: pang"):
        peer.call("fail")
    assert peer.call("echo", a=1) == {"a": 1}
    with pytest.raises(PeerError, match="no function 'absent'"):
        peer.call("absent")
    with pytest.raises(PeerError, match="died in die .exit code 3"):
        peer.call("die")


def test_peer_environment_is_its_own(peer):
    """Our BLAS kernel does not leak into the library; its threads are the ones asked for."""
    environment = peer.call("environment")
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["OMP_NUM_THREADS"] == environment["RAYON_NUM_THREADS"] == "2"


def test_peer_missing_interpreter_names_the_remedy(monkeypatch, tmp_path):
    """Without the peers' environment the error says what to run."""
    monkeypatch.setenv("MINIBERT_PEERS", str(tmp_path / "nowhere"))
    with pytest.raises(PeerError, match="make peers"):
        Peer("worker")


def test_compare_alternates_and_takes_measured_seconds():
    """Two callables alternate, each first in turn; seconds that a callable measured itself are used."""
    order = []

    def ours():
        order.append("ours")
        return 2.0

    def theirs():
        order.append("theirs")
        return 6.0

    result = compare(ours, theirs, rounds=2, warmup=0)
    assert order == ["ours", "theirs", "theirs", "ours"]
    assert (result.ours, result.theirs, result.ratio) == (2.0, 6.0, 3.0)


def test_compare_pairs_rounds():
    """The ratio is the median of the rounds' own: a round in which the machine was slow for both says the same."""
    ours, theirs = iter([9.0, 1.0, 10.0, 2.0]), iter([9.0, 2.0, 20.0, 8.0])
    result = compare(lambda: next(ours), lambda: next(theirs), rounds=3, warmup=1)
    assert result.ours_rounds == [1.0, 10.0, 2.0] and result.ratio == 2.0


def test_in_turn_reverses_every_second_round():
    """Whoever was first is last in the next round; the warm-up is not in the result."""
    order = []

    def call(name):
        return lambda: order.append(name) or float(len(order))

    taken = in_turn({name: call(name) for name in "abc"}, rounds=2, warmup=1)
    assert "".join(order) == "cba" + "abc" + "cba"
    assert taken == {"a": [4.0, 9.0], "b": [5.0, 8.0], "c": [6.0, 7.0]}


def test_row_ratio_is_above_one_where_ours_is_better():
    """A higher rate and a shorter time or less memory are better; the rounds stay pairs."""
    result = compare(lambda: 2.0, lambda: 6.0, rounds=2)
    assert Row.timed("encode", "MB/s", result, 12.0).ours == [6.0, 6.0]
    assert Row.timed("encode", "MB/s", result, 12.0).ratios == [3.0, 3.0]
    assert Row.timed("step", "ms", result).theirs == [6000.0, 6000.0]
    assert Row("build", "s", [2.0, 1.0], [2.0, 3.0]).ratios == [1.0, 3.0]
    assert Row("memory", "MB", [10.0], [5.0]).ratios == [0.5]
    assert Row("start", "s", [1.0]).ratios == []


@pytest.mark.parametrize(
    "check",
    [
        lambda: require_equal("ids", [1, 2], [1, 3]),
        lambda: require_equal("ids", [1, 2], [1, 2, 3]),
        lambda: require_close("vectors", [1.0], [1.1], atol=0.05),
        lambda: require_close("vectors", [1.0, 2.0], [1.0], atol=1),
        lambda: require_close("loss", [float("nan")], [1.0], rtol=1),
        lambda: require_at_least("recall", 0.9, 0.95, room=0.01),
    ],
)
def test_differing_outputs_end_the_benchmark(check):
    """The process ends with a message, which is exit code 1."""
    with pytest.raises(SystemExit, match="nothing to time"):
        check()


def test_agreeing_outputs_pass():
    """Equal arrays, arrays as close as asked, a recall within its room."""
    require_equal("ids", np.array([1, 2], np.int32), [1, 2])
    require_close("vectors", np.float32([1.0]), [1.04], atol=0.05)
    require_at_least("recall", 0.945, 0.95, room=0.01)


def test_table_is_markdown():
    """A header, a rule and one line a row, columns aligned."""
    assert table(["name", "x"], [["a", 1.23456], ["b", 12345.6]]).splitlines() == [
        "| name | x      |",
        "| ---- | ------ |",
        "| a    | 1.23   |",
        "| b    | 12,346 |",
    ]
