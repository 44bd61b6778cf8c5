"""A directory's users and groups in both databases: what ends with whom, what groups give, and
that nobody waits for each other for ever."""

import contextlib
import json
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.config.feed import KeyFacts
from ferryman.config.model import Grant
from ferryman.store import audit, keys, leaving, scim, sessions, tokens, users
from ferryman.store.keys import KeyFieldError, NewKey
from ferryman.store.linking import Claimed, NotSameError, linked
from ferryman.store.scim import Entry, Grants, Group, NobodyError
from ferryman.store.sessions import Session
from ferryman.store.tokens import GoneError, TokenInfo
from ferryman.store.users import SERVICE, TakenError, UserInfo

GRANTED = {
    "admins": Grant(role="admin"), "red": Grant(role="developer", team="red"),
    "blue": Grant(role="viewer", team="blue"),
}  # fmt: skip
ROLES = {"admin": frozenset("abc"), "developer": frozenset("ab"), "viewer": frozenset("a")}
GRANTS = Grants(of=GRANTED, roles=ROLES)
ANNA = UserInfo(id="usr_a", name="Anna@Example.com", role="", organisation="acme", created_at=1,
                created_by="tok_1", changed_at=1)  # fmt: skip
RED = Group(id="grp_r", organisation="acme", name="Red", external_id=None, attributes="{}",
            created_at=1, changed_at=1)  # fmt: skip


@pytest.fixture
def book(engine: sa.Engine) -> sa.Engine:
    """A database that writes down who did what."""
    return audit.keyed(engine, bytes(32))


def add(engine: sa.Engine, name: str, organisation: str | None = "acme") -> str:
    user = replace(ANNA, id=f"usr_{name}", name=name, organisation=organisation)
    return scim.add_user(engine, Entry(user=user, attributes="{}"), GRANTS).user.id


def key(engine: sa.Engine, user: str, organisation: str = "acme") -> str:
    row = NewKey(name="k", digest=secrets.token_bytes(32), hint="",
                 facts=KeyFacts(organisation, "", user))  # fmt: skip
    return keys.create(engine, row).id


def token(engine: sa.Engine, ident: str, by: str = "admin", of: str | None = None) -> str:
    made = TokenInfo(id=ident, name="t", hint="", role="viewer", organisation=None, team=None,
                     created_at=1, created_by=by, expires_at=None, user_id=of)  # fmt: skip
    tokens.create(engine, made, ident.encode().ljust(32))
    return ident


def alive(engine: sa.Engine) -> set[str]:
    """Ids of the keys and tokens that work, and marks of sessions that are open."""
    found = {each.id for each in keys.list_keys(engine) if each.revoked_at is None}
    rows = tokens.page(engine, limit=99, within={})
    found |= {each.id for each in rows if each.revoked_at is None}
    return found | {mark for mark in ("open", "other") if sessions.find(engine, mark, 5)}


def said(engine: sa.Engine) -> list[str]:
    return [f"{each.action} {each.target}" for each in reversed(audit.listing(engine, limit=99))]


def end(**fields: object) -> Callable[[Entry], Entry]:
    return lambda old: replace(old, user=replace(old.user, changed_at=9, **fields))


