"""uvicorn for the control plane's port: signals left to us, and peers that dawdle hung up on."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE: Final = 60.0
"""Seconds in which a request has to be here whole, from the moment its connection waits for it."""


class Ends(HttpToolsProtocol):
    """uvicorn's HTTP, which listens no more after a request that offers another protocol.

    Its parser drops what follows such a request in the same packet and takes the next packet for a
    new request: of whoever shares the connection, one would get the answer of another.
    """

    _last = False

    def data_received(self, data: bytes) -> None:
        if not self._last:
            super().data_received(data)

    def _unsupported_upgrade_warning(self) -> None:
        self._last = True
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()


class Listener(uvicorn.Server):
    """uvicorn itself waits for ever for the rest of a head or of a body: whoever sends halves could
    take up all of the process's files."""

    def __init__(self, config: uvicorn.Config, patience: float = PATIENCE) -> None:
        super().__init__(config)
        self._patience = patience
        self._waits: dict[Any, tuple[int, float]] = {}
        """Connections whose peer's turn it is, with the number of the request and since when."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self._waits = self._hang_up(time.monotonic())
        return await super().on_tick(counter)

    def _hang_up(self, now: float) -> dict[Any, tuple[int, float]]:
        """Close what waits for too long; what waits still."""
        kept = {}
        waiting: list[Any] = [c for c in self.server_state.connections if _waits(c)]
        for each in waiting:
            request = id(each.cycle)
            known, since = self._waits.get(each, (request, now))
            since = since if known == request else now
            if now - since > self._patience:
                each.transport.close()
            else:
                kept[each] = request, since
        return kept


def _waits(connection: Any) -> bool:
    """Whether a request is to come whole: not one that is being answered, and not the next one,
    for which uvicorn has a time of its own until it begins."""
    cycle = connection.cycle
    if cycle is None:
        return True
    if cycle.response_complete:
        return connection.timeout_keep_alive_task is None
    return bool(cycle.more_body)
