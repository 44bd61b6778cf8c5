"""A head that is recognised means what it means when it is parsed."""

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferryman.http1.head import number_at
from ferryman.http1.limits import Limits
from tests.http1.scene import Scene, on_loop, post, scene
from tests.http1.test_framing import Outcome, play

# A request is (fields, the field that says the length, body); each part may be off.
LENGTHS = (
    b"Content-Length: %d", b"content-length:%d", b"Content-Length:  %d ", b"Content-Length:\t%d\t",
    b"CONTENT-LENGTH: %d", b"Content-Length: 0%d", b"Content-Length: 000000000%d",
    b"Content-Length: 00000000%d", b"Content-Length: +%d", b"Content-Length: %d, 5",
    b"Content-Length: %d\r\nContent-Length: 5", b"Content-Length: %d\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: %d", b"Content-Length : %d",
    b"Content-Length: %d\nX: y", b"Content-Length: %d\r\n folded", b"Content-Length: %d\x00",
    b"X-Content-Length: %d", b"Content-Length:", b"Content-Length: %dx", b"X: y",
)  # fmt: skip
EXTRAS = (
    b"X: y", b"X: z", b"Expect: 100-continue", b"Connection: close", b"Connection: keep-alive",
    b"Connection: Upgrade\r\nUpgrade: h2c", b"Transfer-Encoding: chunked", b"Host: y", b"Bad",
    b"Content-Length: 5",
)  # fmt: skip
LINES = (
    b"POST / HTTP/1.1", b"PUT / HTTP/1.1", b"POST /2 HTTP/1.1", b"POST / HTTP/1.0",
    b"\r\nPOST / HTTP/1.1", b"GET / HTTP/1.1", b"post / HTTP/1.1", b"POST /stream HTTP/1.1",
)  # fmt: skip


class Chooser:
    """Builds streams of requests; ``pick(n)`` gives a number below n, and 0 is no mistake."""

    def __init__(self, pick: Callable[[int], int]) -> None:
        self.pick = pick

    def _rarely(self, values: tuple[bytes, ...]) -> bytes:
        """Mostly the first value: what repeats is what is recognised."""
        return values[self.pick(len(values))] if self._once_in(20) else values[0]

    def _once_in(self, times: int) -> bool:
        return self.pick(times) == times - 1

    def request(self) -> bytes:
        body = b"abcdefghijklmnopqrstuvwxyz"[: (5, 0, 1, 9, 10, 11, 26)[self.pick(7)]]
        said = len(body) + (1, -1, 900)[self.pick(3)] * self._once_in(30)
        length = self._rarely(LENGTHS)
        lines = [self._rarely(LINES), b"Host: x", b"A: b"]
        if self._once_in(20):
            lines.insert(1 + self.pick(3), EXTRAS[self.pick(len(EXTRAS))])
        at = 1 if self._once_in(20) else 3
        lines.insert(at, length % max(said, 0) if b"%d" in length else length)
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def stream(self) -> list[bytes]:
        """Some requests, cut anywhere, but often between them."""
        pieces: list[bytes] = []
        for _ in range(2 + self.pick(8)):
            part = self.request()
            cuts = sorted(self.pick(len(part)) for _ in range(self.pick(3)))
            pieces += [part[a:b] for a, b in pairwise([0, *cuts, len(part)]) if a < b]
            if self._once_in(8) and len(pieces) > 1:
                pieces[-2:] = [pieces[-2] + pieces[-1]]
        return pieces


class Both:
    """Two servers on a loop of their own: one that recognises heads, one that doesn't."""

    def __init__(self, path: Path) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.path = path
        self.scenes: list[Any] = []

    async def _open(self, name: str) -> Scene:
        place = self.path / name
        place.mkdir()
        context = scene(place, limits=Limits(max_body_bytes=500))
        self.scenes.append(context)
        return await context.__aenter__()

    def __enter__(self) -> "Both":
        self.quick = self.runner.run(self._open("quick"))
        self.plain = self.runner.run(self._open("plain"))
        self.plain.server.recognise = False
        return self

    def __exit__(self, *_: object) -> None:
        for context in self.scenes:
            self.runner.run(context.__aexit__(None, None, None))
        self.runner.close()

    def play(self, pieces: list[bytes]) -> tuple[Outcome, Outcome]:
        quick = self.runner.run(play(self.quick, pieces))
        return quick, self.runner.run(play(self.plain, [b"".join(pieces)]))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with Both(tmp_path) as pair:
        yield pair
        assert pair.plain.recognised == 0


