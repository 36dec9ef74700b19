"""The measuring tools: the peer's protocol (served here by the tests' own interpreter), timing, tables."""

import sys

import numpy as np
import pytest

from benchmarks.harness import compare, table
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
    assert (result.ours, result.theirs, result.ratio, result.ours_spread) == (2.0, 6.0, 3.0, 0.0)


def test_table_is_markdown():
    """A header, a rule and one line a row, columns aligned."""
    assert table(["name", "x"], [["a", 1.23456], ["b", 12345.6]]).splitlines() == [
        "| name | x      |",
        "| ---- | ------ |",
        "| a    | 1.23   |",
        "| b    | 12,346 |",
    ]
