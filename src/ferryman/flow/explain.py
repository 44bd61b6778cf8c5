"""What would become of a call, without asking anyone: policies, targets, their order, their fit."""

import contextlib
from collections.abc import Callable
from typing import Any

from ferryman.catalog.tokens import estimate
from ferryman.config.snapshot import Snapshot
from ferryman.flow.asking import conversation_of
from ferryman.flow.bonds import explained
from ferryman.flow.call import Call
from ferryman.flow.choice import USUAL_OUTPUT, choice_of, expected_price
from ferryman.flow.considered import candidates
from ferryman.flow.counting import counted_here
from ferryman.flow.deliver import usd
from ferryman.flow.filtering import narrow
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.key_bounds import confine
from ferryman.flow.limiting import falls_under
from ferryman.flow.live import live, shown
from ferryman.flow.policies import DEADLINES, Facts, steer, tags_of
from ferryman.flow.reading import read_request
from ferryman.flow.spine import fitted, is_narrower, leads_to, turns_of
from ferryman.flow.turns import doubts, is_full
from ferryman.flow.uploads import UPLOADS
from ferryman.http1.exchange import Headers
from ferryman.http1.spool import Spool
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.routing.reasons import unmet
from ferryman.telemetry.record import candidate_row
from ferryman.upstream.fleet import Target
from ferryman.wire import envelope
from ferryman.wire.paths import CONVERSATIONS

Said = dict[str, Any]


class Pretended:
    """A request that nobody sent: an :class:`~ferryman.http1.exchange.Exchange` without a reply."""

    def __init__(self, target: bytes, headers: Headers, body: bytes, began: float) -> None:
        self.method = b"POST"
        self.target = target
        self.headers = headers
        self.body = body
        self.incoming: Spool | None = None
        self.peer = "nobody"
        self.began = began
        self.shared: dict[str, Any] = {}
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    def respond(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        raise AssertionError("nobody is to be answered")

    def start(self, status: int, headers: Headers | bytes) -> None:
        raise AssertionError("nobody is to be answered")

    def write(self, data: bytes) -> bool:
        raise AssertionError("nobody is to be answered")

    def finish(self, data: bytes = b"") -> None:
        raise AssertionError("nobody is to be answered")

    def instead(self, status: int, headers: Headers | bytes, body: bytes) -> None:
        """Nobody has been answered."""

    def abort(self) -> None:
        raise AssertionError("nobody is to be answered")


async def explain(call: Call, model: str = "", stream: bool = False) -> Said:
    """The plan of ``call``, whose exchange is a :class:`Pretended`; ``model`` as in ``serve``.

    What would be refused is told under ``refused``. Raises :class:`GatewayError` (400) for what
    can't be explained.
    """
    said: Said = {"endpoint": call.endpoint, "key": call.key, "model": model}
    if call.endpoint in UPLOADS:
        text = "Forms with files can't be explained; policies and targets are as for other calls."
        raise GatewayError(400, ErrorKind.INVALID_REQUEST, text)
    try:
        await _plan(call, said, model, stream)
    except GatewayError as error:
        said["refused"] = _error(error)
    said["policy"] = call.policy or None
    said["left_out"] = [candidate_row(each) for each in candidates(call) if each.left_out]
    return said


async def _plan(call: Call, said: Said, model: str, stream: bool) -> None:
    plane, exchange = call.plane, call.exchange
    facts = HeaderFacts(exchange.headers, exchange.target, plane.pepper)
    if plane.residency is not None:
        call.filters = plane.residency.required(call.key, call.whose)
    if plane.bound:
        confine(call, tags_of(facts.tags))
    request = await read_request(call, facts, model, stream)
    said["model"], said["stream"] = request.model, request.stream
    call.model, call.strict, call.too_long = request.model, facts.strict, facts.too_long
    said["policies"] = _policies(plane.fleet.snapshot, Facts(call, request, facts))
    if plane.policies or facts.steers:
        request = await steer(call, request, facts)
    said["served_by"] = call.use or request.model
    resolved = leads_to(call, request)
    if is_narrower(call, request, resolved, facts):
        request, resolved = await narrow(call, request, resolved, facts)
    turns = turns_of(call, request, resolved, facts)
    said["strategy"] = resolved.strategy
    said["limits"] = await falls_under(call, request, turns, facts)
    usual = plane.fleet.snapshot.timeouts
    said["timeouts"] = {name: getattr(call, name) or getattr(usual, name) for name in DEADLINES}
    said["retries"] = {"calls": plane.retries.calls, "extra": plane.retries.extra}
    if call.forced:
        said["altered"] = call.forced
    if counted_here(call, turns.order[0]):
        said["counted_here"] = True  # no target is asked
    choice = choice_of(resolved)
    shares = {choice.everyone[i]: f.share for i, f in doubts(call, choice, plane.now()).items()}
    weights = dict(zip(resolved.targets, resolved.weights, strict=False))
    said["targets"] = rows = []
    for place, target in enumerate(turns.order, 1):
        role = "target" if target in resolved.targets else "fallback"
        row: Said = {"place": place, "target": target.name, "role": role}
        row |= _fares(call, target, shares.get(target, 1.0), request)
        row["weight"] = weights.get(target, 1.0)
        rows.append(row | await _fits(call, target, request))
    if call.affinity is not None:
        call.target = turns.order[0]
        said["affinity"] = explained(call, call.affinity)


def _policies(snapshot: Snapshot, facts: Facts) -> list[Said]:
    out: list[Said] = []
    matched = ""
    for rule in snapshot.rules:
        why = ""
        if not matched:
            try:
                why = unmet(rule.when, facts.ask)
            except GatewayError as error:
                why = error.message
        holds = not matched and not why
        out.append({"name": rule.name, "matches": holds, "because": why})
        if matched:
            out[-1]["because"] = f"not looked at: {matched} matches before it"
        elif holds:
            matched = rule.name
    return out


def _fares(call: Call, target: Target, share: float, request: envelope.Request) -> Said:
    """The numbers that the strategies go by."""
    standing = shown(live(call.plane, target))
    if share < standing["share"]:  # an outlier beside the others of this model
        standing |= {"state": "slow", "share": share}
    if is_full(call.plane, target):
        standing["full"] = True
    price = expected_price(target, len(request.body), request.max_output or USUAL_OUTPUT)
    return {
        **standing,
        "expected_cost_usd": usd(int(price)) if target.prices else None,
        "context": target.context or None,
        "max_output": target.max_output or None,
    }


async def _fits(call: Call, target: Target, request: envelope.Request) -> Said:
    """Whether it could be asked, and what it would lose."""
    runtime = target.runtime
    said: Said = {"format": runtime.provider.format, "input_tokens": None}
    if call.endpoint in CONVERSATIONS:
        with contextlib.suppress(GatewayError):  # its provider will say what is wrong with it
            said["input_tokens"] = estimate(conversation_of(call, request), target.gauge)
    try:
        asking = await fitted(call, request, target)
    except GatewayError as error:
        return {**said, "fits": False, "unfit": _error(error)}
    said |= {"fits": True, "translated": asking.translation is not None}
    if call.receipt is not None:
        said |= {"dropped": call.receipt.dropped, "altered": call.receipt.altered}
    return said


def _error(error: GatewayError) -> Said:
    return {"status": error.status, "code": error.kind, "message": error.message}