def test_recognised_heads_give_the_same_exchanges_as_parsed_ones(both: Both) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        pieces = Chooser(lambda below: data.draw(st.integers(0, below - 1))).stream()
        quick, plain = both.play(pieces)
        assert quick == plain

    check()
    assert both.quick.recognised > 10, "does this test still reach what it is about?"


def test_recognised_heads_in_many_random_streams(both: Both) -> None:
    chance = random.Random(7)  # hypothesis finds the small case, this the rare one
    for number in range(800):
        pieces = Chooser(chance.randrange).stream()
        quick, plain = both.play(pieces)
        assert quick == plain, (number, pieces)
    assert both.quick.recognised > 250, "does this test still reach what it is about?"


FIRST = post("/", b"hello", "A: b")
FOLLOWERS = {
    "the same": FIRST,
    "longer": post("/", b"x" * 123, "A: b"),
    "empty": post("/", b"", "A: b"),
    "ten digits": FIRST.replace(b": 5", b": 0000000005"),
    "nine digits": FIRST.replace(b": 5", b": 000000005"),
    "plus": FIRST.replace(b": 5", b": +5"),
    "two lengths": FIRST.replace(b": 5\r\n", b": 5\r\nContent-Length: 5\r\n"),
    "length and coding": FIRST.replace(b": 5\r\n", b": 5\r\nTransfer-Encoding: chunked\r\n"),
    "chunked": b"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "changed field": post("/", b"hello", "A: c"),
    "expects": post("/", b"hello", "A: b", "Expect: 100-continue"),
    "lower case": FIRST.replace(b"Content-Length", b"content-length"),
    "space behind": FIRST.replace(b": 5\r\n", b": 5 \r\n"),
    "too large": post("/", b"", "A: b").replace(b": 0", b": 501"),
    "partial head before": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + FIRST,
    "two at once": FIRST + FIRST,
    "with rubbish behind": FIRST + b"rubbish",
}


@pytest.mark.parametrize("name", FOLLOWERS)
def test_every_cut_behind_a_known_head_gives_the_same_exchanges(name: str, both: Both) -> None:
    data = FOLLOWERS[name]
    for at in range(1, len(data)):
        quick, plain = both.play([FIRST, data[:at], data[at:], FIRST])
        assert quick == plain, at
    whole, plain = both.play([FIRST, *[data[i : i + 1] for i in range(len(data))], FIRST])
    assert whole == plain


@on_loop
async def test_a_partial_head_is_not_mistaken_for_a_known_one(tmp_path: Path) -> None:
    """Recognised inside another request's head, it would be a request that nobody sent."""
    async with scene(tmp_path) as stage:
        peer = await stage.peer()
        await peer.send_apart([FIRST + b"GET /outer HTTP/1.1\r\nHost: x\r\nX: ", FIRST])
        assert [(await peer.reply()).status for _ in range(2)] == [200, 400]
        assert [target for _, target, _, _ in stage.seen] == [b"/"]


@on_loop
async def test_known_heads_obey_limits_that_changed(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        peer = await stage.peer()
        assert (await peer.ask(FIRST)).status == 200
        stage.server.limits = Limits(max_body_bytes=4)
        assert (await peer.ask(FIRST)).body == b"body_too_large"
        assert await peer.rest() == b""


@given(st.text("019/:x", max_size=12).map(str.encode), st.integers(0, 3))
def test_a_number_ends_where_its_digits_do(data: bytes, at: int) -> None:
    found = re.compile(rb"[0-9]{1,9}(?![0-9])").match(data, at)
    number, end = number_at(data, at)
    assert number == (int(found[0]) if found else -1)
    assert found is None or end == found.end()
