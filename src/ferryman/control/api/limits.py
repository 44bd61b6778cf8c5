"""Limits in the admin API: how they stand, and those that are set for tenants, each within those
above it."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from ferryman.client.documents import Items, Limit
from ferryman.client.tenants import DelegatedLimit, DelegatedOutcome, LimitSet
from ferryman.config.delegation import Scope
from ferryman.control.admin import Admin
from ferryman.control.api.gateway import ask
from ferryman.control.api.keys import owner_of
from ferryman.control.api.route import Route
from ferryman.control.api.whose import Theirs
from ferryman.control.delegating import limit_of, words_of
from ferryman.control.problem import ProblemError
from ferryman.control.query import listed
from ferryman.control.when import rfc3339
from ferryman.store import delegated, tenants
from ferryman.store.delegated import Delegated
from ferryman.store.dimensions import NONE


class Whose(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose a limit is: of a key; or of all calls that have these in common."""

    organisation: Annotated[
        str, Meta(description=f"`{NONE}` = none; without it, the caller's own.")
    ] = ""
    team: str = ""
    user: str = ""
    key: Annotated[str, Meta(description="Id or name; then nothing else.")] = ""


class Gone(Whose, kw_only=True, forbid_unknown_fields=True):
    """Which limit is to go."""

    by: Annotated[
        str, Meta(description="What it is counted by, with commas; empty: the one for all.")
    ] = ""


class Setting(Whose, kw_only=True, forbid_unknown_fields=True):
    """Whose a limit is to be."""

    lower: Annotated[
        bool, Meta(description="Bring down those below it that have more, in place of refusing.")
    ] = False


def standing(admin: Admin) -> Items[Limit]:
    """How limits and budgets stand, for each key, team, model that is counted, by the gateway.

    Whoever belongs to an organisation or a team meets those that are counted for it alone.
    """
    rows = ask(admin.options, "GET", "/internal/limits", list[Limit])
    theirs = Theirs(admin)
    return Items(data=[row for row in rows if theirs.counted(row.key)])


def list_limits(admin: Admin) -> Items[DelegatedLimit]:
    """Limits that were set for organisations, teams, users and keys.

    Whoever belongs to an organisation or a team meets its own, those below, and those above it.
    """
    found = delegated.every(admin.engine, admin.caller.within)
    return Items(data=[DelegatedLimit(**_row(each)) for each in found])


def set_limits(admin: Admin, query: Setting, body: LimitSet) -> DelegatedOutcome:
    """Set what an organisation, team, user or key may take, in place of what was set for it.

    Only of what was counted alike (`by`): others stay.

    No more than what is set above it: what would be more is refused.
    """
    limits = limit_of(body)
    scope = _below(admin, query)
    _check_shared(admin)
    with _told():
        found, lowered = delegated.put(
            admin.engine, scope, limits, admin.caller.name, within=admin.caller.within,
            lower=query.lower,
        )  # fmt: skip
    admin.configuration.renew()
    return DelegatedOutcome(**_row(found), lowered=tuple(each.name for each in lowered))


def remove_limits(admin: Admin, query: Gone) -> Items[DelegatedLimit]:
    """Set nothing there any more. What is set above still holds. Answers what is left."""
    with _told():
        by = listed(query.by)
        delegated.remove(admin.engine, _below(admin, query), admin.caller.within, by)
    admin.configuration.renew()
    return list_limits(admin)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the store says no to, as problems."""
    try:
        yield
    except delegated.NoSuchScopeError as error:
        raise ProblemError(404, "no_such_limits", str(error)) from None
    except tenants.UnknownTenantError as error:
        raise ProblemError(404, "tenant_not_found", str(error)) from None
    except delegated.BeyondParentError as error:
        raise ProblemError(409, "beyond_parent", str(error)) from None
    except delegated.ChildrenError as error:
        raise ProblemError(409, "children_have_more", str(error)) from None
    except delegated.FullError as error:
        raise ProblemError(409, "too_many_limits", str(error)) from None


def _below(admin: Admin, query: Whose) -> Scope:
    """Whose it is, which is below the caller. Raises :class:`ProblemError` (400, 403, 404, 409)."""
    caller = admin.caller
    if query.key:
        if query.organisation or query.team or query.user:
            raise ProblemError(400, "invalid_query", "Give key, or whose, not both.")
        return Scope(key=admin.key_id(query.key) or "")
    given = {"organisation": query.organisation or None, "team": query.team or None}
    if query.organisation == NONE:
        given["organisation"] = ""
    whose = {name: owner_of(caller, name, value) for name, value in given.items()}
    scope = Scope(**whose, user=query.user)
    if not scope.kind:
        raise ProblemError(400, "invalid_query", "Say whose: organisation, team, user or key.")
    if caller.within and not delegated.tenant(caller.within).above(scope):
        detail = f"{scope.name}: {caller.name} sets limits for what is below it, not its own."
        raise ProblemError(403, "forbidden", detail)
    return scope


def _check_shared(admin: Admin) -> None:
    """Raises :class:`ProblemError` (409) where each of several gateways would count alone."""
    server = admin.snapshot().server
    workers = admin.options.workers or server.workers
    if workers > 1 and not server.state:
        detail = f"{workers} workers would each hold this for themselves."
        raise ProblemError(409, "limits_not_shared", detail)


def _row(found: Delegated) -> dict[str, Any]:
    it = found.scope
    return {
        "name": found.name, "organisation": it.organisation or None, "team": it.team or None,
        "user": it.user or None, "key": it.key or None, "limits": words_of(found.limits),
        "changed_at": rfc3339(found.changed_at), "changed_by": found.changed_by,
    }  # fmt: skip


_SET: Final = "/limits/delegated"
_EXAMPLE: Final[dict[str, Any]] = {
    "requests": "600/minute", "budget": [{"usd": 100, "per": "month"}],
}  # fmt: skip
ROUTES: Final = (
    Route("GET", "/limits", "limits.read", standing, errors=(502, 503), tenants=True),
    Route("GET", _SET, "limits.read", list_limits, tenants=True),
    Route("PUT", _SET, "limits.write", set_limits, errors=(404, 409), example=_EXAMPLE,
          tenants=True),
    Route("DELETE", _SET, "limits.write", remove_limits, errors=(404, 409), tenants=True),
)  # fmt: skip
