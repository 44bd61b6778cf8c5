"""An exchange that remembers what its caller sends and gets, where that may be kept."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ferryman.config.snapshot import Content, Rule
from ferryman.flow.stored import redacted
from ferryman.guard.engine import Engine
from ferryman.http1.exchange import Exchange, Headers
from ferryman.ir.errors import ErrorKind
from ferryman.store.bodies import Body, BodyWriter, Kept
from ferryman.telemetry.metrics import family

if TYPE_CHECKING:
    from ferryman.flow.call import Call

KEPT, DROPPED = "kept", "dropped"
MOST_HELD: Final = 256_000_000
"""Bytes of all answers that are under way; beyond, they are cut."""


class Contents:
    """What a data plane keeps of contents, and where."""

    def __init__(
        self, writer: BodyWriter, settings: Content, redactors: Engine | None = None
    ) -> None:
        """``redactors``: guards that redact what is kept, where that is wanted."""
        self.writer = writer
        self.settings = settings
        self.redactors = redactors
        self.held = 0
        """Bytes of answers that calls under way remember."""

    def page(self) -> bytes:
        """Its lines for the metrics."""
        lines = family("contents_total", "counter", "Prompts and answers to keep, by outcome.")
        for what, number in self.writer.counts.items():
            lines.append(f'ferryman_contents_total{{outcome="{what}"}} {number}')
        return ("\n".join(lines) + "\n").encode()


class Witness:
    """Stands in front of another exchange (:class:`ferryman.http1.exchange.Exchange`)."""

    def __init__(self, inner: Exchange, contents: Contents) -> None:
        self.inner = inner
        self.method = inner.method
        self.target = inner.target
        self.headers = inner.headers
        self.body = inner.body
        self.incoming = inner.incoming
        self.peer = inner.peer
        self.began = inner.began
        self.shared: dict[str, Any] = inner.shared
        self._contents = contents
        self._most = contents.settings.largest
        self._parts: list[bytes] = []
        self._room = self._most
        self._held = 0
        self._size = 0
        self._status = 0
        self._type = ""
        self._whole = False
        self._reserved = 0
        self._redact: tuple[str, ...] = ()

    @property
    def gone(self) -> bool:
        return self.inner.gone

    @gone.setter
    def gone(self, gone: bool) -> None:
        self.inner.gone = gone

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self.inner.on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self.inner.on_gone = call

    @property
    def on_resume(self) -> Callable[[], None] | None:
        return self.inner.on_resume

    @on_resume.setter
    def on_resume(self, call: Callable[[], None] | None) -> None:
        self.inner.on_resume = call

    def header(self, name: bytes) -> bytes | None:
        return self.inner.header(name)

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        self._head(status, headers)
        self._hear(body)
        self._whole = True
        self.inner.respond(status, headers, body)

    def start(self, status: int, headers: Headers | bytes) -> None:
        self._head(status, headers)
        self.inner.start(status, headers)

    def write(self, data: bytes) -> bool:
        self._hear(data)
        return self.inner.write(data)

    def finish(self, data: bytes = b"") -> None:
        self._hear(data)
        self._whole = True
        self.inner.finish(data)

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        self.inner.instead(status, headers, body)  # what is kept is what was worked for

    def abort(self) -> None:
        self.inner.abort()

    def _head(self, status: int, headers: Headers | bytes) -> None:
        self._status = status
        lines = headers.split(b"\r\n") if isinstance(headers, bytes) else [
            b"%b: %b" % pair for pair in headers
        ]  # fmt: skip
        for line in lines:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-type":
                self._type = value.strip().decode("latin-1")[:100]

    def _hear(self, data: bytes) -> None:
        self._size += len(data)
        if self._room <= 0 or not data:
            return
        if self._contents.held > MOST_HELD:
            self._room = 0
            return
        part = data[: self._room]
        self._parts.append(part)
        self._room -= len(part)
        self._held += len(part)
        self._contents.held += len(part)

    # -- what becomes of it

    def settled(self, call: "Call", error: ErrorKind | None, status: int) -> str:
        """The call's record is about to be written: what it is to say of its contents."""
        storing = call.storing or self._contents.settings.storing
        failed = error is not None or status >= 400
        if storing.what == "none" or (storing.what == "errors" and not failed):
            return ""
        if call.plane.rng.random() >= storing.sample:
            return ""
        usual = self._contents.settings.storing.redact
        self._redact = storing.redact if storing.redact is not None else usual or ()
        # What is redacted is cut only then.
        size = len(self.body)
        most = (size if self._redact else min(size, self._most)) + self._most
        if not self._contents.writer.reserve(most):
            return DROPPED
        self._reserved = most
        return KEPT

    def over(self, call: "Call") -> None:
        """The call has ended: hand on what is to be kept."""
        self._contents.held -= self._held
        self._held = 0
        if not self._reserved:
            return
        redact = None
        if self._redact and self._contents.redactors is not None:
            redact = partial(
                redacted, endpoint=call.endpoint, engine=self._contents.redactors,
                names=self._redact, most=self._most,
            )  # fmt: skip
        body = Body(
            request=self.body if redact is not None else self.body[: self._most],
            reply=b"".join(self._parts),
            request_bytes=len(self.body) if call.upload is None else -1,
            reply_bytes=self._size,
            media_type=self._type,
            status=self._status,
            whole=self._whole,
        )
        team = call.labels.team if call.labels is not None else ""
        kept = Kept(call.id, call.at_us, call.key, team, body, self._reserved, redact)
        self._contents.writer.save(kept)
        self._reserved = 0


def wanted(settings: Content, rules: Sequence[Rule]) -> bool:
    """Whether contents of any call may be kept."""
    kept = [rule.content for rule in rules if rule.content is not None]
    return any(each.what != "none" for each in (settings.storing, *kept))
