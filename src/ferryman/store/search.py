"""Looks for calls for a bounded time: what no index answers for is read back step by step."""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.store import feedback, ledger
from ferryman.store.db import reading
from ferryman.store.dimensions import PLAIN
from ferryman.store.ledger import CallRow
from ferryman.store.schema import calls as _calls

INDEXED: Final = ("key", "model")
"""Dimensions that calls are indexed by, with their time."""
FIRST_STEP: Final = 2000
"""Calls that are read at once, at the beginning;"""
MOST: Final = 100_000
STEP_SECONDS: Final = 0.06
"""then so many that it takes about this long."""
_order: Final = (_calls.c.at_us.desc(), _calls.c.request_id.desc())


class Narrow(Struct, frozen=True, kw_only=True):
    """What calls must be like beside their dimensions."""

    least_us: int = 0
    """How long they took at least,"""
    least_cost: int = 0
    """and cost: picodollars."""
    verdict: str = ""
    """What a guard said of them: ``GUARD`` or ``GUARD/STAGE/ACTION``."""
    scores: tuple[int, int] | None = None
    """Bounds of a score that feedback gave them, thousandths."""

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The same as SQL, for ``ledger.calls``."""
        found: list[sa.ColumnElement[bool]] = []
        if self.least_us:
            found.append(_calls.c.duration_us >= self.least_us)
        if self.least_cost:
            found.append(_calls.c.cost_pico >= self.least_cost)
        if self.verdict:
            parts = zip(("check", "stage", "action"), self.verdict.split("/"), strict=False)
            said = msgspec.json.encode(dict(parts)).decode()[1:-1]  # as it stands in the column
            found.append(_calls.c.verdicts_json.contains(said, autoescape=True))
        if self.scores is not None:
            found.append(feedback.scored(*self.scores))
        return found


ANY: Final = Narrow()


class Found(Struct, frozen=True, kw_only=True):
    """What was found in the time there was."""

    rows: list[CallRow]
    """Newest first."""
    after: tuple[int, str] | None
    """Where to go on (``before`` of the next search); None = this was all."""
    whole: bool
    """False: the time was up before there were enough."""


def search(
    engine: sa.Engine,
    *,
    limit: int,
    seconds: float,
    before: tuple[int, str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    where: Mapping[str, str],
    failed: bool = False,
    text: str | None = None,
    narrow: Narrow = ANY,
) -> Found:
    """As :func:`ledger.calls`, but ends after about ``seconds``. Raises ValueError as it does."""
    ends, step = time.monotonic() + seconds, FIRST_STEP
    rows: list[CallRow] = []
    asked: dict[str, Any] = {
        "until_us": until_us, "where": where, "failed": failed, "text": text,
        "also": narrow.conditions(),
    }  # fmt: skip
    while True:
        began = time.monotonic()
        edge = _edge(engine, step, before, since_us, until_us, where)
        low = since_us if edge is None else edge[0]
        more = ledger.calls(
            engine, limit=limit + 1 - len(rows), before=before, since_us=low, **asked
        )
        # Of the same microsecond, those beyond the edge belong to the next step.
        rows += [row for row in more if edge is None or (row.at_us, row.request_id) >= edge]
        if len(rows) > limit:
            last = rows[limit - 1]
            return Found(rows=rows[:limit], after=(last.at_us, last.request_id), whole=True)
        if edge is None:
            return Found(rows=rows, after=None, whole=True)
        before, now = edge, time.monotonic()
        took = max(now - began, 1e-4)
        if now + max(took, STEP_SECONDS) > ends:  # the next one may take as long again
            return Found(rows=rows, after=edge, whole=False)
        step = int(min(max(step * STEP_SECONDS / took, FIRST_STEP), step * 8, MOST))


def _edge(
    engine: sa.Engine,
    step: int,
    before: tuple[int, str] | None,
    since_us: int | None,
    until_us: int | None,
    where: Mapping[str, str],
) -> tuple[int, str] | None:
    """The call that is ``step`` calls back, by an index alone; None = there are not so many."""
    chosen: list[sa.ColumnElement[bool]] = [
        _calls.c[PLAIN[name]] == where[name] for name in INDEXED if where.get(name)
    ][:1]
    if since_us is not None:
        chosen.append(_calls.c.at_us >= since_us)
    if until_us is not None:
        chosen.append(_calls.c.at_us < until_us)
    if before is not None:
        chosen.append(_calls.c.at_us < before[0])
    query = sa.select(_calls.c.at_us).where(*chosen).order_by(_calls.c.at_us.desc())
    with reading(engine) as connection:
        at = connection.execute(query.limit(1).offset(step)).scalar()
        if at is None:
            return None
        # The first of its microsecond, so that a step always gets further.
        same = sa.select(sa.func.min(_calls.c.request_id)).where(_calls.c.at_us == at)
        return int(at), str(connection.execute(same).scalar())
