"""Mixed load for a long time: memory of both planes, journal and metrics stay bounded."""

import asyncio
import re
import time
from collections.abc import Callable

from msgspec import Struct

from soak.client import Address, Answer
from soak.mix import Ask, Load, Mix
from soak.plant import Plant, descriptors, memory

SERIES = 2100
"""Label sets that the metrics page may have per family: its limit, and some for all the others."""
SEGMENTS = 4
"""Journal files that may lie about: the newest, and what ingestion has just not got to."""
WARM = 2 * SERIES
"""Calls before memory is looked at: until then label sets and caches fill up to their limits."""
WARM_SECONDS = 90.0
"""Time for them on a busy machine."""
KEYS = 64
SAMPLE = 0.5
SETTLED = 60.0
"""Seconds after the end of the load by which the ledger has all calls."""
MB = 1_000_000
GROWTH = {"edge": 3.0, "control": 8.0}
"""MB by which the fitted line may rise over the second half, however long it was: an allocator's
noise, and far less than losing one object a call."""


class Sample(Struct, frozen=True):
    """One look at the planes."""

    at: float
    """Seconds since the beginning."""
    calls: int
    edge: int
    """Resident bytes."""
    control: int
    files: int
    """Open files of the data plane."""


class Fit(Struct, frozen=True):
    """A straight line through memory over calls, of the second half of a run."""

    bytes_per_call: float
    growth_mb: float
    """Rise of the line."""
    peak_mb: float
    """Most memory in the whole run."""


class Outcome(Struct, kw_only=True):
    """What a run has shown."""

    minutes: float
    calls: int
    whole: int
    keys: int
    models: int
    """Different model names called."""
    edge: Fit
    control: Fit
    series: int
    """Label sets of ``ferryman_calls_total``."""
    segments: int
    """Most journal files at a time."""
    written: int
    """Number of the newest journal file."""


class LongMix(Mix):
    """A mix in which every call is to a model of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, lambda serial: f"m{serial:07d}")


class LongLoad(Load):
    """Load that forgets answers once it has looked at them."""

    def __init__(self, address: Callable[[], Address], mix: Mix, pause: float) -> None:
        super().__init__(address, mix, pause=pause)
        self.calls = 0
        self.whole = 0
        self.wrong: list[str] = []

    def note(self, ask: Ask, answer: Answer) -> None:
        self.sent.clear()
        self.calls += 1
        self.whole += answer.whole
        wants_whole = ask.kind not in ("left", "cut")
        if answer.whole != wants_whole and answer.failure != "left" and len(self.wrong) < 20:
            self.wrong.append(f"{ask.kind} {answer.status} {answer.failure} {answer.body[-200:]!r}")


async def run(plant: Plant, *, seconds: float, seed: int, callers: int, pause: float) -> Outcome:
    """Call for ``seconds`` after ``WARM`` calls.

    Raises AssertionError when something grows that should not, or an answer is not as it should be.
    """
    keys = [plant.address.key, *await asyncio.to_thread(_keys, plant)]
    turn = iter(range(1 << 60))

    def address() -> Address:
        return Address("127.0.0.1", plant.port, keys[next(turn) % len(keys)])

    load = LongLoad(address, LongMix(seed), pause)
    pids = plant.pid("edge"), plant.pid("control")
    samples: list[Sample] = []
    most_segments = 0
    load.start(callers)
    for _ in range(round(WARM_SECONDS / SAMPLE)):
        if load.calls < WARM:
            await asyncio.sleep(SAMPLE)
    began = time.monotonic()
    while (at := time.monotonic() - began) < seconds:
        edge, control = pids
        samples.append(Sample(at, load.calls, memory(edge), memory(control), descriptors(edge)))
        most_segments = max(most_segments, len(plant.segments()))
        await asyncio.sleep(SAMPLE)
    await load.stop()
    assert not load.wrong, "\n".join(load.wrong)
    assert (plant.pid("edge"), plant.pid("control")) == pids, "a plane was restarted"
    until = time.monotonic() + SETTLED
    while (counted := await asyncio.to_thread(_counted, plant)) < load.calls:
        if time.monotonic() > until:  # who reads waits for 5 s, a machine with other work longer
            break
    assert counted == load.calls, f"{load.calls} calls made, {counted} in the ledger"
    series = _series(await asyncio.to_thread(plant.metrics))
    assert series <= SERIES, f"{series} label sets"
    assert most_segments <= SEGMENTS, f"{most_segments} journal files: they are not deleted"
    outcome = Outcome(
        minutes=seconds / 60,
        calls=load.calls,
        whole=load.whole,
        keys=len(keys),
        models=load.calls,
        edge=fit(samples, lambda sample: sample.edge),
        control=fit(samples, lambda sample: sample.control),
        series=series,
        segments=most_segments,
        written=max(int(path.stem) for path in plant.segments()),
    )
    for plane, line in (("edge", outcome.edge), ("control", outcome.control)):
        assert line.growth_mb <= GROWTH[plane], f"{plane} grows: {line}"
    return outcome


def _counted(plant: Plant) -> int:
    found: int = plant.admin("GET", "/api/v1/usage").json()["total"]["calls"]
    return found


def _keys(plant: Plant) -> list[str]:
    return [
        plant.admin("POST", "/api/v1/keys", {"name": f"caller {number}"}).json()["key"]
        for number in range(KEYS)
    ]


def fit(samples: list[Sample], value: Callable[[Sample], int]) -> Fit:
    """Least squares over the second half of ``samples``."""
    half = samples[len(samples) // 2 :]
    per_call = _slope([(float(sample.calls), float(value(sample))) for sample in half])
    growth = per_call * (half[-1].calls - half[0].calls)
    return Fit(per_call, growth / MB, max(map(value, samples)) / MB)


def _slope(points: list[tuple[float, float]]) -> float:
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def _series(page: str) -> int:
    return len(re.findall(r"^ferryman_calls_total\{", page, re.MULTILINE))
