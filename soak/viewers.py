"""Viewers of the dashboard: how far behind they are, and what they cost those who call."""

import asyncio
import http.client
import json
import re
import selectors
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench import whole_load
from msgspec import Struct
from tests.processes import PATIENCE, until

from soak.client import Address, call
from soak.mix import CHAT
from soak.plant import PRICED, PROVIDER, Plant

LAG = 1000.0
"""Milliseconds that the live list may be behind."""
BODY = json.dumps(
    {"model": f"{PROVIDER}/{PRICED[0]}", "max_tokens": 20,
     "messages": [{"role": "user", "content": "Hello"}]}
).encode()  # fmt: skip


class Viewer:
    """A browser that is signed in, without what a browser shows."""

    def __init__(self, place: Plant) -> None:
        self.url = (place.data / "admin-url").read_text().strip()
        token = place.admin("POST", "/api/v1/links").json()["token"]
        sent = {"content-type": "application/x-www-form-urlencoded", "origin": self.url}
        link = self.link()
        link.request("POST", "/enter", urlencode({"token": token}), sent)
        reply = link.getresponse()
        assert reply.status == 303, reply.read()
        *_, last = reply.headers.get_all("set-cookie") or [""]  # before it, others are taken away
        self.cookie = last.partition(";")[0]

    def link(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)


@contextmanager
def watching(viewer: Viewer) -> Iterator[dict[str, float]]:
    """The stream of the page Now: request id → monotonic time at which it first stood there."""
    seen: dict[str, float] = {}
    link = viewer.link()
    link.request("GET", "/live", headers={"cookie": viewer.cookie})
    reply = link.getresponse()
    assert reply.status == 200

    def read() -> None:
        with suppress(OSError, http.client.HTTPException):
            while line := reply.readline():
                for ident in re.findall(rb"/calls/(req_\w+)", line):
                    seen.setdefault(ident.decode(), time.monotonic())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        if link.sock is not None:
            link.sock.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
        link.close()


async def lags(viewer: Viewer, address: Address, *, calls: int, rate: float) -> list[float]:
    """Milliseconds from the end of each of ``calls`` calls, ``rate`` a second, until the viewer of
    the page Now has been sent it."""
    ended: dict[str, float] = {}

    async def one() -> None:
        answer = await call(address, CHAT, BODY)
        assert answer.status == 200, answer
        ended[answer.id] = time.monotonic()

    with watching(viewer) as seen:
        tasks = []
        for _ in range(calls):
            tasks.append(asyncio.create_task(one()))
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*tasks)
        await asyncio.to_thread(until, lambda: ended.keys() <= seen.keys(), "all calls in the list")
        return [max(seen[ident] - at, 0.0) * 1000 for ident, at in ended.items()]


# -- what they cost --------------------------------------------------------------------------------


class Cost(Struct, frozen=True, kw_only=True):
    """A load on the data plane without and with viewers, alternately."""

    viewers: int
    connections: int
    without: list[float]
    """The 99th percentile of each round, milliseconds;"""
    watched: list[float]
    """with viewers."""
    rates: tuple[float, float]
    """Calls a second without and with them: medians."""
    events: int
    """What the viewers have been sent."""

    @property
    def ratio(self) -> float:
        """How much viewers move the 99th percentile: the median over rounds."""
        pairs = zip(self.watched, self.without, strict=True)
        return statistics.median(watched / without for watched, without in pairs)


def cost(
    place: Plant, address: Address, work: Path, *, viewers: int, connections: int, rounds: int,
    seconds: float, told: Callable[[str], None] = lambda _: None,
) -> Cost:  # fmt: skip
    """Load the running ``place`` with ``connections`` callers that ask once they are answered.

    Raises AssertionError where a call fails, or a viewer is sent nothing.
    """
    viewer = Viewer(place)
    headers = {"authorization": f"Bearer {address.key}", "content-type": "application/json"}

    def load(seconds: float) -> whole_load.Load:
        found = whole_load.run(
            f"http://{address.host}:{address.port}{CHAT}", BODY, headers,
            connections=connections, seconds=seconds, work=work,
        )  # fmt: skip
        assert found.requests and not found.failed and not found.refused, found
        return found

    load(min(seconds, 3))
    found: dict[bool, list[whole_load.Load]] = {False: [], True: []}
    events = 0
    for number in range(rounds):
        for watched in (False, True) if number % 2 else (True, False):
            told(f"round {number + 1}, {viewers if watched else 'no'} viewers")
            with crowd(viewer, viewers if watched else 0) as heard:
                found[watched].append(load(seconds))
            events += heard.total()
    return Cost(
        viewers=viewers, connections=connections, events=events,
        without=[each.p99_us / 1000 for each in found[False]],
        watched=[each.p99_us / 1000 for each in found[True]],
        rates=(
            statistics.median(each.rps for each in found[False]),
            statistics.median(each.rps for each in found[True]),
        ),
    )  # fmt: skip


@contextmanager
def crowd(viewer: Viewer, count: int) -> Iterator[Counter[int]]:
    """So many streams of the page Now at once; yields how many events each has been sent."""
    heard: Counter[int] = Counter()
    links = [viewer.link() for _ in range(count)]
    chosen = selectors.DefaultSelector()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for key, _ in chosen.select(0.2):
                sock: socket.socket = key.data
                heard[key.fd] += sock.recv(1 << 20).count(b"data: ")

    for link in links:
        link.request("GET", "/live", headers={"cookie": viewer.cookie})
        assert link.sock is not None
        chosen.register(link.sock, selectors.EVENT_READ, link.sock)
    thread = threading.Thread(target=read, daemon=True)
    if links:
        thread.start()
    try:
        until(lambda: len(heard) == count, "something for each viewer")
        yield heard
    finally:
        done.set()
        if links:
            thread.join(PATIENCE)
        chosen.close()
        for link in links:
            link.close()
