"""What a wire format is to the rest: two sides, each a handful of pure functions.

The *client side* serves callers who speak the format, the *provider side* asks providers who do.
One folder per format has both; ``paths.WAYS`` lists them. Nothing here does I/O, or knows a
provider.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Event, Reply
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request, Signature


class ReplyError(Exception):
    """A provider's reply of status 2xx that is none; ``message`` is for the caller to read."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def unreadable(error: Exception) -> ReplyError:
    """For a reply that isn't as its format says."""
    return ReplyError(ErrorKind.UPSTREAM_PROTOCOL, f"the reply is not as the format says: {error}")


class Aim(Struct, frozen=True, kw_only=True):
    """What an encoder of requests has to know of the target."""

    model: str
    """The model's name at the provider."""
    max_output: int = 0
    """The model's own output limit in tokens; 0 = unknown."""
    abilities: tuple[str, ...] = ()
    """What the catalogue says the model can (``tools``, ``vision``, ``json_schema``…)."""
    quirks: tuple[str, ...] = ()
    """Names from the provider's row; each encoder documents those that it heeds."""


class ReplyContext(Struct, kw_only=True):
    """What an encoder of replies has to know of the call."""

    request: Request
    """As decoded from the caller's own format."""
    receipt: Receipt
    request_id: str
    provider: str = ""
    """The format in which the provider answers."""
    now: int = 0
    """Unix seconds, for replies that don't say when they were made."""
    input_estimate: int = 0
    """Input tokens as estimated, for formats that must say them before the provider does."""

    def unsigned(self) -> Signature | None:
        """What marks thoughts and calls that came without a proof as another format's; or None."""
        foreign = self.provider and self.provider != self.request.origin
        return Signature("", self.provider) if foreign else None


class StreamDecoder(Protocol):
    """A provider's stream, byte by byte, into events that keep the grammar.

    Any cut of the bytes gives the same events. It never raises: what is no stream of the format
    becomes :class:`~ferryman.ir.events.Failed`. After Failed or End it gives nothing more.
    """

    broken: int
    """Events that could not be read; the first is skipped, a second ends the stream."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""

    def close(self) -> list[Event]:
        """The body is over: Failed when the stream's own end has not come; the last events and End
        in formats whose streams end with their body; else nothing."""


class StreamEncoder(Protocol):
    """Events into a stream of the caller's format. Needs no end of its own but End or Failed."""

    def encode(self, event: Event) -> bytes:
        """The bytes for ``event``; may be empty. What must come last comes with End.

        Raises :class:`ReplyError` for what the format can't carry, such as arguments of a call that
        are no JSON object, where it has a place for objects only: the stream ends as failed.
        """


class ClientSide(NamedTuple):
    """Serves callers who speak the format."""

    decode_request: Callable[[bytes, str, bool], Request]
    """(body, model, stream) → request. Model and stream as the URL says them, for formats that have
    them there; others read the body. Raises :class:`GatewayError` 400 that names the member
    (``param``: its path)."""
    encode_reply: Callable[[Reply, ReplyContext], bytes]
    """Raises :class:`ReplyError` for what the format can't carry."""
    stream_encoder: Callable[[ReplyContext], StreamEncoder]
    error_body: Callable[[GatewayError, str], bytes]
    """(error, request id) → body of an error reply."""
    error_event: Callable[[GatewayError, str], bytes]
    """The same within a stream."""


class ProviderSide(NamedTuple):
    """Asks providers who speak the format."""

    encode_request: Callable[[Request, Aim, Receipt], bytes]
    """Raises :class:`GatewayError` 400 for what can be carried neither truly nor in part, such as a
    tool that only another format's providers run."""
    decode_reply: Callable[[bytes], Reply]
    """Raises :class:`ReplyError`."""
    stream_decoder: Callable[[], StreamDecoder]


class Format(NamedTuple):
    """A wire format."""

    name: str
    client: ClientSide | None
    """None = no caller may speak it."""
    provider: ProviderSide | None
