"""Sums over minutes, hours and days; on PostgreSQL a table of calls for each month.

The sums are made of the calls that are there. The ids of their groups are chance: two that say the
same are added up by whoever reads.
"""

import datetime
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TOKENS = (
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "output", "reasoning",
    "audio_output", "searches", "audio_cache_read", "image_input", "image_output", "audio_ms",
)  # fmt: skip
_ALIKE = (
    "key_id", "endpoint", "model", "provider", "target", "policy", "stream", "service", "outcome",
)  # fmt: skip
_COUNTS = ("calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated")
_AMOUNTS = ("cost_micro", "cost_rest", "saved_micro", "saved_rest")
_DAY = 86_400
_OUTCOME = (
    "CASE WHEN state = 'lost' THEN 'lost' WHEN error <> '' THEN error "
    "WHEN status >= 400 THEN CAST(status AS TEXT) ELSE 'ok' END"
)
_REPEATED = "cache IN ('hit', 'coalesced', 'replayed')"


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    _add_time_to_the_key(postgres)
    _make_tables()
    if op.get_bind().execute(sa.text("SELECT 1 FROM calls LIMIT 1")).first():
        _fill(postgres)


def _add_time_to_the_key(postgres: bool) -> None:
    """Make ``calls`` anew: no database changes a primary key, or divides a table, in place."""
    columns = sa.inspect(op.get_bind()).get_columns("calls")
    for name in ("calls_at", "calls_key_at", "calls_model_at"):
        op.drop_index(name, "calls")
    op.rename_table("calls", "calls_before")
    if postgres:
        op.execute("ALTER INDEX calls_pkey RENAME TO calls_before_pkey")
    made = [_column(column) for column in columns]
    op.create_table(
        "calls",
        *made,
        sa.PrimaryKeyConstraint("request_id", "at_us"),
        postgresql_partition_by="RANGE (at_us)",
    )
    op.create_index("calls_at", "calls", ["at_us"])
    op.create_index("calls_key_at", "calls", ["key_id", "at_us"])
    op.create_index("calls_model_at", "calls", ["model", "at_us"])
    if postgres:
        op.execute("CREATE TABLE calls_default PARTITION OF calls DEFAULT")
        for month in _months():
            begin, end = (int(_month(number).timestamp()) * 10**6 for number in (month, month + 1))
            op.execute(
                f"CREATE TABLE calls_{_month(month):%Y_%m} PARTITION OF calls "
                f"FOR VALUES FROM ({begin}) TO ({end})"
            )
    names = ", ".join(f'"{column["name"]}"' for column in columns)
    op.execute(f"INSERT INTO calls ({names}) SELECT {names} FROM calls_before")
    op.drop_table("calls_before")


def _column(column: Any) -> "sa.Column[Any]":
    return sa.Column(column["name"], column["type"], nullable=column["nullable"])


def _months() -> set[int]:
    """The months that have calls, counted from the year 0; not those of clocks that are far off."""
    days = sa.text(
        "SELECT DISTINCT at_us / 86400000000 FROM calls_before "
        "WHERE at_us BETWEEN 0 AND 4000000000000000"
    )
    dates = [
        datetime.date(1970, 1, 1) + datetime.timedelta(days=int(day))
        for day in op.get_bind().execute(days).scalars()
    ]
    return {date.year * 12 + date.month - 1 for date in dates}


