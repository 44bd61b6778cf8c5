"""What the admin API takes and gives: its documents, which its OpenAPI description is made of.

Control plane and client share these types. Amounts are exact decimals as text; None = unknown, or
it never happened.
"""

from typing import Annotated, Any, Generic, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from ferryman.client.bounds import Bounds
from ferryman.config.problem import Problem

T = TypeVar("T")
Time = Annotated[str, Meta(description="RFC 3339, in UTC.", examples=["2026-11-22T19:45:31Z"])]
Usd = Annotated[str, Meta(description="US dollars, as an exact decimal.", examples=["0.000123"])]
Tokens = dict[str, int]
"""Token class → count; the classes are disjoint (``ir.usage.Usage``)."""
Row = dict[str, Any]


class Page(Struct, Generic[T], kw_only=True):
    """A page of a list."""

    data: list[T]
    next: Annotated[
        str | None,
        Meta(description="`cursor` of the next page; null on the last one."),
    ] = None


class Items(Struct, Generic[T], kw_only=True):
    """A list that has no pages."""

    data: list[T]


# -- keys ------------------------------------------------------------------------------------------


class Key(Struct, kw_only=True):
    """A virtual key, without its secret."""

    id: str
    name: str
    state: Annotated[str, Meta(description="`active`, `expired` or `revoked`.")]
    hint: Annotated[str, Meta(description="First and last characters of the secret.")]
    fixed: Annotated[bool, Meta(description="It came from FERRYMAN_KEY.")]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    organisation: str | None
    team: str | None
    user: str | None
    tags: tuple[str, ...]
    bounds: Annotated[Bounds | None, Meta(description="What its calls are held to.")]


class MadeKey(Key, kw_only=True):
    """A new virtual key with its secret, which is shown this once."""

    key: Annotated[str, Meta(description="The secret, for callers.")]


