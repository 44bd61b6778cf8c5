"""How the installation is, in the admin API: its planes, its ledger, and what goes on now."""

from typing import Annotated

from msgspec import Meta, Struct

from ferryman.client.documents import Time, Usd


class PlaneStatus(Struct, kw_only=True):
    """A data plane that follows the control plane."""

    name: str
    snapshot: Annotated[str | None, Meta(description="null = it had none.")]
    current: Annotated[bool, Meta(description="It has the configuration in force,")]
    keys_current: Annotated[bool, Meta(description="and knows every key.")]
    asked_at: Time
    clock_ahead_seconds: float | None


class LedgerStatus(Struct, kw_only=True):
    """The ledger, and for how long it keeps what."""

    database: Annotated[str, Meta(description="`sqlite` or `postgresql`.")]
    bytes: int
    calls: Annotated[int, Meta(description="That were ever taken in.")]
    oldest: Annotated[Time | None, Meta(description="When the first call that is kept began.")]
    newest: Time | None
    keeps: Annotated[
        dict[str, int | None], Meta(description="What → seconds that it is kept; null = for good.")
    ]
    failing: Annotated[str | None, Meta(description="Why nothing is taken in now.")]


class Status(Struct, kw_only=True):
    """How the installation is."""

    software: Annotated[str, Meta(description="Version of the control plane.")]
    version: Annotated[int, Meta(description="Of the configuration in force.")]
    snapshot: str
    planes: list[PlaneStatus]
    ledger: LedgerStatus
    sessions: Annotated[int, Meta(description="Of the dashboard, that are open.")]


class Running(Struct, kw_only=True):
    """A call that has begun and not ended; provider and target are those to be asked first."""

    request_id: str
    time: Time
    key: str
    key_id: str
    endpoint: str
    model: str
    provider: str
    target: str


Spans = Annotated[
    dict[str, float] | None,
    Meta(description="`p50_ms`, `p95_ms`, `p99_ms`; null = nothing is known."),
]


class Now(Struct, kw_only=True):
    """What goes on: the calls that began in the last `seconds`."""

    seconds: int
    calls: Annotated[int, Meta(description="That have ended.")]
    errors: int
    output_tokens: int
    cost_usd: Usd
    unknown_cost: int
    measured: Annotated[int, Meta(description="Calls that the next two are of: the newest ones.")]
    duration: Spans
    first_token: Spans
    under_way: Annotated[int, Meta(description="Calls, whenever they began;")]
    running: Annotated[list[Running], Meta(description="the newest of these.")]


class Offer(Struct, kw_only=True):
    """A target that might have served a call, and what the same tokens cost there today."""

    target: Annotated[str, Meta(description="`provider/model`.")]
    cost_usd: Usd
    here: Annotated[bool, Meta(description="It is the one that answered.")]


class View(Struct, kw_only=True, frozen=True):
    """A view of calls that was given a name."""

    name: str
    query: Annotated[str, Meta(description="Of the page Calls, such as `team=red&since=7d`.")]


class ViewQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a view shows."""

    query: Annotated[str, Meta(description="Of the page Calls.", examples=["team=red&since=7d"])]


class GuardSaid(Struct, kw_only=True):
    """What a guard said of calls."""

    guard: str
    stage: str
    action: str
    calls: int
    found: Annotated[int, Meta(description="In these calls together, like the next.")]
    took_ms: float


class GuardsSaid(Struct, kw_only=True):
    """What guards said of late."""

    since: Annotated[Time, Meta(description="Of the calls that have begun since then.")]
    data: list[GuardSaid]


class SignedOut(Struct, kw_only=True):
    """Sessions that were ended."""

    sessions: int
