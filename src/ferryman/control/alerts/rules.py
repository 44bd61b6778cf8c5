"""What each kind of rule finds wrong: questions to the ledger, and the words for the answers."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from ferryman.config.snapshot import MEASURES, AlertRule
from ferryman.control.alerts.anomaly import WEEKS, unusual
from ferryman.control.alerts.reconcile import Finding
from ferryman.control.rows import dollars
from ferryman.control.when import rfc3339
from ferryman.store import glance, keys, latency, signs
from ferryman.store.alerts import Alert
from ferryman.store.journal import DAMAGED
from ferryman.store.rollup import LOST, OK

DAY: Final = 86_400
MOST_KEYS: Final = 200
"""Keys that one rule looks at."""
MOST_CALLS: Final = 1000
"""Single calls that are looked at for attempts."""
_OURS: Final = ("upstream_", "gateway_", "no_target_left")


class Sight(Struct, frozen=True, kw_only=True):
    """What rules look at."""

    engine: sa.Engine
    now: int
    """Unix seconds."""
    host: str
    data_dir: Path
    journal: Path
    known: Sequence[Alert]
    """What is open."""
    past: dict[tuple[str, int, int], dict[str, int]]
    """What was spent by (dimension, since, until), of days that are over."""


def look(rule: AlertRule, sight: Sight) -> list[Finding]:
    """What is wrong now, the worst first. Raises what the database does."""
    return _LOOKS[rule.on](rule, sight)


def _budget(rule: AlertRule, sight: Sight) -> list[Finding]:
    """Those that a silence has kept from being told; ``control/thresholds.py`` finds them."""
    return [
        Finding(
            rule=rule.name, subject=alert.subject, title=alert.title, detail=alert.detail,
            facts=alert.facts, ends_at=alert.ends_at,
        )
        for alert in sight.known
        if alert.rule == rule.name and alert.told_at is None and (alert.ends_at or 0) > sight.now
    ]  # fmt: skip


def _error_rate(rule: AlertRule, sight: Sight) -> list[Finding]:
    calls: Counter[str] = Counter()
    failed: dict[str, Counter[str]] = {}
    for each in _grouped(rule, sight):
        calls[each.group[0]] += each.calls
        if each.outcome == LOST or _is_fault(each.outcome):
            failed.setdefault(each.group[0], Counter())[each.outcome] += each.calls
    found = []
    for name, kinds in failed.items():
        number = kinds.total()
        if calls[name] < rule.calls or number * 100 < rule.percent * calls[name]:
            continue
        percent = f"{100 * number / calls[name]:.0f}"
        often, times = kinds.most_common(1)[0]
        found.append((number, Finding(
            rule=rule.name, subject=name,
            title=f"{percent} % of the calls {_of(rule, sight, name)} fail",
            detail=f"{number} of {calls[name]} calls in the last {_span(rule.window)} failed, most "
            f"often with {often} ({times}). Mistakes of callers are not counted. The rule opens "
            f"an alert from {rule.percent:g} % on.",
            facts={"percent": percent, "failed": str(number), "calls": str(calls[name]),
                   "error": often},
        )))  # fmt: skip
    return _worst(found)


def _is_fault(outcome: str) -> bool:
    """Whether a call ended so by no fault of its caller."""
    return outcome.startswith(_OURS) or (outcome.isdigit() and int(outcome) >= 500)


def _usage_unknown(rule: AlertRule, sight: Sight) -> list[Finding]:
    calls: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for each in _grouped(rule, sight):
        if each.outcome in (OK, LOST):
            calls[each.group[0]] += each.calls
            unknown[each.group[0]] += each.unknown_usage
    found = []
    for name, number in unknown.items():
        if calls[name] < rule.calls or number * 100 < rule.percent * calls[name]:
            continue
        percent = f"{100 * number / calls[name]:.0f}"
        found.append((number, Finding(
            rule=rule.name, subject=name,
            title=f"{percent} % of the calls {_of(rule, sight, name)} have no usage",
            detail=f"Of {number} of {calls[name]} calls that went well in the last "
            f"{_span(rule.window)} nobody knows how many tokens they took, so that costs and "
            "budgets go by estimates: the provider did not say, callers left, or a gateway died.",
            facts={"percent": percent, "unknown": str(number), "calls": str(calls[name])},
        )))  # fmt: skip
    return _worst(found)


def _grouped(rule: AlertRule, sight: Sight) -> list[signs.Outcome]:
    """Outcomes of the rule's window by what it counts by; those without a value are left out."""
    by = {"all": (), "team": ("key",)}.get(rule.by, (rule.by,))
    found = signs.outcomes(sight.engine, by, rule.window, sight.now)
    if rule.by == "all":
        return [_as(each, "") for each in found]
    if rule.by == "team":
        teams = signs.teams(sight.engine, sorted({each.group[0] for each in found}))
        return [_as(each, teams[each.group[0]]) for each in found if each.group[0] in teams]
    return [each for each in found if each.group[0]]


