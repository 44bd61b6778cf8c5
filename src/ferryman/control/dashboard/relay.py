"""Sends a call of the playground to the data plane, and its answer back as it comes.

The page speaks to its own origin only and never sees a key: calls go by a virtual key of their own,
``playground``, so that they stand in the ledger, under its limits, like any other.
"""

import asyncio
import contextlib
import http.client
import os
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ferryman.config.options import Options
from ferryman.control.keys import KeyDesk
from ferryman.control.problem import ProblemError
from ferryman.meter.keys import hint

NAME: Final = "playground"
PATIENCE: Final = 600.0
"""Seconds that a piece of an answer may take."""
CONNECT: Final = 5.0
ASK: Final = 3.0
"""Seconds that a page waits for what the data plane says of itself."""
HEARS_WITHIN: Final = 3.0
"""Seconds within which the data plane hears of a new key."""
OK: Final = 200
UNAUTHORIZED: Final = 401
BROKEN: Final = "The gateway broke off: this answer is not whole."
_HEAD: Final = 65_536
Answer = tuple[int, dict[str, str], AsyncIterator[bytes]]
"""Status, headers (names in lower case), and the body."""


class Relay:
    """Knows where the data plane is, and the key."""

    def __init__(self, options: Options, keys: KeyDesk) -> None:
        self._options = options
        self._keys = keys
        self._file = options.paths.root / "secrets" / "playground-key"
        self._lock = threading.Lock()
        self._made = -HEARS_WITHIN

    def address(self) -> str:
        """Base URL of the data plane. Raises :class:`ProblemError` where none has said its own."""
        try:
            return self._options.paths.gateway_url.read_text().strip()
        except OSError:
            detail = (
                "No gateway has run with this data directory. Start one with `ferryman up`, or "
                "`ferryman gateway` on this machine."
            )
            raise ProblemError(503, "no_gateway", detail) from None

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What the data plane says of itself (``/internal/…``); blocks, for a page's thread.

        Raises :class:`ProblemError` with its words, or where none answers.
        """
        url = urlsplit(self.address())
        if url.scheme == "https":
            link: http.client.HTTPConnection = http.client.HTTPSConnection(
                url.netloc, timeout=ASK, context=self._context()
            )
        else:
            link = http.client.HTTPConnection(url.netloc, timeout=ASK)
        headers = {
            "authorization": f"Bearer {self._options.paths.secret('feed-token')}",
            "content-type": "application/json",
        }
        try:
            with contextlib.closing(link):
                data = None if body is None else msgspec.json.encode(body)
                link.request(method, path, data, headers)
                reply = link.getresponse()
                said = msgspec.json.decode(reply.read())
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            detail = f"The gateway at {url.netloc} can't be asked: is it running?"
            raise ProblemError(503, "no_gateway", detail) from None
        if reply.status != OK:
            raise ProblemError(400, "refused", str(said.get("error", {}).get("message", "")))
        return said

    def key(self) -> str:
        """The playground's key; made on first use, and again when it was revoked."""
        with self._lock:
            with contextlib.suppress(OSError):
                secret = self._file.read_text().strip()
                if self._keys.works(hint(secret)):
                    return secret
            _, secret = self._keys.create(NAME)
            self._made = time.monotonic()
            _write(self._file, secret)
            return secret

    async def call(self, path: str, body: bytes) -> Answer:
        """The data plane's answer to a POST. Raises :class:`ProblemError` if there is none."""
        key = await asyncio.to_thread(self.key)
        status, headers, reader, writer = await self._call(path, body, key)
        while status == UNAUTHORIZED and time.monotonic() < self._made + HEARS_WITHIN:
            writer.close()
            await asyncio.sleep(0.1)
            status, headers, reader, writer = await self._call(path, body, key)
        return status, headers, _body(reader, writer, headers)

    async def _call(
        self, path: str, body: bytes, key: str
    ) -> tuple[int, dict[str, str], asyncio.StreamReader, asyncio.StreamWriter]:
        url = urlsplit(self.address())
        context = self._context() if url.scheme == "https" else None
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await asyncio.open_connection(
                    url.hostname, url.port, ssl=context, limit=_HEAD
                )
        except (OSError, TimeoutError):
            detail = f"The gateway at {url.netloc} can't be reached: is it running?"
            raise ProblemError(503, "no_gateway", detail) from None
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {url.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        try:
            writer.write(head.encode() + body)
            raw = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            raise ProblemError(502, "no_answer", "The gateway broke off. Try again.") from None
        first, *lines = raw.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return int(first.split(" ", 2)[1]), headers, reader, writer

    def _context(self) -> ssl.SSLContext:
        """Trusts the data plane's own certificate, which is known by its file, not by a name."""
        context = ssl.create_default_context(cafile=self._options.tls_cert or None)
        context.check_hostname = False
        return context


async def _body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]
) -> AsyncIterator[bytes]:
    """The body in the pieces it comes in. What breaks off ends with an event that says so, where
    it is a stream of events; else it raises, so that its reader's connection breaks off too."""
    try:
        async for piece in _pieces(reader, headers):
            yield piece
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        if not headers.get("content-type", "").startswith("text/event-stream"):
            raise
        said = msgspec.json.encode({"error": {"message": BROKEN}})
        yield b"\n\ndata: " + said + b"\n\n"
    finally:
        writer.close()


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """A body as RFC 9112 (6) frames it. Raises where it is not whole."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int(await asyncio.wait_for(reader.readline(), PATIENCE), 16):
            yield (await asyncio.wait_for(reader.readexactly(size + 2), PATIENCE))[:-2]
        return
    left = int(headers.get("content-length", -1))
    while left and (piece := await asyncio.wait_for(reader.read(_HEAD), PATIENCE)):
        left -= len(piece)
        yield piece
    if left > 0:
        raise asyncio.IncompleteReadError(b"", left)


def _write(path: Path, secret: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secret + "\n")
    draft.replace(path)
