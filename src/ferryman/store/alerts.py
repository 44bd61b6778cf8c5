"""Alerts and what silences them: each opens, is told, and closes once, whoever looks how often.

Several control planes may look at once: a change holds only if what it goes by is still so, and
what is to be told goes into the outbox (``store/notices.py``) in the same transaction.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import audit
from ferryman.store import notices as outbox
from ferryman.store.audit import Act
from ferryman.store.db import insert, reading, writing
from ferryman.store.schema import alerts as _table
from ferryman.store.schema import notices as _notices
from ferryman.store.schema import silences as _silences

KEPT: Final = 100 * 86_400
"""Seconds that closed ones are remembered: longer than any period of a budget."""
MOST: Final = 10_000
"""Alerts that are remembered at most."""
MOST_SILENCES: Final = 1000


class Alert(Struct, frozen=True, kw_only=True):
    """Something that is, or was, wrong. Times are Unix seconds; None = never."""

    id: str
    rule: str
    about: str
    """One of ``config.snapshot.ALERTED``."""
    subject: str
    """What it is about: the name of a model, the id of a key; empty = the whole."""
    host: str = ""
    """The machine that sees it, where others can't."""
    severity: str
    title: str
    detail: str
    facts: dict[str, str] = {}
    opened_at: int
    seen_at: int
    """When it was so last."""
    ends_at: int | None = None
    """When it ends by itself."""
    told_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    resolved_at: int | None = None


class Silence(Struct, frozen=True, kw_only=True):
    """Alerts that nobody is told of until then."""

    id: str
    rule: str
    """Empty = any, like the next."""
    subject: str
    until: int
    at: int
    note: str


class Message(Struct, frozen=True, kw_only=True):
    """What channels are to be told."""

    id: str
    body: str
    """JSON."""
    to: tuple[str, ...]


class Change(Struct, frozen=True, kw_only=True):
    """A step of an alert, and what to say of it."""

    what: str
    """``opened``, ``seen``, ``told`` or ``resolved``."""
    alert: Alert
    """As it is from now on."""
    told_before: int | None = None
    """``told_at`` that a ``told`` goes by."""
    message: Message | None = None


def open_alerts(engine: sa.Engine) -> list[Alert]:
    """Those that are not over, the oldest first."""
    query = sa.select(_table).where(_table.c.resolved_at.is_(None))
    with reading(engine) as connection:
        found = connection.execute(query.order_by(_table.c.opened_at, _table.c.id))
        return [_alert(row._mapping) for row in found]


def history(engine: sa.Engine, limit: int, before: tuple[int, str] | None = None) -> list[Alert]:
    """All of them, newest first; those opened ``before`` (time and id of another one)."""
    query = sa.select(_table).order_by(_table.c.opened_at.desc(), _table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(sa.tuple_(_table.c.opened_at, _table.c.id) < sa.tuple_(*before))
    with reading(engine) as connection:
        return [_alert(row._mapping) for row in connection.execute(query)]


def get(engine: sa.Engine, name: str) -> Alert | None:
    """The alert with this id."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(_table).where(_table.c.id == name)).first()
    return None if row is None else _alert(row._mapping)


def apply(engine: sa.Engine, changes: Sequence[Change], now: int) -> list[Change]:
    """Make those that still hold, and put what they say into the outbox; returns these."""
    if not changes:
        return []
    with writing(engine) as connection:
        made = [change for change in changes if _made(connection, change)]
        for change in made:
            if change.message is not None:
                for channel in change.message.to:
                    outbox.add(connection, change.message.id, channel, change.message.body, now)
        return made


def _made(connection: sa.Connection, change: Change) -> bool:
    alert = change.alert
    if change.what == "opened":
        row = msgspec.structs.asdict(alert) | {"facts": _encoded(alert.facts)}
        new = insert(connection, _table).values(**row).on_conflict_do_nothing()
        # Of an insert, PostgreSQL's driver tells no rowcount.
        return connection.execute(new.returning(_table.c.id)).first() is not None
    still = [_table.c.id == alert.id, _table.c.resolved_at.is_(None)]
    values: dict[str, Any] = {"resolved_at": alert.resolved_at}
    if change.what != "resolved":
        told = ("severity", "title", "detail", "seen_at")
        values = {name: getattr(alert, name) for name in told}
        values["facts"] = _encoded(alert.facts)
    if change.what == "told":
        was = change.told_before
        still.append(_table.c.told_at.is_(None) if was is None else _table.c.told_at == was)
        values["told_at"] = alert.told_at
    return bool(connection.execute(_table.update().where(*still).values(**values)).rowcount)


def acknowledge(engine: sa.Engine, name: str, by: str, now: int) -> Alert | None:
    """Somebody has seen it: it is not repeated. None = it is not open."""
    with writing(engine) as connection:
        still = (_table.c.id == name, _table.c.resolved_at.is_(None))
        seen = _table.update().where(*still).values(acknowledged_at=now, acknowledged_by=by)
        done = connection.execute(seen).rowcount
        if done:
            act = Act(action="alert.acknowledge", target=name, after={"by": by})
            audit.append(connection, act)
    return get(engine, name) if done else None


def tidy(engine: sa.Engine, now: int) -> None:
    """Forget what is old."""
    c = _table.c
    newest = sa.select(c.opened_at).order_by(c.opened_at.desc()).offset(MOST).limit(1)
    with writing(engine) as connection:
        over = connection.scalar(newest)
        old = c.opened_at < now - KEPT if over is None else c.opened_at < max(over, now - KEPT)
        connection.execute(_table.delete().where(c.resolved_at.is_not(None), old))
        connection.execute(_notices.delete().where(_notices.c.at < now - outbox.KEPT))
        connection.execute(_silences.delete().where(_silences.c.until < now - KEPT))


def silence(engine: sa.Engine, rule: str, subject: str, until: int, note: str, now: int) -> Silence:
    """Say nothing of such alerts until then. Raises ValueError if there are too many of these."""
    made = Silence(
        id=f"silence_{secrets.token_hex(6)}", rule=rule, subject=subject, until=until, at=now,
        note=note,
    )  # fmt: skip
    with writing(engine) as connection:
        held = connection.scalar(
            sa.select(sa.func.count()).select_from(_silences).where(_silences.c.until > now)
        )
        if (held or 0) >= MOST_SILENCES:
            raise ValueError(f"There are {MOST_SILENCES} silences already; end some of them.")
        connection.execute(_silences.insert().values(**msgspec.structs.asdict(made)))
        audit.append(connection, Act(action="alert.silence", target=made.id, after=made))
    return made


def silences(engine: sa.Engine, now: int) -> list[Silence]:
    """Those that hold now, those that end first at the front."""
    query = sa.select(_silences).where(_silences.c.until > now)
    with reading(engine) as connection:
        found = connection.execute(query.order_by(_silences.c.until, _silences.c.id))
        return [Silence(**row._mapping) for row in found]


def unsilence(engine: sa.Engine, name: str) -> bool:
    """End a silence. False = there is none of this id."""
    with writing(engine) as connection:
        done = connection.execute(_silences.delete().where(_silences.c.id == name)).rowcount
        if done:
            audit.append(connection, Act(action="alert.unsilence", target=name))
        return bool(done)


def _encoded(facts: dict[str, str]) -> str:
    return msgspec.json.encode(facts).decode()


def _alert(row: Any) -> Alert:
    return Alert(**{**row, "facts": msgspec.json.decode(row["facts"])})
