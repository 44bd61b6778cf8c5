"""The audit log's chain: whatever is done to it afterwards is found."""

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from ferryman.config.secret import Redacted
from ferryman.control.vault.desk import Vault
from ferryman.control.vault.masters import Masters
from ferryman.store import audit, clears, keys
from ferryman.store.audit import Act, Entry, Mark, Who
from ferryman.store.db import migrate, open_engine, writing
from ferryman.store.schema import audit_log, audit_marks
from tests.store.test_vault import key

KEY = b"k" * 32


def _write(engine: sa.Engine, count: int) -> None:
    keyed = audit.keyed(engine, KEY)
    for number in range(count):
        audit.record(keyed, Act(action="key.revoke", target=f"key_{number}", after={"n": number}))


def _problems(engine: sa.Engine, *kept: Mark) -> str:
    return "; ".join(f"{each.seq}: {each.problem}" for each in audit.verify(engine, KEY, kept)[1])


def test_an_untouched_log_verifies_and_says_who_and_from_where(engine: sa.Engine) -> None:
    token = audit.WHO.set(Who(actor="admin token", address="127.0.0.1", client="curl/8"))
    try:
        audit.record(audit.keyed(engine, KEY), Act(action="a.b", before="x\0", after={"k": (1,)}))
    finally:
        audit.WHO.reset(token)
    _write(engine, 3)
    assert audit.verify(engine, KEY, [audit.head(engine)]) == (4, [])
    first = audit.listing(engine, limit=9)[-1]
    assert (first.seq, first.actor, first.address, first.client, first.before, first.after) == (
        1, "admin token", "127.0.0.1", "curl/8", '"x\ufffd"', '{"k":[1]}',
    )  # fmt: skip
    assert [each.seq for each in audit.listing(engine, limit=2, before=4, action="key")] == [3, 2]
    assert not audit.listing(engine, limit=2, action="ke")
    _, wrong = audit.verify(engine, b"x" * 32)
    assert len(wrong) == 5, "under another key nothing holds"


def test_an_edit_a_deletion_and_another_order_are_found(engine: sa.Engine) -> None:
    _write(engine, 6)
    table = audit_log.c

    def when(*statements: Any) -> str:
        with engine.connect() as connection, connection.begin() as transaction:
            kept = [dict(row._mapping) for row in connection.execute(sa.select(audit_log))]
            for statement in statements:
                connection.execute(statement)
            transaction.commit()
        found = _problems(engine)
        with engine.begin() as connection:
            connection.execute(audit_log.delete())
            connection.execute(audit_log.insert(), kept)
        return found

    edited = audit_log.update().where(table.seq == 2)
    assert when(edited.values(actor="nobody")).startswith("2: this entry")
    assert when(audit_log.delete().where(table.seq == 3)).startswith("3: entries 3 to 3 are mis")
    assert when(audit_log.delete().where(table.seq == 1)).startswith("1: entries 1 to 1 are mis")
    numbers = [(4, 99), (5, 4), (99, 5)]
    moved = [audit_log.update().where(table.seq == a).values(seq=b) for a, b in numbers]
    assert when(*moved).startswith("4: this entry")
    assert "6" not in when(edited.values(actor="nobody")), "only what was touched is named"
    assert when(audit_log.delete().where(table.seq == 6)).startswith("5: the head names another")
    assert _problems(engine) == ""


def test_a_cut_end_is_found_by_the_head_that_somebody_kept(engine: sa.Engine) -> None:
    _write(engine, 3)
    with engine.connect() as connection:
        then = dict(connection.execute(sa.select(audit_marks)).one()._mapping)
    _write(engine, 2)
    kept = audit.head(engine)
    with engine.begin() as connection:  # as if it had never been: by somebody who saved the head
        connection.execute(audit_log.delete().where(audit_log.c.seq > 3))
        connection.execute(audit_marks.update().values(**then))
    assert _problems(engine) == "", "the database alone cannot tell"
    assert _problems(engine, kept) == "3: cut off: a kept head names entry 5"
    with pytest.raises(audit.TamperedError):
        audit.after(engine, kept)
    _write(engine, 2)
    assert "5: this is not the entry that a kept head names" in _problems(engine, kept)
    with engine.begin() as connection:
        connection.execute(audit_marks.update().values(seal="0" * 64))
    assert "the head was changed" in _problems(engine)


