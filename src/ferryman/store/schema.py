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
)

from ferryman.ir.usage import CLASSES, EXTRA_COUNTS

HEAD: Final = "0012"
"""The newest migration: the schema this version of the program works with."""

PICO: Final = BigInteger().with_variant(Numeric(38, 0), "postgresql")
"""Picodollars. PostgreSQL sums NUMERIC without overflow; SQLite has 64-bit integers only."""

TOKEN_CLASSES: Final = CLASSES
"""Columns of ``calls`` that hold tokens: the fields of :class:`~ferryman.ir.usage.Usage`."""

metadata = MetaData()


def _charge() -> tuple[Column[Any], ...]:
    """What budgets bear of a call: their counters (a JSON array), and how much; NULL = none."""
    return (
        Column("budgets", Text),
        Column("charged_pico", PICO),
        Column("charged_tokens", BigInteger),
    )


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
    Index("virtual_keys_seq", "seq"),
    Index("virtual_keys_name", "name"),
)

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
    Index("calls_at", "at_us"),
    Index("calls_key_at", "key_id", "at_us"),
    Index("calls_model_at", "model", "at_us"),
    postgresql_partition_by="RANGE (at_us)",
)
"""Single calls. PostgreSQL has a table for each month of them (``store/retention.py``), so the key
must have the time in it: an id belongs to one time for good."""
_rest = DDL("CREATE TABLE calls_default PARTITION OF calls DEFAULT")  # type: ignore[no-untyped-call]
event.listen(calls, "after_create", _rest.execute_if(dialect="postgresql"))

SPANS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
"""Spans of roll-ups in seconds."""
STEPS: Final = {"minute": 60, "quarter": 900}
"""The same of what budgets bear: no day begins within a quarter of an hour, in any zone."""
COUNTS: Final = ("calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated")
AMOUNTS: Final = ("cost_micro", "cost_rest", "saved_micro", "saved_rest")
"""Money in two parts whose sums stay within 64 bits: microdollars, and picodollars beside them."""
SUMS: Final = (*COUNTS, *TOKEN_CLASSES, *EXTRA_COUNTS, *AMOUNTS)
"""What a roll-up has of a group of calls."""


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

rollups = {
    span: Table(
        f"calls_by_{span}",
        metadata,
        *_group(),
        *(Column(name, BigInteger, nullable=False) for name in SUMS),
        sqlite_with_rowid=False,
    )
    for span in SPANS
}
"""Span → its sums over calls (``store/rollup.py``)."""

latencies = {
    span: Table(
        f"latencies_by_{span}",
        metadata,
        *_group(),
        Column("measure", SmallInteger, primary_key=True, autoincrement=False),
        Column("bucket", SmallInteger, primary_key=True, autoincrement=False),
        Column("calls", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    for span in SPANS
}
"""Span → how long answers took: calls for each bucket of time (``store/rollup.py``)."""

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

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
