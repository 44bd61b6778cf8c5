"""Plays cases for as long as asked, keeps those that failed, and looks for what was left behind."""

import asyncio
import contextlib
import gc
import json
import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, field

from soak.fuzz import ends, live, settings, wire
from soak.fuzz.mutate import Chance
from soak.plant import descriptors, memory

FOUND = Path("soak") / "found.json"
"""Where cases that failed are written, as ``tests/fuzz/kept.json`` has them."""
MOST_SHOWN = 20
SLOW = 20.0
"""Seconds after which a case has failed by taking so long."""
GROWTH = 80 << 20
"""Bytes that a process may grow by after the first quarter of its time."""
FILES = 20
"""Open files that a process may have more than then."""

WORDS = {
    "requests": "streams of requests to the listener, judged by two other readers",
    "replies": "replies to the client's end, judged by the same",
    "answer": "whole answers of every format",
    "stream": "streams of every format",
    "request": "requests of every format",
    "task": "embeddings, rankings, pictures, speech",
    "failure": "bodies of errors",
    "form": "forms",
    "invoked": "streams of messages with check sums",
    "file": "configuration files",
    "asked": "streams of requests to a running data plane, a call behind each",
    "answered": "replies of an upstream to a running data plane, a call behind each",
    "called": "calls with any path and body",
    "knocked": "streams of requests to a running control plane",
    "ordered": "orders to its API",
}
"""What the cases of each target are."""

Play = Callable[[bytes, Chance], Awaitable[None] | None]


class Target(NamedTuple):
    """What makes a case, what plays it, and its share of the time."""

    make: Callable[[Chance], bytes]
    play: Play
    share: int


class Outcome(Struct):
    """What a run found."""

    cases: Counter[str] = field(default_factory=Counter)
    failed: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """``target-seed`` → target, its case (a character for each byte), what was wrong."""
    growth: dict[str, float] = field(default_factory=dict)
    """Megabytes by which each process grew after the first quarter."""


def inside(listener: ends.Listener) -> dict[str, Target]:
    """What is played in this process."""
    return {
        "requests": Target(ends.ask, lambda data, c: ends.asked(listener, data, c), 3),
        "replies": Target(ends.say, ends.said, 2),
        "answer": Target(wire.answer, wire.play_answer, 2),
        "stream": Target(wire.stream, wire.play_stream, 4),
        "request": Target(wire.request, wire.play_request, 2),
        "task": Target(wire.task, wire.play_task, 1),
        "failure": Target(wire.failure, wire.play_failure, 1),
        "form": Target(wire.form, wire.play_form, 1),
        "invoked": Target(wire.invoked, wire.play_invoked, 1),
        "file": Target(settings.file, settings.play_file, 4),
    }


def outside(ground: live.Ground) -> dict[str, Target]:
    """What is played against running planes."""
    return {
        "asked": Target(ends.ask, lambda data, c: live.asked(ground, data, c), 3),
        "answered": Target(live.answer, lambda data, c: live.answered(ground, data, c), 2),
        "called": Target(live.calls, lambda data, c: live.called(ground, data, c), 2),
        "knocked": Target(ends.ask, lambda data, c: live.knocked(ground, data, c), 1),
    }


def orders(ground: live.Ground) -> dict[str, Target]:
    """Orders to the control plane: afterwards it is configured as they happened to say."""
    spec = live.spec_of(ground)
    return {
        "ordered": Target(
            lambda chance: live.orders(chance, spec),
            lambda data, c: live.ordered(ground, data, c),
            1,
        )
    }


async def case(target: Target, name: str, seed: int) -> tuple[bytes, str]:
    """Play one case; the case, and what was wrong with what came of it (empty: nothing)."""
    chance = random.Random(f"{name}:{seed}")
    data = target.make(chance)
    began = time.monotonic()
    try:
        played = target.play(data, chance)
        if played is not None:
            await asyncio.wait_for(played, 10 * SLOW)
    except Exception:
        return data, traceback.format_exc(limit=-4)
    took = time.monotonic() - began
    return data, f"it took {took:.0f} s" if took > SLOW else ""


