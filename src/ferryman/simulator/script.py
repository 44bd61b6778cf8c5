"""From content to bytes on the wire with pauses between them: this is where replies go wrong.

A reply is compiled into a :class:`Script` before its first byte is sent; the server only plays it.
"""

import gzip
import struct
import zlib
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache

import msgspec

from ferryman.http1.limits import status_line
from ferryman.simulator.directives import Behaviour
from ferryman.simulator.event import Event, Framing

IDENT = b"51m1de47000000000000f00d"
"""Stands for a reply's number in a script; the server puts the real one in its place."""
DRIP_EVERY = 0.05
GARBAGE = bytes(range(255, 127, -1)) * 2
ENDLESS = 60.0
"""Seconds of comments in a silence that does not end; then even they cease."""
RESET_AFTER = 0.03
"""Seconds between the last byte and a reset, which would otherwise destroy bytes not yet read."""

Steps = list[tuple[float, bytes]]
"""Seconds to wait, then bytes to send."""


class End(IntEnum):
    """What becomes of the connection after the last step."""

    KEEP = 0
    CLOSE = 1
    RESET = 2
    HANG = 3


class Script(msgspec.Struct, frozen=True):
    """A whole reply."""

    steps: Steps
    end: End = End.KEEP
    hangup: float = -1
    """Seconds after which the idle connection is closed; below 0 never."""
    counted: bool = True
    """Whether the statistics count it."""
    note: Callable[[bytes], None] | None = None
    """Told the reply's number when it begins."""

    @property
    def at_once(self) -> bool:
        """One write and nothing else to do."""
        steps = self.steps
        return len(steps) == 1 and not steps[0][0] and self.end == End.KEEP and self.hangup < 0


def whole(
    status: int, headers: dict[str, str], body: bytes, wish: Behaviour, tokens: int
) -> Script:
    """The script of a reply with one body; it takes the time its ``tokens`` would take."""
    pause = wish.number("ttft") / 1000
    if tps := wish.number("tps"):
        pause += tokens / tps
    if "bomb" in wish:
        headers, body = {**headers, "content-encoding": "gzip"}, _bomb(wish.count("bomb"))
    elif "gzip" in wish:
        headers, body = {**headers, "content-encoding": "gzip"}, gzip.compress(body, mtime=0)
    half = len(body) // 2
    wire = _Wire(status, headers, wish, streamed=False)
    blanks = _filled(pause, wish, b"\n")
    pause -= _seconds(blanks)
    return wire.script([*blanks, (pause, body[:half]), (0, body[half:])], len(blanks) + 1)


