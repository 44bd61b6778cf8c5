"""Providers that die, slow down and come back under load, and more calls than a provider takes."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator

from msgspec import Struct
from tests.processes import PATIENCE, Process, request, until

from soak.client import Address, Answer, Link, connect
from soak.client import request as post
from soak.plant import Plant, plant

PATH = "/v1/chat/completions"
RATE = 200.0
"""Calls a second."""
PLACES = 10
TAKES = 0.1
"""Seconds for which a call takes one of them: so a hundred calls a second are served."""
WAIT = 1.0
"""Seconds that the provider's queue lets a call wait."""
SETTLES = 5.0
"""Seconds within which a change among providers has to be noticed."""
NAMES = ("a", "b", "c")


class Shot(Struct):
    """One call. Times are seconds; ``at`` is since the beginning of its load."""

    at: float
    took: float
    status: int
    provider: str
    attempts: int


class Summary(Struct):
    """A load in short."""

    calls: int
    failed: int
    attempts: int
    longest: float


class Failover(Struct, kw_only=True):
    """What :func:`failover` has seen."""

    dead: Summary
    """While one of three was dead."""
    noticed: float
    """Seconds from its return to its first answer."""
    slow_share: float
    """Of the calls that a slow one of three got after ``SETTLES``."""
    down: Summary
    """While all were dead."""
    recovered: float
    """Seconds from the return of all to the first answer."""


class Overload(Struct, kw_only=True):
    """What :func:`overload` has seen; rates are per second."""

    peak: float
    """Answers when there are just as many callers as places."""
    sent: float
    goodput: float
    p99: float
    refused_p99: float
    recovered: float
    """Seconds from the end of the load on, after which no call was refused any more."""


class Load:
    """Sends calls at a steady rate, however long the answers take."""

    def __init__(self, address: Address, model: str) -> None:
        self.shots: list[Shot] = []
        self.began = time.monotonic()
        asked = {"model": model, "messages": [{"role": "user", "content": "Good morning, ferry"}]}
        self._data = post(address, PATH, json.dumps(asked).encode())
        self._address = address
        self._links: list[Link] = []

    async def one(self) -> Shot:
        """One call, on a connection that is free."""
        at = time.monotonic()
        link = self._links.pop() if self._links else await connect(self._address)
        answer: Answer = await link.ask(self._data)
        if link.open:
            self._links.append(link)
        took = time.monotonic() - at
        status = answer.status if answer.whole else 0
        shot = Shot(at - self.began, took, status, answer.provider, answer.attempts)
        self.shots.append(shot)
        return shot

    async def steadily(self, rate: float, seconds: float) -> list[Shot]:
        """Call ``rate`` times a second for ``seconds``. Returns the shots, by when they began."""
        loop = asyncio.get_running_loop()
        start = time.monotonic()
        tasks = []
        for number in range(int(rate * seconds)):
            pause = start + number / rate - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            tasks.append(loop.create_task(self.one()))
        return sorted(await asyncio.gather(*tasks), key=lambda shot: shot.at)

    async def in_a_row(self, callers: int, seconds: float) -> list[Shot]:
        """So many callers that each call again as soon as they are answered."""
        ends = time.monotonic() + seconds

        async def caller() -> list[Shot]:
            found = []
            while time.monotonic() < ends:
                found.append(await self.one())
            return found

        rows = await asyncio.gather(*[caller() for _ in range(callers)])
        return [shot for row in rows for shot in row]

    def close(self) -> None:
        for link in self._links:
            link.close()


def summary(shots: list[Shot]) -> Summary:
    """``shots`` in short; all but status 200 has failed."""
    return Summary(
        calls=len(shots),
        failed=sum(shot.status != 200 for shot in shots),
        attempts=sum(shot.attempts for shot in shots),
        longest=max(shot.took for shot in shots),
    )


def percentile(shots: list[Shot], share: float) -> float:
    """Seconds within which this share of them was answered."""
    took = sorted(shot.took for shot in shots)
    return took[min(int(len(took) * share), len(took) - 1)] if took else 0.0


# -- three providers


class Harbour:
    """An installation in front of three simulators, ``a``, ``b`` and ``c``, that can be killed."""

    def __init__(self, place: Plant) -> None:
        self.place = place
        self.simulators: dict[str, Process] = {}
        self.urls: dict[str, str] = {}
        for name in NAMES:
            self.start(name)
        rows = "".join(
            f'  {name}: {{ base_url: "{self.urls[name]}/v1", auth: none }}\n' for name in NAMES
        )
        targets = ", ".join(f"{name}/sim" for name in NAMES)
        place.config.write_text(
            f"providers:\n{rows}models:\n"
            f"  spread: {{ targets: [{targets}], strategy: weighted }}\n"
            f"  quickest: {{ targets: [{targets}], strategy: latency }}\n"
            "timeouts: { total: 5s }\n"
        )
        place.up()

    def start(self, name: str) -> None:
        """Start a simulator, where it was before if it was."""
        port = self.urls[name].rpartition(":")[2] if name in self.urls else "0"
        made = Process(["ferryman.simulator", "--port", port], self.place.env, self.place.work)
        self.simulators[name] = made
        self.urls[name] = made.wait_for(r"^simulator: (http://\S+)/v1$")[1]
        self.place.others.append(made)

    def kill(self, name: str) -> None:
        """It dies at once, with all connections."""
        process = self.simulators[name]
        process.popen.kill()
        process.popen.wait(PATIENCE)

    def behave(self, name: str, words: str) -> None:
        """How it answers from now on, in the simulator's words."""
        assert request(self.urls[name], "POST", "/sim/default", body=words).status == 200


