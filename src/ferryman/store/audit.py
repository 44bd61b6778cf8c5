"""The audit log: who did what, from where, as a chain that shows whether it was touched.

Each entry has a number and an HMAC-SHA-256 over itself and the HMAC before it, under a key that is
not in the database. The head (number and HMAC of the last entry) stands in ``audit_marks``, signed,
and outside the database wherever somebody keeps it: only against such a copy can it be told that
the last entries were cut off and the head put back. When old entries go, the last of them stays as
the anchor from which the chain is checked.
"""

import hmac
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.secret import Redacted
from ferryman.store.db import insert, reading, writing
from ferryman.store.schema import audit_log, audit_marks

PURPOSE: Final = "audit log"
"""For ``config.seal.derive_for``: the chain's key comes from the installation's pepper."""
HEAD: Final = "head"
ANCHOR: Final = "anchor"
LONGEST: Final = 200
"""Characters of a text that a caller chose; the rest is cut."""
MOST_DETAIL: Final = 4000
"""Characters of ``before`` and ``after``, as JSON; longer ones are replaced by their length."""
_KEY: Final = "ferryman_audit"
_BATCH: Final = 1000
_START: Final = "0" * 64


class Who(Struct, frozen=True, kw_only=True):
    """Who does a thing, and from where."""

    actor: str = "ferryman"
    """Name of the token or session; the process itself, where nobody asked."""
    address: str = ""
    client: str = ""


WHO: Final[ContextVar[Who]] = ContextVar("WHO", default=Who())  # noqa: B039 - frozen
"""Set by whoever lets a caller in; what is done for them is theirs."""


class Act(Struct, frozen=True, kw_only=True):
    """What was done, or refused; ``before`` and ``after`` as far as they tell it."""

    action: str
    """As ``key.create``."""
    target: str = ""
    outcome: str = "done"
    """Or ``refused``."""
    before: Any = None
    after: Any = None


class Entry(Struct, frozen=True, kw_only=True):
    """One entry as it is kept. ``before`` and ``after`` are JSON, or empty."""

    seq: int
    at_us: int
    actor: str
    address: str
    client: str
    action: str
    target: str
    outcome: str
    before: str
    after: str
    mac: str


class Mark(Struct, frozen=True):
    """A place in the chain: the number and the HMAC (hexadecimal) of an entry; 0 = the begin."""

    seq: int = 0
    mac: str = _START


class Finding(Struct, frozen=True):
    """Something that is wrong with the log, at or behind entry ``seq``."""

    seq: int
    problem: str


class TamperedError(Exception):
    """The log is not as it was written; the message says where."""


_columns: Final = [audit_log.c[name] for name in Entry.__struct_fields__]


def keyed(engine: sa.Engine, key: bytes) -> sa.Engine:
    """``engine``, by which acts are written down; by any other they are not."""
    return engine.execution_options(**{_KEY: key})


def append(connection: sa.Connection, act: Act, who: Who | None = None) -> None:
    """Write an act down, by ``who`` or else :data:`WHO`, with the transaction in which it is done.

    As the last thing of it: until it ends, others that want to write one wait.
    """
    key = connection.get_execution_options().get(_KEY)
    if key is None:
        return
    who, last = who or WHO.get(), _locked_head(connection, key)
    entry = Entry(
        seq=last.seq + 1, at_us=time.time_ns() // 1000, actor=_text(who.actor),
        address=_text(who.address), client=_text(who.client), action=act.action,
        target=_text(act.target), outcome=act.outcome, before=told(act.before),
        after=told(act.after), mac="",
    )  # fmt: skip
    entry = replace(entry, mac=mac_of(key, last.mac, entry))
    connection.execute(audit_log.insert().values(**msgspec.structs.asdict(entry)))
    _set_mark(connection, key, HEAD, Mark(entry.seq, entry.mac))


def record(engine: sa.Engine, act: Act) -> None:
    """Write an act down that changes nothing else."""
    if _KEY in engine.get_execution_options():
        with writing(engine) as connection:
            append(connection, act)


def mac_of(key: bytes, before: str, entry: Entry) -> str:
    """The HMAC of an entry that follows one with the HMAC ``before``."""
    said = msgspec.structs.astuple(entry)[:-1]  # as JSON, no two entries have the same text
    return hmac.digest(key, msgspec.json.encode((before, *said)), "sha256").hex()


