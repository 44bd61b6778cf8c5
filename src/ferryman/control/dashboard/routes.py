"""The pages about where calls go: the plan as a picture, its text, its versions, and why."""

import difflib
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from ferryman.config.problem import ERROR, Problem
from ferryman.config.version import API, Version
from ferryman.control import orders
from ferryman.control.api.models import HOUR_US, MOST
from ferryman.control.beyond import may_change
from ferryman.control.configuration import (
    ChangeError,
    CompilerError,
    Outcome,
    StaleError,
)
from ferryman.control.dashboard import picture
from ferryman.control.dashboard.desk import Asked, Desk, File, Go, Page
from ferryman.control.dashboard.models import names, snapshot
from ferryman.control.health import health
from ferryman.control.problem import ProblemError
from ferryman.store import glance, versions
from ferryman.store.versions import VersionConflictError
from ferryman.wire.paths import path_of

LISTED: Final = 50
MOST_LINES: Final = 2000
"""Lines of a difference that are shown,"""
COMPARED: Final = 20_000
"""and of each text that are compared."""
MOST_NAMES: Final = 2000


class Line(Struct, frozen=True):
    """A line of a difference; ``kind``: ``add``, ``del``, ``same``, or ``gap``."""

    kind: str
    text: str


def page(desk: Desk, asked: Asked) -> Page:
    """The plan in force."""
    found = written(desk)
    wanted = asked.query.get("q", "").strip().lower()
    begin = int(asked.query.get("from", "0")) if asked.query.get("from", "0").isdecimal() else 0
    every = lanes(desk, found)
    fit = [lane for lane in every if wanted in _searched(lane)]
    shown = fit[begin : begin + picture.MOST]
    values = {
        "lanes": shown, "picture": picture.draw(shown), "policies": picture.policies(found),
        "number": desk.configuration.number, "overlay": desk.configuration.changed,
        "said": asked.query.get("q", ""), "many": len(every) > 8, "all": len(every),
        "more": begin + picture.MOST if len(fit) > begin + picture.MOST else 0,
    }  # fmt: skip
    return Page(template="routes.html", title="Routes", values=values)


def lanes(desk: Desk, found: dict[str, Any]) -> list[picture.Lane]:
    """All lanes, with the health of the last hour."""
    compiled = snapshot(desk)
    if compiled is None:
        return []
    desk.admin.catch_up()
    since, active = time.time_ns() // 1000 - HOUR_US, desk.providers
    seen = health(glance.glances(desk.admin.engine, since, MOST), (), targets=True)
    states = {each.name: each.state for each in seen}

    def standing(unit: str) -> tuple[str, str]:
        provider, _, model = unit.partition("/")
        provider = compiled.aliases.get(provider, provider)
        if not model or provider not in compiled.providers:
            pairs = [pair for pair in compiled.bare.get(unit, ()) if pair[0] in active]
            provider, model = pairs[0] if pairs else ("", "")
        if provider not in active:
            return provider, picture.OFF
        return provider, states.get(f"{provider}/{model}", "idle")

    return picture.lanes(found, standing)


def written(desk: Desk) -> dict[str, Any]:
    """Models, policies and limits in force, as they are written."""
    compiled = desk.configuration.compiled
    return {} if compiled is None else _written(compiled.written)


