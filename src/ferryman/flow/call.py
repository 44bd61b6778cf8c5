"""What the request path carries along: the plane's state, and one call's."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import islice
from time import time_ns
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.config.feed import KeyFacts
from ferryman.config.snapshot import Affinity, Filter, Storing
from ferryman.flow.charges import believed, bond_of, charge_of, end_grant, end_room, kept, verdicts
from ferryman.flow.considered import plan_of
from ferryman.flow.guess import guess, guessed, let_end
from ferryman.flow.owing import write_down
from ferryman.flow.refusals import Refusals
from ferryman.http1.exchange import Exchange
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request as Conversation
from ferryman.ir.tally import Tally, tally
from ferryman.ir.usage import Usage, added
from ferryman.meter.cost import cost_of
from ferryman.meter.keytable import KeyTable
from ferryman.meter.limits import Amounts, Grant, Limit
from ferryman.meter.strikes import MOST_STRANGERS, Strikes
from ferryman.routing.affinity import Bond, Bonds
from ferryman.routing.health import Health, Rest, RetryBudget
from ferryman.store.journal import JournalError, JournalWriter
from ferryman.telemetry.metrics import Metrics
from ferryman.telemetry.record import (
    CLOSED,
    PRICED,
    Attempt,
    Closed,
    Estimate,
    Labels,
    Priced,
    Trace,
)
from ferryman.upstream.fleet import Book, Fleet, Target, book_of
from ferryman.wire.format import ClientSide
from ferryman.wire.formats import client_of

if TYPE_CHECKING:
    from ferryman.flow.allowance import Allowance
    from ferryman.flow.counters import Counters
    from ferryman.flow.issuers import Issuers
    from ferryman.flow.keeping import Keeper
    from ferryman.flow.limiting import Limiter
    from ferryman.flow.policies import Policies
    from ferryman.flow.queueing import Place, Queue
    from ferryman.flow.recording import Recording
    from ferryman.flow.replay import Replays
    from ferryman.flow.residency import Residency
    from ferryman.flow.uploads import Upload
    from ferryman.flow.witness import Contents, Witness
    from ferryman.guard.engine import Engine, Session
    from ferryman.upstream.reply import Reply
    from ferryman.wire.envelope import Request

_pack: Final = msgspec.msgpack.Encoder().encode
NOTHING: Final = Usage()
"""Usage of a call that no upstream worked on: not unknown, but none, and it cost nothing."""
COMPLAIN_EVERY: Final = 60.0
"""Seconds between two lines in the log about a journal that can't be written."""
PAID_AT_ONCE: Final = 1000
"""Records that are written together, of those that could not be written in time."""
MAX_CALLS: Final = 20_000
"""Calls at once, as long as no configuration says."""
_NO_SEEDS: Final[Mapping[str, int]] = {}
_LOW: Final = [f"{low:02x}" for low in range(256)]


