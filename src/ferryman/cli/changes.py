"""What ``ferryman config``, ``models`` and ``providers`` ask of the control plane and print."""

import difflib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import convert
from rich.text import Text

from ferryman.cli.ask import entries
from ferryman.cli.output import print_json
from ferryman.cli.show import Column, console, local_time, printable, table
from ferryman.client import ApiError, Client
from ferryman.client.documents import Outcome
from ferryman.config.problem import Problem
from ferryman.config.version import SENT

_SHOWN: Final = 5
"""Changes that are named in one line of a table."""


def show(client: Client, version: int | None, *, as_json: bool) -> None:
    """``ferryman config show``: YAML, with what there is to say in comments above it."""
    found = client.config() if version is None else client.version(version)
    if as_json:
        print_json(found)
        return
    sys.stdout.write(f"# version {found.version}\n")
    for change in found.overlay:
        what = "removed" if change.text is None else "set"
        sys.stdout.write(
            f"# not as in the file: {printable(change.entry)}, {what} in version "
            f"{change.version} by {change.by}\n"
        )
    sys.stdout.write(found.text)


def diff(client: Client, old: str, new: int | None) -> int:
    """``ferryman config diff``. Returns the exit code: 1 when there is a difference."""
    if old.isascii() and old.isdigit():
        said = client.diff(int(old), new).text
    elif new is not None:
        raise ApiError("Give two versions, or one file to compare with what is in force.")
    else:
        there = client.config()
        after = _told(old, lambda: client.change_config("PUT", "", _read(Path(old)), check=True))
        lines = difflib.unified_diff(
            there.text.splitlines(), (after.text or "").splitlines(),
            f"version {there.version}", old, lineterm="",
        )  # fmt: skip
        said = "".join(f"{line}\n" for line in lines)
    sys.stdout.write(said)
    return 1 if said else 0


class Terms(NamedTuple):
    """What every command that changes something is told beside the change."""

    check: bool
    expect: int | None
    note: str
    as_json: bool


def terms(given: dict[str, Any]) -> Terms:
    """Those among a command's flags."""
    return Terms(*(given[name] for name in Terms._fields))


def apply(client: Client, file: Path, how: Terms) -> None:
    """``ferryman config apply``."""
    change(client, "PUT", "", _read(file), how, name=str(file))


def history(client: Client, limit: int, *, as_json: bool) -> None:
    """``ferryman config history``."""
    rows = client.versions(limit=limit).data
    if as_json:
        print_json(rows)
        return
    columns = [
        Column("Version", right=True, style="bold"),
        Column("Time", drop=2),
        Column("By"),
        Column("Changes"),
        Column("Note", drop=1),
    ]
    body = [
        [str(row.version), local_time(row.time), row.by, _few(row.changes), row.note]
        for row in rows
    ]
    table(columns, body, console())


def _few(changes: tuple[str, ...]) -> str:
    more = len(changes) - _SHOWN
    return ", ".join(changes[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def model(
    targets: str | None, weights: str | None, strategy: str | None, fallbacks: str | None
) -> dict[str, Any]:
    """The merge patch of ``ferryman models set``. Raises :class:`ApiError` for bad weights."""
    patch: dict[str, Any] = {"targets": _list(targets), "fallbacks": _list(fallbacks)}
    if weights is not None:
        patch["weights"] = dict(map(_weight, _list(weights) or []))
    patch["strategy"] = strategy
    return {name: value for name, value in patch.items() if value is not None}


def _list(text: str | None) -> list[str] | None:
    return None if text is None else entries([text])


def _weight(text: str) -> tuple[str, float | None]:
    target, equals, number = text.rpartition("=")
    try:
        weight = float(number) if number.strip() else None
    except ValueError:
        equals = ""
    if not equals:
        raise ApiError(f"--weights: {text!r} is not target=number, as in lab/a=9.")
    if weight == 0:
        raise ApiError(
            f"--weights: {text!r} would send nothing there: leave it out of --targets instead. "
            f"({target}= takes its weight away, and it counts 1 then.)"
        )
    return target, int(weight) if weight is not None and weight.is_integer() else weight


def provider(keys: list[str], **settings: str | None) -> dict[str, Any]:
    """The merge patch of ``ferryman providers set``. Raises :class:`ApiError` for a literal key."""
    if any(not key.startswith(("env:", "file:", "vault:")) for key in keys):
        raise ApiError(
            "--key takes vault:NAME, env:NAME or file:/path: flags show in the list of processes. "
            "To store a key itself, use `ferryman vault set NAME`."
        )
    patch: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if keys:
        patch |= {"key": None, "keys": keys}
    return patch


def set_entry(client: Client, entry: str, patch: dict[str, Any], how: Terms) -> None:
    """``ferryman models set``, ``ferryman providers set``: change the entry, or make it."""
    if not patch:
        raise ApiError("Nothing to set was given; --help lists what there is.")
    try:
        change(client, "PATCH", entry, patch, how)
    except ApiError as error:
        if error.status != 404:
            raise
        whole = {name: value for name, value in patch.items() if value is not None}
        change(client, "PUT", entry, whole, how)


def change(
    client: Client, method: str, entry: str, body: object, how: Terms, name: str = "what was sent"
) -> None:
    """Make a change and say what it did. Raises :class:`ApiError`, with all that is wrong."""
    terms: Any = {"check": how.check, "note": how.note, "expect": how.expect}
    _say(how, name, lambda: client.change_config(method, entry, body, **terms))


def rollback(client: Client, version: int, how: Terms) -> None:
    """``ferryman config rollback``."""
    terms: Any = {"check": how.check, "note": how.note, "expect": how.expect}
    _say(how, "what was sent", lambda: client.rollback(version, **terms))


def _say(how: Terms, name: str, change: Callable[[], Outcome]) -> None:
    done = _told(name, change)
    if how.as_json:
        print_json(done)
        return
    for line in _lines(done.problems, name):
        sys.stderr.write(line + "\n")
    out = console()
    what = "would change" if how.check else "is in force"
    if not done.changes:
        out.print(Text(f"Version {done.version} is in force; nothing is different."))
        return
    out.print(Text(f"Version {done.version + bool(how.check)} {what}:"))
    for text in done.changes:
        out.print(Text(f"  {printable(text)}"))


def _told(name: str, change: Callable[[], Outcome]) -> Outcome:
    """What came of a change. Raises :class:`ApiError` with all problems, of a file ``name``."""
    try:
        return change()
    except ApiError as error:
        problems = error.more.get("problems")
        if not problems:
            raise
        lines = "\n".join(_lines(convert(problems, list[Problem]), name))
        raise ApiError(f"refused; nothing has changed.\n{lines}", error.status) from None


def _lines(problems: Iterable[Problem], name: str) -> list[str]:
    return [_printable(str(p).replace(SENT, name, 1)) for p in problems]


def _printable(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ApiError(f"Can't read {file}: {error.strerror}.") from None
