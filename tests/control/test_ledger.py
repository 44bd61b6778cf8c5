"""Usage and calls through the admin API, from journals that real writers wrote."""

import calendar
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ferryman.control.rows import dollars
from ferryman.store.journal import JournalWriter, segments
from ferryman.telemetry.record import OPENED
from tests.control.conftest import Control, Start
from tests.processes import request, until
from tests.store.samples import call, calls, opened, put

SINCE = "since=2026-11-01"


def _journal(data: Path) -> JournalWriter:
    return JournalWriter(data / "journal" / "gateway")


def _ids(control: Control) -> list[str]:
    """Ids of all calls in the ledger, page by page."""
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = control.admin("GET", f"/api/v1/calls?limit=1000&cursor={cursor}").json()
        found += [row["request_id"] for row in page["data"]]
        cursor = page["next"]
    return found


def test_what_was_journaled_before_a_question_is_in_its_answer(control: Control) -> None:
    journal = _journal(control.data)
    for number in range(20):
        put(journal, [call(f"req_{number}")])
        assert len(_ids(control)) == number + 1
    journal.close()


def test_a_call_is_shown_with_names_times_and_exact_amounts(control: Control) -> None:
    [key] = control.admin("GET", "/api/v1/keys").json()["data"]
    journal = _journal(control.data)
    put(journal, [call("req_1", key=key["id"])])
    journal.close()
    [row] = control.admin("GET", "/api/v1/calls").json()["data"]
    tries = row.pop("tries")
    assert row == {
        "request_id": "req_1",
        "time": "2026-11-18T11:06:40Z",
        "key": "first",
        "key_id": key["id"],
        "endpoint": "chat.completions",
        "model": "fast",
        "provider": "openai",
        "target": "gpt-4o-mini",
        "tokens": {
            "input": 100,
            "cache_read": 20,
            "cache_write": 0,
            "cache_write_1h": 0,
            "audio_input": 0,
            "output": 50,
            "reasoning": 5,
            "audio_output": 0,
        },
        "cost_usd": "0.000001234567",
        "unknown_cost": 0,
        "attempts": 1,
        "status": 200,
        "error": None,
        "stream": False,
        "duration_ms": 1500.0,
        "ttft_ms": 400.0,
        "overhead_ms": 0.055,
        "plane": "gateway",
        "state": "closed",
        "policy": None,
        "considered": [],
        "cache": None,
        "saved_usd": None,
        "service": None,
        "region": None,
        "searches": 0,
        "audio_seconds": 0,
        "price": None,
        **dict.fromkeys(
            (
                "organisation",
                "team",
                "user",
                "end_user",
                "run",
                "task",
                "estimate",
                "content",
                "parent",
                "client",
                "strategy",
                "upstream_id",
                "trace",
                "tokens_per_second",
            )
        ),
        "verdicts": [],
        "tags": [],
        "metadata": {},
    }
    assert tries[0]["model"] == "gpt-4o-mini"


def test_sums_by_every_dimension_agree_with_the_calls(control: Control) -> None:
    sample = calls(300)
    journal = _journal(control.data)
    put(journal, sample)
    journal.close()
    costs = [Decimal(each.cost).scaleb(-12) for each in sample if each.cost is not None]
    for by in ("", "key", "model", "provider", "day", "endpoint", "key,model,provider,day"):
        answer = control.admin("GET", f"/api/v1/usage?by={by}&{SINCE}").json()
        total = answer["total"]
        assert total["calls"] == 300
        assert Decimal(total["cost_usd"]) == sum(costs)
        assert total["unknown_cost"] == 300 - len(costs)
        assert total["tokens"]["input"] == sum(c.usage.input for c in sample if c.usage)
        if by:
            assert sum(row["calls"] for row in answer["data"]) == 300
            assert sum(Decimal(row["cost_usd"]) for row in answer["data"]) == sum(costs)
            fields = set(by.split(","))
            assert all(fields <= set(row) for row in answer["data"])
    some = control.admin("GET", f"/api/v1/usage?model=fast&{SINCE}").json()["total"]
    assert some["calls"] == sum(each.model == "fast" for each in sample)
    later = control.admin("GET", "/api/v1/usage?since=2026-11-19").json()["total"]["calls"]
    sooner = control.admin("GET", f"/api/v1/usage?{SINCE}&until=2026-11-19").json()["total"]
    assert later + sooner["calls"] == 300
    assert 0 < later < 300


