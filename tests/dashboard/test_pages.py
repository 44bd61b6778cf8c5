"""What pages say of a ledger that is there already, asked without a browser."""

import html
import re
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from ferryman.config.feed import KeyFacts
from ferryman.store import db, keys
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import Attempt, Labels, Trace, Verdict
from tests.control.conftest import Control
from tests.dashboard.test_doors import ask, signed_in
from tests.processes import Reply, until
from tests.store import samples

DAY = 86_400
CONFIG = """\
providers: { lab: { base_url: "http://127.0.0.1:9/v1", key: env:LAB_KEY } }
models: { careful: { targets: [lab/x], guard: [pii-out] } }
guards:
  pii-out: { kind: pii, at: [reply], always: false }
  everywhere: { kind: secrets }
  lonely: { kind: length, most: 5, action: block, always: false }
"""
NOW = int(time.time())


def _tried(name: str, begin: int, end: int, **more: object) -> Attempt:
    return Attempt(provider=name, model="m", start_us=begin, end_us=end, **more)  # type: ignore[arg-type]


class Desk:
    """Somebody who is signed in at a control plane."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.cookie = signed_in(control)

    def get(self, path: str) -> Reply:
        return ask(self.control, "GET", path, cookie=self.cookie)

    def text(self, path: str) -> str:
        reply = self.get(path)
        assert reply.status == 200, (path, reply.body)
        return html.unescape(reply.body.decode())

    def calls(self, path: str) -> set[str]:
        """The ids that a page of calls lists."""
        return set(re.findall(r'class="row" href="/calls/(req_\w+)"', self.text(path)))


def _calls() -> list[object]:
    at_us = NOW * 1_000_000
    shop, mall = Labels(metadata={"app": "shop"}), Labels(metadata={"app": "mall"})
    morning = NOW // DAY * DAY * 1_000_000
    return [
        samples.call("req_shop", at_us=at_us, labels=shop),
        samples.call("req_named", at_us=at_us, labels=Labels(team="shop")),
        samples.call("req_mall", at_us=at_us, labels=mall, duration_us=9_000_000, cost=5 * 10**12),
        samples.call("req_today", at_us=morning, labels=Labels(metadata={"day": "now"})),
        samples.call("req_eve", at_us=morning - 1, labels=Labels(metadata={"day": "eve"})),
        samples.call("req_bad", at_us=at_us, status=503, usage=None, cost=None,
                     error="upstream_overloaded", labels=Labels(team="b", end_user="c d")),
        samples.call(
            "req_rich", at_us=at_us, trace=Trace("a" * 32, "b" * 16, 1), duration_us=1_400_000,
            labels=Labels(tags=("x y",), metadata={"a.b": "1 & 2"}, organisation="acme"),
            verdicts=(
                Verdict("pii-out", "reply", "redacted", 1500, 3),
                Verdict("jailbreak", "request", "blocked", 9000, 1, 0.97, ("instructions",)),
            ),
            attempts=(
                _tried("busy", 1000, 50_000, status=429, error="upstream_rate_limited",
                       retry_after_ms=1200),
                _tried("busy", 1_250_000, 1_300_000, status=503, error="upstream_overloaded"),
                _tried("calm", 1_300_100, 1_390_000, status=200, first_byte_us=1_380_000),
            ),
        ),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    data = tmp_path_factory.mktemp("pages") / "data"
    writer = JournalWriter(data / "journal" / "plane")
    samples.put(writer, _calls())  # type: ignore[arg-type]
    writer.close()
    config = data.parent / "ferryman.yaml"
    config.write_text(CONFIG)
    control = Control(data, FERRYMAN_CONFIG=str(config), LAB_KEY="x").ready()
    made = Desk(control)
    until(lambda: "req_bad" in made.text("/calls?since=all"), "the journal is in the ledger")
    yield made
    control.process.end()


# -- calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"metadata.app": "shop"}, {"req_shop"}),
        ({"metadata.app": "shop", "metadata.day": "now"}, set()),
        ({"metadata.app": "-", "team": "shop"}, {"req_named"}),
        ({"by": "metadata.app", "is": "mall"}, {"req_mall"}),
        ({"by": "error", "is": "upstream_overloaded"}, {"req_bad"}),
        ({"error": "upstream_overloaded", "target": "gpt-4o-mini"}, {"req_bad"}),
        ({"end_user": "c d"}, {"req_bad"}),
        ({"client": "curl"}, set()),
        ({"min_seconds": "8.5"}, {"req_mall"}),
        ({"min_usd": "4.99"}, {"req_mall"}),
        ({"min_usd": "5.01"}, set()),
        ({"guard": "jailbreak"}, {"req_rich"}),
        ({"guard": "pii-out/reply/redacted"}, {"req_rich"}),
        ({"guard": "pii-out/reply/blocked"}, set()),
        ({"guard": "pii_out"}, set()),
    ],
)
def test_calls_are_filtered_by_all_that_they_say(
    desk: Desk, asked: dict[str, str], found: set[str]
) -> None:
    assert desk.calls("/calls?" + urlencode({"since": "all"} | asked)) == found


@pytest.mark.parametrize(
    "asked", ["modle=fast", "min_usd=abc", "min_seconds=-1", "min_usd=nan", "by=colour&is=red",
              "metadata.a+b=c", "since=yesterday"]
)  # fmt: skip
def test_a_filter_that_calls_do_not_have_is_refused(desk: Desk, asked: str) -> None:
    reply = desk.get(f"/calls?{asked}")
    assert reply.status == 400 and b'role="alert"' in reply.body


# -- one call --------------------------------------------------------------------------------------


def test_a_call_says_what_guards_found_and_all_that_it_is_searched_by(desk: Desk) -> None:
    text = desk.text("/calls/req_rich")
    rows = re.findall(r'<th scope="row">(pii-out|jailbreak)</th>(.*?)</tr>', text)
    cells = {name: re.findall(r"<td[^>]*>(?:<span[^>]*>)?(.*?)<", row) for name, row in rows}
    assert cells == {
        "pii-out": ["reply", "redacted", "3", "–", "–", "1.5 ms"],
        "jailbreak": ["request", "blocked", "1", "0.97", "instructions", "9 ms"],
    }
    assert "a" * 32 in text and "acme" in text
    for to in ("/calls?since=all&tag=x%20y", "/calls?since=all&metadata.a.b=1+%26+2"):
        assert f'href="{to}"' in text
        assert desk.calls(to) == {"req_rich"}


def test_the_pause_between_two_tries_has_a_name(desk: Desk) -> None:
    text = desk.text("/calls/req_rich")
    notes = re.findall(r'<p class="note">((?:after a pause|began at).*?)</p>', text)
    assert [note.partition(":")[0] for note in notes] == [
        "began at 1 ms · took 49 ms",
        "after a pause of 1.20 s, as busy wished · began at 1.25 s · took 50 ms",
        "began at 1.30 s · took 89.9 ms",
    ]
    assert len(re.findall(r'<rect class="pause"', text)) == 1
    assert "pausing before the next try" in text


# -- costs -----------------------------------------------------------------------------------------


def links(text: str) -> dict[str, str]:
    """Row of Costs → where its calls are."""
    found = re.findall(r'<a href="(/calls\?[^"]*)">Calls<span class="sr"> of (.*?)</span>', text)
    return {name: to for to, name in found}


def test_calls_behind_a_row_of_costs_are_those_that_were_summed(desk: Desk) -> None:
    to = links(desk.text("/costs?since=7d&metadata=app"))
    assert set(to) == {"shop", "mall", "none"}
    assert desk.calls(to["shop"]) == {"req_shop"}, "not what else has this text in it"
    assert desk.calls(to["none"]) == {"req_named", "req_bad", "req_today", "req_eve", "req_rich"}
    both = links(desk.text("/costs?since=7d&by=metadata.app&metadata.day=-"))
    assert desk.calls(both["none"]) == {"req_named", "req_bad", "req_rich"}


def test_a_day_of_costs_is_the_same_day_of_calls(desk: Desk) -> None:
    to = links(desk.text("/costs?since=1d&by=model"))
    found = desk.calls(to["fast"])
    assert "req_today" in found and "req_eve" not in found, "the day in UTC, not 24 hours"


# -- keys ------------------------------------------------------------------------------------------


def test_many_keys_come_page_by_page_and_are_found(desk: Desk) -> None:
    engine = db.open_engine(f"sqlite:///{desk.control.data / 'ferryman.db'}")
    new = [
        keys.NewKey(
            name=f"many-{n}",
            digest=n.to_bytes(32, "big"),
            hint=f"fm-…{n:04}",
            facts=KeyFacts(team=f"team {n}"),
        )
        for n in range(1, 121)
    ]
    made = keys.create_many(engine, new)
    keys.revoke(engine, made[7].id)
    engine.dispose()
    seen: list[str] = []
    path = "/keys?q=many"
    while path:
        text = desk.text(path)
        assert "119 keys" in text and "1 key that ended" in text
        found = re.findall(r'class="row" href="[^"]*">(many-\d+)<', text)
        assert len(found) <= 50 and "many-8" not in found
        seen += found
        path = next(iter(re.findall(r'rel="next" href="([^"]*)"', text)), "")
    assert len(seen) == len(set(seen)) == 119
    for asked, name in (("team 77", "many-77"), (made[4].id, "many-5"), ("fm-…0009", "many-9")):
        rows = re.findall(r'class="row"[^>]*>(.*?)<', desk.text("/keys?" + urlencode({"q": asked})))
        assert rows == [name]
    assert re.findall(r'class="row"[^>]*>(.*?)<', desk.text("/keys?state=ended")) == ["many-8"]
    assert "No key that works fits" in desk.text("/keys?q=%25_")


# -- guardrails ------------------------------------------------------------------------------------


def test_guards_say_where_they_hold_and_what_they_said(desk: Desk) -> None:
    text = desk.text("/guardrails")
    parts = dict(re.findall(r"<h2[^>]*>([^<]+)</h2>(.*?)</section>", text, re.DOTALL))
    assert parts.keys() > {"pii-out", "everywhere", "lonely", "No longer configured"}
    assert "model careful" in parts["pii-out"] and "all calls" in parts["everywhere"]
    assert "no policy and no model names it" in parts["lonely"]
    assert "has looked at no call" in parts["everywhere"]
    row = re.findall(r"<tbody><tr>(.*?)</tr>", parts["pii-out"])[0]
    assert re.findall(r'<td class="num(?: opt)?">([^<]+)<', row) == ["1", "3", "1.5 ms"]
    for part, guard in (("pii-out", "pii-out"), ("No longer configured", "jailbreak")):
        to = re.findall(r'href="(/calls[^"]*)"', parts[part])[0]
        assert guard in to and desk.calls(to) == {"req_rich"}