def _month(number: int) -> datetime.datetime:
    return datetime.datetime(number // 12, number % 12 + 1, 1, tzinfo=datetime.UTC)


def _make_tables() -> None:
    op.create_table(
        "call_groups",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in _ALIKE[:5]),
        sa.Column("policy", sa.Text),
        sa.Column("stream", sa.Boolean),
        sa.Column("service", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    for span in ("minute", "hour", "day"):
        sums = [_number(name) for name in (*_COUNTS, *_TOKENS, *_AMOUNTS)]
        op.create_table(f"calls_by_{span}", *_group(), *sums, sqlite_with_rowid=False)
        op.create_table(
            f"latencies_by_{span}",
            *_group(),
            sa.Column("measure", sa.SmallInteger, primary_key=True, autoincrement=False),
            sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
            _number("calls"),
            sqlite_with_rowid=False,
        )
    for step in ("minute", "quarter"):
        amounts = map(_number, ("charged_micro", "charged_rest", "charged_tokens"))
        op.create_table(
            f"charges_by_{step}",
            *_group(),
            sa.Column("budgets", sa.Text, nullable=False),
            *amounts,
            sqlite_with_rowid=False,
        )


def _number(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.BigInteger, nullable=False)


def _group() -> "tuple[sa.Column[Any], ...]":
    return (
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.LargeBinary, primary_key=True),
    )


def _fill(postgres: bool) -> None:
    chance = "uuid_send(gen_random_uuid())" if postgres else "randomblob(16)"
    alike = ", ".join((*_ALIKE[:-1], f"{_OUTCOME} AS outcome"))
    quick = (
        "SELECT DISTINCT '*' AS key_id, endpoint, model, provider, target, NULL AS policy, stream, "
        f"NULL AS service, 'ok' AS outcome FROM calls WHERE {_OUTCOME} = 'ok'"
    )
    for source in (f"SELECT DISTINCT {alike} FROM calls", quick):
        op.execute(
            f"INSERT INTO call_groups (id, {', '.join(_ALIKE)}) "
            f"SELECT {chance}, found.* FROM ({source}) AS found"
        )
    # Minutes are kept for some days only.
    since = int(time.time()) // _DAY * _DAY - 8 * _DAY
    op.execute(f"INSERT INTO meta (name, value) VALUES ('minute_kept_since', {since})")
    for span, seconds, first in (("minute", 60, since), ("hour", 3600, 0), ("day", _DAY, 0)):
        at = f"at_us / {seconds * 10**6} * {seconds}"
        recent = f"at_us >= {first * 10**6}" if first else "1 = 1"
        _fill_sums(span, at, recent, postgres)
        for measure, column in enumerate(("duration_us", "first_token_us")):
            _fill_latencies(span, at, recent, measure, column, postgres)
    for step, seconds, first in (("minute", 60, since), ("quarter", 900, 0)):
        micro, rest = _money("charged_pico", postgres)
        op.execute(
            f"INSERT INTO charges_by_{step} SELECT at, {chance}, budgets, micro, rest, tokens FROM "
            f"(SELECT at_us / {seconds * 10**6} * {seconds} AS at, budgets, {micro} AS micro, "
            f"{rest} AS rest, COALESCE(SUM(charged_tokens), 0) AS tokens FROM calls "
            f"WHERE budgets IS NOT NULL AND at_us >= {first * 10**6} GROUP BY 1, 2) AS found"
        )


def _fill_sums(span: str, at: str, recent: str, postgres: bool) -> None:
    sums = [
        "COUNT(*)",
        _how_many("status >= 400 OR error <> ''"),
        _how_many("state = 'lost'"),
        _how_many("input IS NULL"),
        _how_many("cost_pico IS NULL OR unknown_cost > 0"),
        _how_many(_REPEATED),
        *(f"COALESCE(SUM({name}), 0)" for name in _TOKENS),
        *_money("cost_pico", postgres),
        *_money("saved_pico", postgres),
    ]
    op.execute(
        f"INSERT INTO calls_by_{span} (at, group_id, {', '.join((*_COUNTS, *_TOKENS, *_AMOUNTS))}) "
        f"SELECT {at}, id, {', '.join(sums)} FROM (SELECT calls.*, {_OUTCOME} AS outcome "
        f"FROM calls WHERE {recent}) AS call JOIN call_groups ON {_same(_ALIKE)} GROUP BY 1, 2"
    )


def _fill_latencies(
    span: str, at: str, recent: str, measure: int, column: str, postgres: bool
) -> None:
    whole = f"GREATEST(4, {column})"
    bucket = f"bucket_of({column})"
    if postgres:
        power = f"(LENGTH(LTRIM({whole}::bit(64)::text, '0')) - 1)"
        bucket = f"{power} * 4 + ({whole} >> ({power} - 2)) % 4"
    else:
        driver: Any = op.get_bind().connection.driver_connection
        driver.create_function("bucket_of", 1, _bucket, deterministic=True)
    op.execute(
        f"INSERT INTO latencies_by_{span} (at, group_id, measure, bucket, calls) "
        f"SELECT {at}, id, {measure}, {bucket}, COUNT(*) FROM calls AS call "
        f"JOIN call_groups ON {_same(('endpoint', 'model', 'provider', 'target', 'stream'))} "
        f"AND call_groups.key_id = '*' WHERE {_OUTCOME} = 'ok' AND {recent} "
        f"AND {column} IS NOT NULL AND COALESCE({_REPEATED}, false) = false GROUP BY 1, 2, 3, 4"
    )


def _bucket(microseconds: int) -> int:
    whole = max(4, microseconds)
    power = whole.bit_length() - 1
    return power * 4 + (whole >> power - 2) % 4


def _how_many(condition: str) -> str:
    return f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _money(column: str, postgres: bool) -> tuple[str, str]:
    """Sums of whole microdollars, and of the picodollars beside them."""
    if postgres:
        return (f"COALESCE(SUM(DIV({column}, 1000000)), 0)",
                f"COALESCE(SUM(MOD({column}, 1000000)), 0)")  # fmt: skip
    return (f"COALESCE(SUM({column} / 1000000), 0)", f"COALESCE(SUM({column} % 1000000), 0)")


def _same(names: tuple[str, ...]) -> str:
    """The condition that ``call`` is of the group; of texts and flags that both may lack."""
    equal = {
        name: f"COALESCE(CAST({{}}.{name} AS TEXT), '')"
        if name in ("policy", "stream", "service")
        else f"{{}}.{name}"
        for name in names
    }
    return " AND ".join(
        f"{each.format('call')} = {each.format('call_groups')}" for each in equal.values()
    )
