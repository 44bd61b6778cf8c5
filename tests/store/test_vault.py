"""The vault on both databases: what is changed behind its back fails closed, whatever it is."""

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.config.intake import seal_for
from ferryman.control.vault import desk, envelope, masters
from ferryman.control.vault.desk import INTAKE, MANIFEST, MOST, Vault
from ferryman.control.vault.envelope import (
    BadSecretError,
    NoMasterKeyError,
    NoSecretError,
    VaultError,
)
from ferryman.control.vault.masters import Given, Masters
from ferryman.store import db
from ferryman.store import vault as rows_of
from ferryman.store.schema import vault as table
from ferryman.store.vault import Place, Row

ONE, TWO = "sk-canary-one-0123456789", "sk-canary-two-9876543210"
A, B = ("", "a", "value"), ("", "b", "value")


def key(version: int) -> Given:
    return Given(f"{version}:{base64.b64encode(bytes(range(version, version + 32))).decode()}")


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return tmp_path / "seen"


@pytest.fixture
def filled(engine: sa.Engine, seen: Path) -> Vault:
    vault = Vault(engine, Masters([key(1)]), seen)
    vault.put("a", ONE)
    vault.put("b", TWO)
    return vault


def fresh(engine: sa.Engine, seen: Path, *keys: Given) -> Vault:
    """As another process sees it."""
    return Vault(engine, Masters(keys or [key(1)]), seen)


def write(engine: sa.Engine, row: Row) -> None:
    with rows_of.changing(engine) as connection:
        rows_of.put(connection, row)


