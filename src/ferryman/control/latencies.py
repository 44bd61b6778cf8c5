"""How long answers took, in the admin API."""

import time
from typing import Annotated, Final

from msgspec import Meta, Struct

from ferryman.client.documents import Latencies
from ferryman.control.admin import Admin
from ferryman.control.api.route import Route
from ferryman.control.problem import ProblemError
from ferryman.control.query import listed, moment_at
from ferryman.control.reports import Since, Until
from ferryman.control.when import rfc3339
from ferryman.store import latency, ledger

_NAMES: Final = tuple(f"p{share * 100:.0f}_ms" for share in latency.QUANTILES)


class LatencyQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of which answers."""

    by: Annotated[
        str, Meta(description=f"Any of {', '.join(latency.DIMENSIONS)}, with commas.")
    ] = "provider,target"
    since: Since = "24h"
    until: Until = ""
    endpoint: str = ""
    model: str = ""
    provider: str = ""
    target: str = ""


def latencies(admin: Admin, query: LatencyQuery) -> Latencies:
    """How long good answers took.

    Of an organisation or a team, as long as single calls are kept.
    """
    groups = tuple(dict.fromkeys(listed(query.by)))
    begin = moment_at("since", query.since)
    end = moment_at("until", query.until) if query.until else int(time.time()) + 1
    equal = {
        name: value
        for name in ("endpoint", "model", "provider", "target")
        if (value := getattr(query, name))
    }
    edges = (begin * 1_000_000, end * 1_000_000)
    admin.catch_up()
    try:
        rows = latency.latencies(
            admin.engine,
            by=groups,
            since_us=edges[0],
            until_us=edges[1],
            equal=equal,
            within=admin.caller.within,
        )
    except ValueError as error:
        raise ProblemError(400, "invalid_query", f"by={query.by!r}: {error}") from None
    first, last = ledger.kept(admin.engine, *edges, where=admin.caller.within)
    return Latencies(
        since=rfc3339((first or 0) / 1e6),
        until=rfc3339((last or 0) / 1e6),
        by=groups,
        data=[
            {**row.group, "calls": row.calls, "duration": _quantiles(row.duration),
             "first_token": _quantiles(row.first_token)}
            for row in rows
        ],
    )  # fmt: skip


def _quantiles(found: tuple[float, ...]) -> dict[str, float] | None:
    """Milliseconds at each quantile; None where nothing is known."""
    return {name: round(us / 1000, 1) for name, us in zip(_NAMES, found, strict=False)} or None


ROUTES: Final = (Route("GET", "/latencies", "usage.read", latencies, tenants=True),)
