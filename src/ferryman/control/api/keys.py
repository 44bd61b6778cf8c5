"""Virtual keys in the admin API, and links into the dashboard."""

import time
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, structs

from ferryman.client.bounds import Bounds
from ferryman.client.documents import Key, KeyChange, Leak, Link, MadeKey, NewKey, Page, Rotation
from ferryman.config.feed import KeyBounds, KeyFacts
from ferryman.control.admin import Admin
from ferryman.control.api.access import Caller
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.doors import LINK_SECONDS
from ferryman.control.problem import ProblemError
from ferryman.control.rows import key_row
from ferryman.control.when import WhenError, duration, moment
from ferryman.store import audit, keys
from ferryman.store.audit import Act
from ferryman.store.dimensions import NONE
from ferryman.store.keys import KeyInfo

LEAST: Final = 16
"""Characters of an Idempotency-Key: who could guess one could ask for the secret again."""


class Once(Struct, kw_only=True, rename={"key": "idempotency-key"}):
    """Headers of what makes a key."""

    key: Annotated[
        str,
        Meta(description="A text of 16 to 255 characters, new for each key that is to be made: the "
             "same request again makes no other key, and has the same answer."),
    ] = ""  # fmt: skip


class KeysQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which keys."""

    name: Annotated[str, Meta(description="Only those with this name.")] = ""


def create_key(admin: Admin, body: NewKey, headers: Once) -> MadeKey:
    """Make a key. Its secret is in this answer, and nowhere else."""
    mine = admin.caller
    facts = KeyFacts(
        owner_of(mine, "organisation", body.organisation), owner_of(mine, "team", body.team),
        body.user or "", tuple(body.tags or ()), _bounds(body.bounds),
    )  # fmt: skip
    key, secret = admin.desk.create(
        body.name, expiry(body.expires_in, body.expires_at), facts, once=_once(headers), said=body,
        within=mine.within,
    )  # fmt: skip
    return _made(key, secret)


def list_keys(admin: Admin, query: KeysQuery, pages: Pages) -> Page[Key]:
    """All keys, revoked ones too, oldest first."""
    found = keys.page(
        admin.engine,
        limit=pages.more,
        after=pages.after(tuple[int, str]),
        name=query.name,
        within=admin.caller.within,
    )
    shown, more = pages.cut(found, lambda key: (key.created_at, key.id))
    now = time.time()
    return Page(data=[key_row(key, now) for key in shown], next=more)


def one_key(admin: Admin, key: str) -> Key:
    """One key, by id, or by a name that only one has."""
    found = keys.find(admin.engine, admin.key_id(key) or "")
    return key_row(found[0], time.time())


def change_key(admin: Admin, key: str, body: KeyChange) -> Key:
    """Say anew whose a key is and what it is bound to, by id or name; it holds within a second."""
    given = {name: value for name, value in structs.asdict(body).items() if value is not UNSET}
    for name in ("organisation", "team"):
        if name in given:
            given[name] = owner_of(admin.caller, name, given[name] or "")
    if isinstance(body.bounds, Bounds):
        given["bounds"] = body.bounds.said()
    found = admin.desk.describe(key, within=admin.caller.within, **given)
    return key_row(found, time.time())


def rotate_key(admin: Admin, key: str, body: Rotation, headers: Once) -> MadeKey:
    """Replace a key: a new one of the same name, owner and end; the old one works on for a while.

    What was counted for the old one in limits by key is not counted for the new one.
    """
    overlap = _seconds("overlap", body.overlap)
    made = admin.desk.rotate(
        key, overlap, once=_once(headers), said=body, within=admin.caller.within
    )
    return _made(*made)


def revoke_key(admin: Admin, key: str) -> Key:
    """Revoke a key for good, by id or name. Again is no error."""
    return key_row(admin.desk.revoke(key, admin.caller.within), time.time())


def report_leak(admin: Admin, key: str, body: Leak) -> Key:
    """Report that a key was found where it must not be: it is shut out at once, and alerts tell.

    With `"revoke": false` it works on until somebody revokes it, and is only told.
    """
    ident = admin.key_id(key) or ""
    said = {"where": body.where, "revoke": body.revoke}
    audit.record(admin.engine, Act(action="key.leaked", target=ident, after=said))
    try:
        admin.leaked(ident, body.where)  # while it works: of others nobody need be told
    finally:
        if body.revoke:
            admin.desk.revoke(ident, admin.caller.within)
    return one_key(admin, ident)


def enter(admin: Admin) -> Link:
    """A way into the dashboard, once."""
    return Link(token=admin.link(), expires_in=LINK_SECONDS)


def owner_of(caller: Caller, name: str, given: str | None) -> str:
    """The organisation or team of what the caller makes: what is ``given``, where that is theirs;
    theirs, where nothing (None) is. Raises :class:`ProblemError` (403)."""
    own = caller.within.get(name)
    if own is None:
        return given or ""
    own = "" if own == NONE else own
    if given is not None and given != own:
        raise ProblemError(403, "forbidden", f"{name}: {caller.name} belongs to another one.")
    return own


def _bounds(given: Bounds | None) -> KeyBounds | None:
    try:
        return keys.bounds_of(given.said()) if given else None
    except keys.KeyFieldError as error:
        raise ProblemError(400, "invalid_key_field", str(error)) from None


def _made(key: KeyInfo, secret: str) -> MadeKey:
    return MadeKey(**structs.asdict(key_row(key, time.time())), key=secret)


def _once(headers: Once) -> str:
    if headers.key and not LEAST <= len(headers.key) <= 255:
        fix = f"Give {LEAST} to 255 characters that nobody can guess, such as a UUID."
        raise ProblemError(400, "invalid_header", f"idempotency-key: {fix}", fix=fix)
    return headers.key


def expiry(expires_in: int | str | None, expires_at: int | str | None) -> int | None:
    """Unix seconds at which something new ends; None = never. Raises :class:`ProblemError`."""
    if expires_in is not None and expires_at is not None:
        raise ProblemError(400, "invalid_body", "Give expires_in or expires_at, not both.")
    now = time.time()
    if expires_in is not None:
        return int(now) + _seconds("expires_in", expires_in)
    if expires_at is not None:
        try:
            return moment(str(expires_at), now, ahead=True)
        except WhenError as error:
            raise ProblemError(400, "invalid_body", f"expires_at: {error}") from None
    return None


def _seconds(name: str, given: int | str) -> int:
    try:
        return given if isinstance(given, int) else duration(given)
    except WhenError as error:
        raise ProblemError(400, "invalid_body", f"{name}: {error}") from None


_EXAMPLE: Final[dict[str, Any]] = {"name": "web shop", "team": "sales", "expires_in": "90d"}
ROUTES: Final = (
    Route("POST", "/keys", "keys.write", create_key, status=201, errors=(422,), example=_EXAMPLE,
          tenants=True),
    Route("GET", "/keys", "keys.read", list_keys, tenants=True),
    Route("POST", "/keys/{key}/rotate", "keys.write", rotate_key, status=201,
          errors=(404, 409, 422), example={"overlap": "1d"}, tenants=True),
    Route("POST", "/keys/{key}/leaked", "keys.write", report_leak, errors=(404, 409),
          example={"where": "a public repository"}, tenants=True),
    Route("GET", "/keys/{key}", "keys.read", one_key, errors=(404, 409), tenants=True),
    Route("PATCH", "/keys/{key}", "keys.write", change_key, errors=(404, 409),
          example={"team": "research", "tags": ["batch"]}, tenants=True),
    Route("DELETE", "/keys/{key}", "keys.write", revoke_key, errors=(404, 409), tenants=True),
    Route("POST", "/links", "dashboard.enter", enter, status=201),
)  # fmt: skip
