"""docs/contents.md: its examples are run, but for the addresses."""

import json
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flow.test_costs_page import FERRYMAN, finding
from tests.flow.test_docs import needs_curl
from tests.gateway import KEY, Stack
from tests.processes import until
from tests.test_readme import blocks

PAGE = "docs/contents.md"


@needs_curl
def test_the_example(tmp_path: Path) -> None:
    [config] = blocks("yaml", PAGE)
    config = "providers: { simulator: { base_url: SIM/v1 } }\n" + config
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    with Stack(tmp_path, config).served() as stack:
        place = tmp_path / "typed"
        place.mkdir()
        command = command.replace("http://127.0.0.1:8080", stack.url)
        command = re.sub(r"^ferryman ", f"{FERRYMAN} ", command, flags=re.MULTILINE)
        done = subprocess.run(
            ["sh", "-ec", command], env=finding(stack, FERRYMAN_KEY=KEY), cwd=place,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert plain(done.stdout) == plain(shown)
        [row] = [json.loads(line) for line in (place / "good.jsonl").read_text().splitlines()]
        assert [each["role"] for each in row["messages"]] == ["user", "assistant"]
        assert row["metadata"]["score"] == 1
        assert stack.chat("nobody/there").status == 404
        log = stack.data / "logs" / "calls.log"
        until(lambda: log.exists() and b"nobody/there" in log.read_bytes(), "the line")
        assert len(log.read_bytes().splitlines()) == 1


class Broker:
    """A stand-in for the producer of confluent_kafka, as far as the page's sink asks for it: what
    is produced is delivered, or refused, when it is flushed."""

    def __init__(self, options: dict[str, str]) -> None:
        assert options == {"bootstrap.servers": "broker:9092"}
        self.kept: list[tuple[str, bytes]] = []
        self.waiting: list[tuple[str, bytes, Callable[[object, object], object]]] = []
        self.refuses = self.away = False

    def produce(
        self, topic: str, value: bytes, *, on_delivery: Callable[[object, object], object]
    ) -> None:
        self.waiting.append((topic, value, on_delivery))

    def flush(self, _seconds: float) -> int:
        while self.waiting and not self.away:
            topic, value, told = self.waiting.pop(0)
            if not self.refuses:
                self.kept.append((topic, value))
            told("refused" if self.refuses else None, None)
        return len(self.waiting)


def test_the_sink_for_kafka_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broker does not take is raised, so that the same lines come again."""
    client = types.ModuleType("confluent_kafka")
    client.Producer = Broker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "confluent_kafka", client)
    [code] = blocks("python", PAGE)
    made: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), made)  # the page's own
    sink = made["Kafka"]({"topic": "calls", "bootstrap.servers": "broker:9092"})
    broker: Broker = sink.producer
    sink.write([b"one", b"two"])
    assert broker.kept == [("calls", b"one"), ("calls", b"two")]
    broker.refuses = True
    with pytest.raises(OSError, match="refused"):
        sink.write([b"three"])
    broker.refuses, broker.away = False, True
    with pytest.raises(OSError, match="did not take all"):
        sink.write([b"three"])
    broker.away = False
    sink.write([b"three"])
    assert broker.kept[-1] == ("calls", b"three")
    sink.close()


def plain(text: str) -> str:
    """Without what is another length each time: ids and times are in it."""
    return re.sub(r"200, \d+ bytes", "200, N bytes", text).strip()