class Plane:
    """What a data plane has at hand for every call. Replaced piece by piece on a new snapshot."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        keys: KeyTable | None,
        pepper: bytes,
        journal: JournalWriter,
        now: Callable[[], float],
        log: Callable[[str], None],
        replays: "Replays",
    ) -> None:
        self.fleet = fleet
        self.keys = keys
        self.pepper = pepper
        self.journal = journal
        self.now = now
        self.log = log
        self.facts: dict[str, KeyFacts] = {}
        self.issuers: Issuers | None = None
        """Whose virtual keys are, by id, as far as is known; and whose tokens are let in beside."""
        self.bound = False
        """Whether any of them is bound to something."""
        self.regions: frozenset[str] = frozenset()
        """Where it runs, from the widest to the narrowest: eu, eu-west, eu-west-3."""
        self.data_policy = ""
        self.policies: Policies = ()
        self.residency: Residency | None = None
        self.strikes = Strikes(MOST_STRANGERS)
        self.limits: Limiter | None = None
        self.counters: Counters | None = None
        """Counts them together with other data planes, where there are any."""
        self.metrics = Metrics()
        self.keeper: Keeper | None = None
        """Keeps answers for callers of the Responses API, if the configuration wants it."""
        self.replays = replays
        self.caching = False
        """Whether the cache is on, for some calls at least."""
        self.guards: Engine | None = None
        self.contents: Contents | None = None
        """Keeps what calls say, of some at least."""
        self.refusals = Refusals()
        """Callers without the right, on their way to the audit log."""
        self.owed: deque[bytes] = deque()
        """``closed`` records that could not be written. They come first when there is room again,
        and until then no call is opened: so there are no more of them than open calls."""
        self.refusing = False
        """True from the first record that could not be written until one can be again."""
        self.complained = 0.0
        """When the log was last told of that."""
        self.dropped = 0
        """Records that were served without, and are lost: too many were owed."""
        self.key_rests: dict[str, Rest] = {}
        """Of the providers' keys that are in trouble with all models, by ``Runtime.keys``."""
        self.retries = RetryBudget()
        self.queues: dict[str, Queue] = {}
        """Of providers that take only so many calls at once."""
        self.max_calls = MAX_CALLS
        self.refused = 0
        """Calls turned away since as many were being served."""
        self.bonds = Bonds()
        self.idle: asyncio.Event | None = None
        """Set once no call is being served any more; None: nobody waits for that."""
        self.rng = random.Random()  # noqa: S311 - spreads load, protects nothing
        self._boot = f"req_{time_ns() // 1_000_000:011x}{self.rng.getrandbits(40):010x}"
        self._count = 1 << 32  # so that every count has nine digits, and ids sort as they come
        self._stem = ""

    @property
    def ready(self) -> bool:
        """True once there is a key table and a configuration to serve from."""
        return self.keys is not None and self.fleet.configured

    def next_id(self) -> str:
        """A request id: unique, ordered by boot and then by count."""
        self._count += 1
        low = self._count & 255
        if not low or not self._stem:
            self._stem = self._boot + hex(self._count)[2:-2]
        return self._stem + _LOW[low]

    def sample(self) -> bool:
        """True for one call in eight, whose tokens calibrate an estimate."""
        return not self._count & 7

    def pay(self) -> None:
        """Write the records that are owed. Raises :class:`JournalError`."""
        most = 1  # each call tries, as long as the disk takes nothing: that must cost little
        while self.owed:
            written = self.journal.append_all(CLOSED, list(islice(self.owed, most)))
            for _ in range(written):
                self.owed.popleft()
            most = PAID_AT_ONCE
        self.written()

    def written(self) -> None:
        """A record could be written: say so if that is news."""
        if self.refusing:
            self.refusing = False
            self.log("the journal can be written again: calls are served and recorded")

    @property
    def serves_on(self) -> bool:
        """Whether calls are served that can't be recorded now."""
        return self.fleet.snapshot.server.on_journal_failure == "serve"

    def unwritten(self, trouble: JournalError) -> GatewayError:
        """A record could not be written: what to tell the caller, if it is to be refused."""
        now = self.now()
        if not self.refusing or now - self.complained > COMPLAIN_EVERY:
            self.refusing, self.complained = True, now
            then = "Calls are refused until then."
            if self.serves_on:
                then = (
                    "Calls are served all the same (on_journal_failure: serve): "
                    f"{len(self.owed)} records wait in memory, {self.dropped} are lost."
                )
            self.log(f"alert: {trouble} {then}")
        return GatewayError(
            503,
            ErrorKind.JOURNAL,
            "The gateway cannot write its journal (is the disk full?), and does not serve what it "
            "could not account for. Its log says more.",
            headers=((b"retry-after", b"1"),),
        )


