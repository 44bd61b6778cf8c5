"""What ``ferryman audit`` does: it reads the database itself, without the control plane."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, local_time, table
from ferryman.config.options import Options
from ferryman.config.seal import derive_for
from ferryman.control.auditing import line_of, mark_in
from ferryman.store import audit
from ferryman.store.audit import Act, Mark, Who
from ferryman.store.db import DatabaseError, open_engine, writing


class _UnreadableError(Exception):
    """The log can't be read; the message says why."""


@contextmanager
def _told() -> Iterator[None]:
    """Say on standard error why a command can't do its work, and end it with 1."""
    try:
        yield
    except (_UnreadableError, DatabaseError, SQLAlchemyError, OSError) as error:
        first, _, _ = str(error).partition("\n")
        sys.stderr.write(f"ferryman: {first}\n")
        raise typer.Exit(1) from None


def _engine(options: Options) -> Engine:
    url, moved = options.database_url, options.paths.moved_to
    if not url and moved.exists():
        url = moved.read_text().strip()
    if not url and not options.paths.database.exists():  # opening would make it
        raise _UnreadableError(f"{options.paths.database} is not there: is --data-dir right?")
    engine = open_engine(url or f"sqlite:///{options.paths.database}")
    if not audit.present(engine):
        raise _UnreadableError("The database has no audit log yet: start the control plane once.")
    return engine


def _key(options: Options) -> bytes:
    place = options.paths.root / "secrets" / "pepper"
    if not place.exists() and not os.environ.get("FERRYMAN_PEPPER"):
        raise _UnreadableError(f"{place} is not there; without it nothing can be checked.")
    return derive_for(options.paths.secret("pepper"), audit.PURPOSE)


def _head(file: Path) -> Mark:
    try:
        mark = mark_in(file)
    except msgspec.MsgspecError:
        raise _UnreadableError(f"{file} is no head as `ferryman audit head` prints it.") from None
    if mark is None:
        raise _UnreadableError(f"{file} is not there.")
    return mark


def listed(
    options: Options, *, limit: int, as_json: bool, action: str, actor: str, outcome: str
) -> None:
    """Print the newest entries."""
    with _told():
        engine = _engine(options)
        found = audit.listing(engine, limit=limit, action=action, actor=actor, outcome=outcome)
    lines = [line_of(entry) for entry in found]
    if as_json:
        print_json({"data": msgspec.to_builtins(lines)})
        return
    columns = [
        Column("Number", right=True), Column("Time"), Column("Who"), Column("From", drop=2),
        Column("Action"), Column("Of what", drop=1), Column("Outcome"),
    ]  # fmt: skip
    names = ("actor", "address", "action", "target", "outcome")
    shown = [
        [str(each.seq), local_time(each.time), *(getattr(each, name) for name in names)]
        for each in lines
    ]
    table(columns, shown, console())


def verify(options: Options, files: Sequence[Path], *, as_json: bool) -> int:
    """Check the chain against heads in ``files``, and print what is wrong; the exit code."""
    own = options.paths.audit_head
    with _told():
        marks = [_head(file) for file in (*files, *([own] if own.exists() else []))]
        count, found = audit.verify(_engine(options), _key(options), marks)
    if as_json:
        print_json({"entries": count, "problems": msgspec.to_builtins(found)})
        return 1 if found else 0
    for each in found:
        print(f"entry {each.seq}: {each.problem}")
    if not found:
        print(f"{count:,} entries, none touched.")
    if not marks:
        print("There is no head to compare with: whether the end was cut off is not known.")
    return 1 if found else 0


def head(options: Options) -> None:
    """Print where the log ends."""
    with _told():
        sys.stdout.write(msgspec.json.encode(audit.head(_engine(options))).decode() + "\n")


def export(options: Options, since: int) -> None:
    """Write the entries behind number ``since`` as lines of JSON. That is one, too, where it can be
    written down: who may only read the database has a copy all the same."""
    with _told():
        engine = _engine(options)
        try:
            _note_export(audit.keyed(engine, _key(options)), since)
        except (_UnreadableError, DatabaseError, SQLAlchemyError) as error:
            first, _, _ = str(error).partition("\n")
            sys.stderr.write(f"ferryman: this export is not in the audit log: {first}\n")
        for entry in audit.export(engine, since):
            sys.stdout.write(msgspec.json.encode(line_of(entry)).decode() + "\n")


def _note_export(engine: Engine, since: int) -> None:
    who = Who(client=f"ferryman audit export, user {os.getuid()} of this machine")
    with writing(engine) as connection:
        act = Act(action="audit.export", after={"behind": since})
        audit.append(connection, act, who)
