"""docs/observability.md: its example of OpenTelemetry is run, and its presets load."""

from pathlib import Path
from typing import Any

import pytest

from ferryman.config.file import load
from tests.control.receiver import Receiver, said
from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.processes import until
from tests.test_readme import blocks

PAGE = "docs/observability.md"
PRESETS = [block for block in blocks("yml", PAGE)[1:] if "otlp" in block]


@needs_curl
def test_the_example_of_a_trace(tmp_path: Path) -> None:
    receiver = Receiver()
    config = blocks("yml", PAGE)[0].replace("http://127.0.0.1:4318", receiver.url)
    with Stack(tmp_path, config.replace("http://127.0.0.1:8090", "SIM")).served() as stack:
        [command] = blocks("bash", PAGE)
        typed(stack, ["sh", "-ec", command.replace("http://127.0.0.1:8080", stack.url)], tmp_path)
        until(lambda: len(receiver.spans()) == 3, "the spans")
    receiver.end()
    shown = [line.strip().partition(": ") for line in blocks("txt", PAGE)[0].splitlines()]
    for span, (name, _, attributes) in zip(receiver.spans(), shown, strict=True):
        assert (span.name, span.trace_id.hex()) == (name, "0af7651916cd43dd8448eb211c80319c")
        found: dict[str, Any] = said(span)
        for pair in attributes.split():
            key, _, value = pair.partition("=")
            assert str(found[key]) == value
    assert receiver.spans()[0].parent_span_id.hex() == "b7ad6b7169203331"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_load(tmp_path: Path, preset: str) -> None:
    path = tmp_path / "ferryman.yaml"
    path.write_text(preset)
    assert not load(path, strict=True, env={}).errors
    assert len(PRESETS) == 6
