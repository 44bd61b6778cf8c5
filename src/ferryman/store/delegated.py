"""Limits that were set for organisations, teams, users and keys, each within those above it.

A child never has more than any of its parents (``config/delegation.py``): what would break that is
refused with the transaction in which it is found, also when a key moves. All of them take one lock.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.delegation import Scope, beyond, lowered
from ferryman.config.snapshot import CallLimit
from ferryman.store import audit, tenants
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.dimensions import NONE, Within, owned
from ferryman.store.schema import delegated_limits, virtual_keys

MOST: Final = 2000
"""That there may be: data planes look through all of them at a key's first call."""
_table = delegated_limits.c
_limits: Final = msgspec.json.Decoder(CallLimit)
_keys = virtual_keys.alias("k")
_OF_KEY: Final = ("organisation", "team", "user")


class Delegated(Struct, frozen=True, kw_only=True):
    """A limit, and whose it is."""

    scope: Scope
    """Of a key: with whose it is now."""
    limits: CallLimit
    changed_at: int
    """Unix seconds."""
    changed_by: str


class BeyondParentError(Exception):
    """It would have more than one of its parents; the message says in what."""


class ChildrenError(Exception):
    """Some of its children would have more than it; the message says which, and in what."""


class FullError(Exception):
    """There are as many as there may be."""


class NoSuchScopeError(Exception):
    """There is no such key, or nothing is set there."""


def tenant(within: Within) -> Scope:
    """The scope of all that is a tenant's."""
    organisation = within.get("organisation", NONE)
    return Scope("" if organisation == NONE else organisation, within.get("team", ""))


def every(engine: sa.Engine, within: Within | None = None) -> list[Delegated]:
    """All of them in the order of their scopes, or those of a tenant; of keys that aren't revoked
    for good."""
    with reading(engine) as connection:
        found = _rows(connection, sa.or_(_table.key_id == "", _keys.c.revoked_at.is_(None)))
    return sorted(
        (each for each in found if _is_of(each.scope, within or {})), key=lambda each: each.scope
    )


def get(engine: sa.Engine, scope: Scope, within: Within) -> Delegated:
    """What is set there. Raises :class:`NoSuchScopeError`."""
    with reading(engine) as connection:
        found = _at(connection, _whole(connection, scope, within))
    if found is None:
        raise NoSuchScopeError("Nothing is set there.")
    return found


def put(
    engine: sa.Engine, scope: Scope, limits: CallLimit, by: str, *, within: Within,
    lower: bool = False,
) -> tuple[Delegated, list[Delegated]]:  # fmt: skip
    """Set what a scope may take, in place of what was set there. Returns that, and the children
    that were brought down to it, which only happens with ``lower``.

    Raises :class:`BeyondParentError`, :class:`ChildrenError`, :class:`FullError`,
    :class:`NoSuchScopeError`, and ``tenants.UnknownTenantError``.
    """
    with writing(engine) as connection:
        tenants.lock(connection)
        scope = _whole(connection, scope, within)
        if not scope.key:
            tenants.check(connection, scope.organisation, scope.team)
        family = _family(connection, scope.organisation)
        _check_parents(scope, limits, family)
        children = [each for each in family if scope.above(each.scope)]
        more = [(each, beyond(each.limits, limits)) for each in children]
        more = [(each, words) for each, words in more if words]
        if more and not lower:
            said = "; ".join(f"{each.scope.name}: {words[0]}" for each, words in more[:5])
            raise ChildrenError(f"{len(more)} below it have more than that. {said}.")
        old = _at(connection, scope)
        if (
            old is None
            and (connection.scalar(sa.select(sa.func.count(_table.key_id))) or 0) >= MOST
        ):
            raise FullError(f"There are {MOST} such limits already.")
        now = int(time.time())
        done = [
            _write(connection, Delegated(scope=each.scope, limits=lowered(each.limits, limits),
                                         changed_at=now, changed_by=by), each)
            for each, _ in more
        ]  # fmt: skip
        new = Delegated(scope=scope, limits=limits, changed_at=now, changed_by=by)
        return _write(connection, new, old), done


def remove(engine: sa.Engine, scope: Scope, within: Within) -> None:
    """Set nothing there any more. Raises :class:`NoSuchScopeError`."""
    with writing(engine) as connection:
        tenants.lock(connection)
        scope = _whole(connection, scope, within)
        old = _at(connection, scope)
        if old is None:
            raise NoSuchScopeError("Nothing is set there.")
        connection.execute(delegated_limits.delete().where(*_is(scope)))
        audit.append(connection, Act(action="limits.remove", target=scope.name, before=old.limits))


