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

from ferryman.config.delegation import Scope, beyond, brought_down, lasting
from ferryman.config.snapshot import CallLimit
from ferryman.store import audit, tenants
from ferryman.store.audit import Act
from ferryman.store.db import reading, writing
from ferryman.store.dimensions import NONE, Within, owned
from ferryman.store.schema import delegated_limits, virtual_keys

MOST: Final = 2000
"""Scopes with limits: data planes look through all of them at a key's first call."""
MOST_OF_ONE: Final = 10
"""Limits of a scope, which are counted by different facts."""
_table = delegated_limits.c
_limits: Final = msgspec.json.Decoder(list[CallLimit] | CallLimit)
_keys = virtual_keys.alias("k")
_OF_KEY: Final = ("organisation", "team", "user")


class Delegated(Struct, frozen=True, kw_only=True):
    """A limit, and whose it is: of several, each is counted by other facts."""

    scope: Scope
    """Of a key: with whose it is now."""
    limits: CallLimit
    changed_at: int
    """Unix seconds."""
    changed_by: str

    @property
    def name(self) -> str:
        """What refusals and records call it."""
        return self.limits.name

    def counts(self, by: Sequence[str]) -> bool:
        """Whether it is counted by these."""
        return frozenset(self.limits.by) == frozenset(by)


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
        (each for each in found if _is_of(each.scope, within or {})),
        key=lambda each: (each.scope, each.name),
    )


def put(
    engine: sa.Engine, scope: Scope, limits: CallLimit, by: str, *, within: Within,
    lower: bool = False,
) -> tuple[Delegated, list[Delegated]]:  # fmt: skip
    """Set what a scope may take, in place of what was set there and counted alike. Returns that,
    and what below was brought down to it, which only happens with ``lower``.

    Raises :class:`BeyondParentError`, :class:`ChildrenError`, :class:`FullError`,
    :class:`NoSuchScopeError`, and ``tenants.UnknownTenantError``.
    """
    now = int(time.time())
    with writing(engine) as connection:
        tenants.lock(connection)
        scope = _whole(connection, scope, within)
        if not scope.key:
            tenants.check(connection, scope.organisation, scope.team)
        family = _family(connection, scope.organisation, now)
        limits = _named(limits, scope)
        new = Delegated(scope=scope, limits=limits, changed_at=now, changed_by=by)
        _check_parents(scope, lasting(limits, now), family)
        children = [each for each in family if scope.above(each.scope)]
        more = [(each, beyond(each.limits, limits, each.scope)) for each in children]
        more = [(each, words) for each, words in more if words]
        if more and not lower:
            said = "; ".join(f"{each.name}: {words[0]}" for each, words in more[:5])
            raise ChildrenError(f"{len(more)} below it have more than that. {said}.")
        _check_room(connection, _at(connection, scope), limits)
        done = _lowered(family, new) if more else []
        for each in done:
            _write(connection, each)
        return _write(connection, new), done


def _lowered(family: Sequence[Delegated], new: Delegated) -> list[Delegated]:
    """Those of a family that a new one brings down: what is brought down bounds others in turn."""
    others = [each for each in family if each.scope != new.scope or not each.counts(new.limits.by)]
    known = {(each.scope, each.name): each for each in others}
    found = []
    for scope, limits in brought_down([(each.scope, each.limits) for each in (*others, new)]):
        was = known.get((scope, limits.name))
        if was is not None and was.limits != limits:
            found.append(replace(new, scope=scope, limits=limits))
    return found


def remove(engine: sa.Engine, scope: Scope, within: Within, by: Sequence[str] = ()) -> None:
    """Set nothing there any more of what is counted by these. Raises :class:`NoSuchScopeError`."""
    with writing(engine) as connection:
        tenants.lock(connection)
        scope = _whole(connection, scope, within)
        there = _at(connection, scope)
        old = next((each for each in there if each.counts(by)), None)
        if old is None:
            raise NoSuchScopeError("Nothing is set there.")
        left = [each.limits for each in there if each is not old]
        if left:
            row = {"limits": _text(left)}
            connection.execute(delegated_limits.update().where(*_is(scope)).values(**row))
        else:
            connection.execute(delegated_limits.delete().where(*_is(scope)))
        audit.append(connection, Act(action="limits.remove", target=old.name, before=old.limits))


def moved(connection: sa.Connection, key: Scope) -> None:
    """A key is to be somebody else's: what is set for it has to be within theirs. ``key``: with
    whose it will be. Raises :class:`BeyondParentError`."""
    now = int(time.time())
    if mine := _at(connection, key):
        family = _family(connection, key.organisation, now)
        for each in mine:
            _check_parents(key, lasting(each.limits, now), family)


