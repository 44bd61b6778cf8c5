"""Answers given before: for a request that is the same, or has the same Idempotency-Key.

A call that may be answered so looks for an answer first; then for another call that is fetching it,
and waits for that; else it leads, and its answer is recorded for those who come after.
"""

import asyncio
import time
from typing import Final

from msgspec import Raw

from ferryman.cache.answer import Answer
from ferryman.cache.key import LARGEST, digest, key_of, normalised
from ferryman.cache.shelf import AwayError, Busy, Flight, Landing, Outcome, Shelf
from ferryman.cache.wish import NONE, Wish, heed
from ferryman.catalog.cache_headers import CACHE_HEADERS
from ferryman.config.feed import NO_FACTS
from ferryman.config.snapshot import Caching, Idempotency
from ferryman.flow.call import NOTHING, Call, settle
from ferryman.flow.deliver import summary, usd
from ferryman.flow.headers import BETAS, HeaderFacts
from ferryman.flow.limiting import knock
from ferryman.flow.recording import Recording, Sink, form_mark
from ferryman.flow.uploads import received
from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.upstream.fleet import Resolved
from ferryman.wire import envelope

CACHED: Final = frozenset((
    "chat.completions", "completions", "messages", "responses", "generate_content", "embeddings",
    "embed", "embed_content", "batch_embed_contents", "rerank", "moderations",
))  # fmt: skip
"""Endpoints of whose answers the cache keeps: those that are text, vectors and scores."""
_STATEFUL: Final = {"responses": ("conversation", "background"), "chat.completions": ("store",)}
"""Members that ask a provider for more than an answer: to keep it, or to go on."""
LONGEST_KEY: Final = 255
"""Characters of an Idempotency-Key."""
HIT, MISS, BYPASS, COALESCED, REPLAYED = "hit", "miss", "bypass", "coalesced", "replayed"
TRIES: Final = 2
"""Others that a call waits for, one after the other, before it asks for itself."""
LOOKS: Final = (0.01, 0.25)
"""Seconds between two looks for an answer that another data plane fetches: at first, at last."""
SLACK: Final = 60.0
"""Seconds that a clock may be put right by: an answer from later than that is not believed."""


class Replays:
    """What a data plane has kept of its answers."""

    def __init__(self) -> None:
        self.cache = Shelf()
        self.once = Shelf()
        """Answers by Idempotency-Key."""
        self.caching = Caching()
        self.idempotency = Idempotency()
        self.counts: dict[str, int] = {}
        """Calls by what the cache did for them;"""
        self.saved = 0
        """and picodollars that answers given again had cost first."""

    async def state(self) -> dict[str, object]:
        """What is kept, and what came of it since the start."""
        once = self.idempotency
        return {
            "cache": await _kept(self.cache, self.caching.store, self.caching.size),
            "idempotency": await _kept(self.once, once.store, once.size),
            "calls": dict(sorted(self.counts.items())),
            "saved_usd": usd(self.saved),
        }

    def page(self) -> bytes:
        """Its lines for the metrics."""
        lines = [
            "# HELP ferryman_cache_calls_total Calls by what the cache of answers did for them.",
            "# TYPE ferryman_cache_calls_total counter",
            *(f'ferryman_cache_calls_total{{cache="{how}"}} {number}'
              for how, number in sorted(self.counts.items())),
            "# HELP ferryman_cache_bytes Memory that kept answers take.",
            "# TYPE ferryman_cache_bytes gauge",
            f'ferryman_cache_bytes{{of="cache"}} {self.cache.size}',
            f'ferryman_cache_bytes{{of="idempotency"}} {self.once.size}',
        ]  # fmt: skip
        return ("\n".join(lines) + "\n").encode()


async def _kept(shelf: Shelf, store: str, most: int) -> dict[str, object]:
    answers: int | None = len(shelf)
    size: int | None = shelf.size
    if shelf.backend is not None:
        try:
            answers, size = await shelf.backend.sizes()
        except AwayError:
            answers = size = None
    return {"store": store, "answers": answers, "bytes": size,
            "most": None if store == "valkey" else most}  # fmt: skip


