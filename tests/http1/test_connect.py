"""Making connections: names, addresses that don't answer, TLS, proxies, Unix sockets."""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from ferryman.http1 import connect as connect_module
from ferryman.http1.client import Fault, FaultKind
from ferryman.http1.connect import Connector, Origin, Resolver, environment_proxy, interleave
from ferryman.http1.pool import Pool
from ferryman.http1.server import serve
from tests.http1.certs import Authority
from tests.http1.scene import Scene, on_loop, scene
from tests.http1.upstream import Catch

ASK = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n"


async def ask(pool: Pool, seconds: float = 5.0) -> Catch:
    connection = await pool.connect(seconds)
    sink = Catch()
    connection.send(sink, ASK, b"", 9, 9, asyncio.get_running_loop().time() + 9)
    await sink.done()
    connection.cancel()
    return sink


async def fault_of(pool: Pool, seconds: float = 5.0) -> str:
    """The words of the fault that connecting gives."""
    with pytest.raises(Fault) as caught:
        await pool.connect(seconds)
    assert caught.value.kind is FaultKind.CONNECT
    return caught.value.message


def open_files() -> int:
    return psutil.Process().num_fds()


def http(host: str, port: int) -> Origin:
    return Origin("http", host, port)


# -- names


class Names:
    """Answers for the loop to give instead of the system's resolver, which has none of these."""

    def __init__(self, answers: dict[str, list[tuple[str, int]] | OSError]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        loop = asyncio.get_running_loop()
        self._system = loop.getaddrinfo
        loop.getaddrinfo = self._answer  # type: ignore[method-assign,assignment]

    async def _answer(self, host: str, port: int, **how: Any) -> list[Any]:
        if host not in self.answers:  # an address: the loop asks for these again
            return await self._system(host, port, **how)
        self.asked.append(host)
        await asyncio.sleep(0.01)
        answer = self.answers[host]
        if isinstance(answer, OSError):
            raise answer
        out = []
        for address, number in answer:
            six = ":" in address
            family = socket.AF_INET6 if six else socket.AF_INET
            where = (address, number or port, 0, 0) if six else (address, number or port)
            out.append((family, socket.SOCK_STREAM, 6, "", where))
        return out


@on_loop
async def test_answers_are_kept_and_asked_for_once() -> None:
    async with scene() as stage:
        names = Names({"up.test": [("127.0.0.1", stage.server.port)]})
        loop = asyncio.get_running_loop()
        pool = Pool(http("up.test", 80), Connector(loop))
        made = await asyncio.gather(*[pool.connect(5) for _ in range(20)])
        assert (await ask(pool)).status == 200
        assert names.asked == ["up.test"]
        for connection in made:
            connection.cancel()


@on_loop
async def test_an_old_answer_is_asked_for_again_and_served_if_there_is_no_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names({"up.test": [("127.0.0.1", 1)], "never.test": OSError("no such name")})
    resolver = Resolver(asyncio.get_running_loop())
    first = await resolver.resolve("up.test", 80)
    assert first == [(socket.AF_INET, ("127.0.0.1", 1))]
    monkeypatch.setattr(connect_module, "DNS_SECONDS", 0.0)
    names.answers["up.test"] = [("127.0.0.1", 2)]
    assert await resolver.resolve("up.test", 80) == [(socket.AF_INET, ("127.0.0.1", 2))]
    names.answers["up.test"] = OSError("no answer")
    assert await resolver.resolve("up.test", 80) == [(socket.AF_INET, ("127.0.0.1", 2))]
    assert names.asked == ["up.test"] * 3
    with pytest.raises(OSError, match="no such name"):
        await resolver.resolve("never.test", 80)
    monkeypatch.setattr(connect_module, "DNS_STALE_SECONDS", 0.0)
    with pytest.raises(OSError, match="no answer"):
        await resolver.resolve("up.test", 80)


@on_loop
async def test_who_gives_up_waiting_for_a_name_does_not_stop_the_others() -> None:
    names = Names({"up.test": [("127.0.0.1", 1)]})
    resolver = Resolver(asyncio.get_running_loop())
    waiting = [asyncio.ensure_future(resolver.resolve("up.test", 80)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert await waiting[1] == await waiting[2]
    assert names.asked == ["up.test"]


@on_loop
async def test_what_is_connected_to_is_what_was_admitted_whatever_a_name_says_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: each connection goes by the answer that it was checked with."""
    monkeypatch.setattr(connect_module, "DNS_SECONDS", 0.0)
    async with scene() as stage:
        port = stage.server.port
        names = Names({"up.test": [("127.0.0.1", port)]})
        asked: list[tuple[str, int]] = []

        def admits(address: str, reach: int) -> bool:
            asked.append((address, reach))
            names.answers["up.test"] = [("127.0.0.2", port)]  # it has another answer by now
            return address == "127.0.0.1" or reach > 0

        connector = Connector(asyncio.get_running_loop(), admits=admits)
        pool = Pool(http("up.test", 80), connector)
        connection = await pool.connect(5)
        assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
        connection.cancel()
        assert await fault_of(pool) == "up.test leads to an address that it may not lead to"
        wide = Pool(Origin("http", "up.test", 80, reach=1), connector)
        assert asked == [("127.0.0.1", 0), ("127.0.0.2", 0)]
        with pytest.raises(Fault, match="refused"):  # nobody listens there, which is found out
            await wide.connect(5)
        names.answers["up.test"] = [("127.0.0.2", port), ("127.0.0.1", port)]
        assert (await ask(pool)).status == 200  # the one of the two that it may lead to


@pytest.mark.parametrize("host", ["no.such.name.invalid", "a" * 64 + ".test", "ä" * 70, "a b"])
@on_loop
async def test_a_name_without_address_is_a_fault(host: str) -> None:
    pool = Pool(http(host, 80), Connector(asyncio.get_running_loop()))
    assert await fault_of(pool)


def test_families_take_turns() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    given = [(six, ("a",)), (six, ("b",)), (six, ("c",)), (four, ("d",)), (four, ("e",))]
    mixed = [address for _, (address,) in interleave(given)]
    assert mixed == ["a", "d", "b", "e", "c"]
    assert interleave([]) == []


# -- addresses that don't answer


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.2") -> Any:
    """An address that takes no connection and doesn't refuse one either: its queue is full."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen(0)
        where = listener.getsockname()
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(where)
            fillers.append(filler)
        yield where[1]
        for filler in fillers:
            filler.close()


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@on_loop
async def test_the_next_address_is_tried_when_one_is_silent_or_refuses() -> None:
    async with scene() as stage:
        good = ("127.0.0.1", stage.server.port)
        with black_hole() as silent:
            names = Names(
                {
                    "silent.test": [("127.0.0.2", silent), good],
                    "refusing.test": [("127.0.0.1", refused_port()), good],
                    "both.test": [("127.0.0.2", silent), ("::1", refused_port()), good],
                    "all.test": [("127.0.0.2", silent)] * 3,
                    "none.test": [("127.0.0.1", refused_port())] * 2,
                }
            )
            connector = Connector(asyncio.get_running_loop())
            for name in ("silent.test", "refusing.test", "both.test"):
                assert (await ask(Pool(http(name, 80), connector))).status == 200
            assert "within" in await fault_of(Pool(http("all.test", 80), connector), 0.3)
            assert "refused" in await fault_of(Pool(http("none.test", 80), connector))
            assert len(names.asked) == 5


@on_loop
async def test_losers_of_the_race_are_closed() -> None:
    async with scene() as stage:
        where = ("127.0.0.1", stage.server.port)
        Names({"twice.test": [where, where]})
        pool = Pool(http("twice.test", 80), Connector(asyncio.get_running_loop()))
        before = open_files()
        for _ in range(5):
            assert (await ask(pool)).status == 200
        await stage.until(lambda: not stage.server.connections)
        await asyncio.sleep(0.3)
        assert open_files() <= before


@on_loop
async def test_connecting_can_be_given_up() -> None:
    with black_hole() as silent:
        Names({"silent.test": [("127.0.0.2", silent)]})
        pool = Pool(http("silent.test", 80), Connector(asyncio.get_running_loop()))
        tasks = len(asyncio.all_tasks())
        task = asyncio.ensure_future(pool.connect(30))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.02)
        assert len(asyncio.all_tasks()) == tasks
        assert not pool.open


@on_loop
async def test_an_upstream_that_closes_at_once() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    pool = Pool(http("127.0.0.1", listener.getsockname()[1]), Connector(loop))
    for _ in range(20):
        task = asyncio.ensure_future(pool.connect(5))
        sock, _ = await loop.sock_accept(listener)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        sink = Catch()
        try:
            (await task).send(sink, ASK, b"", 9, 9, loop.time() + 9)
        except Fault as fault:
            assert fault.kind is FaultKind.CONNECT
        else:
            assert (await sink.done()).kind == "closed"
    await asyncio.sleep(0.01)
    assert not pool.open
    listener.close()


# -- TLS


def https(port: int, host: str = "127.0.0.1") -> Origin:
    return Origin("https", host, port)


@on_loop
async def test_tls_with_an_extra_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(tls=authority.server("127.0.0.1", "localhost")) as stage:
        loop = asyncio.get_running_loop()
        connector = Connector(loop, ca_files=(str(authority.file),))
        Names({"localhost": [("127.0.0.1", 0)]})
        for host in ("127.0.0.1", "localhost"):
            sink = await ask(Pool(https(stage.server.port, host), connector))
            assert sink.body == b"GET /hello "


@on_loop
async def test_the_steps_of_a_connection_are_told_as_far_as_it_gets(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(tls=authority.server("localhost")) as stage:
        loop = asyncio.get_running_loop()
        known = Connector(loop, ca_files=(str(authority.file),))
        Names({"localhost": [("127.0.0.1", 0)]})
        origin, began = https(stage.server.port, "localhost"), monotonic()
        steps: list[float] = []
        (await Pool(origin, known).connect(5, steps)).cancel()
        assert len(steps) == 3
        assert began <= steps[0] <= steps[1] < steps[2] <= monotonic()
        refused: list[float] = []
        with pytest.raises(Fault, match="TLS"):
            await Pool(origin, Connector(loop)).connect(5, refused)
        assert len(refused) == 2


@on_loop
async def test_unknown_authorities_and_wrong_names_are_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with scene(tls=authority.server("elsewhere.test")) as stage:
        loop = asyncio.get_running_loop()
        origin = https(stage.server.port)
        connector = Connector(loop)
        assert "certificate" in await fault_of(Pool(origin, connector))
        connector.set_ca_files((str(authority.file),))
        said = await fault_of(Pool(origin, connector))
        assert "127.0.0.1" in said and "match" in said.lower()
        assert not stage.seen


@pytest.mark.parametrize("content", [None, b"no certificate"])
@on_loop
async def test_a_file_of_authorities_that_is_no_good_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    authority = Authority(tmp_path)
    extra = tmp_path / "extra.pem"
    if content is not None:
        extra.write_bytes(content)
    async with scene(tls=authority.server("127.0.0.1")) as stage:
        connector = Connector(asyncio.get_running_loop(), ca_files=(str(extra),))
        pool = Pool(https(stage.server.port), connector)
        assert str(extra) in await fault_of(pool)
        extra.write_bytes(authority.file.read_bytes())
        assert (await ask(pool)).status == 200


@on_loop
async def test_a_handshake_that_fails_or_stalls(tmp_path: Path) -> None:
    async with scene() as stage:  # speaks plain HTTP
        connector = Connector(asyncio.get_running_loop())
        assert "TLS" in await fault_of(Pool(https(stage.server.port), connector))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = https(silent.getsockname()[1])
        fds = open_files()
        for _ in range(3):
            assert "within" in await fault_of(Pool(origin, connector), 0.1)
        await asyncio.sleep(0.05)
        assert open_files() <= fds


@pytest.mark.parametrize("polite", [True, False])
@on_loop
async def test_a_reply_until_the_end_needs_an_end_over_tls(tmp_path: Path, polite: bool) -> None:
    """Whoever can cut the line could else cut the reply, and it would seem whole."""
    authority = Authority(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        if polite:
            writer.close()
        else:
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as raw:
                raw.shutdown(socket.SHUT_WR)
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server("127.0.0.1"))
    connector = Connector(asyncio.get_running_loop(), ca_files=(str(authority.file),))
    sink = await ask(Pool(https(server.sockets[0].getsockname()[1]), connector))
    assert (sink.body, sink.kind) == (b"half", "" if polite else "closed")
    server.close()


# -- proxies


@asynccontextmanager
async def proxy(answer: bytes, target: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A CONNECT proxy that answers so, and joins all it accepts to port ``target``."""
    asked: list[bytes] = []
    tasks = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not target:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", target)
        tasks.append(asyncio.gather(pipe(reader, back), pipe(there, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def through(proxy_url: str, authority: Authority, **env: str) -> Connector:
    choose = environment_proxy({"HTTPS_PROXY": proxy_url, **env})
    return Connector(asyncio.get_running_loop(), ca_files=(str(authority.file),), proxy_for=choose)


@pytest.mark.parametrize(
    "answer", [b"200 Connection established", b"200", b"201 Made", b"200 OK\r\nX: y"]
)
@on_loop
async def test_https_goes_through_the_proxy(tmp_path: Path, answer: bytes) -> None:
    authority = Authority(tmp_path)
    done = b"HTTP/1.1 " + answer + b"\r\n\r\n"
    async with (
        scene(tls=authority.server("api.test")) as stage,
        proxy(done, stage.server.port) as (port, asked),
    ):
        connector = through(f"http://us%40er:p%3Aw@127.0.0.1:{port}", authority)
        sink = await ask(Pool(Origin("https", "api.test", 443), connector))
        assert sink.body == b"GET /hello "
        login = base64.b64encode(b"us@er:p:w")
        assert asked == [
            b"CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n"
            b"proxy-authorization: Basic " + login + b"\r\n\r\n"
        ]
        sink = await ask(Pool(http("127.0.0.1", await _plain(stage)), connector))
        assert sink.status == 200
        assert len(asked) == 1, "plain HTTP goes straight"


async def _plain(stage: Scene) -> int:
    """The port of a further listener, without TLS."""
    await serve(stage.handle, host="127.0.0.1", server=stage.server)
    return int(stage.server.listeners[-1].sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 403\r\n\r\n", "403"),
        (b"SSH-2.0-x\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 20", "no answer"),
        (b"", "no answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000, "no answer"),
    ],
)
@on_loop
async def test_a_proxy_that_refuses(tmp_path: Path, answer: bytes, said: str) -> None:
    authority = Authority(tmp_path)
    async with proxy(answer) as (port, asked):
        connector = through(f"127.0.0.1:{port}", authority)
        assert said in await fault_of(Pool(Origin("https", "api.test", 443), connector))
        assert b"authorization" not in asked[0]


@on_loop
async def test_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    connector = through(f"http://127.0.0.1:{refused_port()}", Authority(tmp_path))
    assert "refused" in await fault_of(Pool(Origin("https", "api.test", 443), connector))


def test_which_hosts_go_through_the_proxy() -> None:
    no = "localhost, .corp.example,10.0.0.0/8,192.168.1.1, [::1] ,fd00::/8,EXAMPLE.org"
    choose = environment_proxy({"https_proxy": "http://p:1", "NO_PROXY": no})
    direct = ("localhost", "a.corp.example", "corp.example", "10.1.2.3", "192.168.1.1", "::1",
              "fd00::5", "example.org", "www.Example.org")  # fmt: skip
    proxied = ("api.test", "notcorp.example", "11.0.0.1", "192.168.1.2", "::2", "badexample.org")
    for host in direct:
        assert choose(Origin("https", host, 443)) == "", host
    for host in proxied:
        assert choose(Origin("https", host, 443)) == "http://p:1", host


@pytest.mark.parametrize(
    ("env", "proxy_url"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": ""}, ""),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}, "http://q:2"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": " "}, "http://p:1"),
    ],
)
def test_variables_of_proxies(env: dict[str, str], proxy_url: str) -> None:
    assert environment_proxy(env)(Origin("https", "api.test", 443)) == proxy_url


@pytest.mark.parametrize("url", ["https://p:1", "socks5://p:1", "http://", "http://p:x"])
def test_a_proxy_that_cannot_be_used_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):
        environment_proxy({"HTTPS_PROXY": url})


# -- origins


def test_origins() -> None:
    assert Origin.of("https://api.test/v1") == Origin("https", "api.test", 443)
    assert Origin.of("http://API.test:8000") == Origin("http", "api.test", 8000)
    assert Origin.of("http://[::1]:1/") == Origin("http", "::1", 1)
    assert Origin.of("https://api.test").authority == "api.test"
    assert Origin.of("http://[::1]:81").authority == "[::1]:81"
    assert Origin.of("https://h:80").authority == "h:80"
    for url in ("ftp://x", "api.test", "http://", "http://x:99999"):
        with pytest.raises(ValueError):
            Origin.of(url)


@on_loop
async def test_unix_sockets(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        connector = Connector(asyncio.get_running_loop())
        origin = Origin("http", "localhost", 80, uds=str(tmp_path / "s"))
        assert (await ask(Pool(origin, connector))).body == b"GET /hello "
        assert len(stage.seen) == 1
        missing = Origin("http", "localhost", 80, uds=str(tmp_path / "none"))
        assert "No such file" in await fault_of(Pool(missing, connector))


@on_loop
async def test_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with scene(host="::1") as stage:
        connector = Connector(asyncio.get_running_loop())
        assert (await ask(Pool(http("::1", stage.server.port), connector))).status == 200


def test_contexts_check_names_and_speak_http11_only(tmp_path: Path) -> None:
    context = connect_module.tls_context((str(Authority(tmp_path).file),))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
