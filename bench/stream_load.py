"""Load generator for streams: thousands of open SSE streams on one epoll, each chunk timed.

Run as a process (``python -m bench.stream_load --port P …``). Prints a line ``start`` and a line
``end`` at the edges of the measured window (the parent samples CPU there), then a line of JSON.
"""

import argparse
import errno
import gc
import json
import select
import socket
import sys
import time
from collections import deque

STALL = 5.0
"""Seconds without a byte, beyond one token's period, that count as a stall."""
BUCKET_US = 10
BUCKETS = 1_000_000


class Histogram:
    """Counts in buckets of 10 µs up to 10 s."""

    def __init__(self) -> None:
        self.counts = [0] * (BUCKETS + 1)
        self.total = 0

    def add(self, nanoseconds: int) -> None:
        bucket = nanoseconds // 10_000
        self.counts[bucket if 0 <= bucket < BUCKETS else (0 if bucket < 0 else BUCKETS)] += 1
        self.total += 1

    def percentile(self, share: float) -> float:
        """Microseconds; 0 when nothing was counted."""
        wanted, seen = share * self.total, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return (bucket + 0.5) * BUCKET_US
        return 0.0

    def summary(self) -> dict[str, float]:
        return {
            "count": self.total,
            "p50_us": self.percentile(0.50),
            "p99_us": self.percentile(0.99),
            "p999_us": self.percentile(0.999),
        }


class Call:
    """One connection that asks for one stream after the other."""

    __slots__ = ("chunks", "end", "fd", "first", "seen", "sent", "sock", "stalled")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.fd = -1
        self.reset(0)

    def reset(self, now: int) -> None:
        self.chunks = 0
        self.end = b""
        self.first = False
        self.sent = self.seen = now
        self.stalled = False


ENDS = (b"[DONE]", b'"finish_reason":"stop"', b'"message_stop"', b'"finishReason":"STOP"')
"""How streams of the formats say that they are over; not every gateway passes ``[DONE]`` on."""


def says_end(data: bytes) -> bool:
    """Whether the end of a stream says that it is over."""
    return any(end in data for end in ENDS)


class Load:
    """Keeps ``connections`` streams open after ``ramp``; measures between ``warm`` and the end."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.address = (args.host, args.port)
        body = args.body.encode()
        lines = [f"POST {args.path} HTTP/1.1", f"host: {args.host}:{args.port}"]
        lines += [f"content-length: {len(body)}", *args.header]
        self.request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self.epoll = select.epoll()
        self.calls: dict[int, Call] = {}
        self.free: deque[Call] = deque(Call() for _ in range(args.connections))
        self.measuring = self.stopping = False
        self.delay, self.ttft = Histogram(), Histogram()
        self.chunks = self.pieces = self.finished = self.cut = self.stalled = 0
        self.refused: dict[str, int] = {}
        self.most_open = 0

    def begin(self, call: Call) -> None:
        """Send the next request of ``call``, over a new connection when it has none."""
        call.reset(time.monotonic_ns())
        if call.sock is None:
            call.sock = socket.socket()
            call.sock.setblocking(False)
            call.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            call.fd = call.sock.fileno()
            self.calls[call.fd] = call
            self.epoll.register(call.fd, select.EPOLLOUT)
            call.sock.connect_ex(self.address)  # epoll tells how it went
            return
        try:
            call.sock.send(self.request)
        except OSError:
            self.drop(call, "send")

    def connected(self, call: Call) -> None:
        """A connection is there, or has failed: ask, or give up."""
        assert call.sock is not None
        if error := call.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.drop(call, errno.errorcode.get(error, str(error)))
            return
        self.epoll.modify(call.fd, select.EPOLLIN)
        self.most_open = max(self.most_open, len(self.calls))
        self.begin(call)

    def refuse(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    def drop(self, call: Call, why: str) -> None:
        """The connection ended; a reply that was under way counts as cut."""
        if call.sock is not None:
            call.sock.close()
            call.sock = None
        self.calls.pop(call.fd, None)
        if says_end(call.end):
            self.finished += 1
        elif call.seen > call.sent:
            self.cut += 1
        else:
            self.refuse(why)
        self.free.append(call)

    def on_data(self, call: Call, data: bytes, now: int) -> None:
        n = data.count(b"~")
        if call.seen == call.sent and not data.startswith(b"HTTP/1.1 200"):
            self.refuse(data[:40].decode("latin-1").split("\r")[0])
            self.drop(call, "status")
            return
        call.seen = now
        if n:
            if not call.first:
                call.first = True
                if self.measuring:
                    self.ttft.add(now - call.sent)
            call.chunks += n
            if self.measuring:
                self.chunks += n
                self.pieces += 1
                at = -1
                for _ in range(n):
                    at = data.find(b"~", at + 1)
                    stamp = data[at - 16 : at]
                    if len(stamp) == 16:  # else its digits came in an earlier segment
                        self.delay.add(now - int(stamp))
        if call.chunks >= self.args.tokens:
            call.end += data[-400:] if not call.end else data
            if call.end.endswith(b"0\r\n\r\n"):
                self.complete(call)

    def complete(self, call: Call) -> None:
        if says_end(call.end):
            self.finished += 1
        else:
            self.cut += 1
        if not self.stopping:
            self.begin(call)

    def watch(self) -> None:
        """Count streams that have been silent too long."""
        limit = time.monotonic_ns() - int((STALL + 1 / self.args.rate) * 1e9)
        for call in self.calls.values():
            if call.seen < limit and not call.stalled and not call.end:
                call.stalled = True
                self.stalled += 1

    def run(self) -> dict[str, object]:
        args = self.args
        start = time.monotonic()
        gap = args.ramp / args.connections
        opened, watched = 0, start
        begin, end = start + args.ramp + args.warm, start + args.ramp + args.warm + args.seconds
        while True:
            now = time.monotonic()
            while self.free and now >= start + opened * gap:
                opened += 1
                self.begin(self.free.popleft())
            if now >= begin and not self.measuring and not self.stopping:
                self.measuring = True
                print("start", flush=True)
            if now >= end:
                break
            if now - watched > 1:
                watched = now
                self.watch()
            self.poll(0.002 if self.free else 0.05)
        print("end", flush=True)
        self.measuring, self.stopping = False, True
        return self.report(time.monotonic() - begin)

    def poll(self, timeout: float) -> None:
        clock = time.monotonic_ns
        for fd, mask in self.epoll.poll(timeout, 1024):
            call = self.calls.get(fd)
            if call is None or call.sock is None:
                continue
            if mask & select.EPOLLOUT:
                self.connected(call)
                continue
            try:
                data = call.sock.recv(16384)
            except BlockingIOError:
                continue
            except OSError as error:
                self.drop(call, type(error).__name__)
                continue
            if data:
                self.on_data(call, data, clock())
            else:
                self.drop(call, "closed")

    def report(self, seconds: float) -> dict[str, object]:
        used = time.process_time()
        return {
            "seconds": seconds,
            "chunks": self.chunks,
            "pieces": self.pieces,
            "open": len(self.calls),
            "most_open": self.most_open,
            "finished": self.finished,
            "cut": self.cut,
            "stalled": self.stalled,
            "refused": self.refused,
            "delay": self.delay.summary(),
            "ttft": self.ttft.summary(),
            "load_cpu": used,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--body", required=True)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument(
        "--ramp", type=float, default=4, help="seconds over which streams are opened"
    )
    parser.add_argument("--warm", type=float, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    gc.disable()
    print(json.dumps(Load(args).run()), flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