class Call:
    """One call while it runs."""

    key = ""
    whose: KeyFacts | None = None
    models: tuple[str, ...] = ()
    """What is known of its caller, and what they may ask for; empty = everything."""
    agent = ""
    """The caller's user agent, shortened."""
    model = ""
    stream = False
    summary = False
    """True: the caller wants cost and attempts as a comment at the end of its stream."""
    target: Target | None = None
    slot = 0
    """Which of its provider's keys is used."""
    tried = 0
    """Those that this target was asked with, as bits."""
    explain = False
    """True: the caller wants to know why its call went where it went."""
    order: Sequence[Target] = ()
    """The targets that came into question, in the order to ask them;"""
    strategy = ""
    """how that was found,"""
    everyone: Sequence[Target] = ()
    measures: Sequence[float] = ()
    """and what the strategy went by, of each of these; empty where it goes by nothing."""
    equals: Sequence[Target] = ()
    """Those of them that are no fallbacks."""
    rests: dict[Target, tuple[int, str]] | None = None
    """Who rested when the call was planned: for how many microseconds more, and why."""
    full: Sequence[Target] = ()
    """Who had no place free then."""
    seeds: Mapping[str, int] = _NO_SEEDS
    """By kind of identity: a number that stands for whose call it is, where a route asks."""
    affinity: Affinity | None = None
    """Why it may have to go where calls that it belongs to have gone;"""
    shared = b""
    """what it shares with them,"""
    bond: Bond | None = None
    """and where that was."""
    left_out: dict[Target, str] | None = None
    """Who could not be asked, and why."""
    asked: Health | None = None
    """The health of the target that works on the call."""
    place: "Place | None" = None
    """The place that the call has where they are limited."""
    queued = 0.0
    """Seconds spent waiting for places,"""
    queued_before = 0.0
    """and those of them before the attempts that are recorded."""
    opened = False
    settled = False
    record: Closed | None = None
    """What it is settled with."""
    unrecorded: GatewayError | None = None
    """Why it must not go anywhere: its opening is not in the journal after all."""
    sent: "Reply | None" = None
    """The reply to what it has sent last."""
    started = False
    """True once the caller has the head of a streamed reply."""
    error_event: Callable[[GatewayError, str], bytes] | None = None
    """Then: makes an event of an error and the request's id, in the format of the stream."""
    answer = -1
    """Which of the attempts is the one that the caller gets to see."""
    unknown_cost = 0
    """As in the record, once settled."""
    waited = 0.0
    """Seconds spent waiting for upstreams; the rest is overhead."""
    first_token = -1.0
    too_long = ""
    """``error``: a request that does not fit is refused, also if another target could take it;
    ``compress``: messages are left out of its middle; else the next target that can take it is."""
    measured = 0
    """Bytes of a body that is text, for the calibration of its target's gauge; 0 = not this one."""
    strict = False
    """True: a target that would lose a part of the request is not asked."""
    conversation: Conversation | None = None
    """The request in the common language, once a target needed it."""
    upload: "Upload | None" = None
    """The form that the caller sends, where it is one."""
    task: object = None
    """The request in its task's common language, once a target needed it."""
    policy = ""
    """Name of the policy that matched."""
    use = ""
    """The model that it names in place of the caller's."""
    forced: tuple[str, ...] = ()
    """Parameters that it has set, as entries of a receipt."""
    filters: tuple[Filter, ...] = ()
    """What targets must pass, by residency and by that policy."""
    preferences: Raw | None = None
    """The object ``provider`` of the body, for targets that heed it themselves."""
    connect = 0.0
    """Seconds, like the next three; 0 = the configuration's."""
    first_byte = 0.0
    idle = 0.0
    total = 0.0
    on_content_filter = ""
    """The model that is asked when a content filter stops the call; empty = none."""
    original: "Request | None" = None
    """The request as the caller sent it, where another model may have to serve it yet."""
    retry_empty = False
    """Whether the next target is asked after an empty answer."""
    hedge = 0.0
    rescue = False
    """Both as in ``config/snapshot.py``."""
    watched = False
    """True: what a target says is followed in the common language, for one of these."""
    racers: "tuple[Reply, ...]" = ()
    """The replies that are waited for, while there may be several."""
    retried = False
    """True: the caller's SDK says that it has tried before."""
    cache_for = -1.0
    """Seconds that its policy wants its answer to be cached; 0 = none, -1 = it doesn't say."""
    cache = ""
    """What the cache did for it (``Closed.cache``);"""
    saved: int | None = None
    """and what it would have cost."""
    recording: "Recording | None" = None
    """What keeps its answer, where it is to be kept."""
    witness: "Witness | None" = None
    """What remembers it, where it may be kept,"""
    storing: Storing | None = None
    """and whether its policy wants that; None = it doesn't say."""
    guards: tuple[str, ...] = ()
    session: "Session | None" = None
    guarded = False
    """True: what it asks was changed by its guards, or what it gets will be checked."""
    limited = False
    hasty = False
    """True: the caller itself has set a total time; or one of the others."""
    grant: Grant | None = None
    """What it has taken of its limits,"""
    more: Sequence[Grant] = ()
    """and of budgets for further attempts."""
    doubt: Amounts | None = None
    """The most that attempts which failed may have cost beside what is known, and how many."""
    images: Sequence[int] = ()
    """Characters of the images that are in its request, as base64;"""
    linked = 0
    """how many others it has the URLs of,"""
    outside = False
    """and whether it points to more, such as files and conversations that are kept elsewhere;"""
    looked = False
    """once somebody has looked."""
    limits: Sequence[Mapping[str, object]] = ()
    """How its limits stood once it had taken of them, where it explains itself."""
    narrow: "Sequence[tuple[Limit, Sequence[str]]]" = ()
    """Limits that are taken at each attempt, with the values that they are counted by."""
    room: Grant | None = None
    """What the attempt has taken of its provider's account and of such limits,"""
    room_since = 0
    """and how many attempts there were before."""
    rooms: Sequence[Grant] = ()
    """Of all its attempts, those that budgets by provider bear;"""
    expected: Sequence[tuple[str, int, int]] = ()
    """and what they would of the first one: counters, picodollars, tokens."""
    allowance: "Allowance | None" = None
    """What its stream may use, where it is to be cut at the end of a budget."""
    limit_lines = b""
    """Reply header lines that say what is left of them."""
    bounded = False
    """True: only targets may be asked that can't take more than a budget knows of;"""
    priced = False
    """nor cost more."""
    labels: Labels | None = None
    """Whom and what it is for, if it says so."""
    trace: Trace | None = None
    """Its caller's trace;"""
    baggage = b""
    """and what that carries along."""
    guess: Estimate | None = None
    """What the attempt that the caller gets to see has probably used beside what is known."""
    receipt: Receipt | None = None
    """What the translation for the last target asked has lost; None = not translated."""

    def __init__(self, plane: Plane, exchange: Exchange, endpoint: str) -> None:
        self.plane = plane
        self.exchange = exchange
        self.endpoint = endpoint
        self.id = plane.next_id()
        self.began = exchange.began
        self.at_us = time_ns() // 1000
        self.attempts: list[Attempt] = []

    def forget_receipt(self) -> None:
        """Another target is asked. (In a method: compiled code takes what it has set to None to
        stay so.)"""
        self.receipt = None

    def leave(self) -> None:
        """The caller is gone while several targets are asked."""
        for reply in self.racers:
            reply.leave()

    def parting(self, reply: "Reply") -> Callable[[], None]:
        """What to do with ``reply`` when the caller leaves."""
        seconds = self.plane.fleet.cancelled
        return partial(let_end, reply, seconds) if seconds else reply.leave

    @property
    def client(self) -> ClientSide:
        """What errors look like to the caller; most calls never ask."""
        return client_of(self.endpoint)

    def us(self, moment: float) -> int:
        """Microseconds from the call's beginning to ``moment``; -1 for "never"."""
        return int((moment - self.began) * 1e6) if moment >= 0 else -1

    def to_first_token(self) -> float:
        """Seconds until then, of a stream; less than 0 = never."""
        return self.first_token - self.began if self.stream and self.first_token >= 0 else -1.0

    def deadline(self) -> float:
        """When (loop seconds) the call's total time is used up."""
        return self.began + (self.total or self.plane.fleet.total)

    def overdue(self) -> bool:
        """True when no further target is worth asking."""
        return self.plane.now() >= self.deadline()

    @property
    def altered(self) -> tuple[str, ...]:
        """What policies and the translation have changed."""
        return self.forced if self.receipt is None else self.forced + self.receipt.altered


