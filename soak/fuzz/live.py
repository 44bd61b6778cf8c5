"""Running planes: damaged requests to both listeners, damaged replies from an upstream.

Behind each damaged stream stands a call that has to get its own answer or none; calls of others
beside it get theirs. A plane may die of nothing, say nothing of secrets, and keep nothing.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bench.procs import cpu_seconds
from tests.processes import request

from ferryman.wire.formats import FORMATS
from soak.fuzz import ends, reading, seeds, settings
from soak.fuzz.mutate import Chance, cuts, damaged, of_stream, twisted
from soak.plant import PLANES, Plant, descriptors, memory, plant

SECRET = "sk-canary-secret-qzv-0123456789"
QUIET = 0.15
"""Seconds without a byte after which a stream that ends inside a request gets no more answers."""
PATIENCE = 20.0
LONG = 10.0
"""Seconds after which a caller of the admin API leaves: a busy machine is no fault of an order."""
BUSY = 8.0
"""Seconds of a processor that one order may keep the control plane busy for."""
MUCH = 1 << 20
"""Bytes of an answer after which a caller leaves: an export has all calls that there ever were."""
PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/v1/rerank",
         "/v1/completions", "/v1/moderations", "/v1/images/generations", "/v1/audio/speech",
         "/v1/messages/count_tokens", "/v1beta/models/lab/sim-echo:generateContent",
         "/v1beta/models/lab/sim-echo:streamGenerateContent", "/v2/embed", "/v2/rerank",
         "/v1/audio/transcriptions", "/v1/explain", "/v1/feedback", "/v1/models")  # fmt: skip
FORMATS_BEHIND = tuple(FORMATS)


class Upstream:
    """A provider of every format. For ``foul`` models it answers what it was told to, else well."""

    def __init__(self) -> None:
        self.foul = b""
        self.closes = False
        self.server: asyncio.Server | None = None
        self.lines: set[asyncio.StreamWriter] = set()

    async def open(self) -> int:
        """Listen; returns the port."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self.server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Hang up on all."""
        if self.server is not None:
            self.server.close()
        for line in list(self.lines):
            line.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                if b"foul" in head + body:
                    writer.write(self.foul)
                    await writer.drain()
                    if self.closes:
                        break
                else:
                    words = json.loads(body)["messages"][-1]["content"]
                    said = json.dumps({
                        "id": "x", "object": "chat.completion", "created": 5, "model": "clean",
                        "choices": [{"index": 0, "finish_reason": "stop",
                                     "message": {"role": "assistant", "content": words}}],
                    }).encode()  # fmt: skip
                    writer.write(
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                        b"content-length: %d\r\n\r\n%b" % (len(said), said)
                    )
        writer.close()
        self.lines.discard(writer)


class Line:
    """A caller's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.got = b""

    @classmethod
    async def open(cls, port: int) -> "Line":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, pieces: list[bytes]) -> None:
        """Send piece by piece, as far as they are taken."""
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(0)

    async def listen(self, replies: int, heads: list[bool], *, patience: float = PATIENCE) -> bool:
        """Read until so many replies have come, or nothing more does; True = it was closed."""
        while len(self.replies(heads)) < replies:
            try:
                wait = QUIET if replies > len(heads) else patience
                data = await asyncio.wait_for(self.reader.read(1 << 16), wait)
            except TimeoutError:
                assert replies > len(heads), f"no answer: {self.got[-300:]!r}"
                return False
            except OSError:
                return True
            if not data:
                return True
            self.got += data
        return False

    async def rest(self) -> None:
        """Read to the end, or until it takes long or is much."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LONG):
                while len(self.got) < MUCH and (data := await self.reader.read(1 << 16)):
                    self.got += data

    def replies(self, heads: list[bool]) -> list[reading.Said]:
        """What has come so far; ``heads`` says which requests were for a head alone."""
        out: list[reading.Said] = []
        rest = self.got
        while rest:
            head = len(out) < len(heads) and heads[len(out)]
            try:
                said, rest = reading.reply(rest, closed=False, head=head)
            except reading.WantsMoreError:
                break
            out.append(said)
        return out

    def close(self) -> None:
        self.writer.close()


