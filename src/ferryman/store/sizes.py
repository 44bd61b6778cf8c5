"""How large the ledger is, without counting its rows."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import spans
from ferryman.store.db import reading
from ferryman.store.schema import SPANS, calls, rollups


class Size(Struct, frozen=True, kw_only=True):
    """Of the whole database, and of what is in the ledger. Times are Unix microseconds."""

    size: int
    """Bytes; of SQLite with what is free within the file."""
    ever: int
    """Calls that were taken in, those that are not kept any more among them."""
    first_us: int | None
    """When the oldest call that is kept began; None = there is none."""
    last_us: int | None
    floors: dict[str, int]
    """Source (``calls`` or a span of roll-ups) → from when on it is kept; not there = ever."""


def size(engine: sa.Engine) -> Size:
    """The database as it is now."""
    at = calls.c.at_us
    with reading(engine) as connection:

        def one(query: Any) -> Any:
            return connection.execute(query).scalar()

        if engine.dialect.name == "postgresql":
            held = one(sa.text("SELECT pg_database_size(current_database())"))
        else:
            held = one(sa.text("PRAGMA page_count")) * one(sa.text("PRAGMA page_size"))
        return Size(
            size=int(held),
            ever=int(one(sa.select(sa.func.sum(rollups["day"].c.calls))) or 0),
            first_us=one(sa.select(sa.func.min(at))),
            last_us=one(sa.select(sa.func.max(at))),
            floors={n: at for n, at in spans.floors(connection).items() if n in ("calls", *SPANS)},
        )
