"""A line about each call that has ended, for whoever wants to keep them elsewhere.

Lines are made where calls come into the ledger, so that no caller waits for them. A sink that is
slow or dead costs some memory, then lines, which are counted; it holds up nothing else.
"""

import random
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ferryman.client import documents
from ferryman.config.model import LEVELS, Logs, SinkConfig
from ferryman.config.secret import Redacted
from ferryman.control.rows import dollars, tokens
from ferryman.control.sinks import Sink, made
from ferryman.control.when import rfc3339
from ferryman.log import log
from ferryman.telemetry.record import Closed

PAUSE: Final = 0.5
"""Seconds between two batches."""
LONGEST: Final = 60.0
"""Seconds between two tries at most; they double from 1."""
MOST_LINES: Final = 20_000
MOST_BYTES: Final = 16 << 20
"""What may wait for a sink."""
BATCH: Final = 1000
BATCH_BYTES: Final = 4 << 20
TAIL: Final = 3.0
"""Seconds that a sink has at the end for what is left."""


def _hidden(value: object) -> str:
    if isinstance(value, Redacted):
        return "[redacted]"
    raise TypeError(f"{type(value).__name__} is nothing for a log")


_encode: Final = msgspec.json.Encoder(enc_hook=_hidden).encode


class CallLogs:
    """Makes the lines and hands them to the sinks of the configuration."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where files with relative names are."""
        self._folder = folder
        self._logs = Logs()
        self._pumps: dict[SinkConfig, Pump] = {}

    def adopt(self, logs: Logs) -> None:
        """Go by these settings from the next call on; sinks that stay keep what waits for them."""
        old = self._pumps
        self._pumps = {
            config: old.get(config) or Pump(config, self._folder) for config in logs.sinks
        }
        self._logs = logs
        for config, pump in old.items():
            if config not in self._pumps:
                pump.close()

    def tell(self, lines: Sequence[bytes]) -> None:
        """Lines of the audit log, for sinks that are to have them."""
        for pump in self._pumps.values() if self._logs.audit else ():
            pump.put(lines)

    @property
    def on(self) -> bool:
        """Whether there is a sink."""
        return bool(self._pumps)

    def take(self, calls: Sequence[Closed]) -> None:
        """Calls that have ended."""
        logs = self._logs
        least = LEVELS.index(logs.level)
        lines = []
        for call in calls:
            level = level_of(call)
            grave = LEVELS.index(level)
            quiet = grave == len(LEVELS) - 1 and random.random() >= logs.sample  # noqa: S311
            if grave <= least and not quiet:
                lines.append(_encode(line_of(call, level)))
        for pump in self._pumps.values():
            pump.put(lines)

    def state(self) -> list[documents.Sink]:
        """How the sinks stand."""
        return [pump.state() for pump in self._pumps.values()]

    def close(self) -> None:
        """Write what waits, as far as it goes quickly, and end."""
        for pump in self._pumps.values():
            pump.close()
        for pump in self._pumps.values():
            pump.join(TAIL)


def level_of(call: Closed) -> str:
    """``error``: it failed; ``warning``: it was refused, or somebody else had to be asked."""
    if call.status >= 500 or (call.error and call.status < 400):
        return "error"
    return "warning" if call.status >= 400 or len(call.attempts) > 1 else "info"


def line_of(call: Closed, level: str) -> dict[str, Any]:
    """What is said of a call: no word of what it said itself."""
    line: dict[str, Any] = {
        "time": rfc3339(call.at_us / 1e6), "level": level, "event": "call",
        "request_id": call.id, "key": call.key, "endpoint": call.endpoint, "model": call.model,
        "provider": call.provider, "target": call.target, "status": call.status,
        "error": call.error or None, "stream": call.stream, "attempts": len(call.attempts),
        "duration_ms": call.duration_us / 1000,
        "ttft_ms": call.first_token_us / 1000 if call.first_token_us >= 0 else None,
        "overhead_ms": call.overhead_us / 1000 if call.overhead_us >= 0 else None,
        "tokens": None if call.usage is None else tokens(call.usage),
        "cost_usd": None if call.cost is None else dollars(call.cost),
        "policy": call.policy or None, "cache": call.cache or None,
    }  # fmt: skip
    if call.labels is not None:
        said = msgspec.structs.asdict(call.labels)
        line |= {name: value for name, value in said.items() if value}
    return line


class Pump:
    """A sink, its thread, and what waits for it."""

    def __init__(self, config: SinkConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._written = self._dropped = 0
        self._failing = ""
        self._thread = threading.Thread(target=self._run, name=f"sink {config.kind}", daemon=True)
        self._thread.start()

    def put(self, lines: Sequence[bytes]) -> None:
        """Hand on ``lines``, those for which there is room."""
        with self._lock:
            for line in lines:
                if len(self._waiting) >= MOST_LINES or self._bytes + len(line) > MOST_BYTES:
                    self._dropped += 1
                    continue
                self._waiting.append(line)
                self._bytes += len(line)

    def state(self) -> documents.Sink:
        """How it stands; ``failing`` says why lines do not arrive now."""
        with self._lock:
            return documents.Sink(
                kind=self._config.kind, waiting=len(self._waiting), written=self._written,
                dropped=self._dropped, failing=self._failing or None,
            )  # fmt: skip

    def close(self) -> None:
        """Try to write what waits, once, and end."""
        self._stopping.set()

    def join(self, patience: float) -> None:
        """Wait for the end, for ``patience`` seconds at most."""
        self._thread.join(patience)

    def _run(self) -> None:
        sink: Sink | None = None
        pause, retry = PAUSE, 1.0
        while True:
            ending = self._stopping.wait(pause)
            try:
                if sink is None and self._waiting:
                    sink = made(self._config, self._folder)
                while sink is not None and (batch := self._batch()):
                    sink.write(batch)
                    self._wrote(batch)
                pause, retry = getattr(sink, "pause", PAUSE), 1.0
            except Exception as error:  # a plugin may raise anything
                self._note(error)
                pause, retry = retry, min(2 * retry, LONGEST)
            if ending:
                break
        if sink is not None:
            sink.close()

    def _batch(self) -> list[bytes]:
        """The next lines, which stay until they are written."""
        found: list[bytes] = []
        size = 0
        with self._lock:
            for line in self._waiting:
                size += len(line)
                if found and (len(found) >= BATCH or size > BATCH_BYTES):
                    break
                found.append(line)
        return found

    def _wrote(self, batch: Sequence[bytes]) -> None:
        with self._lock:
            for line in batch:
                self._waiting.popleft()
                self._bytes -= len(line)
            self._written += len(batch)
            dropped = self._dropped
        if self._failing:
            self._failing = ""
            log("control", f"the sink {self._config.kind} takes lines again; {dropped} were lost")

    def _note(self, error: Exception) -> None:
        if not self._failing:
            why = str(error) or type(error).__name__
            text = "they wait, and are dropped when there are too many"
            log("control", f"the sink {self._config.kind} takes no lines ({why}); {text}")
        self._failing = str(error) or type(error).__name__