def settle(
    call: Call, status: int, error: ErrorKind | None, usage: Usage | None, whole: bool = True
) -> int | None:
    """Write the call's ``closed`` record, once. Returns its cost in picodollars, None = unknown.

    ``usage`` is that of the attempt which the caller gets to see; not ``whole``: it may have used
    more. Give :data:`NOTHING` for a call that no upstream worked on. Raises :class:`GatewayError`
    (503) when the record can't be written: the caller must not get the end of its answer then, and
    the record of an opened call is kept to be written later.
    """
    call.settled = True
    plane, target = call.plane, call.target
    now = plane.now()
    # (Python 3.11 makes each look at an enum's member a call, which most calls needn't pay for.)
    if error is not None and error is ErrorKind.GUARDRAIL:
        plane.refusals.stopped(error, call.exchange.peer, call.key, call.agent, call.model)
    usage, counts, whole = believed(call, usage, target, whole)
    cost, price = (0 if usage is NOTHING else None), ""
    if cost is None and counts is not None and target is not None and target.prices:
        cost, price = _billed(call, target, call.slot, counts)
    if call.receipt is not None and call.attempts:
        call.attempts[call.answer] = replace(
            call.attempts[call.answer], dropped=call.receipt.dropped, altered=call.altered
        )
    if call.affinity is not None and error is None and target is not None:
        plane.bonds.keep(call.shared, bond_of(call, target, usage, now + call.affinity.seconds))
    shown, paid, seconds = usage, cost, now - call.began
    overhead = max(seconds - call.waited, 0.0)
    if call.measured and target is not None and counts is not None and counts.total_input:
        plane.metrics.estimated(target.gauge.observe(call.measured, counts.total_input))
    if len(call.attempts) > 1:
        usage, cost = _with_others(call, usage, cost, price, whole)
        price, counts = "", tally(usage)
    elif cost is None or not whole:
        call.unknown_cost = 1
        cost = cost or None
    about = guessed(call) if call.unknown_cost else None
    if call.room is not None:
        end_room(call, shown, paid, whole, sent=len(call.attempts) > call.room_since)
    if call.grant is not None:
        end_grant(call, counts, cost, whole, now)
    provider, model = (target.provider, target.model) if target is not None else ("", "")
    closed = Closed(
        call.id, call.at_us, int(seconds * 1e6), call.key, call.endpoint, call.model,
        provider, model, call.stream, status, error or "", usage, cost, tuple(call.attempts),
        call.us(call.first_token) if call.stream else -1, int(overhead * 1e6), call.policy,
        plan_of(call), call.unknown_cost, call.cache, call.saved, charge_of(call), price,
        call.labels, about, call.trace, call.agent, call.strategy, verdicts(call),
        kept(call, error, status),
    )  # fmt: skip
    refusal, status = write_down(call, closed)
    if target is not None and not target.named:
        if error is None:
            target.named = True
        else:
            model = "other"
    plane.metrics.closed(
        (call.endpoint, provider, model, status), seconds, overhead, counts, cost,
        call.unknown_cost > 0, max(len(call.attempts) - (error is None), 0), call.to_first_token(),
        error or "",
    )  # fmt: skip
    if refusal is not None:
        raise refusal
    if call.recording is not None:
        name = target.name if target is not None else ""
        call.recording.settled(status == 200 and error is None, name, cost)
    return cost


