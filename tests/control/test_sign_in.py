"""Passwords, pauses after wrong ones, and who gets a session."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.control import doors, passwords
from ferryman.control.api.access import ROLES, Gate
from ferryman.control.doors import FREE, FREE_PLACE, LONGEST_PAUSE, LONGEST_PLACE_PAUSE, Doors
from ferryman.control.pauses import FORGET, MOST_NAMES, Pauses
from ferryman.control.problem import ProblemError
from ferryman.store import db, users
from ferryman.store.users import UserInfo

PASSWORD = "correct horse battery"
ANNA = UserInfo(id="usr_a", name="anna", role="developer", team="red", created_at=1,
                created_by="admin", changed_at=1)  # fmt: skip


def test_a_pause_doubles_up_to_the_longest_and_is_forgotten() -> None:
    pauses = Pauses(2, 60)
    now, waited = 1000.0, []
    for _ in range(10):
        waited.append(pauses.rest("anna", now))
        now += waited[-1]
        pauses.note("anna", now)
    assert waited == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60]
    assert pauses.rest("anna", now) == 60
    assert pauses.rest("anna", now + 59.5) == 1
    assert pauses.rest("ben", now) == 0
    pauses.take_back("anna")
    assert pauses.rest("anna", now) == 60, "one of many"
    assert pauses.rest("anna", now + FORGET) == 0
    pauses.forget("anna")
    assert pauses.rest("anna", now) == 0
    pauses.note("anna", now)
    pauses.take_back("anna")
    for number in range(MOST_NAMES + 5):
        pauses.note(str(number), now)
    assert len(pauses._wrong) == MOST_NAMES


def test_of_a_password_a_slow_hash_is_kept_that_fits_it_alone() -> None:
    kept = passwords.encoded("Zürich \u1e9b\u0323 lake 12")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.fits("Zu\u0308rich \u1e9b\u0323 lake 12", kept), "however it is composed"
    assert not passwords.fits("Zürich \u1e9b\u0323 lake 13", kept)
    assert passwords.encoded("Zürich \u1e9b\u0323 lake 12") != kept
    for wrong in ("", "\ud800", "\0", "x" * 10_000):
        assert not passwords.fits(wrong, kept)
        assert not passwords.fits(wrong, None)


def test_of_nobody_as_much_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell names apart by how long a refusal takes: each costs one derivation alike."""
    done: list[str] = []
    real = passwords.Argon2id

    class Counted:
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real(*args, **kwargs)

        @staticmethod
        def verify_phc_encoded(password: bytes, kept: str) -> None:
            done.append(kept.rpartition("$")[0].rpartition("$")[0])
            real.verify_phc_encoded(password, kept)

    monkeypatch.setattr(passwords, "Argon2id", Counted)
    kept = passwords.encoded(PASSWORD)
    assert not passwords.fits("another one", kept)
    assert not passwords.fits("another one", None)
    assert done == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "12 to 256"), ("x" * 257, "12 to 256"), ("abababababab", "different"),
     ("ANNA-and-her-cat", "name")],
)  # fmt: skip
def test_what_is_too_easy_is_no_password(password: str, said: str) -> None:
    with pytest.raises(passwords.WeakPasswordError, match=said):
        passwords.check(password, "anna")
    passwords.check(PASSWORD, "anna")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(made)
    kept = passwords.encoded(PASSWORD)
    users.create(made, ANNA, kept)
    users.create(made, replace(ANNA, id="usr_b", name="ben"))
    users.create(made, replace(ANNA, id="usr_c", name="carl", active=False), kept)
    users.create(made, replace(ANNA, id="usr_d", name="bot", kind="service"), kept)
    yield made
    made.dispose()


