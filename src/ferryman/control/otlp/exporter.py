"""Sends what the ledger has taken in to a receiver of OTLP, from threads of its own.

Ingestion hands calls over after their commit and never waits: queues are bounded, and what finds no
room in them is counted and left out. So a receiver that is slow or dead costs neither memory nor a
row of the ledger.
"""

import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from random import random
from typing import Any, Final

import msgspec

from ferryman.config.snapshot import SIGNALS, Snapshot
from ferryman.control.otlp.settings import Receiver, Sampling, Settings, SettingsError, settings_of
from ferryman.log import log
from ferryman.telemetry.metrics import family
from ferryman.telemetry.record import Closed
from ferryman.telemetry.spans import trace_id

MOST_QUEUED: Final = 4096
"""Calls that wait to be sent, for each signal."""
BATCH: Final = 512
"""Most calls in a message."""
PAUSE: Final = 1.0
"""Seconds between two looks at the queue."""
LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries at most; they double from 1."""
GIVE_UP: Final = 300.0
"""Seconds after which a message is given up."""
LAST: Final = 3.0
"""Seconds for a last message at the end."""
POLITENESS: Final = 19
_RANDOM_DIGITS: Final = 14
"""Of a trace id, from its end: what chance decides by, alike everywhere."""
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


class Exporter:
    """Takes calls on the ingestion's thread, and sends them on others, once there is a receiver."""

    def __init__(self, env: Mapping[str, str], open_key: bytes) -> None:
        self._env = env
        self._open_key = open_key
        self._lines: dict[str, _Line] = {}
        self._sampling = Sampling()
        self.on = False
        """Whether there is anything to hand over to."""
        self._told = ""

    def adopt(self, snapshot: bytes) -> None:
        """Send as this snapshot (msgpack) says from now on. On any thread."""
        settings = self._settings(_snapshot.decode(snapshot))
        if settings is not None:
            self._sampling = settings.sampling
            for signal in SIGNALS:
                if signal in settings.receivers and signal not in self._lines:
                    self._lines[signal] = _Line(signal)
        for line in self._lines.values():
            line.settings = settings
        self.on = settings is not None

    def _settings(self, snapshot: Snapshot) -> Settings | None:
        try:
            settings = settings_of(snapshot.telemetry.otlp, self._env, self._open_key)
            if settings is not None:
                _need(settings)
        except SettingsError as error:
            if self._told != str(error):
                log("control", f"telemetry is not sent: {error}")
            self._told = str(error)
            return None
        self._told = ""
        return settings

    def take(self, calls: Sequence[Closed]) -> None:
        """The ledger has these calls."""
        lines, sampling = self._lines, self._sampling
        for call in calls:
            if (traces := lines.get("traces")) is not None and sampled(call, sampling):
                traces.offer(call)
            if (metrics := lines.get("metrics")) is not None:
                metrics.count(call)
            if call.error and (logs := lines.get("logs")) is not None:
                logs.offer(call)

    def stop(self) -> None:
        """Send what is left, within ``LAST`` seconds, and end."""
        for line in self._lines.values():
            line.stopping.set()
        until = time.monotonic() + LAST
        for line in self._lines.values():
            line.thread.join(max(until - time.monotonic(), 0.0))

    def page(self) -> list[str]:
        """Lines for the metrics of the control plane."""
        out = family("otlp_sent_total", "counter", "Items that receivers of OTLP have taken.")
        lines = list(self._lines.values())
        out += [f'ferryman_otlp_sent_total{{signal="{each.signal}"}} {each.sent}' for each in lines]
        out += family("otlp_dropped_total", "counter", "Items that were not sent, by reason.")
        for each in lines:
            for why, count in sorted(each.dropped.items()):
                labels = f'signal="{each.signal}",reason="{why}"'
                out.append(f"ferryman_otlp_dropped_total{{{labels}}} {count}")
        out += family("otlp_queue", "gauge", "Calls that wait to be sent.")
        out += [f'ferryman_otlp_queue{{signal="{e.signal}"}} {len(e.queue)}' for e in lines]
        out += family("otlp_failing", "gauge", "1 while the receiver takes nothing or not all.")
        out += [f'ferryman_otlp_failing{{signal="{e.signal}"}} {int(e.failing)}' for e in lines]
        return out


def sampled(call: Closed, sampling: Sampling) -> bool:
    """Whether the spans of ``call`` are sent: in any case, or as its trace was chosen."""
    if sampling.errors and call.error:
        return True
    if sampling.slower and call.duration_us >= sampling.slower * 1e6:
        return True
    if sampling.dearer and call.cost is not None and call.cost >= sampling.dearer:
        return True
    if sampling.follow_caller and call.trace is not None:
        return bool(call.trace.flags & 1)
    ident = call.trace.id if call.trace is not None else trace_id(call.id)
    chance = int(ident[-_RANDOM_DIGITS:], 16) / 16**_RANDOM_DIGITS
    return chance >= 1 - sampling.share


