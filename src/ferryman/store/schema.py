"""The tables of ledger, virtual keys and configuration versions, alike on SQLite and PostgreSQL.

Times named ``…_us`` are Unix microseconds or spans in microseconds, ``…_at`` are Unix seconds.
Money is integer picodollars. A change here needs a migration beside it (a test compares the two).
"""

from typing import Any, Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    event,
    false,
    text,
)

from ferryman.ir.usage import CLASSES, EXTRA_COUNTS

HEAD: Final = "0030"
"""The newest migration: the schema this version of the program works with."""

PICO: Final = BigInteger().with_variant(Numeric(38, 0), "postgresql")
"""Picodollars. PostgreSQL sums NUMERIC without overflow; SQLite has 64-bit integers only."""

TOKEN_CLASSES: Final = CLASSES
"""Columns of ``calls`` that hold tokens: the fields of :class:`~ferryman.ir.usage.Usage`."""
TOKENS: Final = (*TOKEN_CLASSES, "audio_cache_read", "image_input", "image_output")
"""All columns that do."""

metadata = MetaData()


def _charge() -> tuple[Column[Any], ...]:
    """What budgets bear of a call: their counters (a JSON array), and how much; NULL = none.

    Counters that bear single attempts are arrays: counter, picodollars, tokens.
    """
    return (
        Column("budgets", Text),
        Column("charged_pico", PICO),
        Column("charged_tokens", BigInteger),
    )


LABELS: Final = (
    "organisation", "team", "user", "end_user", "run", "task", "tags", "metadata",
)  # fmt: skip
"""Columns of ``telemetry.record.Labels``: the last two are a JSON array and a JSON object."""
ESTIMATES: Final = ("estimated_input", "estimated_output", "estimated_pico")


LOOKED_UP: Final = (("run", "at_us"), ("parent", "at_us"), ("day", "upstream_id"), ("day", "trace"))
"""What single calls are looked up by. Others' ids come in no order: an index of them alone has each
new call on a page of its own (at 10 million calls, taking one in costs five times the CPU); one by
days first keeps them together (twice); SQLite has shorter stretches (``intake.slot``)."""


