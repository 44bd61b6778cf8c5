"""Users and sessions in both databases: names, who is shut out with what, and when sessions end."""

from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.store import audit, schema, sessions, tokens, users
from ferryman.store.audit import Act
from ferryman.store.sessions import IDLE_SECONDS, MOST, Session
from ferryman.store.tokens import TokenInfo
from ferryman.store.users import TakenError, UserInfo

ANNA = UserInfo(id="usr_a", name="Anna@Example.com", role="viewer", organisation="acme",
                created_at=1, created_by="admin", changed_at=1)  # fmt: skip
BEN = replace(ANNA, id="usr_b", name="ben", organisation=None, created_at=2)
ALL: dict[str, str] = {}


@pytest.fixture
def book(engine: sa.Engine) -> sa.Engine:
    """A database that writes down who did what, with two users."""
    keyed = audit.keyed(engine, bytes(32))
    users.create(keyed, ANNA, "secret hash")
    users.create(keyed, BEN)
    return keyed


def token(token_id: str, by: str) -> TokenInfo:
    return TokenInfo(id=token_id, name="t", hint="", role="viewer", organisation=None, team=None,
                     created_at=1, created_by=by, expires_at=None)  # fmt: skip


def session(mark: str, user_id: str | None = "usr_a", at: int = 100) -> Session:
    return Session(mark=mark, user_id=user_id, created_at=at, ends_at=at + 10**6, seen_at=at,
                   address="::1")  # fmt: skip


def acts(engine: sa.Engine) -> list[tuple[str, str]]:
    return [(each.action, each.target) for each in reversed(audit.listing(engine, limit=50))]


def test_names_are_one_however_they_are_written(book: sa.Engine) -> None:
    for name in ("anna@example.com", " ANNA@EXAMPLE.COM ", "\uff41nna@example.com"):
        assert users.find_by_name(book, name) == ANNA, name
        with pytest.raises(TakenError, match="this name"):
            users.create(book, replace(BEN, id="usr_c", name=name))
        with pytest.raises(TakenError, match="this name"):
            users.change(book, "usr_b", ALL, {"name": name}, 5)
    assert users.password_of(book, "anna@EXAMPLE.com") == (ANNA, "secret hash")
    assert users.password_of(book, "ben") == (BEN, None)
    assert users.password_of(book, "carl") is None
    assert "secret hash" not in repr(audit.listing(book, limit=50))


def test_who_they_are_elsewhere_is_one_of_a_kind(book: sa.Engine) -> None:
    users.change(book, "usr_a", ALL, {"issuer": "i", "subject": "s", "external_id": "x"}, 5)
    users.change(book, "usr_b", ALL, {"issuer": "i", "subject": "other", "external_id": "x"}, 5)
    assert users.find_by_subject(book, "i", "s").id == "usr_a"  # type: ignore[union-attr]
    assert users.find_by_external_id(book, "x", {"organisation": "acme"}).id == "usr_a"  # type: ignore[union-attr]
    assert users.find_by_external_id(book, "x", {"organisation": "-"}).id == "usr_b"  # type: ignore[union-attr]
    for fields in ({"subject": "s"}, {"organisation": "acme"}):
        with pytest.raises(TakenError):
            users.change(book, "usr_b", ALL, fields, 6)