def test_what_is_stored_opens_and_shows_nowhere(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    assert fresh(engine, seen).texts(["a", "b", "c"]) == {"a": ONE, "b": TWO}
    assert fresh(engine, seen).verify() == (2, {})
    filled.put("a", "short")
    hints = {name: row.hint for (_, name, _), row in rows_of.rows(engine).items()}
    assert hints == {"a": "", "b": "3210", "@manifest": ""}, "of long ones, the last four"
    with engine.connect() as connection:
        dump = repr(connection.execute(sa.select(table)).all())
    assert not any(secret in dump for secret in (ONE, TWO, "canary", "short"))
    filled.remove("a")
    assert fresh(engine, seen).texts(["a"]) == {}
    with pytest.raises(NoSecretError):
        filled.remove("a")


Change = Callable[[Row, Row, Row], Row]
"""(what a is now, what it was before, what b is) → what stands in the database as a."""
CHANGES: dict[str, Change] = {
    "another's ciphertext": lambda a, _, b: replace(a, sealed=b.sealed),
    "another's ciphertext and data key": lambda a, _, b: replace(
        a, sealed=b.sealed, wrapped=b.wrapped, serial=b.serial
    ),
    "another's data key": lambda a, _, b: replace(a, wrapped=b.wrapped),
    "what it was before": lambda _, old, __: old,
    "its ciphertext before": lambda a, old, _: replace(a, sealed=old.sealed),
    "another number": lambda a, *_: replace(a, serial=a.serial ^ 1),
    "another master key": lambda a, *_: replace(a, master="key-9-00000000"),
    "another hint": lambda a, *_: replace(a, hint="ZZZZ"),
    "nothing": lambda a, *_: replace(a, sealed=b"", wrapped=b""),
    "more": lambda a, *_: replace(a, sealed=a.sealed + b"\0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_fails_closed_and_no_other(
    engine: sa.Engine, seen: Path, filled: Vault, change: str
) -> None:
    old = rows_of.rows(engine)[A]
    filled.put("a", ONE)
    rows = rows_of.rows(engine)
    write(engine, CHANGES[change](rows[A], old, rows[B]))
    other = fresh(engine, seen)
    with pytest.raises(VaultError):
        other.texts(["a"])
    assert other.texts(["b"]) == {"b": TWO}
    good, wrong = other.verify()
    assert (good, list(wrong)) == (1, ["a"])
    with pytest.raises(VaultError):
        other.rotate()
    other.put("a", ONE)  # stored anew, it is good again
    assert other.verify() == (2, {})


ACME, GLOBEX, OURS = ("acme", "a", "value"), ("globex", "a", "value"), ("", "a", "value")
Swap = Callable[[dict[Place, Row]], Row]
"""What stands there → the row that somebody writes instead, or besides."""
SWAPS: dict[str, tuple[str, Swap]] = {
    "another organisation's ciphertext": (
        "acme/a", lambda rows: replace(rows[ACME], sealed=rows[GLOBEX].sealed)),
    "all of another organisation's": (
        "acme/a", lambda rows: replace(rows[GLOBEX], tenant="acme")),
    "the installation's": ("acme/a", lambda rows: replace(rows[OURS], tenant="acme")),
    "made the installation's": ("a", lambda rows: replace(rows[ACME], tenant="")),
    "another name": ("acme/b", lambda rows: replace(rows[ACME], name="b")),
    "another organisation": ("other/a", lambda rows: replace(rows[ACME], tenant="other")),
    "organisation and name run together": (
        "acme/a/a", lambda rows: replace(rows[ACME], tenant="acme/a")),
    "the vault's own": (
        "acme/@intake", lambda rows: replace(rows[INTAKE], tenant="acme")),
    "cut": ("acme/a", lambda rows: replace(rows[ACME], sealed=rows[ACME].sealed[:-1])),
}  # fmt: skip


def test_a_secret_of_an_organisation_opens_as_that_and_as_nothing_else(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    filled.intake()
    filled.put("acme/a", "before")
    past = rows_of.rows(engine)[ACME]
    texts = {"a": ONE, "acme/a": "of-acme", "globex/a": "of-globex"}
    for name in ("acme/a", "globex/a"):
        filled.put(name, texts[name])
    good = rows_of.rows(engine)
    assert fresh(engine, seen).texts([*texts, "globex/b"]) == texts
    assert fresh(engine, seen).verify() == (4, {})
    for what, (name, swap) in {**SWAPS, "before": ("acme/a", lambda _: past)}.items():
        row = swap(good)
        write(engine, row)
        _, wrong = fresh(engine, seen).verify()
        assert list(wrong) == [name], what
        with pytest.raises(VaultError):
            fresh(engine, seen).texts([name])
        others = {each: text for each, text in texts.items() if each != name}
        assert fresh(engine, seen).texts(others) == others, what
        if row is not past:  # the ciphers notice by themselves, without the manifest
            with pytest.raises(VaultError):
                envelope.opened(row, envelope.unwrap(row, key(1)))
        with rows_of.changing(engine) as connection:
            rows_of.remove(connection, row.place)
        if row.place in good:
            write(engine, good[row.place])
    assert fresh(engine, seen, key(2), key(1)).rotate() == 4
    assert fresh(engine, seen, key(2)).texts(texts) == texts
    filled = fresh(engine, seen, key(2))
    filled.remove("acme/a")
    assert filled.verify() == (3, {}), "another one's of the same name stays"


def test_no_organisation_takes_the_room_of_others(
    filled: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_OF_ONE", 1)
    monkeypatch.setattr(desk, "MOST", 3)
    filled.put("acme/a", ONE)
    filled.put("acme/a", TWO)
    with pytest.raises(VaultError, match="1 secrets of acme at most"):
        filled.put("acme/b", ONE)
    filled.put("globex/b", ONE)
    filled.put("c", ONE)
    with pytest.raises(VaultError, match="3 secrets at most"):
        filled.put("d", ONE)


def test_every_cut_and_every_changed_byte_is_noticed_by_the_ciphers_themselves(
    engine: sa.Engine, filled: Vault
) -> None:
    """Also where the manifest would not be there to notice."""
    row, master = rows_of.rows(engine)[A], key(1)
    assert envelope.opened(row, envelope.unwrap(row, master)) == ONE.encode()
    bent = []
    for name in ("sealed", "wrapped"):
        data: bytes = getattr(row, name)
        bent += [replace(row, **{name: data[:length]}) for length in range(len(data))]
        bent += [
            replace(row, **{name: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]})
            for at in range(len(data))
        ]
    elsewhere: list[dict[str, Any]] = [
        {"tenant": "t"}, {"name": "b"}, {"field": "other"}, {"serial": 1}, {"master": "x"},
        {"tenant": "a", "name": ""},
    ]  # fmt: skip
    bent += [replace(row, **each) for each in elsewhere]
    for each in bent:
        with pytest.raises(VaultError):
            envelope.opened(each, envelope.unwrap(each, master))
        with pytest.raises(VaultError):  # with the right data key, too
            if each.sealed == row.sealed and each.wrapped != row.wrapped:
                raise VaultError("only the wrapped key was changed")
            envelope.opened(each, envelope.unwrap(row, master))


def test_rows_that_are_added_or_removed_fail_closed(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    row = rows_of.rows(engine)[A]
    for place in ({"name": "c"}, {"tenant": "t"}, {"field": "other"}):
        write(engine, replace(row, **place))
    with pytest.raises(VaultError):
        fresh(engine, seen).texts(["c"])
    with rows_of.changing(engine) as connection:
        rows_of.remove(connection, B)
    with pytest.raises(VaultError, match="removed from the database"):
        fresh(engine, seen).texts(["b"])
    assert fresh(engine, seen).texts(["a"]) == {"a": ONE}
    _, wrong = fresh(engine, seen).verify()
    assert set(wrong) == {"a", "b", "c", "t/a"}, "a: of another field"


def test_a_whole_vault_that_is_put_back_fails_closed_until_it_is_accepted(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    before = rows_of.rows(engine)
    filled.put("a", "another-secret-0123456789")
    for row in before.values():
        write(engine, row)
    with pytest.raises(VaultError, match="vault accept"):
        fresh(engine, seen).texts(["a"])
    with pytest.raises(VaultError, match="vault accept"):
        fresh(engine, seen).put("c", ONE)
    fresh(engine, seen).accept()
    assert fresh(engine, seen).texts(["a", "b"]) == {"a": ONE, "b": TWO}


def test_an_emptied_vault_and_a_lost_manifest_fail_closed(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    with rows_of.changing(engine) as connection:
        rows_of.remove(connection, MANIFEST)
    asks: list[Callable[[Vault], object]] = [
        lambda v: v.texts(["a"]), lambda v: v.put("a", ONE), lambda v: v.rotate(),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(VaultError, match="manifest is gone"):
            ask(fresh(engine, seen))
    with rows_of.changing(engine) as connection:
        connection.execute(table.delete())
    with pytest.raises(VaultError, match="manifest is gone"):
        fresh(engine, seen).texts(["a"])
    fresh(engine, seen).accept()
    assert fresh(engine, seen).texts(["a"]) == {}


def test_rotation_changes_every_key_and_no_secret(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    filled.intake()
    before = rows_of.rows(engine)
    assert fresh(engine, seen, key(2), key(1)).rotate() == 2
    after = rows_of.rows(engine)
    assert before.keys() == after.keys() == {A, B, INTAKE, MANIFEST}
    for place, row in after.items():
        assert row.master == key(2).id
        assert (row.wrapped, row.sealed) != (before[place].wrapped, before[place].sealed)
        assert row.changed_at == before[place].changed_at
    assert fresh(engine, seen, key(2)).texts(["a", "b"]) == {"a": ONE, "b": TWO}
    with pytest.raises(VaultError, match=key(2).id):
        fresh(engine, seen, key(1)).texts(["a"])


def test_many_at_once_lose_nothing(engine: sa.Engine, seen: Path, filled: Vault) -> None:
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(4):
                fresh(engine, seen).put(name, f"{name}-{number}")
                if name == "w0":
                    fresh(engine, seen).rotate()
        except VaultError as error:
            if "same time" not in str(error):
                failed.append(error)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert fresh(engine, seen).verify() == (6, {})
    found = fresh(engine, seen).texts([f"w{n}" for n in range(1, 4)])
    assert found.keys() == {"w1", "w2", "w3"}


def test_what_is_sealed_on_its_way_opens_for_its_name_alone(filled: Vault) -> None:
    sealed = seal_for(filled.intake(), "a", ONE)
    assert filled.received(sealed, "a") == ONE
    for data, name in ((sealed, "b"), (sealed[:-1], "a"), (b"", "a"), (sealed + b"x", "a")):
        with pytest.raises(BadSecretError):
            filled.received(data, name)


def test_a_key_to_seal_to_that_is_not_ours_is_never_given_out(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    first = filled.intake()
    assert filled.intake() == fresh(engine, seen).intake() == first
    row = rows_of.rows(engine)[INTAKE]
    bent = rows_of.rows(engine)[A]
    for other in (replace(row, sealed=bent.sealed), replace(bent, name=row.name)):
        write(engine, other)
        made = fresh(engine, seen).intake()
        assert made != first
        with pytest.raises(BadSecretError):
            fresh(engine, seen).received(seal_for(first, "a", ONE), "a")
        assert fresh(engine, seen).received(seal_for(made, "a", ONE), "a") == ONE
    assert fresh(engine, seen).verify() == (2, {})


def test_names_and_values_that_cannot_be(filled: Vault, engine: sa.Engine, seen: Path) -> None:
    for name in ("", "@manifest", "a b", "../x", "ä", "x" * 65, "a\n", "/a", "a/", "a/b/c", "a /b",
                 "-/b", "a/@manifest", "a\nb/c", f"{'x' * 101}/b"):  # fmt: skip
        with pytest.raises(BadSecretError):
            filled.put(name, ONE)
        with pytest.raises(NoSecretError):
            filled.remove(name)
    for text in ("", " \n", "x" * 32_769):
        with pytest.raises(BadSecretError):
            filled.put("a", text)
    with pytest.raises(NoSecretError):
        filled.remove("@manifest")
    assert MOST == 1000
    with pytest.raises(NoMasterKeyError, match="ferryman vault init"):
        Vault(engine, Masters([]), seen).put("c", ONE)


# -- master keys ---------------------------------------------------------------------------------


def test_a_master_key_is_made_once_and_read_only_if_it_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master"
    made = masters.make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert masters.gather(path, {}).newest.id == made.id
    with pytest.raises(VaultError, match="there already"):
        masters.make(path)
    for name in ("FERRYMAN_KMS", "FERRYMAN_MASTER_KEY"):
        with pytest.raises(VaultError, match="rotate without --master"):
            masters.add(path, {name: "elsewhere"})
    newer = masters.add(path)
    assert (newer.version, path.stat().st_mode & 0o777) == (2, 0o600)
    both = masters.gather(tmp_path / "none", {"FERRYMAN_MASTER_KEY_FILE": str(path)})
    assert (both.newest.id, both.of(made.id).id) == (newer.id, made.id)
    from_env = masters.gather(tmp_path / "none", {"FERRYMAN_MASTER_KEY": path.read_text()})
    assert from_env.newest.id == newer.id
    for mode in (0o640, 0o604, 0o644):
        path.chmod(mode)
        with pytest.raises(VaultError, match="chmod 600"):
            masters.gather(path, {})


@pytest.mark.parametrize(
    "text",
    [
        "password", "1:password", "0:" + "A" * 43 + "=", "1:" + "A" * 43 + "=", "1:AAAA",
        f"{base64.b64encode(bytes(range(32))).decode()}",
        "1:" + base64.b64encode(bytes(range(31))).decode(),
        "1:" + base64.b64encode(bytes(range(33))).decode(),
    ],
)  # fmt: skip
def test_what_is_no_master_key_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(VaultError) as told:
        masters.gather(tmp_path / "none", {"FERRYMAN_MASTER_KEY": text})
    assert "VERSION:BASE64" in str(told.value)
    assert text not in str(told.value)


def test_two_keys_of_one_version_and_services_that_are_not_there_are_refused(
    tmp_path: Path,
) -> None:
    one = base64.b64encode(bytes(range(32))).decode()
    two = base64.b64encode(bytes(range(1, 33))).decode()
    for env, words in (
        ({"FERRYMAN_MASTER_KEY": f"1:{one},1:{two}"}, "same version"),
        ({"FERRYMAN_MASTER_KEY_FILE": str(tmp_path / "gone")}, "can't be read"),
        ({"FERRYMAN_KMS": "nobody:x"}, "entry point ferryman.kms"),
        ({"FERRYMAN_KMS": "transit:vault.example"}, "transit:https"),
        ({"FERRYMAN_KMS": "awskms:alias/x"}, "awskms:arn"),
    ):
        with pytest.raises(VaultError, match=words):
            masters.gather(tmp_path / "none", env)


class _Meanwhile(Given):
    """A master key; while it wraps for the first time, something else happens."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__(f"1:{base64.b64encode(bytes(range(1, 33))).decode()}")
        self.happens: Callable[[], object] | None = happens

    def wrap(self, key: bytes, context: bytes) -> bytes:
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return super().wrap(key, context)


def test_what_is_stored_while_others_write_is_not_overwritten(
    engine: sa.Engine, seen: Path, filled: Vault
) -> None:
    def put() -> None:
        fresh(engine, seen).put("a", "stored-meanwhile")

    assert fresh(engine, seen, _Meanwhile(put)).rotate() == 2
    assert fresh(engine, seen).texts(["a", "b"]) == {"a": "stored-meanwhile", "b": TWO}

    def remove() -> None:
        fresh(engine, seen).remove("b")

    assert fresh(engine, seen, _Meanwhile(remove)).rotate() == 1
    assert fresh(engine, seen).texts(["a", "b"]) == {"a": "stored-meanwhile"}
    rotate = fresh(engine, seen).rotate
    fresh(engine, seen, _Meanwhile(rotate)).put("c", ONE)
    assert fresh(engine, seen).verify() == (2, {})


def test_a_package_can_bring_a_key_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine, seen: Path
) -> None:
    (tmp_path / "of_a_package.py").write_text(
        "class Reversed:\n"
        "    def __init__(self, rest):\n        self.id = 'odd:' + rest\n"
        "    def wrap(self, key, context):\n        return key[::-1] + context\n"
        "    def unwrap(self, wrapped, context):\n        return wrapped[:32][::-1]\n"
    )
    folder = tmp_path / "of_a_package-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: of-a-package\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[ferryman.kms]\nodd = of_a_package:Reversed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    line = base64.b64encode(bytes(range(1, 33))).decode()
    env = {"FERRYMAN_KMS": "odd:where", "FERRYMAN_MASTER_KEY": f"1:{line}"}
    fresh(engine, seen).put("a", ONE)
    vault = Vault(engine, masters.gather(tmp_path / "none", env), seen)
    vault.put("b", TWO)
    assert vault.rotate() == 2, "from one master key to the other"
    assert {row.master for row in rows_of.rows(engine).values()} == {"odd:where"}
    assert vault.texts(["a", "b"]) == {"a": ONE, "b": TWO}


# -- whatever is done to the rows ----------------------------------------------------------------

NAMES = ("a", "b", "@manifest", "@intake")
Blow = tuple[str, str, str, int, str]
BLOWS = st.tuples(
    st.sampled_from(("take", "cut", "flip", "remove")), st.sampled_from(NAMES),
    st.sampled_from(("sealed", "wrapped", "serial", "master", "all")), st.integers(0, 10_000),
    st.sampled_from(NAMES),
)  # fmt: skip
History = list[dict[Place, Row]]


def struck(rows: dict[Place, Row], past: History, blow: Blow) -> dict[Place, Row]:
    """The rows after somebody with the whole database, and copies of it, has done a thing. Pure."""
    kind, name, field, number, other = blow
    place = ("", name, "value")
    row, source = rows.get(place), past[number % len(past)].get(("", other, "value"))
    if kind == "remove" or row is None:
        return {each: rows[each] for each in rows if each != place}
    if kind == "take":  # of another one, or of an earlier time, or both
        if source is None:
            return rows
        some = {"name": name} if field == "all" else {field: getattr(source, field)}
        return rows | {place: replace(source if field == "all" else row, **some)}
    if not isinstance(getattr(row, field, None), bytes):
        return rows
    data = bytearray(getattr(row, field))
    if kind == "cut":
        del data[number % (len(data) + 1) :]
    elif data:
        data[number // 8 % len(data)] ^= 1 << number % 8
    return rows | {place: replace(row, **{field: bytes(data)})}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[sa.Engine, Path, History]:
    """A vault in which a few things were stored, and how its rows were after each of them."""
    folder = tmp_path_factory.mktemp("lived")
    made = db.open_engine(f"sqlite:///{folder / 'ferryman.db'}")
    db.migrate(made)
    vault, past = fresh(made, folder / "seen"), []
    steps: list[Callable[[], object]] = [
        lambda: vault.put("a", "old-of-a"), lambda: vault.put("b", TWO),
        lambda: vault.put("a", ONE), vault.intake, vault.rotate,
    ]  # fmt: skip
    for step in steps:
        step()
        past.append(rows_of.rows(made))
    return made, folder / "seen", past


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(blows=st.lists(BLOWS, min_size=1, max_size=4), name=st.sampled_from(("a", "b")))
def test_whatever_is_done_to_the_rows_what_was_stored_last_opens_or_nothing(
    lived: tuple[sa.Engine, Path, History], blows: list[Blow], name: str
) -> None:
    engine, seen, past = lived
    rows = past[-1]
    for blow in blows:
        rows = struck(rows, past, blow)
    with rows_of.changing(engine) as connection:
        connection.execute(table.delete())
        for row in rows.values():
            rows_of.put(connection, row)
    try:
        assert fresh(engine, seen).texts([name]) == {name: {"a": ONE, "b": TWO}[name]}
        assert rows["", name, "value"] == past[-1]["", name, "value"]
    except VaultError:
        assert rows != past[-1], "nothing was different"
