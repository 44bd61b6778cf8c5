"""The page Teams, its records: organisations and teams that there are, and what they may take."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Struct

from ferryman.client.tenants import BudgetSet, LimitSet, NewTenant, TenantChange
from ferryman.config.delegation import Scope
from ferryman.control.admin import Admin
from ferryman.control.api import limits as limits_api
from ferryman.control.api import tenants as api
from ferryman.control.dashboard.desk import Asked, Desk, Go
from ferryman.control.delegating import told
from ferryman.control.problem import ProblemError
from ferryman.store import delegated, tenants
from ferryman.store.delegated import Delegated
from ferryman.store.tenants import Tenant

MOST = 500
"""Records of one kind that are shown."""


class Record(Struct, frozen=True, kw_only=True):
    """An organisation, a team, or another one that something is set for."""

    scope: Scope
    title: str
    archived: bool
    known: bool
    """False: there is no record, or it is a user or a key."""
    limits: str
    """In words; empty = nothing is set."""


def records(admin: Admin) -> list[Record]:
    """All of them, each organisation followed by what is below it."""
    mine = admin.caller.within
    found: dict[Scope, Tenant] = {}
    for row in tenants.page(admin.engine, limit=MOST, within=mine):
        below = tenants.page(admin.engine, limit=MOST, within=mine, organisation=row.organisation)
        found |= {Scope(each.organisation, each.team): each for each in (row, *below)}
    held: dict[Scope, list[Delegated]] = {}
    for each in delegated.every(admin.engine, mine):
        held.setdefault(each.scope, []).append(each)
    return [
        _record(scope, found.get(scope), held.get(scope, [])) for scope in sorted({**found, **held})
    ]


def _record(scope: Scope, tenant: Tenant | None, held: list[Delegated]) -> Record:
    return Record(
        scope=scope, title=tenant.title if tenant else "", known=tenant is not None,
        archived=tenant is not None and tenant.archived_at is not None,
        limits="; ".join(told(each.limits) for each in held),
    )  # fmt: skip


def create(desk: Desk, asked: Asked) -> Go:
    """Make an organisation; with the name of one that there is, a team of it."""
    form = {name: text.strip() for name, text in asked.form.items()}
    new = NewTenant(name=form.get("name", ""), title=form.get("title", ""))
    if form.get("organisation"):
        api.create_team(desk.admin, form["organisation"], new)
    else:
        api.create_organisation(desk.admin, new)
    return Go("/teams")


def archive(desk: Desk, asked: Asked) -> Go:
    """Archive one, or bring it back."""
    organisation, team = asked.form.get("organisation", ""), asked.form.get("team", "")
    change = TenantChange(archived=asked.form.get("do") != "restore")
    if team:
        api.change_team(desk.admin, organisation, team, change)
    else:
        api.change_organisation(desk.admin, organisation, change)
    return Go("/teams")


def limit(desk: Desk, asked: Asked) -> Go:
    """Set what one may take; nothing, where nothing is said."""
    form = {name: text.strip() for name, text in asked.form.items()}
    whose = {name: form.get(name, "") for name in ("organisation", "team", "user")}
    said = LimitSet(budget=tuple(_budgets(form)), requests=_rate(form.get("requests", "")))
    if said.budget or said.requests is not None:
        lower = form.get("lower") == "1"
        limits_api.set_limits(desk.admin, limits_api.Setting(**whose, lower=lower), said)
    else:
        limits_api.remove_limits(desk.admin, limits_api.Gone(**whose))
    return Go("/teams")


def _budgets(form: dict[str, str]) -> Iterator[BudgetSet]:
    if not form.get("usd"):
        return
    try:
        per = form.get("per", "month")
        yield msgspec.convert({"usd": Decimal(form["usd"]), "per": per}, BudgetSet)
    except (InvalidOperation, msgspec.ValidationError):
        raise ProblemError(400, "invalid_amount", "Say how many USD, such as 100.") from None


def _rate(text: str) -> str | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:16]) <= 10**15:
        raise ProblemError(400, "invalid_amount", "Say how many requests a minute, such as 600.")
    return f"{int(text)}/minute"