def call(key: str, body: bytes, path: str = PATHS[0], *lines: bytes) -> bytes:
    """The bytes of a call."""
    head = [b"POST %b HTTP/1.1" % path.encode(), b"host: 127.0.0.1", b"content-type: "
            b"application/json", b"authorization: Bearer %b" % key.encode(), *lines]  # fmt: skip
    return b"\r\n".join([*head, b"content-length: %d" % len(body), b"", body])


def echo(key: str, mark: str, model: str = "lab/sim-echo") -> bytes:
    """A call that is answered with ``mark``."""
    talk = {"model": model, "messages": [{"role": "user", "content": mark}]}
    return call(key, json.dumps(talk).encode())


class Ground:
    """An installation in front of the simulator and of :class:`Upstream`."""

    def __init__(self, place: Plant, upstream: Upstream) -> None:
        self.place, self.upstream = place, upstream
        self.key = place.key
        self.count = 0
        url = (place.data / "admin-url").read_text().strip()
        self.admin_port = int(url.rpartition(":")[2])
        self.token = (place.data / "secrets" / "admin-token").read_text().strip()
        secrets = [path.read_text().strip() for path in (place.data / "secrets").iterdir()
                   if path.is_file()]  # fmt: skip
        self.secrets = [SECRET.encode(), *(s.encode() for s in secrets if len(s) > 15)]
        self.pids = {plane: place.pid(plane) for plane in PLANES}

    def mark(self) -> str:
        """A word that no other call has."""
        self.count += 1
        return f"mark-{self.count:08d}-q"

    def look(self, said: bytes) -> None:
        """Nothing secret is in what was said."""
        for secret in self.secrets:
            assert secret not in said, f"{secret[:6]!r}… in {said[:200]!r}"

    def alive(self) -> None:
        """The planes are those that were started, and have no fault to report."""
        assert {plane: self.place.pid(plane) for plane in PLANES} == self.pids, "a plane died"
        assert self.place.supervisor is not None
        lines = self.place.supervisor.lines
        signs = ("Traceback", "internal error", "request failed:", "handler failed", " ended (")
        wrong = [
            line
            for line in lines
            if any(sign in line for sign in signs)
            and "the handler is closed" not in line  # uvicorn's word for a caller who has left
        ]
        assert not wrong, wrong[:3]
        self.look("\n".join(lines).encode())
        del lines[:-100]

    async def others(self, port: int) -> None:
        """Calls of others get their own answers, on kept connections to the upstream too."""
        for model in ("lab/sim-echo", "foe/clean"):
            line = await Line.open(port)
            mark = self.mark()
            await line.send([echo(self.key, mark, model)])
            await line.listen(1, [False])
            [said] = line.replies([False])
            assert said.status == 200 and mark.encode() in said.body, said
            line.close()


async def asked(ground: Ground, data: bytes, chance: Chance) -> None:
    """Damaged requests to the data plane, with a call behind them."""
    marks = [ground.mark() for _ in range(3)]
    last = echo(ground.key, marks[-1])
    sent = echo(ground.key, marks[0]) + data + echo(ground.key, marks[1]) + last
    strict, end = reading.requests(sent)
    heads = [each.method == b"HEAD" for each in strict]
    line = await Line.open(ground.place.port)
    await line.send(cuts(chance, sent))
    closed = await line.listen(len(strict) + (end == "unclear"), heads)
    if not closed and end != "clear":
        with contextlib.suppress(OSError, TimeoutError):
            line.writer.write_eof()
            await line.listen(len(strict) + 9, heads)
    replies = line.replies(heads)
    line.close()
    ground.look(line.got)
    assert len(replies) <= len(strict) + 1, (len(strict), line.got)
    hidden = not any(b"/evil" in each.target for each in strict)
    assert not hidden or b"/evil" not in line.got
    for number, said in enumerate(replies):
        for mark in marks:
            if mark.encode() in said.body:
                assert number < len(strict) and mark.encode() in strict[number].body, (
                    number, said)  # fmt: skip


