"""Probes targets that rest, where their provider's configuration wants it, and pays for it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ferryman.flow.call import Plane
from ferryman.flow.choice import health_of
from ferryman.flow.probe import most, probe
from ferryman.http1.drive import Drive
from ferryman.upstream.fleet import Target

LOOK_SECONDS: Final = 0.5
DAY: Final = 86_400
AT_ONCE: Final = 8
"""Probes that may be under way at a time."""


class Spent(msgspec.Struct):
    """What probes have cost on one day (UTC), as it is kept from one start to the next."""

    day: int = 0
    picodollars: dict[str, int] = {}
    """By provider; of probes under way, the most that they may cost."""


class Prober:
    """Looks now and then for who rests. ``path`` keeps what was spent."""

    def __init__(
        self, plane: Plane, path: Path, log: Callable[[str], None], workers: int = 1
    ) -> None:
        """``workers`` do it at the same time, and share what it may cost."""
        self._workers = workers
        self._plane = plane
        self._path = path
        self._log = log
        self._asked: dict[str, float] = {}
        self._spent = _read(path)
        self._told: set[str] = set()
        self._working: set[str] = set()
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Look, for as long as the gateway runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            runtimes = self._plane.fleet.runtimes.values()
            if any(runtime.provider.probe is not None for runtime in runtimes):
                self._look()

    def _look(self) -> None:
        now = self._plane.now()
        today = int(time.time() // DAY)
        if today != self._spent.day:
            self._spent = Spent(day=today)
            self._told.clear()
        for target in self._plane.fleet.targets():
            wanted = target.runtime.provider.probe
            if wanted is None or not target.named or not health_of(target).rest.rounds:
                continue
            if target.name in self._working or len(self._working) >= AT_ONCE:
                continue
            if now - self._asked.get(target.name, -DAY) >= wanted.every and _pays(
                target, wanted.picodollars // self._workers,
                self._spent.picodollars.get(target.provider, 0), self._tell,
            ):  # fmt: skip
                self._asked[target.name] = now
                self._working.add(target.name)
                Drive(self._probe(target), self._escaped)  # what awaits an upstream is no task

    async def _probe(self, target: Target) -> None:
        provider, spent = target.provider, self._spent.picodollars
        held = most(target)
        spent[provider] = spent.get(provider, 0) + held
        try:
            if await self._keep():
                cost = await probe(self._plane, target)  # first: others may spend meanwhile
                spent[provider] += cost - held
                await self._keep()
        finally:
            self._working.discard(target.name)

    async def _keep(self) -> bool:
        """Write down what is spent; False when that can't be done: nothing is spent then."""
        data = msgspec.json.encode(self._spent)
        try:
            async with self._writing:
                await asyncio.get_running_loop().run_in_executor(None, _write, self._path, data)
        except OSError as error:
            self._tell(f"nobody is probed, since what that costs can't be written down: {error}")
            return False
        return True

    def _escaped(self, error: BaseException) -> None:
        self._log(f"internal error in a probe: {type(error).__name__}: {error}")

    def _tell(self, text: str) -> None:
        """Once a day."""
        if text not in self._told:
            self._told.add(text)
            self._log(text)


def _read(path: Path) -> Spent:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Spent)
    except (OSError, msgspec.MsgspecError):
        return Spent()


def _write(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    draft.replace(path)


def _pays(target: Target, allowed: int, spent: int, tell: Callable[[str], None]) -> bool:
    row = target.runtime.rows.get(target.model)
    if row is not None and "embeddings" in row.abilities:
        return False  # it holds no conversations
    if not target.prices:
        tell(f"{target.name} has no price, so it is not probed; give one under prices")
        return False
    if spent + most(target) > allowed:
        tell(f"{target.provider} is not probed any more today: usd_per_day is used up")
        return False
    return True
