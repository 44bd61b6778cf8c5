"""How long answers took, in the admin API."""

import time
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import FastAPI, Query, Response

from ferryman.control.changes import answer
from ferryman.control.problem import ProblemError
from ferryman.control.query import moment_at
from ferryman.control.when import rfc3339
from ferryman.store import latency, ledger

if TYPE_CHECKING:
    from ferryman.control.admin import Admin

_NAMES: Final = tuple(f"p{share * 100:.0f}_ms" for share in latency.QUANTILES)


def add(app: FastAPI, admin: "Admin") -> None:
    """Add the route."""
    text = Annotated[str, Query()]

    @app.get("/admin/v1/latencies", tags=["ledger"], summary="How long good answers took")
    def latencies(
        by: Annotated[
            str, Query(description=f"Any of {', '.join(latency.DIMENSIONS)}, with commas.")
        ] = "provider,target",
        since: text = "24h",
        until: text = "",
        endpoint: text = "",
        model: text = "",
        provider: text = "",
        target: text = "",
    ) -> Response:
        groups = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
        begin = moment_at("since", since)
        end = moment_at("until", until) if until else int(time.time()) + 1
        said = {"endpoint": endpoint, "model": model, "provider": provider, "target": target}
        edges = (begin * 1_000_000, end * 1_000_000)
        admin.catch_up()
        try:
            rows = latency.latencies(
                admin.engine, by=groups, since_us=edges[0], until_us=edges[1],
                equal={name: value for name, value in said.items() if value},
            )  # fmt: skip
        except ValueError as error:
            raise ProblemError(400, "invalid_query", f"by={by!r}: {error}") from None
        first, last = ledger.kept(admin.engine, *edges)
        return answer(
            {
                "since": rfc3339((first or 0) / 1e6),
                "until": rfc3339((last or 0) / 1e6),
                "by": groups,
                "data": [
                    {**row.group, "calls": row.calls, "duration": _quantiles(row.duration),
                     "first_token": _quantiles(row.first_token)}
                    for row in rows
                ],
            }
        )  # fmt: skip


def _quantiles(found: tuple[float, ...]) -> dict[str, float] | None:
    """Milliseconds at each quantile; None where nothing is known."""
    return {name: round(us / 1000, 1) for name, us in zip(_NAMES, found, strict=False)} or None
