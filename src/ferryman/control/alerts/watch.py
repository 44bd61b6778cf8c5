"""Looks once a minute for what is wrong, and notes what is to be told of it.

It has a thread of its own: neither calls nor ingestion wait for it. What it knows is in the
database, so a restart neither repeats nor forgets anything; what is in memory is only quicker.
"""

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from ferryman.config.snapshot import AlertRule, Snapshot
from ferryman.control.alerts import rules as kinds
from ferryman.control.alerts.reconcile import Finding, reconciled
from ferryman.log import log
from ferryman.store import alerts, signs
from ferryman.store.alerts import Change

EVERY: Final = 60.0
"""Seconds between looks."""
FIRST: Final = 5.0
"""Seconds after the start: the ledger has to take in what is there."""
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


class Watch:
    """Alerts of one control plane."""

    def __init__(self, engine: sa.Engine, data_dir: Path, journal: Path) -> None:
        self._engine = engine
        self._data_dir, self._journal = data_dir, journal
        self._host = socket.gethostname()
        self._rules: dict[str, AlertRule] = {}
        self._past: dict[tuple[str, int, int], dict[str, int]] = {}
        self._hour = 0
        self._failing: dict[str, str] = {}
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def adopt(self, snapshot: bytes) -> None:
        """Go by the rules of this snapshot (msgpack) from now on. On any thread."""
        found = _snapshot.decode(snapshot).alerts.rules
        self._rules = {rule.name: rule for rule in found}
        self._news.set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._news.set()

    def raised(self, found: Sequence[Finding], now: int) -> None:
        """Open alerts at once, of what others have found. Findings of unknown rules are left out.

        Raises what the database does.
        """
        rules = self._rules
        found = [each for each in found if each.rule in rules]
        if found:
            self._settle(found, rules, frozenset(), now)

    def leaked(self, key_id: str, where: str) -> bool:
        """Tell of a key that was found where it must not be. False = no such key works.

        ``where`` is a text for people, such as an address; never the key.
        """
        now = int(time.time())
        key = signs.working(self._engine, [key_id], now).get(key_id)
        if key is None:
            return False
        rules = [rule for rule in self._rules.values() if rule.on == "key_leaked"]
        self.raised([kinds.leaked(rule, key, where) for rule in rules], now)
        return True

    def look(self, now: int) -> None:
        """Look at everything. Raises what the database does on reading or writing alerts."""
        rules = self._rules
        if now // 3600 != self._hour:
            self._hour, self._past = now // 3600, {}
        sight = kinds.Sight(
            engine=self._engine, now=now, host=self._host, data_dir=self._data_dir,
            journal=self._journal, known=alerts.open_alerts(self._engine), past=self._past,
        )  # fmt: skip
        found: list[Finding] = []
        looked = set()
        for rule in rules.values():
            try:
                found += kinds.look(rule, sight)
                looked.add(rule.name)
                self._failing.pop(rule.name, None)
            except Exception as error:  # one that fails must not keep the others from being told
                self._note(rule.name, error)
        self._settle(found, rules, frozenset(looked), now)
        alerts.tidy(self._engine, now)

    def _settle(
        self,
        found: Sequence[Finding],
        rules: dict[str, AlertRule],
        looked: frozenset[str],
        now: int,
    ) -> None:
        known = alerts.open_alerts(self._engine)
        silences = alerts.silences(self._engine, now)
        changes = reconciled(known, found, rules, looked, silences, self._host, now)
        for change in alerts.apply(self._engine, changes, now):
            _say(change)

    def _run(self) -> None:
        time.sleep(FIRST)
        while not self._stopping:
            self._news.clear()
            try:
                self.look(int(time.time()))
                self._failing.pop("", None)
            except Exception as error:
                self._note("", error)
            self._news.wait(EVERY)

    def _note(self, rule: str, error: Exception) -> None:
        cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        why = f"{type(error).__name__}: {cause}"
        if why != self._failing.get(rule):
            what = f"the rule {rule} can't be looked at" if rule else "alerts can't be looked at"
            log("control", f"{what} ({why}); trying again every minute")
        self._failing[rule] = why


def _say(change: Change) -> None:
    """A line of the log for what is news."""
    alert = change.alert
    title = "".join(c if c.isprintable() else "�" for c in alert.title)
    if change.what == "opened":
        log("control", f"alert ({alert.severity}): {title} [{alert.id}]")
    elif change.what == "resolved":
        log("control", f"alert resolved: {title} [{alert.id}]")
