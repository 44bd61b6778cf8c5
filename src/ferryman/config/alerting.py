"""The section ``alerts`` as read → what the snapshot has of it, and the rules that hold anyway."""

from collections.abc import Callable, Container
from pathlib import Path as File
from typing import Any, Final

from ferryman.config.files import referred
from ferryman.config.problem import Path, shown
from ferryman.config.snapshot import ALERTED, AlertRule, Alerts, Channel, Mail
from ferryman.ir.price import PICO

Found = dict[str, Any]
Add = Callable[[Path, str, str], None]
Given = Container[Path]
MOST_CHANNELS: Final = 20
MOST_RULES: Final = 100
DAY: Final = 86_400
_KINDS: Final = ("webhook", "slack", "email")

USUAL: Final[dict[str, Found]] = {
    "budget": {"percent": 100.0},
    "error_rate": {
        "by": "provider", "percent": 20.0, "window": 600, "calls": 20, "severity": "critical",
    },
    "provider_down": {"window": 300, "calls": 3, "severity": "critical"},
    "latency": {"by": "model", "over": 0.0, "measure": "p95", "window": 600, "calls": 20},
    "unpriced": {},
    "usage_unknown": {"by": "provider", "percent": 10.0, "window": 3600, "calls": 20},
    "key_leaked": {"severity": "critical"},
    "key_idle": {"days": 90},
    "key_expiring": {"days": 7},
    "spend_anomaly": {"by": "all", "deviations": 5.0, "usd": 5 * PICO},
    "disk_low": {"free": 10**9, "severity": "critical"},
    "journal_damaged": {"severity": "critical"},
}  # fmt: skip
"""What holds where a rule says nothing; only these keys mean anything to it."""
assert tuple(USUAL) == ALERTED
_FOR_ALL: Final = ("on", "name", "off", "severity", "to", "repeat")


def alerts_of(found: Found, folder: File, given: Given, add: Add) -> Alerts:
    """The section; a relative path is taken from the configuration's folder."""
    channels = []
    for name, entry in found.get("channels", {}).items():
        channel = _channel(name, entry, folder, given, add)
        if channel is not None:
            channels.append(channel)
    if len(found.get("channels", {})) > MOST_CHANNELS:
        fix = f"Up to {MOST_CHANNELS} can be told; let one of them pass it on."
        add(("alerts", "channels"), "these are too many channels", fix)
    names = tuple(found.get("channels", {}))
    repeat = int(found.get("repeat", DAY))
    rules: dict[str, AlertRule] = {}
    said, off = set(), set()
    entries = found.get("rules", [])
    if len(entries) > MOST_RULES:
        add(("alerts", "rules"), "these are too many rules", f"Up to {MOST_RULES} are looked at.")
    for i, entry in entries:
        path: Path = ("alerts", "rules", i)
        if "on" not in entry or not _fits(entry, path, given, add):
            continue
        name = entry.get("name", entry["on"])
        if name in rules or name in off:
            message = f"another rule is called {shown(name)} already"
            add((*path, "name") if "name" in entry else path, message, "Give each its own name.")
        said.add(entry["on"])
        if entry.get("off"):
            off.add(name)
        else:
            rules[name] = _rule(name, entry, names, repeat, path, add)
    for on in ALERTED:
        if on not in said and on != "latency":
            rules.setdefault(on, _rule(on, {"on": on}, names, repeat, (), add))
    return Alerts(channels=tuple(channels), rules=tuple(rules.values()))


def _channel(name: str, found: Found, folder: File, given: Given, add: Add) -> Channel | None:
    path: Path = ("alerts", "channels", name)
    kinds = [kind for kind in _KINDS if (*path, kind) in given]
    if len(kinds) != 1:
        message = f"both {' and '.join(kinds)} are given" if kinds else "this says nobody to tell"
        add(path, message, "Give one of them: webhook: https://…, slack: env:NAME or email: {…}")
        return None
    kind = kinds[0]
    if kind not in found:
        return None
    signed = (*path, "secret") in given
    if signed != (kind == "webhook"):
        fix = "Add secret: env:NAME." if kind == "webhook" else "Leave it out."
        message = "this has no secret" if kind == "webhook" else "only a webhook has a secret"
        add((*path, kind), message, fix)
        return None
    if kind != "email":
        secret = found.get("secret" if kind == "webhook" else "slack")
        return Channel(
            name=name, kind=kind, url=found["webhook"] if kind == "webhook" else "",
            secret=None if secret is None else referred(secret, folder),
            private=found.get("private", False),
        )  # fmt: skip
    mail = _mail(found["email"], (*path, "email"), folder, given, add)
    if mail is None:
        return None
    return Channel(name=name, kind=kind, mail=mail, private=found.get("private", False))


def _mail(found: Found, path: Path, folder: File, given: Given, add: Add) -> Mail | None:
    if ((*path, "user") in given) != ((*path, "password") in given):
        add(path, "user and password go together", "Give both, or none of them.")
    if not {"to", "from", "host"} <= found.keys():
        return None
    implicit = found.get("tls") == "implicit"
    to = found["to"]
    password = found.get("password")
    return Mail(
        to=(to,) if isinstance(to, str) else tuple(each for _, each in to),
        sender=found["from"],
        host=found["host"],
        port=found.get("port", 465 if implicit else 587),
        implicit=implicit,
        user=found.get("user", ""),
        password=None if password is None else referred(password, folder),
    )


def _fits(found: Found, path: Path, given: Given, add: Add) -> bool:
    """Whether a rule says only what means something to it."""
    on = found["on"]
    for key in ("by", "percent", "over", "measure", "window", "calls", "days", "free",
                "deviations", "usd"):  # fmt: skip
        if (*path, key) in given and key not in USUAL[on]:
            own = [name for name in USUAL[on] if name not in _FOR_ALL]
            fix = f"It takes {', '.join(own)}." if own else "Leave it out."
            add((*path, key), f"this means nothing to {on}", fix)
            return False
    if on == "latency" and (*path, "over") not in given:
        add(path, "nobody says what is too long", "Add over: 8s.")
        return False
    if on == "latency" and found.get("by", "model") not in ("model", "provider"):
        add((*path, "by"), "latencies are known by model and provider", "Example: by: model")
        return False
    return True


def _rule(
    name: str, found: Found, names: tuple[str, ...], repeat: int, path: Path, add: Add
) -> AlertRule:
    usual = USUAL[found["on"]]
    more = {key: found[key] for key in usual if key in found}
    if "usd" in more:
        more["usd"] = int(more["usd"] * PICO)
    for key in ("percent", "over", "deviations"):
        if key in more:
            more[key] = float(more[key])
    if "window" in more:
        more["window"] = max(60, int(more["window"]) // 60 * 60)
    to = names
    if "to" in found:
        to = tuple(channel for _, channel in found["to"])
        for i, channel in found["to"]:
            if channel not in names:
                fix = f"There are: {', '.join(names)}." if names else "Add it under channels."
                add((*path, "to", i), f"there is no channel {shown(channel)}", fix)
    severity = found.get("severity", usual.get("severity", "warning"))
    every = int(found.get("repeat", repeat))
    rest = {**usual, **more, "severity": severity}
    return AlertRule(name=name, on=found["on"], to=to, repeat=every, **rest)


NO_FILE: Final = alerts_of({}, File(), (), lambda *_: None)
"""What holds without a file."""