async def play(
    targets: dict[str, Target],
    found: Outcome,
    seed: int,
    *,
    seconds: float = 0,
    cases: int = 0,
    between: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Play for ``seconds``, or so many ``cases`` of each; ``between`` looks around now and then."""
    spent = dict.fromkeys(targets, 0.0)
    numbers: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until or min(numbers[name] for name in targets) < cases:
        name = min(targets, key=lambda each: (
            spent[each] / targets[each].share if seconds else numbers[each]))  # fmt: skip
        began = time.monotonic()
        number = seed + numbers[name]
        data, wrong = await case(targets[name], name, number)
        numbers[name] += 1
        if between is not None and not wrong and sum(numbers.values()) % 50 == 0:
            try:
                await between()
            except Exception:
                wrong = "after it: " + traceback.format_exc(limit=-4)
        spent[name] += time.monotonic() - began
        if wrong and len(found.failed) < 100:
            found.failed[f"{name}-{number}"] = name, data.decode("latin-1"), wrong
    found.cases += numbers


async def of_ends(found: Outcome, seed: int, seconds: float) -> None:
    """Everything that is played in this process, and what it leaves behind."""
    listener = ends.Listener()
    targets = inside(listener)
    me = os.getpid()
    await play(targets, found, seed, seconds=seconds / 4)
    gc.collect()
    size, files, tasks = memory(me), descriptors(me), len(asyncio.all_tasks())
    await play(targets, found, seed + 100_000_000, seconds=seconds * 3 / 4)
    gc.collect()
    found.growth["here"] = (memory(me) - size) / (1 << 20)
    assert memory(me) - size < GROWTH, f"it grew by {found.growth['here']:.0f} MB"
    assert descriptors(me) <= files, "files are left open"
    assert len(asyncio.all_tasks()) <= tasks, "tasks are left"
    await listener.close()


async def ready(ground: live.Ground) -> None:
    """Wait until both kinds of calls are answered."""
    for _ in range(400):
        with contextlib.suppress(AssertionError, ValueError, OSError):
            await ground.others(ground.place.port)
            return
        await asyncio.sleep(0.05)
    await ground.others(ground.place.port)


async def of_planes(found: Outcome, seed: int, seconds: float) -> None:
    """Everything that is played against running planes, and what they keep of it."""
    upstream = live.Upstream()
    port = await upstream.open()
    with live.standing(port) as place:
        ground = live.Ground(place, upstream)
        await ready(ground)

        async def between() -> None:
            await asyncio.to_thread(ground.alive)
            await ground.others(place.port)

        commands = orders(ground)
        await play(outside(ground), found, seed, seconds=seconds / 4, between=between)
        before = live.sizes(ground)
        await play(
            outside(ground), found, seed + 100_000_000, seconds=seconds / 2, between=between
        )  # fmt: skip
        await asyncio.sleep(5)  # what callers left behind is let go
        after = live.sizes(ground)
        for plane, (size, files) in after.items():
            found.growth[plane] = (size - before[plane][0]) / (1 << 20)
            assert size - before[plane][0] < GROWTH, f"{plane} grew by {found.growth[plane]:.0f} MB"
            assert files - before[plane][1] < FILES, f"{plane} keeps files open"
        await play(commands, found, seed, seconds=seconds / 4)
        await asyncio.to_thread(ground.alive)
        await upstream.close()


async def run(minutes: float, seed: int) -> Outcome:
    """Fuzz for so long, half of it against running planes.

    Raises AssertionError when anything failed; its cases are in :data:`FOUND` then.
    """
    found = Outcome()
    try:
        await of_ends(found, seed, minutes * 30)
        await of_planes(found, seed, minutes * 30)
    finally:
        if found.failed:
            keep(found)
    assert not found.failed, f"{len(found.failed)} cases failed; they are in {FOUND}"
    return found


def keep(found: Outcome) -> None:
    """Write down what failed."""
    said: dict[str, Any] = {
        name: {"target": target, "case": data, "wrong": wrong.splitlines()}
        for name, (target, data, wrong) in found.failed.items()
    }
    FOUND.write_text(json.dumps(said, indent=1) + "\n")
    for name, (_, _, wrong) in list(found.failed.items())[:MOST_SHOWN]:
        print(f"    {name}: {wrong.strip().splitlines()[-1][:300]}")
