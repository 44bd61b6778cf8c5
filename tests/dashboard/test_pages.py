"""What pages say of a ledger that is there already, asked without a browser."""

import csv
import datetime
import html
import io
import re
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from ferryman.config.alerting import USUAL
from ferryman.config.feed import KeyFacts
from ferryman.control.dashboard import stretch
from ferryman.control.dashboard.alerts import CALLS, PAGES, leads
from ferryman.control.dashboard.shape import change
from ferryman.control.problem import ProblemError
from ferryman.ir.usage import Extras, Usage
from ferryman.store import db, feedback, keys
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import Attempt, Labels, Trace, Verdict
from tests.control.conftest import Control
from tests.dashboard.test_doors import ask, proof, signed_in
from tests.processes import Reply, until
from tests.store import samples

DAY = 86_400
CONFIG = """\
providers:
  lab:
    base_url: "http://127.0.0.1:9/v1"
    key: env:LAB_KEY
    prices: { x: { input: 2, output: 8 }, y: { input: 3, output: 1 }, z: { input: 1, output: 1 } }
models: { careful: { targets: [lab/x], guard: [pii-out] } }
guards:
  pii-out: { kind: pii, at: [reply], always: false }
  everywhere: { kind: secrets }
  lonely: { kind: length, most: 5, action: block, always: false }
"""
NOW = int(time.time())
LAB = {"req_quick", "req_slow", "req_broken", "req_us"}
"""Calls of lab's models."""


def _tried(name: str, begin: int, end: int, **more: object) -> Attempt:
    said = {"provider": name, "model": "m", "start_us": begin, "end_us": end} | more
    return Attempt(**said)  # type: ignore[arg-type]


def _of_lab(name: str, target: str, took_us: int, **more: object) -> object:
    """A call that a model of lab answered, as far as ``more`` does not say otherwise."""
    tried = _tried("lab", 0, took_us, model=target, status=200, first_byte_us=1000,
                   first_token_us=took_us // 2, last_token_us=took_us)  # fmt: skip
    said = {
        "at_us": NOW * 1_000_000, "provider": "lab", "target": target, "attempts": (tried,),
        "duration_us": took_us, "first_token_us": took_us // 2, "cost": 10**9,
        "usage": Usage(input=100, output=50), "cache": "miss",
    } | more  # fmt: skip
    return samples.call(name, **said)


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
        _of_lab("req_quick", "x", 400_000, labels=Labels(run="night")),
        _of_lab("req_slow", "y", 4_000_000, cache=""),
        _of_lab(
            "req_broken", "y", 4_000_000, status=502, error="upstream_overloaded",
            attempts=(_tried("lab", 0, 9, model="y", status=503, error="upstream_overloaded"),),
        ),
        _of_lab("req_us", "x", 400_000, usage=Usage(input=1, extras=Extras(region="us"))),
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
                _tried("calm", 1_300_100, 1_390_000, status=200, first_byte_us=1_380_000,
                       dropped=("logit_bias",), altered=("temperature=1",)),
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
    engine = db.open_engine(f"sqlite:///{data / 'ferryman.db'}")
    key, at_us = samples.call("x").key, NOW * 1_000_000
    said = [("req_shop", False, -1000), ("night", True, 500), ("req_mall", False, None)]
    with db.writing(engine) as connection:
        rows = [(of, run, key, "", at_us, score, "[]", "") for of, run, score in said]
        rows.append(("req_named", False, "key_other", "", at_us, -1000, "[]", ""))
        feedback.add(connection, rows)
    engine.dispose()
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
        ({"by": "error", "is": "upstream_overloaded"}, {"req_bad", "req_broken"}),
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
        ({"cache": "miss"}, {"req_quick", "req_broken", "req_us"}),
        ({"by": "region", "is": "us"}, {"req_us"}),
        ({"max_score": "-0.5"}, {"req_shop"}),
        ({"min_score": "0", "max_score": "1"}, {"req_quick"}),
        ({"min_score": "-1"}, {"req_shop", "req_quick"}),
    ],
)
def test_calls_are_filtered_by_all_that_they_say(
    desk: Desk, asked: dict[str, str], found: set[str]
) -> None:
    assert desk.calls("/calls?" + urlencode({"since": "all"} | asked)) == found