@pytest.mark.parametrize("how", ["disabled", "removed", "by hand", "removed by hand"])
def test_who_leaves_takes_sessions_tokens_and_keys_along(book: sa.Engine, how: str) -> None:
    add(book, "anna@example.com")
    add(book, "ben")
    mine = [key(book, "anna@example.com"), key(book, "ANNA@example.COM")]
    others = {key(book, "anna@example.com", "globex"), key(book, "anna@example.com", ""),
              key(book, "ben"), key(book, "")}  # fmt: skip
    one = token(book, "tok_1", "usr_anna@example.com")
    mine += [one, token(book, "tok_2", one), token(book, "tok_3", of="usr_anna@example.com")]
    others |= {token(book, "tok_9", "usr_ben")}
    for mark, user in (("open", "usr_anna@example.com"), ("other", "usr_ben")):
        sessions.begin(book, Session(mark=mark, user_id=user, created_at=1, ends_at=99, seen_at=1,
                                     address=""))  # fmt: skip
    seq = keys.key_seq(book)
    assert alive(book) == {*mine, *others, "open", "other"}
    ident, count = "usr_anna@example.com", len(said(book))
    if how == "disabled":
        assert scim.edit_user(book, "acme", ident, end(active=False))
    elif how == "removed":
        assert scim.remove_user(book, "acme", ident, 9)
    elif how == "by hand":
        was = users.find(book, ident)
        assert was is not None
        gone = leaving.changed(was, {})
        users.change(book, ident, {}, {"active": False}, 9, also=gone)
    else:
        users.remove(book, ident, {}, 9, leaving.removed(9, {}))
    assert alive(book) == {*others, "other"}
    assert keys.key_seq(book) == seq + 1
    assert len(keys.changed_since(book, seq)[1]) == 2 * keys.RECORD.size, "data planes hear of it"
    done = said(book)[count:]
    assert done[0].startswith(f"user.{'remove' if 'removed' in how else 'change'} ")
    assert sorted(done[1:]) == sorted(
        [f"key.revoke {each}" for each in mine if each.startswith("key_")]
        + [f"token.revoke {each}" for each in mine if each.startswith("tok_")]
    )
    assert audit.verify(book, bytes(32))[1] == []
    found = scim.find_user(book, "acme", ident)
    assert (found is None) == ("removed" in how)


def test_who_has_left_gets_nothing_new(book: sa.Engine) -> None:
    add(book, "anna")
    mine, loose = key(book, "anna"), key(book, "")
    scim.edit_user(book, "acme", "usr_anna", end(active=False))
    for make in (
        lambda: key(book, "ANNA"),
        lambda: keys.describe(book, loose, user="anna", organisation="acme"),
    ):
        with pytest.raises(KeyFieldError, match="is disabled"):
            make()
    key(book, "anna", "globex")
    for by, of in (("usr_anna", None), ("admin", "usr_anna"), ("usr_nobody", None)):
        with pytest.raises(GoneError):
            token(book, "tok_1", by, of)
    scim.edit_user(book, "acme", "usr_anna", end(active=True))
    assert mine not in alive(book), "what has ended stays so"
    assert key(book, "anna") in alive(book)
    assert token(book, "tok_1", "usr_anna") in alive(book)
    tokens.revoke(book, "tok_1", {}, 5)
    with pytest.raises(GoneError, match="tok_1"):
        token(book, "tok_2", "tok_1")


def test_a_token_of_somebody_who_is_out_is_not_found(book: sa.Engine) -> None:
    """Though it was not revoked, as in a database from elsewhere."""
    add(book, "anna")
    token(book, "tok_1", of="usr_anna")
    assert tokens.find(book, b"tok_1".ljust(32)) is not None
    with book.begin() as connection:
        connection.exec_driver_sql("UPDATE users SET active = false")
    assert tokens.find(book, b"tok_1".ljust(32)) is None


def test_keys_follow_a_user_who_is_called_otherwise(book: sa.Engine) -> None:
    add(book, "anna")
    mine, other = key(book, "Anna"), key(book, "anna", "globex")
    scim.edit_user(book, "acme", "usr_anna", end(name="anna.b"))
    assert {each.id: each.user for each in keys.list_keys(book)} == {mine: "anna.b", other: "anna"}
    scim.edit_user(book, "acme", "usr_anna", end(active=False))
    assert alive(book) == {other}


def test_a_user_of_nobody_is_the_user_of_keys_of_all(book: sa.Engine) -> None:
    add(book, "anna", None)
    for each in ("", "acme", "globex"):
        key(book, "anna", each)
    scim.remove_user(book, None, "usr_anna", 9)
    assert not alive(book)


