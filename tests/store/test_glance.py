"""What is going on, as the dashboard reads it."""

from pathlib import Path

import msgspec
import sqlalchemy as sa

from ferryman.control.ingest import Ingester
from ferryman.ir.usage import Usage
from ferryman.store import glance, ledger
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import OPENED
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
