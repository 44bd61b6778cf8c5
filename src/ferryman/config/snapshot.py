"""The immutable snapshot a data plane serves from; the control plane compiles it."""

from typing import Final

from msgspec import Raw, Struct

from ferryman.config.guard_row import Guard
from ferryman.config.identity_row import Issuer
from ferryman.ir.price import Price

KEYLESS = ("none", "sigv4", "google")
"""Kinds of ``Provider.auth`` that send no key: none, or what the cloud's own library finds."""


RATES: Final = ("requests", "input_tokens", "output_tokens", "tokens")
"""What rates may be of."""


class RateLimit(Struct, frozen=True, kw_only=True):
    """``most`` of a measure ``per`` second, minute, …, month; ``burst`` of them at once."""

    measure: str
    most: int
    per: str
    burst: int


class Account(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider takes of one customer: rates, and calls at once (0 = any number)."""

    rates: tuple[RateLimit, ...] = ()
    calls: int = 0


class Secret(Struct, frozen=True, array_like=True):
    """Where a provider key is found: never the key itself.

    ``kind`` is ``env`` (``value`` names a variable), ``file`` (a path), or ``sealed`` (AES-GCM of a
    literal or a secret of the vault, base64; see ``config/seal.py``).
    """

    kind: str
    value: str
    weight: float = 1.0
    """Its share of the calls, of a key among several."""
    calls: int = 0
    """Most calls at work with it at once; 0 = any number."""
    pays: tuple[int, int] = (1, 1)
    """Which fraction of a model's price calls with it cost: numerator and denominator."""
    rates: tuple[RateLimit, ...] = ()
    """What may be asked with it."""

    def __repr__(self) -> str:
        return f"Secret({self.kind})"


class Limit(Struct, frozen=True, kw_only=True):
    """How many calls a provider takes at once, and who waits for a place."""

    calls: int = 0
    """0 = any number."""
    length: int = 1000
    """Calls that may wait."""
    wait: float = 30.0
    """Seconds that one may wait."""
    fair: bool = False
    """True: virtual keys take turns by tokens; else first come, first served."""


class Probe(Struct, frozen=True, kw_only=True):
    """That targets which rest are asked now and then, beside calls."""

    every: float = 10.0
    """Seconds."""
    picodollars: int = 10**11
    """Most that it may cost in a day."""


class Provider(Struct, frozen=True, kw_only=True):
    """One upstream provider: a catalogue row, overlaid with the user's configuration."""

    name: str
    format: str = "openai_chat"
    base_url: str
    """Up to and including the version segment, no trailing slash: ``https://host/v1``."""
    auth: str = "bearer"
    """``bearer``, ``none``, ``x-api-key``, ``header:NAME``, ``sigv4``, or ``google``."""
    keys: tuple[Secret, ...] = ()
    alternatives: bool = False
    """True: ``keys`` are several places to look, the first key found is the only one used."""
    keyless: bool = False
    """True: active without a key (local servers) once configured or enabled."""
    enabled: bool = False
    """True: named in the configuration; otherwise active only when a key is found."""
    headers: tuple[tuple[str, str], ...] = ()
    """Values may be references (``env:``, ``file:``, ``sealed:``) until ``config/secret.py``'s
    ``localise`` fills them in, as it does with ``{VAR}`` in ``base_url``."""
    endpoints: tuple[str, ...] = ()
    """Endpoints the provider is known to offer (see ``Opened.endpoint``); empty = all of its
    format's."""
    paths: tuple[tuple[str, str], ...] = ()
    """(endpoint, path below ``base_url``) where it differs from the format's own; see
    ``wire/paths.py``. A path that begins with two slashes starts at the root of the host."""
    quirks: tuple[str, ...] = ()
    """Names from ``catalog/quirks.py``."""
    region: str = ""
    """Where it computes; empty = nobody has said."""
    region_stated: bool = False
    """Whether the user has said so, rather than the catalogue, which knows only its own address."""
    data_policy: str = ""
    """What is promised of data there, words with spaces between (``config/filters.py``); empty =
    nothing."""
    private: bool | None = None
    """Whether ``base_url`` may lead to a private address; None = if it names one
    (``wire/addresses.py``)."""
    limit: Limit | None = None
    rates: tuple[RateLimit, ...] = ()
    """What may be asked of it, with all keys and models together."""
    accounts: dict[str, Account] = {}
    """The same of single models."""
    probe: Probe | None = None
    owner: str = ""
    """The organisation whose calls alone it serves, with a key of theirs; empty = everybody's."""


class ModelRow(Struct, frozen=True, array_like=True, kw_only=True):
    """What is known of one model at one provider. 0 = unknown."""

    context: int = 0
    max_output: int = 0
    abilities: tuple[str, ...] = ()
    """Of: tools, vision, audio, reasoning, json_schema, embeddings, pdf…"""
    prices: tuple[Price, ...] = ()
    quantization: str = ""
    region: str = ""
    """Its own, like the next; empty = its provider's."""
    data_policy: str = ""


WEIGHED = ("weighted", "least_loaded")
"""Strategies that heed weights."""


HEDGE_BY_PACE = -1.0


class Affinity(Struct, frozen=True, kw_only=True):
    """Calls with the same ``session``, ``cache_key`` or ``prefix`` stay at one target."""

    by: str
    seconds: float = 300.0
    """From one call to the next, as long as the provider keeps what it has read."""


Unit = tuple[str, str] | str
"""A target, (provider, model), or the name of a route that is chosen as a whole."""


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which targets come into question; each must pass all of it (``routing/filters.py``)."""

    source: str = ""
    """Whose it is, in words for callers."""
    only: tuple[str, ...] = ()
    """Providers, or targets as provider/model; empty = all of them, like the next three."""
    ignore: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    quantizations: tuple[str, ...] = ()
    data_policy: str = ""
    """All that must be promised of a target, words with spaces between; empty = nothing."""
    input_price: int = -1
    """Most picodollars per token, like the next; -1 = any."""
    output_price: int = -1
    request_price: int = -1
    """Most picodollars per request, on top of its tokens; -1 = any."""
    require_abilities: bool | None = None
    """True: only targets known to have what the request needs; False: abilities don't matter; None:
    as long as one is known to have it all, those known not to are left out."""
    require_parameters: bool = False
    """True: only targets that lose no part of the request."""


class Residence(Struct, frozen=True, kw_only=True):
    """Where data of certain callers may go, whatever policies and callers say: ``filter`` has
    ``regions`` and ``data_policy``, for targets and gateways alike."""

    when: "Condition"
    filter: Filter


class Route(Struct, frozen=True, kw_only=True):
    """A model name of the user's own (``models:`` in the file)."""

    targets: tuple[tuple[str, str], ...]
    """(provider, model) equivalents, tried in the strategy's order; those of groups, too."""
    weights: tuple[float, ...] = ()
    """One for each unit of the tiers, or else for each target; empty = all alike."""
    strategy: str = "ordered"
    """One of ``config/grammar.py``'s STRATEGIES."""
    tiers: tuple[tuple[Unit, ...], ...] = ()
    """The targets by priority, each tier in the strategy's order; empty = ``targets`` say it."""
    fallbacks: tuple[tuple[str, str], ...] = ()
    """(provider, model) of other models, tried after every target failed."""
    last: tuple[Unit, ...] = ()
    """The same where some are routes with an order of their own; empty = ``fallbacks`` say it."""
    sticky: str = ""
    """Identity of a call that makes the weighted choice: ``key``, ``session``, ``end_user``
    or ``metadata.NAME``; empty = chance does."""
    affinity: Affinity | None = None
    identities: tuple[str, ...] = ()
    """Every ``sticky`` of it and of the routes within it."""
    strategies: tuple[str, ...] = ()
    """Strategies of the routes within it."""
    filters: tuple[tuple[Filter, ...], ...] = ()
    """What each target and then each fallback must pass; empty = nothing."""
    on_content_filter: str = ""
    """Name of the model that is asked when a content filter stops a call; empty = none."""
    retry_empty: bool = False
    """Whether the next target is asked after an answer that is empty or a refusal."""
    hedge: float = 0.0
    """Seconds without a first token after which a second target is asked as well; 0 = never,
    ``HEDGE_BY_PACE`` = the 95th percentile of the first one's."""
    rescue: bool = False
    """Whether another target goes on with a stream of text that breaks off."""
    guard: tuple[str, ...] = ()
    """Names of guards, also of the routes within it."""

    @property
    def special(self) -> bool:
        """Whether any of the last four is wanted."""
        return bool(self.on_content_filter or self.retry_empty or self.hedge or self.rescue)


Plain = str | int | float | bool


class Condition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition on a call (``config/conditions.py`` reads it, ``routing/conditions.py`` asks it).

    ``op`` is ``all``, ``any`` or ``not`` of ``parts``, or an operator between ``fact`` and
    ``value``. The value of ``within`` is (zone, first minute of the day, end, weekdays from 0).
    """

    op: str
    fact: str = ""
    value: Plain | tuple[Plain, ...] = ()
    parts: tuple["Condition", ...] = ()


LENGTHS: Final = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}
"""Seconds of a period that rolls, and of what rates are per; a month is 30 days."""
PERIODS: Final = tuple(LENGTHS)
"""Of budgets."""


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be spent in a period (``meter/window.py``)."""

    unit: str
    """``usd``: amounts are picodollars; ``tokens``."""
    most: int
    per: str
    rolling: bool = False
    zone: str = "UTC"
    soft: bool = False
    """True: it refuses nothing."""
    cut: bool = False
    """True: streams may begin that may need more than is left; they end where it is used up."""
    carry_over: bool = False
    """True: what is left of a period of the calendar is added to the next one."""
    notify: tuple[int, ...] = ()
    """Per cent of it at which an alert opens; empty = as rules on budgets say."""
    extra: int = 0
    """More than ``most``, until ``extra_until`` (Unix seconds)."""
    extra_until: int = 0


class CallLimit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much calls may take that meet ``when`` (None = all), for each of the values of ``by``."""

    name: str
    when: Condition | None = None
    by: tuple[str, ...] = ()
    rates: tuple[RateLimit, ...] = ()
    parallel: int = 0
    """Calls at once; 0 = any number."""
    budgets: tuple[Budget, ...] = ()
    status: int = 402
    """Of refusals by budgets."""


STORED: Final = ("none", "errors", "all")
"""Of which calls contents are kept."""


class Storing(Struct, frozen=True, kw_only=True):
    """Whose prompts and answers are kept."""

    what: str = "none"
    """One of ``STORED``."""
    sample: float = 1.0
    """The share of them."""
    redact: tuple[str, ...] | None = None
    """Names of guards that redact what is kept; None = as ``Content`` has it."""


class Content(Struct, frozen=True, kw_only=True):
    """Prompts and answers that are kept; how long is the control plane's business."""

    storing: Storing = Storing()
    """Where no policy says otherwise."""
    largest: int = 256_000
    """Bytes that are kept of a prompt, and of an answer."""


ALERTED: Final = (
    "budget", "error_rate", "provider_down", "latency", "unpriced", "usage_unknown", "key_leaked",
    "key_idle", "key_expiring", "spend_anomaly", "disk_low", "journal_damaged",
)  # fmt: skip
"""What alerts can be about."""
SEVERITIES: Final = ("warning", "critical")
MEASURES: Final = ("p50", "p95", "p99", "ttft")


class Mail(Struct, frozen=True, kw_only=True):
    """E-mail by a server that speaks TLS."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    implicit: bool = False
    """True: TLS from the first byte on; else STARTTLS."""
    user: str = ""
    password: Secret | None = None


class Channel(Struct, frozen=True, kw_only=True):
    """Who can be told of alerts; the control plane does it."""

    name: str
    kind: str
    """``webhook``, ``slack`` or ``email``."""
    url: str = ""
    """Of a webhook."""
    secret: Secret | None = None
    """Signs what a webhook is told (HMAC-SHA-256); of Slack it is the URL."""
    mail: Mail | None = None
    private: bool = False
    """Whether it may be at a private address."""


class AlertRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When to tell whom; ``config/alerting.py`` has what means something to which ``on``."""

    name: str
    on: str
    by: str = ""
    percent: float = 0.0
    over: float = 0.0
    """Seconds."""
    measure: str = ""
    window: int = 0
    """Seconds, whole minutes."""
    calls: int = 0
    days: int = 0
    free: int = 0
    """Bytes."""
    deviations: float = 0.0
    usd: int = 0
    """Picodollars."""
    severity: str = "warning"
    to: tuple[str, ...] = ()
    """Names of channels."""
    repeat: int = 86_400
    """Seconds."""


class Alerts(Struct, frozen=True, kw_only=True):
    """Who is told of what."""

    channels: tuple[Channel, ...] = ()
    rules: tuple[AlertRule, ...] = ()


SCOPES: Final = ("openid", "email", "profile")


class SignIn(Struct, frozen=True, kw_only=True):
    """How people sign in at the dashboard with an account of somebody else's."""

    issuer: str
    """Name of an :class:`~ferryman.config.identity_row.Issuer`."""
    client: str
    secret: Secret | None
    """None: the provider knows its client by PKCE alone."""
    url: str
    """Where the dashboard is, as browsers see it."""
    scopes: tuple[str, ...] = SCOPES
    groups: str = "groups"
    """The claim that names the groups of ``roles``."""
    roles: tuple[tuple[str, str], ...] = ()
    """(group, role); the first that one is in counts."""
    default: str = ""
    """The role of all others; empty = they don't come in."""
    external_id: str = ""
    """The claim that a directory (SCIM) has as ``externalId``; empty = verified e-mail counts."""
    only: bool = False
    """Nobody comes in but those whom a directory has made."""


class Rule(Struct, frozen=True, kw_only=True):
    """A policy, for calls that meet ``when``; the first match counts."""

    name: str
    """The file's, or ``policy-N`` by its place there, counted from 1."""
    when: Condition
    use: str = ""
    """The model that serves instead of the one asked for; empty = that one."""
    forbid: str = ""
    """Why such a call is refused; empty = it is not."""
    set: tuple[tuple[str, int | float], ...] = ()
    """(parameter in the common language, value) to put in place of the caller's."""
    connect: float = 0.0
    """Seconds, as in ``Timeouts``; 0 = as it has them."""
    first_byte: float = 0.0
    idle: float = 0.0
    total: float = 0.0
    on_unsupported: str = ""
    """``drop`` or ``reject``: what becomes of parts of a request that a target's format can't
    carry; empty = as the request says."""
    too_long: str = ""
    """``next``, ``error`` or ``compress``: what becomes of a request that does not fit into a
    target's window; empty = as the request says."""
    on_content_filter: str = ""
    """As in :class:`Route`; empty = as the model has it."""
    filter: Filter | None = None
    """What targets must pass."""
    cache: float = -1.0
    """Seconds that answers are cached; 0 = they are not, -1 = as ``Caching`` has it."""
    budgets: tuple[Budget, ...] = ()
    """What all calls that match may spend together."""
    content: Storing | None = None
    """Whether contents are kept; None = as ``Content`` has it."""
    guard: tuple[str, ...] = ()
    """Names of guards, beside those that are for all calls."""


class Caching(Struct, frozen=True, kw_only=True):
    """The cache of answers to requests that are the same."""

    ttl: float = 0.0
    """Seconds that an answer is kept; 0 = no longer than a policy says."""
    asked: bool = False
    """True: only for callers who ask for it, and where a policy says so."""
    scope: str = "key"
    """Who has a cache of their own: each virtual ``key``, ``team``, ``organisation``; or ``all``
    have one."""
    store: str = "memory"
    """``memory``, ``sqlite`` (on the disk, too) or ``valkey`` (at ``ServerSettings.state``)."""
    size: int = 256_000_000
    """Bytes that all answers may take in memory, or on the disk."""
    largest: int = 4_000_000
    """Bytes of an answer that is kept; also of those of :class:`Idempotency`."""
    tool_calls: bool = False
    """Whether answers that call tools are cached."""
    coalesce: bool = True
    """Whether calls wait for one that asks the same at the same time."""


class Idempotency(Struct, frozen=True, kw_only=True):
    """Answers that are repeated for calls with the same Idempotency-Key."""

    keep: float = 86_400.0
    """Seconds; 0 = the header means nothing here."""
    store: str = "memory"
    size: int = 64_000_000
    """Both as in :class:`Caching`."""
    without_state: str = "go_on"
    """What becomes of calls while ``valkey`` can't be asked: ``go_on`` or ``refuse``."""


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0
    short_wait: float = 3.0
    """A provider's own ``retry-after`` up to this is waited for before another model is asked."""
    cancelled: float = 0.0
    """How long an answer whose caller has left may go on, to tell its usage; 0 = it is cut."""


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Limits of the data plane's listener; bytes and seconds."""

    max_request_line: int = 8192
    max_headers: int = 100
    max_header_bytes: int = 32768
    max_body_bytes: int = 52_428_800
    max_upload_bytes: int = 1 << 30
    """Of forms with files, which are sent on as they come."""
    header_seconds: float = 10.0
    min_body_rate: int = 1024
    """Bytes per second, averaged after the first 5 seconds."""
    idle_seconds: float = 75.0
    max_connections: int = 20_000
    max_calls: int = 20_000
    drain_seconds: float = 30.0
    fsync_ms: int = 50
    on_journal_failure: str = "refuse"
    """What becomes of calls that can't be recorded: ``refuse`` or ``serve``."""
    state: str = ""
    """URL of the Valkey or Redis through which data planes share rests and limits; ``{VAR}`` as in
    base URLs. Empty = each goes by what it sees itself."""
    state_away: str = "local"
    """``local``, ``fail_open`` or ``fail_closed``: what becomes of calls with limits without it."""
    workers: int = 1
    """Data planes on a machine."""


SIGNALS: Final = ("traces", "metrics", "logs")
"""What OTLP carries."""


class Otlp(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where telemetry is sent; the standard's variables say what is empty or None here."""

    endpoint: str = ""
    private: bool | None = None
    """As of :class:`Provider`; over gRPC, names are looked up by its library, and not checked."""
    protocol: str = ""
    """``http/protobuf`` or ``grpc``."""
    headers: tuple[tuple[str, str], ...] = ()
    """Values may be references, as those of :class:`Provider`."""
    compression: str = ""
    """``gzip`` or ``none``."""
    timeout: float = 0.0
    """Seconds, like the next but one."""
    signals: tuple[str, ...] | None = None
    metrics_every: float = 0.0
    temporality: str = ""
    """``cumulative`` or ``delta``."""
    sample: float | None = None
    """The part of the traces that is sent, 0 to 1;"""
    follow_caller: bool = True
    """but of callers with a trace, those that they record themselves."""
    errors: bool = True
    """Whether failed calls are sent in any case;"""
    slower: float = 0.0
    """and calls that took as many seconds (0 = no such time),"""
    dearer: int = 0
    """or cost as many picodollars (0 = no such price)."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Of the resource, beside ``service.name`` and the like."""


class Telemetry(Struct, frozen=True, kw_only=True):
    """What is told of calls to others."""

    traceparent: bool = True
    """Whether providers learn of the trace that a call belongs to;"""
    baggage: bool = False
    """and of what it carries along."""
    native_histograms: bool = False
    otlp: Otlp | None = None
    """None: the configuration doesn't say."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """Everything a data plane needs besides the key table."""

    version: str
    """Content hash: equal versions are equal snapshots."""
    providers: dict[str, Provider] = {}
    models: dict[str, Raw] = {}
    """Provider → msgpack of ``dict[str, ModelRow]``, decoded only for active providers."""
    bare: dict[str, tuple[tuple[str, str], ...]] = {}
    """Bare model name → (provider, model) candidates, best first; the first active one serves."""
    aliases: dict[str, str] = {}
    """Further name of a provider → its name; any other meaning of a model name comes first."""
    routes: dict[str, Route] = {}
    rules: tuple[Rule, ...] = ()
    residency: tuple[Residence, ...] = ()
    limits: tuple[CallLimit, ...] = ()
    alerts: Alerts = Alerts()
    timeouts: Timeouts = Timeouts()
    keep_responses: float = 0.0
    """Seconds to keep answers for ``previous_response_id``; 0 = they are not kept."""
    caching: Caching = Caching()
    idempotency: Idempotency = Idempotency()
    content: Content = Content()
    guards: tuple[Guard, ...] = ()
    server: ServerSettings = ServerSettings()
    ca_files: tuple[str, ...] = ()
    issuers: tuple[Issuer, ...] = ()
    sign_in: SignIn | None = None
    telemetry: Telemetry = Telemetry()