def test_what_is_filtered_leaves_as_csv(desk: Desk) -> None:
    reply = desk.get("/calls/export.csv?since=all&metadata.app=shop")
    assert reply.headers["content-disposition"] == 'attachment; filename="calls.csv"'
    [row] = csv.DictReader(io.StringIO(reply.body.decode()))
    assert (row["request_id"], row["metadata"]) == ("req_shop", '{"app":"shop"}')
    assert (row["key"][:1], row["tokens_input"], row["cost_usd"]) == ("k", "100", "0.000001234567")
    text = desk.get("/calls/export.csv?since=all&max_score=-0.5&status=failed").body.decode()
    assert len(text.splitlines()) == 1
    assert desk.get("/calls/export.csv?modle=fast").status == 400
    assert desk.get("/calls/export.csv?status=x").status == 400


@pytest.mark.parametrize(
    "asked", ["modle=fast", "min_usd=abc", "min_seconds=-1", "min_usd=nan", "by=colour&is=red",
              "metadata.a+b=c", "since=yesterday", "min_score=2", "max_score=x"]
)  # fmt: skip
def test_a_filter_that_calls_do_not_have_is_refused(desk: Desk, asked: str) -> None:
    reply = desk.get(f"/calls?{asked}")
    assert reply.status == 400 and b'role="alert"' in reply.body


# -- one call --------------------------------------------------------------------------------------


def test_what_leaves_as_csv_is_in_the_audit_log(desk: Desk) -> None:
    """Who took what, and by which filters; what was refused took nothing."""
    control = desk.control
    before = control.admin("GET", "/api/v1/audit/head").json()["seq"]
    for path in (
        "/costs/table.csv?by=team&since=7d",
        "/costs/focus.csv",
        "/calls/export.csv?team=b",
    ):
        assert desk.get(path).status == 200, path
    assert desk.get("/calls/export.csv?colour=red").status == 400
    view = {"proof": proof(control, desk.cookie), "name": "mine", "query": "team=b"}
    for form in (view, view | {"query": "colour=red"}, view | {"do": "forget"}):
        ask(control, "POST", "/calls/views", form, cookie=desk.cookie, origin=control.url)
    rows = control.admin("GET", "/api/v1/audit?limit=20").json()["data"]
    found = [(row["action"], row["target"], row["after"])
             for row in reversed(rows) if row["seq"] > before]  # fmt: skip
    assert found == [
        ("usage.export", "/costs/table.csv", {"by": "team", "since": "7d"}),
        ("usage.export", "/costs/focus.csv", None),
        ("calls.export", "/calls/export.csv", {"team": "b"}),
        ("view.save", "/views/mine", None),
        ("view.forget", "/views/mine", None),
    ]
    assert {row["actor"].partition(" ")[0] for row in rows if row["seq"] > before} == {"session"}


def test_a_call_says_what_guards_found_and_all_that_it_is_searched_by(desk: Desk) -> None:
    text = desk.text("/calls/req_rich")
    rows = re.findall(r'<th scope="row">(pii-out|jailbreak)</th>(.*?)</tr>', text)
    cells = {name: re.findall(r"<td[^>]*>(?:<span[^>]*>)?(.*?)<", row) for name, row in rows}
    assert cells == {
        "pii-out": ["reply", "redacted", "3", "–", "–", "1.5 ms"],
        "jailbreak": ["request", "blocked", "1", "0.97", "instructions", "9 ms"],
    }
    assert "a" * 32 in text and "acme" in text
    assert "Left out: logit_bias. Changed: temperature=1." in text
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
    whose = {"req_named", "req_bad", "req_today", "req_eve", "req_rich", *LAB}
    assert desk.calls(to["none"]) == whose
    both = links(desk.text("/costs?since=7d&by=metadata.app&metadata.day=-"))
    assert desk.calls(both["none"]) == {"req_named", "req_bad", "req_rich", *LAB}