class NewKey(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key to be made. Of `expires_in` and `expires_at`, give one or none."""

    name: Annotated[str, Meta(description="What it is for: 1 to 100 printable characters.")]
    organisation: str | None = None
    team: str | None = None
    user: Annotated[str | None, Meta(description="The person or application that has it.")] = None
    tags: list[str] | None = None
    bounds: Bounds | None = None
    expires_in: Annotated[
        int | str | None, Meta(description="Seconds, or a duration such as 30d.")
    ] = None
    expires_at: Annotated[
        int | str | None, Meta(description="RFC 3339, a date, or Unix seconds.")
    ] = None


class KeyChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a key: what is given is set, null or empty = none."""

    organisation: str | UnsetType | None = UNSET
    team: str | UnsetType | None = UNSET
    user: str | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    bounds: Bounds | UnsetType | None = UNSET


class Rotation(Struct, kw_only=True, forbid_unknown_fields=True):
    """How a key is replaced by a new one."""

    overlap: Annotated[
        int | str,
        Meta(description="How long the old one works on: seconds, or a duration such as 1h."),
    ] = "1h"


class Leak(Struct, kw_only=True, forbid_unknown_fields=True):
    """A key was found where it must not be."""

    where: Annotated[
        str,
        Meta(min_length=1, max_length=200, description="For people: an address, never the key."),
    ]
    revoke: Annotated[bool, Meta(description="Shut it out at once, for good.")] = True


# -- the ledger ------------------------------------------------------------------------------------


class Call(Struct, kw_only=True):
    """One call."""

    request_id: str
    time: Time
    key: str
    key_id: str
    endpoint: str
    model: str
    provider: str
    target: str
    tokens: Tokens | None
    cost_usd: Usd | None
    unknown_cost: Annotated[
        int, Meta(description="Attempts that may have cost more than is known.")
    ]
    attempts: int
    tries: list[Row]
    status: int | None
    error: str | None
    stream: bool | None
    duration_ms: float | None
    ttft_ms: float | None
    overhead_ms: float | None
    plane: str
    state: Annotated[str, Meta(description="`closed`, or `lost` with its gateway.")]
    policy: str | None
    considered: Annotated[list[Row], Meta(description="Targets that came into question, in order.")]
    cache: Annotated[
        str | None, Meta(description="`hit`, `miss`, `bypass`, `coalesced` or `replayed`.")
    ]
    saved_usd: Usd | None
    service: Annotated[str | None, Meta(description="Service tier, unless the standard one.")]
    region: str | None
    searches: int
    audio_seconds: float
    price: Annotated[str | None, Meta(description="Id of the price that it was billed by.")]
    organisation: str | None
    team: str | None
    user: str | None
    end_user: str | None
    run: str | None
    task: str | None
    tags: list[str]
    metadata: dict[str, str]
    estimate: Annotated[
        dict[str, int | str] | None,
        Meta(description="What it has probably used beside what is known."),
    ]
    parent: Annotated[
        str | None, Meta(description="Request id of the call that caused it, as its caller says.")
    ]
    client: Annotated[str | None, Meta(description="The caller's user agent, shortened.")]
    strategy: Annotated[str | None, Meta(description="How `considered` was ordered.")]
    verdicts: Annotated[list[Row], Meta(description="What checks of content said.")]
    upstream_id: Annotated[
        str | None, Meta(description="What the provider of the last attempt calls it.")
    ]
    trace: Annotated[str | None, Meta(description="Of its caller, as in `traceparent`.")]
    tokens_per_second: float | None
    content: Annotated[
        str | None,
        Meta(description="What became of prompt and answer: `kept`, `dropped`; null = not wanted."),
    ]


class CostLine(Struct, kw_only=True):
    """One part of a cost."""

    what: str
    count: int
    rate: str
    usd: Usd


class Cost(Struct, kw_only=True):
    """The parts of a call's cost, by the price that it was billed by."""

    request_id: str
    time: Time
    model: str
    price: str | None
    cost_usd: Usd | None
    lines: list[CostLine]
    why: Annotated[str, Meta(description="Why there are no lines.")]


class WholeCall(Call, kw_only=True):
    """One call, with the parts of its cost."""

    cost: Cost


class Content(Struct, kw_only=True):
    """What a call's caller sent and got. What is no text is in base64."""

    request_id: str
    request: str | None
    request_base64: str | None
    reply: str | None
    reply_base64: str | None
    text: Annotated[str | None, Meta(description="The answer in words.")]
    request_bytes: Annotated[int | None, Meta(description="As sent; null = a form with files.")]
    reply_bytes: int
    media_type: str | None
    status: int
    cut: Annotated[bool, Meta(description="There was more than is kept.")]
    whole: Annotated[bool, Meta(description="False: the answer broke off, or its caller left.")]
    form: bool


class Feedback(Struct, kw_only=True):
    """What one key's holder says of a call."""

    about: Annotated[str, Meta(description="`call`, or the whole `run` that it belongs to.")]
    key: str
    time: Time
    score: Annotated[float | None, Meta(description="From -1 to 1.")]
    tags: list[str]
    comment: str | None


class Sums(Struct, kw_only=True):
    """What the calls of a group add up to."""

    calls: int
    errors: int
    lost: int
    unknown_usage: int
    unknown_cost: int
    tokens: Tokens
    searches: int
    audio_seconds: float
    cost_usd: Usd
    repeated: Annotated[int, Meta(description="Calls that got an answer given before.")]
    saved_usd: Usd
    estimated_calls: Annotated[int, Meta(description="Of which more is guessed than known,")]
    estimated_tokens: Annotated[Tokens, Meta(description="in no other sum.")]
    estimated_usd: Usd
    scored: Annotated[int, Meta(description="Scores that feedback gave to these calls,")]
    score: Annotated[float | None, Meta(description="and their mean, from -1 to 1.")]


class Run(Struct, kw_only=True):
    """Calls that belong together, as their callers say (`x-ferryman-run-id`)."""

    run: str
    began: Time
    ended: Time
    calls: int
    errors: int
    cost_usd: Usd
    unknown_cost: int


class TreeSums(Struct, kw_only=True):
    """What calls of a tree add up to."""

    calls: int
    errors: int
    input: Annotated[int, Meta(description="Tokens, like the next.")]
    output: int
    unknown_cost: Annotated[int, Meta(description="Calls that may have cost more.")]
    cost_usd: Usd


class TreeCall(Call, kw_only=True):
    """A call and its place in the tree."""

    depth: int
    began_ms: Annotated[float, Meta(description="Since the first call of all began.")]
    below: Annotated[
        TreeSums | None, Meta(description="It and those that it caused; null = it caused none.")
    ]


class RunTree(TreeSums, kw_only=True):
    """Calls that belong together: each before those that it caused."""

    run: Annotated[str | None, Meta(description="null: their callers name none.")]
    time: Time
    duration_ms: float
    truncated: Annotated[bool, Meta(description="Only the first calls are in `data`.")]
    data: list[TreeCall]


SumsRow = Annotated[
    Row,
    Meta(
        description="The dimensions that were asked for, then the sums as in `Sums`.",
        extra_json_schema={"properties": {"calls": {"type": "integer"}}, "required": ["calls"]},
    ),
]


class Usage(Struct, kw_only=True):
    """What was used, by group, and altogether."""

    since: Time | None
    until: Time
    by: tuple[str, ...]
    data: list[SumsRow]
    total: Sums
    units: Row | None


class Expected(Struct, kw_only=True):
    """What a month has cost and will."""

    spent_usd: Usd | None
    expected_usd: Usd | None
    low_usd: Usd | None
    high_usd: Usd | None
    days: int
    method: str | None


class Forecast(Struct, kw_only=True):
    """What this month will cost, by group, and altogether."""

    month: str
    zone: str
    data: list[Row]
    total: Expected


class Latencies(Struct, kw_only=True):
    """How long good answers took, by group: percentiles in milliseconds."""

    since: Time
    until: Time
    by: tuple[str, ...]
    data: list[Row]


class Damage(Struct, kw_only=True):
    """A place in a journal that can't be read."""

    file: str
    offset: int | None
    bytes: int | None
    error: str | None


class PlaneJournal(Struct, kw_only=True):
    """The journal of one gateway; what waits is not in the ledger yet."""

    plane: str
    segments: int
    bytes: int
    waiting_bytes: int
    damaged: list[Damage]
    clock_ahead_seconds: float | None


class Journal(Struct, kw_only=True):
    """How the journals stand."""

    failing: str | None
    planes: list[PlaneJournal]
    met: dict[str, int]


class Sink(Struct, kw_only=True):
    """How a sink of the log stands, in lines."""

    kind: str
    waiting: int
    written: int
    dropped: int
    failing: Annotated[str | None, Meta(description="Why lines do not arrive now.")]


class ModelPrices(Struct, kw_only=True):
    """What a model costs, by period: tiers in USD per million tokens."""

    provider: str
    model: str
    prices: list[Row]


class Unpriced(Struct, kw_only=True):
    """A model without a price."""

    provider: str
    model: str
    calls: int
    configured: bool


class PriceChange(Struct, kw_only=True):
    """Rates that are not what calls were billed at."""

    provider: str
    model: str
    price: str
    calls: int
    changes: Annotated[
        dict[str, tuple[str | None, str | None]], Meta(description="Rate → before, and now.")
    ]


class RecostRow(Struct, kw_only=True):
    """What calls of one model cost, and what they would by the prices of now."""

    provider: str
    model: str
    calls: int
    unpriced: int
    billed_usd: Usd
    recost_usd: Usd
    difference_usd: Usd


class Recost(Struct, kw_only=True):
    """Calls by the prices of now."""

    since: Time
    until: Time
    complete: Annotated[bool, Meta(description="False: there are more calls than are looked at.")]
    data: list[RecostRow]


# -- models, providers, and what only the gateway knows --------------------------------------------


class Model(Struct, kw_only=True):
    """A model that can be called."""

    name: Annotated[str, Meta(description="As callers write it.")]
    provider: Annotated[str | None, Meta(description="null: a name of one's own.")]
    context: int | None
    max_output: int | None
    abilities: tuple[str, ...]
    price: Annotated[Row | None, Meta(description="Today's rates in USD; null = no price.")]
    targets: Annotated[list[str], Meta(description="Of a name of one's own.")] = []


class Provider(Struct, kw_only=True):
    """An active provider, and how it did in the last hour."""

    name: str
    base_url: str
    models: int
    state: Annotated[str, Meta(description="`well`, `shaky`, `failing`, `resting` or `idle`.")]
    tries: int
    failed: int
    last_error: str | None
    last_error_at: Time | None


class Limit(Struct, kw_only=True):
    """How a limit or budget stands for one of its keys."""

    key: str
    measure: str
    most: int | str
    left: int | str
    per: str | None
    resets_in_s: int
    kind: str


class Kept(Struct, kw_only=True):
    """How much is kept in one place."""

    store: str
    answers: int | None
    bytes: int | None
    most: int | None


class CacheState(Struct, kw_only=True):
    """What is kept of answers, and what came of it since the gateway's start."""

    cache: Kept
    idempotency: Kept
    calls: dict[str, int]
    saved_usd: Usd


class Cleared(Struct, kw_only=True):
    """An order to forget answers, which gateways follow within a second."""

    order: int
    cleared: dict[str, str | None]


class Explain(Struct, kw_only=True, forbid_unknown_fields=True):
    """A call that nobody makes, to be told what would become of it."""

    request: Annotated[Row, Meta(description="The body that would be sent.")]
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}
    key: Annotated[str, Meta(description="Id of the virtual key; empty = none.")] = ""