@contextlib.contextmanager
def harbour() -> Iterator[Harbour]:
    """A running one; gone afterwards."""
    with plant() as place:
        yield Harbour(place)


async def failover(place: Harbour, *, seconds: float) -> Failover:
    """Kill one, slow one down, kill all, each under ``RATE`` calls a second for ``seconds``.

    Raises AssertionError where callers notice more than they may.
    """
    address = place.place.address
    load = Load(address, "spread")
    under_way = asyncio.create_task(load.steadily(RATE, seconds + SETTLES))
    await asyncio.sleep(1.0)
    await asyncio.to_thread(place.kill, "a")
    await asyncio.sleep(seconds - 1.0)
    await asyncio.to_thread(place.start, "a")
    back = time.monotonic() - load.began
    shots = await under_way
    again = [shot for shot in shots if shot.provider == "a" and shot.at > back]
    assert again, "the one that is back was never asked"
    dead = summary([shot for shot in shots if shot.at < back])
    assert not summary(shots).failed, f"{summary(shots).failed} calls failed"
    assert dead.attempts <= 1.2 * dead.calls
    load.close()

    load = Load(address, "quickest")
    for name in NAMES:
        await asyncio.to_thread(place.behave, name, "delay=20")
    await load.steadily(RATE, 2.0)
    await asyncio.to_thread(place.behave, "b", "delay=200")
    slowed = time.monotonic() - load.began
    shots = await load.steadily(RATE, seconds + SETTLES)
    later = [shot for shot in shots if shot.at > slowed + SETTLES]
    assert not summary(shots).failed
    load.close()

    load = Load(address, "spread")
    for name in NAMES:
        await asyncio.to_thread(place.kill, name)
    down = summary(await load.steadily(RATE, seconds))
    for name in NAMES:
        await asyncio.to_thread(place.start, name)
    began = time.monotonic()
    while (await load.one()).status != 200:
        assert time.monotonic() < began + PATIENCE, "it never came back"
        await asyncio.sleep(0.05)
    recovered = time.monotonic() - began
    assert not summary(await load.steadily(RATE / 4, 2.0)).failed
    load.close()
    return Failover(
        dead=dead,
        noticed=again[0].at + again[0].took - back,
        slow_share=sum(shot.provider == "b" for shot in later) / len(later),
        down=down,
        recovered=recovered,
    )


# -- too many calls


def limited_plant() -> contextlib.AbstractContextManager[Plant]:
    """An installation whose provider takes ``PLACES`` calls at once, and lets few wait."""
    return plant(f"    max_in_flight: {PLACES}\n    queue: {{ wait: {WAIT:g}s }}\n")


async def overload(place: Plant, *, seconds: float) -> Overload:
    """Measure what the provider can take, then send three times as much for ``seconds``.

    The provider fails each call that is one too many. Raises AssertionError if it gets one.
    """
    model = f"lab/sim?room={PLACES}&delay={TAKES * 1000:.0f}"
    load = Load(place.address, model)
    warm = await load.in_a_row(PLACES, 3.0)
    assert not summary(warm).failed
    peak = len(warm) / 3.0
    began = time.monotonic() - load.began
    shots = await load.steadily(3 * peak, seconds)
    ended = time.monotonic() - load.began
    good = [shot for shot in shots if shot.status == 200]
    refused = [shot for shot in shots if shot.status == 503]
    assert len(good) + len(refused) == len(shots), "answered or refused, nothing else"
    after = await load.steadily(0.7 * peak, SETTLES + 3.0)
    stumbles = [shot.at + shot.took - ended for shot in after if shot.status != 200]
    assert place.stats()["models"][model.removeprefix("lab/")] == len(warm) + len(good) + sum(
        shot.status == 200 for shot in after
    ), "the provider was asked by those who were refused"
    load.close()
    until(lambda: place.stats()["active"] == 0, "the end of all work")
    return Overload(
        peak=peak,
        sent=len(shots) / seconds,
        goodput=len(good) / (max(shot.at + shot.took for shot in good) - began),
        p99=percentile(good, 0.99),
        refused_p99=percentile(refused, 0.99),
        recovered=max(stumbles, default=0.0),
    )
