"""Crowds on one data plane: thousands of streams at once, and of connections that say nothing."""

import asyncio
import contextlib
import hashlib
import json
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from msgspec import Struct

from soak.client import Address, Answer, Link, call, connect, request
from soak.mix import CHAT
from soak.plant import PROVIDER, Plant, descriptors, memory

LOW_LIMIT = 256
"""Open files that the installation is started with: the data plane has to raise that itself."""
RAMP = 700
"""Streams begun in a second."""
MB = 1_000_000
STALLED = 10.0
"""Seconds of silence after which a stream counts as stalled."""


class Streams(Struct, kw_only=True):
    """What a crowd of streams has shown."""

    streams: int
    most_open: int
    chunks: int
    idle_mb: float
    """Resident memory of the data plane before."""
    peak_mb: float
    kb_each: float
    """Memory for one stream, both connections included."""
    longest_gap: float
    """Longest silence within a stream, seconds."""
    period: float
    """Pause between tokens at the provider, seconds."""
    seconds: float


class Idle(Struct, kw_only=True):
    """What a crowd of silent connections has shown."""

    connections: int
    answered: int
    """Calls answered while they were open."""
    mb: float
    """Memory that they took."""


@contextlib.contextmanager
def low_limit(soft: int = LOW_LIMIT) -> Iterator[None]:
    """Processes started here may open ``soft`` files unless they ask for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def raise_limit() -> None:
    """Let this process open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- streams


