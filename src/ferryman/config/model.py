"""The user's file as immutable values: checked, but not yet joined to the catalogue."""

from decimal import Decimal
from typing import Final

from msgspec import Struct

from ferryman.config.alerting import NO_FILE
from ferryman.config.guard_row import Guard
from ferryman.config.identity_row import Issuer
from ferryman.config.secret import VAULT, Redacted
from ferryman.config.snapshot import (
    Account,
    Affinity,
    Alerts,
    Caching,
    CallLimit,
    Content,
    Filter,
    Idempotency,
    Limit,
    Probe,
    RateLimit,
    Residence,
    Rule,
    Secret,
    ServerSettings,
    SignIn,
    Telemetry,
    Timeouts,
)
from ferryman.config.vault_names import split


class Ref(Struct, frozen=True, kw_only=True):
    """Where a secret is found: ``env``, ``file`` or ``vault`` and a ``value``, or a ``literal``."""

    kind: str
    """``env`` | ``file`` | ``vault`` | ``literal``."""
    value: str = ""
    """Name of the variable, path of the file, name in the vault; empty for a literal."""
    literal: Redacted = Redacted("")
    weight: float = 1.0
    """Of a key among several, like the next: as in ``snapshot.Secret``."""
    calls: int = 0
    discount: Decimal = Decimal(0)
    """Per cent off the prices of calls with it."""
    rates: tuple[RateLimit, ...] = ()

    @property
    def owner(self) -> str:
        """The organisation whose secret of the vault it is; empty = it is nobody's."""
        return split(self.value)[0] if self.kind == VAULT else ""


class Prices(Struct, frozen=True, kw_only=True):
    """Prices of one model in a period, exactly as written (``pricing_grammar.PRICES``)."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_cache_read: Decimal | None = None
    image_input: Decimal | None = None
    reasoning: Decimal | None = None
    audio_output: Decimal | None = None
    image_output: Decimal | None = None
    request: Decimal | None = None
    search: Decimal | None = None
    audio_hour: Decimal | None = None
    request_low: Decimal | None = None
    request_medium: Decimal | None = None
    searched: Decimal | None = None
    image_cache_read: Decimal | None = None
    citation: Decimal | None = None
    character: Decimal | None = None
    image: Decimal | None = None
    file_search: Decimal | None = None
    code_unit: Decimal | None = None
    source: Decimal | None = None
    audio_least: Decimal = Decimal(0)
    """Seconds."""
    above: dict[int, dict[str, Decimal | None]] = {}
    """Tokens of input → prices of calls with more."""
    services: dict[str, Decimal] = {}
    """Service tier → per cent, like the next by hours (``HH:MM-HH:MM``, perhaps after days)."""
    hours: dict[str, Decimal] = {}
    currency: str = "USD"
    since: str | None = None
    """A date, as the next."""
    until: str | None = None


class Facts(Struct, frozen=True, kw_only=True):
    """What the user says of a model at a provider. 0, empty or None = not said."""

    abilities: tuple[str, ...] | None = None
    context: int = 0
    max_output: int = 0
    quantization: str = ""
    region: str = ""
    data_policy: str = ""
    account: Account = Account()


class ProviderConfig(Struct, frozen=True, kw_only=True):
    """One entry of ``providers:``. ``None`` = not said: the catalogue's value holds."""

    name: str
    keys: tuple[Ref, ...] = ()
    format: str | None = None
    base_url: str | None = None
    region: str | None = None
    data_policy: str | None = None
    private: bool | None = None
    auth: str | None = None
    headers: tuple[tuple[str, Ref], ...] = ()
    endpoints: tuple[str, ...] | None = None
    quirks: tuple[str, ...] | None = None
    discount: Decimal = Decimal(0)
    """Per cent off the catalogue's prices."""
    discounts: dict[str, Decimal] = {}
    """The same by model."""
    surcharge: Decimal = Decimal(0)
    """Per cent on top of them."""
    prices: dict[str, tuple[Prices, ...]] = {}
    """By model; the periods in order."""
    models: dict[str, Facts] = {}
    limit: Limit | None = None
    rates: tuple[RateLimit, ...] = ()
    probe: Probe | None = None