def test_two_at_the_same_moment(book: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked before either has written."""
    monkeypatch.setattr(users, "_check_free", lambda *_: None)
    with pytest.raises(TakenError):
        users.create(book, replace(BEN, id="usr_c"))


def test_a_tenant_meets_its_own(book: sa.Engine) -> None:
    theirs = {"organisation": "acme"}
    assert users.page(book, limit=9, within=theirs) == [ANNA]
    assert users.page(book, limit=9, within=ALL, after=(1, "usr_a")) == [BEN]
    assert users.find(book, "usr_b", theirs) is None
    assert users.change(book, "usr_b", theirs, {"role": "admin"}, 5) is None
    assert users.set_password(book, "usr_b", theirs, "x", 5) is None
    assert users.remove(book, "usr_b", theirs, 5) is None
    assert users.find(book, "usr_b") == BEN


def left(engine: sa.Engine, *marks: str) -> list[str]:
    return [mark for mark in marks if sessions.find(engine, mark, 150)]


@pytest.mark.parametrize("how", ["disable", "remove", "out"])
def test_who_is_shut_out_takes_along_what_they_made(book: sa.Engine, how: str) -> None:
    for ident, by in (("t1", "usr_a"), ("t2", "t1"), ("t3", "t2"), ("t4", "usr_b"), ("t5", "t4")):
        tokens.create(book, token(ident, by), ident.encode())
    tokens.revoke(book, "t2", ALL, 3)
    for mark, whose in (("m1", "usr_a"), ("m2", "usr_a"), ("m3", "usr_b"), ("m4", None)):
        sessions.begin(book, session(mark, whose))
    before = len(acts(book))

    def also(_connection: sa.Connection, user: UserInfo) -> list[Act]:
        return [Act(action="key.revoke", target=user.id)]

    if how == "remove":
        assert users.remove(book, "usr_a", ALL, 50, also) == replace(ANNA, last_in_at=100)
    else:
        fields: dict[str, Any] = {"active": False} if how == "disable" else {"role": "billing"}
        users.change(book, "usr_a", ALL, fields, 50, out=how == "out", also=also)
    assert left(book, "m1", "m2", "m3", "m4") == ["m3", "m4"]
    ended = {each.id: each.revoked_at for each in tokens.page(book, limit=9, within=ALL)}
    assert ended == {"t1": 50, "t2": 3, "t3": 50, "t4": None, "t5": None}
    first = "user.remove" if how == "remove" else "user.change"
    assert acts(book)[before:] == [
        (first, "usr_a"), ("token.revoke", "t1"), ("token.revoke", "t3"), ("key.revoke", "usr_a"),
    ]  # fmt: skip
    if how == "disable":
        sessions.begin(book, session("m5"))
        assert left(book, "m5") == [], "who is disabled gets no session"


def test_what_is_not_new_is_no_change(book: sa.Engine) -> None:
    before = acts(book)
    assert users.change(book, "usr_a", ALL, {"role": "viewer", "active": True}, 9) == ANNA
    assert acts(book) == before
    made = users.change(book, "usr_a", ALL, {"role": "admin"}, 9)
    assert made == replace(ANNA, role="admin", changed_at=9)
    said = audit.listing(book, limit=1)[0]
    assert (said.before, said.after) == ('{"role":"viewer"}', '{"role":"admin"}')


def test_another_password_ends_sessions(book: sa.Engine) -> None:
    sessions.begin(book, session("m1"))
    assert users.set_password(book, "usr_a", ALL, None, 9)
    assert left(book, "m1") == []
    assert users.password_of(book, ANNA.name)[1] is None  # type: ignore[index]


def test_sessions_end(book: sa.Engine) -> None:
    sessions.begin(book, session("m1"))
    found = sessions.find(book, "m1", 101)
    assert found is not None
    assert (found[0], found[1]) == (session("m1"), replace(ANNA, last_in_at=100))
    assert sessions.find(book, "m1", 100 + IDLE_SECONDS) is None
    sessions.seen(book, "m1", 5000)
    assert sessions.find(book, "m1", 100 + IDLE_SECONDS) is not None
    sessions.begin(book, replace(session("m2", None), ends_at=200))
    assert sessions.find(book, "m2", 199) == (replace(session("m2", None), ends_at=200), None)
    assert sessions.find(book, "m2", 200) is None
    assert sessions.count(book, 200) == 1
    sessions.begin(book, session("m3", at=6000), instead="m1")
    assert sessions.find(book, "m1", 6000) is None, "a new session takes its place"
    with book.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM sessions")) == 1, "m2 has ended"
    sessions.begin(book, session("m4", "usr_b", 6000))
    sessions.end_others(book, "m4")
    assert [sessions.find(book, mark, 6001) is None for mark in ("m3", "m4")] == [True, False]
    assert sessions.end(book, "m4")
    assert not sessions.end(book, "m4")


def test_the_oldest_session_gives_way(book: sa.Engine) -> None:
    rows = [
        {name: getattr(session(f"x{n}", None, n), name) for name in Session.__struct_fields__}
        for n in range(1, MOST + 1)
    ]
    with book.begin() as connection:
        connection.execute(sa.insert(schema.sessions), rows)
    sessions.begin(book, session("mine", at=1000))
    sessions.begin(book, session("new", None, MOST + 1))
    gone = [mark for mark in ("x1", "x2", "mine", "new") if not sessions.find(book, mark, 1001)]
    assert gone == ["x1"]
