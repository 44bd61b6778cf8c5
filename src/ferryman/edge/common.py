"""Answers that several data planes share, in Valkey or Redis, and which of them fetches one.

An answer is sealed (``store/sealing.py``) and kept as long as it may be; the server ends it. Who
fetches one has a lease on its key, renewed while it works, so that the others wait for it: a data
plane that is gone loses its leases within ``LEASE`` seconds. Without the server every claim fails
at once, until a look at it every second finds it back.
"""

import asyncio
import hashlib
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from ferryman.cache.key import TAG, Choice
from ferryman.cache.shelf import AwayError, Busy, Landing, Stored
from ferryman.edge.sharing import connect
from ferryman.store.sealing import Sealer
from ferryman.store.valkey import server_of, shown

PATIENCE: Final = 0.5
"""Seconds that a call waits for an answer of the server, at most."""
LEASE: Final = 10.0
RENEWED: Final = 3.0
APART: Final = 2.0
"""Seconds that others are told that an answer was for its own caller alone."""
LOOK: Final = 1.0
CONNECTIONS: Final = 16
MOST_UNSAVED: Final = 64_000_000
"""Bytes of answers that may wait for the server."""
LARGE: Final = 65_536
"""Bytes of an answer that is sealed beside the loop."""
FAREWELL: Final = 2.0
SILENT: Final = 600.0
"""Seconds until it is said again that a server is full: one that is has room for an answer whenever
another one goes."""

# KEYS: answer, lease. ARGV: our lease, its milliseconds, most bytes of an answer.
_CLAIM: Final = """
local size = redis.pcall('STRLEN', KEYS[1])
if type(size) == 'number' and size > 0 and size <= tonumber(ARGV[3]) then
  return {1, redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
end
local held = redis.pcall('GET', KEYS[2])
if type(held) == 'string' then return {2, held, 0} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {0, '', 0}
"""
# KEYS: lease. ARGV: ours, its milliseconds. Nobody's: the server has lost it.
_RENEW: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# KEYS: lease. ARGV: ours, milliseconds for which others are told that the answer is not for them.
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], '-', 'PX', ARGV[2])
return 1
"""
# KEYS: answer. ARGV: what is to be kept, its milliseconds. Limits are counted there, too, and
# would end if it were full: a quarter of its memory is left to them.
_SAVE: Final = """
local info = redis.call('INFO', 'memory')
local used = tonumber(string.match(info, 'used_memory:(%d+)')) + #ARGV[1]
local most = tonumber(string.match(info, 'maxmemory:(%d+)'))
if most > 0 and used > most * 3 / 4 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_T = TypeVar("_T")


class _Saving(NamedTuple):
    key: bytes
    data: bytes
    until: float


class _Release(NamedTuple):
    key: bytes
    apart: bool