def test_sums_by_labels_in_a_zone_with_the_dearest_and_what_units_cost(control: Control) -> None:
    sample = calls(300)
    journal = _journal(control.data)
    put(journal, sample)
    journal.close()

    def usage(query: str) -> Any:
        return control.admin("GET", f"/api/v1/usage?{SINCE}&{query}").json()

    tasks = usage("by=task,day&zone=Asia/Tokyo&units=true")
    assert {row["task"] for row in tasks["data"]} == {None, "ask", "summarise"}
    assert sum(row["calls"] for row in tasks["data"]) == 300
    assert tasks["units"]["runs"] == 2
    known = [each.cost for each in sample if each.cost is not None]
    assert tasks["units"]["usd_per_call"] == dollars(round(Fraction(sum(known), len(known))))
    days = {f"{datetime.fromtimestamp(each.at_us / 1e6, ZoneInfo('Asia/Tokyo')):%Y-%m-%d}"
            for each in sample}  # fmt: skip
    assert {row["day"] for row in tasks["data"]} == days
    top = usage("by=end_user,tag&top=1")["data"]
    assert [row.get("other") for row in top] == [None, True]
    asked = usage("metadata.task=ask&end_user=-&status=200")["total"]
    chosen = [each for each in sample if each.labels and each.labels.task == "ask"
              and not each.labels.end_user and each.status == 200]  # fmt: skip
    assert asked["calls"] == len(chosen) > 0
    estimates = [each.estimate for each in sample if each.estimate is not None]
    total = usage("")["total"]
    assert total["estimated_calls"] == len(estimates)
    assert total["estimated_tokens"]["input"] == sum(each.input for each in estimates)
    assert total["estimated_usd"] == str(1000 * len(estimates))
    for wrong in ("colour=red", "by=metadata.a'b", "zone=Mars/Base&by=day", "status=soon",
                  "top=0", "team=a&team=b", "day=2026-11-01"):  # fmt: skip
        answer = control.admin("GET", f"/api/v1/usage?{wrong}")
        assert (answer.status, answer.json()["code"]) == (400, "invalid_query"), wrong


def test_the_month_is_forecast_from_whole_days(control: Control) -> None:
    now = time.time()
    journal = _journal(control.data)
    days = [int(now) - 86_400 * n for n in range(1, 40)]
    put(journal, [call(f"req_{at}", at_us=at * 1_000_000, cost=10**12) for at in days])
    journal.close()
    answer = control.admin("GET", "/api/v1/usage/forecast?by=model").json()
    today = datetime.fromtimestamp(now, UTC)
    length = calendar.monthrange(today.year, today.month)[1]
    part = (now - today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) / 86_400
    total = answer["total"]
    assert (total["spent_usd"], total["method"]) == (str(today.day - 1), "weekday")
    assert float(total["expected_usd"]) == pytest.approx(length - part, abs=0.01)
    assert answer["data"] == [{"model": "fast", **total}]
    refused = control.admin("GET", "/api/v1/usage/forecast?by=day")
    assert (refused.status, refused.json()["code"]) == (400, "invalid_query")


def test_calls_are_paged_and_chosen(control: Control) -> None:
    sample = calls(50)
    journal = _journal(control.data)
    put(journal, sample)
    journal.close()
    expected = sorted(sample, key=lambda c: (c.at_us, c.id), reverse=True)
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = control.admin("GET", f"/api/v1/calls?limit=7&cursor={cursor}").json()
        found += [row["request_id"] for row in page["data"]]
        cursor, pages = page["next"], pages + 1
    assert found == [each.id for each in expected]
    assert pages == 8

    def chosen(query: str) -> list[str]:
        data = control.admin("GET", f"/api/v1/calls?limit=1000&{query}").json()["data"]
        return [row["request_id"] for row in data]

    assert chosen("status=429") == [each.id for each in expected if each.status == 429]
    assert chosen("model=smart") == [each.id for each in expected if each.model == "smart"]
    assert chosen(f"request_id={sample[0].id}") == [sample[0].id]
    assert chosen("status=lost") == []


