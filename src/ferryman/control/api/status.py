"""How the installation is and what goes on now, views of calls, and whom to sign out, in the admin
API: what the dashboard's pages Now, Calls, Guardrails and Settings show."""

import time
from typing import Final

from msgspec.structs import asdict

from ferryman import __version__
from ferryman.client.documents import Items
from ferryman.client.status import (
    GuardSaid,
    GuardsSaid,
    LedgerStatus,
    Now,
    Offer,
    PlaneStatus,
    Running,
    SignedOut,
    Status,
    View,
    ViewQuery,
)
from ferryman.control import elsewhere, views
from ferryman.control.admin import Admin
from ferryman.control.api.access import may
from ferryman.control.api.models import catalogue
from ferryman.control.api.route import Route
from ferryman.control.figures import WINDOW_S, figures, look
from ferryman.control.problem import ProblemError
from ferryman.control.reports import call_of
from ferryman.control.rows import dollars
from ferryman.control.when import rfc3339
from ferryman.store import glance, keys
from ferryman.store.schema import DAY_US
from ferryman.store.sizes import size

LISTED: Final = 100
"""Calls under way in one answer."""
HEARD: Final = 50_000
"""Calls that are read for what guards said."""
_NAMES: Final = ("p50_ms", "p95_ms", "p99_ms")


def status(admin: Admin) -> Status:
    """How the installation is: data planes, the ledger and what it keeps, open sessions."""
    admin.catch_up()
    version, keys_seq = admin.version(), admin.keys_seq()
    found, compiled = size(admin.engine), admin.configuration.compiled
    keeps = {} if compiled is None else asdict(compiled.retention)
    return Status(
        software=__version__,
        version=admin.configuration.number,
        snapshot=version,
        planes=[
            PlaneStatus(
                name=each.plane, snapshot=each.version or None, current=each.version == version,
                keys_current=each.keys_seq == keys_seq, asked_at=rfc3339(each.at),
                clock_ahead_seconds=each.ahead,
            )
            for each in admin.planes()
        ],
        ledger=LedgerStatus(
            database=admin.engine.dialect.name, bytes=found.size, calls=found.ever,
            oldest=_time(found.first_us), newest=_time(found.last_us),
            keeps={name: seconds or None for name, seconds in keeps.items()},
            failing=admin.failing() or None,
        ),
        sessions=admin.sessions(),
    )  # fmt: skip


def now(admin: Admin) -> Now:
    """What goes on: sums of the last minutes, how long answers took, and the calls under way.

    Times are by the control plane's clock.
    """
    admin.catch_up()
    ahead = admin.ahead()
    steps, seen = look(admin.engine, ahead)
    found = figures(steps, seen)
    number, running = glance.under_way(admin.engine, LISTED, ahead)
    names = keys.names(admin.engine, (call.key for call in running))
    return Now(
        seconds=WINDOW_S, calls=found.calls, errors=found.errors, output_tokens=found.output,
        cost_usd=dollars(found.cost), unknown_cost=found.unknown_cost, measured=len(seen),
        duration=_spans(found.duration), first_token=_spans(found.first_token), under_way=number,
        running=[
            Running(
                request_id=call.request_id, time=rfc3339(call.at_us / 1e6),
                key=names.get(call.key, call.key), key_id=call.key, endpoint=call.endpoint,
                model=call.model, provider=call.provider, target=call.target,
            )
            for call in running
        ],
    )  # fmt: skip


def offers(admin: Admin, ident: str) -> Items[Offer]:
    """What a call would have cost elsewhere: the same tokens by the prices of today.

    Targets of the name that was asked for, and the same model at other providers; the cheapest
    first. Empty where there is nothing to compare, or the call's usage is not known.
    """
    may(admin.caller, "prices.read")
    found = elsewhere.offers(call_of(admin, ident), admin.snapshot(), catalogue(admin))
    return Items(
        data=[Offer(target=o.name, cost_usd=dollars(o.cost), here=o.here) for o in found]
    )  # fmt: skip


def guards_said(admin: Admin) -> GuardsSaid:
    """What guards said of the calls of the last 24 hours: of the newest 50,000 of them."""
    admin.catch_up()
    said, reached = glance.verdicts(admin.engine, time.time_ns() // 1000 - DAY_US, HEARD)
    rows = [
        GuardSaid(
            guard=each.guard, stage=each.stage, action=each.action, calls=each.calls,
            found=each.found, took_ms=each.took_us / 1000,
        )
        for each in said
    ]  # fmt: skip
    return GuardsSaid(since=rfc3339(reached / 1e6), data=rows)


def listed_views(admin: Admin) -> Items[View]:
    """Views of calls that were given a name, for all who use the dashboard."""
    return Items(data=views.listed(views.at(admin.options.data_dir)))


def save_view(admin: Admin, name: str, body: ViewQuery) -> View:
    """Keep a view of calls, in place of one with its name."""
    view = View(name=name, query=views.checked(body.query))
    views.save(views.at(admin.options.data_dir), view)
    return view


def forget_view(admin: Admin, name: str) -> Items[View]:
    """Keep a view of calls no longer. Answers those that are left."""
    if not views.forget(views.at(admin.options.data_dir), name):
        raise ProblemError(404, "view_not_found", f"There is no view named {name!r}.")
    return listed_views(admin)


def sign_out(admin: Admin) -> SignedOut:
    """Sign everybody out of the dashboard, and let no link work that was made before."""
    return SignedOut(sessions=admin.sign_out())


def _time(us: int | None) -> str | None:
    return None if us is None else rfc3339(us / 1e6)


def _spans(found: tuple[float, ...]) -> dict[str, float] | None:
    return {name: us / 1000 for name, us in zip(_NAMES, found, strict=False)} or None


ROUTES: Final = (
    Route("GET", "/status", "journal.read", status),
    Route("GET", "/now", "calls.read", now),
    Route("GET", "/calls/{ident}/offers", "calls.read", offers, errors=(404, 409)),
    Route("GET", "/guards/said", "config.read", guards_said),
    Route("GET", "/views", "calls.read", listed_views),
    Route("PUT", "/views/{name}", "config.write", save_view, errors=(409,), act="view.save"),
    Route("DELETE", "/views/{name}", "config.write", forget_view, errors=(404,), act="view.forget"),
    Route("DELETE", "/sessions", "dashboard.enter", sign_out),
)  # fmt: skip
