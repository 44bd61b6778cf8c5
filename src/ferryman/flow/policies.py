"""What the policies, and headers that steer a call, make of it before it is planned."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from ferryman.catalog.tokens import Gauge, estimate
from ferryman.config.feed import NO_FACTS
from ferryman.config.snapshot import Rule, Snapshot
from ferryman.flow.asking import LARGE, conversation_of
from ferryman.flow.bearers import may_use
from ferryman.flow.call import Call
from ferryman.flow.headers import HeaderFacts
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.request import Media, MediaKind, OutputKind, ToolResult
from ferryman.ir.request import Request as Conversation
from ferryman.ir.unreadable import UNREADABLE
from ferryman.routing.conditions import Meets, compiled
from ferryman.wire import envelope
from ferryman.wire.paths import CONVERSATIONS

Policies = tuple[tuple[Rule, Meets], ...]
NO_GUARDS: Final[tuple[str, ...]] = ()
Plain = str | int | float | bool | None
Metadata = dict[str, Plain]

MAX_TAGS: Final = 64
_members = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.Decoder()
_metadata = msgspec.json.Decoder(Metadata)
_SECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,6})?")


def policies_of(snapshot: Snapshot) -> Policies:
    """The snapshot's policies, ready to be asked. Raises as ``routing/conditions.py`` does."""
    return tuple((rule, compiled(rule.when)) for rule in snapshot.rules)


async def steer(call: Call, request: envelope.Request, facts: HeaderFacts) -> envelope.Request:
    """Apply the caller's own limits and the first policy that matches; the request to serve.

    Raises :class:`GatewayError`: 400 for headers that can't be read, 403 where a policy forbids.
    """
    if facts.mistake:
        raise GatewayError(400, ErrorKind.INVALID_REQUEST, facts.mistake)
    if call.models and not may_use(call.models, request.model):
        names = ", ".join(call.models)
        raise GatewayError(403, ErrorKind.FORBIDDEN, f"This caller may ask for {names} only.")
    said = Facts(call, request, facts)
    rule, guards = None, NO_GUARDS
    policies = call.plane.policies
    if policies:
        if len(request.body) >= LARGE and call.endpoint in CONVERSATIONS and _reads(policies):
            # Beside the loop, so that other calls go on.
            loop = asyncio.get_running_loop()
            rule, guards = await loop.run_in_executor(None, _matching, policies, said)
        else:
            rule, guards = _matching(policies, said)
    if rule is not None:
        request = _apply(call, request, rule)
        call.guards = guards
    if facts.timeout:
        _limit(call, facts.timeout)
    return request


def _matching(policies: Policies, said: "Facts") -> tuple[Rule | None, tuple[str, ...]]:
    """The first policy that matches, and the guards of all that do: so nobody gets out of a guard
    by making an earlier policy match."""
    first, guards = None, NO_GUARDS
    for rule, meets in policies:
        if (first is None or rule.guard) and meets(said.ask):
            first = first or rule
            guards += rule.guard
    return first, guards


def _reads(policies: Policies) -> bool:
    """Whether a condition may have to read the conversation."""
    parts = [rule.when for rule, _ in policies]
    while parts:
        part = parts.pop()
        if part.fact in ("tokens", "abilities"):
            return True
        parts += part.parts
    return False


def _apply(call: Call, request: envelope.Request, rule: Rule) -> envelope.Request:
    call.policy = rule.name
    call.storing = rule.content
    if rule.forbid:
        raise GatewayError(403, ErrorKind.FORBIDDEN, rule.forbid)
    call.use = rule.use
    if rule.filter is not None:
        call.filters = (*call.filters, rule.filter)
    call.strict = call.strict or rule.on_unsupported == "reject"
    call.too_long = call.too_long or rule.too_long
    call.on_content_filter = rule.on_content_filter
    call.cache_for = rule.cache
    call.connect, call.first_byte = rule.connect, rule.first_byte
    call.idle, call.total = rule.idle, rule.total
    if rule.set:
        request, call.forced = envelope.forced(request, call.endpoint, rule.set)
        call.conversation = None
    return request


def _limit(call: Call, text: bytes) -> None:
    """The caller's own times: no more than it would have without. ``30``, or ``idle=5, total=30``.

    Raises :class:`GatewayError` (400).
    """
    usual = call.plane.fleet.snapshot.timeouts
    for part in text.split(b","):
        named, equals, value = part.rpartition(b"=")
        name = named.strip().decode("latin-1") if equals else "total"
        value = value.strip()
        seconds = float(value) if _SECONDS.fullmatch(value) else 0.0
        if not seconds or name not in DEADLINES:
            raise GatewayError(
                400,
                ErrorKind.INVALID_REQUEST,
                "'x-ferryman-timeout' must be a number of seconds above 0, such as 30 or 2.5, or "
                f"several with names ({', '.join(DEADLINES)}), such as first_byte=5, total=30.",
            )
        if name == "total":
            call.limited = True
        else:
            call.hasty = True
        setattr(call, name, min(seconds, getattr(call, name) or getattr(usual, name)))


DEADLINES: Final = ("connect", "first_byte", "idle", "total")


