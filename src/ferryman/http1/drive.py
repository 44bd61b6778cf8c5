"""Steps a coroutine without an asyncio task, so that a callback resumes it directly.

A task costs a trip through the event loop each time it is woken: about 50 µs of latency a request.
A driven coroutine may await :class:`Gate` (resumed at once, on the stack of whoever opens it) and
asyncio futures (resumed by the loop). It can't use ``asyncio.timeout`` or ``current_task``:
deadlines belong to the connections, which have a sweep for them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_OVER: Final[Any] = object()
"""What ``next`` gives at the coroutine's end: to raise and to catch costs as much as a step."""
_next: Final[Any] = next  # compiled, builtins are looked up each time


class Gate(Generic[T]):
    """A value that one coroutine waits for, once. Opening it twice keeps the first value."""

    __slots__ = ("_drive", "_opened", "_value")

    def __init__(self) -> None:
        self._drive: Drive | None = None
        self._opened = False

    def __await__(self) -> Generator[Any, None, T]:
        if not self._opened:
            yield self
        return self._value

    @property
    def opened(self) -> bool:
        return self._opened

    def open(self, value: T) -> None:
        """Give the value and resume whoever waits."""
        if self._opened:
            return
        self._opened = True
        self._value: T = value
        drive, self._drive = self._drive, None
        if drive is not None:
            drive.step()

    def attach(self, drive: "Drive") -> bool:
        """Resume ``drive`` when the gate opens; False when another is waiting already."""
        if self._drive is not None:
            return False
        self._drive = drive
        return True


class Drive:
    """Runs ``coroutine`` from now on; ``on_error`` hears of an exception that escapes it."""

    __slots__ = ("_on_error", "_steps")

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], on_error: Callable[[BaseException], None]
    ) -> None:
        self._steps = coroutine.__await__()
        self._on_error = on_error
        self.step()

    def step(self, _: Any = None) -> None:
        """Run up to the next wait."""
        try:
            waits_for = _next(self._steps, _OVER)
            if waits_for is _OVER:
                return
            if not self._await(waits_for):
                # Thrown into the coroutine, so that it can still clean up and answer.
                error = RuntimeError(f"a driven coroutine can't await {waits_for!r}")
                waits_for = self._steps.throw(error)
                if not self._await(waits_for):
                    self._steps.close()
                    self._on_error(error)
        except StopIteration:
            return
        except (Exception, asyncio.CancelledError) as error:
            self._on_error(error)

    def _await(self, waits_for: Any) -> bool:
        if isinstance(waits_for, Gate):
            return waits_for.attach(self)
        if asyncio.isfuture(waits_for):
            waits_for._asyncio_future_blocking = False
            waits_for.add_done_callback(self.step)
            return True
        return False