def _as(each: signs.Outcome, name: str) -> signs.Outcome:
    return signs.Outcome(
        group=(name,), outcome=each.outcome, calls=each.calls, unknown_usage=each.unknown_usage,
        unknown_cost=each.unknown_cost,
    )  # fmt: skip


def _of(rule: AlertRule, sight: Sight, name: str) -> str:
    """``of the model fast``; for keys their names."""
    if rule.by == "all":
        return "together"
    if rule.by == "key":
        name = keys.names(sight.engine, [name]).get(name, name)
    return f"of the {rule.by} {name}"


def _provider_down(rule: AlertRule, sight: Sight) -> list[Finding]:
    failed: Counter[str] = Counter()
    rests: Counter[str] = Counter()
    last: dict[str, str] = {}
    well = set()
    since = (sight.now - rule.window) * 1_000_000
    for call in glance.glances(sight.engine, since, MOST_CALLS):
        for each in reversed(call.attempts):
            name, error = each["provider"], each["error"]
            if error.startswith("upstream_"):
                failed[name] += 1
                last.setdefault(name, error)
            elif not error or call.status < 400:
                well.add(name)
        for each in call.plan:
            if each.get("rests_seconds"):
                rests[each["target"].partition("/")[0]] += 1
    found = []
    for name, number in failed.items():
        if name in well or number + rests[name] < rule.calls:
            continue
        passed = f", and {rests[name]} calls passed it over" if rests[name] else ""
        found.append((number, Finding(
            rule=rule.name, subject=name, title=f"The provider {name} is down",
            detail=f"All {number} attempts of the last {_span(rule.window)} failed there, the last "
            f"with {last[name]}{passed}.",
            facts={"failed": str(number), "passed_over": str(rests[name]), "error": last[name]},
        )))  # fmt: skip
    return _worst(found)


def _latency(rule: AlertRule, sight: Sight) -> list[Finding]:
    until = sight.now // 60 * 60 + 60
    rows = latency.latencies(
        sight.engine, by=(rule.by,), since_us=(until - 60 - rule.window) * 1_000_000,
        until_us=until * 1_000_000,
    )  # fmt: skip
    first = rule.measure == "ttft"
    place = 1 if first else MEASURES.index(rule.measure)
    found = []
    for row in rows:
        times = row.first_token if first else row.duration
        name = str(row.group[rule.by] or "")
        if not times or row.calls < rule.calls or times[place] <= rule.over * 1e6:
            continue
        took = f"{times[place] / 1e6:.1f}"
        what = "p95 of first tokens" if first else f"{rule.measure} of answers"
        found.append((round(times[place]), Finding(
            rule=rule.name, subject=name,
            title=f"The {rule.by} {name} is slow: {took} s",
            detail=f"The {what} is {took} s over {row.calls} calls of the last "
            f"{_span(rule.window)}; the rule allows {rule.over:g} s.",
            facts={"seconds": took, "measure": rule.measure, "calls": str(row.calls)},
        )))  # fmt: skip
    return _worst(found)


