"""Where the server listens: TLS, IPv6, Unix sockets, inherited sockets; and very many at once."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import ssl
from pathlib import Path

import psutil
import pytest

from ferryman.http1.limits import Limits
from ferryman.http1.server import serve
from tests.http1.certs import Authority
from tests.http1.scene import Scene, get, on_loop, post, scene

IDLE = int(os.environ.get("FERRYMAN_IDLE_CONNECTIONS", "2000"))


class TlsPeer:
    """A blocking TLS client, in a thread of its own where it may wait."""

    def __init__(self, stage: Scene, context: ssl.SSLContext) -> None:
        self.stage = stage
        self.context = context
        self.got = b""

    def open(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.stage.server.port), timeout=20)
        self.sock = self.context.wrap_socket(
            raw, server_hostname="localhost", suppress_ragged_eofs=False
        )

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, end: bytes) -> bytes:
        while end not in self.got:
            data = self.sock.recv(65_536)
            if not data:
                break
            self.got += data
        head, found, self.got = self.got.partition(end)
        return head + found

    def rest(self) -> bytes:
        while data := self.sock.recv(65_536):
            self.got += data
        return self.got


@on_loop
async def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(tls=authority.server("localhost")) as stage:
        peer = TlsPeer(stage, authority.client())
        run = asyncio.to_thread
        await run(peer.open)
        for size in (5, 100_000, 1_000_000):
            await run(peer.send, post(f"/big/{size}", b"x" * size))
            assert (await run(peer.until, b"x" * size)).endswith(b"\r\n\r\n" + b"x" * size)
        assert [len(body) for _, _, _, body in stage.seen] == [5, 100_000, 1_000_000]
        await run(peer.send, get("/1") + get("/stream") + get("/3", "Connection: close"))
        assert b"GET /1 " in await run(peer.until, b"GET /1 ")
        assert b"one," in await run(peer.until, b"0\r\n\r\n")
        assert (await run(peer.rest)).endswith(b"GET /3 ")
        await run(peer.sock.close)


@on_loop
async def test_a_caller_that_leaves_a_tls_connection_is_noticed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(tls=authority.server("localhost")) as stage:
        for number, polite in enumerate((True, False)):
            peer = TlsPeer(stage, authority.client())
            await asyncio.to_thread(peer.open)
            await asyncio.to_thread(peer.send, get("/later"))
            exchange = await stage.later(number + 1)
            if polite:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(peer.sock.unwrap)
            else:
                peer.sock.close()
            await stage.until(lambda e=exchange: e.gone)  # type: ignore[misc]
            peer.sock.close()


@on_loop
async def test_a_refusal_over_tls_reaches_a_peer_that_sends_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    limits = Limits(max_body_bytes=1000, linger_seconds=0.3)
    async with scene(tls=authority.server("localhost"), limits=limits) as stage:
        peer = TlsPeer(stage, authority.client())
        await asyncio.to_thread(peer.open)
        await asyncio.to_thread(peer.send, post("/", b"x" * 5_000_000))
        assert b" 413 " in await asyncio.to_thread(peer.until, b"body_too_large")
        assert await asyncio.to_thread(peer.rest) == b""
        peer.sock.close()


@on_loop
async def test_an_aborted_reply_over_tls_is_seen_to_be_incomplete(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(tls=authority.server("localhost")) as stage:
        peer = TlsPeer(stage, authority.client())
        await asyncio.to_thread(peer.open)
        await asyncio.to_thread(peer.send, get("/later", version="1.0"))
        exchange = await stage.later()
        exchange.start(200, [])
        exchange.write(b"one")
        assert b"one" in await asyncio.to_thread(peer.until, b"one")
        exchange.abort()
        with pytest.raises(OSError):
            await asyncio.to_thread(peer.rest)
        peer.sock.close()


@on_loop
async def test_a_peer_that_reads_nothing_over_tls_is_cut(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    limits = Limits(idle_seconds=0.7, linger_seconds=0.3)
    async with scene(tls=authority.server("localhost"), limits=limits) as stage:
        peers = []
        for lines in ([], ["Connection: close"]):
            peer = TlsPeer(stage, authority.client())
            await asyncio.to_thread(peer.open)
            await asyncio.to_thread(peer.send, get("/big/30000000", *lines))
            peers.append(peer)
        await stage.until(lambda: len(stage.seen) == 2)
        await stage.until(lambda: not stage.server.connections)
        for peer in peers:
            with pytest.raises(OSError):
                await asyncio.to_thread(peer.rest)
            assert len(peer.got) < 30_000_000
            peer.sock.close()


@on_loop
async def test_a_handshake_that_stalls_is_cut(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    limits = Limits(header_seconds=0.3)
    async with scene(tls=authority.server("localhost"), limits=limits) as stage:
        silent, plain = await stage.peer(), await stage.peer()
        await plain.send(get("/"))
        assert b"HTTP" not in await plain.rest()
        assert await silent.rest() == b""
        assert not stage.seen


@on_loop
async def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with scene(host="::1") as stage:
        peer = await stage.peer()
        await peer.send(get("/later"))
        exchange = await stage.later()
        assert exchange.peer == "::1"
        exchange.respond(200, [], b"six")
        assert (await peer.reply()).body == b"six"


@on_loop
async def test_unix_socket(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        peer = await stage.peer()
        await peer.send(get("/later"))
        exchange = await stage.later()
        assert exchange.peer == "unix"
        exchange.respond(200, [], b"local")
        assert (await peer.reply()).body == b"local"
        assert stage.server.port == 0


@on_loop
async def test_one_server_listens_in_several_places(tmp_path: Path) -> None:
    async with scene() as stage:
        inherited = socket.create_server(("127.0.0.1", 0))
        await serve(stage.handle, uds=str(tmp_path / "s"), server=stage.server)
        await serve(stage.handle, sock=inherited, server=stage.server)
        peers = [
            await stage.peer(),
            await stage.peer(path=str(tmp_path / "s")),
            await stage.peer(port=inherited.getsockname()[1]),
        ]
        for peer in peers:
            assert (await peer.ask(get("/"))).status == 200
        assert len(stage.server.connections) == 3


@on_loop
async def test_a_socket_file_of_a_dead_server_is_no_obstacle(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    async with scene(tmp_path) as stage:
        assert (await (await stage.peer()).ask(get("/"))).status == 200


@on_loop
async def test_an_address_in_use_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        await serve(Scene().handle, host="127.0.0.1", port=taken.getsockname()[1])


@on_loop
async def test_thousands_of_idle_connections_cost_little_and_slow_nobody() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * IDLE + 200
    if hard != resource.RLIM_INFINITY and need > hard:
        pytest.skip(f"this machine allows only {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    async with scene() as stage:
        warm = [await stage.peer() for _ in range(50)]
        gc.collect()
        before = psutil.Process().memory_info().rss
        peers = [await stage.peer() for _ in range(IDLE)]
        for peer in peers:  # half of them have been of use
            if len(stage.seen) < IDLE // 2:
                assert (await peer.ask(post("/", b"hello"))).status == 200
        await stage.until(lambda: len(stage.server.connections) == IDLE + len(warm))
        gc.collect()
        each = (psutil.Process().memory_info().rss - before) / IDLE
        assert each < 16_384, "bytes a connection, its peer in this process included"
        assert (await warm[0].ask(get("/"))).status == 200
        assert (await peers[-1].ask(get("/"))).status == 200
        for peer in [*peers, *warm]:
            peer.close()
        await stage.until(lambda: not stage.server.connections)