class CommonAnswers:
    """Answers of several data planes (:class:`ferryman.cache.shelf.Backend`)."""

    def __init__(
        self,
        setting: str,
        env: dict[str, str],
        name: str,
        key: bytes,
        largest: int,
        log: Callable[[str], None],
    ) -> None:
        """``setting``: the server's URL, as in ``server.state``; ``key``: 32 bytes, which all data
        planes of the installation have; ``largest``: bytes of an answer. Needs a running loop."""
        self.setting = setting
        self.largest = largest
        self._env = env
        self._log = log
        self._sealer = Sealer(key)
        self._key = hashlib.blake2b(b"names", key=key).digest()
        mark = hashlib.blake2b(b"mark", key=key, digest_size=6).hexdigest()
        self._prefix = f"ferryman:{mark}:{name}:"
        self._me = os.urandom(8).hex().encode()
        self._count = 0
        self._leases: dict[bytes, bytes] = {}
        """What we fetch: by key, with the lease's value."""
        self._unsaved: deque[_Saving | _Release | Choice] = deque()
        self._unsaved_bytes = 0
        self._client: Any = None
        self._scripts: list[Any] = []
        self._away = ""
        """Why the server can't be asked; empty = it can, as far as is known."""
        self._silent_until = 0.0
        """Whether it had no room for the last answer."""
        self._told_of = False
        """Whether the log has been told of an answer that does not open."""
        self._news = asyncio.Event()
        self._renewed = time.monotonic()
        self._ending = False
        self._worker = asyncio.ensure_future(self._work())

    async def claim(self, key: bytes, mark: bytes) -> Stored | Busy | Landing | None:
        """As :class:`~ferryman.cache.shelf.Backend` says."""
        self._count += 1
        theirs = self._part(mark)
        lease = b"%b.%d:%b" % (self._me, self._count, theirs)
        answer = self._name(key)
        keys, args = [answer, answer + b":lease"], [lease, int(LEASE * 1000), self._most_sealed]
        # In a task, since calls are driven without one, and timeouts need it.
        asking = asyncio.ensure_future(self._ask(lambda: self._scripts[0](keys, args)))
        state, value, left = await asking
        if state == 1:
            data = await self._opened(key, value)
            return None if data is None else Stored(data, max(left, 0) / 1000)
        if state == 2:
            return Landing.APART if value == b"-" else Busy(value.endswith(b":" + theirs))
        self._leases[key] = lease
        return None

    def save(self, key: bytes, data: bytes, until: float) -> None:
        """Keep ``data`` until a Unix time; returns at once."""
        if self._unsaved_bytes + len(data) <= MOST_UNSAVED:
            self._unsaved_bytes += len(data)
            self._add(_Saving(key, data, until))

    def release(self, key: bytes, apart: bool) -> None:
        """Nobody fetches ``key`` any more."""
        if key in self._leases:
            self._add(_Release(key, apart))

    def clear(self, choice: Choice) -> None:
        """Forget the answers that are chosen; returns at once."""
        self._add(choice)

    async def sizes(self) -> tuple[int, int]:
        """Answers that are kept, and their bytes. Raises :class:`AwayError`."""
        count = size = 0
        async for found in self._found(Choice()):
            batch = self._client.pipeline(transaction=False)
            for each in found:
                batch.strlen(each)
            sizes = await self._ask(batch.execute)
            count, size = count + len(found), size + sum(sizes)
        return count, size

    async def close(self) -> None:
        """Write what is to be written, if the server takes it soon, and end."""
        self._ending = True
        self._news.set()
        try:
            async with asyncio.timeout(FAREWELL):
                await self._worker
        except TimeoutError:
            pass
        if self._client is not None:
            await self._client.aclose()

    # -- names and seals

    def _name(self, key: bytes) -> bytes:
        return self._prefix.encode() + b".".join([self._part(part) for part in _parts(key)])

    def _part(self, part: bytes) -> bytes:
        """What of a request others may see: who knows one does not find it here."""
        size = 16 if len(part) > TAG else TAG
        return hashlib.blake2b(part, key=self._key, digest_size=size).hexdigest().encode()

    @property
    def _most_sealed(self) -> int:
        return 2 * self.largest + LARGE

    async def _opened(self, key: bytes, sealed: bytes) -> bytes | None:
        if len(sealed) < LARGE:
            data = self._sealer.open(key, sealed)
        else:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(None, self._sealer.open, key, sealed)
        if data is None and not self._told_of:
            self._told_of = True
            self._log(
                f"a kept answer at {shown(self.setting)} is damaged, or another gateway there has "
                "another FERRYMAN_PEPPER: it is asked for anew"
            )
        return data

    # -- the server

    async def _ask(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """What the server says, or :class:`AwayError` soon."""
        if self._away:
            raise AwayError(self._away)
        try:
            async with asyncio.timeout(PATIENCE):
                self._connect()
                return await work()
        except Exception as error:
            self._lost(error)
            raise AwayError(self._away) from None

    def _connect(self) -> None:
        if self._client is None:
            client = connect(server_of(self.setting, self._env), PATIENCE, CONNECTIONS)
            texts = (_CLAIM, _RENEW, _RELEASE, _SAVE)
            self._client, self._scripts = client, [client.register_script(text) for text in texts]

    def _lost(self, error: Exception) -> None:
        why = str(error) or type(error).__name__
        if not self._away:
            self._log(f"answers are not shared ({why}): {shown(self.setting)} can't be asked")
        self._away = why
        self._news.set()

    async def _work(self) -> None:
        while not (self._ending and not self._unsaved):
            try:
                async with asyncio.timeout(LOOK):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                await self._look()
                await self._renew()
                while self._unsaved:
                    await self._renew()
                    await self._write(self._unsaved[0])
                    self._done(self._unsaved.popleft())
            except AwayError:
                if self._ending:
                    return
                await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        """If the server could not be asked: find out whether it can be again."""
        if not self._away:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                self._connect()
                # A server that answers may take nothing: it is full, or a replica.
                await self._client.set(self._prefix + "look", self._me, px=int(LOOK * 1000))
        except Exception as error:
            raise AwayError(str(error)) from None
        self._away = ""
        self._log(f"answers are shared again, through {shown(self.setting)}")
        self._renewed = 0.0

    async def _renew(self) -> None:
        now = time.monotonic()
        if not self._leases or now - self._renewed < RENEWED:
            return
        batch = self._client.pipeline(transaction=False)
        for key, lease in self._leases.items():
            args = [lease, int(LEASE * 1000)]
            await self._scripts[1]([self._name(key) + b":lease"], args, client=batch)
        await self._ask(batch.execute)
        self._renewed = now

    def _add(self, work: _Saving | _Release | Choice) -> None:
        self._unsaved.append(work)
        self._news.set()

    def _done(self, work: _Saving | _Release | Choice) -> None:
        if isinstance(work, _Saving):
            self._unsaved_bytes -= len(work.data)
        elif isinstance(work, _Release):
            self._leases.pop(work.key, None)

    async def _write(self, work: _Saving | _Release | Choice) -> None:
        if isinstance(work, _Saving):
            await self._save(work)
        elif isinstance(work, _Release):
            lease = self._leases.get(work.key)
            if lease is not None:
                args = [lease, int(APART * 1000) if work.apart else 0]
                keys = [self._name(work.key) + b":lease"]
                await self._ask(lambda: self._scripts[2](keys, args))
        else:
            async for found in self._found(work):
                await self._ask(partial(self._unlink, found))
                await self._renew()

    async def _save(self, work: _Saving) -> None:
        left = int((work.until - time.time()) * 1000)
        if left <= 0:
            return
        if len(work.data) < LARGE:
            sealed = self._sealer.seal(work.key, work.data)
        else:
            loop = asyncio.get_running_loop()
            sealed = await loop.run_in_executor(None, self._sealer.seal, work.key, work.data)
        kept = await self._ask(lambda: self._scripts[3]([self._name(work.key)], [sealed, left]))
        if not kept and time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + SILENT
            self._log("three quarters of its memory (maxmemory) are used at "
                f"{shown(self.setting)}: no answers are kept there but as others go")  # fmt: skip

    def _unlink(self, names: list[bytes]) -> Any:
        return self._client.unlink(*names)

    def _scan(self, cursor: Any, pattern: str) -> Any:
        return self._client.scan(cursor, match=pattern, count=1000)

    async def _found(self, choice: Choice) -> Any:
        """Names of the answers that are chosen, some at a time."""
        parts = [self._part(tag).decode() if tag else "*" for tag in choice]
        pattern = self._prefix + ".".join(parts) + ".*"
        cursor: Any = 0
        while True:
            look = partial(self._scan, cursor, pattern)
            cursor, found = await self._ask(look)
            names = [name for name in found if not name.endswith(b":lease")]
            if names:
                yield names
            if not cursor:
                return


def _parts(key: bytes) -> list[bytes]:
    return [key[:TAG], key[TAG : 2 * TAG], key[2 * TAG : 3 * TAG], key[3 * TAG :]]
