"""Threads of several priorities.

On Linux a thread has a niceness of its own, which those that it starts begin with. It can add to
it, but without a right that few have it never gets back. So threads are kept for what may be urgent
one day. Elsewhere niceness is the whole process's, and all threads are alike.
"""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_first: Final = ThreadPoolExecutor(1, "starter")


def keep() -> None:
    """Let :func:`as_at_first` have the priority that this process has now, whatever comes later."""
    as_at_first(int)


def as_at_first(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call ``function``; threads and processes that it starts have the priority that was kept."""
    return _first.submit(function, *args, **named).result()


class Worker:
    """A thread, ``steps`` nicer than who makes it, that does what it is given, one at a time."""

    def __init__(self, name: str, steps: int) -> None:
        self._steps = steps
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, function: Callable[[], T]) -> tuple[T, float]:
        """What ``function`` gives or raises, and its thread's share of a processor meanwhile."""
        future: Future[tuple[T, float]] = Future()
        self._work.put((function, future))
        return future.result()

    def _run(self) -> None:
        if sys.platform == "linux" and self._steps:
            os.nice(self._steps)
        while True:
            function, future = self._work.get()
            began, busy = time.monotonic(), time.thread_time()
            try:
                made = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                took = max(time.monotonic() - began, 1e-6)
                future.set_result((made, min((time.thread_time() - busy) / took, 1.0)))