async def replayed(
    call: Call, request: envelope.Request, resolved: Resolved, facts: HeaderFacts
) -> bool:
    """Answer the call without asking a provider, if that can be; else see to it that what it gets
    is kept where it should be. True = it is answered.

    Raises :class:`GatewayError`: 400 for headers that can't be read, 409 and 422 for an
    Idempotency-Key that stands for another answer or request, 504 when who it waited for is late.
    """
    replays = call.plane.replays
    wish = _wish(facts.cache) if call.plane.caching and call.endpoint in CACHED else None
    once = facts.once if replays.idempotency.keep else b""
    if wish is None and not once:
        return False
    recording = Recording(call.exchange, replays.caching.largest)
    call.exchange = call.recording = recording
    body = recording.body
    mark = await _mark(call, request, body)
    if once and await _once(call, request, facts, recording, mark):
        return True
    return wish is not None and await _cached(call, request, resolved, facts, wish, mark)


async def _once(
    call: Call, request: envelope.Request, facts: HeaderFacts, recording: Recording, mark: bytes
) -> bool:
    """Answer what was answered before under the same Idempotency-Key."""
    once = facts.once
    if len(once) > LONGEST_KEY:
        text = f"'idempotency-key' must have at most {LONGEST_KEY} characters."
        raise GatewayError(400, ErrorKind.INVALID_REQUEST, text)
    replays = call.plane.replays
    shelf, key = replays.once, digest(call.key.encode(), once)
    found, _ = await _claim(call, shelf, key, mark, tries=-1)
    upload = call.upload
    if isinstance(found, Answer):
        if found.mark != (form_mark(mark, await received(call, upload)) if upload else mark):
            raise _another()
        if not found.whole:
            text = "The call with this Idempotency-Key was answered, but the answer was too large "
            text += "to be kept for another time. Use a new key to ask again."
            raise GatewayError(409, ErrorKind.IDEMPOTENCY, text)
        await knock(call, request, facts, found.target)
        recording.label = b"idempotent-replayed: true\r\n"
        _replay(call, found, REPLAYED)
        return True
    if isinstance(found, Flight):
        seconds = replays.idempotency.keep
        form = upload.form if upload is not None else None
        recording.add(Sink(shelf, key, seconds, found, mark, tools=True, once=True, form=form))
    return _left(call)


async def _cached(
    call: Call,
    request: envelope.Request,
    resolved: Resolved,
    facts: HeaderFacts,
    wish: Wish,
    mark: bytes,
) -> bool:
    """Answer what was answered before to the same request."""
    recording = call.recording
    assert recording is not None
    replays = call.plane.replays
    settings = replays.caching
    seconds = settings.ttl if call.cache_for < 0 else call.cache_for
    on = call.cache_for > 0 or (call.cache_for < 0 and (wish.asks or not settings.asked))
    if not (on and seconds and wish.keeps) or _does_more(request, call.endpoint):
        _say(call, recording, BYPASS)
        return False
    if wish.ttl >= 0:
        seconds = min(seconds, wish.ttl)
    shelf, key = replays.cache, _key(call, request, resolved, wish, mark)
    since = shelf.cleared
    found: Answer | Flight | None = None
    how = MISS
    if wish.reads:
        tries = TRIES if settings.coalesce else 0
        found, how = await _claim(call, shelf, key, b"", tries, wish.max_age)
    if isinstance(found, Answer):
        await knock(call, request, facts, found.target)
        recording.label = b"x-ferryman-cache: %b\r\nage: %d\r\n" % (
            how.encode(), max(time.time() - found.at, 0),
        )  # fmt: skip
        _replay(call, found, how)
        return True
    tools = settings.tool_calls
    recording.add(Sink(shelf, key, seconds, found, b"", tools=tools, once=False, since=since))
    _say(call, recording, MISS)
    return _left(call)


