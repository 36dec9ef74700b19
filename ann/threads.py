"""Threads: work on several, and who may look at an index while it changes.

The kernels run without the GIL, so plain Python threads are enough. Not Numba's `parallel=True`: a fork after it kills
the child, and two threads that use it at once abort the process.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakSet


def run_threads(function, parts, threads):
    """Call the function for every part, on several threads where asked. The first exception is raised."""
    if threads == 1 or len(parts) < 2:
        for part in parts:
            function(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, parts):
            pass


class SharedLock:
    """Many readers or one writer. Each thread reads under a lock of its own, the writer takes all of them.

        with lock.reader(): …
        lock.exclusively(change, *arguments)

    A waiting writer holds the gate that new readers pass, so it need only wait for those inside. Only `with` statements
    on plain locks, which Ctrl-C cannot cut in two: an interrupt leaves no lock behind.
    """

    def __init__(self):
        self._gate, self._own, self._all = threading.Lock(), threading.local(), WeakSet()
        self.writer = threading.RLock()  # for whoever changes in several steps: one at a time

    def reader(self):
        """This thread's lock, to hold while reading."""
        if not hasattr(self._own, "lock"):
            self._own.lock = threading.Lock()
            self._all.add(self._own.lock)
        with self._gate:
            return self._own.lock

    def exclusively(self, change, *arguments):
        """Call `change` while nobody reads."""
        with self._gate:
            return _holding(list(self._all), change, arguments)

    def __deepcopy__(self, memo):
        return SharedLock()


def _holding(locks, change, arguments):
    if not locks:
        return change(*arguments)
    with locks[-1]:
        return _holding(locks[:-1], change, arguments)