def _unpriced(rule: AlertRule, sight: Sight) -> list[Finding]:
    found = []
    for each in signs.outcomes(sight.engine, ("provider", "target"), DAY, sight.now, OK):
        number = each.unknown_cost - each.unknown_usage
        if number <= 0:
            continue
        name = "/".join(each.group)
        found.append((number, Finding(
            rule=rule.name, subject=name, title=f"{name} has no price",
            detail=f"The cost of {number} of {each.calls} calls of the last day is not, or not "
            "wholly, known though their usage is. Give it prices under "
            f"providers.{each.group[0]}.prices; `ferryman prices unpriced` lists such models.",
            facts={"calls": str(number)},
        )))  # fmt: skip
    return _worst(found)


def _key_leaked(rule: AlertRule, sight: Sight) -> list[Finding]:
    """What was reported of keys that still work (``watch.Watch.leaked``)."""
    said = {alert.subject: alert for alert in sight.known if alert.rule == rule.name}
    there = signs.working(sight.engine, list(said), sight.now)
    return [
        Finding(
            rule=rule.name, subject=name, title=said[name].title, detail=said[name].detail,
            facts=said[name].facts,
        )
        for name in said
        if name in there
    ]  # fmt: skip


def leaked(rule: AlertRule, key: signs.Key, where: str) -> Finding:
    """That a key was found where it must not be."""
    return Finding(
        rule=rule.name, subject=key.id, title=f"The key {key.name} has leaked",
        detail=f"It was found here: {where}. Make another one, and revoke it: `ferryman keys "
        f"revoke {key.id}`.",
        facts={"key": key.name, "where": where},
    )  # fmt: skip


def _key_idle(rule: AlertRule, sight: Sight) -> list[Finding]:
    before = sight.now - rule.days * DAY
    found = []
    for key in signs.idle(sight.engine, before, sight.now, MOST_KEYS):
        used = (
            "never used" if key.last_used_at is None else f"used {rfc3339(key.last_used_at)} last"
        )
        days = (sight.now - (key.last_used_at or key.created_at)) // DAY
        found.append(Finding(
            rule=rule.name, subject=key.id,
            title=f"The key {key.name} was not used for {days} days",
            detail=f"It works, and was {used}. Revoke what nobody needs: `ferryman keys revoke "
            f"{key.id}`.",
            facts={"key": key.name, "days": str(days)},
        ))  # fmt: skip
    return found


def _key_expiring(rule: AlertRule, sight: Sight) -> list[Finding]:
    found = []
    for key in signs.ending(sight.engine, sight.now + rule.days * DAY, sight.now, MOST_KEYS):
        assert key.expires_at is not None
        found.append(Finding(
            rule=rule.name, subject=key.id,
            title=f"The key {key.name} ends on {rfc3339(key.expires_at)[:10]}",
            detail=f"It works until {rfc3339(key.expires_at)}. Give its user another one in time.",
            facts={"key": key.name, "expires_at": rfc3339(key.expires_at)},
        ))  # fmt: skip
    return found


