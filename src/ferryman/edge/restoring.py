"""Tells budgets what was spent of them before: asked of the ledger, through the control plane."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from ferryman.config.options import Options
from ferryman.edge.feed import RETRY_SECONDS, Collect
from ferryman.flow.call import Plane
from ferryman.flow.limiting import Limiter
from ferryman.http1.client import Fault, FaultKind
from ferryman.http1.connect import Connector, Origin
from ferryman.http1.pool import Pool
from ferryman.meter.limits import USD

FINE, COARSE = 60, 900
"""Seconds that sums are asked by: no day begins within a quarter of an hour, in any zone."""
DAY: Final = 86_400
PATIENCE: Final = 20.0


class Spent(Struct, frozen=True, array_like=True):
    """As in ``store/budgets.py``, which a data plane does not load."""

    budgets: tuple[str, ...]
    at: int
    picodollars: int
    tokens: int


Charged = tuple[int, int, int, list[tuple[str, int, int]]]
"""As in ``store/budgets.py``."""
Asked = tuple[int, int, int, tuple[str, ...]]
"""Since when (seconds), until when (microseconds), by what step (seconds), without which calls."""
_decode: Final = msgspec.msgpack.Decoder(list[Spent] | dict[str, Charged]).decode


class Restorer:
    """Asks once for each budget that begins to be counted, until there is an answer."""

    def __init__(
        self, options: Options, token: str, plane: Plane, log: Callable[[str], None]
    ) -> None:
        self._origin = Origin.of(options.feed_url)
        self._token = token
        self._plane = plane
        self._log = log
        self.wanted = asyncio.Event()
        """Set when there may be a budget that has to be told."""

    async def run(self) -> None:
        """Go on for as long as the process lives."""
        pool = Pool(self._origin, Connector(asyncio.get_running_loop()), max_connections=1)
        failures = 0
        try:
            while True:
                await self.wanted.wait()
                self.wanted.clear()
                limiter = self._plane.limits
                try:
                    if limiter is not None:
                        await self._tell(pool, limiter)
                    failures = 0
                except Exception as error:
                    failures += 1
                    if failures == len(RETRY_SECONDS):
                        why = "calls under a budget are refused until it is known"
                        self._log(f"what was spent of budgets can't be learned ({error}): {why}")
                    self.wanted.set()
                    await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1])
        finally:
            pool.close()

    async def _tell(self, pool: Pool, limiter: Limiter) -> None:
        answers: dict[Asked, dict[str, list[tuple[str, Spent]]]] = {}
        now = int(time.time())
        for name, meter in limiter.unknown():
            if meter.spending.known:  # another meter of this spending has been told meanwhile
                continue
            since = meter.since(now)
            step = step_of(since, now)
            without = tuple(sorted(meter.spending.without))
            asked = (since - since % step, meter.spending.begun_us, step, without)
            if asked not in answers:
                answers[asked] = by_limit(await self._ask(pool, *asked))
            for key, spent in answers[asked].get(name, ()):
                amount = spent.picodollars if meter.measure == USD else spent.tokens
                meter.spending.add(key, amount, counts_from(spent.at, step, now))
            meter.spending.known, meter.spending.without = True, set()
        limiter.learned.set()

    async def _ask(
        self, pool: Pool, since: int, until: int, step: int, without: tuple[str, ...]
    ) -> list[Spent]:
        path = f"/internal/spent?since={since}&until={until}&step={step}"
        method, body = "GET", b""
        if without:
            method, path = "POST", "/internal/counted"
            body = msgspec.json.encode(
                {"since": since, "until": until, "step": step, "without": without, "ended": True}
            )
        found: list[Spent] = await ask(pool, self._origin, self._token, method, path, body)
        return found


async def ask(
    pool: Pool, origin: Origin, token: str, method: str, path: str, body: bytes = b""
) -> Any:
    """The control plane's answer: a list of :class:`Spent`, or what calls were charged by id."""
    return _decode(await fetch(pool, origin, token, method, path, body))


async def fetch(
    pool: Pool, origin: Origin, token: str, method: str, path: str, body: bytes = b""
) -> bytes:
    """The control plane's answer. Raises :class:`~ferryman.http1.client.Fault`."""
    connection = pool.take() or await pool.connect(2.0)
    sink = Collect()
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {origin.authority}\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    limit = asyncio.get_running_loop().time() + 2 * PATIENCE
    connection.send(sink, head.encode(), body, PATIENCE, PATIENCE, limit)
    await sink.future
    if sink.fault is not None:
        raise sink.fault
    if sink.status != 200:
        raise Fault(FaultKind.PROTOCOL, f"the control plane answered {sink.status}")
    return b"".join(sink.parts)


def step_of(since: int, now: int) -> int:
    """Seconds that sums since then are asked by."""
    return FINE if now - since <= 2 * DAY else COARSE


def counts_from(at: int, step: int, now: int) -> int:
    """When what was spent in the step from ``at`` on is taken to be spent: at its end, or budgets
    that roll would forget some of it too early. No period of the calendar begins within a step."""
    return max(at, min(at + step - 1, now))


def fitting(name: str, keys: tuple[str, ...]) -> list[str]:
    """Those of ``keys`` that are of this limit."""
    return [key for key in keys if key == name or key.startswith(f"{name}|")]


def by_limit(found: Iterable[Spent]) -> dict[str, list[tuple[str, Spent]]]:
    """What each limit has borne, with its keys: there may be thousands of both."""
    out: dict[str, list[tuple[str, Spent]]] = {}
    for spent in found:
        for key in spent.budgets:
            out.setdefault(key.partition("|")[0], []).append((key, spent))
    return out
