"""Rests told to other data planes, and heard from them, through Valkey or Redis.

A task beside the calls: it looks for news a few times a second, and without a server the gateway
goes by what it has seen itself. Each rest is also a key that lives as long, for planes that start.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ferryman.flow.call import Plane
from ferryman.flow.choice import health_of
from ferryman.routing.health import Health
from ferryman.routing.shared import LONGEST_NAME, Notice, Shared
from ferryman.store.valkey import Server, StateError, server_of, shown

LOOK_SECONDS: Final = 0.2
RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
TIMEOUT: Final = 3.0
"""Seconds for a connection, and for an answer."""
MOST: Final = 500
"""Rests told in one look."""
MOST_FOUND: Final = 10_000
"""Rests read at the start."""
_pack = msgspec.msgpack.Encoder().encode
_notice = msgspec.msgpack.Decoder(Notice).decode


class Sharing:
    """Ties one data plane's rests to those of others."""

    def __init__(
        self, plane: Plane, live: Callable[[str], Health], pepper: str, log: Callable[[str], None]
    ) -> None:
        """``live`` gives the health of ``provider/model``; ``pepper`` tells installations apart."""
        self._plane = plane
        self._live = live
        self._log = log
        self._shared = Shared(os.urandom(8).hex())
        mark = installation(pepper)
        self._prefix = f"ferryman:{mark}:rest:"
        self._channel = f"ferryman:{mark}:rests"
        self.connected = False

    async def run(self, setting: Callable[[], str], env: dict[str, str]) -> None:
        """Share as long as ``setting`` names a server; looks again now and then. Never ends."""
        failures = 0
        said = ""
        while True:
            wanted = setting()
            if wanted:
                try:
                    await self._with(wanted, setting, env)
                    failures, said = 0, ""
                except Exception as error:
                    if self.connected:
                        failures, said = 0, ""
                    text = f"no shared state ({error}): going by what this gateway sees itself"
                    if text != said:
                        self._log(text)
                    said = text
                    failures += 1
                finally:
                    self.connected = False
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])

    async def _with(self, wanted: str, setting: Callable[[], str], env: dict[str, str]) -> None:
        client = connect(server_of(wanted, env), TIMEOUT, 4)
        try:
            listener = client.pubsub(ignore_subscribe_messages=True)
            await listener.subscribe(self._channel)
            await self._take_in_all(client)
            self._shared.forget()
            self.connected = True
            self._log(f"rests are shared through {shown(wanted)}")
            hearing = asyncio.ensure_future(self._hear(listener))
            telling = asyncio.ensure_future(self._tell(client))
            both = {hearing, telling}
            try:
                while setting() == wanted and not any(task.done() for task in both):
                    await asyncio.wait(both, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                for task in both:
                    if task.done():
                        task.result()
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        finally:
            await client.aclose()

    async def _hear(self, listener: Any) -> None:
        while True:
            message = await listener.get_message(timeout=1.0)
            if message is not None:
                self._take_in(message["data"])
            else:
                await listener.ping()  # a server that is gone without a word answers no more

    async def _tell(self, client: Any) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            targets = {t.name: health_of(t) for t in self._plane.fleet.targets() if t.named}
            now = self._plane.now()
            news = self._shared.news(targets, self._plane.key_rests, now, MOST)
            if not news:
                continue
            batch = client.pipeline(transaction=False)
            for notice in news:
                packed = _pack(notice)
                key = self._prefix + notice.name
                left = int(notice.seconds * 1000)
                if notice.rounds and left > 0:
                    batch.set(key, packed, px=left)
                else:
                    batch.delete(key)
                batch.publish(self._channel, packed)
            await batch.execute()

    async def _take_in_all(self, client: Any) -> None:
        found = []
        async for key in client.scan_iter(match=self._prefix + "*", count=500):
            if len(key) <= LONGEST_NAME + len(self._prefix):
                found.append(key)
            if len(found) >= MOST_FOUND:
                break
        if not found:
            return
        batch = client.pipeline(transaction=False)
        for key in found:
            batch.get(key)
            batch.pttl(key)
        answers = await batch.execute()
        for packed, left in zip(answers[::2], answers[1::2], strict=True):
            if packed and left > 0:
                self._take_in(packed, left / 1000)

    def _take_in(self, packed: bytes, left: float | None = None) -> None:
        try:
            notice = _notice(packed)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return  # whoever else writes there
        if left is not None:
            notice = msgspec.structs.replace(notice, seconds=left)
        plane = self._plane
        self._shared.take_in(notice, self._known, plane.key_rests, plane.now())

    def _known(self, name: str) -> Health | None:
        """The health of a target of ours, asked yet or not."""
        provider, slash, _ = name.partition("/")
        return self._live(name) if slash and provider in self._plane.fleet.runtimes else None


def installation(pepper: str) -> str:
    """Tells what different installations have on one server apart."""
    return hashlib.sha256(b"shared state" + pepper.encode()).hexdigest()[:12]


def connect(server: Server, patience: float, most: int) -> Any:
    """A client that waits ``patience`` seconds for anything, on up to ``most`` connections.

    Raises :class:`StateError` without the library.
    """
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.connection import Connection, SSLConnection
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise StateError("server.state needs: pip install 'ferryman[valkey]'") from None
    pool = BlockingConnectionPool(
        connection_class=SSLConnection if server.secure else Connection,
        host=server.host, port=server.port, db=server.database,
        username=server.user or None, password=server.password or None,
        socket_connect_timeout=patience, socket_timeout=patience,
        retry=Retry(NoBackoff(), 0), max_connections=most, timeout=patience,
    )  # fmt: skip
    return Redis.from_pool(pool)