async def _claim(
    call: Call, shelf: Shelf, key: bytes, mark: bytes, tries: int, max_age: float | None = None
) -> tuple[Answer | Flight | None, str]:
    """The answer under ``key`` and how it came about; or the flight that the call leads from now
    on; or None: it goes alone, or its caller has left.

    ``tries``: how many others to wait for, -1 = as many as there are. ``max_age``: seconds, -1 = as
    old as may be kept, None = the clock is not asked.
    """
    while True:
        now = time.time()
        answer = shelf.get(key, now)
        if answer is not None and young(answer, max_age, now):
            return answer, HIT
        flight = shelf.flights.get(key)
        if flight is None:
            flight = shelf.begin(key, mark)
            found, how = (
                (None, HIT) if answer else await _looked_up(call, shelf, key, flight, tries)
            )
            if isinstance(found, Answer) and young(found, max_age, time.time()):
                shelf.land(key, flight, found)
                return found, how
            if isinstance(found, Landing):
                shelf.land(key, flight, found)
                return None, MISS
            return flight, MISS
        if flight.mark != mark:
            raise _another()
        if not tries:
            return None, MISS
        tries -= 1
        outcome = await _wait(call, flight)
        if isinstance(outcome, Answer):
            return outcome, COALESCED
        if outcome is not Landing.FAILED:
            return None, MISS


async def _looked_up(
    call: Call, shelf: Shelf, key: bytes, flight: Flight, tries: int
) -> tuple[Answer | Landing | None, str]:
    """What lies behind memory, once no other data plane is fetching it, and how it came about.

    A :class:`Landing`: the call goes alone, or its caller has left. None: it is to lead. The flight
    has landed where this raises :class:`GatewayError` (422, 503, 504).
    """
    found: Answer | Busy | Landing | None = None
    pause, how = LOOKS[0], HIT
    began = call.plane.now()
    try:
        while isinstance(found := await shelf.load(key, flight.mark, time.time()), Busy):
            if not found.same:
                raise _another()
            if not tries:
                return Landing.APART, how
            if call.exchange.gone:
                return Landing.FAILED, how
            if call.overdue():
                raise _late()
            how = COALESCED
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOKS[1])
    except AwayError:
        if shelf.strict:
            shelf.land(key, flight, Landing.FAILED)
            raise _unknown() from None
        found = None
    except BaseException:
        shelf.land(key, flight, Landing.FAILED)
        raise
    call.waited += call.plane.now() - began
    return found, how


def young(answer: Answer, max_age: float | None, now: float) -> bool:
    """Whether ``answer`` is at most ``max_age`` seconds old at the Unix time ``now``.

    -1 = it may have any age, but must not come from a time that is yet to come: then the clock was
    wrong, and nobody knows how old it is. None = nor is the clock asked.
    """
    if max_age is None:
        return True
    age = now - answer.at
    return age >= -SLACK and (max_age < 0 or age < max_age)


async def _wait(call: Call, flight: Flight) -> Outcome:
    """What became of another call, which this one waits for."""
    plane, exchange = call.plane, call.exchange
    began = plane.now()
    future = flight.join()
    timer = asyncio.get_running_loop().call_later(
        max(call.deadline() - began, 0), flight.leave, future
    )
    exchange.on_gone = lambda: flight.leave(future)
    outcome = await future
    timer.cancel()
    exchange.on_gone = None
    call.waited += plane.now() - began
    if outcome is Landing.LEFT and not exchange.gone:
        raise _late()
    return outcome


def _left(call: Call) -> bool:
    """Whether the caller has left while the call waited; then it is settled."""
    if not call.exchange.gone:
        return False
    settle(call, 499, ErrorKind.CANCELLED, NOTHING)
    return True


def _replay(call: Call, answer: Answer, how: str) -> None:
    """Send a kept answer, settled before its last byte like any other."""
    call.cache, call.saved = how, answer.cost
    replays = call.plane.replays
    replays.counts[how] = replays.counts.get(how, 0) + 1
    replays.saved += answer.cost or 0
    try:
        call.target = call.plane.fleet.resolve(answer.target).targets[0]
    except (GatewayError, IndexError):
        call.target = None  # its provider is not active any more
    settle(call, 200, None, NOTHING)
    body = answer.body
    if call.summary:
        body = summary(call, NOTHING, 0) + body
    head = b"%bx-ferryman-request-id: %b\r\nx-ferryman-cost-usd: 0\r\n" % (
        answer.head, call.id.encode(),
    )  # fmt: skip
    head += call.limit_lines
    if call.policy:
        head += b"x-ferryman-policy: %b\r\n" % call.policy.encode()
    if answer.stream:
        call.exchange.start(200, head)
        call.exchange.finish(body)
    else:
        call.exchange.respond(200, head, answer.body)


