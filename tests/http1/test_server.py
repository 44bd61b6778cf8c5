"""What the server accepts, and in what order and shape it answers."""

import asyncio
import re

import pytest

from ferryman.http1.limits import Limits
from tests.http1.scene import chunked, expects_faults, get, on_loop, post, scene


@on_loop
async def test_a_connection_serves_many_requests() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        for number in range(5):
            reply = await peer.ask(post(f"/{number}", b"hello"))
            assert reply.status == 200
            assert reply.body == b"POST /%d hello" % number
            assert "connection" not in reply.headers
            assert re.fullmatch(
                r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", reply.headers["date"]
            )
        assert len(stage.server.connections) == 1


@on_loop
async def test_the_handler_sees_the_request_as_it_was_sent() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        fields = b"Host: x:80\r\nX-Two:  a b \t\r\nX-TWO: \xff\r\nEmpty:\r\nContent-Length: 3"
        await peer.ask(b"PUT /a%20b?c=d#e HTTP/1.1\r\n" + fields + b"\r\n\r\nabc")
        headers = [(b"host", b"x:80"), (b"x-two", b"a b"), (b"x-two", b"\xff"), (b"empty", b"")]
        assert stage.seen == [(b"PUT", b"/a%20b?c=d#e", headers, b"abc")]


