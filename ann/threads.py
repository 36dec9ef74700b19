"""Threads: work on several, and who may look at an index while it changes.

The kernels run without the GIL, so plain Python threads are enough. Not Numba's `parallel=True`: a fork after it kills
the child, and two threads that use it at once abort the process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from weakref import WeakSet

PLACES = 64  # threads that can read at the same time


def run_threads(function: Callable[[Any], object], parts: Sequence[Any], threads: int) -> None:
    """Call the function for every part, on several threads where asked. The first exception is raised."""
    if threads == 1 or len(parts) < 2:
        for part in parts:
            function(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, parts):
            pass


class _Thread(threading.local):
    """A thread's number, given when it first reads: 0, 1, 2, …; `get_ident` is an address, so no good modulo PLACES."""

    numbers = count()

    def __init__(self):
        self.number = next(self.numbers)


_THREAD = _Thread()


class SharedLock:
    """Many readers or one writer. A thread reads under the lock at its place, the writer takes all of them.

        lock.shared(look, *arguments)
        lock.exclusively(change, *arguments)

    A waiting writer holds the gate that new readers pass, so it need only wait for those inside. Both are calls around
    `with` statements on plain locks, which Ctrl-C cannot cut in two: an interrupt leaves no lock behind. A forked child
    has none of the threads that held a lock, so it starts with new ones.
    """

    everyone: WeakSet[SharedLock] = WeakSet()

    def __init__(self) -> None:
        self._renew()
        self.everyone.add(self)

    def _renew(self):
        self._gate, self._places = threading.Lock(), [threading.Lock() for _ in range(PLACES)]
        self.writer = threading.RLock()  # for whoever changes in several steps: one at a time

    def shared(self, look: Callable[..., Any], *arguments: Any) -> Any:
        """Call `look` while nobody changes. A thread shares its place with every 64th; `look` may not look again."""
        with self._gate:
            place = self._places[_THREAD.number % PLACES]
        with place:
            return look(*arguments)

    def exclusively(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Call `change` while nobody reads."""
        with self._gate:
            return _holding(self._places, PLACES, change, arguments)

    def __deepcopy__(self, memo):
        return SharedLock()


def _holding(locks, left, change, arguments):
    """Call `change` with the first `left` locks held."""
    if left == 0:
        return change(*arguments)
    with locks[left - 1]:
        return _holding(locks, left - 1, change, arguments)


def _renew_all():
    for lock in SharedLock.everyone:
        lock._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