def moved(connection: sa.Connection, key: Scope) -> None:
    """A key is to be somebody else's: what is set for it has to be within theirs. ``key``: with
    whose it will be. Raises :class:`BeyondParentError`."""
    found = _at(connection, key)
    if found is not None:
        _check_parents(key, found.limits, _family(connection, key.organisation))


def copied(connection: sa.Connection, old: Scope, new: str) -> None:
    """A key takes another one's place: what is set for that holds for it, too."""
    found = _at(connection, old)
    if found is not None:
        _write(connection, replace(found, scope=replace(old, key=new)), None)


# -- what is asked of the table --------------------------------------------------------------------


def _check_parents(scope: Scope, limits: CallLimit, family: Sequence[Delegated]) -> None:
    for each in family:
        words = beyond(limits, each.limits) if each.scope.above(scope) else ()
        if words:
            raise BeyondParentError(f"{scope.name} may not have more than {each.scope.name}. "
                                    f"{'; '.join(words)}.")  # fmt: skip


def _whole(connection: sa.Connection, scope: Scope, within: Within) -> Scope:
    """A key with whose it is. Raises :class:`NoSuchScopeError`."""
    if not scope.key:
        return scope
    table = virtual_keys.c
    query = sa.select(*(table[name] for name in _OF_KEY))
    row = connection.execute(query.where(table.id == scope.key, *owned(table, within))).first()
    if row is None:
        raise NoSuchScopeError(f"There is no key with the id {scope.key!r}.")
    return Scope(row.organisation or "", row.team or "", row.user or "", scope.key)


def _family(connection: sa.Connection, organisation: str) -> list[Delegated]:
    """All that are set below one organisation, and for it."""
    theirs = sa.func.coalesce(_keys.c.organisation, "") == organisation
    mine = sa.and_(_table.key_id == "", _table.organisation == organisation)
    return _rows(connection, sa.or_(mine, sa.and_(_table.key_id != "", theirs)))


def _at(connection: sa.Connection, scope: Scope) -> Delegated | None:
    found = _rows(connection, sa.and_(*_is(scope)))
    return replace(found[0], scope=scope) if found else None


def _is(scope: Scope) -> list[sa.ColumnElement[bool]]:
    named = ("", "", "") if scope.key else (scope.organisation, scope.team, scope.user)
    columns = (_table.organisation, _table.team, _table.user, _table.key_id)
    return [column == value for column, value in zip(columns, (*named, scope.key), strict=True)]


def _rows(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[Delegated]:
    whose = [_keys.c[name].label(f"of_{name}") for name in _OF_KEY]
    query = sa.select(delegated_limits, *whose).select_from(
        delegated_limits.outerjoin(_keys, _keys.c.id == _table.key_id)
    )
    return [_delegated(row) for row in connection.execute(query.where(which))]


def _delegated(row: Any) -> Delegated:
    scope = Scope(row.organisation, row.team, row.user)
    if row.key_id:
        of_key = (row.of_organisation or "", row.of_team or "", row.of_user or "")
        scope = Scope(*of_key, row.key_id)
    limits = replace(_limits.decode(row.limits), name=scope.name, when=scope.when)
    return Delegated(
        scope=scope, limits=limits, changed_at=row.changed_at, changed_by=row.changed_by
    )


def _write(connection: sa.Connection, new: Delegated, old: Delegated | None) -> Delegated:
    scope = new.scope
    bare = replace(new.limits, name="", when=None)
    row = {
        "limits": msgspec.json.encode(bare).decode(), "changed_at": new.changed_at,
        "changed_by": new.changed_by,
    }  # fmt: skip
    if old is None:
        whose = {} if scope.key else {name: getattr(scope, name) for name in _OF_KEY}
        named = dict.fromkeys(_OF_KEY, "") | whose | {"key_id": scope.key}
        connection.execute(delegated_limits.insert().values(**named, **row))
    else:
        connection.execute(delegated_limits.update().where(*_is(scope)).values(**row))
    before = None if old is None else replace(old.limits, name="", when=None)
    act = Act(action="limits.set", target=scope.name, before=before, after=bare)
    audit.append(connection, act)
    return replace(new, limits=replace(bare, name=scope.name, when=scope.when))


def _is_of(scope: Scope, within: Within) -> bool:
    """Whether it is a tenant's, or holds for all of what is."""
    mine = tenant(within)
    return not within or scope == mine or mine.above(scope) or scope.above(mine)