class Link(Struct, kw_only=True):
    """A token that opens the dashboard once, at `/enter#TOKEN`."""

    token: str
    expires_in: Annotated[int, Meta(description="Seconds.")]


# -- the configuration -----------------------------------------------------------------------------


class Entry(Struct, kw_only=True):
    """An entry that is not as in the file."""

    entry: str
    text: Annotated[str | None, Meta(description="YAML; null = it was removed.")]
    version: int
    by: str


class Config(Struct, kw_only=True):
    """The configuration in force."""

    version: int
    snapshot: str
    text: Annotated[str, Meta(description="All of it as YAML, literal keys sealed.")]
    overlay: list[Entry]


class Outcome(Struct, kw_only=True, omit_defaults=True):
    """What came of a change, or would."""

    version: Annotated[int, Meta(description="The one in force now.")]
    applied: bool
    snapshot: str
    changes: tuple[str, ...]
    problems: Annotated[tuple[Problem, ...], Meta(description="Warnings.")]
    text: Annotated[str | None, Meta(description="Of a trial: all of it as YAML.")] = None


class Version(Struct, kw_only=True):
    """A version of the configuration."""

    version: int
    time: Time
    by: str
    note: str
    changes: tuple[str, ...]
    snapshot: str


class WholeVersion(Version, kw_only=True):
    """A version with its text."""

    text: str
    overlay: list[Entry]


class Diff(Struct, kw_only=True):
    """What is different between two versions."""

    old: int
    new: int
    text: Annotated[str, Meta(description="A unified diff; empty = nothing.")]


class Rollback(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which version is to hold again."""

    version: Annotated[int, Meta(ge=1, lt=2**53)]


class Reloaded(Struct, kw_only=True):
    """The file was read again, and is in force."""

    snapshot: str


class ErrorDocument(Struct, kw_only=True, rename={"kind": "type"}):
    """A problem (RFC 9457): `code` says which one it is, `fix` what to do. Some have more members:
    `problems` of a configuration, `version` of a conflict."""

    kind: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    fix: str