def _need(settings: Settings) -> None:
    """Raises :class:`SettingsError` where a package is missing."""
    if not _installed("opentelemetry.proto"):
        raise SettingsError('install the package: pip install "ferryman[otlp]"')
    if any(each.grpc for each in settings.receivers.values()) and not _installed("grpc"):
        fix = 'pip install "ferryman[otlp-grpc]", or protocol: http/protobuf'
        raise SettingsError(f"gRPC needs a package: {fix}")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:  # what it is within is missing, too
        return False


class _Message:
    """What is on its way: sent until it arrives, or for ``GIVE_UP`` seconds."""

    def __init__(self, content: Any, items: int) -> None:
        self.content = content
        self.items = items
        self.since = time.monotonic()
        self.pause = PAUSE


class _Line:
    """The way out of one signal: a queue, and a thread that empties it."""

    def __init__(self, signal: str) -> None:
        from ferryman.control.otlp.sums import Sums

        self.signal = signal
        self.settings: Settings | None = None
        self.queue: deque[Closed] = deque()
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        self.failing = False
        self._lock = threading.Lock()
        self._sums = Sums()
        self._message: _Message | None = None
        self._receiver: Receiver | None = None
        self._send: Any = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"otlp {signal}", daemon=True)
        self.thread.start()

    def offer(self, call: Closed) -> None:
        """Queue ``call``, if there is room."""
        if len(self.queue) < MOST_QUEUED:
            self.queue.append(call)
        else:
            self.dropped["queue_full"] += 1

    def count(self, call: Closed) -> None:
        """Add ``call`` to the sums."""
        with self._lock:
            self._sums.add(call)

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere it would be the whole process
            os.nice(POLITENESS)
        pause = 0.0
        while not self.stopping.wait(pause):
            try:
                pause = self._round()
            except Exception as error:  # a mistake of ours must not end it
                log("control", f"telemetry ({self.signal}): {type(error).__name__}: {error}")
                self._message, pause = None, LONGEST_PAUSE
        while not self.failing:
            self._round()
            if not self.queue:
                return

    def _round(self) -> float:
        """Send what there is; returns the seconds until the next round."""
        settings = self.settings
        receiver = settings.receivers.get(self.signal) if settings is not None else None
        if settings is None or receiver is None:
            self.queue.clear()
            self._message = None
            return PAUSE
        if receiver != self._receiver:
            from ferryman.control.otlp.sending import sender

            self._send, self._receiver = sender(self.signal, receiver), receiver
        message = self._message or self._next(settings)
        usual = settings.every if self.signal == "metrics" else PAUSE
        if message is None:
            return usual
        self._message = message
        pause = self._try(message)
        if self._message is None:
            return 0.0 if len(self.queue) >= BATCH else usual
        if self.signal == "metrics" and not settings.delta:
            self._message = None  # a later one says the same and more
        return pause

    def _try(self, message: _Message) -> float:
        """Send ``message``; forgets it unless it is to be sent again. Returns when."""
        outcome = self._send(message.content)
        late = time.monotonic() - message.since > GIVE_UP
        if outcome.again and not late:
            self._fail(outcome.why)
            wait: float = max(outcome.after, message.pause * (0.5 + random() / 2))  # noqa: S311
            message.pause = min(message.pause * 2, LONGEST_PAUSE)
            return min(wait, LONGEST_PAUSE)
        self._message = None
        if outcome.rejected or not outcome.why:
            self.dropped["rejected"] += outcome.rejected
            self.sent += message.items - outcome.rejected
        else:
            self.dropped["given_up" if outcome.again else "refused"] += message.items
        if outcome.why:
            self._fail(outcome.why)
        elif self.failing:
            self.failing = False
            log("control", f"the receiver of OTLP takes {self.signal} again")
        return 0.0

    def _fail(self, why: str) -> None:
        if not self.failing:
            self.failing = True
            text = f"the receiver of OTLP does not take {self.signal} ({why}); what it does not"
            log("control", f"{text} take is sent again, later and later, or dropped and counted")

    def _next(self, settings: Settings) -> _Message | None:
        from ferryman.control.otlp.messages import logs, metrics, traces

        if self.signal == "metrics":
            return self._measured(settings, metrics)
        calls = [self.queue.popleft() for _ in range(min(len(self.queue), BATCH))]
        if not calls:
            return None
        content, items, unfit = (traces if self.signal == "traces" else logs)(calls, settings)
        self.dropped["unfit"] += unfit
        return _Message(content, items) if items else None

    def _measured(self, settings: Settings, metrics: Any) -> _Message | None:
        from ferryman.control.otlp.sums import Sums

        with self._lock:
            if not self._sums.series:
                return None
            content, items = metrics(self._sums, settings)
            if settings.delta:
                self._sums = Sums()
        return _Message(content, items)
