"""Organisations and teams in the admin API."""

import contextlib
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta

from ferryman.client.documents import Page
from ferryman.client.tenants import NewTenant, Organisation, Team, TenantChange
from ferryman.control.admin import Admin
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.store import tenants
from ferryman.store.tenants import Tenant

Name = Annotated[str, Meta(description="Of an organisation.")]
TeamName = Annotated[str, Meta(description="Of one of its teams.")]


def create_organisation(admin: Admin, body: NewTenant) -> Organisation:
    """Make an organisation. From the first one on, keys and tokens name those alone."""
    made = _new(admin, body.name, "", body.title)
    return _organisation(made)


def list_organisations(admin: Admin, pages: Pages) -> Page[Organisation]:
    """All organisations, archived ones too, by name."""
    rows, more = _page(admin, pages, None)
    return Page(data=[_organisation(row) for row in rows], next=more)


def one_organisation(admin: Admin, organisation: Name) -> Organisation:
    """One organisation."""
    return _organisation(_known(admin, organisation))


def change_organisation(admin: Admin, organisation: Name, body: TenantChange) -> Organisation:
    """Call an organisation otherwise, archive it, or bring it back."""
    return _organisation(_changed(admin, organisation, "", body))


def archive_organisation(admin: Admin, organisation: Name) -> Organisation:
    """Archive an organisation of which no key or token works. Again is no error."""
    return _organisation(_changed(admin, organisation, "", TenantChange(archived=True)))


def create_team(admin: Admin, organisation: Name, body: NewTenant) -> Team:
    """Make a team. From its first one on, keys and tokens name none but an organisation's teams."""
    _known(admin, organisation)
    _check_may(admin)
    return _team(_new(admin, organisation, body.name, body.title))


def list_teams(admin: Admin, organisation: Name, pages: Pages) -> Page[Team]:
    """The teams of an organisation, archived ones too, by name."""
    _known(admin, organisation)
    rows, more = _page(admin, pages, organisation)
    return Page(data=[_team(row) for row in rows], next=more)


def one_team(admin: Admin, organisation: Name, team: TeamName) -> Team:
    """One team."""
    return _team(_known(admin, organisation, team))


def change_team(admin: Admin, organisation: Name, team: TeamName, body: TenantChange) -> Team:
    """Call a team otherwise, archive it, or bring it back."""
    _known(admin, organisation, team)
    _check_may(admin)
    return _team(_changed(admin, organisation, team, body))


def archive_team(admin: Admin, organisation: Name, team: TeamName) -> Team:
    """Archive a team of which no key or token works. Again is no error."""
    return change_team(admin, organisation, team, TenantChange(archived=True))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the store says no to, as problems."""
    try:
        yield
    except tenants.TenantFieldError as error:
        raise ProblemError(400, "invalid_body", str(error)) from None
    except tenants.UnknownTenantError as error:
        raise ProblemError(404, "tenant_not_found", str(error)) from None
    except tenants.TakenError as error:
        raise ProblemError(409, "name_taken", str(error)) from None
    except tenants.InUseError as error:
        raise ProblemError(409, "tenant_in_use", str(error)) from None


def _check_may(admin: Admin) -> None:
    """Teams are made by those who belong to no team. Raises :class:`ProblemError` (403)."""
    if "team" in admin.caller.within:
        detail = f"{admin.caller.name} belongs to a team, and this is about its organisation."
        raise ProblemError(403, "forbidden", detail)


def _new(admin: Admin, organisation: str, team: str, title: str) -> Tenant:
    if not (team or organisation).strip():
        raise ProblemError(400, "invalid_body", "name: give one.")
    made = Tenant(
        organisation=organisation, team=team, title=title.strip(), created_at=int(time.time()),
        created_by=admin.caller.name,
    )  # fmt: skip
    with told():
        return tenants.create(admin.engine, made)


def _page(admin: Admin, pages: Pages, organisation: str | None) -> tuple[list[Tenant], str | None]:
    found = tenants.page(
        admin.engine, limit=pages.more, within=admin.caller.within, organisation=organisation,
        after=pages.after(str),
    )  # fmt: skip
    return pages.cut(found, lambda row: row.team or row.organisation)


def _known(admin: Admin, organisation: str, team: str = "") -> Tenant:
    found = tenants.get(admin.engine, organisation, team, within=admin.caller.within)
    if found is None:
        what = f"team {team!r} of {organisation!r}" if team else f"organisation {organisation!r}"
        raise ProblemError(404, "tenant_not_found", f"There is no {what}.")
    return found


def _changed(admin: Admin, organisation: str, team: str, body: TenantChange) -> Tenant:
    with told():
        return tenants.change(
            admin.engine, organisation, team, within=admin.caller.within,
            title=None if body.title is UNSET else body.title.strip(),
            archived=None if body.archived is UNSET else body.archived,
        )  # fmt: skip


def _row(found: Tenant) -> dict[str, Any]:
    gone = found.archived_at
    return {
        "name": found.team or found.organisation, "title": found.title,
        "state": "active" if gone is None else "archived",
        "created_at": rfc3339(found.created_at), "created_by": found.created_by,
        "archived_at": None if gone is None else rfc3339(gone),
    }  # fmt: skip


def _organisation(found: Tenant) -> Organisation:
    return Organisation(**_row(found))


def _team(found: Tenant) -> Team:
    return Team(organisation=found.organisation, **_row(found))


_ONE: Final = "/organisations/{organisation}"
_TEAMS: Final = _ONE + "/teams"
_TEAM: Final = _TEAMS + "/{team}"
_CHANGE: Final[dict[str, Any]] = {"title": "Acme Corporation"}
ROUTES: Final = (
    Route("POST", "/organisations", "tenants.write", create_organisation, status=201,
          errors=(409,), example={"name": "acme", "title": "Acme Corporation"}),
    Route("GET", "/organisations", "tenants.read", list_organisations, tenants=True),
    Route("GET", _ONE, "tenants.read", one_organisation, errors=(404,), tenants=True),
    Route("PATCH", _ONE, "tenants.write", change_organisation, errors=(404, 409), example=_CHANGE),
    Route("DELETE", _ONE, "tenants.write", archive_organisation, errors=(404, 409)),
    Route("POST", _TEAMS, "tenants.write", create_team, status=201, errors=(404, 409),
          example={"name": "red"}, tenants=True),
    Route("GET", _TEAMS, "tenants.read", list_teams, errors=(404,), tenants=True),
    Route("GET", _TEAM, "tenants.read", one_team, errors=(404,), tenants=True),
    Route("PATCH", _TEAM, "tenants.write", change_team, errors=(404, 409),
          example={"archived": False}, tenants=True),
    Route("DELETE", _TEAM, "tenants.write", archive_team, errors=(404, 409), tenants=True),
)  # fmt: skip