def _spend_anomaly(rule: AlertRule, sight: Sight) -> list[Finding]:
    midnight = sight.now // DAY * DAY
    until = sight.now // 3600 * 3600 + 3600
    today = _spent(rule, sight, midnight, until)
    past = []
    for week in range(1, WEEKS + 1):
        back = week * 7 * DAY
        place = (rule.by, midnight - back, until - back)
        if place not in sight.past:
            sight.past[place] = _spent(rule, sight, *place[1:])
        past.append(sight.past[place])
    found = []
    for name, spent in today.items():
        before = [day.get(name, 0) for day in past]
        odd = unusual(spent, before, rule.deviations, rule.usd)
        if odd is None:
            continue
        now, usual, bound = (_usd(each) for each in (odd.today, odd.usual, odd.bound))
        weekday = time.strftime("%A", time.gmtime(sight.now))
        whose = "" if rule.by == "all" else f" {_of(rule, sight, name)}"
        found.append((spent, Finding(
            rule=rule.name, subject=name,
            title=f"Unusual spending{whose}: {now} today, {usual} usually",
            detail=f"Since midnight (UTC) {now}{whose} were spent. By this hour, the last "
            f"{odd.days} {weekday}s had {', '.join(map(_usd, before))}: {usual} in the middle, "
            f"{_usd(odd.deviation)} from it as a rule. More than {bound} is out of the ordinary.",
            facts={"today_usd": dollars(odd.today), "usual_usd": dollars(odd.usual),
                   "deviation_usd": dollars(odd.deviation), "bound_usd": dollars(odd.bound)},
        )))  # fmt: skip
    return _worst(found)


def _spent(rule: AlertRule, sight: Sight, since: int, until: int) -> dict[str, int]:
    if rule.by != "team":
        return signs.spent(sight.engine, rule.by, since, until)
    by_key = signs.spent(sight.engine, "key", since, until)
    teams = signs.teams(sight.engine, sorted(by_key))
    found: Counter[str] = Counter()
    for key, spent in by_key.items():
        if key in teams:
            found[teams[key]] += spent
    return dict(found)


def _usd(pico: int) -> str:
    return f"${pico / 10**12:.2f}"


def _disk_low(rule: AlertRule, sight: Sight) -> list[Finding]:
    free = shutil.disk_usage(sight.data_dir).free
    if free >= rule.free:
        return []
    left = f"{free / 10**6:.0f} MB"
    return [
        Finding(
            rule=rule.name, subject=sight.host, host=sight.host,
            title=f"The disk of {sight.host} is almost full: {left} are free",
            detail=f"Where {sight.data_dir} is, {left} are free; the rule wants "
            f"{rule.free / 10**6:.0f} MB. Calls that can't be recorded are refused in the end.",
            facts={"free_bytes": str(free)},
        )
    ]  # fmt: skip


def _journal_damaged(rule: AlertRule, sight: Sight) -> list[Finding]:
    files = sorted(sight.journal.glob(f"*/*{DAMAGED}"))
    if not files:
        return []
    return [
        Finding(
            rule=rule.name, subject=sight.host, host=sight.host,
            title=f"The journal on {sight.host} was damaged",
            detail=f"Records could not be read: the calls in them are not in the ledger. Kept to "
            f"be looked at: {', '.join(str(file) for file in files[:5])}"
            f"{f' and {len(files) - 5} more' if len(files) > 5 else ''}. `ferryman journal` shows "
            "where; delete the files when you are done.",
            facts={"files": str(len(files))},
        )
    ]  # fmt: skip


def _span(seconds: int) -> str:
    """``10 minutes``, ``hour``: what "the last" may stand in front of."""
    size, unit = (3600, "hour") if seconds % 3600 == 0 else (60, "minute")
    return unit if seconds == size else f"{seconds // size} {unit}s"


def _worst(found: list[tuple[int, Finding]]) -> list[Finding]:
    return [each for _, each in sorted(found, key=lambda pair: (-pair[0], pair[1].subject))]


_LOOKS: Final[Mapping[str, Callable[[AlertRule, Sight], list[Finding]]]] = {
    "budget": _budget,
    "error_rate": _error_rate,
    "provider_down": _provider_down,
    "latency": _latency,
    "unpriced": _unpriced,
    "usage_unknown": _usage_unknown,
    "key_leaked": _key_leaked,
    "key_idle": _key_idle,
    "key_expiring": _key_expiring,
    "spend_anomaly": _spend_anomaly,
    "disk_low": _disk_low,
    "journal_damaged": _journal_damaged,
}
