"""Framing: what is ambiguous is refused, and how the bytes are cut makes no difference."""

import asyncio
import re
from pathlib import Path

import pytest

from ferryman.http1.exchange import Headers
from ferryman.http1.limits import Limits
from tests.http1.corpus import CASES, EVIL, GOOD
from tests.http1.scene import LAST, Scene, on_loop, scene

Outcome = tuple[list[tuple[bytes, bytes, Headers, bytes]], bytes, bool]


async def play(stage: Scene, pieces: list[bytes]) -> Outcome:
    """What was seen and answered when ``pieces`` were read one by one, and whether it ended.

    The stream is followed by a request to ``/last``, which tells when all before it is answered.
    """
    stage.seen.clear()
    peer = await stage.peer()
    await peer.send_apart([*pieces, LAST])
    while b"GET /last " not in peer.got and await peer.more():
        pass
    ended = peer.ended
    peer.close()
    replies = re.sub(rb"date: [^\r]*\r\n", b"", peer.got)
    # Whether a body is asked for depends on when it comes, and may do so (RFC 9110 §10.1.1).
    return list(stage.seen), replies.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""), ended


def codes(replies: bytes) -> list[str]:
    """The code, or the status, of each reply."""
    out = []
    while replies:
        head, _, replies = replies.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        size = int(found[1]) if found else 0
        status = head[9:12].decode()
        out.append(status if status == "200" else replies[:size].decode())
        replies = replies[size:]
    return out


@on_loop
async def test_each_case_has_its_verdict_and_nothing_behind_it_is_served() -> None:
    assert len(CASES) > 60
    async with scene() as stage:
        for name, (data, served, code) in CASES.items():
            stage.seen.clear()
            peer = await stage.peer()
            await peer.try_send(data + EVIL)
            replies = await peer.rest()
            assert not peer.reset, f"{name}: the refusal could have been lost"
            assert codes(replies) == ["200"] * served + [code] * bool(code), name
            assert len(stage.seen) == served, name
            assert b"/evil" not in [target for _, target, _, _ in stage.seen], name
            if code:
                assert replies.count(b"connection: close\r\n") == 1, name
            peer.close()


def cuts(data: bytes) -> list[list[bytes]]:
    """``data`` byte by byte, and in two at every place."""
    bytewise = [data[i : i + 1] for i in range(len(data))]
    return [bytewise, *([data[:i], data[i:]] for i in range(1, len(data)))]


@pytest.mark.parametrize("name", GOOD)
def test_every_cut_of_good_requests_gives_the_same_exchanges(name: str, tmp_path: Path) -> None:
    @on_loop
    async def check() -> None:
        async with scene(tmp_path) as stage:
            data = GOOD[name]
            whole = await play(stage, [data])
            assert not whole[2], "the connection is kept"
            assert whole[0][-1][1] == b"/last"
            assert b"/evil" not in [target for _, target, _, _ in whole[0]]
            for pieces in cuts(data):
                assert await play(stage, pieces) == whole, pieces

    check()


@on_loop
async def _bad_cuts(path: Path) -> None:
    async with scene(path) as stage:
        for name, (data, served, _) in CASES.items():
            whole = await play(stage, [data + EVIL])
            assert whole[2], name
            assert len(whole[0]) == served, name
            every = cuts(data + EVIL)
            for pieces in every if len(every) < 1000 else every[1::100]:
                assert await play(stage, pieces) == whole, (name, pieces)


def test_every_cut_of_bad_requests_gives_the_same_refusal(tmp_path: Path) -> None:
    _bad_cuts(tmp_path)


SMALL = Limits(max_request_line=40, max_headers=4, max_header_bytes=120, max_body_bytes=20)
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
NEAR = {
    "target at its limit": b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 39),
    "target over it": b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 40),
    "headers at their limit": HEAD + b"X: %b\r\n\r\n" % (b"a" * 106),
    "headers over it": HEAD + b"X: %b\r\n\r\n" % (b"a" * 107),
    "fields at their limit": HEAD + b"A: b\r\n" * 3 + b"\r\n",
    "fields over it": HEAD + b"A: b\r\n" * 4 + b"\r\n",
    "second head over its limit": (HEAD + b"Content-Length: 0\r\n\r\n") * 2
    + HEAD
    + b"X: %b\r\n\r\n" % (b"a" * 107),
    "body at its limit": HEAD + b"Content-Length: 20\r\n\r\n" + b"a" * 20,
    "body over it": HEAD + b"Content-Length: 21\r\n\r\n" + b"a" * 21,
    "again with a body over it": (
        HEAD + b"Content-Length: 20\r\n\r\n" + b"a" * 20 + HEAD + b"Content-Length: 21\r\n\r\n"
    ),
    "chunks at the limit": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 4 + b"0\r\n\r\n"
    ),
    "chunks over it": (
        HEAD
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"5\r\nhello\r\n" * 4
        + b"1\r\n!\r\n0\r\n\r\n"
    ),
    "trailers at the limit": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: %b\r\n\r\n" % (b"a" * 115)
    ),
    "trailers over it": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: %b\r\n\r\n" % (b"a" * 116)
    ),
}


@on_loop
async def _near_cuts(path: Path) -> None:
    async with scene(path, limits=SMALL) as stage:
        for name, data in NEAR.items():
            whole = await play(stage, [data])
            assert whole[2] == ("over" in name), name
            for pieces in cuts(data):
                outcome = await play(stage, pieces)
                assert outcome == whole, (name, pieces, outcome[1])


def test_limits_are_reached_at_the_same_byte_however_requests_are_cut(tmp_path: Path) -> None:
    _near_cuts(tmp_path)


@on_loop
async def test_an_ambiguous_request_is_refused_while_another_is_being_answered() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        exchange = await stage.later()
        await peer.send(CASES["length and chunked"][0] + EVIL)
        await asyncio.sleep(0.05)
        exchange.respond(200, [], b"one")
        assert (await peer.reply()).body == b"one"
        assert (await peer.reply()).body == b"malformed_http"
        assert await peer.rest() == b""
        assert len(stage.seen) == 1