def stream(
    headers: dict[str, str],
    events: Iterable[Event],
    wish: Behaviour,
    framing: Framing,
    broken: Event,
) -> Script:
    """The script of a stream of events; ``broken`` is the one that reports an error."""
    found = list(events)
    if "no-done" in wish:
        found = [event for event in found if not event.last]
    at = _at(found, wish)
    if "error-event" in wish or "error-done" in wish:
        ends = [event for event in found if event.last] if "error-done" in wish else []
        found = [*found[:at], broken, *ends]
        at = len(found)
    for index in range(at, min(at + wish.count("bad-event"), len(found))):
        bad = found[index]
        found[index] = Event(bad.data[: len(bad.data) // 2], bad.name, bad.tokens)
    pieces = _timed(found, wish, framing)
    at += len(pieces) - len(found)  # comments come before the first token
    if framing.tail:
        pieces.append((0, framing.tail))
    if "bom" in wish:
        pieces[0] = (pieces[0][0], b"\xef\xbb\xbf" + pieces[0][1])
    if "gzip" in wish:
        headers = {**headers, "content-encoding": "gzip"}
        packer = zlib.compressobj(wbits=31)
        ends_of = [zlib.Z_SYNC_FLUSH] * (len(pieces) - 1) + [zlib.Z_FINISH]
        pieces = [
            (pause, packer.compress(data) + packer.flush(end))
            for (pause, data), end in zip(pieces, ends_of, strict=True)
        ]
    if "flip" in wish and at < len(pieces):
        pause, data = pieces[at]
        pieces[at] = pause, data[:-1] + bytes([data[-1] ^ 1])
    return _Wire(200, headers, wish, streamed=True).script(pieces, at, framing.idle)


def nothing(wish: Behaviour) -> Script | None:
    """The script of a reply that never comes, if one is wished for."""
    end = {"hang": End.HANG, "close": End.CLOSE, "reset": End.RESET}.get(
        wish.first("hang", "close", "reset")
    )
    if end is None:
        return None
    return Script([(wish.number("delay") / 1000, b"")], end)


def _at(events: list[Event], wish: Behaviour) -> int:
    """Index of the event where a fault happens."""
    total = sum(event.tokens for event in events)
    wanted = wish.number("at", total // 2)
    for index, event in enumerate(events):
        if event.tokens and wanted < 1:
            return index
        wanted -= event.tokens
    return len(events) - 1


def _timed(events: list[Event], wish: Behaviour, framing: Framing) -> Steps:
    """Events as bytes, each with the pause before it."""
    tps, ttft = wish.number("tps"), wish.number("ttft") / 1000
    comments = _filled(ttft or wish.number("keep-alive") * 3 / 1000, wish, framing.idle)
    steps: Steps = []
    begun = False
    for number, event in enumerate(events):
        pause = event.tokens / tps if tps and begun else 0.0
        if event.tokens and not begun:
            begun = True
            steps += comments
            pause = max(0.0, ttft - _seconds(comments))
        steps.append((pause, framing.render(event, number, wish)))
    return steps


class _Wire:
    """Head, framing and end of one reply."""

    def __init__(
        self, status: int, headers: dict[str, str], wish: Behaviour, *, streamed: bool
    ) -> None:
        self.status = status
        self.headers = headers | wish.headers
        self.wish = wish
        chunks = streamed or wish.first("chunked", "trailers", "bad-chunk", "cut-clean")
        if wish.first("http10", "no-length"):
            self.mode = "close"
        elif chunks and not wish.first("long-length", "short-length"):
            self.mode = "chunked"
        else:
            self.mode = "length"

    def script(self, pieces: Steps, at: int, idle: bytes = b"") -> Script:
        """The script for body ``pieces``, of which a fault spares the first ``at``.

        ``idle`` is what may be said while nothing comes.
        """
        wish = self.wish
        if "at-byte" in wish:
            pieces, at = _split_at(pieces, wish.count("at-byte"))
        if "garbage" in wish:
            pieces = [*pieces[:at], (0, GARBAGE)]
        length = sum(len(data) for _, data in pieces)
        steps: Steps = [(wish.number("delay") / 1000, self.head(length))]
        end = End.CLOSE if self.mode == "close" or "connection-close" in wish else End.KEEP
        fault = wish.first("cut", "cut-clean", "reset-mid", "bad-chunk")
        stall = wish.number("stall", -1) / 1000
        for index, (pause, data) in enumerate(pieces):
            if index == at:
                pings = _filled((stall or ENDLESS) if stall >= 0 else 0, wish, idle)
                steps += [(wait, self.frame(ping)) for wait, ping in pings]
                if fault or stall == 0:
                    break
                pause += max(stall - _seconds(pings), 0)
            steps.append((pause, self.frame(data)))
        if stall == 0 and not fault:
            end = End.HANG
        elif fault == "reset-mid":
            steps.append((RESET_AFTER, b""))
            end = End.RESET
        elif fault in ("cut", "bad-chunk"):
            steps.append((0, b"zz\r\nnonsense\r\n" if fault == "bad-chunk" else b""))
            end = End.CLOSE
        else:
            steps.append((0, self.tail()))
            if wish.first("long-length", "short-length"):
                end = End.CLOSE
        steps = _drip(steps, wish.number("drip")) if "drip" in wish else _joined(steps)
        return Script(steps, end, wish.number("hangup", -1000) / 1000)

    def head(self, length: int) -> bytes:
        """Everything up to the body."""
        wish = self.wish
        if "bad-status" in wish:
            return b"HTTP/1.1 two hundred\r\n\r\n"
        first = status_line(self.status)
        if "http10" in wish:
            first = first.replace(b"HTTP/1.1", b"HTTP/1.0")
        lines = [f"{name}: {value}".encode() for name, value in self.headers.items()]
        if self.mode == "chunked":
            lines.append(b"transfer-encoding: chunked")
        elif self.mode == "length":
            length += wish.count("long-length") - wish.count("short-length")
            lines.append(b"content-length: %d" % max(length, 0))
        if "connection-close" in wish or ("no-length" in wish and "http10" not in wish):
            lines.append(b"connection: close")
        if "trailers" in wish:
            lines.append(b"trailer: x-checksum")
        if "huge-headers" in wish:
            lines.append(b"x-huge: " + b"a" * (wish.count("huge-headers") * 1024))
        lines += [b"x-many-%d: %d" % (i, i) for i in range(wish.count("many-headers"))]
        before = b""
        if "1xx" in wish:
            before = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n"
        return before + first + b"\r\n".join(lines) + b"\r\n\r\n"

    def frame(self, data: bytes) -> bytes:
        """A piece of the body, framed."""
        if self.mode != "chunked" or not data:
            return data
        if "bytes" in self.wish:
            return b"".join(b"1\r\n%c\r\n" % byte for byte in data)
        if "split" in self.wish:
            return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _split(data))
        return b"%x\r\n%b\r\n" % (len(data), data)

    def tail(self) -> bytes:
        """What ends the body, and what comes after it."""
        out = b""
        if self.mode == "chunked":
            trailers = b"x-checksum: 17\r\n" if "trailers" in self.wish else b""
            out = b"0\r\n" + trailers + b"\r\n"
        if "extra" in self.wish:
            out += b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nextra"
        return out


def _filled(seconds: float, wish: Behaviour, data: bytes) -> Steps:
    """``data`` again and again in so many seconds, if what shows life is wished for."""
    every = wish.number("keep-alive") / 1000
    return [(every, data)] * int(seconds / every + 1e-9) if every and data else []


def _seconds(steps: Steps) -> float:
    return sum(wait for wait, _ in steps)


def _split_at(pieces: Steps, size: int) -> tuple[Steps, int]:
    """``pieces`` with an end after ``size`` bytes, and the index of the piece after it."""
    before = 0
    for index, (pause, data) in enumerate(pieces):
        if before + len(data) >= size:
            cut = size - before
            halves = [(pause, data[:cut]), (0.0, data[cut:])]
            return [*pieces[:index], *halves, *pieces[index + 1 :]], index + 1
        before += len(data)
    return pieces, len(pieces)


def _split(data: bytes) -> list[bytes]:
    """``data`` in parts that end within letters of several bytes, and every 11 bytes at least."""
    parts, start = [], 0
    for i in range(1, len(data)):
        if i - start >= 11 or data[i] & 0xC0 == 0x80:
            parts.append(data[start:i])
            start = i
    return [*parts, data[start:]]


def _joined(steps: Steps) -> Steps:
    """The same with steps that wait for nothing joined to the one before."""
    groups: list[tuple[float, list[bytes]]] = []
    for pause, data in steps:
        if groups and not pause:
            groups[-1][1].append(data)
        else:
            groups.append((pause, [data]))
    return [(pause, b"".join(parts)) for pause, parts in groups]


def _drip(steps: Steps, rate: float) -> Steps:
    """The same, at ``rate`` bytes per second."""
    size = max(1, int(rate * DRIP_EVERY))
    pause = size / max(rate, 1)
    data = b"".join(data for _, data in steps)
    return [(pause, data[i : i + size]) for i in range(0, len(data), size)]


@lru_cache(maxsize=4)
def _bomb(megabytes: int) -> bytes:
    """A gzip body that unpacks to ``megabytes`` MiB of spaces after an empty object.

    Each MiB is the same bytes once more (RFC 1951: after a full flush nothing refers back), since
    nobody else is answered while it is made.
    """
    block, packer = b" " * (1 << 20), zlib.compressobj(9, wbits=-15)
    start = packer.compress(b"{}") + packer.flush(zlib.Z_FULL_FLUSH)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    check = zlib.crc32(b"{}")
    for _ in range(megabytes):
        check = zlib.crc32(block, check)
    ends = struct.pack("<II", check, (megabytes * len(block) + 2) & 0xFFFFFFFF)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return b"".join([head, start, packed * megabytes, packer.flush(), ends])