def test_a_day_of_costs_is_the_same_day_of_calls(desk: Desk) -> None:
    to = links(desk.text("/costs?since=1d&by=model"))
    found = desk.calls(to["fast"])
    assert "req_today" in found and "req_eve" not in found, "the day in UTC, not 24 hours"


def test_costs_of_a_zone_are_of_its_days_and_lead_to_its_calls(desk: Desk) -> None:
    """The eve of a UTC day is that day in Kiritimati (UTC+14), where it began ten hours before."""
    day = stretch.iso(NOW // DAY)
    path = f"/costs?by=model&metadata.day=eve&from={day}&to={day}"
    assert links(desk.text(path)) == {}
    to = links(desk.text(f"{path}&zone=Pacific/Kiritimati"))
    assert desk.calls(to["fast"]) == {"req_eve"}
    table = desk.get(f"{path}&zone=Pacific/Kiritimati".replace("/costs", "/costs/table.csv"))
    assert table.body.decode().splitlines()[1].startswith(f"{day},fast,1,0,")
    for wrong in ("zone=Mars/Base", "from=2026-11-31", "from=2026-12-02&to=2026-12-01", "since=9d"):
        assert desk.get(f"/costs?{wrong}").status == 400, wrong


def test_a_row_of_costs_says_what_became_of_it(desk: Desk) -> None:
    def trends(path: str) -> dict[str, str]:
        rows = re.findall(r'<a class="row"[^>]*>([^<]*)</a>.*?<td class="num why">([^<]*)<',
                          desk.text(path), re.DOTALL)  # fmt: skip
        return dict(rows)

    eve = stretch.iso(NOW // DAY - 1)
    assert trends("/costs?by=model&since=1d")["fast"].startswith("×")
    assert trends(f"/costs?by=model&from={eve}&to={eve}")["fast"] == "new"
    assert trends("/costs?by=metadata.day&since=1d")["now"] == "new"


@pytest.mark.parametrize(
    ("asked", "days", "before"),
    [
        ({}, ("2026-10-17", "2026-11-16"), ("2026-09-17", "2026-10-17")),
        ({"since": "1d"}, ("2026-11-15", "2026-11-16"), ("2026-11-14", "2026-11-15")),
        ({"since": "month"}, ("2026-11-01", "2026-11-16"), ("2026-10-01", "2026-10-16")),
        ({"since": "last"}, ("2026-10-01", "2026-11-01"), ("2026-09-01", "2026-10-01")),
        ({"from": "2026-03-01", "to": "2026-03-31"}, ("2026-03-01", "2026-04-01"),
         ("2026-01-29", "2026-03-01")),
        ({"from": "2026-11-14"}, ("2026-11-14", "2026-11-16"), ("2026-11-12", "2026-11-14")),
        ({"since": "1d", "zone": "Asia/Tokyo"}, ("2026-11-16", "2026-11-17"),
         ("2026-11-15", "2026-11-16")),
        ({"since": "7d", "from": "2026-01-01"}, ("2026-11-09", "2026-11-16"),
         ("2026-11-02", "2026-11-09")),
    ],
)  # fmt: skip
def test_days_of_costs(
    asked: dict[str, str], days: tuple[str, str], before: tuple[str, str]
) -> None:
    now = datetime.datetime(2026, 11, 15, 20, tzinfo=datetime.UTC).timestamp()
    found = stretch.asked(asked, now)
    assert (stretch.iso(found.first), stretch.iso(found.last)) == days
    assert tuple(map(stretch.iso, found.before)) == before
    assert stretch.asked(found.said, now) == found


def test_a_month_is_compared_with_as_much_of_the_one_before() -> None:
    now = datetime.datetime(2026, 3, 31, tzinfo=datetime.UTC).timestamp()
    found = stretch.asked({"since": "month"}, now)
    assert found.earlier == "2026-02-01 to 2026-02-28"
    tokyo = stretch.asked({"since": "1d", "zone": "Asia/Tokyo"}, now)
    assert tokyo.at(tokyo.first) == "2026-03-30T15:00:00Z" and tokyo.earlier == "the day before"
    with pytest.raises(ProblemError, match="in order"):
        stretch.asked({"from": "2026-04-02"}, now)


def test_changes_are_said_in_few_signs() -> None:
    said = [change(*pair) for pair in ((112, 100), (97, 100), (2000, 100), (5, 0), (0, 0), (0, 9),
                                       (100, 100), (100_001, 100_000))]  # fmt: skip
    assert said == ["+12%", "–3.0%", "×20", "new", "–", "–100%", "0%", "0%"]


def test_an_alert_leads_to_what_it_is_about() -> None:
    down = ("Its calls", "/calls?since=24h&provider=a+b&status=failed")
    assert leads("provider_down", "a b") == down
    assert leads("key_idle", "key_1")[1] == "/calls?since=all&key=key_1"
    assert leads("error_rate", "") == leads("disk_low", "host") == ("", "")
    assert leads("budget", "x") == ("Limits", "/limits")
    assert {*CALLS, *PAGES} <= set(USUAL), "rules that there are"


# -- models ----------------------------------------------------------------------------------------


def _models(desk: Desk, path: str) -> list[str]:
    return re.findall(r'<th scope="row" class="break">(lab/\w)', desk.text(path))


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", "xyz"), ("-name", "zyx"), ("input", "zxy"), ("-output", "xyz"), ("first", "xyz"),
        ("-whole", "yxz"), ("-pace", "xyz"), ("-failed", "yxz"), ("failed", "xyz"),
        ("window", "xyz"), ("-abilities", "xyz"),
    ],
)  # fmt: skip
def test_models_are_sorted_by_any_column_and_what_is_not_known_comes_last(
    desk: Desk, sort: str, order: str
) -> None:
    assert _models(desk, f"/models?sort={sort}") == [f"lab/{name}" for name in order]


