"""What is kept of prompts and answers, in the database: sealed there too."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DataError

from ferryman.store import audit, bodies, spans
from ferryman.store.audit import Act
from ferryman.store.bodies import Body, Sealed
from ferryman.store.db import insert, reading, writing
from ferryman.store.schema import contents, meta
from ferryman.store.sealing import Sealer

_table: Final = contents.c


class Mark(NamedTuple):
    """Where a page of contents ends."""

    at_us: int
    request_id: str


class Contents:
    """Reads and writes the table with the installation's key."""

    def __init__(self, engine: sa.Engine, key: bytes) -> None:
        """``key``: 32 bytes."""
        self._engine = engine
        self._sealer = Sealer(key)

    def add(self, sealed: Sequence[Sealed]) -> None:
        """Take in what data planes have written; what is there already, or too old, is left."""
        with writing(self._engine) as connection:
            name = spans.name_of_floor(spans.CONTENT)
            since = connection.scalar(sa.select(meta.c.value).where(meta.c.name == name)) or 0
            statement = insert(connection, contents).on_conflict_do_nothing()
            for each in sealed:
                if each.at_us < since * 1_000_000:
                    continue
                row = {
                    "request_id": each.id, "at_us": each.at_us, "key_id": each.key,
                    "team": each.team.replace("\0", "\ufffd")[:200], "sealed": each.data,
                }  # fmt: skip
                try:
                    with connection.begin_nested():
                        connection.execute(statement, row)
                except DataError:
                    continue

    def load(self, request_id: str, team: str | None = None) -> Body | None:
        """What is kept of a call, to be seen by ``team`` (None = whoever asks); None = nothing."""
        query = sa.select(_table.sealed).where(_table.request_id == request_id)
        if team is not None:
            query = query.where(_table.team == team)
        with reading(self._engine) as connection:
            found = connection.scalar(query)
        if found is not None:
            audit.record(self._engine, Act(action="content.read", target=request_id))
        return None if found is None else self._opened(request_id, found)

    def marks(self, after: Mark, until_us: int, limit: int) -> list[Mark]:
        """The next calls of which something is kept, oldest first."""
        same = sa.and_(_table.at_us == after.at_us, _table.request_id > after.request_id)
        query = (
            sa.select(_table.at_us, _table.request_id)
            .where(sa.or_(_table.at_us > after.at_us, same), _table.at_us < until_us)
            .where(_table.at_us >= after.at_us)
            .order_by(_table.at_us, _table.request_id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [Mark(*row) for row in connection.execute(query)]

    def load_all(self, ids: Sequence[str]) -> Mapping[str, Body]:
        """What is kept of these calls."""
        query = sa.select(_table.request_id, _table.sealed).where(_table.request_id.in_(ids))
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        if rows:
            read = sorted(row.request_id for row in rows)
            audit.record(self._engine, Act(action="content.export", after=read))
        found = {row.request_id: self._opened(row.request_id, row.sealed) for row in rows}
        return {name: body for name, body in found.items() if body is not None}

    def _opened(self, request_id: str, sealed: bytes) -> Body | None:
        data = self._sealer.open(bodies.bound(request_id), sealed)
        return None if data is None else bodies.body_of(data)
