"""Who is left of a model's targets once the route, a policy and the caller have had their say."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from ferryman.config.snapshot import Filter
from ferryman.flow.asking import LARGE, conversation_of
from ferryman.flow.call import Call
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.policies import abilities_of
from ferryman.flow.preferences import BODY, Preferences, read, read_header
from ferryman.flow.residency import FOREIGN
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.cost import rate_at
from ferryman.routing.filters import ABILITIES, Candidate, Reason, priced, sift
from ferryman.upstream.fleet import Resolved, Target
from ferryman.wire import envelope
from ferryman.wire.paths import CONVERSATIONS

TAKES_OBJECT: Final = ("chat.completions", "completions", "responses")
"""Endpoints whose bodies may have the ``provider`` object."""
_MARKS: Final = (
    b'"tools"', b'"functions"', b"image", b"audio", b"file", b"document", b"pdf", b"chema",
    b"reasoning", b"hinking", b"effort",
)  # fmt: skip
"""A body without any of them needs no abilities, whatever its format."""


async def narrow(
    call: Call, request: envelope.Request, resolved: Resolved, facts: HeaderFacts
) -> tuple[envelope.Request, Resolved]:
    """The request as targets get it, and ``resolved`` without those that don't pass the filters.

    Raises :class:`GatewayError`: 400 where what the caller says of providers can't be read, or
    leaves nobody; 403 where a policy's filter does.
    """
    said, request = _said(call, request, resolved, facts.providers)
    own = call.filters
    key = "\n".join([each.source for each in own])
    known = resolved.narrowed.get(key) if not said else None
    if known is not None and not _may_need(call, request, resolved):
        call.left_out = known.left_out
        return request, known
    targets = (*resolved.targets, *resolved.fallbacks)
    filters = [(*own, *theirs) for theirs in resolved.filters or ((),) * len(targets)]
    asked = [_asked(target, said) for target in targets]
    everything = [(*a, *b) for a, b in zip(filters, asked, strict=True)]
    flat = [each for group in everything for each in group]
    needs = await _needs(call, request, resolved, flat)
    tokens = len(request.body)
    candidates = [_candidate(call, *pair, tokens) for pair in zip(targets, everything, strict=True)]
    reasons = sift(candidates, needs)
    for each in said:
        _heed(each, targets, len(resolved.targets), reasons)
    kept = _kept(resolved, targets, reasons, said)
    call.left_out = kept.left_out
    if not kept.targets and not kept.fallbacks:
        if facts.explain:
            call.explain = True
        raise _nobody(call, request, targets, reasons)
    call.strict = call.strict or any(each.require_parameters for each in flat)
    if not said and not needs and not any(map(_by_request, flat)):
        resolved.narrowed[key] = kept
    return request, kept


def _by_request(wanted: Filter) -> bool:
    """Whether it depends on the request who passes."""
    return priced(wanted) or wanted.require_abilities is True or wanted.require_parameters


def _said(
    call: Call, request: envelope.Request, resolved: Resolved, header: bytes
) -> tuple[list[Preferences], envelope.Request]:
    """What the caller says, and the request without it, unless all its targets understand it."""
    said = []
    aliases = call.plane.fleet.snapshot.aliases
    if request.provider is not None and call.endpoint in TAKES_OBJECT:
        found = read(bytes(request.provider), BODY, aliases)
        if found is not None:
            said.append(found)
        if not all(t.runtime.takes_preferences for t in (*resolved.targets, *resolved.fallbacks)):
            call.preferences = request.provider
            call.conversation = None
            request = envelope.without(request, BODY)
    if header:
        found = read_header(header, aliases)
        if found is not None:
            said.append(found)
    return said, request


def _asked(target: Target, said: Sequence[Preferences]) -> tuple[Filter, ...]:
    """What the caller's wishes ask of a target that does not heed them itself."""
    return tuple(each.filter for each in said if not _left_to(target, each))


def _left_to(target: Target, said: Preferences) -> bool:
    """Whether the target gets these wishes, about its own providers, and sees to them."""
    by_body = said.place == BODY and target.runtime.takes_preferences
    return by_body and target.provider not in said.filter.ignore


