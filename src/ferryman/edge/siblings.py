"""The other workers on this machine: one page of metrics, and of limits, for all of them.

They share the port for calls, so nobody can choose whom to ask there. Each listens on a port of
its own besides, on loopback, and says where in a file. What a worker has told of its counters it
writes down first: where it does not answer, the others go by that, and when it is started again it
goes on from there. So the sums never fall, which a Prometheus server would take for a reset.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ferryman.telemetry.native import Buckets, add, written

PATIENCE: Final = 2.0
METRICS: Final = "/metrics"
OWN: Final = b"own"
"""The query that asks a worker for its own part only."""
HIGHEST: Final = frozenset((
    "ferryman_key_resting_seconds", "ferryman_target_state", "ferryman_target_resting_seconds",
    "ferryman_target_expected_seconds", "ferryman_target_share",
))  # fmt: skip
"""Families of which the highest counts, and not the sum."""
_rows: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Siblings:
    """Finds them in ``folder``. Without workers there are none."""

    def __init__(self, folder: Path, name: str, token: str) -> None:
        """``token`` is what the planes share, ``name`` the one of this worker."""
        self._folder = folder
        self._name = name
        self._token = token
        self._past = b""
        self._lock = asyncio.Lock()

    def announce(self, port: int) -> None:
        """Say where this worker is."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._past = self._kept(self._name)
        draft = self._folder / f".{self._name}"
        draft.write_text(f"{port}\n")
        draft.replace(self._folder / self._name)

    async def metrics(self, render: Callable[[], Awaitable[bytes]], *, own: bool) -> bytes:
        """The page of all workers; ``own``: of this one only. ``render`` makes what it counts."""
        async with self._lock:  # what is told last is what is written last
            page = merged([await render(), self._past])
            await asyncio.to_thread(self._keep, page)
        return page if own else merged([page, *await self._others()])

    async def _others(self) -> list[bytes]:
        names = self._names()
        pages = await asyncio.gather(*[self._ask(name, METRICS) for name in names])
        return [
            page or await asyncio.to_thread(self._kept, name)
            for name, page in zip(names, pages, strict=True)
        ]

    def _keep(self, page: bytes) -> None:
        draft = self._folder / f".{self._name}.page.draft"
        with contextlib.suppress(OSError):  # of a full disk, metrics tell all the same
            draft.write_bytes(page)
            draft.replace(self._folder / f".{self._name}.page")

    def _kept(self, name: str) -> bytes:
        """The counters that a worker has told of."""
        try:
            return counters((self._folder / f".{name}.page").read_bytes())
        except OSError:
            return b""

    def _names(self) -> list[str]:
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            return []
        return [name for name in names if name != self._name and not name.startswith(".")]

    async def ask(self, path: str) -> list[bytes]:
        """What the others answer to a GET; those that are not there are left out."""
        answers = await asyncio.gather(*[self._ask(name, path) for name in self._names()])
        return [answer for answer in answers if answer]

    async def _ask(self, name: str, path: str) -> bytes:
        head = (
            f"GET {path}?{OWN.decode()} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n"
            f"authorization: Bearer {self._token}\r\n\r\n"
        )
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            port = int((self._folder / name).read_text())
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(head.encode())
                    said, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
                finally:
                    writer.close()
            return body if said.startswith(b"HTTP/1.1 200") else b""
        return b""


def merged(pages: Iterable[bytes]) -> bytes:
    """Pages of metrics as one: what the same series has on each is added up."""
    families: dict[str, tuple[list[str], dict[str, int | float], dict[str, Buckets]]] = {}
    for page in pages:
        comments: list[str] = []
        samples: dict[str, int | float] = {}
        buckets: dict[str, Buckets] = {}
        highest = False
        for line in filter(None, page.decode().split("\n")):
            if line.startswith("#"):
                name = line.split(" ", 3)[2]
                comments, samples, buckets = families.setdefault(name, ([], {}, {}))
                highest = name in HIGHEST
                if line not in comments:
                    comments.append(line)
                continue
            series, _, value = line.rpartition(" ")
            if ":" in value:
                add(buckets.setdefault(series, {}), value)
                continue
            number = float(value) if "." in value or "e" in value else int(value)
            before = samples.get(series, 0)
            samples[series] = max(before, number) if highest else before + number
    lines = []
    for comments, samples, buckets in families.values():
        lines += [*comments, *(f"{series} {value}" for series, value in samples.items())]
        lines += [f"{series} {written(found)}" for series, found in buckets.items()]
    return ("\n".join(lines) + "\n").encode()


def counters(page: bytes) -> bytes:
    """What of a page only grows: counters and histograms."""
    return b"".join(_growing(page))


def _growing(page: bytes) -> Iterator[bytes]:
    kept, head = False, b""
    for line in page.splitlines(keepends=True):
        if line.startswith(b"# HELP "):
            head = line
        elif line.startswith(b"# TYPE "):
            kept = line.endswith((b" counter\n", b" histogram\n"))
            if kept:
                yield head + line
        elif kept:
            yield line


def merged_limits(own: list[dict[str, object]], others: Iterable[bytes]) -> list[dict[str, Any]]:
    """How limits stand, as the worker knows it that has the least left: counters are shared."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rows in (own, *(_rows(page) for page in others)):
        for row in rows:
            place = tuple(row[name] for name in ("key", "measure", "per", "kind"))
            before = found.get(place)
            if before is None or float(str(row["left"])) < float(str(before["left"])):
                found[place] = row
    return list(found.values())