def _where(condition: str) -> dict[str, Any]:
    """Of an index that has some rows only."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _labels() -> tuple[Column[Any], ...]:
    return tuple(Column(name, Text) for name in LABELS)


virtual_keys = Table(
    "virtual_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("fixed", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("seq", BigInteger, nullable=False),
    Column("organisation", Text),
    Column("team", Text),
    Column("user", Text),
    Column("tags", Text),
    Column("bounds", Text),
    Index("virtual_keys_seq", "seq"),
    Index("virtual_keys_name", "name"),
)

admin_tokens = Table(
    "admin_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("organisation", Text),
    Column("team", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("user_id", Text),
)
"""Who may ask the admin API for what (``store/tokens.py``); a user's end with the user."""

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("folded", Text, nullable=False, unique=True),
    Column("display", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("organisation", Text),
    Column("team", Text),
    Column("password", Text),
    Column("external_id", Text),
    Column("issuer", Text),
    Column("subject", Text),
    Column("active", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("last_in_at", BigInteger),
    Index("users_external", "organisation", "external_id", unique=True),
    Index("users_subject", "issuer", "subject", unique=True),
)
"""Who signs in (``store/users.py``). ``folded`` is what names are compared by; ``password`` is an
encoded argon2id hash; ``external_id`` is a directory's (SCIM), ``issuer`` and ``subject`` those of
an identity provider (OpenID Connect)."""

sessions = Table(
    "sessions",
    metadata,
    Column("mark", Text, primary_key=True),
    Column("user_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Index("sessions_user", "user_id"),
)
"""Of the dashboard, by the SHA-256 of what the browser has; without a user, the owner's."""


def _record() -> tuple[Column[Any], ...]:
    """What is kept of an organisation and of a team beside its name."""
    return (
        Column("title", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("archived_at", BigInteger),
    )


organisations = Table("organisations", metadata, Column("name", Text, primary_key=True), *_record())
teams = Table(
    "teams",
    metadata,
    Column("organisation", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    *_record(),
)
"""Those that keys and tokens may name (``store/tenants.py``)."""

delegated_limits = Table(
    "delegated_limits",
    metadata,
    *(Column(name, Text, primary_key=True) for name in ("organisation", "team", "user", "key_id")),
    Column("limits", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
)
"""What an organisation, team, user or key may take (``store/delegated.py``); empty = any. Of keys
the id alone says which: whose they are may change."""

scim_users = Table(
    "scim_users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("attributes", Text, nullable=False),
)
"""What a directory keeps here of those users that it has made (``store/scim.py``): JSON."""

scim_groups = Table(
    "scim_groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organisation", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("external_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Index("scim_groups_name", "organisation", "folded", unique=True),
)
"""A directory's groups; without an organisation, it is empty: so names are unique there too."""

scim_members = Table(
    "scim_members",
    metadata,
    Column("group_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Index("scim_members_user", "user_id"),
)
"""Who is in which group."""

calls = Table(
    "calls",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("duration_us", BigInteger),
    Column("plane", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("stream", Boolean),
    Column("status", Integer, nullable=False),
    Column("error", Text, nullable=False),
    *(Column(name, BigInteger) for name in TOKEN_CLASSES),
    Column("cost_pico", PICO),
    Column("attempts", Integer, nullable=False),
    Column("attempts_json", Text, nullable=False),
    Column("first_token_us", BigInteger),
    Column("overhead_us", BigInteger),
    Column("state", Text, nullable=False),
    Column("policy", Text),
    Column("plan_json", Text),
    Column("unknown_cost", Integer),
    Column("cache", Text),
    Column("saved_pico", PICO),
    *_charge(),
    Column("service", Text),
    Column("region", Text),
    *(Column(name, BigInteger) for name in EXTRA_COUNTS),
    Column("price", Text),
    Column("pieces_json", Text),
    *_labels(),
    Column("estimated_input", BigInteger),
    Column("estimated_output", BigInteger),
    Column("estimated_pico", PICO),
    Column("parent", Text),
    Column("client", Text),
    Column("strategy", Text),
    Column("verdicts_json", Text),
    Column("upstream_id", Text),
    Column("trace", Text),
    Column("day", BigInteger),
    Column("content", Text),
    Index("calls_at", "at_us"),
    Index("calls_key_at", "key_id", "at_us"),
    Index("calls_model_at", "model", "at_us"),
    Index(
        "calls_estimated_at",
        "at_us",
        **_where("estimated_input IS NOT NULL"),
    ),
    *(
        Index(f"calls_{one}_{other}", one, other, **_where(f"{known} IS NOT NULL"))
        for one, other in LOOKED_UP
        for known in (other if one == "day" else one,)
    ),
    postgresql_partition_by="RANGE (at_us)",
)
"""Single calls. PostgreSQL has a table for each month of them (``store/retention.py``), so the key
must have the time in it: an id belongs to one time for good."""
_rest = DDL("CREATE TABLE calls_default PARTITION OF calls DEFAULT")  # type: ignore[no-untyped-call]
event.listen(calls, "after_create", _rest.execute_if(dialect="postgresql"))

upstream_ids = Table(
    "upstream_ids",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("upstream_ids_at", "at_us"),
)
"""What providers called attempts that a call gave up; ``calls.upstream_id`` is the last one's."""

DAY: Final = 86_400
DAY_US: Final = DAY * 1_000_000
SPANS: Final = {"minute": 60, "hour": 3600, "day": DAY}
"""Spans of roll-ups in seconds."""
STEPS: Final = {"minute": 60, "quarter": 900}
"""The same of what budgets bear: no day begins within a quarter of an hour, in any zone."""
COUNTS: Final = ("calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated")
AMOUNTS: Final = ("cost_micro", "cost_rest", "saved_micro", "saved_rest")
"""Money in two parts whose sums stay within 64 bits: microdollars, and picodollars beside them."""
SUMS: Final = (*COUNTS, *TOKEN_CLASSES, *EXTRA_COUNTS, *AMOUNTS)
"""What a roll-up has of a group of calls."""
ESTIMATED: Final = (
    "estimated_calls", "estimated_input", "estimated_output", "estimated_micro", "estimated_rest",
)  # fmt: skip
"""Sums of ``ESTIMATES``, and over how many calls."""
SCORES: Final = ("scored", "score")
"""How many scores ``feedback`` gave to calls, and their sum."""


def _group() -> tuple[Column[Any], ...]:
    """Beginning (Unix seconds) and group (a digest of what its calls have in common)."""
    return (
        Column("at", BigInteger, primary_key=True, autoincrement=False),
        Column("group_id", LargeBinary, primary_key=True),
    )


call_groups = Table(
    "call_groups",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("policy", Text),
    Column("stream", Boolean),
    Column("service", Text),
    Column("outcome", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What the calls of a roll-up have in common; for latencies those of all keys (``*``), whatever the
policy and service. Two ids may stand for the same."""


def _sums(span: str) -> Table:
    """Sums over calls."""
    return Table(
        f"calls_by_{span}",
        metadata,
        *_group(),
        *(Column(name, BigInteger, nullable=False) for name in SUMS),
        sqlite_with_rowid=False,
    )


rollups = {span: _sums(span) for span in SPANS}
"""Span → its sums over calls (``store/rollup.py``)."""
condensed_sums = _sums("week")
"""The same of weeks that are over (``store/condensed.py``)."""

condensed = Table(
    "calls_by_dimension",
    metadata,
    Column("dimension", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Text, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in (*SUMS, *ESTIMATED)),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in SCORES),
    sqlite_with_rowid=False,
)
"""Sums over days (``at``, Unix seconds) that are over, by one dimension (``store/condensed.py``);
no value is an empty text."""


def _latencies(span: str) -> Table:
    """How long answers took: calls for each bucket of time."""
    return Table(
        f"latencies_by_{span}",
        metadata,
        *_group(),
        Column("measure", SmallInteger, primary_key=True, autoincrement=False),
        Column("bucket", SmallInteger, primary_key=True, autoincrement=False),
        Column("calls", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


latencies = {span: _latencies(span) for span in SPANS}
"""Span → how long answers took (``store/rollup.py``)."""
condensed_latencies = _latencies("week")
"""The same of weeks that are over."""

charges = {
    step: Table(
        f"charges_by_{step}",
        metadata,
        *_group(),
        Column("budgets", Text, nullable=False),
        Column("charged_micro", BigInteger, nullable=False),
        Column("charged_rest", BigInteger, nullable=False),
        Column("charged_tokens", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    for step in STEPS
}
"""Step → what budgets bear of its calls."""

prices = Table(
    "prices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("first_used_at", BigInteger, nullable=False),
    Column("prices_json", Text, nullable=False),
)
"""Every price that a call was billed by (``telemetry.record.Priced``)."""

open_calls = Table(
    "open_calls",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("plane", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("hold_pico", PICO, nullable=False),
    *_charge(),
    *_labels(),
    Column("parent", Text),
)

journal_positions = Table(
    "journal_positions",
    metadata,
    Column("plane", Text, primary_key=True),
    Column("segment", BigInteger, primary_key=True, autoincrement=False),
    Column("boot", Text, nullable=False),
    Column("read_to", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
)

config_versions = Table(
    "config_versions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("changes", Text, nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("overlay", Text, nullable=False),
)
"""Versions of the configuration (``config/version.py``). ``store/peek.py`` reads it too."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("told_at", BigInteger),
    Column("acknowledged_at", BigInteger),
    Column("acknowledged_by", Text),
    Column("resolved_at", BigInteger),
    Index(
        "alerts_open",
        "rule",
        "subject",
        unique=True,
        sqlite_where=text("resolved_at IS NULL"),
        postgresql_where=text("resolved_at IS NULL"),
    ),
    Index("alerts_opened", "opened_at"),
)
"""What is, or was, to be told (``store/alerts.py``): open at most once for a rule and subject."""

silences = Table(
    "silences",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
"""Alerts that nobody is told of until then; empty rule, empty subject = any."""

notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("channel", Text, nullable=False, server_default=""),
    Index("notices_next", "next_at"),
)
"""What channels are told (``store/notices.py``)."""

contents = Table(
    "contents",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("contents_at", "at_us"),
)
"""What callers sent and got, encrypted (``store/bodies.py``)."""

feedback = Table(
    "feedback",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("run", Boolean, primary_key=True, autoincrement=False),
    Column("key_id", Text, primary_key=True),
    Column("team", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("score", Integer),
    Column("tags", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("call_at_us", BigInteger),
    Index("feedback_at", "at_us"),
    Index("feedback_call_at", "call_at_us"),
)
"""What is said of calls and runs afterwards; the last word of each virtual key. Scores are
thousandths. ``call_at_us`` is when the call began, NULL until it is there, and 0 of a run.
``store/feedback.py`` says which of it counts."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("mac", Text, nullable=False),
)
"""Who did what (``store/audit.py``)."""

audit_marks = Table(
    "audit_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("mac", Text, nullable=False),
    Column("seal", Text, nullable=False),
)
"""Where its chain begins (``anchor``) and ends (``head``)."""

vault = Table(
    "vault",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("master", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
"""Secrets, encrypted (``control/vault/``); names that begin with ``@`` are the vault's own."""

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