class Facts:
    """What conditions are about, worked out when asked for, once."""

    def __init__(self, call: Call, request: envelope.Request, facts: HeaderFacts) -> None:
        """Raises :class:`GatewayError` (400) for metadata in headers that can't be read."""
        self._call = call
        self._request = request
        self._tags = tags_of(facts.tags)
        self._whose = call.whose or NO_FACTS
        if self._whose.tags:
            self._tags |= frozenset(self._whose.tags)
        self._given = metadata_of(facts.metadata)
        self._known: dict[str, object] = {}

    def ask(self, name: str) -> object:
        """The fact ``name``; see ``routing/conditions.py``. Raises :class:`GatewayError` (400)."""
        if name not in self._known:
            self._known[name] = self._fact(name)
        return self._known[name]

    def _fact(self, name: str) -> object:
        kind, _, rest = name.partition(".")
        call = self._call
        if kind == "metadata":
            return metadatum(self._given, self._request, rest)
        if kind == "header":
            wanted = rest.encode()
            found = [value for name, value in call.exchange.headers if name == wanted]
            return b", ".join(found).decode("latin-1") if found else None
        if kind == "body":
            return self._body(rest)
        if kind == "abilities":
            return self._abilities()
        if kind == "tokens":
            return self._tokens()
        if kind in WHOSE:
            return getattr(self._whose, kind) or None
        if kind == "end_user":
            return self._end_user()
        if kind == "run":
            return self._fact(f"header.{RUN}")
        plain: dict[str, object] = {
            "model": self._request.model, "endpoint": call.endpoint, "key": call.key,
            "time": time.time(), "tags": self._tags, "region": call.plane.regions,
        }  # fmt: skip
        return plain[kind]

    def _body(self, path: str) -> object:
        """A member of the body: a plain value, or True for one that is an object or an array."""
        if path == "stream":
            return self._request.stream
        if path == "model":
            return self._request.model
        first, *rest = path.split(".")
        raw: Any = self._request.fields.get(first)
        try:
            for name in rest:
                raw = _members.decode(raw).get(name) if raw is not None else None
            found = _any.decode(raw) if raw is not None else None
        except UNREADABLE:
            return None
        return NOT_PLAIN if isinstance(found, dict | list) else found

    def _end_user(self) -> str | None:
        """Whom the caller serves, as its body says."""
        for name in ("user", "safety_identifier"):
            found = self._body(name)
            if found and isinstance(found, str):
                return found
        found = self.ask("metadata.user_id")
        return None if found is None else str(found)

    def _conversation(self) -> Conversation | None:
        if self._call.endpoint not in CONVERSATIONS:
            return None
        return conversation_of(self._call, self._request)

    def _tokens(self) -> int:
        try:
            conversation = self._conversation()
        except GatewayError:
            conversation = None  # its provider will say what is wrong with it
        if conversation is None:
            return Gauge().tokens(len(self._request.body))
        return estimate(conversation, Gauge())

    def _abilities(self) -> frozenset[str]:
        """What the request needs. One that can't be read is refused: nothing slips through."""
        conversation = self._conversation()
        return abilities_of(conversation) if conversation is not None else frozenset()


WHOSE: Final = ("organisation", "team", "user")
"""What virtual keys say of whose they are."""
RUN: Final = "x-ferryman-run-id"
"""Calls of one run of an agent share its value."""
NOT_PLAIN: Final = object()
"""A member that is there, but no plain value: it exists, and equals nothing."""
_KINDS = {
    MediaKind.IMAGE: "vision", MediaKind.AUDIO: "audio", MediaKind.DOCUMENT: "document",
}  # fmt: skip


def abilities_of(request: Conversation) -> frozenset[str]:
    """The abilities a model needs for ``request``, by the names of ``config/conditions.py``."""
    found = set()
    for message in request.messages:
        found |= _media(message.blocks)
    if request.tools:
        found.add("tools")
    if "audio" in request.modalities:
        found.add("audio")
    if request.output is not None and request.output.kind is OutputKind.SCHEMA:
        found.add("json_schema")
    thinks = request.reasoning
    if thinks is not None and thinks.effort != "none" and thinks.budget != 0:
        found.add("reasoning")
    return frozenset(found)


def _media(blocks: Sequence[object]) -> set[str]:
    found = set()
    for block in blocks:
        if isinstance(block, Media) and block.kind in _KINDS:
            found.add(_KINDS[block.kind])
        elif isinstance(block, ToolResult):
            found |= _media(block.blocks)
    return found


def metadata_of(header: bytes) -> Metadata:
    """``x-ferryman-metadata``. Raises :class:`GatewayError` (400)."""
    if not header:
        return {}
    try:
        return _metadata.decode(header)
    except UNREADABLE:
        raise GatewayError(
            400,
            ErrorKind.INVALID_REQUEST,
            "'x-ferryman-metadata' must be a JSON object of plain values, such as "
            '{"task": "summarise"}.',
        ) from None


def metadatum(given: Metadata, request: envelope.Request, name: str) -> Plain:
    """One of a call's metadata: ``given`` in its header goes before what stands in its body."""
    return given[name] if name in given else request.metadata().get(name)


def tags_of(header: bytes) -> frozenset[str]:
    """``x-ferryman-tags``. Raises :class:`GatewayError` (400)."""
    if not header:
        return frozenset()
    tags = [tag for text in header.decode("latin-1").split(",") if (tag := text.strip())]
    if len(tags) > MAX_TAGS:
        text = f"'x-ferryman-tags' has {len(tags)} tags; at most {MAX_TAGS} are taken."
        raise GatewayError(400, ErrorKind.INVALID_REQUEST, text)
    return frozenset(tags)
