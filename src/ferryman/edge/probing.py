"""Probes targets that rest, where their provider's configuration wants it, and pays for it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ferryman.config.snapshot import Probe
from ferryman.flow.call import Plane
from ferryman.flow.choice import health_of
from ferryman.flow.probe import most, probe
from ferryman.http1.drive import Drive
from ferryman.upstream.fleet import Target

LOOK_SECONDS: Final = 0.5
DAY: Final = 86_400
AT_ONCE: Final = 8
"""Probes that may be under way at a time."""


class Prober:
    """Looks now and then for who rests. What was spent is forgotten when the gateway restarts."""

    def __init__(self, plane: Plane, log: Callable[[str], None]) -> None:
        self._plane = plane
        self._log = log
        self._asked: dict[str, float] = {}
        self._spent: dict[str, int] = {}
        self._day = 0
        self._told: set[str] = set()
        self._working: set[str] = set()

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
        if today != self._day:
            self._day = today
            self._spent.clear()
            self._told.clear()
        for target in self._plane.fleet.targets():
            wanted = target.runtime.provider.probe
            if wanted is None or not target.named or not health_of(target).rest.rounds:
                continue
            if target.name in self._working or len(self._working) >= AT_ONCE:
                continue
            if now - self._asked.get(target.name, -DAY) >= wanted.every and _pays(
                target, wanted, self._spent.get(target.provider, 0), self._tell
            ):
                self._asked[target.name] = now
                self._working.add(target.name)
                Drive(self._probe(target), self._escaped)  # what awaits an upstream is no task

    async def _probe(self, target: Target) -> None:
        provider = target.provider
        held = most(target)
        self._spent[provider] = self._spent.get(provider, 0) + held
        try:
            cost = await probe(self._plane, target)
            self._spent[provider] += cost - held
        finally:
            self._working.discard(target.name)

    def _escaped(self, error: BaseException) -> None:
        self._log(f"internal error in a probe: {type(error).__name__}: {error}")

    def _tell(self, text: str) -> None:
        """Once a day."""
        if text not in self._told:
            self._told.add(text)
            self._log(text)


def _pays(target: Target, wanted: Probe, spent: int, tell: Callable[[str], None]) -> bool:
    row = target.runtime.rows.get(target.model)
    if row is not None and "embeddings" in row.abilities:
        return False  # it holds no conversations
    if not target.prices:
        tell(f"{target.name} has no price, so it is not probed; give one under prices")
        return False
    if spent + most(target) > wanted.picodollars:
        tell(f"{target.provider} is not probed any more today: usd_per_day is used up")
        return False
    return True