def test_an_organisation_sees_its_own(book: sa.Engine) -> None:
    add(book, "anna")
    add(book, "gina", "globex")
    add(book, "nina", None)
    local = replace(ANNA, id="usr_local", name="local", organisation="acme")
    users.create(book, local, "a hash")
    users.create(book, replace(local, id="usr_bot", name="bot", kind=SERVICE))
    names = {
        of: [each.user.name for each in scim.list_users(book, of, {})]
        for of in ("acme", "globex", None)
    }
    assert names == {"acme": ["anna"], "globex": ["gina"], None: ["anna", "gina", "nina"]}
    assert scim.user_count(book, "acme") == 1
    for ident in ("usr_gina", "usr_nina", "usr_local", "usr_bot", "usr_none"):
        assert scim.find_user(book, "acme", ident) is None
        assert scim.edit_user(book, "acme", ident, end(active=False)) is None
        assert not scim.remove_user(book, "acme", ident, 9)
        with pytest.raises(NobodyError, match=ident):
            scim.add_group(book, "acme", replace(RED, members=((ident, ""),)), GRANTS)
    assert all(each.active for each in users.page(book, limit=9, within={}))
    for name in ("GINA", "local", "bot"):
        with pytest.raises(TakenError):
            add(book, name)
    scim.add_group(book, "globex", replace(RED, id="grp_g", organisation="globex"), GRANTS)
    assert scim.find_group(book, "acme", "grp_g") is None
    assert not scim.remove_group(book, "acme", "grp_g", GRANTS, 9)
    assert scim.edit_group(book, "acme", "grp_g", lambda old: old, GRANTS) is None


def test_who_came_by_a_sign_in_makes_room_and_is_not_taken_over(book: sa.Engine) -> None:
    known = replace(ANNA, id="usr_x", name="anna", role="viewer", issuer="i", subject="s")
    users.create(book, known)
    sessions.begin(book, Session(mark="open", user_id="usr_x", created_at=1, ends_at=99, seen_at=1,
                                 address=""))  # fmt: skip
    mine = token(book, "tok_1", "usr_x")
    with pytest.raises(TakenError):
        add(book, "anna", "globex")
    assert alive(book) == {"open", mine}
    assert add(book, "ANNA") == "usr_ANNA"
    found = users.find(book, "usr_x")
    assert found is not None
    assert (found.issuer, found.name) == ("i", "anna (usr_x)")
    assert alive(book) == set(), "signed out: who that is shows when they come again"
    with pytest.raises(TakenError):
        add(book, "anna")


CLAIMED = Claimed(issuer="i", subject="s", organisation="acme", email="ANNA@x", verified=True)


def mail(*addresses: str, primary: bool = True) -> str:
    rows = [{"value": each, "primary": primary} for each in addresses]
    return json.dumps({"emails": rows, "note": "anna@x"})


def test_who_signs_in_is_the_directorys_user_only_where_that_is_sure(book: sa.Engine) -> None:
    def made(name: str, attributes: str = "{}", organisation: str | None = "acme") -> str:
        user = replace(ANNA, id=f"usr_{name}", name=name, organisation=organisation,
                       external_id=f"ext-{name}")  # fmt: skip
        return scim.add_user(book, Entry(user=user, attributes=attributes), GRANTS).user.id

    def who(**fields: object) -> str | None:
        found = linked(book, replace(CLAIMED, **fields), 7)
        return None if found is None else found.id

    for name, said, of in (
        ("anna@x", "{}", "globex"), ("eve", mail("anna@x", primary=False), "acme"),
        ("xanna@x", mail("anna@x.example"), "acme"), ("nina", mail("anna@x"), None),
    ):  # fmt: skip
        made(name, said, of)
    users.create(book, replace(ANNA, id="usr_hand", name="hand@x", external_id="ext-hand"))
    assert who() is None
    assert who(email="") is None
    assert who(email="hand@x") is None, "made by hand"
    assert who(external_id="ext-hand") is None
    assert who(external_id="") is None
    assert who(email="%anna%") is None
    one = made("one", mail("Anna@X"))
    for less in ({"verified": False}, {"verified": False, "subject": "other"}):
        with pytest.raises(NotSameError, match="not said to be verified"):
            who(**less)
    two = made("two", mail("anna@x"))
    with pytest.raises(NotSameError, match="several"):
        who()
    scim.remove_user(book, "acme", two, 9)
    assert who(organisation="red") is None
    users.create(book, replace(ANNA, id="usr_old", name="anna (i)", issuer="i", subject="s"))
    ends = [token(book, "tok_1", "usr_old"), key(book, "anna (i)")]
    assert who() == one, "the name, or else the primary address, and of one only"
    assert users.find(book, "usr_old") is None, "whoever they were before goes"
    assert alive(book) == {ends[1]}
    assert keys.list_keys(book)[0].user == "one", "and keys come along, to end with them"
    assert who(email="other@x", verified=False) == one, "by issuer and subject from now on"
    for other in ({"subject": "t"}, {"issuer": "j"}):
        with pytest.raises(NotSameError, match="another account"):
            who(**other)
    three = made("three")
    assert who(subject="t", external_id="ext-three") == three
    assert audit.verify(book, bytes(32))[1] == []


