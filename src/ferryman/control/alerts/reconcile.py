"""What is wrong now, beside what was: which alerts open, are told again, and close. Pure.

No time is trusted to go forward: what was seen "in the future" counts as not seen, and what was
told there as told now.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.snapshot import AlertRule
from ferryman.control.when import rfc3339
from ferryman.store.alerts import Alert, Change, Message, Silence

CALM: Final = 300
"""Seconds that something has to be well before its alert closes: else it would open and close."""
MOST_OF_A_RULE: Final = 50
"""Open alerts of one rule at most; one more says that there are more of them,"""
MORE: Final = "…"
"""and has this subject."""
MOST_TEXT: Final = 1000
"""Characters of a text that may come from callers."""


class Finding(Struct, frozen=True, kw_only=True):
    """Something that is wrong, as a rule sees it."""

    rule: str
    subject: str
    title: str
    detail: str
    facts: dict[str, str] = {}
    host: str = ""
    id: str = ""
    """Of what is told once ever: empty = it may come again."""
    ends_at: int | None = None


def reconciled(
    known: Sequence[Alert],
    found: Sequence[Finding],
    rules: Mapping[str, AlertRule],
    looked: frozenset[str],
    silences: Sequence[Silence],
    host: str,
    now: int,
) -> list[Change]:
    """The changes. ``known``: alerts that are open; ``looked``: names of the rules whose findings
    are all in ``found``; ``host``: this machine."""
    there = {(alert.rule, alert.subject): alert for alert in known}
    changes: list[Change] = []
    still = set()
    for finding in _bounded(found, there):
        place = finding.rule, finding.subject
        rule, alert = rules[finding.rule], there.get(place)
        quiet = _silenced(silences, *place, now)
        still.add(place)
        if alert is None:
            changes.append(_opened(finding, rule, quiet, now))
        else:
            changes.append(_continued(alert, finding, rule, quiet, now))
    for place, alert in there.items():
        if place in still:
            continue
        its = rules.get(alert.rule)
        ended = alert.ends_at is not None and now >= alert.ends_at
        watched = alert.ends_at is None and alert.rule in looked and alert.host in ("", host)
        if its is None or its.on != alert.about or ended:
            changes.append(_resolved(alert, None, now))
        elif watched and not 0 <= now - alert.seen_at < CALM:
            told = alert.told_at is not None and not _silenced(silences, *place, now)
            changes.append(_resolved(alert, its if told else None, now))
    return changes


def _bounded(found: Sequence[Finding], there: Mapping[tuple[str, str], Alert]) -> Sequence[Finding]:
    """``found`` without those beyond what a rule may have open, and with one that says so."""
    kept: list[Finding] = []
    held: dict[str, int] = {}
    for rule, subject in there:
        held[rule] = held.get(rule, 0) + (subject != MORE)
    left: dict[str, list[Finding]] = {}
    for finding in found:
        if (finding.rule, finding.subject) in there:
            kept.append(finding)
        elif held.get(finding.rule, 0) < MOST_OF_A_RULE:
            held[finding.rule] = held.get(finding.rule, 0) + 1
            kept.append(finding)
        else:
            left.setdefault(finding.rule, []).append(finding)
    for rule, more in left.items():
        detail = f"{MOST_OF_A_RULE} alerts of the rule {rule} are open; these have none: "
        detail += "; ".join(each.title for each in more[:10])
        ends = [each.ends_at for each in more if each.ends_at is not None]
        kept.append(
            Finding(
                rule=rule, subject=MORE, title=f"{len(more)} more of the rule {rule}",
                detail=detail, ends_at=max(ends, default=None), host=more[0].host,
            )
        )  # fmt: skip
    return kept


def _silenced(silences: Sequence[Silence], rule: str, subject: str, now: int) -> bool:
    return any(
        each.until > now and each.rule in ("", rule) and each.subject in ("", subject)
        for each in silences
    )


def _opened(finding: Finding, rule: AlertRule, quiet: bool, now: int) -> Change:
    alert = Alert(
        id=finding.id or f"alert_{secrets.token_hex(8)}", rule=rule.name, about=rule.on,
        subject=finding.subject, host=finding.host, severity=rule.severity,
        title=finding.title[:MOST_TEXT], detail=finding.detail[:MOST_TEXT], facts=finding.facts,
        opened_at=now, seen_at=now, ends_at=finding.ends_at, told_at=None if quiet else now,
    )  # fmt: skip
    said = None if quiet else message("opened", alert, rule, now)
    return Change(what="opened", alert=alert, message=said)


def _continued(alert: Alert, finding: Finding, rule: AlertRule, quiet: bool, now: int) -> Change:
    fresh = replace(
        alert, severity=rule.severity, title=finding.title[:MOST_TEXT],
        detail=finding.detail[:MOST_TEXT], facts=finding.facts, seen_at=now,
    )  # fmt: skip
    before = alert.told_at
    if before is not None and before > now:  # the clock was put back: repeats count from here on
        return Change(what="told", alert=replace(fresh, told_at=now), told_before=before)
    # What ends by itself, at the end of a period, is told once in it.
    again = before is not None and alert.ends_at is None and now - before >= rule.repeat
    if quiet or alert.acknowledged_at is not None or not (again or before is None):
        return Change(what="seen", alert=fresh)
    fresh = replace(fresh, told_at=now)
    said = message("repeated" if again else "opened", fresh, rule, now)
    return Change(what="told", alert=fresh, told_before=before, message=said)


def _resolved(alert: Alert, tell: AlertRule | None, now: int) -> Change:
    alert = replace(alert, resolved_at=now)
    said = None if tell is None else message("resolved", alert, tell, now)
    return Change(what="resolved", alert=alert, message=said)


def message(event: str, alert: Alert, rule: AlertRule, now: int) -> Message:
    """What the rule's channels are told of an alert."""
    name = hashlib.sha256(f"{alert.id}\0{event}\0{now}".encode()).hexdigest()[:32]
    body: dict[str, Any] = {
        "id": name,
        "type": f"alert.{event}",
        "time": rfc3339(now),
        "alert": alert.id,
        "on": alert.about,
        "rule": alert.rule,
        "subject": alert.subject,
        "host": alert.host,
        "severity": alert.severity,
        "title": alert.title,
        "detail": alert.detail,
        "facts": alert.facts,
        "opened_at": rfc3339(alert.opened_at),
        "resolved_at": None if alert.resolved_at is None else rfc3339(alert.resolved_at),
    }
    return Message(id=name, body=msgspec.json.encode(body).decode(), to=rule.to)


def tested(channel: str, now: int) -> str:
    """Body of a message that only shows whether a channel works."""
    rule = AlertRule(name="test", on="test", severity="warning")
    alert = Alert(
        id="alert_test", rule="test", about="test", subject=channel, severity="warning",
        title="This is a test",
        detail=f"Somebody pressed the button. The channel {channel} works.",
        opened_at=now, seen_at=now,
    )  # fmt: skip
    return message("test", alert, rule, now).body
