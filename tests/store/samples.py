"""Calls to journal: random, but the same for the same seed."""

import random
from collections.abc import Iterable

import msgspec

from ferryman.ir.usage import CLASSES, EXTRA_COUNTS, Extras, Usage
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import CLOSED, OPENED, Attempt, Closed, Estimate, Labels, Opened

DAY = 86_400_000_000
START = 1_795_000_000_000_000
"""Unix microseconds: 18 November 2026."""

_pack = msgspec.msgpack.Encoder().encode


def opened(call: Closed, hold: int = 5_000_000) -> Opened:
    """The record that went before ``call``."""
    return Opened(
        id=call.id,
        at_us=call.at_us,
        key=call.key,
        endpoint=call.endpoint,
        model=call.model,
        provider=call.provider,
        target=call.target,
        hold=hold,
        labels=call.labels,
    )


def call(name: str, **changes: object) -> Closed:
    """A plain call; ``changes`` are fields that differ."""
    plain: dict[str, object] = {
        "id": name,
        "at_us": START,
        "duration_us": 1_500_000,
        "key": "key_AAAAAAAAAAAA",
        "endpoint": "chat.completions",
        "model": "fast",
        "provider": "openai",
        "target": "gpt-4o-mini",
        "stream": False,
        "status": 200,
        "usage": Usage(input=100, cache_read=20, output=50, reasoning=5),
        "cost": 1_234_567,
        "attempts": (
            Attempt(provider="openai", model="gpt-4o-mini", status=200, first_byte_us=9, end_us=99),
        ),
        "first_token_us": 400_000,
        "overhead_us": 55,
    }
    return Closed(**{**plain, **changes})  # type: ignore[arg-type]


def calls(count: int, seed: int = 1) -> list[Closed]:
    """``count`` calls of several keys, models, days and fates."""
    draw = random.Random(seed)
    return [_random(draw, f"req_{seed}_{number}") for number in range(count)]


def _random(draw: random.Random, name: str) -> Closed:
    failed = draw.random() < 0.2
    known = not failed and draw.random() < 0.9
    tokens = {name: draw.randrange(10_000) for name in draw.sample(CLASSES, 3)}
    extras = None
    if known and draw.random() < 0.2:
        counts = {name: draw.randrange(1, 10_000) for name in draw.sample(EXTRA_COUNTS, 2)}
        service, region = draw.choice(["", "flex"]), draw.choice(["", "us"])
        extras = Extras(service=service, region=region, **counts)
    return call(
        name,
        at_us=START + draw.randrange(3 * DAY),
        key=f"key_{draw.choice('ABC') * 12}",
        model=draw.choice(["fast", "smart", "openai/gpt-4o"]),
        provider=draw.choice(["openai", "groq"]),
        endpoint=draw.choice(["chat.completions", "embeddings"]),
        stream=draw.random() < 0.5,
        status=draw.choice([429, 500, 499]) if failed else 200,
        error="upstream_error" if failed else "",
        usage=Usage(**tokens, extras=extras) if known else None,
        cost=draw.randrange(10**15) if known and draw.random() < 0.9 else None,
        first_token_us=draw.choice([-1, 5000]),
        policy=draw.choice(["", "dear"]),
        cache=draw.choice(["", "miss", "hit", "coalesced", "replayed"]),
        saved=draw.choice([None, draw.randrange(10**15)]),
        labels=_labels(draw),
        estimate=None if known else draw.choice([None, Estimate(draw.randrange(999), 5, 10**15)]),
    )


def _labels(draw: random.Random) -> Labels | None:
    if draw.random() < 0.3:
        return None
    tags = draw.sample(["batch", "web", "ünï"], draw.randrange(3))
    tasks = [{}, {"task": "summarise"}, {"task": "ask", "x-y.z": 'it\'s "1"'}]
    metadata: dict[str, str] = draw.choice(tasks)
    return Labels(
        end_user=draw.choice(["", "ada", "bob"]),
        run=draw.choice(["", "run-1", "run-2"]),
        task=metadata.get("task", ""),
        tags=tuple(sorted(tags)),
        metadata=metadata,
        organisation=draw.choice(["", "acme"]),
        team=draw.choice(["", "red", "blue"]),
    )


def put(writer: JournalWriter, calls: Iterable[Closed]) -> None:
    """Journal both records of each call."""
    for each in calls:
        writer.append(OPENED, _pack(opened(each)))
        writer.append(CLOSED, _pack(each))
