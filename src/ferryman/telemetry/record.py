"""The two journal records of a call: ``Opened`` before it goes upstream, ``Closed`` after."""

from typing import Final

from msgspec import Struct

from ferryman.ir.price import Price
from ferryman.ir.usage import Usage

OPENED: Final = 1
"""Journal frame kind of an :class:`Opened`."""
CLOSED: Final = 2
"""Journal frame kind of a :class:`Closed`."""
PRICED: Final = 3
"""Journal frame kind of a :class:`Priced`."""


FEEDBACK: Final = 4
"""Journal frame kind of a :class:`Feedback`."""
REFUSED: Final = 5
"""Journal frame kind of a :class:`Refused`."""


class Refused(Struct, frozen=True, array_like=True):
    """Callers that were refused for want of a right, or by a limit, or stopped by guards, since
    their last."""

    at_us: int
    """Unix microseconds of the first."""
    count: int
    address: str
    """Empty: many; then only the reason is the same."""
    reason: str
    """As ``key revoked``, or an error kind."""
    key: str = ""
    """Id of the virtual key, where it is known."""
    client: str = ""
    """Of the first, as the next."""
    model: str = ""


LEAKED: Final = 6
"""Journal frame kind of a :class:`Leaked`."""
RAISED: Final = 7
"""Journal frame kind of an :class:`Opened` that takes the place of an earlier one of the call."""


class Leaked(Struct, frozen=True, array_like=True):
    """Somebody who has a whole virtual key says that it was found where it must not be."""

    at_us: int
    """Unix microseconds."""
    key: str
    """Id."""
    where: str
    """For people."""
    address: str
    """Of whoever says so, like the next."""
    client: str


class Labels(Struct, frozen=True, array_like=True, kw_only=True):
    """What reports sort a call by, as far as its caller says; no word of a prompt."""

    end_user: str = ""
    """Whom the caller serves: ``user``, ``safety_identifier`` or ``metadata.user_id``."""
    run: str = ""
    """A chain of calls that belong together: ``x-ferryman-run-id``."""
    task: str = ""
    """``metadata.task``."""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    organisation: str = ""
    """Of the virtual key, like the next two."""
    team: str = ""
    user: str = ""
    parent: str = ""
    """Request id of the call that caused this one: ``x-ferryman-parent-id``."""


class Trace(Struct, frozen=True, array_like=True):
    """Where a call stands in its caller's trace: https://www.w3.org/TR/trace-context/."""

    id: str
    """32 hexadecimal digits."""
    parent: str
    """The caller's span, 16 of them."""
    flags: int
    """Bit 0: the caller records it; bit 1: the id is random."""
    state: str = ""
    """``tracestate``, as it came."""


class Estimate(Struct, frozen=True, array_like=True):
    """What a call has probably used beside what is known of it."""

    input: int
    """Tokens."""
    output: int
    cost: int | None = None
    """Picodollars; None = the model has no price."""


class Dial(Struct, frozen=True, array_like=True):
    """How a new connection was made. Times as of :class:`Attempt`."""

    resolved_us: int
    """Its name was looked up;"""
    connected_us: int
    """the other end, or a proxy, took it;"""
    secured_us: int = -1
    """TLS was agreed upon, also with what is behind a proxy."""


class Attempt(Struct, frozen=True, array_like=True):
    """One try at one target. Times are microseconds since the call began; -1 = never happened."""

    provider: str
    model: str
    """The model name sent to the provider."""
    status: int = 0
    """The provider's HTTP status; 0 when no reply came."""
    error: str = ""
    """:class:`~ferryman.ir.errors.ErrorKind` value, or empty when it succeeded."""
    start_us: int = 0
    first_byte_us: int = -1
    end_us: int = -1
    """Of a stream that was relayed: its end."""
    format: str = ""
    """The provider's format where it isn't the caller's: then the call was translated."""
    dropped: tuple[str, ...] = ()
    """What the translation left out (``ir/receipt.py``)."""
    altered: tuple[str, ...] = ()
    """What it changed or added."""
    usage: Usage | None = None
    """What it used, as far as the provider said; like the next two only kept where a call has
    several attempts, else they are the call's."""
    cost: int | None = None
    """Picodollars for that; None = unknown."""
    whole: bool = True
    """False: it may have cost more than that, or its cost is unknown."""
    price: str = ""
    """As in :class:`Closed`, where the call has several attempts."""
    estimate: Estimate | None = None
    """What it has probably used beside that, if it is not ``whole``."""
    key: str = ""
    """Which of the provider's keys: its reference in the configuration or its place there, never
    the key."""
    upstream_id: str = ""
    """What the provider calls the request: its ``x-request-id`` or the like."""
    queued_us: int = 0
    """For how long it waited for a place before it began."""
    dial: Dial | None = None
    """None: a connection was used again, or none was made."""
    sent_us: int = -1
    """When the request was handed to its connection."""
    first_token_us: int = -1
    """Of a stream, like the next one."""
    last_token_us: int = -1
    """When its last event came; -1 also where it fell silent."""
    retry_after_ms: int = -1
    """After how many milliseconds the provider wants to be asked again; -1 = it does not say."""
    region: str = ""
    """Where the target computes, as was configured when it was asked; empty = nobody had said."""
    data_policy: str = ""
    """What was promised of data there then, words with spaces between."""