@lru_cache(1)
def _written(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(raw)
    return found


def _searched(lane: picture.Lane) -> str:
    return " ".join((lane.name, *(each.name for each in lane.targets))).lower()


# -- changes ---------------------------------------------------------------------------------------


def edit(desk: Desk, asked: Asked) -> Page:
    """The text in force, to be changed."""
    compiled = desk.configuration.compiled
    if compiled is None:
        detail = "There is no good configuration in force that could be changed: mend the file."
        raise ProblemError(409, "no_configuration", detail)
    return _editor(compiled.text, desk.configuration.number, "")


def check(desk: Desk, asked: Asked) -> File:
    """For the editor: what is wrong with a text, and what it would change."""
    text = asked.body.decode("utf-8", "replace")
    try:
        done = _change(desk, orders.TEXT, text.encode(), trial=True)
    except ChangeError as error:
        said: dict[str, Any] = {"problems": _worst_first(error.checked.problems), "changes": []}
    else:
        said = {"problems": done.warnings, "changes": done.compiled.changes}
    return File("", "application/json", msgspec.json.encode(said))


def save(desk: Desk, asked: Asked) -> Page | Go:
    """Show what a text changes, then put it into force."""
    form = asked.form
    text, note = form.get("text", "").replace("\r\n", "\n"), form.get("note", "").strip()
    number = int(form["version"]) if form.get("version", "").isdecimal() else 0
    if form.get("do") == "edit":
        return _editor(text, number, note)
    trial = form.get("do") != "apply"
    try:
        done = _change(desk, orders.TEXT, text.encode(), number, note[:500], trial=trial)
    except ChangeError as error:
        return _editor(text, number, note, problems=_worst_first(error.checked.problems))
    except (StaleError, VersionConflictError) as error:
        told = (
            f"Version {error.number} came into force while you were writing. Look at what it "
            "changed; then show your changes again: they are compared with it."
        )
        return _editor(text, error.number, note, told=told)
    if not trial:
        return Go(f"/routes/versions/{done.number}" if done.applied else "/routes")
    compiled = desk.configuration.compiled
    before = compiled.text if compiled is not None else ""
    values = {
        "text": text, "note": note, "version": number, "warnings": done.warnings,
        "diff": difference(before, done.compiled.text), "changes": done.compiled.changes,
    }  # fmt: skip
    return Page(template="routes_review.html", title="What changes", values=values)


def weights(desk: Desk, asked: Asked) -> Go:
    """Set the weights of a model."""
    name = asked.form.get("model", "")
    given = {n[2:]: v.strip() for n, v in asked.form.items() if n.startswith("w:")}
    try:
        wanted = {unit: float(text) for unit, text in given.items() if text}
    except ValueError:
        raise ProblemError(
            400, "invalid_weight", "Weights are numbers, such as 3 or 0.5."
        ) from None
    whole = {n: int(v) if v.is_integer() else v for n, v in wanted.items()}
    body = msgspec.json.encode({"weights": whole})
    return changed(desk, orders.PATCH, body, f"models/{name}", "weights")


def rollback(desk: Desk, asked: Asked) -> Go:
    """Let an earlier version hold again."""
    expected = desk.configuration.number
    found = _version(desk, asked.form.get("version", ""))
    note = f"back to version {found.number}"
    return changed(desk, orders.TEXT, found.text.encode(), "", note, expected)


def changed(
    desk: Desk, kind: str, body: bytes, unit: str, note: str, expected: int | None = None
) -> Go:
    """Change what is in force and lead to the version that it made. Raises
    :class:`ProblemError`."""
    try:
        done = _change(desk, kind, body, expected, note, unit=unit, trial=False)
    except ChangeError as error:
        raise _refused(error) from None
    except (StaleError, VersionConflictError) as error:
        detail = f"Version {error.number} came into force meanwhile: look at it, and try again."
        raise ProblemError(409, "version_conflict", detail) from None
    return Go(f"/routes/versions/{done.number}" if done.applied else "/routes")


def _change(
    desk: Desk, kind: str, body: bytes, expected: int | None = None, note: str = "", *,
    unit: str = "", trial: bool,
) -> Outcome:  # fmt: skip
    try:
        return desk.configuration.change(
            kind, unit=unit, body=body, by=API, note=note, expected=expected, trial=trial,
            allow=partial(may_change, desk.admin.caller),
        )  # fmt: skip
    except CompilerError as error:
        raise ProblemError(503, "compiler_failed", f"Nothing has changed: {error}.") from None


def _worst_first(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda each: (each.severity != ERROR, each.line))


def _refused(error: ChangeError) -> ProblemError:
    if error.checked.missing:
        return ProblemError(404, "entry_not_found", "That is not in the configuration any more.")
    said = "; ".join(f"{p.key}: {p.message}. {p.fix}".strip() for p in error.checked.errors)
    return ProblemError(422, "invalid_configuration", f"Nothing has changed. {said}")


def _editor(
    text: str, version: int, note: str, *, problems: Sequence[Problem] = (), told: str = ""
) -> Page:
    values = {"text": text, "version": version, "note": note, "problems": problems, "told": told}
    status = 409 if told else 422 if problems else 200
    return Page(
        template="routes_edit.html", title="Edit the configuration", values=values, status=status
    )


# -- versions --------------------------------------------------------------------------------------


def history(desk: Desk, asked: Asked) -> Page:
    """What was in force, newest first."""
    before = asked.query.get("before", "")
    least = int(before) if before.isdecimal() and len(before) < 16 else None
    found = versions.listing(desk.admin.engine, limit=LISTED + 1, before=least)
    values = {
        "rows": found[:LISTED], "more": found[LISTED - 1].number if len(found) > LISTED else 0,
        "number": desk.configuration.number,
    }  # fmt: skip
    return Page(template="versions.html", title="Versions", values=values)


def version(desk: Desk, asked: Asked) -> Page:
    """One version, and what it changed."""
    found = _version(desk, asked.params["number"])
    now = desk.configuration.number
    against = now if asked.query.get("against") == "now" else found.number - 1
    other = versions.find(desk.admin.engine, against) if against > 0 else None
    old, new = (found, other) if against == now and against != found.number - 1 else (other, found)
    values = {
        "version": found, "number": now, "against": against,
        "old": old.number if old else 0, "new": new.number if new else 0,
        "diff": difference(old.text if old else "", new.text if new else ""),
    }  # fmt: skip
    return Page(template="version.html", title=f"Version {found.number}", values=values)


def _version(desk: Desk, number: str) -> Version:
    found = None
    if number.isdecimal() and len(number) < 16:
        found = versions.find(desk.admin.engine, int(number))
    if found is None:
        detail = f"There is no version {number}: the last {versions.KEPT} are kept."
        raise ProblemError(404, "version_not_found", detail)
    return found


def difference(old: str, new: str) -> list[Line]:
    """What is different, with three lines around it."""
    before, after = old.splitlines()[:COMPARED], new.splitlines()[:COMPARED]
    rows = [*_lines(difflib.unified_diff(before, after, lineterm=""))]
    cut = [Line("gap", f"{len(rows) - MOST_LINES} more lines")] if len(rows) > MOST_LINES else []
    return rows[:MOST_LINES] + cut


def _lines(said: Iterable[str]) -> Iterable[Line]:
    for number, line in enumerate(said):
        if number < 2:  # the names of the files
            continue
        if line.startswith("@@"):
            if number > 2:
                yield Line("gap", "…")
            continue
        yield Line({"+": "add", "-": "del"}.get(line[0], "same"), line[1:])


# -- why -------------------------------------------------------------------------------------------


def explain(desk: Desk, asked: Asked) -> Page:
    """What would become of a request, as the data plane says."""
    given = {
        name: asked.query.get(name, "").strip() for name in ("model", "key", "headers", "body")
    }
    said, problem = None, ""
    if given["model"] or given["body"]:
        try:
            said = desk.relay.ask("POST", "/internal/explain", _question(desk, given))
        except ProblemError as error:
            problem = error.detail
    values = {
        "given": given, "said": said, "problem": problem, "names": names(desk)[:MOST_NAMES],
    }  # fmt: skip
    status = 400 if problem else 200
    return Page(template="explain.html", title="Explain a request", values=values, status=status)


def _question(desk: Desk, given: dict[str, str]) -> dict[str, Any]:
    """Body of ``/internal/explain``. Raises :class:`ProblemError`."""
    model = given["model"]
    body: Any = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 500}
    if given["body"]:
        try:
            body = msgspec.json.decode(given["body"])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ProblemError(400, "invalid_body", f"The body is not JSON: {error}.") from None
        if not isinstance(body, dict):
            raise ProblemError(400, "invalid_body", "The body must be a JSON object.")
    path = path_of(body, model)
    if model and "/models/" not in path:
        body["model"] = model
    headers = {}
    for line in given["headers"].splitlines():
        name, colon, value = line.partition(":")
        if line.strip() and (not colon or not name.strip()):
            detail = f"Write headers as name: value, not {line!r}."
            raise ProblemError(400, "invalid_header", detail)
        if line.strip():
            headers[name.strip()] = value.strip()
    key = desk.admin.key_id(given["key"]) or ""
    return {"request": body, "path": path, "headers": headers, "key": key}