def test_old_entries_go_and_the_chain_still_verifies(engine: sa.Engine) -> None:
    _write(engine, 5)
    kept = audit.head(engine)
    old = audit.listing(engine, limit=5)[2]  # of number 3
    assert audit.trim(engine, KEY, old.at_us) == 2
    assert audit.trim(engine, KEY, old.at_us) == 0
    assert audit.verify(engine, KEY, [kept]) == (4, [])
    assert audit.listing(engine, limit=1)[0].action == "audit.trim"
    assert [each.seq for each in audit.after(engine, Mark())] == [3, 4, 5, 6]
    with engine.begin() as connection:
        connection.execute(audit_log.update().where(audit_log.c.seq == 3).values(target="x"))
    with pytest.raises(audit.TamperedError, match="entry 3"):
        audit.trim(engine, KEY, old.at_us + 10**9)
    with engine.begin() as connection:  # who has no key can't make an anchor
        connection.execute(audit_log.delete().where(audit_log.c.seq <= 4))
        gone = {"seq": 4, "mac": "0" * 64}
        connection.execute(audit_marks.update().where(audit_marks.c.name == "anchor").values(gone))
    assert _problems(engine).startswith("4: the anchor was changed; 5: this entry")


def test_several_control_planes_write_one_chain(url: str, engine: sa.Engine) -> None:
    def work() -> None:
        mine = open_engine(url)
        try:
            _write(mine, 15)
        finally:
            mine.dispose()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert audit.verify(engine, KEY, [audit.head(engine)]) == (60, [])


def test_an_act_and_its_entry_come_together_or_not_at_all(engine: sa.Engine) -> None:
    keyed = audit.keyed(engine, KEY)
    made = keys.create(keyed, keys.NewKey(name="a", digest=b"d" * 32, hint="fm"))
    keys.describe(keyed, "a", team="t")
    keys.revoke(keyed, "a")
    keys.revoke(keyed, "a")
    clears.order(keyed, (b"", b"", b"t"))
    found = audit.listing(engine, limit=9)[::-1]
    assert [(each.action, each.target) for each in found] == [
        ("key.create", made.id), ("key.describe", made.id), ("key.revoke", made.id),
        ("cache.clear", ""),
    ]  # fmt: skip
    assert '"team":"t"' in found[1].after
    assert '"team":null' in found[1].before
    with pytest.raises(RuntimeError), writing(keyed) as connection:
        audit.append(connection, Act(action="a.b"))
        raise RuntimeError
    assert len(audit.listing(engine, limit=9)) == 4
    clears.order(engine, (b"", b"", b""))  # an engine without the key: a tool's, or a test's
    assert audit.verify(engine, KEY) == (4, [])


def test_what_is_done_with_the_vault_is_there_without_secrets(
    engine: sa.Engine, tmp_path: Path
) -> None:
    desk = Vault(audit.keyed(engine, KEY), Masters([key(1)]), tmp_path / "seen")
    desk.put("lab", "sk-hidden")
    desk.intake()
    desk.rotate()
    desk.remove("lab")
    desk.accept()
    found = audit.listing(engine, limit=9)[::-1]
    assert [(each.action, each.target) for each in found] == [
        ("vault.put", "lab"), ("vault.rotate", ""), ("vault.remove", "lab"), ("vault.accept", ""),
    ]  # fmt: skip
    assert "hidden" not in str(found)


@pytest.mark.parametrize("name", Entry.__struct_fields__)
def test_every_field_of_every_row_is_held(engine: sa.Engine, name: str) -> None:
    _write(engine, 5)
    column = audit_log.c[name]
    with engine.connect() as connection:
        rows = connection.execute(sa.select(audit_log.c.seq, column).order_by("seq")).all()
    for seq, value in rows:
        other = value + 1000 if isinstance(value, int) else f"{value} "
        there = audit_log.c.seq == seq
        back = audit_log.c.seq == (other if name == "seq" else seq)
        with engine.begin() as connection:
            connection.execute(audit_log.update().where(there).values({name: other}))
        assert _problems(engine), (name, seq)
        with engine.begin() as connection:
            connection.execute(audit_log.update().where(back).values({name: value}))
    assert not _problems(engine)


