"""Pools of client connections, one per origin, and the sweep that holds their deadlines."""

import asyncio
from collections.abc import Callable

from ferryman.http1.client import ClientConnection, Fault, FaultKind
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.outbox import Outbox

SWEEP_SECONDS = 0.1
IDLE_SECONDS = 50.0
"""Unused connections older than this are closed; most upstreams close theirs after 60 s or more."""


class Pool:
    """Connections to one origin. The one used last is used next, so that idle ones can go."""

    def __init__(
        self,
        origin: Origin,
        connector: Connector,
        *,
        max_connections: int = 10_000,
        before: Callable[[], None] | None = None,
    ) -> None:
        """``before`` is that of :class:`Outbox`."""
        self.origin = origin
        self.idle: dict[ClientConnection, None] = {}
        """In the order in which they were last used."""
        self.open: set[ClientConnection] = set()
        self._connector = connector
        self._connecting = 0
        self._max = max_connections
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop, before)

    def take(self) -> ClientConnection | None:
        """A kept connection, or None when a new one has to be made."""
        idle = self.idle
        while idle:
            connection, _ = idle.popitem()
            if not connection.broken and not connection.transport.is_closing():
                return connection
        return None

    async def connect(self, seconds: float, steps: list[float] | None = None) -> ClientConnection:
        """A new connection; ``steps`` as for :class:`Connector`. Raises :class:`Fault` of kind
        CONNECT."""
        if len(self.open) + self._connecting >= self._max:
            raise Fault(FaultKind.CONNECT, f"{self._max} connections are open to this upstream")
        self._connecting += 1
        try:
            made = await self._connector.connect(
                self.origin,
                lambda: ClientConnection(self, self._loop),
                seconds,
                steps if steps is not None else [],
            )
        finally:
            self._connecting -= 1
        if made.broken:
            raise Fault(FaultKind.CONNECT, "the connection was closed as soon as it was made")
        self.open.add(made)
        return made

    def release(self, connection: ClientConnection) -> None:
        """Keep a connection for the next call."""
        connection.idle_since = self._loop.time()
        self.idle[connection] = None

    def lost(self, connection: ClientConnection) -> None:
        """Forget a connection that is closed."""
        self.open.discard(connection)
        self.idle.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Fail what is overdue, close what has been idle for long."""
        for connection in [c for c in self.open if c.deadline <= now or c.total_deadline <= now]:
            connection.overdue(now)
        idle = self.idle
        for connection in list(idle):
            if now - connection.idle_since <= IDLE_SECONDS:
                break
            del idle[connection]
            connection.cancel()

    def close(self) -> None:
        """Cut every connection."""
        for connection in list(self.open):
            connection.cancel()


class Pools:
    """All pools of a process."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.before: Callable[[], None] | None = None
        """That of :class:`Outbox`, for pools that are made from now on."""
        self._pools: dict[Origin, Pool] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def get(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self.connector, before=self.before)
        return pool

    def _sweep(self) -> None:
        # First: whatever comes of one connection's end, all others' deadlines must hold.
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        now = self._loop.time()
        for pool in self._pools.values():
            pool.sweep(now)

    def close(self) -> None:
        self._timer.cancel()
        for pool in self._pools.values():
            pool.close()
