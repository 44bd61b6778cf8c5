"""Whose call it is, and which others it belongs to: what sticky weights and affinity go by."""

import hashlib
from typing import Final

import msgspec
from msgspec import Raw, Struct

from ferryman.config.snapshot import Affinity
from ferryman.flow.call import Call
from ferryman.flow.policies import metadata_of, metadatum
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost
from ferryman.upstream.fleet import Resolved
from ferryman.wire.envelope import Request

PREFIX_BYTES: Final = 8192
"""Of the system text, and of the messages up to the first of the user, that are looked at."""
_SYSTEM: Final = ("system", "instructions", "systemInstruction", "system_instruction")
_MESSAGES: Final = ("messages", "contents", "input", "prompt")
_texts: Final = msgspec.json.Decoder(str)
_list: Final = msgspec.json.Decoder(list[Raw])


class _Message(Struct):
    role: str = "user"


_message: Final = msgspec.json.Decoder(_Message)


class Caller:
    """The identities of one call, worked out when asked for."""

    def __init__(self, call: Call, request: Request, session: bytes, metadata: bytes) -> None:
        """``session`` and ``metadata`` are its headers. Raises as ``metadata_of`` does."""
        self._call = call
        self._request = request
        self._session = session
        self._given = metadata_of(metadata)

    def identity(self, kind: str) -> bytes:
        """What is the same in every call of one ``kind``; empty = the call does not say."""
        if kind == "key":
            return self._call.key.encode()
        if kind == "session":
            return self._own(self._session or self._metadata("session_id"))
        if kind == "end_user":
            return self._own(
                self._member("user")
                or self._member("safety_identifier")
                or self._metadata("user_id")
            )
        if kind == "cache_key":
            return self._member("prompt_cache_key")
        if kind == "prefix":
            return prefix(self._request)
        return self._metadata(kind.removeprefix("metadata."))

    def _own(self, name: bytes) -> bytes:
        """A name that callers choose: the same one of another key means somebody else."""
        return b"%b\0%b" % (self._call.key.encode(), name) if name else b""

    def _metadata(self, name: str) -> bytes:
        found = metadatum(self._given, self._request, name)
        return b"" if found is None else str(found).encode()

    def _member(self, name: str) -> bytes:
        raw = self._request.fields.get(name)
        try:
            return _texts.decode(raw).encode() if raw is not None else b""
        except UNREADABLE:
            return b""


def bind(call: Call, resolved: Resolved, request: Request, session: bytes, metadata: bytes) -> None:
    """Note what the route's choice goes by. Raises :class:`GatewayError` (400)."""
    route = resolved.route
    assert route is not None
    caller = Caller(call, request, session, metadata)
    call.seeds = {
        kind: int.from_bytes(_digest(identity, 8)) | 1
        for kind in route.identities
        if (identity := caller.identity(kind))
    }
    if route.affinity is not None and (shared := caller.identity(route.affinity.by)):
        call.affinity = route.affinity
        call.shared = _digest(b"%b\0%b" % ((call.use or call.model).encode(), shared), 16)
        call.bond = call.plane.bonds.get(call.shared, call.plane.now())


def explained(call: Call, affinity: Affinity) -> dict[str, object]:
    """What became of the bond: held, or what it costs that the call had to go elsewhere."""
    said: dict[str, object] = {"by": affinity.by}
    bond, target = call.bond, call.target
    if bond is None or target is None:
        return said
    said["last"] = bond.target
    if bond.target == target.name:
        return {**said, "held": True}
    said |= {"held": False, "cached_tokens": bond.tokens}
    fresh = cost(Usage(input=bond.tokens), target.prices, call.at_us // 1_000_000)
    if fresh is not None and bond.cost is not None:
        said["costs_more_usd"] = (fresh - bond.cost) / 1e12
    return said


def prefix(request: Request) -> bytes:
    """What a conversation begins with, in 16 bytes: the same in each of its turns."""
    fields = request.fields
    found = [bytes(fields[name])[:PREFIX_BYTES] for name in _SYSTEM if name in fields]
    found += [_first(fields[name])[:PREFIX_BYTES] for name in _MESSAGES if name in fields]
    return _digest(b"\0".join(found), 16) if found else b""


def _first(messages: Raw) -> bytes:
    """The messages up to the first of the user, as they came."""
    taken = []
    try:
        for message in _list.decode(messages):
            taken.append(bytes(message))
            if _message.decode(message).role == "user":
                break
    except UNREADABLE:
        return bytes(messages)
    return b"".join(taken)


def _digest(text: bytes, size: int) -> bytes:
    return hashlib.blake2b(text, digest_size=size).digest()
