"""Load for whole answers: wrk when it is there, else an epoll generator of our own.

Both send one fixed request over ``connections`` keep-alive connections, each waiting for its answer
before it sends the next, and report the same numbers.
"""

import argparse
import gc
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.procs import LOAD_CORE, BenchError, cpus

LUA = """\
wrk.method = "POST"
wrk.body = {body}
{headers}
function done(summary, latency, requests)
  io.stderr:write(string.format(
    '{{"requests":%d,"seconds":%.6f,"p50_us":%.1f,"p99_us":%.1f,"p999_us":%.1f,"mean_us":%.1f,' ..
    '"refused":%d,"failed":%d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), latency.mean, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What the generator saw in one run."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    p999_us: float
    mean_us: float
    refused: int
    """Answers with a status of 400 or more."""
    failed: int
    """Connections that failed, and timeouts."""
    cpu: float
    """Processor seconds that the generator itself used."""

    @property
    def rps(self) -> float:
        return self.requests / self.seconds


def generator() -> str:
    return "wrk" if shutil.which("wrk") else "own (Python, epoll)"


def run(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    work: Path,
) -> Load:
    """Load ``url`` from the load core. Raises :class:`BenchError` when it fails."""
    if shutil.which("wrk"):
        script = work / "load.lua"
        fields = "\n".join(
            f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()
        )
        script.write_text(LUA.format(body=json.dumps(body.decode()), headers=fields))
        argv = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "20s",
        ]
        argv += ["-s", str(script), url]
    else:
        argv = [sys.executable, "-m", "bench.whole_load", "--url", url, "--body", body.decode()]
        argv += ["--connections", str(connections), "--seconds", str(seconds)]
        for name, value in headers.items():
            argv += ["--header", f"{name}: {value}"]
    cores = cpus()
    core = cores[min(LOAD_CORE, len(cores) - 1)]
    popen = subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        assert popen.stderr is not None
        text = popen.stderr.read().decode(errors="replace")
        _, _, usage = os.wait4(popen.pid, 0)
        popen.returncode = 0
    finally:
        if popen.returncode is None:
            popen.kill()
            popen.wait()
    try:
        found = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError(f"the load generator failed: {text.strip() or argv[0]}") from None
    return Load(**found, cpu=usage.ru_utime + usage.ru_stime)


class _Own:
    """The generator without wrk: one thread, epoll, one preformatted request."""

    def __init__(self, url: str, request: bytes, connections: int) -> None:
        parts = urlsplit(url)
        self.address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.request = request
        self.epoll = select.epoll()
        self.socks: dict[int, socket.socket] = {}
        self.sent: dict[int, int] = {}
        self.partial: dict[int, bytes] = {}
        self.latencies: list[int] = []
        self.refused = self.failed = 0
        for _ in range(connections):
            self.open()

    def open(self) -> None:
        sock = socket.create_connection(self.address, timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        fd = sock.fileno()
        self.socks[fd] = sock
        self.partial[fd] = b""
        self.epoll.register(fd, select.EPOLLIN)
        self.send(fd)

    def send(self, fd: int) -> None:
        self.sent[fd] = time.monotonic_ns()
        self.socks[fd].send(self.request)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for fd, _ in self.epoll.poll(0.1, 256):
                try:
                    data = self.socks[fd].recv(65536)
                except OSError:
                    data = b""
                if not data:
                    self.failed += 1
                    self.socks.pop(fd).close()
                    self.open()
                    continue
                data = self.partial[fd] + data
                if not _complete(data):
                    self.partial[fd] = data
                    continue
                self.partial[fd] = b""
                self.latencies.append(time.monotonic_ns() - self.sent[fd])
                if data[9:10] not in b"23":
                    self.refused += 1
                self.send(fd)


def _complete(data: bytes) -> bool:
    head, sep, body = data.partition(b"\r\n\r\n")
    if not sep:
        return False
    at = head.lower().find(b"content-length:")
    if at < 0:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", required=True)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    parts, body = urlsplit(args.url), args.body.encode()
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"content-length: {len(body)}", *args.header]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    gc.disable()
    own = _Own(args.url, request, args.connections)
    began = time.monotonic()
    own.run(args.seconds)
    seconds = time.monotonic() - began
    own.latencies.sort()
    n = len(own.latencies)
    at = [own.latencies[min(n - 1, int(n * q))] / 1e3 if n else 0.0 for q in (0.5, 0.99, 0.999)]
    out = {
        "requests": n, "seconds": seconds, "p50_us": at[0], "p99_us": at[1], "p999_us": at[2],
        "mean_us": sum(own.latencies) / max(n, 1) / 1e3, "refused": own.refused,
        "failed": own.failed,
    }  # fmt: skip
    print(json.dumps(out), file=sys.stderr)


if __name__ == "__main__":
    main()
