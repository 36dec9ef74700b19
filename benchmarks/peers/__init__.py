"""A library to compare with, in its own interpreter: nothing of it is ever imported here.

with Peer("hnswlib_index") as peer:
    result = peer.call("build", vectors=array)   # function `build` of benchmarks/peers/hnswlib_index.py
    peer.last_seconds                            # measured inside the peer
"""

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.peers.worker import pack, unpack

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class PeerError(RuntimeError):
    """The peer raised, or is not there; the message carries its traceback."""


def interpreter():
    """The peers' Python: $MINIBERT_PEERS, else .venv-peers of this checkout."""
    path = Path(os.environ.get("MINIBERT_PEERS") or ROOT / ".venv-peers" / "bin" / "python")
    if not path.is_file():
        raise PeerError(f"no peers' interpreter at {path}: run make peers (or set MINIBERT_PEERS)")
    return path


class Peer:
    """One process of the peers' interpreter, serving the functions of benchmarks/peers/NAME.py.

    Arguments and results are JSON values in which NumPy arrays may stand anywhere; tuples come back as lists.
    """

    def __init__(self, name, threads=1):
        script = Path(name) if str(name).endswith(".py") else HERE / f"{name}.py"
        if not script.is_file():
            raise PeerError(f"no peer {name}: {script} does not exist")
        python = interpreter()
        self.last_seconds = None
        self._folder = tempfile.TemporaryDirectory(prefix="minibert-peer-")
        self._stderr = open(Path(self._folder.name) / "stderr", "w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [python, "-I", HERE / "worker.py", script.resolve(), self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(threads),
            encoding="utf-8",
        )

    def call(self, function, **arguments):
        """Run a function of the peer; its result, or PeerError with the peer's traceback."""
        request = {"function": function, "arguments": pack(arguments, self._folder.name, "request")}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            line = ""
        else:
            line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"the peer died in {function} (exit code {self._process.wait()}):\n{self._stderr_tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{function} of {self._process.args[3].name} raised:\n{answer['error']}")
        self.last_seconds = answer["seconds"]
        return unpack(answer["result"], self._folder.name, "answer")

    def timed(self, function, **arguments):
        """A callable for harness.compare: runs the function, returns the seconds it took inside the peer."""

        def run():
            self.call(function, **arguments)
            return self.last_seconds

        return run

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # a dead peer leaves the last request in the pipe
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._stderr.close()
        self._folder.cleanup()

    def _stderr_tail(self):
        self._stderr.seek(0)
        return self._stderr.read()[-4000:]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def _environment(threads):
    # Our BLAS choice must not leak: the library is measured as it comes.
    env = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    env.update({name: str(threads) for name in THREAD_VARIABLES})
    env.update(TOKENIZERS_PARALLELISM="true" if threads > 1 else "false", HF_HUB_OFFLINE="1", PYTHONUTF8="1")
    return env


def versions():
    """{name: version} of the libraries that requirements.txt names, as installed."""
    lines = (HERE / "requirements.txt").read_text("utf-8").splitlines()
    names = [line.split("==")[0] for line in lines if "==" in line and not line.startswith("#")]
    with Peer("installed") as peer:
        return peer.call("versions", names=names)