def _candidate(call: Call, target: Target, filters: tuple[Filter, ...], size: int) -> Candidate:
    rate = None
    if any(map(priced, filters)):
        tokens = int(size / target.gauge.bytes_per_token)
        rate = rate_at(target.prices, call.at_us // 1_000_000, tokens)
    return Candidate(target.written, target.aim.abilities, rate, filters)


async def _needs(
    call: Call, request: envelope.Request, resolved: Resolved, filters: Sequence[Filter]
) -> frozenset[str]:
    """The abilities that the request needs, as far as it makes a difference here.

    Raises :class:`GatewayError` (400) for a request that can't be read, where a filter asks.
    """
    required = any(each.require_abilities for each in filters)
    if not (required or _may_need(call, request, resolved)) or call.endpoint not in CONVERSATIONS:
        return frozenset()
    try:
        if len(request.body) < LARGE:
            return abilities_of(conversation_of(call, request))
        loop = asyncio.get_running_loop()  # beside it, so that other calls go on
        return abilities_of(await loop.run_in_executor(None, conversation_of, call, request))
    except GatewayError:
        if required:
            raise
        return frozenset()


def _may_need(call: Call, request: envelope.Request, resolved: Resolved) -> bool:
    """Whether the request may need an ability that one target is known to have and one to lack."""
    if not resolved.uneven or call.endpoint not in CONVERSATIONS or _plain(request):
        return False
    return any(mark in request.body for mark in _MARKS)


class _Message(Struct, forbid_unknown_fields=True):
    """A message that may be nothing but text."""

    role: Raw
    content: Raw


_messages = msgspec.json.Decoder(list[_Message])
_NEEDLESS: Final = frozenset((
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "temperature", "top_p", "top_k", "n", "stop", "stop_sequences", "seed", "user", "metadata",
    "presence_penalty", "frequency_penalty", "logit_bias", "provider", "prompt_cache_key",
))  # fmt: skip
"""Members of a body that ask for no ability."""


def _plain(request: envelope.Request) -> bool:
    """Whether the body is one of the commonest kind, texts and numbers: found out in a fraction of
    the time that it takes to search all of it."""
    fields = request.fields
    if not fields.keys() <= _NEEDLESS or "messages" not in fields:
        return False
    try:
        messages = _messages.decode(fields["messages"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return all(memoryview(each.content)[0] == _QUOTE for each in messages)


_QUOTE: Final = ord('"')


def _heed(
    said: Preferences, targets: Sequence[Target], equals: int, reasons: list[Reason | None]
) -> None:
    """Leave out whom the caller's demands leave out that are no filters."""
    for i, target in enumerate(targets):
        if reasons[i] is not None:
            continue
        by_itself = _left_to(target, said)
        beyond = bool(said.order) and _rank(target, said) < 0 and not by_itself
        if said.unknown and not by_itself:
            reasons[i] = Reason(said.unknown[0], said.filter.source)
        elif not said.fallbacks and (i >= equals or beyond):
            reasons[i] = Reason("allow_fallbacks", said.filter.source)


def _rank(target: Target, said: Preferences) -> int:
    """The place of a target in the caller's order; -1 = none."""
    for place, name in enumerate(said.order):
        if name in (target.provider, target.name):
            return place
    return -1


def _kept(
    resolved: Resolved,
    targets: Sequence[Target],
    reasons: Sequence[Reason | None],
    said: Sequence[Preferences],
) -> Resolved:
    equals = len(resolved.targets)
    first = [i for i in range(equals) if reasons[i] is None]
    strategy, route = resolved.strategy, resolved.route
    for each in said:
        if each.order or each.strategy:
            route = None  # the caller's order goes before the route's priorities
        if each.order:
            ranks = {i: _rank(targets[i], each) for i in first}
            first.sort(key=lambda i, of=ranks: (of[i] < 0, of[i]))  # type: ignore[misc]
            strategy = "ordered"
        elif each.strategy:
            strategy = each.strategy
            for i in first:
                targets[i].timed = True  # what it goes by is measured from now on
    kept = Resolved(
        tuple(targets[i] for i in first),
        tuple(targets[i] for i in range(equals, len(targets)) if reasons[i] is None),
        strategy,
        tuple(resolved.weights[i] for i in first) if resolved.weights else (),
        route=route,
        routes=resolved.routes,
    )
    kept.left_out = {
        target: told(reason)
        for target, reason in zip(targets, reasons, strict=True)
        if reason is not None
    } or None
    return kept


def told(reason: Reason) -> str:
    """A reason in words."""
    lacks = f": {', '.join(reason.lacks)}" if reason.lacks else ""
    return f"{reason.key}{lacks}" + (f" ({reason.source})" if reason.source else "")


_SHOWN: Final = 4


def _nobody(
    call: Call,
    request: envelope.Request,
    targets: Sequence[Target],
    reasons: Sequence[Reason | None],
) -> GatewayError:
    """The refusal that says which filter emptied the list, and who can change that."""
    groups: dict[str, list[str]] = {}
    known = [(target, reason) for target, reason in zip(targets, reasons, strict=True)
             if reason is not None and not reason.source.startswith(FOREIGN)]  # fmt: skip
    if not known:  # to callers of others, theirs is not there
        return call.plane.fleet.unknown(request.model)
    for target, reason in known:
        groups.setdefault(told(reason), []).append(target.name[:100])
    parts = []
    for why, out in groups.items():
        more = f" and {len(out) - _SHOWN} more" if len(out) > _SHOWN else ""
        parts.append(f"{why} leaves out {', '.join(out[:_SHOWN])}{more}")
    sources = {reason.source for _, reason in known if reason.source}
    configured = sorted(source for source in sources if source.startswith(_CONFIGURED))
    callers = len(sources) > len(configured)
    ruled = any(each.source in sources for each in call.filters)
    fix = "Ask for less there, or for another model."
    if not callers:
        whose = " or ".join(configured)
        fix = f"Ask for another model, or whoever runs the gateway to change {whose}."
    text = f"No target of {request.model[:100]!r} passes: {'; '.join(parts)}. {fix}"
    if any(reason.key in _STATED for _, reason in known):
        text += " What is not known of a target does not count for it."
    if ruled and not callers:
        return GatewayError(403, ErrorKind.FORBIDDEN, text)
    return GatewayError(400, ErrorKind.NO_TARGET, text)


_CONFIGURED: Final = ("policy ", "models.", "residency ", "the bounds of the key")
_STATED: Final = (
    "regions", "data_policy", "quantizations", "max_price", "require_abilities", ABILITIES,
)  # fmt: skip
