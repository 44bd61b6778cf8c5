"""What is going on, as the dashboard reads it."""

from pathlib import Path

import msgspec
import sqlalchemy as sa

from ferryman.control.dashboard import now
from ferryman.control.figures import figures
from ferryman.control.ingest import Ingester
from ferryman.ir.usage import Usage
from ferryman.store import glance, ledger
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import OPENED, Verdict
from tests.store import samples


def test_calls_under_way_and_ended_are_seen_and_found(engine: sa.Engine, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")
    assert not glance.any_call(engine)
    done = [
        samples.call("req_a", usage=Usage(input=9, output=50, reasoning=5, audio_output=2)),
        samples.call("req_b", at_us=samples.START + 1, usage=None, cost=None, error="upstream_x"),
        samples.call("req_c", at_us=samples.START - 1, model="100%_wild"),
    ]
    samples.put(writer, done)
    running = samples.call("req_d", at_us=samples.START + 2)
    writer.append(OPENED, msgspec.msgpack.encode(samples.opened(running)))
    ingester.drain()

    number, calls = glance.under_way(engine, 5)
    assert (number, [call.request_id for call in calls]) == (1, ["req_d"])
    assert calls[0].key == running.key
    seen = glance.glances(engine, samples.START, 5)
    assert [(call.output, call.cost, call.error) for call in seen] == [
        (0, None, "upstream_x"),
        (57, 1_234_567, ""),
    ]
    assert seen[1].attempts[0]["provider"] == "openai"
    assert glance.glances(engine, samples.START, 1) == seen[:1]
    assert glance.any_call(engine)

    def found(**wanted: object) -> list[str]:
        return [call.request_id for call in ledger.calls(engine, **wanted)]  # type: ignore[arg-type]

    assert found(text="WILD") == ["req_c"]
    assert found(text="%_w") == ["req_c"], "no pattern, but a text"
    assert found(text="4O-mini") == ["req_b", "req_a", "req_c"]
    assert found(failed=True) == ["req_b"]
    ingester.close()
    writer.close()


def test_sums_by_time_are_of_all_calls(engine: sa.Engine, tmp_path: Path) -> None:
    """However many there are: nothing that is drawn of them ends with the newest few."""
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")
    step = 5_000_000
    first = samples.START // step
    done = [
        samples.call(f"req_{n}", at_us=(first + n // 10) * step + n, cost=2**60) for n in range(30)
    ]
    done += [
        samples.call("req_bad", at_us=first * step, status=503, usage=None, cost=None),
        samples.call("req_unknown", at_us=first * step, cost=None),
    ]
    samples.put(writer, done)
    for name, at in (("req_runs", first * step + 1), ("req_lone", (first + 9) * step)):
        running = samples.opened(samples.call(name, at_us=at))
        writer.append(OPENED, msgspec.msgpack.encode(running))
    ingester.drain()
    found = glance.steps(engine, first * step, step)
    assert [(s.number - first, s.calls, s.errors, s.running, s.unknown_cost) for s in found] == [
        (0, 12, 1, 1, 1), (1, 10, 0, 0, 0), (2, 10, 0, 0, 0), (9, 0, 0, 1, 0),
    ]  # fmt: skip
    assert [s.output for s in found] == [55 * 11, 550, 550, 0]
    assert [s.cost for s in found] == [10 * 2**60] * 3 + [0], "beyond what fits into 64 bits"

    now_us = (first + 12) * step
    seen = glance.glances(engine, first * step, 5)
    assert figures(found, seen).calls == 32
    drawn = [len(column.bars) for column in now.chart(found, now_us).columns]
    assert drawn[-13:] == [3, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert now.cut(seen, 5, now_us) == "the last 5 calls, 50.0 s"
    assert not now.cut(seen, 6, now_us)
    ingester.close()
    writer.close()


def test_verdicts_are_counted_by_what_came_of_them(engine: sa.Engine, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")
    found, fine = Verdict("pii", "reply", "redacted", 10, 2), Verdict("pii", "request", "allowed")
    done = [samples.call("req_old", verdicts=(found,))]
    done += [
        samples.call(f"req_{n}", at_us=samples.START + n, verdicts=(found, fine)) for n in (1, 2)
    ]
    samples.put(writer, [*done, samples.call("req_3", at_us=samples.START + 3)])
    ingester.drain()

    def said(limit: int, since: int = samples.START) -> tuple[list[tuple[object, ...]], int]:
        rows, reached = glance.verdicts(engine, since, limit)
        return [(v.stage, v.action, v.calls, v.found, v.took_us) for v in rows], reached

    assert said(9) == ([("reply", "redacted", 3, 6, 30), ("request", "allowed", 2, 0, 0)],
                       samples.START)  # fmt: skip
    assert said(2)[0] == [("reply", "redacted", 1, 2, 10), ("request", "allowed", 1, 0, 0)]
    assert said(2)[1] == samples.START + 2
    assert said(9, samples.START + 3) == ([], samples.START + 3)
    ingester.close()
    writer.close()