def _body(number: int, words: int, tps: float) -> bytes:
    text = " ".join(f"s{number:05d}w{word:04d}" for word in range(words))
    return json.dumps(
        {
            "model": f"{PROVIDER}/echo",
            "messages": [{"role": "user", "content": text}],
            "sim": f"echo&tps={tps}",
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


def _fingerprint(body: bytes) -> bytes:
    """A hash of a stream without the reply's number, which the provider counts up."""
    at = body.index(b"chatcmpl-")
    return hashlib.sha256(body.replace(body[at : at + 33], b"chatcmpl-")).digest()


async def streams(plant: Plant, count: int, *, words: int, tps: float) -> Streams:
    """Open ``count`` streams at once, each with words of its own, and look at every byte."""
    host, port = plant.upstream.removeprefix("http://").split(":")
    direct = await call(Address(host, int(port), ""), "/v1/chat/completions",
                        _body(0, words, 0).replace(f"{PROVIDER}/".encode(), b""))  # fmt: skip
    assert direct.whole, direct
    edge = plant.pid("edge")
    idle = memory(edge)
    began = time.monotonic()
    links: list[Link] = []
    tasks = []
    async with _watched(plant, edge) as peak:
        for number in range(count):
            tasks.append(asyncio.create_task(_one(plant.address, links, number, words, tps)))
            if number % 50 == 49:
                await asyncio.sleep(50 / RAMP)
        answers = await asyncio.gather(*tasks)
    _check(answers, direct.body)
    return Streams(
        streams=count,
        most_open=peak.streams,
        chunks=count * words,
        idle_mb=idle / MB,
        peak_mb=peak.memory / MB,
        kb_each=(peak.memory - idle) / count / 1000,
        longest_gap=max(answer.gap for answer in answers),
        period=1 / tps,
        seconds=time.monotonic() - began,
    )


async def _one(address: Address, links: list[Link], number: int, words: int, tps: float) -> Answer:
    link = await connect(address)
    links.append(link)
    try:
        return await link.ask(request(address, CHAT, _body(number, words, tps)))
    finally:
        link.close()


def _check(answers: list[Answer], sample: bytes) -> None:
    wrong = [
        f"stream {number}: {answer.failure or answer.status} {answer.body[-200:]!r}"
        for number, answer in enumerate(answers)
        if answer.status != 200 or not answer.whole
    ]
    assert not wrong, f"{len(wrong)} streams were cut, such as:\n" + "\n".join(wrong[:5])
    for number, answer in enumerate(answers):
        mine = sample.replace(b"s00000w", b"s%05dw" % number)
        assert _fingerprint(answer.body) == _fingerprint(mine), f"stream {number} has wrong bytes"


class _Peak(Struct):
    memory: int = 0
    streams: int = 0


@contextlib.asynccontextmanager
async def _watched(plant: Plant, pid: int) -> AsyncIterator[_Peak]:
    """The most memory (bytes) and open streams that a data plane has within the block."""
    peak = _Peak()

    async def watch() -> None:
        while True:
            peak.memory = max(peak.memory, memory(pid))
            page = await asyncio.to_thread(plant.metrics)
            peak.streams = max(peak.streams, _open_streams(page))
            await asyncio.sleep(0.2)

    task = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        peak.memory = max(peak.memory, memory(pid))
        task.cancel()


def _open_streams(metrics: str) -> int:
    [line] = [line for line in metrics.splitlines() if line.startswith("ferryman_open_streams ")]
    return int(line.split()[1])


# -- idle connections


async def idle(plant: Plant, count: int, *, calls: int) -> Idle:
    """Hold ``count`` connections open, half of them after a first call, while others call."""
    edge = plant.pid("edge")
    before = memory(edge)
    body = json.dumps(
        {"model": f"{PROVIDER}/one", "messages": [{"role": "user", "content": "Anyone?"}]}
    ).encode()
    links: list[Link] = []
    try:
        for number in range(count):
            link = await connect(plant.address)
            links.append(link)
            if number % 2:
                answer = await link.ask(request(plant.address, CHAT, body))
                assert answer.status == 200, answer
        open_now = descriptors(edge)
        assert open_now >= count, f"{open_now} open files for {count} connections"
        took = memory(edge) - before
        for _ in range(calls):
            answer = await call(plant.address, CHAT, body)
            assert answer.status == 200, answer
        for link in links:
            assert link.open, "an idle connection was closed"
        for link in (links[0], links[-1]):
            assert (await link.ask(request(plant.address, CHAT, body))).status == 200
    finally:
        for link in links:
            link.close()
    return Idle(connections=count, answered=calls, mb=took / MB)


# -- too few descriptors


class TooFew(Struct, kw_only=True):
    """How callers fared where there were more of them than files to open."""

    limit: int
    callers: int
    served: int
    refused: int
    """Told so, with status 502 or 503."""
    hung_up: int
    """Hung up on without a word."""


async def too_few(plant: Plant, limit: int, callers: int) -> TooFew:
    """More callers than the data plane may open files: some are turned away, and it lives on."""
    assert plant.supervisor is not None
    resource.prlimit(plant.supervisor.popen.pid, resource.RLIMIT_NOFILE, (limit, limit))
    await asyncio.to_thread(plant.kill, "edge")  # the next one inherits the limit
    body = json.dumps(
        {
            "model": f"{PROVIDER}/one",
            "messages": [{"role": "user", "content": "Is there room?"}],
            "sim": "delay=300",
        }
    ).encode()
    first = await call(plant.address, CHAT, body)
    assert first.status == 200, first
    edge = plant.pid("edge")
    answers = await asyncio.gather(*[call(plant.address, CHAT, body) for _ in range(callers)])
    statuses = Counter(answer.status for answer in answers)
    assert statuses[200], f"nobody was answered: {statuses}"
    assert not statuses.keys() - {0, 200, 502, 503}, statuses
    for answer in answers:
        assert answer.failure != "refused"
    for _ in range(10):
        again = await call(plant.address, CHAT, body)
        assert again.status == 200, f"it did not recover: {again}"
    assert plant.pid("edge") == edge, "it did not live on"
    return TooFew(
        limit=limit,
        callers=callers,
        served=statuses[200],
        refused=statuses[502] + statuses[503],
        hung_up=statuses[0],
    )