async def answered(ground: Ground, data: bytes, chance: Chance) -> None:
    """A damaged reply of an upstream; then calls on the same connections get their own."""
    name = FORMATS_BEHIND[data[-1] % len(FORMATS_BEHIND)]
    ground.upstream.foul, ground.upstream.closes = data[:-2], bool(data[-2] & 1)
    stream = bool(data[-2] & 2)
    model = f"foe-{name.replace('_', '-')}/foul"
    talk = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    line = await Line.open(ground.place.port)
    await line.send([call(ground.key, json.dumps(talk).encode(), PATHS[0], b"connection: close")])
    with contextlib.suppress(TimeoutError):
        await line.listen(1, [False] if ground.upstream.closes else [])
    line.close()
    ground.look(line.got)
    assert b"internal_error" not in line.got, line.got
    foul = await Line.open(ground.place.port)
    mark = ground.mark()
    await foul.send([echo(ground.key, mark, "foe/clean")])
    await foul.listen(1, [False])
    [said] = foul.replies([False])
    foul.close()
    assert said.status == 200 and mark.encode() in said.body, (said, data)


def answer(chance: Chance) -> bytes:
    """A reply in HTTP, either of which is damaged; ends with how, and in which format."""
    number = chance.randrange(len(FORMATS_BEHIND))
    name, stream = FORMATS_BEHIND[number], chance.random() < 0.5
    if chance.random() < 0.4:
        return ends.say(chance) + bytes([chance.randrange(4) | 1, number])
    known = seeds.answers(name, stream)
    body = chance.choice(known)
    body = of_stream(chance, body, known) if stream else twisted(chance, body, known)
    kind = b"application/json" if not stream else b"text/event-stream"
    if stream and name == "bedrock_converse":
        kind, body = b"application/vnd.amazon.eventstream", damaged(chance, body)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
    return head + body + bytes([2 * stream, number])


async def called(ground: Ground, data: bytes, chance: Chance) -> None:
    """Well-formed HTTP with any path and body: some answer, and none of 500."""
    path, _, body = data.partition(b"\n")
    line = await Line.open(ground.place.port)
    await line.send([call(ground.key, body, path.decode("latin-1"), b"connection: close")])
    await line.listen(1, [False])
    replies = line.replies([False])
    line.close()
    ground.look(line.got)
    assert not replies or b"internal_error" not in replies[0].body, (replies, data)


def calls(chance: Chance) -> bytes:
    """A path, a line's end, and a body."""
    known = [*map(json.dumps, seeds.TASKS.values()), *map(json.dumps, seeds.TALKS)]
    known += [each.decode() for name in FORMATS for each in seeds.requests(name)]
    body = chance.choice(known).encode().replace(b'"m"', b'"lab/sim-echo"')
    body = twisted(chance, body) if chance.random() < 0.7 else damaged(chance, body)
    return chance.choice(PATHS).encode() + b"\n" + body.replace(b'"model":"x"', b'"model":"lab/x"')


# -- the control plane

_LIST = re.compile(rb"(?i)transfer-encoding:[^\r\n]*,")
"""Several codings, the last of them of chunks: one meaning for the control plane's parser, which is
not as strict as ours."""


async def knocked(ground: Ground, data: bytes, chance: Chance) -> None:
    """Damaged requests to the control plane; only the last one, which has the token, gets data."""
    last = (f"GET /api/v1/keys?limit=1 HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {ground.token}\r\n\r\n").encode()  # fmt: skip
    sent = data.replace(b"Host: x", b"Host: localhost") + last
    if _LIST.search(sent):
        return
    strict, end = reading.requests(sent)
    heads = [each.method == b"HEAD" for each in strict]
    line = await Line.open(ground.admin_port)
    await line.send(cuts(chance, sent))
    with contextlib.suppress(AssertionError):  # it answers no offer to upgrade, and nothing after
        await line.listen(len(strict) + (end == "unclear"), heads, patience=2 * QUIET)
    replies = line.replies(heads)
    line.close()
    ground.look(line.got)
    assert len(replies) <= len(strict) + 1, (len(strict), line.got)
    for number, said in enumerate(replies):
        assert said.status != 500, (said, data)
        if said.status == 200 and b'"data"' in said.body:
            assert ground.token.encode() in repr(strict[number].headers).encode(), (number, data)


