"""The admin API's part about the configuration: what is in force, changes to it, its versions."""

import difflib
import re
from functools import partial
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from ferryman.client import documents
from ferryman.client.documents import Config, Diff, Entry, Outcome, Page, Reloaded, Rollback
from ferryman.client.documents import WholeVersion as Whole
from ferryman.config.problem import Problem
from ferryman.config.version import API, CLI, Overlay, Version
from ferryman.control import orders
from ferryman.control.admin import Admin
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.beyond import may_change
from ferryman.control.configuration import ChangeError, Configuration, StaleError
from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.store import versions
from ferryman.store.versions import VersionConflictError

MAX_CONFIG: Final = 1_000_000
"""Bytes of a configuration, as of the file."""
Section = Annotated[str, Meta(description="`models` or `providers`.")]
_EXAMPLE: Final = {"version": 7}


class Terms(Struct, kw_only=True, forbid_unknown_fields=True):
    """What every change may say beside its body."""

    check: Annotated[bool, Meta(description="Say what would happen; change nothing.")] = False
    note: Annotated[str, Meta(max_length=500, description="Why; kept with the version.")] = ""


class Condition(Struct, kw_only=True, rename={"if_match": "if-match", "by": "x-ferryman-client"}):
    """Headers of every change."""

    if_match: Annotated[
        str, Meta(description="The version that has to be in force; `*` = any.", examples=['"7"'])
    ] = ""
    by: Annotated[str, Meta(description="Kept with the version, if it is `cli`.")] = API


class DiffQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of which versions."""

    old: Annotated[int, Meta(ge=1, lt=2**53)]
    new: Annotated[int, Meta(ge=0, lt=2**53, description="Default: the one in force.")] = 0


def reload(admin: Admin) -> Reloaded:
    """Read the configuration file again."""
    problems = admin.configuration.reload()
    if problems:
        detail = f"{problems[0]}" + (f" ({len(problems) - 1} more)" if problems[1:] else "")
        raise ProblemError(422, "invalid_configuration", detail, problems=problems)
    return Reloaded(snapshot=admin.version())


def show_config(admin: Admin) -> Config:
    """The configuration in force, and what of it is not as in the file."""
    found = admin.configuration.compiled
    if found is None:
        raise ProblemError(404, "no_configuration", "There is no good configuration yet.")
    return Config(
        version=admin.configuration.number, snapshot=found.version, text=found.text,
        overlay=_overlay(found.overlay),
    )  # fmt: skip


def replace_config(admin: Admin, body: bytes, query: Terms, headers: Condition) -> Outcome:
    """Replace the whole configuration (YAML, or JSON).

    With `check`, it is only validated. Without `If-Match`, the version in force when the request
    came has to be in force still.
    """
    if not body.strip():
        fix = "Send the whole configuration; {} is one with nothing in it."
        raise ProblemError(400, "invalid_body", f"The body is empty. {fix}", fix=fix)
    return _change(admin, orders.TEXT, query, headers, body=body)


def reset_config(admin: Admin, query: Terms, headers: Condition) -> Outcome:
    """Forget what is not in the file."""
    return _change(admin, orders.RESET, query, headers, note="back to the file")


def rollback(admin: Admin, body: Rollback, query: Terms, headers: Condition) -> Outcome:
    """Let an earlier version hold again, as a new one."""
    text = _version(admin, body.version).text.encode()
    note = f"back to version {body.version}"
    return _change(admin, orders.TEXT, query, headers, body=text, note=note)


def diff(admin: Admin, query: DiffQuery) -> Diff:
    """What is different between two versions."""
    old, new = _version(admin, query.old), _version(admin, query.new or admin.configuration.number)
    lines = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), f"version {old.number}",
        f"version {new.number}", lineterm="",
    )  # fmt: skip
    return Diff(old=old.number, new=new.number, text="".join(f"{line}\n" for line in lines))


def list_versions(admin: Admin, pages: Pages) -> Page[documents.Version]:
    """What was applied, newest first."""
    found = versions.listing(admin.engine, limit=pages.more, before=pages.after(int))
    shown, more = pages.cut(found, lambda version: version.number)
    return Page(data=[documents.Version(**_row(each)) for each in shown], next=more)


def one_version(admin: Admin, number: int) -> Whole:
    """One version, with its text."""
    found = _version(admin, number)
    return Whole(**_row(found), text=found.text, overlay=_overlay(found.overlay))


def put_entry(
    admin: Admin, section: Section, name: str, body: bytes, query: Terms, headers: Condition
) -> Outcome:
    """Make or replace one model or provider."""
    return _change(admin, orders.ENTRY, query, headers, unit=_unit(section, name), body=body)


def patch_entry(
    admin: Admin, section: Section, name: str, body: bytes, query: Terms, headers: Condition
) -> Outcome:
    """Change some of a model or provider (RFC 7396: null removes)."""
    return _change(admin, orders.PATCH, query, headers, unit=_unit(section, name), body=body)


def remove_entry(
    admin: Admin, section: Section, name: str, query: Terms, headers: Condition
) -> Outcome:
    """Remove a model or provider. Calls that are under way end as they began."""
    return _change(admin, orders.REMOVE, query, headers, unit=_unit(section, name))


def _change(
    admin: Admin, kind: str, how: Terms, said: Condition, *, unit: str = "", body: bytes = b"",
    note: str = "",
) -> Outcome:  # fmt: skip
    """Run a change. Raises :class:`ProblemError`."""
    configuration = admin.configuration
    if configuration.compiled is None:
        detail = "There is no good configuration in force that could be changed."
        raise ProblemError(409, "no_configuration", detail)
    asked = _asked(said.if_match)
    try:
        done = configuration.change(
            kind, unit=unit, body=body, by=CLI if said.by == CLI else API, note=how.note or note,
            expected=_expected(configuration, asked, said.if_match, unit), trial=how.check,
            allow=partial(may_change, admin.caller),
        )  # fmt: skip
    except (StaleError, VersionConflictError) as error:
        more = f", not {asked}" if asked is not None else " by now"
        detail = f"Version {error.number} is in force{more}."
        status = 409 if asked is None else 412
        raise ProblemError(status, "version_conflict", detail, version=error.number) from None
    except ChangeError as error:
        raise _refused(unit, error) from None
    return Outcome(
        version=done.number, applied=done.applied, snapshot=done.compiled.version,
        changes=done.compiled.changes, problems=done.warnings,
        text=done.compiled.text if how.check else None,
    )  # fmt: skip


def _asked(if_match: str) -> int | None:
    """The version that the caller wants to be in force."""
    if not if_match or if_match == "*":
        return None
    found = re.fullmatch(r'"?([0-9]{1,18})"?', if_match.strip())
    if not found:
        fix = 'Give the number of a version, as in "7".'
        raise ProblemError(400, "invalid_header", f"if-match: {fix}", fix=fix)
    return int(found[1])


def _expected(
    configuration: Configuration, asked: int | None, if_match: str, unit: str
) -> int | None:
    if not unit and asked is None and not if_match:
        # Of two at once that each replace everything, the second has not seen the first.
        return configuration.number
    return asked


def _refused(unit: str, error: ChangeError) -> ProblemError:
    if error.checked.missing:
        return ProblemError(404, "entry_not_found", f"There is no {unit} in the configuration.")
    errors = error.checked.errors
    first = errors[0]
    where = f"line {first.line}, " if first.line else ""
    more = f" ({len(errors) - 1} more under problems)" if len(errors) > 1 else ""
    detail = f"{where}{first.key or 'the whole'}: {first.message}. {first.fix}".strip() + more
    problems: tuple[Problem, ...] = error.checked.problems
    return ProblemError(422, "invalid_configuration", detail, fix=first.fix, problems=problems)


def _unit(section: str, name: str) -> str:
    if section not in ("models", "providers") or not name:
        fix = "Change models/NAME or providers/NAME; the rest with PUT /api/v1/config."
        raise ProblemError(
            404, "not_found", f"Entries of {section} can't be changed. {fix}", fix=fix
        )
    return f"{section}/{name}"


def _version(admin: Admin, number: int) -> Version:
    found = versions.find(admin.engine, number) if 0 <= number < 2**53 else None
    if found is None:
        detail = f"There is no version {number} among the last {versions.KEPT}."
        raise ProblemError(404, "version_not_found", detail)
    return found


def _row(version: Version) -> dict[str, Any]:
    return {
        "version": version.number, "time": rfc3339(version.at), "by": version.by,
        "note": version.note, "changes": version.changes, "snapshot": version.snapshot,
    }  # fmt: skip


def _overlay(overlay: Overlay) -> list[Entry]:
    return [
        Entry(entry=name, text=change.text, version=change.version, by=change.by)
        for name, change in overlay.items()
    ]


_ENTRY: Final = "/config/{section}/{name}"
_BAD: Final = (404, 409, 412, 422)
ROUTES: Final = (
    Route("GET", "/config", "config.read", show_config, errors=(404,), tagged=True),
    Route("PUT", "/config", "config.write", replace_config, errors=_BAD[1:], most=MAX_CONFIG,
          tagged=True),
    Route("DELETE", "/config", "config.write", reset_config, errors=_BAD[1:], tagged=True),
    Route("POST", "/config/reload", "config.write", reload, errors=(422,), act="config.reload"),
    Route("POST", "/config/rollback", "config.write", rollback, errors=_BAD, tagged=True,
          example=_EXAMPLE),
    Route("GET", "/config/diff", "config.read", diff, errors=(404,)),
    Route("GET", "/config/versions", "config.read", list_versions),
    Route("GET", "/config/versions/{number}", "config.read", one_version, errors=(404,)),
    Route("PUT", _ENTRY, "config.write", put_entry, errors=_BAD, most=MAX_CONFIG, tagged=True),
    Route("PATCH", _ENTRY, "config.write", patch_entry, errors=_BAD, most=MAX_CONFIG, tagged=True),
    Route("DELETE", _ENTRY, "config.write", remove_entry, errors=_BAD, tagged=True),
)  # fmt: skip