def test_a_models_row_says_how_it_did_and_a_columns_head_turns_round(desk: Desk) -> None:
    text = desk.text("/models?sort=-whole&provider=lab")
    [row] = re.findall(r'aria-label="Compare lab/y".*?</tr>', text, re.DOTALL)
    cells = re.findall(r'<td class="num opt"[^>]*>([^<]*)<', row)
    assert cells[2:] == ["2.00 s", "4.00 s", "25", "50%"]
    assert "shaky" in row or "failing" in row
    heads = dict(re.findall(r'<th scope="col" class="c-(\w+).*?<a href="([^"]*)"', text))
    assert heads["whole"] == "/models?provider=lab&sort=whole" and "sort=-pace" in heads["pace"]
    assert re.search(r'c-whole[^>]*aria-sort="descending"', text)
    assert desk.get("/models?sort=colour").status == 400


def test_models_stand_beside_each_other(desk: Desk) -> None:
    text = desk.text("/models/compare?model=lab/x&model=lab/y&model=lab/z&in=1000000&out=100000")
    rows = {
        title: re.findall(r"<td( class=\"best\")?>([^<]*)", cells)
        for title, cells in re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', text)
    }
    best = {title: [text for mark, text in cells if mark] for title, cells in rows.items()}
    assert [text for _, text in rows["This task"]] == ["$2.80", "$3.10", "$1.10"]
    assert best["This task"] == ["$1.10"]
    assert best["First token, p50"] == [rows["First token, p50"][0][1]] != ["–"]
    assert [text for _, text in rows["In the last hour"]][2] == "not asked"
    assert [text for _, text in rows["Calls"]] == ["2", "2", "–"]
    assert [text for _, text in rows["Calls that failed"]] == ["0%", "50%", "–"]
    assert [text for _, text in rows["Tokens a second"]] == ["250", "25", "–"]
    assert best["Feedback, on average"] == [] and rows["Feedback, on average"][1][1] == "–"
    usual = desk.text("/models/compare?model=lab/y")
    assert 'name="in" inputmode="numeric" pattern="[0-9]*" maxlength="9" value="100"' in usual
    many = "&".join(f"model={n}" for n in range(5))
    assert desk.get(f"/models/compare?{many}").status == 400
    assert desk.get("/models/compare?model=lab/none").status == 404
    assert desk.get("/models/compare?model=lab/x&in=-1").status == 400
    assert "Choose up to four" in desk.text("/models/compare")


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