def settle_anyhow(call: Call) -> None:
    """Settle a call that ended in a mistake of ours: what it has taken must not stay taken."""
    status, usage = 499 if call.exchange.gone else 500, None if call.opened else NOTHING
    with contextlib.suppress(GatewayError):
        settle(call, status, ErrorKind.INTERNAL, usage)


def _billed(call: Call, target: Target, slot: int, usage: Tally) -> tuple[int | None, str]:
    """What an attempt has cost with the provider's key number ``slot``, and the id of the price
    that says so, which the journal has."""
    book = book_of(target, slot)
    if not book.journaled:
        _enter(call.plane, target, book)
    cost = cost_of(usage, book.prices, call.at_us // 1_000_000, book.fixed)
    return cost, "" if cost is None else book.id


def _enter(plane: Plane, target: Target, book: Book) -> None:
    """Write a price into the journal, before the first record that names it."""
    priced = Priced(book.id, target.provider, target.model, book.prices)
    try:
        plane.journal.append(PRICED, _pack(priced))
    except JournalError:
        return  # the call's own record will tell of it; the next call tries again
    book.journaled = True


def _with_others(
    call: Call, usage: Usage | None, cost: int | None, price: str, whole: bool
) -> tuple[Usage | None, int | None]:
    """Usage and cost of all attempts, given those of the one that the caller gets to see.

    What is known is added up, and those of which not all is known are counted.
    """
    attempts = call.attempts
    used = None if usage is NOTHING else usage
    attempts[call.answer] = replace(
        attempts[call.answer], usage=used, cost=cost, whole=whole and cost is not None, price=price
    )
    told = [each.usage for each in attempts if each.usage is not None]
    total = sum([each.cost or 0 for each in attempts])
    unknown = call.unknown_cost = len([each for each in attempts if not each.whole])
    if not told:
        return (None, None) if unknown else (NOTHING, total)
    return reduce(added, told), (total or None if unknown else total)


def told(
    call: Call, attempt: Attempt, target: Target, slot: int, reply: "Reply", whole: bool
) -> Attempt:
    """``attempt``, made with the provider's key number ``slot``, with what it used that nobody gets
    to see; not ``whole``: it may have been more.

    Without a word of usage, a ``whole`` one has used nothing.
    """
    usage = reply.used
    about = None if whole else guess(call, target, slot, reply, usage)
    cost = 0 if usage is None and whole else None
    price = ""
    usage, counts, whole = believed(call, usage, target, whole)
    if counts is not None and target.prices:
        cost, price = _billed(call, target, slot, counts)
    return replace(
        attempt, usage=usage, cost=cost, whole=whole and cost is not None, price=price,
        estimate=about,
    )  # fmt: skip


def in_vain(call: Call) -> tuple[Usage | None, bool]:
    """What the last attempt used if it failed, as far as it told, and whether that is all."""
    if not call.attempts:
        return NOTHING, True
    last = call.attempts[-1]
    return (NOTHING if last.usage is None and last.whole else last.usage), last.whole
