"""Alerts in the admin API: what is open, what was, silences, and whether channels work."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Engine

from ferryman.client import alerts as documents
from ferryman.client.alerts import Alerts, Delivered, Ended, NewSilence
from ferryman.client.documents import Page
from ferryman.config.snapshot import Channel
from ferryman.control.admin import Admin
from ferryman.control.alerts.courier import ChannelError, Courier
from ferryman.control.alerts.reconcile import tested
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.api.whose import Theirs
from ferryman.control.problem import ProblemError
from ferryman.control.when import WhenError, moment, rfc3339
from ferryman.store import alerts
from ferryman.store.alerts import Alert, Silence

LONGEST: Final = 366 * 86_400
"""Seconds that a silence may last."""
BATCH: Final = 500
"""Alerts that are read at once."""


def list_alerts(admin: Admin) -> Alerts:
    """What is wrong now, silences, and the channels that are told.

    Whoever belongs to an organisation or a team meets what is about its keys and budgets alone.
    """
    if admin.caller.within:
        theirs = Theirs(admin)
        found = [each for each in alerts.open_alerts(admin.engine) if theirs.alert(each)]
        return Alerts(data=[alert_row(each, ()) for each in found], silences=[], channels=[])
    held = alerts.silences(admin.engine, int(time.time()))
    return Alerts(
        data=[alert_row(alert, held) for alert in alerts.open_alerts(admin.engine)],
        silences=[silence_row(each) for each in held],
        channels=[channel_row(each) for each in admin.courier.channels],
    )


def alert_history(admin: Admin, pages: Pages) -> Page[documents.Alert]:
    """What was wrong, newest first."""
    rows, more = history(admin.engine, pages, Theirs(admin).alert)
    return Page(data=[alert_row(row, ()) for row in rows], next=more)


def make_silence(admin: Admin, body: NewSilence) -> documents.Silence:
    """Tell nobody of an alert, a rule or a subject for a while."""
    made = silenced(
        admin.engine, str(body.until), alert=body.alert, rule=body.rule, subject=body.subject,
        note=body.note,
    )  # fmt: skip
    return silence_row(made)


def end_silence(admin: Admin, silence: str) -> Ended:
    """End a silence."""
    if not alerts.unsilence(admin.engine, silence):
        raise ProblemError(404, "silence_not_found", f"There is no silence {silence!r}.")
    return Ended(id=silence)


def test_channel(admin: Admin, channel: str) -> Delivered:
    """Tell a channel a test."""
    took = try_channel(admin.courier, channel)
    return Delivered(channel=channel, seconds=round(took, 3))


def acknowledge_alert(admin: Admin, alert: str) -> documents.Alert:
    """Somebody is at it: it is not told again until it is over."""
    return alert_row(acknowledged(admin.engine, alert, "api"), ())


def history(
    engine: Engine, pages: Pages, meant: Callable[[Alert], bool] = lambda _: True
) -> tuple[list[Alert], str | None]:
    """A page of the history, of those that are ``meant``, and the cursor of the next one. Raises
    :class:`ProblemError`."""
    found: list[Alert] = []
    before = pages.after(tuple[int, str])
    while len(found) < pages.more:
        some = alerts.history(engine, BATCH, before)
        found += filter(meant, some)
        if len(some) < BATCH:
            break
        before = (some[-1].opened_at, some[-1].id)
    return pages.cut(found[: pages.more], lambda alert: (alert.opened_at, alert.id))


def silenced(
    engine: Engine,
    until: str,
    *,
    alert: str = "",
    rule: str = "",
    subject: str = "",
    note: str = "",
) -> Silence:
    """A new silence. Raises :class:`ProblemError`."""
    now = int(time.time())
    try:
        end = moment(until, now, ahead=True)
    except WhenError as error:
        raise ProblemError(400, "invalid_body", f"until: {error}") from None
    if end <= now or end > now + LONGEST:
        raise ProblemError(400, "invalid_body", "until: say a time within a year from now on.")
    if alert:
        found = alerts.get(engine, alert)
        if found is None:
            raise _unknown(alert)
        rule, subject = found.rule, found.subject
    if not rule and not subject:
        detail = "Say what is to be silent: alert, rule or subject."
        raise ProblemError(400, "invalid_body", detail)
    try:
        return alerts.silence(engine, rule, subject, end, note.strip(), now)
    except ValueError as error:
        raise ProblemError(409, "too_many_silences", str(error)) from None


def acknowledged(engine: Engine, name: str, by: str) -> Alert:
    """The open alert that was acknowledged. Raises :class:`ProblemError`."""
    found = alerts.acknowledge(engine, name, by, int(time.time()))
    if found is None:
        raise _unknown(name)
    return found


def try_channel(courier: Courier, name: str) -> float:
    """Tell a channel a test; returns the seconds it took. Raises :class:`ProblemError`."""
    channel = next((each for each in courier.channels if each.name == name), None)
    if channel is None:
        names = ", ".join(each.name for each in courier.channels) or "none"
        detail = (
            f"There is no channel {name!r} under alerts in the configuration; there are: {names}."
        )
        raise ProblemError(404, "channel_not_found", detail)
    began = time.monotonic()
    try:
        courier.tell(channel, tested(name, int(time.time())))
    except ChannelError as error:
        detail = f"The channel {name} could not be told: {error}."
        raise ProblemError(502, "channel_failed", detail) from None
    return time.monotonic() - began


def _unknown(name: str) -> ProblemError:
    return ProblemError(404, "alert_not_found", f"No open alert has the id {name!r}.")


def alert_row(alert: Alert, silences: Sequence[Silence]) -> documents.Alert:
    """An alert as it is shown."""
    quiet = max((each.until for each in silences if covers(each, alert)), default=None)
    return documents.Alert(
        id=alert.id,
        state="open" if alert.resolved_at is None else "resolved",
        severity=alert.severity,
        on=alert.about,
        rule=alert.rule,
        subject=alert.subject,
        host=alert.host or None,
        title=alert.title,
        detail=alert.detail,
        facts=alert.facts,
        opened_at=rfc3339(alert.opened_at),
        seen_at=rfc3339(alert.seen_at),
        told_at=_time(alert.told_at),
        acknowledged_at=_time(alert.acknowledged_at),
        acknowledged_by=alert.acknowledged_by,
        silenced_until=_time(quiet),
        resolved_at=_time(alert.resolved_at),
    )


def covers(silence: Silence, alert: Alert) -> bool:
    """Whether the silence is about this alert."""
    return silence.rule in ("", alert.rule) and silence.subject in ("", alert.subject)


def silence_row(silence: Silence) -> documents.Silence:
    """A silence as it is shown."""
    return documents.Silence(
        id=silence.id, rule=silence.rule or None, subject=silence.subject or None,
        until=rfc3339(silence.until), made_at=rfc3339(silence.at), note=silence.note,
    )  # fmt: skip


def channel_row(channel: Channel) -> documents.Channel:
    """A channel as it is shown: no secret, and of its URL the host alone."""
    mail = channel.mail
    where = f"{', '.join(mail.to)} by {mail.host}" if mail is not None else channel.url
    if channel.kind == "webhook":
        where = "/".join(channel.url.split("/")[:3]).rpartition("@")[2].removeprefix("https://")
    where = where or "a Slack webhook"
    return documents.Channel(name=channel.name, kind=channel.kind, where=where)


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


_SILENCES: Final = "/alerts/silences"
_EXAMPLE: Final[dict[str, Any]] = {"rule": "latency", "until": "4h", "note": "moving house"}
ROUTES: Final = (
    Route("GET", "/alerts", "alerts.read", list_alerts, tenants=True),
    Route("GET", "/alerts/history", "alerts.read", alert_history, tenants=True),
    Route("POST", _SILENCES, "alerts.write", make_silence, status=201, errors=(404, 409),
          example=_EXAMPLE),
    Route("DELETE", _SILENCES + "/{silence}", "alerts.write", end_silence, errors=(404,)),
    Route("POST", "/alerts/channels/{channel}/test", "alerts.write", test_channel,
          errors=(404, 502), act="alert.test"),
    Route("POST", "/alerts/{alert}/acknowledge", "alerts.write", acknowledge_alert, errors=(404,)),
)  # fmt: skip
