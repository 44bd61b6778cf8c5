"""Answers of the Responses API that callers go on from later, whoever the provider was.

https://platform.openai.com/docs/guides/conversation-state: ``previous_response_id`` stands for the
whole conversation up to that answer. What a provider of this API has kept itself goes to it as it
is; what it has not, because it speaks another format, is kept here (``store/responses.py``).
"""

import asyncio
from typing import Any, Final

import msgspec
from msgspec import Raw

from ferryman.flow.call import Call
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.store.responses import ResponseStore, StoreError
from ferryman.wire.envelope import Request, decode
from ferryman.wire.framing import event_data

PREVIOUS: Final = "previous_response_id"
_MARK: Final = b'"previous_response_id"'
_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str)
_items = msgspec.json.Decoder(list[Raw])
_members = msgspec.json.Decoder(dict[str, Raw])


class Kept(msgspec.Struct):
    """One kept answer."""

    items: list[Raw]
    """The conversation up to and including it: items of the API's ``input``."""


_kept = msgspec.json.Decoder(Kept)


class Keeper:
    """Keeps answers for ``seconds`` and finds them again. File work happens in a worker thread."""

    def __init__(self, store: ResponseStore, seconds: float) -> None:
        self.store = store
        self.seconds = seconds

    async def find(self, tenant: str, ident: str) -> Kept | None:
        """A kept answer of ``tenant``'s."""
        data = await _in_thread(self.store.load, tenant, ident)
        return _kept.decode(data) if data is not None else None

    async def resume(self, call: Call, request: Request) -> Request:
        """``request`` with the conversation it goes on from written out, if that is kept here."""
        if _MARK not in request.body:
            return request
        try:
            ident = _text.decode(request.fields[PREVIOUS])
            new = _asked(request)
        except (KeyError, *UNREADABLE):
            return request  # null, or a mistake that its decoder explains
        kept = await self.find(call.key, ident)
        if kept is None:
            return request
        fields = {name: raw for name, raw in request.fields.items() if name != PREVIOUS}
        fields["input"] = Raw(_encode([*kept.items, *new]))
        return decode("responses", _encode(fields))

    async def keep(self, call: Call, request: Request, response: bytes) -> None:
        """Keep a translated answer, unless its request says not to.

        ``response`` is its JSON or, of a stream, its last event.
        """
        if request.stream:
            response = _response_of(response)
        if bytes(request.fields.get("store", b"true")) == b"false":
            return
        try:
            said = _members.decode(response)
            ident = _text.decode(said["id"])
            items = [*_asked(request), *_items.decode(said["output"])]
        except (KeyError, *UNREADABLE):
            return
        payload = _encode(Kept(items))
        try:
            await _in_thread(self.store.save, call.key, ident, payload, self.seconds)
        except StoreError as error:
            call.plane.log(f"{call.id}: {error}")


def _response_of(ending: bytes) -> bytes:
    """The response object in the event that ends a stream; empty when there is none."""
    for event in ending.split(b"\n\n"):
        try:
            found = _members.decode(event_data(event + b"\n\n")).get("response")
        except UNREADABLE:
            continue
        if found is not None:
            return bytes(found)
    return b""


def unknown(ident: str, *, answer: bool) -> GatewayError:
    """The error for what lies elsewhere: an ``answer``, or what only its provider can keep."""
    advice = "choose a model of the provider that has it"
    if answer:
        advice = "let the gateway keep answers: 'responses: { keep: 24h }' in its configuration"
    return GatewayError(
        400,
        ErrorKind.INVALID_REQUEST,
        f"{ident[:80]!r} is not kept here, and the provider of this model can't look it up. Send "
        f"what it stands for as 'input', or {advice}.",
        param=PREVIOUS if answer else None,
    )


def _asked(request: Request) -> list[Raw]:
    """The request's ``input`` as items; a plain text becomes one. Raises as msgspec does."""
    given = request.fields.get("input", Raw(b"[]"))
    if bytes(given)[:1] == b"[":
        return _items.decode(given)
    return [Raw(b'{"role":"user","content":%b}' % bytes(given))]


async def _in_thread(work: Any, *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)
