"""Each limit of the server has its refusal, and the peer can read it."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from ferryman.http1.exchange import Headers
from ferryman.http1.limits import Limits, Refusal
from tests.http1.scene import Peer, Scene, chunked, expects_faults, get, on_loop, post, scene

BODY = 200_000


async def refused(stage: Scene, data: bytes, status: int, code: str) -> None:
    """``data`` gets this refusal, whole, and then the end."""
    peer = await stage.peer()
    sending = asyncio.ensure_future(peer.try_send(data))
    reply = await peer.reply()
    assert (reply.status, reply.body) == (status, code.encode())
    assert reply.whole
    assert reply.headers["connection"] == "close"
    await sending
    assert await peer.rest() == b""
    assert not peer.reset
    assert not stage.seen


@on_loop
async def test_targets_over_the_limit() -> None:
    async with scene() as stage:
        await refused(stage, get("/" + "a" * 8192), 414, "uri_too_long")
        await refused(stage, b"GET /" + b"a" * 300_000, 414, "uri_too_long")  # and no end


@on_loop
async def test_heads_over_the_limit() -> None:
    async with scene() as stage:
        fields = [f"X-{n}: {'a' * 500}" for n in range(70)]
        await refused(stage, get("/", *fields), 431, "headers_too_large")
        await refused(stage, get("/", "X: " + "a" * 40_000), 431, "headers_too_large")
        await refused(stage, get("/", "X: " + "a" * 400_000)[:-2], 431, "headers_too_large")
        await refused(stage, get("/", "X" * 400_000), 431, "headers_too_large")
        await refused(stage, get("/", "X: " + " " * 400_000), 431, "headers_too_large")
        await refused(stage, get("/", *["X:"] * 100), 431, "headers_too_large")
        await refused(stage, get("/", *["X:"] * 70_000)[:-2], 431, "headers_too_large")


@on_loop
async def test_what_is_too_large_and_malformed_is_refused_alike_however_it_is_cut() -> None:
    many = [f"X-{n}: y" for n in range(110)]
    limits = Limits(max_body_bytes=100, max_request_line=300)
    with TemporaryDirectory() as folder:
        async with scene(Path(folder), limits=limits) as stage:
            for data, code in (
                (get("/", *many)[:-2] + b"no field\r\n\r\n", b"malformed_http"),
                (get("/", *many[:101])[:-2] + b"n\0: x\r\n\r\n", b"malformed_http"),
                (b"GET /" + b"a" * 400 + b"\0", b"malformed_http"),
                (get("/" + "a" * 400, *many) + b"no request", b"uri_too_long"),
                (get("/", *many) + b"no request", b"headers_too_large"),
                (chunked("/", b"x" * 101, end=b"5\r\nhelloo"), b"body_too_large"),
            ):
                for step in (1, 99, len(data)):
                    peer = await stage.peer()
                    await peer.send_apart([data[i : i + step] for i in range(0, len(data), step)])
                    assert (await peer.reply()).body == code, (data, step)


@on_loop
async def test_heads_at_the_limit_are_served() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        room = 32_768 - len("Host: x\r\n") - len("X: \r\n") + 2 * 0
        assert (await peer.ask(get("/", "X: " + "a" * room))).status == 200
        assert (await peer.ask(get("/", *["X:"] * 99))).status == 200
        assert (await peer.ask(get("/" + "a" * 8191))).status == 200


@on_loop
async def test_the_limit_of_a_head_holds_behind_other_requests() -> None:
    async with scene() as stage:
        for end in (b"", b"\r\n\r\n"):
            peer = await stage.peer()
            await peer.send(get("/1") + b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300_000 + end)
            assert (await peer.reply()).status == 200
            assert (await peer.reply()).body == b"headers_too_large"


@on_loop
async def test_bodies_over_the_limit() -> None:
    async with scene(limits=Limits(max_body_bytes=BODY)) as stage:
        await refused(stage, post("/", b"x" * (BODY + 1)), 413, "body_too_large")
        await refused(stage, post("/", b"x" * (50 * BODY)), 413, "body_too_large")
        await refused(stage, chunked("/", b"x" * (BODY + 1)), 413, "body_too_large")
        await refused(stage, chunked("/", *[b"x" * 999] * 999), 413, "body_too_large")
        await refused(
            stage, chunked("/", end=b"fffffff\r\n" + b"x" * 999_999), 413, "body_too_large"
        )


@on_loop
async def test_bodies_at_the_limit_are_served() -> None:
    async with scene(limits=Limits(max_body_bytes=BODY)) as stage:
        peer = await stage.peer()
        for _ in range(2):
            await peer.ask(post("/big/1", b"x" * BODY))
            await peer.ask(chunked("/big/1", b"x" * (BODY - 1), b"x"))
        assert [len(body) for _, _, _, body in stage.seen] == [BODY] * 4


@on_loop
async def test_a_refusal_reaches_a_peer_that_sends_on() -> None:
    """As most clients do: the whole body first, and only then a look at the reply."""
    async with scene(limits=Limits(max_body_bytes=BODY)) as stage:
        peer = await stage.peer()
        await peer.send(post("/", b"x" * 20_000_000))
        assert (await peer.reply()).body == b"body_too_large"
        assert await peer.rest() == b""
        assert not peer.reset


@on_loop
async def test_a_peer_that_never_stops_sending_is_cut_in_the_end() -> None:
    limits = Limits(max_body_bytes=10, linger_seconds=0.2, linger_most_seconds=1.0)
    async with scene(limits=limits) as stage:
        peer = await stage.peer()
        await peer.send(post("/", b"x" * 11))
        while not peer.reset:
            await peer.try_send(b"x" * 10_000)
            await asyncio.sleep(0.01)
        await stage.until(lambda: not stage.server.connections)


@on_loop
async def test_a_refused_peer_that_stays_is_cut_in_the_end() -> None:
    async with scene(limits=Limits(linger_seconds=0.2)) as stage:
        peer = await stage.peer()
        await peer.send(b"BAD / HTTP/1.1\r\n\r\n")
        await stage.until(lambda: stage.server.connections)
        await stage.until(lambda: not stage.server.connections)
        assert (await peer.reply()).body == b"malformed_http"


# -- whose refusal it is: its owner may answer in another shape on another path


def name_target(refusal: Refusal) -> tuple[Headers, bytes]:
    return [], b"%b of %b" % (refusal.code.encode(), refusal.target)


BAD = b"GET %b HTTP/1.1\r\nHost: x\r\n:\r\n\r\n"


async def says(stage: Scene, said: bytes, bad: bytes, *before: bytes) -> None:
    """What ``bad`` is answered with, after ``before`` was answered request by request."""
    peer = await stage.peer()
    for request in before:
        assert (await peer.ask(request)).status == 200
    await peer.try_send(bad)
    while (reply := await peer.reply()).status == 200:
        pass
    assert reply.body == said


@on_loop
async def test_a_refusal_knows_its_target_as_far_as_it_was_read() -> None:
    limits = Limits(max_body_bytes=BODY, header_seconds=0.2)
    async with scene(limits=limits, refuse=name_target) as stage:
        await says(stage, b"body_too_large of /a?b=c", post("/a?b=c", b"x" * (BODY + 1)))
        await says(stage, b"body_too_large of /a", chunked("/a", b"x" * (BODY + 1)))
        await says(stage, b"headers_too_large of /a", get("/a", *["X:"] * 101))
        await says(stage, b"malformed_http of /a", BAD % b"/a")
        await says(stage, b"bad_host of /a", b"GET /a HTTP/1.1\r\n\r\n")
        await says(stage, b"header_timeout of /a", b"GET /a HTTP/1.1\r\nHost:")
        await says(stage, b"malformed_http of ", b"nonsense\r\n\r\n")
        await says(stage, b"uri_too_long of /" + b"a" * 9999, get("/" + "a" * 9999))


@on_loop
async def test_a_refusal_knows_its_target_among_other_requests() -> None:
    async with scene(limits=Limits(max_body_bytes=BODY), refuse=name_target) as stage:
        await says(stage, b"malformed_http of /b", get("/a") + BAD % b"/b")
        await says(stage, b"malformed_http of /b", BAD % b"/b", get("/a"))
        await says(stage, b"malformed_http of ", b"nonsense\r\n\r\n", get("/a"))


@on_loop
async def test_a_refusal_knows_the_target_of_a_repeated_head() -> None:
    limits = Limits(max_buffered_bytes=BODY, body_grace_seconds=0.1, min_body_rate=10**6)
    async with scene(limits=limits, refuse=name_target) as stage:
        good, over = post("/a", b"x" * 20_000), post("/a", b"x" * 20_001)
        await says(stage, b"body_timeout of /a", good[:-1], good, good)
        hold = await stage.peer()
        await hold.send(post("/later", b"x" * (BODY - 20_000)))
        await stage.later()
        await says(stage, b"gateway_overloaded of /a", over, good, good)
        await says(stage, b"gateway_overloaded of /a", over + b"GET", good, good)
        stage.pending[0].respond(200, [], b"")
        assert (await hold.reply()).status == 200


@expects_faults(1)
@on_loop
async def test_a_fault_of_the_handler_is_told_in_the_shape_of_the_target() -> None:
    async with scene(refuse=name_target) as stage:
        await says(stage, b"internal_error of /boom", get("/boom"))


# -- trailers and extensions: bytes that belong to no body


@on_loop
async def test_trailers_and_extensions_have_limits() -> None:
    async with scene() as stage:
        endless = b"0\r\nX: " + b"a" * 400_000
        await refused(stage, chunked("/", b"hello", end=endless), 431, "headers_too_large")
        many = b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n"
        await refused(stage, chunked("/", b"hello", end=many), 431, "headers_too_large")
        many = b"0\r\n" + b"X: y\r\n" * 50_000
        await refused(stage, chunked("/", b"hello", end=many), 431, "headers_too_large")
        extension = b"5;" + b"a" * 400_000
        await refused(stage, chunked("/", end=extension), 431, "headers_too_large")


# -- memory


@on_loop
async def test_bodies_in_memory_have_a_limit_over_all_connections() -> None:
    limits = Limits(max_body_bytes=BODY, max_buffered_bytes=3 * BODY)
    async with scene(limits=limits) as stage:
        peers = [await stage.peer() for _ in range(4)]
        for number, peer in enumerate(peers[:3]):  # held until they are answered
            await peer.send(post("/later", b"x" * BODY))
            await stage.later(number + 1)
        assert stage.server.buffered == 3 * BODY
        reply = await peers[3].ask(post("/", b"x" * BODY))
        assert (reply.status, reply.body) == (503, b"gateway_overloaded")
        small = await stage.peer()
        assert (await small.ask(post("/", b"x" * 100))).status == 200

        stage.pending[0].respond(200, [], b"")
        peers[1].vanish()
        await stage.until(lambda: stage.pending[1].gone)
        stage.pending[2].abort()
        assert stage.server.buffered == 0
        assert (await small.ask(post("/big/1", b"x" * BODY))).status == 200
        assert (await small.ask(chunked("/big/1", *[b"x" * 1000] * 200))).status == 200
        assert stage.server.buffered == 0


@on_loop
async def test_half_received_bodies_count_and_are_forgotten_with_their_connections() -> None:
    async with scene(limits=Limits(max_buffered_bytes=BODY)) as stage:
        peers = [await stage.peer() for _ in range(3)]
        warm = post("/", b"x" * 20_000)
        for peer in peers[:2]:
            assert (await peer.ask(warm)).status == 200
            await peer.send(post("/", b"x" * 90_000)[:-10_000])
        await stage.until(lambda: stage.server.buffered == 160_000)
        reply = await peers[2].ask(post("/", b"x" * 50_000))
        assert reply.body == b"gateway_overloaded"
        peers[0].close()
        peers[1].vanish()
        await stage.until(lambda: stage.server.buffered == 0)


@on_loop
async def test_pipelined_bodies_do_not_pile_up() -> None:
    async with scene() as stage:
        peer = await stage.peer()
        one = post("/later", b"x" * 100_000)
        sending = asyncio.ensure_future(peer.send(one * 200))
        for number in range(200):
            exchange = await stage.later(number + 1)
            assert stage.server.buffered < 1_000_000
            exchange.respond(200, [], b"")
            assert (await peer.reply()).status == 200
        await sending


# -- connections


@on_loop
async def test_connections_over_the_limit_are_told_so() -> None:
    async with scene(limits=Limits(max_connections=3)) as stage:
        peers = [await stage.peer() for _ in range(3)]
        for peer in peers:
            assert (await peer.ask(get("/"))).status == 200
        one_more = await stage.peer()
        reply = await one_more.reply()
        assert (reply.status, reply.body) == (503, b"too_many_connections")
        assert await one_more.rest() == b""
        one_more.close()
        peers[0].close()
        await stage.until(lambda: len(stage.server.connections) == 2)
        assert (await (await stage.peer()).ask(get("/"))).status == 200


# -- time


QUICK = Limits(header_seconds=0.3, idle_seconds=1.2, body_grace_seconds=0.3, linger_seconds=0.3)


async def _answer(peer: Peer, data: bytes, again: bytes = b"", every: float = 0.1) -> bytes:
    """Send ``data``, then ``again`` now and then; the code of what comes, and then the end."""
    await peer.send(data)
    reply = asyncio.ensure_future(peer.reply())
    while again and not reply.done():
        await peer.try_send(again)
        await asyncio.wait((reply,), timeout=every)
    got = await reply
    assert await peer.rest() == b""
    return b"%d %b" % (got.status, got.body)


@on_loop
async def test_slow_senders_are_told_what_was_too_slow() -> None:
    async with scene(limits=QUICK) as stage:
        peers = [await stage.peer() for _ in range(9)]
        used = peers[7]
        await used.ask(post("/", b"x" * 10))
        head, body = b"408 header_timeout", b"408 body_timeout"
        answers = await asyncio.gather(
            _answer(peers[0], b"G"),
            _answer(peers[1], b"GET / HTTP/1.1\r\nHost: x\r\n"),
            _answer(peers[2], b"GET / HTTP/1.1\r\nHost: x\r\nX: ", again=b"a"),
            _answer(peers[3], post("/", b"x" * 1000)[:-1]),
            _answer(peers[4], post("/", b"x" * 10_000)[:-9000], again=b"x"),
            _answer(peers[5], chunked("/", end=b"1"), again=b"\r\nx\r\n1"),
            _answer(peers[6], chunked("/", b"hello", end=b"0\r\nX: y"), again=b"y"),
            _answer(used, post("/", b"x" * 10)[:-1]),
            # This one was quick, and its average is good for hours; but it stands still.
            _answer(peers[8], post("/", b"x" * 1_000_000)[:-1]),
        )
        assert answers == [head, head, head, body, body, body, body, body, body]
        assert len(stage.seen) == 1


@on_loop
async def test_a_body_may_be_slow_when_no_rate_is_asked_for() -> None:
    limits = Limits(body_grace_seconds=0.1, min_body_rate=0)
    async with scene(limits=limits) as stage:
        peer = await stage.peer()
        await peer.send(post("/", b"abcd")[:-4])
        for byte in (b"a", b"b", b"c", b"d"):
            await asyncio.sleep(0.25)
            await peer.send(byte)
        assert (await peer.reply()).body == b"POST / abcd"


@on_loop
async def test_idle_connections_are_closed_without_a_word() -> None:
    async with scene(limits=QUICK) as stage:
        fresh, used = await stage.peer(), await stage.peer()
        assert (await used.ask(get("/"))).status == 200
        assert await fresh.rest() == b""
        assert await used.rest() == b""
        assert not fresh.reset
        assert not used.reset


@on_loop
async def test_time_in_which_the_server_works_is_not_the_peers() -> None:
    """Neither for the request that is being answered, nor for one that was begun meanwhile."""
    async with scene(limits=QUICK) as stage:
        peer = await stage.peer()
        await peer.send(post("/later", b"a") + post("/later", b"hello")[:-3])
        slow = await stage.later()
        await asyncio.sleep(2.0)
        assert not slow.gone
        slow.respond(200, [], b"one")
        await peer.send(b"llo")
        (await stage.later(2)).respond(200, [], b"two")
        assert [(await peer.reply()).body for _ in range(2)] == [b"one", b"two"]


@on_loop
async def test_what_was_begun_behind_an_answer_has_a_deadline_too() -> None:
    async with scene(limits=QUICK) as stage:
        peers = [await stage.peer() for _ in range(2)]
        for number, rest in enumerate((b"GET / HT", post("/", b"hello")[:-1])):
            await peers[number].send(get("/later") + rest)
            (await stage.later(number + 1)).respond(200, [], b"one")
        for peer in peers:
            assert (await peer.reply()).body == b"one"
            assert (await peer.reply()).status == 408
            assert await peer.rest() == b""
