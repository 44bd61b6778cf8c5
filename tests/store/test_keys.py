"""Virtual keys in the database, and what data planes get to hear of them."""

import struct
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ferryman.config.feed import KeyFacts
from ferryman.meter import keys as secrets
from ferryman.meter.keytable import KeyRow, KeyTable
from ferryman.store import db, keys
from ferryman.store.keys import AmbiguousKeyError, KeyFieldError, NewKey, NoSuchKeyError

RECORD = struct.Struct("<32s24sII")
NOW = 1_795_000_000


def new(name: str, number: int = 0, **more: object) -> NewKey:
    digest = secrets.digest(b"pepper", f"{name}{number}".encode())
    return NewKey(name=name, digest=digest, hint="fm-AbC…wxyz", **more)  # type: ignore[arg-type]


def test_a_key_is_listed_as_created_and_as_revoked(engine: sa.Engine) -> None:
    made = keys.create(engine, new("app", expires_at=NOW + 60), now=NOW)
    assert made.id.startswith("key_")
    assert len(made.id) == 16
    assert (made.name, made.hint, made.fixed) == ("app", "fm-AbC…wxyz", False)
    assert (made.created_at, made.expires_at) == (NOW, NOW + 60)
    assert made.revoked_at is made.last_used_at is None
    other = keys.create(engine, new("other"), now=NOW + 1)
    assert keys.list_keys(engine) == [made, other]
    revoked = keys.revoke(engine, made.id, now=NOW + 5)
    assert revoked.revoked_at == NOW + 5
    assert keys.list_keys(engine) == [revoked, other]
    assert keys.revoke(engine, made.id, now=NOW + 9) == revoked, "a second time changes nothing"


def test_a_key_is_revoked_by_a_name_that_is_its_own(engine: sa.Engine) -> None:
    first = keys.create(engine, new("app", 1))
    second = keys.create(engine, new("app", 2))
    with pytest.raises(AmbiguousKeyError) as caught:
        keys.revoke(engine, "app")
    assert first.id in str(caught.value)
    assert second.id in str(caught.value)
    keys.revoke(engine, first.id)
    assert keys.revoke(engine, "app").id == second.id, "revoked ones don't count"
    assert keys.revoke(engine, "app").revoked_at is not None
    with pytest.raises(NoSuchKeyError, match="'nobody'"):
        keys.revoke(engine, "nobody")


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "a" * 101},
        {"name": "line\nbreak"},
        {"name": "nul\0"},
        {"digest": b"short"},
        {"expires_at": NOW},
        {"expires_at": 2**32},
    ],
)
def test_fields_that_cannot_be_stored_are_refused(
    engine: sa.Engine, bad: dict[str, object]
) -> None:
    good = {"name": "app", "digest": b"d" * 32, "hint": "fm-…"}
    with pytest.raises(KeyFieldError):
        keys.create(engine, NewKey(**{**good, **bad}), now=NOW)  # type: ignore[arg-type]
    assert keys.list_keys(engine) == []
    assert keys.key_seq(engine) == 0


def test_a_digest_is_stored_once(engine: sa.Engine) -> None:
    keys.create(engine, new("app"))
    with pytest.raises(IntegrityError):
        keys.create(engine, new("app"))
    assert len(keys.list_keys(engine)) == 1


def test_the_fixed_key_replaces_the_one_before(engine: sa.Engine) -> None:
    by_hand = keys.create(engine, new("app"))
    first = keys.ensure_fixed(engine, new("first", 1), now=NOW)
    seq = keys.key_seq(engine)
    assert first.fixed
    assert keys.ensure_fixed(engine, new("first", 1), now=NOW + 1) == first
    assert keys.key_seq(engine) == seq, "nothing changed, so data planes hear nothing"
    second = keys.ensure_fixed(engine, new("first", 2), now=NOW + 2)
    found = {key.id: key.revoked_at for key in keys.list_keys(engine)}
    assert found == {by_hand.id: None, first.id: NOW + 2, second.id: None}


def test_a_revoked_fixed_key_stays_revoked(engine: sa.Engine) -> None:
    made = keys.ensure_fixed(engine, new("first"))
    keys.revoke(engine, made.id, now=NOW)
    assert keys.ensure_fixed(engine, new("first")).revoked_at == NOW
    assert len(keys.list_keys(engine)) == 1