def test_a_gateway_that_died_leaves_calls_marked_lost_at_their_hold(control: Control) -> None:
    journal = _journal(control.data)
    journal.append(OPENED, msgspec.msgpack.encode(opened(call("req_open"), hold=7_000_000)))
    journal.close()
    _journal(control.data).close()  # the next process in its place
    [row] = control.admin("GET", "/api/v1/calls?status=lost").json()["data"]
    assert (row["request_id"], row["state"], row["status"]) == ("req_open", "lost", None)
    assert (row["cost_usd"], row["tokens"]) == ("0.000007", None)


def test_what_came_while_control_was_down_is_taken_in_later(start: Start, tmp_path: Path) -> None:
    journal = _journal(tmp_path / "data")
    put(journal, calls(100))
    control = start().ready()
    assert len(_ids(control)) == 100
    control.process.stop()
    put(journal, calls(100, seed=2))
    journal.close()
    assert len(set(_ids(start().ready()))) == 200


def test_killing_control_while_rows_come_in_loses_none_and_doubles_none(
    start: Start, tmp_path: Path
) -> None:
    journal = _journal(tmp_path / "data")
    written: list[str] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            each = call(f"req_{number}")
            put(journal, [each])
            written.append(each.id)
            if number % 50 == 0:
                stop.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    draw = random.Random(7)
    try:
        for _ in range(3):
            control = start().ready()
            stop.wait(draw.random())  # so that the kill strikes another moment each time
            assert control.process.stop(signal.SIGKILL) == -signal.SIGKILL
    finally:
        stop.set()
        writer.join()
    journal.close()
    control = start().ready()
    # On a busy machine an answer does not wait until thousands of rows are in.
    until(lambda: len(_ids(control)) >= len(written), "all that was written")
    found = _ids(control)
    assert len(found) == len(set(found))
    assert set(found) == set(written)
    assert len(found) > 100


def test_sigterm_takes_in_the_rest_before_the_end(control: Control) -> None:
    journal = _journal(control.data)
    put(journal, calls(2000))
    assert control.process.stop() == 0
    journal.close()
    size = sum(path.stat().st_size for path in (control.data / "journal/gateway").glob("*.fj"))
    assert size > 0
    with sqlite3.connect(control.data / "ferryman.db") as database:
        assert database.execute("SELECT count(*) FROM calls").fetchone() == (2000,)


def test_a_failing_database_is_said_once_and_overcome(start: Start, tmp_path: Path) -> None:
    control = start().ready()
    journal = _journal(control.data)
    with sqlite3.connect(control.data / "ferryman.db") as database:
        database.execute("ALTER TABLE calls RENAME TO calls_away")
    asked = request(control.url, "POST", "/internal/counted", body=b'{"ids":["x"]}',
                    token=control.secret("feed-token"))  # fmt: skip
    assert (asked.status, asked.json()["code"]) == (503, "database_failed"), asked.body
    put(journal, calls(10))
    control.process.wait_for("can't take records into the ledger")
    answer = until(
        lambda: (r := control.request("/readyz")).status == 503 and r, "readyz telling of it"
    )
    assert "ledger" in answer.json()["status"]
    assert control.request("/healthz").status == 200
    with sqlite3.connect(control.data / "ferryman.db") as database:
        database.execute("ALTER TABLE calls_away RENAME TO calls")
    control.process.wait_for("takes records in again")
    assert len(_ids(control)) == 10
    assert sum("can't take records" in line for line in control.process.lines) == 1
    journal.close()