def test_a_linked_user_who_is_removed_stays_known_as_out(book: sa.Engine) -> None:
    add(book, "anna@x")
    assert linked(book, CLAIMED, 7) is not None
    key(book, "anna@x")
    assert scim.remove_user(book, "acme", "usr_anna@x", 9)
    assert alive(book) == set()
    assert scim.find_user(book, "acme", "usr_anna@x") is None
    left = users.find(book, "usr_anna@x")
    assert left is not None
    assert (left.name, left.active, left.role, left.subject) == ("usr_anna@x", False, "", "s")
    assert linked(book, CLAIMED, 10) is None
    scim.add_user(book, Entry(user=replace(ANNA, id="usr_new", name="anna@x"), attributes="{}"),
                  GRANTS)  # fmt: skip
    again = linked(book, CLAIMED, 11)
    assert again is not None
    assert (again.id, users.find(book, "usr_anna@x")) == ("usr_new", None)


# -- groups ----------------------------------------------------------------------------------------


def has(engine: sa.Engine, ident: str) -> tuple[str, str | None]:
    found = users.find(engine, ident)
    assert found is not None
    return found.role, found.team


def test_the_first_group_of_the_configuration_counts(book: sa.Engine) -> None:
    anna, ben = add(book, "anna"), add(book, "ben")

    def group(name: str, *members: str) -> str:
        made = replace(RED, id=f"grp_{name}", name=name, members=tuple((m, "") for m in members))
        return scim.add_group(book, "acme", made, GRANTS).id

    def members(ident: str, *ids: str, name: str | None = None) -> None:
        def edit(old: Group) -> Group:
            return replace(old, name=name or old.name, members=tuple((m, "") for m in ids))

        scim.edit_group(book, "acme", ident, edit, GRANTS)

    blue, other = group("BLUE", anna, ben), group("other", anna)
    assert has(book, anna) == has(book, ben) == ("viewer", "blue")
    red = group("Red", anna)
    assert (has(book, anna), has(book, ben)) == (("developer", "red"), ("viewer", "blue"))
    members(other, anna, ben, name="Admins")
    assert has(book, anna) == has(book, ben) == ("admin", None)
    members(other, ben)
    assert (has(book, anna), has(book, ben)) == (("developer", "red"), ("admin", None))
    members(red, anna, name="green")
    assert has(book, anna) == ("viewer", "blue")
    entry = scim.find_user(book, "acme", anna)
    assert entry is not None
    assert entry.groups == (("grp_BLUE", "BLUE"), ("grp_Red", "green"))
    with pytest.raises(TakenError, match="group"):
        members(red, name="blue")
    assert scim.remove_group(book, "acme", blue, GRANTS, 9)
    assert has(book, anna) == ("", None)
    assert scim.remove_user(book, "acme", anna, 9)
    found = scim.find_group(book, "acme", red)
    assert found is not None
    assert found.members == ()
    # Another configuration; and none, with which roles are given by hand.
    less = Grants(of={"admins": Grant(role="viewer")}, roles=ROLES)
    assert scim.grant_all(book, less, 9) == 1
    assert has(book, ben) == ("viewer", None)
    assert scim.grant_all(book, less, 9) == 0
    assert scim.grant_all(book, Grants(), 9) == 0
    assert has(book, ben) == ("viewer", None)
    assert audit.verify(book, bytes(32))[1] == []


