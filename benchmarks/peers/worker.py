"""Serves the functions of one peer file: JSON lines in, JSON lines out, arrays through .npz files.

Runs in the peers' interpreter as `python -I worker.py PEER_FILE FOLDER`: only the standard library and NumPy here.
"""

import json
import os
import runpy
import sys
import time
import traceback

ARRAY = "__array__"


def pack(value, folder, name):
    """A JSON value for `value`; its arrays go to FOLDER/NAME.npz."""
    arrays = {}
    packed = _strip(value, arrays)
    if arrays:
        import numpy as np

        np.savez(os.path.join(folder, name + ".npz"), **arrays)
    return {"value": packed, "arrays": len(arrays)}


def unpack(packed, folder, name):
    """Inverse of pack."""
    if not packed["arrays"]:
        return packed["value"]
    import numpy as np

    with np.load(os.path.join(folder, name + ".npz"), allow_pickle=False) as arrays:
        return _fill(packed["value"], dict(arrays))


def _strip(value, arrays):
    if isinstance(value, dict):
        return {str(key): _strip(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strip(item, arrays) for item in value]
    if hasattr(value, "dtype"):  # an array or a NumPy scalar
        if value.ndim == 0:
            return value.item()
        if value.dtype.hasobject:
            raise TypeError("an array of objects cannot travel: give it a numeric dtype, or send a list")
        key = f"a{len(arrays)}"
        arrays[key] = value
        return {ARRAY: key}
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _fill(value, arrays):
    if isinstance(value, dict):
        return arrays[value[ARRAY]] if ARRAY in value else {key: _fill(item, arrays) for key, item in value.items()}
    return [_fill(item, arrays) for item in value] if isinstance(value, list) else value


def peak_mb():
    """Most memory that this process ever held, in MB; every peer answers a call of this name.

    Linux's ru_maxrss is no less than what the process that started this one held then: an encoder, in a benchmark.
    """
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def answer(functions, request, folder):
    """Run one request; the peer's exceptions travel back as text."""
    try:
        function = functions.get(request["function"])
        if function is None:
            raise NameError(f"the peer has no function {request['function']!r}")
        arguments = unpack(request["arguments"], folder, "request")
        start = time.perf_counter()
        result = function(**arguments)
        seconds = time.perf_counter() - start
        return {"result": pack(result, folder, "answer"), "seconds": seconds}
    except Exception:
        return {"error": traceback.format_exc()}


def main(peer_file, folder):
    # Libraries print: what they print goes to stderr, only answers go to the pipe.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    functions = None
    for line in sys.stdin:
        try:
            functions = functions or {"peak_mb": peak_mb, **runpy.run_path(peer_file)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        else:
            reply = answer(functions, json.loads(line), folder)
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