def copied(connection: sa.Connection, old: Scope, new: str) -> None:
    """A key takes another one's place: what is set for that holds for it, too."""
    for each in _at(connection, old):
        _write(connection, replace(each, scope=replace(old, key=new)))


# -- what is asked of the table --------------------------------------------------------------------


def _check_parents(scope: Scope, limits: CallLimit, family: Sequence[Delegated]) -> None:
    for each in family:
        words = beyond(limits, each.limits, scope) if each.scope.above(scope) else ()
        if words:
            raise BeyondParentError(f"{scope.name} may not have more than {each.name}. "
                                    f"{'; '.join(words)}.")  # fmt: skip


def _check_room(connection: sa.Connection, there: Sequence[Delegated], new: CallLimit) -> None:
    """Raises :class:`FullError`."""
    if not there and (connection.scalar(sa.select(sa.func.count(_table.key_id))) or 0) >= MOST:
        raise FullError(f"Limits are set for {MOST} already.")
    if len([each for each in there if not each.counts(new.by)]) >= MOST_OF_ONE:
        raise FullError(f"{there[0].scope.name} has {MOST_OF_ONE} limits already.")


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


def _family(connection: sa.Connection, organisation: str, now: int) -> list[Delegated]:
    """All that are set below one organisation, and for it, as they are from now on."""
    theirs = sa.func.coalesce(_keys.c.organisation, "") == organisation
    mine = sa.and_(_table.key_id == "", _table.organisation == organisation)
    found = _rows(connection, sa.or_(mine, sa.and_(_table.key_id != "", theirs)))
    return [replace(each, limits=lasting(each.limits, now)) for each in found]


def _at(connection: sa.Connection, scope: Scope) -> list[Delegated]:
    found = _rows(connection, sa.and_(*_is(scope)))
    return [replace(each, scope=scope) for each in found]


def _is(scope: Scope) -> list[sa.ColumnElement[bool]]:
    named = ("", "", "") if scope.key else (scope.organisation, scope.team, scope.user)
    columns = (_table.organisation, _table.team, _table.user, _table.key_id)
    return [column == value for column, value in zip(columns, (*named, scope.key), strict=True)]


def _rows(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[Delegated]:
    whose = [_keys.c[name].label(f"of_{name}") for name in _OF_KEY]
    query = sa.select(delegated_limits, *whose).select_from(
        delegated_limits.outerjoin(_keys, _keys.c.id == _table.key_id)
    )
    rows = connection.execute(query.where(which))
    return [each for row in rows for each in _delegated(row)]


def _delegated(row: Any) -> list[Delegated]:
    scope = Scope(row.organisation, row.team, row.user)
    if row.key_id:
        of_key = (row.of_organisation or "", row.of_team or "", row.of_user or "")
        scope = Scope(*of_key, row.key_id)
    found = _limits.decode(row.limits)
    return [
        Delegated(scope=scope, limits=_named(each, scope), changed_at=row.changed_at,
                  changed_by=row.changed_by)
        for each in ([found] if isinstance(found, CallLimit) else found)
    ]  # fmt: skip


def _named(limits: CallLimit, scope: Scope) -> CallLimit:
    return replace(limits, name=scope.called(limits.by), when=scope.when)


def _text(limits: Sequence[CallLimit]) -> str:
    return msgspec.json.encode([_bare(each) for each in limits]).decode()


def _bare(limits: CallLimit) -> CallLimit:
    return replace(limits, name="", when=None)


def _write(connection: sa.Connection, new: Delegated) -> Delegated:
    """Keep a limit, in place of the one of its scope that is counted alike."""
    scope, there = new.scope, _at(connection, new.scope)
    old = next((each for each in there if each.counts(new.limits.by)), None)
    row = {
        "limits": _text([*(each.limits for each in there if each is not old), new.limits]),
        "changed_at": new.changed_at, "changed_by": new.changed_by,
    }  # fmt: skip
    if there:
        connection.execute(delegated_limits.update().where(*_is(scope)).values(**row))
    else:
        whose = {} if scope.key else {name: getattr(scope, name) for name in _OF_KEY}
        named = dict.fromkeys(_OF_KEY, "") | whose | {"key_id": scope.key}
        connection.execute(delegated_limits.insert().values(**named, **row))
    before = None if old is None else _bare(old.limits)
    name = scope.called(new.limits.by)
    audit.append(connection, Act(action="limits.set", target=name, before=before,
                                 after=_bare(new.limits)))  # fmt: skip
    return replace(new, limits=_named(new.limits, scope))


def _is_of(scope: Scope, within: Within) -> bool:
    """Whether it is a tenant's, or holds for all of what is."""
    mine = tenant(within)
    return not within or scope == mine or mine.above(scope) or scope.above(mine)