def _say(call: Call, recording: Recording, how: str) -> None:
    call.cache = how
    counts = call.plane.replays.counts
    counts[how] = counts.get(how, 0) + 1
    recording.label = b"x-ferryman-cache: %b\r\n" % how.encode()


async def _mark(call: Call, request: envelope.Request, body: bytes) -> bytes:
    """A digest of what the caller asks for; of a form, as far as it is known at once."""
    if call.upload is not None:
        return digest(b"form", call.endpoint.encode(), request.model.encode())
    if len(body) <= LARGEST:
        body = normalised(call.endpoint, body)
    parts = (call.endpoint.encode(), request.model.encode(), b"%d" % request.stream, body)
    if len(body) <= LARGEST:
        return digest(*parts)
    return await asyncio.get_running_loop().run_in_executor(None, digest, *parts)


def _key(
    call: Call, request: envelope.Request, resolved: Resolved, wish: Wish, mark: bytes
) -> bytes:
    """The key of a cached answer: whose it is, and all that it depends on."""
    # Whoever is elsewhere now, though it has kept its name, is somebody else.
    targets = sorted([
        f"{target.name} {target.runtime.provider.base_url}"
        for target in (*resolved.targets, *resolved.fallbacks)
    ])  # fmt: skip
    headers = call.exchange.headers
    betas = [b"%b=%b" % (name, value) for name, value in headers if name in BETAS]
    return key_of(
        _owner(call),
        request.model.encode(),
        wish.namespace,
        mark,
        "\n".join((*targets, *call.forced, call.too_long, str(call.strict))).encode(),
        b"\n".join(betas),
    )


def _owner(call: Call) -> bytes:
    """Whose the answer is: who has the same owner gets it again."""
    scope = call.plane.replays.caching.scope
    # What the Responses API answers may be gone on from, by its own caller only.
    if scope == "key" or call.endpoint == "responses":
        return call.key.encode()
    if scope == "all":
        return b""
    whose = call.whose or NO_FACTS
    team = whose.team if scope == "team" else ""
    if not (team or (scope == "organisation" and whose.organisation)):
        return call.key.encode()
    return "\n".join((scope, whose.organisation, team)).encode()  # neither has a line's end


def _does_more(request: envelope.Request, endpoint: str) -> bool:
    for name in _STATEFUL.get(endpoint, ()):
        if b'"%b"' % name.encode() in request.body:
            said = request.fields.get(name, Raw(b"null"))
            if bytes(said) not in (b"null", b"false"):
                return True
    return False


def _wish(headers: Headers) -> Wish:
    wish = NONE
    for name, value in headers:
        try:
            wish = heed(wish, CACHE_HEADERS[name], value)
        except ValueError as wrong:
            text = f"'{name.decode()}' {wrong}."
            raise GatewayError(400, ErrorKind.INVALID_REQUEST, text) from None
    return wish


def _late() -> GatewayError:
    text = "The call that this one waited for, since it asks the same, has not ended in time."
    return GatewayError(504, ErrorKind.UPSTREAM_TIMEOUT, text)


def _unknown() -> GatewayError:
    text = (
        "Where the answers of calls with an Idempotency-Key are kept (server.state) can't be asked "
    )
    text += "now, so that this call might be made twice. Retry in a moment."
    return GatewayError(503, ErrorKind.NOT_READY, text, headers=((b"retry-after", b"1"),))


def _another() -> GatewayError:
    return GatewayError(
        422,
        ErrorKind.IDEMPOTENCY,
        "This Idempotency-Key stands for another request. Use a new key for each request, and the "
        "same one only to repeat it.",
    )