def orders(chance: Chance, spec: dict[str, Any]) -> bytes:
    """A request to the admin API, as its description says, or nearly: ``METHOD path``, headers, and
    a body after a blank line."""
    path = chance.choice(list(spec["paths"]))
    method = chance.choice(list(spec["paths"][path]))
    shape = spec["paths"][path][method]
    parts = [_junk(chance) for _ in range(3)]
    filled = re.sub(r"\{[^}]*\}", lambda _: quote(chance.choice(parts), safe=""), path)
    given = []
    for each in shape.get("parameters", ()):
        if each.get("in") == "query" and chance.random() < 0.4:
            value = settings.made(chance, each.get("schema", {}), spec)
            if not isinstance(value, str) or chance.random() < 0.3:
                value = _junk(chance)
            given.append(f"{each['name']}={quote(str(value), errors='replace')}")
    body = b""
    content = shape.get("requestBody", {}).get("content", {})
    for kind in content.values():
        made = json.dumps(settings.made(chance, kind.get("schema", {}), spec))
        body = twisted(chance, made.encode()) if chance.random() < 0.5 else made.encode()
        body = damaged(chance, body) if chance.random() < 0.1 else body
    return f"{method.upper()} {filled}?{'&'.join(given)}\n".encode() + body


def _junk(chance: Chance) -> str:
    return chance.choice((
        "first", "lab", "x", "%", "_", "*", "' OR 1=1 --", "../../secrets", "\0", "k" * 3000, "-1",
        "9" * 400, "1e999", "2026-13-45T99:00:00Z", "2026-01-01", "2026-01-01T00:00:00Z", "é", "",
        "\ud7ff", "true", "[]", "{}", "a,b,,", "1970-01-01..9999-12-31", "provider,model", "hour",
    ))  # fmt: skip


STOPS = re.compile(r"/(stream|live|tail|follow|events|recost|export/focus)\b|links|rotate")
"""Paths whose replies have no end or take long, or that take the keys away from those who play."""


async def ordered(ground: Ground, data: bytes, chance: Chance) -> None:
    """An order to the admin API: done or refused, never failed at."""
    first, _, body = data.partition(b"\n")
    if STOPS.search(first.decode("latin-1")):
        return
    line = await Line.open(ground.admin_port)
    kind = chance.choice((b"application/json", b"application/json", b"text/plain", b""))
    head = [
        *(first + b" HTTP/1.1", b"host: localhost", b"connection: close", b"content-type: " + kind),
        b"authorization: Bearer " + ground.token.encode(),
    ]
    if chance.random() < 0.1:
        head.append(b"x-%b: %b" % (b"a" * chance.randrange(200), b"b" * chance.randrange(9000)))
    sent = b"\r\n".join([*head, b"content-length: %d" % len(body), b"", body])
    await line.send([sent])
    plane = [ground.pids["control"]]
    before = cpu_seconds(plane)
    await line.rest()
    line.close()
    assert cpu_seconds(plane) - before < BUSY, data[:300]
    if line.got:
        status = int(line.got[9:12])
        assert status < 500 or status in (501, 503), (line.got, data)
    ground.look(line.got)


# -- all of it


def spec_of(ground: Ground) -> dict[str, Any]:
    """The admin API's description."""
    url = f"http://127.0.0.1:{ground.admin_port}"
    found: dict[str, Any] = request(url, "GET", "/api/v1/openapi.json", token=ground.token).json()
    return found


@contextlib.contextmanager
def standing(port: int) -> Iterator[Plant]:
    """An installation with the providers of :class:`Upstream` at ``port``."""
    rows = "".join(
        f"  foe-{name.replace('_', '-')}:\n    format: {name}\n    auth: none\n"
        f'    base_url: "http://127.0.0.1:{port}/v1"\n'
        for name in FORMATS_BEHIND
    )
    rows += f'  foe:\n    auth: none\n    base_url: "http://127.0.0.1:{port}/v1"\n'
    rows += '  keyed:\n    base_url: "http://127.0.0.1:1/v1"\n    key: env:KEYED_KEY\n'
    with plant(rows) as place:
        place.env["KEYED_KEY"] = SECRET
        yield place.up()


def sizes(ground: Ground) -> dict[str, tuple[int, int]]:
    """Bytes and open files of each plane."""
    return {plane: (memory(pid), descriptors(pid)) for plane, pid in ground.pids.items()}