class RouteConfig(Struct, frozen=True, kw_only=True):
    """One entry of ``models:``; names as written."""

    name: str
    targets: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    """The targets by priority; empty = they are all of one."""
    strategy: str = "ordered"
    sticky: str = ""
    affinity: Affinity | None = None
    weights: dict[str, float] = {}
    fallbacks: tuple[str, ...] = ()
    on_content_filter: str = ""
    retry_empty: bool = False
    hedge: float = 0.0
    """As in ``snapshot.Route``."""
    rescue: bool = False
    filter: Filter | None = None
    guard: tuple[str, ...] = ()


class Retention(Struct, frozen=True, kw_only=True):
    """How long the control plane keeps what is in the ledger, seconds; 0 = for ever."""

    calls: int = 0
    minutes: int = 7 * 86_400
    hours: int = 400 * 86_400
    content: int = 30 * 86_400
    """Of prompts and answers."""
    audit: int = 0
    """Of entries of the audit log."""


LEVELS: Final = ("error", "warning", "info")
"""Of calls in the log, the gravest first."""


class SinkConfig(Struct, frozen=True, kw_only=True):
    """Where lines of the log go: ``stdout``, ``file``, ``webhook``, ``s3``, or a plugin's name."""

    kind: str
    path: str = ""
    """Of a file; a relative one is below ``logs`` in the data directory."""
    max_size: int = 100_000_000
    """Bytes of a file before another one is begun."""
    files: int = 5
    """Full ones that are kept."""
    url: str = ""
    private: bool | None = None
    """Whether ``url`` may lead to a private address; None = if it names one."""
    secret: Secret | None = None
    bucket: str = ""
    prefix: str = "ferryman/"
    region: str = ""
    access_key: Secret | None = None
    options: tuple[tuple[str, str], ...] = ()
    """A plugin's own; values may be references."""


class Logs(Struct, frozen=True, kw_only=True):
    """Which calls get a line in the log, and where lines go."""

    level: str = "info"
    """One of ``LEVELS``: calls that are less grave get none."""
    sample: float = 1.0
    """The share of calls of the last level that get one."""
    sinks: tuple[SinkConfig, ...] = ()
    audit: bool = False
    """Whether entries of the audit log go there, too."""


class Grant(Struct, frozen=True, kw_only=True):
    """What a group of a directory gives to those in it."""

    role: str = ""
    """Empty = they may nothing."""
    team: str | None = None


class Config(Struct, frozen=True, kw_only=True):
    """A whole file."""

    providers: dict[str, ProviderConfig] = {}
    models: dict[str, RouteConfig] = {}
    currencies: dict[str, Decimal] = {}
    """Code → USD for one."""
    policies: tuple[Rule, ...] = ()
    residency: tuple[Residence, ...] = ()
    limits: tuple[CallLimit, ...] = ()
    alerts: Alerts = NO_FILE
    server: ServerSettings = ServerSettings()
    timeouts: Timeouts = Timeouts()
    keep_responses: float = 0.0
    caching: Caching = Caching()
    idempotency: Idempotency = Idempotency()
    ca_files: tuple[str, ...] = ()
    content: Content = Content()
    guards: tuple[Guard, ...] = ()
    retention: Retention = Retention()
    telemetry: Telemetry = Telemetry()
    otlp_headers: tuple[tuple[str, Ref], ...] = ()
    logs: Logs = Logs()
    roles: dict[str, tuple[str, ...]] = {}
    """Roles for tokens of the admin API → their permissions."""
    issuers: tuple[Issuer, ...] = ()
    sign_in: SignIn | None = None
    groups: dict[str, Grant] = {}
    """Groups of a directory → what they give; the first that somebody is in counts."""
    passwords: bool = False
    """True: all users may have a password; else owners alone."""