@pytest.mark.parametrize("target", ["http://other/v1/x?y", "*", "/", "/" + "a" * 8191])
@on_loop
async def test_every_form_of_target_is_handed_on_as_sent(target: str) -> None:
    async with scene() as stage:
        peer = await stage.peer()
        reply = await peer.ask(f"OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert reply.status == 200
        assert stage.seen[0][1] == target.encode()


@on_loop
async def test_chunked_bodies_come_as_one_and_their_trailers_as_none() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        trailers = b"0\r\nAuthorization: Bearer forged\r\nX: y\r\n\r\n"
        reply = await peer.ask(chunked("/", b"a" * 300, b"b", end=trailers))
        assert reply.body == b"POST / " + b"a" * 300 + b"b"
        assert [name for name, _ in stage.seen[0][2]] == [b"host", b"transfer-encoding"]
        assert (await peer.ask(get("/next"))).body == b"GET /next "


@on_loop
async def test_chunk_extensions_are_passed_over() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(chunked("/", end=b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'))
        assert (await peer.reply()).body == b"POST / hello"


@on_loop
async def test_a_body_in_a_million_pieces_is_not_a_million_times_the_work() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        size = 1_000_000
        reply = await peer.ask(chunked("/big/1", end=b"1\r\nx\r\n" * size + b"0\r\n\r\n"))
        assert reply.status == 200
        assert stage.seen[0][3] == b"x" * size


@on_loop
async def test_blank_lines_between_requests_mean_nothing() -> None:
    async with scene(limits=Limits(header_seconds=0.2)) as stage:
        peer = await stage.peer()
        assert (await peer.ask(b"\r\n\r\n" + post("/1", b"a") + b"\r\n")).status == 200
        await asyncio.sleep(0.9)  # a stray blank line starts no head that could be overdue
        assert (await peer.ask(b"\r\n" + post("/2", b"a"))).status == 200
        assert len(stage.seen) == 2


# -- order


@on_loop
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later/1") + post("/2", b"two") + chunked("/3", b"three"))
        await peer.send(get("/later/4") + get("/5"))
        first = await stage.later(1)
        assert len(stage.seen) == 1, "the others wait for the first"
        first.respond(200, [], b"one")
        bodies = [(await peer.reply()).body for _ in range(3)]
        assert bodies == [b"one", b"POST /2 two", b"POST /3 three"]
        (await stage.later(2)).respond(200, [], b"four")
        assert [(await peer.reply()).body for _ in range(2)] == [b"four", b"GET /5 "]


@on_loop
async def test_a_fault_behind_good_requests_is_answered_after_them_and_last() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later") + get("/2") + b"BAD / HTTP/1.1\r\n\r\n" + get("/evil"))
        (await stage.later()).respond(200, [], b"one")
        assert (await peer.reply()).body == b"one"
        assert (await peer.reply()).body == b"GET /2 "
        refusal = await peer.reply()
        assert (refusal.status, refusal.body) == (400, b"malformed_http")
        assert refusal.headers["connection"] == "close"
        assert await peer.rest() == b""
        assert [target for _, target, _, _ in stage.seen] == [b"/later", b"/2"]


@on_loop
async def test_thousands_of_tiny_requests_at_once_are_all_answered_in_order() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        count = 8000
        sending = asyncio.ensure_future(peer.send(b"".join([get(f"/{n}") for n in range(count)])))
        for number in range(count):
            assert (await peer.reply()).body == b"GET /%d " % number
        await sending
        connection = next(iter(stage.server.connections))
        assert connection.idle


@on_loop
async def test_thousands_of_requests_wait_as_bytes_and_not_as_objects() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        flood = get("/later") + b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 8000
        sending = asyncio.ensure_future(peer.send(flood))
        exchange = await stage.later()
        await asyncio.sleep(0.2)
        connection = next(iter(stage.server.connections))
        assert 0 < len(connection._queue) < 8192 / 20
        exchange.respond(200, [], b"")
        for _ in range(8001):
            assert (await peer.reply()).status == 200
        await sending


@on_loop
async def test_one_pipeline_does_not_keep_other_connections_waiting() -> None:
    async with scene() as stage:
        hog, other = await stage.peer(), await stage.peer()
        await hog.send(b"".join([get(f"/{n}") for n in range(2000)]))
        await other.send(get("/other"))
        assert (await other.reply()).body == b"GET /other "
        at = [target for _, target, _, _ in stage.seen].index(b"/other")
        assert at < 1900
        for _ in range(2000):
            await hog.reply()


# -- replies


@on_loop
async def test_streams_are_chunked_for_http11() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/stream") + get("/2"))
        reply = await peer.reply()
        assert reply.headers["transfer-encoding"] == "chunked"
        assert (reply.body, reply.whole) == (b"one,two", True)
        assert (await peer.reply()).body == b"GET /2 "


@on_loop
async def test_head_gets_the_head_alone() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        for target, field in (("/a", "content-length"), ("/stream", "transfer-encoding")):
            await peer.send(get(target).replace(b"GET", b"HEAD") + get("/2"))
            assert field in (await peer.reply("HEAD")).headers
            assert (await peer.reply()).body == b"GET /2 "


@pytest.mark.parametrize("status", [204, 304])
@on_loop
async def test_replies_that_have_no_body_announce_none(status: int) -> None:
    async with scene() as stage:
        peer = await stage.peer()
        reply = await peer.ask(get(f"/status/{status}") + get("/2"))
        assert (reply.status, reply.headers["x-a"]) == (status, "1")
        assert "content-length" not in reply.headers
        assert (await peer.reply()).body == b"GET /2 "


@pytest.mark.parametrize("status", [200, 418, 599, 999])
@on_loop
async def test_any_status_can_be_sent(status: int) -> None:
    async with scene() as stage:
        reply = await (await stage.peer()).ask(get(f"/status/{status}"))
        assert (reply.status, reply.headers["content-length"]) == (status, "0")


@on_loop
async def test_large_replies_arrive_whole() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        for size in (65_535, 65_536, 65_537, 5_000_000):
            reply = await peer.ask(get(f"/big/{size}"))
            assert reply.body == b"x" * size


@on_loop
async def test_connection_close_is_honoured() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/1", "Connection: close") + get("/2"))
        reply = await peer.reply()
        assert reply.headers["connection"] == "close"
        assert await peer.rest() == b""
        assert not peer.reset
        assert len(stage.seen) == 1


@on_loop
async def test_http10_closes_unless_asked_to_keep_alive() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        reply = await peer.ask(get("/1", version="1.0"))
        assert reply.headers["connection"] == "close"
        assert await peer.rest() == b""

        peer = await stage.peer()
        for _ in range(3):
            reply = await peer.ask(get("/1", "Connection: keep-alive", version="1.0"))
            assert reply.headers["connection"] == "keep-alive"
        reply = await peer.ask(get("/stream", "Connection: keep-alive", version="1.0"))
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"
        assert (reply.body, reply.whole) == (b"one,two", True)


@on_loop
async def test_http10_behind_http11_on_one_connection_is_treated_as_what_it_is() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        assert "connection" not in (await peer.ask(post("/1", b"a"))).headers
        old = post("/2", b"a", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
        assert (await peer.ask(old)).headers["connection"] == "keep-alive"
        reply = await peer.ask(post("/stream", b"a"))
        assert reply.headers["transfer-encoding"] == "chunked"
        reply = await peer.ask(post("/stream", b"a"))
        assert reply.headers["transfer-encoding"] == "chunked"


# -- Expect: 100-continue


def _expecting(target: str, length: int, version: str = "1.1") -> bytes:
    return (
        f"POST {target} HTTP/{version}\r\nHost: x\r\nExpect: 100-Continue\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@on_loop
async def test_a_client_that_waits_is_asked_for_its_body() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        for _ in range(3):
            assert (await peer.ask(_expecting("/", 5))).status == 100
            await peer.send(b"hello")
            assert (await peer.reply()).body == b"POST / hello"


@on_loop
async def test_a_client_that_does_not_wait_is_not_asked() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        assert (await peer.ask(_expecting("/", 5) + b"hello")).body == b"POST / hello"
        assert (await peer.ask(_expecting("/", 0))).body == b"POST / "
        reply = await peer.ask(get("/", "Expect: 100-continue"))
        assert reply.body == b"GET / "


@on_loop
async def test_a_pipelined_client_is_asked_when_it_is_its_turn() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later") + get("/2") + _expecting("/3", 5))
        exchange = await stage.later()
        assert not peer.got
        exchange.respond(200, [], b"one")
        assert [(await peer.reply()).status for _ in range(3)] == [200, 200, 100]
        await peer.send(b"hello")
        assert (await peer.reply()).body == b"POST /3 hello"


@on_loop
async def test_http10_and_refused_requests_are_never_asked() -> None:
    async with scene(limits=Limits(max_body_bytes=4)) as stage:
        peer = await stage.peer()
        await peer.send(_expecting("/", 3, "1.0"))
        await peer.send(b"abc")
        assert (await peer.reply()).status == 200
        peer = await stage.peer()
        assert (await peer.ask(_expecting("/", 5))).body == b"body_too_large"
        assert await peer.rest() == b""


# -- Upgrade


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")


@pytest.mark.parametrize("times", [1, 3])
@on_loop
async def test_an_offer_to_upgrade_is_ignored(times: int) -> None:
    async with scene() as stage:
        peer = await stage.peer()
        for _ in range(times):  # the second time the head is recognised
            reply = await peer.ask(get("/1", *H2C))
            assert (reply.status, reply.body) == (200, b"GET /1 ")
            reply = await peer.ask(post("/2", b"hello", *H2C))
            assert reply.body == b"POST /2 hello"


@pytest.mark.parametrize("body", [b"", b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"])
@on_loop
async def test_the_body_of_an_offer_is_a_body(body: bytes) -> None:
    async with scene() as stage:
        sized = post("/1", body, *H2C)
        coded = chunked("/2", *[body] * bool(body)).replace(
            b"\r\nTransfer", b"\r\n" + "\r\n".join(H2C).encode() + b"\r\nTransfer"
        )
        for together in (True, False):
            peer = await stage.peer()
            requests = [sized, coded, get("/3", *H2C), get("/4")]
            if together:
                await peer.send(b"".join(requests))
            for request, answer in zip(requests, (b"POST /1 ", b"POST /2 "), strict=False):
                if not together:
                    await peer.send(request)
                assert (await peer.reply()).body == answer + body
            if not together:
                await peer.send(b"".join(requests[2:]))
            assert (await peer.reply()).body == b"GET /3 "
            assert (await peer.reply()).body == b"GET /4 "
        assert b"/evil" not in [target for _, target, _, _ in stage.seen]


@on_loop
async def test_a_thousand_offers_at_once_do_not_nest() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/1", *H2C) * 1500)
        for _ in range(1500):
            assert (await peer.reply()).body == b"GET /1 "


# -- handlers that fail


@expects_faults(3)
@on_loop
async def test_a_handler_that_fails_gives_an_error_and_the_connection_lives_on() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        for _ in range(2):
            reply = await peer.ask(get("/boom"))
            assert (reply.status, reply.body) == (500, b"internal_error")
        assert (await peer.ask(get("/ok"))).status == 200
        await peer.send(get("/boom/late"))
        reply = await peer.reply()
        assert not reply.whole


@expects_faults(1)
@on_loop
async def test_a_handler_that_fails_in_a_pipeline_does_not_stop_it() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/1") + get("/boom") + get("/3"))
        assert [(await peer.reply()).status for _ in range(3)] == [200, 500, 200]


@on_loop
async def test_calls_after_the_reply_do_nothing() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        await peer.send(get("/later"))
        exchange = await stage.later()
        exchange.respond(200, [], b"one")
        exchange.respond(200, [], b"two")
        exchange.start(200, [])
        assert exchange.write(b"three")
        exchange.finish(b"four")
        exchange.abort()
        assert (await peer.reply()).body == b"one"
        assert (await peer.ask(get("/2"))).body == b"GET /2 "
        assert not exchange.gone
        assert stage.left == []


@on_loop
async def test_exchanges_with_the_same_head_share_what_was_worked_out() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        exchanges = []
        for number, body in enumerate((b"a", b"bb", b"ccc")):
            await peer.send(post("/later", body))
            exchange = await stage.later(number + 1)
            exchanges.append(exchange)
            exchange.respond(200, [], b"")
            await peer.reply()
        assert exchanges[0].shared is exchanges[1].shared is exchanges[2].shared
        await peer.send(post("/later", b"a", "X: y"))
        assert (await stage.later(4)).shared is not exchanges[0].shared
        (await stage.later(4)).respond(200, [], b"")