def told(value: Any) -> str:
    """``value`` as JSON for an entry, without what is secret by its type."""
    if value is None:
        return ""
    text = msgspec.json.encode(_shown(msgspec.to_builtins(value, enc_hook=_hidden))).decode()
    if len(text) <= MOST_DETAIL:
        return text
    return msgspec.json.encode(f"[{len(text)} characters]").decode()


def _hidden(value: object) -> Any:
    if isinstance(value, Redacted):
        return "[redacted]"
    raise TypeError(f"{type(value).__name__} is nothing for the audit log")


def _shown(value: Any) -> Any:
    """Texts as both databases take them."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_shown(name): _shown(each) for name, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list | tuple) else value


def _text(text: str) -> str:
    shown = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


# -- marks -----------------------------------------------------------------------------------------


def _locked_head(connection: sa.Connection, key: bytes) -> Mark:
    """The head, which nobody else moves until the transaction ends."""
    start = _row(key, HEAD, Mark())
    connection.execute(insert(connection, audit_marks).values(start).on_conflict_do_nothing())
    query = sa.select(audit_marks.c.seq, audit_marks.c.mac).where(audit_marks.c.name == HEAD)
    return Mark(*connection.execute(query.with_for_update()).one())


def _row(key: bytes, name: str, mark: Mark) -> dict[str, Any]:
    seal = hmac.digest(key, msgspec.json.encode((name, mark.seq, mark.mac)), "sha256").hex()
    return {"name": name, "seq": mark.seq, "mac": mark.mac, "seal": seal}


def _set_mark(connection: sa.Connection, key: bytes, name: str, mark: Mark) -> None:
    row = _row(key, name, mark)
    new = insert(connection, audit_marks).values(row)
    connection.execute(new.on_conflict_do_update(index_elements=[audit_marks.c.name], set_=row))


def present(engine: sa.Engine) -> bool:
    """Whether the database has a log."""
    return sa.inspect(engine).has_table(audit_log.name)


def head(engine: sa.Engine) -> Mark:
    """Where the log ends, as the database says."""
    query = sa.select(audit_marks.c.seq, audit_marks.c.mac).where(audit_marks.c.name == HEAD)
    with reading(engine) as connection:
        found = connection.execute(query).first()
    return Mark() if found is None else Mark(*found)


# -- reading and checking --------------------------------------------------------------------------


def listing(
    engine: sa.Engine, *, limit: int, before: int | None = None, action: str = "",
    actor: str = "", outcome: str = "", target: str = "",
) -> list[Entry]:  # fmt: skip
    """The newest entries first; ``before``: those of smaller number. ``action`` may be the first
    part of one (``key``), the others are whole."""
    table = audit_log.c
    query = sa.select(*_columns).order_by(table.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(table.seq < before)
    if action:
        part = table.action.startswith(f"{action}.", autoescape=True)
        query = query.where(sa.or_(table.action == action, part))
    for column, wanted in ((table.actor, actor), (table.outcome, outcome), (table.target, target)):
        if wanted:
            query = query.where(column == wanted)
    with reading(engine) as connection:
        return [Entry(**row._mapping) for row in connection.execute(query)]


def after(engine: sa.Engine, mark: Mark, limit: int = _BATCH) -> list[Entry]:
    """The entries that follow ``mark``, oldest first.

    Raises :class:`TamperedError` if the log does not go on from there.
    """
    with reading(engine) as connection:
        anchor = _mark(connection, ANCHOR)
        if mark.seq and mark.seq > anchor.seq:
            query = sa.select(audit_log.c.mac).where(audit_log.c.seq == mark.seq)
            if not _same(connection.scalar(query) or "", mark.mac):
                raise TamperedError(f"entry {mark.seq} is not there any more, or is another one")
        return list(_entries(connection, max(mark.seq, anchor.seq), limit))


def export(engine: sa.Engine, seq: int) -> Iterator[Entry]:
    """All entries behind number ``seq``, oldest first."""
    with reading(engine) as connection:
        yield from _all(connection, seq)


def verify(engine: sa.Engine, key: bytes, kept: Iterable[Mark] = ()) -> tuple[int, list[Finding]]:
    """How many entries there are, and all that is wrong; ``kept`` are heads from elsewhere."""
    with reading(engine) as connection:
        anchor = _mark(connection, ANCHOR)
        found = [
            Finding(each.seq, f"the {each.name} was changed")
            for each in connection.execute(sa.select(audit_marks))
            if _row(key, each.name, Mark(each.seq, each.mac)) != dict(each._mapping)
        ]
        count = 0

        def counted() -> Iterator[Entry]:
            nonlocal count
            for count, entry in enumerate(_all(connection, anchor.seq), 1):  # noqa: B007
                yield entry

        below = sa.select(sa.func.count()).where(audit_log.c.seq <= anchor.seq)
        if connection.scalar(below):
            found.append(Finding(anchor.seq, "there are entries before the anchor"))
        found += check(counted(), key, anchor, _mark(connection, HEAD), kept)
        return count, found


def _same(mac: str, other: str) -> bool:
    return hmac.compare_digest(mac.encode(), other.encode())


def check(
    entries: Iterable[Entry], key: bytes, anchor: Mark, head: Mark, kept: Iterable[Mark] = ()
) -> list[Finding]:
    """What is wrong with ``entries``, which follow ``anchor`` and end at ``head``. Pure."""
    found: list[Finding] = []
    wanted: dict[int, list[str]] = {}
    for mark in kept:
        wanted.setdefault(mark.seq, []).append(mark.mac)
    last = anchor
    for entry in entries:
        if entry.seq != last.seq + 1:
            gap = f"entries {last.seq + 1} to {entry.seq - 1} are missing"
            found.append(Finding(last.seq + 1, gap))
        elif not _same(mac_of(key, last.mac, entry), entry.mac):
            found.append(Finding(entry.seq, "this entry, or its place, was changed"))
        if any(not _same(mac, entry.mac) for mac in wanted.get(entry.seq, ())):
            found.append(Finding(entry.seq, "this is not the entry that a kept head names"))
        last = Mark(entry.seq, entry.mac)
    for mac in wanted.get(anchor.seq, ()) if anchor.seq else ():
        if not _same(mac, anchor.mac):
            found.append(Finding(anchor.seq, "the anchor is not the entry that a kept head names"))
    if last != head:
        problem = "the head names another last entry: the end was cut off, or added"
        found.append(Finding(last.seq, problem))
    if (furthest := max(wanted, default=0)) > last.seq:
        found.append(Finding(last.seq, f"cut off: a kept head names entry {furthest}"))
    return found


def _mark(connection: sa.Connection, name: str) -> Mark:
    query = sa.select(audit_marks.c.seq, audit_marks.c.mac).where(audit_marks.c.name == name)
    found = connection.execute(query).first()
    return Mark() if found is None else Mark(*found)


def _all(connection: sa.Connection, seq: int) -> Iterator[Entry]:
    while batch := list(_entries(connection, seq, _BATCH)):
        yield from batch
        seq = batch[-1].seq


def _entries(connection: sa.Connection, seq: int, limit: int) -> Iterator[Entry]:
    query = sa.select(*_columns).where(audit_log.c.seq > seq)
    for row in connection.execute(query.order_by(audit_log.c.seq).limit(limit)):
        yield Entry(**row._mapping)


def trim(engine: sa.Engine, key: bytes, before_us: int) -> int:
    """Let go of entries from before then; returns how many. The chain is checked from the last of
    them on, and that they went is written down.

    Raises :class:`TamperedError` if they are not as they were written: then all stay.
    """
    table = audit_log.c
    with reading(engine) as connection:  # most often there is nothing: don't write then
        oldest = connection.execute(sa.select(table.at_us).order_by(table.seq).limit(1)).scalar()
    if oldest is None or oldest >= before_us:
        return 0
    with writing(keyed(engine, key)) as connection:
        end = _locked_head(connection, key)
        anchor = _mark(connection, ANCHOR)
        first = sa.select(sa.func.min(table.seq)).where(table.at_us >= before_us)
        until = int(connection.scalar(first) or end.seq + 1) - 1
        old = [each for each in _all(connection, anchor.seq) if each.seq <= until]
        if not old:
            return 0
        last = Mark(old[-1].seq, old[-1].mac)
        if wrong := check(old, key, anchor, last):
            raise TamperedError(f"entry {wrong[0].seq}: {wrong[0].problem}")
        connection.execute(audit_log.delete().where(table.seq <= last.seq))
        _set_mark(connection, key, ANCHOR, last)
        append(connection, Act(action="audit.trim", after={"up_to": last.seq}))
        return len(old)