class Candidate(Struct, frozen=True, array_like=True):
    """A target that came into question, as it stood when the call was planned."""

    target: str
    """``provider/model``."""
    fallback: bool = False
    rests_us: int = 0
    """Microseconds that it still had to rest; 0 = it was well."""
    because: str = ""
    """Why it rested: an error kind."""
    left_out: str = ""
    """Why it could not be asked at all; empty = it could."""
    full: bool = False
    """Whether as many calls were at work there as it takes."""
    bond: str = ""
    """Why it came first whatever the strategy says: what it shares with calls that went there."""
    measure: float = -1.0
    """What the strategy went by, in its unit (``routing/plan.py``); -1 = it goes by none."""


class Verdict(Struct, frozen=True, array_like=True):
    """What a check of content said of a call; never the content."""

    check: str
    stage: str
    """``request``, ``reply`` or ``tools``."""
    action: str
    """``allowed``, ``redacted``, ``blocked``, ``annotated`` or ``logged``."""
    took_us: int = 0
    count: int = 0
    """How much it found."""
    score: float = 0.0
    """Of guards that judge: 0 = nothing, 1 = certain."""
    reasons: tuple[str, ...] = ()
    """Names of what it judges by; never text of the call."""


class Charge(Struct, frozen=True, array_like=True):
    """What budgets bear of a call: their counters (``meter/limits.py``), and how much."""

    budgets: tuple[str, ...]
    picodollars: int
    """The hold of an open call; of a closed one its cost, or the hold where that is unknown."""
    tokens: int
    apart: tuple[tuple[str, int, int], ...] = ()
    """Those of budgets that count single attempts: counter, picodollars, tokens."""


class Opened(Struct, frozen=True, array_like=True):
    """A call that is about to go upstream, with the money held for it."""

    id: str
    at_us: int
    """Unix time in microseconds when the call began."""
    key: str
    """Public id of the virtual key (``key_…``), never the secret."""
    endpoint: str
    """``chat.completions``, ``embeddings``, ``images.generations`` and the like."""
    model: str
    """The model name the caller asked for."""
    provider: str
    target: str
    """First target's provider model name."""
    hold: int
    """Picodollars held: settles a call that never closes. 0 when unpriced."""
    charge: Charge | None = None
    """None: no budget bears it."""
    labels: Labels | None = None
    """None: it has none, like most."""


class Closed(Struct, frozen=True, array_like=True):
    """A finished call: what it used, what it cost, what was tried."""

    id: str
    at_us: int
    duration_us: int
    key: str
    endpoint: str
    model: str
    provider: str
    """Provider that answered (or was tried last)."""
    target: str
    """Provider's model name that answered (or was tried last)."""
    stream: bool
    status: int
    """HTTP status the caller got; 499 when the caller left first."""
    error: str = ""
    usage: Usage | None = None
    """Of all attempts together, as far as is known; None = nobody said (unknown, not zero)."""
    cost: int | None = None
    """Picodollars for that; None = unpriced model or unknown usage."""
    attempts: tuple[Attempt, ...] = ()
    first_token_us: int = -1
    overhead_us: int = -1
    """Time spent in the gateway itself: before the upstream was asked and after it answered."""
    policy: str = ""
    """Name of the policy that matched; empty = none."""
    plan: tuple[Candidate, ...] = ()
    """In the order in which they were to be asked; empty when there was one only, and no doubt."""
    unknown_cost: int = 0
    """Attempts that may have cost more than stands in ``cost``, or whose cost is unknown."""
    cache: str = ""
    """What the cache of answers did: ``hit``, ``miss``, ``bypass``, ``coalesced`` (it had another
    call's answer), ``replayed`` (it repeated one by its Idempotency-Key); empty = it was off."""
    saved: int | None = None
    """Picodollars that such an answer had cost first; None = unknown, or no such answer."""
    charge: Charge | None = None
    """None: no budget bears it."""
    price: str = ""
    """Id of the :class:`Priced` that says how ``cost`` came about; empty = none, or several do."""
    labels: Labels | None = None
    """None: it has none, like most."""
    estimate: Estimate | None = None
    """Of all attempts together, never within ``usage`` and ``cost``; None = all is known, or
    nothing could be said of it."""
    trace: Trace | None = None
    """None: its caller sent no trace context."""
    client: str = ""
    """The caller's user agent, shortened."""
    strategy: str = ""
    """How the order of ``plan`` was found; empty where that is."""
    verdicts: tuple[Verdict, ...] = ()
    content: str = ""
    """What became of prompt and answer: ``kept``, ``dropped`` (there was no room); empty = they
    were not to be kept."""


class Priced(Struct, frozen=True, array_like=True):
    """A price that a data plane bills by, written before the first call that it bills so."""

    id: str
    """A digest of the rest: another price has another one, for good."""
    provider: str
    model: str
    prices: tuple[Price, ...]
    """All periods that were known."""


class Feedback(Struct, frozen=True, array_like=True):
    """What somebody says of a call, or of a run, afterwards."""

    subject: str
    """The call's request id, or the run's."""
    run: bool
    key: str
    """Public id of the virtual key that says it."""
    team: str
    """Of that key; empty = none."""
    at_us: int
    score: int | None = None
    """Thousandths, from -1000 to 1000."""
    tags: tuple[str, ...] = ()
    comment: str = ""


def candidate_row(each: Candidate) -> dict[str, str | float]:
    """A candidate in names and seconds, without what there is nothing to say of."""
    said: dict[str, str | float] = {"target": each.target}
    if not each.left_out:
        said["role"] = "fallback" if each.fallback else "target"
    if each.rests_us:
        said |= {"rests_seconds": round(each.rests_us / 1e6, 3), "because": each.because}
    if each.full:
        said["full"] = True
    if each.left_out:
        said["left_out"] = each.left_out
    if each.bond:
        said["bond"] = each.bond
    if each.measure >= 0:
        said["measure"] = each.measure
    return said