def test_changes_are_told_once_and_in_order(engine: sa.Engine) -> None:
    assert keys.changed_since(engine, 0)[:2] == (0, b"")
    assert keys.full_table(engine)[:2] == (0, b"")
    first = keys.create(engine, new("a", expires_at=NOW + 60), now=NOW)
    one, delta = keys.changed_since(engine, 0)[:2]
    digest = new("a").digest
    assert delta == RECORD.pack(digest, first.id.encode(), NOW + 60, 0)
    keys.create(engine, new("b"))
    two, delta = keys.changed_since(engine, one)[:2]
    assert two > one
    assert len(delta) == 64
    keys.revoke(engine, first.id)
    three, delta = keys.changed_since(engine, two)[:2]
    assert delta == RECORD.pack(digest, first.id.encode(), NOW + 60, 1)
    assert keys.changed_since(engine, three)[:2] == (three, b"")
    assert keys.key_seq(engine) == three
    seq, blob = keys.full_table(engine)[:2]
    assert seq == three
    assert [blob[at : at + 32] for at in (0, 64)] == sorted([digest, new("b").digest])


def test_a_restored_database_makes_data_planes_start_over(engine: sa.Engine) -> None:
    keys.create(engine, new("a"))
    assert keys.changed_since(engine, 1000)[:2] == (0, b"")


def test_whoever_follows_the_changes_misses_none(engine: sa.Engine) -> None:
    """Writers at once: a number must not be told before a smaller one is there to be seen."""

    def write(writer: int) -> None:
        for number in range(25):
            keys.create(engine, new(f"w{writer}", number))

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    table, seq = KeyTable(), 0
    while any(thread.is_alive() for thread in threads):
        seq, delta = keys.changed_since(engine, seq)[:2]
        table.apply(delta)
    for thread in threads:
        thread.join()
    seq, delta = keys.changed_since(engine, seq)[:2]
    table.apply(delta)
    assert len(table) == 100
    assert all(
        table.get(new(f"w{writer}", number).digest) is not None
        for writer in range(4)
        for number in range(25)
    )


def test_a_hundred_thousand_keys_reach_the_data_plane(engine: sa.Engine) -> None:
    made = keys.create_many(engine, [new("bulk", number) for number in range(100_000)], now=NOW)
    last = keys.revoke(engine, made[-1].id)
    seq, blob = keys.full_table(engine)[:2]
    assert seq == keys.key_seq(engine)
    assert len(blob) == 6_400_000
    table = KeyTable(blob)
    for number in (0, 1, 5_000, 99_998):
        assert table.get(new("bulk", number).digest) == KeyRow(made[number].id, 0, False)
    assert table.get(new("bulk", 99_999).digest) == KeyRow(last.id, 0, True)
    assert table.get(new("bulk", 100_000).digest) is None


def test_a_failed_change_takes_no_number(engine: sa.Engine) -> None:
    keys.create(engine, new("a"))
    before = keys.key_seq(engine)
    with pytest.raises(RuntimeError), db.writing(engine) as connection:
        db.add_to_meta(connection, "key_seq", 1)
        raise RuntimeError
    assert keys.key_seq(engine) == before


def test_whose_a_key_is_goes_the_same_way_as_the_key(engine: sa.Engine) -> None:
    said = KeyFacts("acme", "research", "ada", ("b", "a"))
    key = keys.create(engine, new("a", facts=said), now=NOW)
    keys.create(engine, new("b"))
    assert (key.organisation, key.team, key.user, key.tags) == (
        "acme",
        "research",
        "ada",
        ("a", "b"),
    )
    kept = KeyFacts("acme", "research", "ada", ("a", "b"))
    seq, _, facts = keys.full_table(engine)
    assert facts == {key.id: kept}
    assert keys.describe(engine, "a", team="sales", tags=None).tags == ()
    seq, _, facts = keys.changed_since(engine, seq)
    assert facts == {key.id: KeyFacts("acme", "sales", "ada")}
    keys.describe(engine, key.id, organisation="", team=None, user="")
    assert keys.changed_since(engine, seq)[2] == {key.id: KeyFacts()}
    assert keys.full_table(engine)[2] == {}
    seq = keys.key_seq(engine)
    keys.describe(engine, key.id)
    assert keys.key_seq(engine) == seq
    with pytest.raises(KeyFieldError, match="team"):
        keys.describe(engine, key.id, team=" x")
    with pytest.raises(NoSuchKeyError):
        keys.describe(engine, "c", team="x")
