"""A caller that sees everything: raw bytes, how the connection ended, what a strict parser says.

HTTP is read by h11 and not by the library that the simulator itself stands on.
"""

import gzip
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import h11

PATIENCE = 10.0
SILENCE = 0.4
"""Seconds without a byte after which a reply that should hang is taken to do so."""


@dataclass
class Reply:
    """One reply and how it ended."""

    raw: bytes
    ended: str
    """``closed``, ``reset`` or ``silent``."""
    seconds: float
    infos: list[int] = field(default_factory=list)
    status: int = 0
    http: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False
    """The message ended as its framing promised."""
    trouble: str = ""
    """What a strict parser objects to."""

    def header(self, name: str) -> str | None:
        """First value of a header."""
        found = dict(reversed(self.headers)).get(name.encode())
        return None if found is None else found.decode()

    @property
    def text(self) -> bytes:
        """The body, unpacked if it was packed."""
        return gzip.decompress(self.body) if self.header("content-encoding") else self.body

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)

    @property
    def events(self) -> list[dict[str, str]]:
        """Server-sent events, parsed by the rules of the HTML standard."""
        text = self.text.decode("utf-8-sig")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        found: list[dict[str, str]] = []
        event: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if "data" in event:
                    found.append(event)
                event = {}
            elif name == "data" and "data" in event:
                event["data"] += "\n" + value
            elif name:
                event[name] = value
        return found

    @property
    def data(self) -> list[Any]:
        """The events' JSON; ``[DONE]`` as that text, and text that is no JSON as itself."""
        out = []
        for event in self.events:
            try:
                out.append(json.loads(event["data"]) if event["data"] != "[DONE]" else "[DONE]")
            except ValueError:
                out.append(event["data"])
        return out

    @property
    def said(self) -> str:
        """A chat stream's text."""
        pieces = [
            choice["delta"].get("content") or ""
            for chunk in self.data
            if isinstance(chunk, dict)
            for choice in chunk.get("choices", [])
        ]
        return "".join(pieces)


def request(path: str, fields: Any, headers: dict[str, str] | None = None) -> bytes:
    """A POST that asks for the connection to be closed afterwards."""
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: sim", "Connection: close"]
    lines += [f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def talk(port: int, data: bytes, patience: float = PATIENCE) -> Reply:
    """Send ``data``, take all until the connection ends or is silent for ``patience`` seconds."""
    began = time.monotonic()
    raw, ended = b"", "closed"
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as sock:
        try:
            sock.sendall(data)
            while piece := sock.recv(65536):
                raw += piece
        except TimeoutError:
            ended = "silent"
        except ConnectionError:
            ended = "reset"
    reply = Reply(raw, ended, time.monotonic() - began)
    _understand(reply)
    return reply


def chat(port: int, model: str, *, patience: float = PATIENCE, **fields: Any) -> Reply:
    """A chat request."""
    messages = [{"role": "user", "content": "Good morning, dear ferry"}]
    asked = {"model": model, "messages": messages, **fields}
    return talk(port, request("/v1/chat/completions", asked), patience)


def stream(port: int, model: str, *, patience: float = PATIENCE, **fields: Any) -> Reply:
    """A streamed chat request."""
    return chat(port, model, patience=patience, stream=True, **fields)


ANTHROPIC = {"anthropic-version": "2023-06-01"}


def message(port: int, model: str, *, patience: float = PATIENCE, **fields: Any) -> Reply:
    """A request to Anthropic's Messages API."""
    messages = [{"role": "user", "content": "Good morning, dear ferry"}]
    asked = {"model": model, "max_tokens": 4096, "messages": messages, **fields}
    return talk(port, request("/v1/messages", asked, ANTHROPIC), patience)


def respond(port: int, model: str, **fields: Any) -> Reply:
    """A request to OpenAI's responses API."""
    return talk(port, request("/v1/responses", {"model": model, "input": "Hello", **fields}))


def _understand(reply: Reply) -> None:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    host, close = ("host", "sim"), ("connection", "close")
    parser.send(h11.Request(method="POST", target="/", headers=[host, close]))
    parser.send(h11.EndOfMessage())
    try:
        parser.receive_data(reply.raw)
        if reply.ended == "closed" and reply.raw:
            parser.receive_data(b"")
        while True:
            event = parser.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return
            if isinstance(event, h11.InformationalResponse):
                reply.infos.append(event.status_code)
            elif isinstance(event, h11.Response):
                reply.status, reply.http = event.status_code, event.http_version
                reply.headers = list(event.headers)
            elif isinstance(event, h11.Data):
                reply.chunks.append(bytes(event.data))
                reply.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                reply.complete = True
                reply.trailers = list(event.headers)
                reply.trouble = "bytes after the end" if parser.trailing_data[0] else ""
                return
    except h11.RemoteProtocolError as error:
        reply.trouble = str(error)
