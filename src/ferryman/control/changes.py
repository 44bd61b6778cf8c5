"""The admin API's part about the configuration: what is in force, changes to it, its versions."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from ferryman.config.problem import Problem
from ferryman.config.version import API, CLI, Overlay, Version
from ferryman.control import orders
from ferryman.control.app import CONFIG
from ferryman.control.configuration import ChangeError, Configuration, StaleError
from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.store import versions
from ferryman.store.versions import VersionConflictError

MAX_NOTE: Final = 500
MAX_VERSIONS: Final = 500
"""Versions in one answer."""
_ENTRIES: Final = CONFIG + "/{section}/{name:path}"
_encode = msgspec.json.Encoder().encode


def answer(value: object, status: int = 200, **headers: str) -> Response:
    """``value`` as JSON."""
    headers["cache-control"] = "no-store"
    return Response(_encode(value), status, headers, media_type="application/json")


class Rollback(BaseModel):
    """Body of ``POST /admin/v1/config/rollback``."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(description="The version whose configuration is to hold again.", ge=1)


async def _body(request: Request) -> bytes:
    return await request.body()


class _How:
    """What every change may say beside its body."""

    def __init__(
        self,
        check: Annotated[bool, Query(description="Say what would happen; change nothing.")] = False,
        note: Annotated[str, Query(max_length=MAX_NOTE, description="Why; kept.")] = "",
        if_match: Annotated[str, Header(description="The version that has to be in force.")] = "",
        x_ferryman_client: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> None:
        self.trial = check
        self.note = note
        self.by = CLI if x_ferryman_client == CLI else API
        self.expected: int | None = None
        self.anything = if_match == "*"
        if if_match and not self.anything:
            found = re.fullmatch(r'"?([0-9]{1,18})"?', if_match.strip())
            if not found:
                detail = 'If-Match: give the number of a version, as in "7".'
                raise ProblemError(400, "invalid_header", detail)
            self.expected = int(found[1])


Body = Annotated[bytes, Depends(_body)]
How = Annotated[_How, Depends()]


class _Changer:
    """Runs changes, and turns what became of them into answers."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration

    def __call__(
        self, kind: str, how: _How, *, unit: str = "", body: bytes = b"", note: str = ""
    ) -> Response:
        expected = how.expected
        if not unit and expected is None and not how.anything:
            # Of two at once that each replace everything, the second has not seen the first.
            expected = self.configuration.number
        if self.configuration.compiled is None:
            detail = "There is no good configuration in force that could be changed: mend the file."
            raise ProblemError(409, "no_configuration", detail)
        try:
            done = self.configuration.change(
                kind,
                unit=unit,
                body=body,
                by=how.by,
                note=how.note or note,
                expected=expected,
                trial=how.trial,
            )
        except (StaleError, VersionConflictError) as error:
            asked = f", not {how.expected}" if how.expected is not None else " by now"
            detail = f"Version {error.number} is in force{asked}: look at it, and try again."
            raise ProblemError(409, "version_conflict", detail, version=error.number) from None
        except ChangeError as error:
            raise _refused(unit, error) from None
        said = {
            "version": done.number,
            "applied": done.applied,
            "snapshot": done.compiled.version,
            "changes": done.compiled.changes,
            "problems": list(map(_problem, done.warnings)),
        }
        if how.trial:
            said["text"] = done.compiled.text
        return answer(said, ETag=f'"{done.number}"')


def _refused(unit: str, error: ChangeError) -> ProblemError:
    if error.checked.missing:
        detail = f"There is no {unit} in the configuration."
        return ProblemError(404, "entry_not_found", detail)
    errors = error.checked.errors
    first = errors[0]
    where = f"line {first.line}, " if first.line else ""
    more = f" ({len(errors) - 1} more under problems)" if len(errors) > 1 else ""
    detail = f"{where}{first.key or 'the whole'}: {first.message}. {first.fix}".strip() + more
    problems = list(map(_problem, error.checked.problems))
    return ProblemError(422, "invalid_configuration", detail, problems=problems)


def _problem(problem: Problem) -> dict[str, Any]:
    return msgspec.structs.asdict(problem)


def add(
    app: FastAPI, engine: Engine, configuration: Configuration, snapshot: Callable[[], str]
) -> None:
    """Add the paths to ``app``; ``snapshot`` is the version that the data planes have."""
    tags: list[Any] = ["configuration"]
    change = _Changer(configuration)

    @app.post("/admin/v1/reload", tags=tags, summary="Read the configuration file again")
    def reload() -> Response:
        problems = configuration.reload()
        return answer({"snapshot": snapshot(), "problems": problems}, 422 if problems else 200)

    @app.get(CONFIG, tags=tags, summary="What is in force, and what of it is not in the file")
    def show() -> Response:
        found = configuration.compiled
        if found is None:
            raise ProblemError(404, "no_configuration", "There is no good configuration yet.")
        number = configuration.number
        return answer(
            {
                "version": number,
                "snapshot": found.version,
                "text": found.text,
                "overlay": _overlay(found.overlay),
            },
            ETag=f'"{number}"',
        )

    @app.put(CONFIG, tags=tags, summary="Replace all of it (YAML, or JSON)")
    def replace(body: Body, how: How) -> Response:
        if not body.strip():
            detail = (
                "The body is empty: send the whole configuration; {} is one with nothing in it."
            )
            raise ProblemError(400, "invalid_body", detail)
        return change(orders.TEXT, how, body=body)

    @app.delete(CONFIG, tags=tags, summary="Forget what is not in the file")
    def reset(how: How) -> Response:
        return change(orders.RESET, how, note="back to the file")

    @app.post(CONFIG + "/rollback", tags=tags, summary="Let an earlier version hold again")
    def rollback(body: Rollback, how: How) -> Response:
        text = _version(engine, body.version).text.encode()
        return change(orders.TEXT, how, body=text, note=f"back to version {body.version}")

    _add_versions(app, engine, tags)
    _add_entries(app, change, tags)


def _add_versions(app: FastAPI, engine: Engine, tags: list[Any]) -> None:
    @app.get(CONFIG + "/versions", tags=tags, summary="What was applied, newest first")
    def listing(
        limit: Annotated[int, Query(ge=1, le=MAX_VERSIONS)] = 50,
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    ) -> Response:
        found = versions.listing(engine, limit=limit, before=before)
        return answer({"data": list(map(_row, found))})

    @app.get(CONFIG + "/versions/{number}", tags=tags, summary="One of them, with its text")
    def version(number: int) -> Response:
        found = _version(engine, number)
        return answer(_row(found) | {"text": found.text, "overlay": _overlay(found.overlay)})


def _add_entries(app: FastAPI, change: _Changer, tags: list[Any]) -> None:
    @app.put(_ENTRIES, tags=tags, summary="Make or replace one model or provider")
    def put(section: str, name: str, body: Body, how: How) -> Response:
        return change(orders.ENTRY, how, unit=_unit(section, name), body=body)

    @app.patch(_ENTRIES, tags=tags, summary="Change some of it (RFC 7396: null removes)")
    def patch(section: str, name: str, body: Body, how: How) -> Response:
        return change(orders.PATCH, how, unit=_unit(section, name), body=body)

    @app.delete(_ENTRIES, tags=tags, summary="Remove one model or provider")
    def remove(section: str, name: str, how: How) -> Response:
        return change(orders.REMOVE, how, unit=_unit(section, name))


def _unit(section: str, name: str) -> str:
    if section not in ("models", "providers") or not name:
        detail = (
            f"Change {CONFIG}/models/NAME or {CONFIG}/providers/NAME; the rest with PUT {CONFIG}."
        )
        raise ProblemError(404, "not_found", detail)
    return f"{section}/{name}"


def _version(engine: Engine, number: int) -> Version:
    found = versions.find(engine, number) if number < 2**53 else None
    if found is None:
        detail = f"There is no version {number}; {CONFIG}/versions lists the last {versions.KEPT}."
        raise ProblemError(404, "version_not_found", detail)
    return found


def _row(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "time": rfc3339(version.at),
        "by": version.by,
        "note": version.note,
        "changes": version.changes,
        "snapshot": version.snapshot,
    }


def _overlay(overlay: Overlay) -> list[dict[str, Any]]:
    return [
        {"entry": name, "text": change.text, "version": change.version, "by": change.by}
        for name, change in overlay.items()
    ]