def test_secrets_are_redacted_by_their_type() -> None:
    assert audit.told({"api_key": Redacted("sk-1"), "n": 1}) == '{"api_key":"[redacted]","n":1}'
    assert "sk-1" not in audit.told([Redacted("sk-1")] * 9)
    assert audit.told("x" * 9000) == '"[9002 characters]"'


_CHAIN: list[Entry] = []


def _chain() -> list[Entry]:
    if not _CHAIN:
        last = Mark()
        for seq in range(1, 13):
            entry = Entry(
                seq=seq, at_us=seq, actor="a", address="", client="", action="b.c",
                target=str(seq % 3), outcome="done", before="", after="", mac="",
            )  # fmt: skip
            _CHAIN.append(replace(entry, mac=audit.mac_of(KEY, last.mac, entry)))
            last = Mark(seq, _CHAIN[-1].mac)
    return _CHAIN


_TEXTS = [name for name in Entry.__struct_fields__ if name not in ("seq", "at_us")]


@st.composite
def _tampered(draw: st.DrawFn) -> list[Entry]:
    """The chain after one to three touches, of rows as a database may hold them."""
    entries = list(_chain())
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["edit", "time", "delete", "swap", "cut", "copy", "renumber"]))
        at = draw(st.integers(0, len(entries) - 1)) if entries else 0
        other = draw(st.integers(0, len(entries) - 1)) if entries else 0
        if not entries:
            break
        if how == "edit":
            name, text = draw(st.sampled_from(_TEXTS)), draw(st.text(max_size=5))
            entries[at] = replace(entries[at], **{name: text})
        elif how == "time":
            entries[at] = replace(entries[at], at_us=draw(st.integers(0, 20)))
        elif how == "delete":
            del entries[at]
        elif how == "swap":
            a, b = entries[at], entries[other]
            entries[at], entries[other] = replace(b, seq=a.seq), replace(a, seq=b.seq)
        elif how == "cut":
            del entries[at:]
        elif how == "copy":
            entries[at] = replace(entries[other], seq=entries[at].seq)
        else:  # close the gap that a deletion leaves
            entries = [replace(each, seq=n) for n, each in enumerate(entries, entries[0].seq)]
    return entries


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(_tampered())
def test_whatever_is_tampered_with_is_found(entries: list[Entry]) -> None:
    chain = _chain()
    head = Mark(chain[-1].seq, chain[-1].mac)
    found = audit.check(entries, KEY, Mark(), head)
    assert bool(found) == (list(map(asdict, entries)) != list(map(asdict, chain)))
    # And with a head from the database that fits what is left.
    last = Mark(entries[-1].seq, entries[-1].mac) if entries else Mark()
    found = audit.check(entries, KEY, Mark(), last, [head])
    assert bool(found) == (entries != chain)


def test_a_database_from_before_gets_a_log(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE audit_log"))
        connection.execute(sa.text("DROP TABLE audit_marks"))
        # and all that has come since
        for name in (
            "admin_tokens", "users", "sessions", "organisations", "teams", "delegated_limits",
            "scim_users", "scim_groups", "scim_members", "calls_by_dimension",
            "latencies_by_week", "calls_by_week",
        ):  # fmt: skip
            connection.execute(sa.text(f"DROP TABLE {name}"))
        connection.execute(sa.text("ALTER TABLE virtual_keys DROP COLUMN bounds"))
        connection.execute(sa.text("DROP INDEX feedback_call_at"))
        connection.execute(sa.text("ALTER TABLE feedback DROP COLUMN call_at_us"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0020'"))
    migrate(engine)
    _write(engine, 1)
    assert audit.verify(engine, KEY) == (1, [])
    engine.dispose()
