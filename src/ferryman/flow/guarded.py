"""Guards on what providers answer: between a decoder and whoever reads its events."""

import time

from ferryman.guard.engine import REPLY, BlockedError, Session
from ferryman.guard.talk import EventGuard, answer_text, guarded_reply
from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import Event, Reply
from ferryman.wire.format import ProviderSide, ReplyError, StreamDecoder


class _Decoder:
    """A provider's stream, less what guards keep back of it."""

    def __init__(self, inner: StreamDecoder, session: Session) -> None:
        self._inner = inner
        self.broken = 0
        self._guard = EventGuard(session)
        self._session = session
        session.hear("", anew=True)

    def feed(self, data: bytes) -> list[Event]:
        return self._take(self._inner.feed(data))

    def close(self) -> list[Event]:
        return self._take(self._inner.close())

    def _take(self, events: list[Event]) -> list[Event]:
        began = time.perf_counter()
        out = self._guard.take(events)
        self.broken = self._inner.broken
        self._session.took(REPLY, began)
        return out


def guarded_side(side: ProviderSide, session: Session) -> ProviderSide:
    """``side``, whose replies are checked before anyone reads them."""

    def decode_reply(body: bytes) -> Reply:
        reply = side.decode_reply(body)
        began = time.perf_counter()
        try:
            checked = guarded_reply(reply, session)
            session.hear(answer_text(checked), anew=True)
            return checked
        except BlockedError as why:
            raise ReplyError(ErrorKind.GUARDRAIL, str(why)) from None
        finally:
            session.took(REPLY, began)

    return side._replace(
        decode_reply=decode_reply,
        stream_decoder=lambda: _Decoder(side.stream_decoder(), session),
    )
