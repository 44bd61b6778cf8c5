"""The versions of the configuration: appended one by one, never changed."""

import hashlib
from typing import Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.config.version import Version
from ferryman.store import audit
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.peek import read
from ferryman.store.schema import config_versions

KEPT: Final = 500
"""Versions that are kept; older ones are deleted."""
_table = config_versions.c
_newest = sa.select(config_versions).order_by(_table.number.desc())


class VersionConflictError(Exception):
    """Another version came first; ``number`` is the latest."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the latest version is {number}")
        self.number = number


def latest(engine: sa.Engine) -> Version | None:
    """The last version; ``None`` when there is none, or no table for it yet."""
    if not sa.inspect(engine).has_table(config_versions.name):
        return None
    with reading(engine) as connection:
        row = connection.execute(_newest.limit(1)).first()
        return None if row is None else read(tuple(row))


def add(engine: sa.Engine, version: Version, *, after: int | None = None) -> Version:
    """Append ``version``, whose number is given here; returns it with that.

    Raises :class:`VersionConflictError` when the latest is not number ``after`` (if given), or when
    another process appends at the same time.
    """
    last = sa.select(sa.func.coalesce(sa.func.max(_table.number), 0))
    row = {name: getattr(version, name) for name in ("at", "by", "note", "snapshot", "text")} | {
        "changes": msgspec.json.encode(version.changes).decode(),
        "overlay": msgspec.json.encode(version.overlay).decode(),
    }
    try:
        with writing(engine) as connection:
            number = int(connection.scalar(last) or 0)
            if after not in (None, number):
                raise VersionConflictError(number)
            connection.execute(config_versions.insert().values(number=number + 1, **row))
            old = _table.number <= number + 1 - KEPT
            connection.execute(config_versions.delete().where(old))
            audit.append(connection, _act(version, number))
    except sa.exc.IntegrityError:
        with reading(engine) as connection:
            raise VersionConflictError(int(connection.scalar(last) or 0)) from None
    return replace(version, number=number + 1)


def _act(version: Version, number: int) -> Act:
    """Without texts: those of the versions are kept, and have secrets sealed."""
    said = {name: getattr(version, name) for name in ("by", "note", "changes", "snapshot")}
    digest = hashlib.sha256(version.text.encode()).hexdigest()
    now = {"version": number + 1, **said, "sha256": digest}
    return Act(
        action="config.change", target=f"version {number + 1}", before={"version": number},
        after=now,
    )  # fmt: skip


def find(engine: sa.Engine, number: int) -> Version | None:
    """The version of this number, if it is (still) there."""
    with reading(engine) as connection:
        query = sa.select(config_versions).where(_table.number == number)
        row = connection.execute(query).first()
        return None if row is None else read(tuple(row))


def listing(engine: sa.Engine, *, limit: int, before: int | None = None) -> list[Version]:
    """The newest versions first, without their texts; ``before``: those of smaller number."""
    empty = (sa.literal("").label("text"), sa.literal("{}").label("overlay"))
    columns = [column for column in _table if column.name not in ("text", "overlay")]
    query = sa.select(*columns, *empty).order_by(_table.number.desc()).limit(limit)
    if before is not None:
        query = query.where(_table.number < before)
    with reading(engine) as connection:
        return [read(tuple(row)) for row in connection.execute(query)]