def test_how_the_journals_stand_is_told(control: Control, tmp_path: Path) -> None:
    def stands() -> Any:
        return control.admin("GET", "/api/v1/journal").json()

    assert stands() == {"failing": None, "planes": [], "met": {}}
    made = JournalWriter(tmp_path / "gateway")
    put(made, calls(20))
    [(_, segment)] = segments(made.directory)
    size = segment.stat().st_size
    put(made, calls(3, seed=2))
    made.close()
    with segment.open("r+b") as file:
        file.seek(size + 3)
        file.write(b"\xff")
    (control.data / "journal").mkdir(exist_ok=True)
    segment = made.directory.rename(control.data / "journal" / "gateway") / segment.name

    def all_in() -> Any:
        # What was read to is looked up before what was met: in between, the rest may be taken in.
        found = stands()
        return found["met"] and not found["planes"][0]["waiting_bytes"] and found

    found = until(all_in, "the damage")
    kept = segment.with_suffix(".damaged")
    [plane] = found["planes"]
    [damage] = plane.pop("damaged")
    held = segment.stat().st_size
    assert plane == {
        "plane": "gateway", "segments": 1, "bytes": held, "waiting_bytes": 0,
        "clock_ahead_seconds": None,
    }  # fmt: skip
    assert (damage["file"], damage["offset"]) == (str(kept), size)
    assert found["met"] == {"journal_damaged": 1, "journal_damaged_bytes": damage["bytes"]}
    assert len(_ids(control)) == 23
    command = [sys.executable, "-m", "ferryman", "journal", "--control-url", control.url]
    env = {**os.environ, "FERRYMAN_DATA_DIR": str(control.data), "COLUMNS": "300"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert str(kept) in done.stdout, done.stderr
    assert "journal damaged" in done.stdout


def test_no_calls_are_an_empty_list(shared: Control) -> None:
    assert shared.admin("GET", "/api/v1/calls").json() == {"data": [], "next": None}
    answer = shared.admin("GET", "/api/v1/usage?by=day").json()
    assert answer["data"] == []
    assert answer["total"]["calls"] == 0
    assert answer["total"]["cost_usd"] == "0"


def test_latencies_are_percentiles_of_good_answers(control: Control) -> None:
    journal = _journal(control.data)
    put(journal, [call(f"req_{n}", duration_us=n * 10_000) for n in range(1, 101)])
    put(journal, [call("bad", duration_us=10**9, status=500, error="upstream_error")])
    journal.close()
    answer = control.admin("GET", f"/api/v1/latencies?by=model,stream&{SINCE}").json()
    [row] = answer["data"]
    assert (row["model"], row["stream"], row["calls"]) == ("fast", False, 100)
    for name, right in (("p50_ms", 500), ("p95_ms", 950), ("p99_ms", 990)):
        assert abs(row["duration"][name] - right) <= right / 4
    assert set(row["first_token"]) == {"p50_ms", "p95_ms", "p99_ms"}
    for query in ("by=key", "since=soon", "by=model&until=never"):
        wrong = control.admin("GET", f"/api/v1/latencies?{query}")
        assert (wrong.status, wrong.json()["code"]) == (400, "invalid_query")


def test_calls_go_when_the_configuration_says_so_and_their_sums_stay(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "ferryman.yaml").write_text("ledger: { keep: 3d }\n")
    old = [call(f"req_{n}", at_us=1_700_000_000_000_000 + n) for n in range(2500)]
    journal = _journal(tmp_path / "data")
    put(journal, old)
    journal.close()
    control = start(FERRYMAN_CONFIG=str(tmp_path / "ferryman.yaml")).ready()
    until(lambda: _sum(control) == len(old), "all of them in the sums")
    until(lambda: not _ids(control), "single calls gone")
    answer = control.admin("GET", "/api/v1/usage?since=2023-11-14T22:13:20.5Z").json()
    assert answer["total"]["calls"] == len(old)
    assert answer["since"] == "2023-11-14T00:00:00Z", "of then days are left"


def _sum(control: Control) -> int:
    total = control.admin("GET", "/api/v1/usage?since=2023-01-01").json()["total"]
    return int(total["calls"])
