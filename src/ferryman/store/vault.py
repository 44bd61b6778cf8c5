"""Rows of the vault: ciphertext and what may be shown of it. Nothing here can open one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict

from ferryman.store.db import add_to_meta, insert, open_engine, reading, writing
from ferryman.store.schema import vault as _table

_SEQ: Final = "vault_seq"
Place = tuple[str, str, str]
"""Tenant (an organisation; empty = the secret is the installation's), name and field."""


class Row(Struct, frozen=True, kw_only=True):
    """One secret as it is stored. Times are Unix seconds."""

    tenant: str
    name: str
    field: str
    serial: int
    """A number of chance, another one for each writing: what was sealed for one fits no other."""
    master: str
    """Which master key wrapped its data key."""
    wrapped: bytes
    sealed: bytes
    hint: str
    """The last characters of a long one."""
    created_at: int
    changed_at: int

    @property
    def place(self) -> Place:
        return self.tenant, self.name, self.field


def there(url: str) -> bool:
    """Whether the database has a vault: before the control plane's first start it has not."""
    found = sa.make_url(url)
    if found.drivername.partition("+")[0] == "sqlite" and not Path(found.database or "").exists():
        return False
    engine = open_engine(url)
    try:
        return sa.inspect(engine).has_table(_table.name)
    finally:
        engine.dispose()


def rows(engine: sa.Engine) -> dict[Place, Row]:
    """All rows, in one unchanging view."""
    with reading(engine) as connection:
        return read(connection)


def read(connection: sa.Connection) -> dict[Place, Row]:
    """The same within a transaction."""
    found = connection.execute(sa.select(_table).order_by(_table.c.tenant, _table.c.name))
    return {row.place: row for row in (Row(**each._mapping) for each in found)}


@contextmanager
def changing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that has the vault for itself."""
    with writing(engine) as connection:
        add_to_meta(connection, _SEQ, 1)  # its row is locked until the end
        yield connection


def put(connection: sa.Connection, row: Row) -> None:
    """Write ``row`` in place of what is there."""
    values = asdict(row)
    keys = {column.name for column in _table.primary_key}
    connection.execute(
        insert(connection, _table)
        .values(values)
        .on_conflict_do_update(
            index_elements=list(_table.primary_key),
            set_={name: value for name, value in values.items() if name not in keys},
        )
    )


def remove(connection: sa.Connection, place: Place) -> None:
    """Delete a row."""
    tenant, name, field = place
    connection.execute(
        _table.delete().where(
            _table.c.tenant == tenant, _table.c.name == name, _table.c.field == field
        )
    )