class Entrance:
    """Doors with a clock of their own."""

    def __init__(self, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(doors.time, "monotonic", lambda: self.now)
        self.all = True
        gate = Gate(engine, "admin", "pepper")
        self.doors = Doors(engine, "admin", gate, lambda role: self.all or role == "owner")

    def try_in(self, name: str, password: str = "wrong", place: str = "192.0.2.1") -> str:
        """What becomes of it."""
        try:
            _, inside = asyncio.run(self.doors.sign_in(name, password, place))
        except ProblemError as error:
            assert error.status == 429
            return error.detail
        return "wrong" if inside is None else "in"


@pytest.fixture
def entrance(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Entrance:
    return Entrance(engine, monkeypatch)


def test_who_signs_in_may_what_their_role_may(engine: sa.Engine, entrance: Entrance) -> None:
    user, inside = asyncio.run(entrance.doors.sign_in("ANNA", PASSWORD, "192.0.2.1"))
    assert user is not None and inside is not None
    assert (inside.actor, inside.caller.name) == ("usr_a", "usr_a")
    assert inside.caller.permissions == ROLES["developer"]
    assert inside.caller.within == {"organisation": "-", "team": "red"}
    users.change(engine, "usr_a", {}, {"role": "viewer"}, 5)
    now = entrance.doors.inside(inside.session)
    assert now is not None and now.caller.permissions == ROLES["viewer"]
    users.change(engine, "usr_a", {}, {"role": "gone"}, 5)
    now = entrance.doors.inside(inside.session)
    assert now is not None and now.caller.permissions == frozenset()
    users.change(engine, "usr_a", {}, {"active": False}, 5)
    assert entrance.doors.inside(inside.session) is None


def test_only_active_people_with_a_password_come_in(entrance: Entrance) -> None:
    for name in ("ben", "carl", "bot", "nobody", ""):
        assert entrance.try_in(name, PASSWORD) == "wrong", name


def test_where_passwords_are_for_owners_nobody_else_comes_in_by_one(
    engine: sa.Engine, entrance: Entrance, capfd: pytest.CaptureFixture[str]
) -> None:
    users.create(engine, replace(ANNA, id="usr_o", name="olga", role="owner"),
                 passwords.encoded(PASSWORD))  # fmt: skip
    entrance.all = False
    assert entrance.try_in("anna", PASSWORD) == "wrong", "from when all had one"
    assert "usr_a is not let in: passwords are for owners" in capfd.readouterr().err
    assert entrance.try_in("olga", PASSWORD) == "in"
    users.change(engine, "usr_o", {}, {"role": "admin"}, 5)
    assert entrance.try_in("olga", PASSWORD) == "wrong", "an owner no more"
    entrance.all = True
    assert entrance.try_in("anna", PASSWORD) == "in"


@pytest.mark.parametrize("name", ["anna", "nobody"])
def test_a_name_rests_after_wrong_passwords_whether_there_is_one_or_not(
    entrance: Entrance, name: str
) -> None:
    places = (f"192.0.2.{number}" for number in range(1, 250))
    for _ in range(FREE + 1):
        assert entrance.try_in(name, place=next(places)) == "wrong"
    said = entrance.try_in(name, PASSWORD, next(places))
    assert said == "Too many attempts were wrong. Wait 1 seconds, then try again."
    for _ in range(10):
        entrance.now += LONGEST_PAUSE
        assert entrance.try_in(name.upper(), place=next(places)) == "wrong"
    assert f"Wait {LONGEST_PAUSE} seconds" in entrance.try_in(name, PASSWORD, next(places))
    assert entrance.try_in("ben", place=next(places)) == "wrong", "others don't"
    entrance.now += LONGEST_PAUSE
    assert entrance.try_in(name, PASSWORD) == ("in" if name == "anna" else "wrong")
    if name == "anna":
        assert entrance.try_in(name) == "wrong", "the right one ended it"


def test_an_address_rests_and_the_right_token_is_let_in_all_the_same(entrance: Entrance) -> None:
    place, network = "2001:db8::1", "2001:db8::2"
    link = entrance.doors.link()
    for number in range(FREE_PLACE):
        assert entrance.try_in(f"user {number}", place=place) == "wrong"
    assert entrance.try_in("anna", PASSWORD, network) == "in", "that was none too many"
    assert entrance.doors.enter("guess", network) is None
    for _ in range(8):
        with pytest.raises(ProblemError):
            entrance.doors.enter("guess", place)
        entrance.now += LONGEST_PLACE_PAUSE
        assert entrance.doors.enter("guess", place) is None
    assert f"Wait {LONGEST_PLACE_PAUSE} seconds" in entrance.try_in("anna", PASSWORD, network)
    assert entrance.try_in("anna", PASSWORD, "2001:db8:1::1") == "in"
    assert entrance.doors.enter("admin", place) is not None
    assert entrance.doors.enter(link, place) is not None


def test_attempts_at_the_same_moment_are_counted_each(entrance: Entrance) -> None:
    async def crowd() -> list[object]:
        tries = [entrance.doors.sign_in("anna", "wrong", f"192.0.2.{n}") for n in range(30)]
        return await asyncio.gather(*tries, return_exceptions=True)

    found = asyncio.run(crowd())
    assert [isinstance(each, ProblemError) for each in found] == [False] * (FREE + 1) + [
        True
    ] * (29 - FREE)  # fmt: skip
