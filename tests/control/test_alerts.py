"""What opens, is told and closes, on a real database, with real receivers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.config.alerting import NO_FILE, alerts_of
from ferryman.config.feed import KeyFacts
from ferryman.config.model import SinkConfig
from ferryman.config.snapshot import AlertRule, Alerts, Channel, Mail, Secret, Snapshot
from ferryman.control.alerts import courier as courier_module
from ferryman.control.alerts.anomaly import unusual
from ferryman.control.alerts.courier import ChannelError, Courier
from ferryman.control.alerts.reconcile import (
    CALM,
    MORE,
    MOST_OF_A_RULE,
    Finding,
    reconciled,
)
from ferryman.control.alerts.reconcile import tested as a_test
from ferryman.control.alerts.watch import Watch
from ferryman.control.ingest import Ingester
from ferryman.control.sinks import SinkError
from ferryman.control.sinks import made as a_sink
from ferryman.store import alerts, keys, notices
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import Attempt, Candidate, Closed
from tests.http1.certs import Authority
from tests.processes import until
from tests.receivers import Hook, Post
from tests.store import samples
from tests.store.conftest import engine, postgres_server, postgres_url, url

__all__ = ["engine", "postgres_server", "postgres_url", "url"]

NOW = 1_795_014_000
"""A Wednesday at 15:00 UTC."""
DAY = 86_400
USUAL = {rule.name: rule for rule in NO_FILE.rules}


def snapshot(*rules: AlertRule, channels: tuple[Channel, ...] = ()) -> bytes:
    """A snapshot of alerts alone."""
    alerts_ = Alerts(channels=channels, rules=rules)
    return msgspec.msgpack.encode(Snapshot(version="v", alerts=alerts_))


class Bench:
    """A ledger with calls of the tests' choice, and what watches it."""

    def __init__(self, engine: sa.Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.journal = folder / "journal"
        self._writer = JournalWriter(self.journal / "gateway")
        self._ingester = Ingester(engine, self.journal)
        self._number = 0

    def put(self, count: int, at: int, **changes: object) -> None:
        """Take in ``count`` calls that began at ``at`` (Unix seconds)."""
        made: list[Closed] = []
        for _ in range(count):
            self._number += 1
            made.append(samples.call(f"req_{self._number}", at_us=at * 1_000_000, **changes))
        samples.put(self._writer, made)
        self._ingester.drain()

    def watch(self, *rules: AlertRule) -> Watch:
        watch = Watch(self.engine, self.folder, self.journal)
        watch.adopt(snapshot(*rules))
        return watch

    def titles(self) -> list[str]:
        return sorted(alert.title for alert in alerts.open_alerts(self.engine))


@pytest.fixture
def bench(engine: sa.Engine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


def test_each_rule_finds_what_it_is_about_and_nothing_else(bench: Bench) -> None:
    put, ago = bench.put, NOW - 120
    attempt = Attempt(provider="lab", model="m", status=503, error="upstream_overloaded", end_us=9)
    failing = {"provider": "lab", "model": "smart", "target": "m", "status": 502, "usage": None,
               "cost": None, "attempts": (attempt,)}  # fmt: skip
    red = keys.NewKey(name="red", digest=bytes(32), hint="…", facts=KeyFacts("", "red"))
    key = keys.create(bench.engine, red, now=NOW - 100 * DAY)
    put(15, ago, **failing, error="upstream_overloaded", key=key.id)
    put(15, ago, provider="lab", model="smart", attempts=(replace(attempt, error=""),))
    put(40, ago, status=400, error="invalid_request")  # the callers' own mistakes
    put(30, ago, duration_us=20_000_000, first_token_us=100)
    put(30, ago, provider="mute", usage=None, cost=None)
    put(3, ago, provider="new", target="x", cost=None)
    rests = Candidate(target="gone/m", rests_us=5_000_000)
    put(2, ago, plan=(rests,), attempts=(replace(attempt, provider="gone"),))
    for week in range(1, 9):
        put(1, NOW - week * 7 * DAY - 3600, cost=(2 + week % 3) * 10**12, attempts=())
    put(1, ago, cost=40 * 10**12, attempts=())
    put(1, NOW + 7200 - DAY * 14, cost=900 * 10**12, attempts=())  # later on such a day
    unused = keys.NewKey(name="unused", digest=b"u" * 32, hint="…")
    keys.create(bench.engine, unused, now=NOW - 100 * DAY)
    soon = keys.NewKey(name="soon", digest=b"s" * 32, hint="…", expires_at=NOW + 3 * DAY)
    keys.create(bench.engine, soon, now=NOW - DAY)
    (bench.journal / "gateway" / "1.damaged").write_bytes(b"?")
    by_team = replace(USUAL["error_rate"], name="teams", by="team", percent=50.0, calls=10)
    slow = alerts_of(
        {"rules": [(0, {"on": "latency", "over": 8})]}, Path(), {("alerts", "rules", 0, "over")},
        lambda *_: None,
    ).rules[0]  # fmt: skip
    free = replace(USUAL["disk_low"], free=10**18)
    watch = bench.watch(*(USUAL | {"disk_low": free}).values(), by_team, slow)
    watch.look(NOW)
    found = {(alert.about, alert.rule): alert for alert in alerts.open_alerts(bench.engine)}
    host = socket.gethostname()
    assert bench.titles() == sorted((
        "50 % of the calls of the provider lab fail",
        "100 % of the calls of the team red fail",
        "The provider gone is down",
        "The model fast is slow: 20.5 s",
        "100 % of the calls of the provider mute have no usage",
        "new/x has no price",
        "The key unused was not used for 100 days",
        f"The key soon ends on {time.strftime('%Y-%m-%d', time.gmtime(NOW + 3 * DAY))}",
        "Unusual spending: $40.00 today, $3.00 usually",
        f"The journal on {host} was damaged",
        *(alert.title for alert in found.values() if alert.about == "disk_low"),
    ))  # fmt: skip
    assert len(found) == 11
    odd = found["spend_anomaly", "spend_anomaly"]
    assert "last 8 Wednesdays had $3.00, $4.00, $2.00, " in odd.detail, odd.detail
    assert found["disk_low", "disk_low"].host == host
    calm = bench.watch(*USUAL.values())
    calm.look(NOW)  # rules that are gone close their alerts, quietly
    assert {alert.rule for alert in alerts.open_alerts(bench.engine)} == {
        rule for _, rule in found if rule not in ("teams", "latency")
    }


def told(engine: sa.Engine) -> list[str]:
    """Types of what is in the outbox, by when it was noted."""
    due = notices.due(engine, 2**40, 1000)
    return [json.loads(notice.body)["type"].removeprefix("alert.") for notice in due]


def test_an_alert_is_told_once_repeats_and_closes_whoever_looks(bench: Bench) -> None:
    rule = replace(USUAL["key_idle"], to=("ops",), repeat=3600)
    made = keys.create(
        bench.engine, keys.NewKey(name="idle", digest=bytes(32), hint="…"), now=NOW - 100 * DAY
    )
    watch = bench.watch(rule)
    others = [bench.watch(rule) for _ in range(4)]

    def all_at(now: int) -> None:
        threads = [threading.Thread(target=each.look, args=(now,)) for each in (watch, *others)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at(NOW)
    assert told(bench.engine) == ["opened"], "several control planes, one alert"
    all_at(NOW + 3599)
    assert told(bench.engine) == ["opened"]
    all_at(NOW + 3600)
    assert told(bench.engine) == ["opened", "repeated"]
    bench.watch(rule).look(NOW + 3700)  # as after a restart
    [alert] = alerts.open_alerts(bench.engine)
    assert alerts.acknowledge(bench.engine, alert.id, "ada", NOW + 3800)
    watch.look(NOW + 9000)
    assert told(bench.engine) == ["opened", "repeated"], "it was acknowledged"
    keys.revoke(bench.engine, made.id, now=NOW + 9001)
    watch.look(NOW + 9000 + CALM - 1)
    assert len(alerts.open_alerts(bench.engine)) == 1
    all_at(NOW + 9000 + CALM)
    assert alerts.open_alerts(bench.engine) == []
    assert told(bench.engine) == ["opened", "repeated", "resolved"]
    assert not alerts.acknowledge(bench.engine, alert.id, "ada", NOW)
    [row] = alerts.history(bench.engine, 10)
    assert row.resolved_at == NOW + 9000 + CALM


def test_a_leaked_key_is_told_until_it_is_revoked(bench: Bench) -> None:
    watch = bench.watch(replace(USUAL["key_leaked"], to=("ops",)))
    made = keys.create(bench.engine, keys.NewKey(name="shop", digest=bytes(32), hint="…"))
    assert not watch.leaked("key_none", "a paste")
    assert watch.leaked(made.id, "https://paste.example/1") and watch.leaked(made.id, "again")
    now = int(time.time())
    watch.look(now + 2 * CALM)
    [alert] = alerts.open_alerts(bench.engine)
    assert (alert.title, alert.facts["where"]) == ("The key shop has leaked", "again")
    keys.revoke(bench.engine, made.id)
    watch.look(now + 4 * CALM)
    assert told(bench.engine) == ["opened", "resolved"]


def test_silences_hold_until_they_end(bench: Bench) -> None:
    rule = replace(USUAL["key_idle"], to=("ops",))
    keys.create(bench.engine, keys.NewKey(name="a", digest=bytes(32), hint="…"), now=NOW - 99 * DAY)
    quiet = alerts.silence(bench.engine, "key_idle", "", NOW + 600, "holidays", NOW)
    watch = bench.watch(rule)
    watch.look(NOW)
    watch.look(NOW + 599)
    assert bench.titles() and told(bench.engine) == [], "it is open, and nobody is told"
    assert alerts.silences(bench.engine, NOW + 599) == [quiet]
    watch.look(NOW + 600)
    assert told(bench.engine) == ["opened"]
    assert not alerts.unsilence(bench.engine, "silence_none")


def test_a_threshold_in_a_silence_is_told_after_it_and_ends_with_its_period(bench: Bench) -> None:
    watch = bench.watch(replace(USUAL["budget"], to=("ops",)))
    alerts.silence(bench.engine, "budget", "", NOW + 600, "", NOW)
    reached = Finding(rule="budget", subject="all", id="a", ends_at=NOW + 900, title="", detail="")
    for _ in range(2):
        watch.raised([reached], NOW)
    watch.look(NOW + 60)
    assert told(bench.engine) == []
    watch.look(NOW + 660)
    watch.look(NOW + 720)
    assert told(bench.engine) == ["opened"]
    watch.look(NOW + 900)
    watch.raised([reached], NOW + 901)  # as a restart would
    assert told(bench.engine) == ["opened"] and not alerts.open_alerts(bench.engine)


def findings(count: int) -> list[Finding]:
    return [
        Finding(rule="key_idle", subject=f"k{n}", title=f"key {n}", detail="") for n in range(count)
    ]


def test_open_alerts_are_bounded_and_clocks_may_jump() -> None:
    rules = {"key_idle": USUAL["key_idle"]}
    looked = frozenset(rules)

    def step(known: list[alerts.Alert], found: list[Finding], now: int) -> list[alerts.Change]:
        return reconciled(known, found, rules, looked, [], "here", now)

    many = step([], findings(1000), NOW)
    assert len(many) == MOST_OF_A_RULE + 1
    assert many[-1].alert.subject == MORE and many[-1].alert.title.startswith("950 more")
    known = [change.alert for change in many]
    assert {change.what for change in step(known, findings(1000), NOW + 60)} == {"seen"}
    # Back by a year: nothing is told again, and what is over closes.
    back = step(known, findings(1), NOW - 365 * DAY)
    assert [change.message for change in back if change.what == "told"] == [None]
    assert sum(change.what == "resolved" for change in back) == MOST_OF_A_RULE
    [ahead] = step(known[:1], findings(1), NOW + 365 * DAY)
    assert ahead.message is not None and "alert.repeated" in ahead.message.body


def test_the_disk_of_another_machine_is_its_own_affair() -> None:
    rules = {"disk_low": USUAL["disk_low"]}
    full = Finding(rule="disk_low", subject="there", host="there", title="full", detail="")
    [opened] = reconciled([], [full], rules, frozenset(), [], "there", NOW)

    def later(host: str) -> list[alerts.Change]:
        known, looked = [opened.alert], frozenset(rules)
        return reconciled(known, [], rules, looked, [], host, NOW + CALM)

    assert later("here") == []
    assert [change.what for change in later("there")] == ["resolved"]


@pytest.mark.parametrize(
    ("today", "before", "odd"),
    [
        (30, [10] * 8, True),  # the bound is half as much again, if all days are alike
        (14, [10] * 8, False),
        (30, [10, 10, 10, 10, 10, 10, 10, 500], True),  # one odd day hides no other
        (30, [5, 10, 20, 30, 40, 5, 10, 25], False),  # such days vary
        (900, [0, 0, 0, 0, 0, 10, 10, 10], False),  # too little to go by
        (900, [], False),
    ],
)
def test_what_is_unusual_is_told_by_the_median(today: int, before: list[int], odd: bool) -> None:
    pico = 10**12
    found = unusual(today * pico, [each * pico for each in before], 5.0, pico)
    assert (found is not None) == odd
    assert unusual(today * pico, [each * pico for each in before], 5.0, 10**6 * pico) is None


# -- channels


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()


def courier(engine: sa.Engine, *channels: Channel, authority: Authority | None = None) -> Courier:
    made = Courier(engine, bytes(32))
    ca = () if authority is None else (str(authority.file),)
    found = Snapshot(version="v", alerts=Alerts(channels=channels), ca_files=ca)
    made.adopt(msgspec.msgpack.encode(found))
    return made


def mail(port: int, **more: Any) -> Channel:
    secret = Secret("env", "SMTP_PASSWORD")
    return Channel(
        name="post", kind="email", private=True,
        mail=Mail(to=("a@example.org", "b@example.org"), sender="ferry@example.org",
                  host="localhost", port=port, user="ferry", password=secret, **more),
    )  # fmt: skip


@pytest.fixture
def one(tmp_path: Path) -> Iterator[sa.Engine]:
    """SQLite alone."""
    from ferryman.store import db

    engine = db.open_engine(f"sqlite:///{tmp_path / 'one.db'}")
    db.migrate(engine)
    yield engine
    engine.dispose()


HOSTILE = "<!channel> & \r\nBcc: evil@example.org"


def hostile() -> str:
    body = json.loads(a_test("post", NOW))
    return json.dumps(body | {"title": HOSTILE, "detail": HOSTILE})


@pytest.mark.parametrize("implicit", [False, True])
def test_mail_goes_by_tls_alone_and_cannot_be_led_astray(
    one: sa.Engine, authority: Authority, monkeypatch: pytest.MonkeyPatch, implicit: bool
) -> None:
    post = Post(authority.server("localhost"), implicit=implicit)
    channel = mail(post.port, implicit=implicit)
    sender = courier(one, channel, authority=authority)
    with pytest.raises(ChannelError, match="env:SMTP_PASSWORD is not there"):
        sender.tell(channel, hostile())
    monkeypatch.setenv("SMTP_PASSWORD", "pa55")
    sender.tell(channel, hostile())
    [got] = post.got
    assert got["to"] == "a@example.org, b@example.org" and got["bcc"] is None
    assert got["subject"] == "warning: test: " + HOSTILE.replace("\r\n", "  ")
    assert "evil@example.org" in got.get_payload()
    with pytest.raises(ChannelError, match="not trusted"):
        courier(one, channel).tell(channel, hostile())
    monkeypatch.setenv("SMTP_PASSWORD", "wrong")
    with pytest.raises(ChannelError, match="535"):
        sender.tell(channel, hostile())
    post.controller.stop()


def test_slack_mentions_nobody_and_a_private_address_needs_leave(
    one: sa.Engine, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Channel(name="chat", kind="slack", secret=Secret("env", "CHAT"), private=True)
    monkeypatch.setenv("CHAT", f"{hook.url}/services/T/B/secret")
    sender = courier(one, chat)
    sender.tell(chat, hostile())
    text = json.loads(hook.got[0][2])["text"]
    assert "&lt;!channel&gt; &amp; " in text and "<" not in text
    port = hook.server.server_port
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        monkeypatch.setenv("CHAT", f"http://{host}:{port}/")
        with pytest.raises(ChannelError, match="private address"):
            sender.tell(replace(chat, private=False), hostile())
    assert len(hook.got) == 1
    monkeypatch.setenv("CHAT", "https//secret")
    with pytest.raises(ChannelError) as caught:
        sender.tell(chat, hostile())
    assert "secret" not in str(caught.value), "whoever knows that URL may write there"


@pytest.mark.parametrize("value", ["", " \n"])
def test_nothing_is_signed_with_an_empty_secret(
    one: sa.Engine, hook: Hook, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOOK", value)
    secret = Secret("env", "HOOK")
    channel = Channel(name="hook", kind="webhook", url=hook.url, private=True, secret=secret)
    with pytest.raises(ChannelError, match="env:HOOK is not there"):
        courier(one, channel).tell(channel, a_test("hook", NOW))
    sink = a_sink(SinkConfig(kind="webhook", url=hook.url, secret=secret), Path())
    with pytest.raises(SinkError, match="env:HOOK is not there"):
        sink.write([b"{}"])
    assert not hook.got


def test_a_slow_channel_is_cut_and_delays_no_other(
    one: sa.Engine, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "WHOLE", 1.0)
    monkeypatch.setenv("HOOK", "s3cret")
    deaf = socket.create_server(("127.0.0.1", 0))
    ends = threading.Event()

    def drip() -> None:
        link, _ = deaf.accept()
        with link:
            while not ends.wait(0.2):  # each step is quick, and there is no end of them
                try:
                    link.sendall(b"220-wait\r\n")
                except OSError:
                    return

    threading.Thread(target=drip, daemon=True).start()
    slow = replace(mail(deaf.getsockname()[1]), name="slow")
    dead = Channel(name="dead", kind="webhook", url="http://127.0.0.1:1/", private=True,
                   secret=Secret("env", "HOOK"))  # fmt: skip
    good = replace(dead, name="good", url=hook.url)
    monkeypatch.setenv("SMTP_PASSWORD", "x")
    two = [courier(one, slow, dead, good), courier(one, slow, dead, good)]
    now = int(time.time())
    with one.begin() as connection:
        for channel in ("slow", "dead", "good", "gone"):
            for name in "abc":
                notices.add(connection, name, channel, a_test(channel, NOW), now)
    for each in two:
        each.start()
    until(lambda: len(hook.got) == 3, "the good one is told")

    def tries() -> dict[str, int]:
        query = sa.text("SELECT channel, sum(tries) FROM notices GROUP BY 1")
        with one.connect() as connection:
            return {str(row[0]): int(row[1]) for row in connection.execute(query)}

    until(lambda: tries()["slow"] and tries()["dead"], "the others were tried")
    left = {notice.channel for notice in notices.due(one, 2**40, 10)}
    assert left == {"slow", "dead"}, "who is no more is given up"
    assert len(hook.got) == 3, "each once, though two told it"
    for each in two:
        each.stop()
    ends.set()
    deaf.close()