def test_tokens_of_who_may_less_than_before_end(book: sa.Engine) -> None:
    """They would go on as if nothing were."""
    anna = add(book, "anna")
    viewers = replace(RED, id="grp_v", name="viewers", members=((anna, ""),))
    admins = replace(RED, id="grp_a", name="admins", members=((anna, ""),))
    of = {"admins": Grant(role="admin"), "viewers": Grant(role="viewer")}
    grants = Grants(of=of, roles=ROLES)
    scim.add_group(book, "acme", viewers, grants)
    one = token(book, "tok_1", anna)
    scim.add_group(book, "acme", admins, grants)
    two, mine = token(book, "tok_2", anna), key(book, "anna")
    assert alive(book) == {one, two, mine}, "who may more keeps what they have"
    scim.remove_group(book, "acme", "grp_a", grants, 9)
    assert has(book, anna) == ("viewer", None)
    assert alive(book) == {mine}


def test_all_at_once_end_well(book: sa.Engine) -> None:
    """Users who leave and are called otherwise, groups that change, keys and tokens that are made:
    nothing waits for ever, and what is made for somebody who leaves ends with them."""
    ids = [add(book, f"u{n}") for n in range(6)]
    for n in range(3):
        made = replace(RED, id=f"grp_{n}", name=f"g{n}", members=tuple((i, "") for i in ids))
        scim.add_group(book, "acme", made, GRANTS)
    gate = threading.Barrier(7)

    def repeat(act: Callable[[int], object]) -> None:
        gate.wait()
        for n in range(12):
            with contextlib.suppress(KeyFieldError, GoneError, NobodyError, NotSameError):
                act(n)

    def sign_in(n: int) -> object:
        with contextlib.suppress(TakenError):
            users.create(book, replace(ANNA, id=f"usr_s{n}", name=f"s{n}", issuer="i",
                                       subject=f"{n % 5}"))  # fmt: skip
        return linked(book, replace(CLAIMED, subject=f"{n % 5}", email=f"u{(n + 1) % 5}"), n)

    def regroup(turn: int) -> Callable[[int], object]:
        def edit(n: int) -> object:
            some = tuple((i, "") for i in ids[n % 3 :] if n % 2)
            return scim.edit_group(
                book,
                "acme",
                f"grp_{(n + turn) % 3}",
                lambda old: replace(old, members=some),
                GRANTS,
            )

        return edit

    acts = [
        regroup(0), regroup(1),
        lambda n: scim.edit_user(book, "acme", ids[n % 3], end(active=False)),
        lambda n: scim.remove_user(book, "acme", ids[3 + n % 2], 9),
        lambda n: key(book, f"u{n % 5}"),
        sign_in,
        lambda n: [token(book, f"tok_{n}", ids[n % 5]), token(book, f"tok_{n}_", f"tok_{n}")],
    ]  # fmt: skip
    with ThreadPoolExecutor(7) as pool:
        list(pool.map(repeat, acts))
    gone = {f"u{n}" for n in range(3)}
    assert not [each for each in keys.list_keys(book) if each.user in gone and not each.revoked_at]
    rows = tokens.page(book, limit=99, within={})
    assert not [each.id for each in rows if each.created_by in ids[:5] and not each.revoked_at]
    made = {each.id: each for each in rows}
    assert not [each.id for each in rows if each.created_by in made and not each.revoked_at]
    assert audit.verify(book, bytes(32))[1] == []
