"""Organisations and teams as records, and that nothing below has more than what is above it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferryman.config.delegation import Scope, beyond, lasting
from ferryman.config.feed import KeyFacts
from ferryman.config.snapshot import Budget, CallLimit
from ferryman.store import audit, db, delegated, keys, tenants, tokens
from ferryman.store.keys import NewKey
from ferryman.store.schema import delegated_limits, virtual_keys
from ferryman.store.tenants import Tenant
from tests.config.test_delegation import LIMITS, check_within, usd

_numbers = count(1)


def make(engine: sa.Engine, organisation: str, team: str = "") -> Tenant:
    row = Tenant(organisation=organisation, team=team, title="", created_at=1, created_by="admin")
    return tenants.create(engine, row)


def key(engine: sa.Engine, organisation: str = "", team: str = "", user: str = "") -> str:
    facts = KeyFacts(organisation, team, user)
    row = NewKey(name="k", digest=next(_numbers).to_bytes(32), hint="", facts=facts)
    return keys.create(engine, row).id


def token(engine: sa.Engine, organisation: str | None, team: str | None = None) -> str:
    number = next(_numbers)
    made = tokens.TokenInfo(
        id=f"tok_{number}", name="t", hint="", role="viewer", organisation=organisation, team=team,
        created_at=1, created_by="admin", expires_at=None,
    )  # fmt: skip
    tokens.create(engine, made, number.to_bytes(32))
    return made.id


def test_names_are_free_until_there_are_records(engine: sa.Engine) -> None:
    old = key(engine, "initech", "x")
    make(engine, "acme")
    assert key(engine, "acme", "any"), "it has no teams yet"
    make(engine, "acme", "red")
    for facts in (("acme", "red"), ("acme",), ("", "loose"), ()):
        key(engine, *facts)
        token(engine, *(fact or None for fact in facts or ("",)))
    for facts in (("globex",), ("acme", "blue"), ("initech", "x")):
        with pytest.raises(keys.KeyFieldError, match="is not known"):
            key(engine, *facts)
        with pytest.raises(tenants.UnknownTenantError, match="is not known"):
            token(engine, *facts)
    with pytest.raises(keys.KeyFieldError, match="team 'blue' of 'acme' is not known"):
        keys.describe(engine, old, organisation="acme", team="blue")
    assert keys.describe(engine, old, tags=["as it was"]).organisation == "initech"
    fresh = NewKey(name="", digest=b"r" * 32, hint="")
    assert keys.rotate(engine, old, fresh, 0)[1].organisation == "initech"
    assert keys.describe(engine, old, organisation="acme", team="red").team == "red"


def test_what_is_archived_is_named_no_more(engine: sa.Engine) -> None:
    make(engine, "acme")
    make(engine, "acme", "red")
    mine, other = key(engine, "acme", "red"), token(engine, "acme")
    anybody: dict[str, str] = {}
    with pytest.raises(tenants.InUseError, match="1 keys and 0 tokens of the team 'red'"):
        tenants.change(engine, "acme", "red", archived=True, within=anybody)
    keys.revoke(engine, mine)
    with pytest.raises(tenants.InUseError, match="0 keys and 1 tokens"):
        tenants.change(engine, "acme", archived=True, within=anybody)
    tokens.revoke(engine, other, anybody, 5)
    for _ in range(2):
        gone = tenants.change(engine, "acme", "red", archived=True, within=anybody)
        assert gone.archived_at is not None
    tenants.change(engine, "acme", archived=True, within=anybody)
    with pytest.raises(keys.KeyFieldError, match="organisation 'acme' is archived"):
        key(engine, "acme")
    with pytest.raises(tenants.UnknownTenantError, match="'acme' is archived"):
        tenants.change(engine, "acme", "red", archived=False, within=anybody)
    with pytest.raises(tenants.TakenError):
        make(engine, "acme")
    assert tenants.change(engine, "acme", archived=False, within=anybody).archived_at is None
    with pytest.raises(keys.KeyFieldError, match="team 'red' of 'acme' is archived"):
        key(engine, "acme", "red")


@pytest.mark.parametrize("name", ["", " ", "a/b", "-", " a", "a\n", "x" * 101])
def test_names_that_can_not_be(tmp_path: object, name: str) -> None:
    engine = db.open_engine(f"sqlite:///{tmp_path}/x.db")
    for facts in ((name, ""), ("acme", name)) if name else ((name, ""),):
        with pytest.raises(tenants.TenantFieldError, match="1 to 100 printable"):
            make(engine, *facts)


def test_a_tenant_meets_its_own(engine: sa.Engine) -> None:
    for name in ("acme", "globex"):
        make(engine, name)
        for team in ("blue", "red"):
            make(engine, name, team)
    acme, red = {"organisation": "acme"}, {"organisation": "acme", "team": "red"}
    loose = {"organisation": "-", "team": "red"}

    def seen(within: dict[str, str], organisation: str | None = None) -> list[str]:
        rows = tenants.page(engine, limit=9, within=within, organisation=organisation)
        return [row.team or row.organisation for row in rows]

    assert seen({}) == ["acme", "globex"]
    assert seen(acme) == seen(red) == ["acme"]
    assert (seen(acme, "acme"), seen(red, "acme")) == (["blue", "red"], ["red"])
    assert seen(loose) == seen(loose, "acme") == seen(acme, "globex") == []
    assert tenants.page(engine, limit=1, within={}, after="acme")[0].organisation == "globex"
    assert tenants.get(engine, "globex", "red", within=red) is None
    with pytest.raises(tenants.UnknownTenantError):
        tenants.change(engine, "acme", "blue", title="x", within=red)


# -- what they may take ----------------------------------------------------------------------------

_WHOSE = (("acme", "red", "ann"), ("acme", "red", ""), ("acme", "", "ann"), ("acme", "blue", ""),
          ("", "red", ""), ("acme", "", ""), ("globex", "", ""))  # fmt: skip
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 8), LIMITS, st.booleans()),
        st.tuples(st.just("remove"), st.integers(0, 8), st.sampled_from(((), ("key",)))),
        st.tuples(st.just("move"), st.integers(0, 1), st.sampled_from(_WHOSE)),
        st.tuples(st.just("rotate"), st.integers(0, 1)),
    ),
    min_size=4, max_size=14,
)  # fmt: skip


def check(engine: sa.Engine) -> int:
    """That nobody has more than what is above; returns how many there are."""
    now = int(time.time())
    found = [(each.scope, lasting(each.limits, now)) for each in delegated.every(engine)]
    assert len({(scope, frozenset(limits.by)) for scope, limits in found}) == len(found)
    for scope, child in found:
        for above, parent in found:
            if above.above(scope):
                assert not beyond(child, parent, scope), (child, parent)
                check_within(scope, child, parent)
    return len(found)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    engine = db.open_engine(f"sqlite:///{tmp_path_factory.mktemp('one') / 'ferryman.db'}")
    db.migrate(engine)
    yield engine
    engine.dispose()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS)
def test_no_sequence_of_writes_leaves_a_child_above_its_parent(
    file: sa.Engine, steps: list[tuple[object, ...]]
) -> None:
    engine = file
    with db.writing(engine) as connection:
        connection.execute(delegated_limits.delete())
        connection.execute(virtual_keys.delete())
    mine = [key(engine, "acme", "red", "ann"), key(engine, "acme", "blue")]
    for kind, which, *rest in steps:
        assert isinstance(which, int)
        at = Scope(key=mine[which - 7]) if which > 6 else Scope(*_WHOSE[which])
        with contextlib.suppress(
            delegated.BeyondParentError, delegated.ChildrenError, delegated.NoSuchScopeError
        ):
            if kind == "put":
                limits, lower = rest
                assert isinstance(limits, CallLimit)
                delegated.put(engine, at, limits, "me", within={}, lower=bool(lower))
            elif kind == "remove":
                delegated.remove(engine, at, {}, rest[0])  # type: ignore[arg-type]
            elif kind == "move":
                facts = dict(zip(keys.FACTS, rest[0], strict=True))  # type: ignore[call-overload]
                keys.describe(engine, mine[which], **facts)
            else:
                new = NewKey(name="", digest=next(_numbers).to_bytes(32), hint="")
                mine[which] = keys.rotate(engine, mine[which], new, 60)[1].id
        check(engine)


def test_increases_carry_over_and_limits_for_each(engine: sa.Engine) -> None:
    mine, acme = key(engine, "acme", "red", "ann"), Scope("acme")
    soon = int(time.time()) + 10**6

    def put(scope: Scope, limits: CallLimit, *, lower: bool = False) -> list[str]:
        return [each.name for each in
                delegated.put(engine, scope, limits, "me", within={}, lower=lower)[1]]  # fmt: skip

    put(acme, usd(100, "month"))
    put(acme, usd(5, "day", by=("key",)))
    names = [each.name for each in delegated.every(engine)]
    assert names == ["organisation:acme", "organisation:acme:key"], "both stand"
    with pytest.raises(delegated.BeyondParentError, match="more than organisation:acme:key"):
        put(Scope(key=mine), usd(6, "day"))
    put(Scope("acme", "red"), usd(60, "day"))  # all of its keys together
    put(Scope(key=mine), usd(5, "day"))
    with pytest.raises(delegated.BeyondParentError, match="with the increase is more than 5 USD"):
        put(Scope(key=mine), usd(5, "day", more=1, until=soon))
    with pytest.raises(delegated.BeyondParentError, match="carried over, is more than 5 USD"):
        put(Scope(key=mine), usd(3, "day", carry=True))
    put(acme, usd(5, "day", by=("key",), more=2, until=soon))
    put(Scope(key=mine), usd(5, "day", more=1, until=soon))
    with pytest.raises(delegated.BeyondParentError):
        put(Scope(key=mine), usd(5, "day", more=1, until=soon + 1))
    with pytest.raises(delegated.ChildrenError, match=f"1 below it have more.*key:{mine}"):
        put(acme, usd(5, "day", by=("key",)))
    assert put(acme, usd(4, "day", by=("key",)), lower=True) == [f"key:{mine}"]
    rows = {each.name: each.limits.budgets[0] for each in delegated.every(engine)}
    assert rows[f"key:{mine}"] == usd(4, "day").budgets[0]
    # An increase that is over is none, for whoever sets limits below or above it.
    put(Scope(key=mine), usd(1, "day", more=90, until=5))
    put(acme, usd(3, "day", by=("key",)))
    # What is brought down bounds what is below that in turn.
    put(Scope("acme", "red"), usd(10, "month", carry=True))
    put(Scope("acme", "red", "ann"), usd(10, "month"))
    lowered = put(acme, usd(10, "month"), lower=True)
    assert lowered == ["team:acme/red", "user:acme/red/ann"]
    rows = {each.name: each.limits.budgets[0] for each in delegated.every(engine)}
    assert [rows[each].most for each in lowered] == [usd(5, "day").budgets[0].most] * 2
    delegated.remove(engine, acme, {}, ("key",))
    with pytest.raises(delegated.NoSuchScopeError):
        delegated.remove(engine, acme, {}, ("key",))
    assert "organisation:acme" in [each.name for each in delegated.every(engine)]
    for number in range(delegated.MOST_OF_ONE - 1):
        put(acme, usd(5, "day", by=(f"metadata.m{number}",)))
    with pytest.raises(delegated.FullError):
        put(acme, usd(5, "day", by=("run",)))
    # As they were written before there could be several.
    with db.writing(engine) as connection:
        old = msgspec.json.encode(usd(3, "day")).decode()
        connection.execute(delegated_limits.update().values(limits=old))
    assert {each.limits.budgets for each in delegated.every(engine)} == {usd(3, "day").budgets}


def test_what_is_set_goes_with_its_key_and_stays_within(engine: sa.Engine) -> None:
    mine, small = key(engine, "acme", "red", "ann"), usd(5, "day")
    delegated.put(engine, Scope("acme"), usd(100, "month"), "me", within={})
    delegated.put(engine, Scope("globex"), usd(1, "month"), "me", within={})
    with pytest.raises(delegated.BeyondParentError, match="101 USD per month is more than 100 USD"):
        delegated.put(engine, Scope(key=mine), usd(101, "month"), "me", within={})
    delegated.put(engine, Scope(key=mine), small, "me", within={"organisation": "acme"})
    with pytest.raises(delegated.BeyondParentError, match="may not have more than organisation:gl"):
        keys.describe(engine, mine, organisation="globex")
    with pytest.raises(delegated.NoSuchScopeError):
        delegated.put(engine, Scope(key=mine), small, "x", within={"organisation": "globex"})
    with pytest.raises(delegated.ChildrenError, match=f"1 below it have more.*key:{mine}"):
        delegated.put(engine, Scope("acme"), usd(4, "month"), "me", within={})
    fresh = NewKey(name="", digest=b"n" * 32, hint="")
    old, new = keys.rotate(engine, mine, fresh, 0)
    [row] = [each for each in delegated.every(engine) if each.scope.key]
    assert (row.scope, row.limits.budgets) == (
        Scope("acme", "red", "ann", new.id), small.budgets
    )  # fmt: skip
    _, lowered = delegated.put(engine, Scope("acme"), usd(4, "month"), "me", within={}, lower=True)
    assert {each.scope.key for each in lowered} == {old.id, new.id}
    [row] = [each for each in delegated.every(engine) if each.scope.key == new.id]
    assert row.limits.budgets == usd(4, "day").budgets
    chain = audit.keyed(engine, bytes(32))
    delegated.remove(chain, Scope(key=new.id), {})
    with pytest.raises(delegated.NoSuchScopeError):
        delegated.remove(chain, Scope(key=new.id), {})
    assert [each.action for each in audit.after(chain, audit.Mark())] == ["limits.remove"]


def test_writers_at_the_same_time_leave_nothing_above(engine: sa.Engine) -> None:
    mine, wrong = key(engine, "acme", "red"), []

    def many(act: Callable[[int], object]) -> None:
        for number in range(12):
            try:
                act(number)
            except (delegated.BeyondParentError, delegated.ChildrenError):
                pass
            except Exception as error:
                wrong.append(error)

    def put(scope: Scope, most: tuple[int, int]) -> Callable[[int], object]:
        def act(number: int) -> object:
            budget = Budget(unit="tokens", most=most[number % 2], per="day")
            limits = CallLimit(name="", budgets=(budget,))
            return delegated.put(engine, scope, limits, "me", within={}, lower=scope.key == "")

        return act

    def move(number: int) -> object:
        return keys.describe(engine, mine, organisation=("globex", "acme")[number % 2])

    acts = [put(Scope("acme"), (10, 100)), put(Scope("globex"), (20, 50)),
            put(Scope(key=mine), (60, 40)), move]  # fmt: skip
    threads = [threading.Thread(target=many, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert check(engine) >= 2, "the key's own may have been beyond its parent's each time"
