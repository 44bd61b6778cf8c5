"""docs/guardrails.md: its example is run, but for the address."""

import sys
from pathlib import Path

from tests.flow.test_docs import needs_curl, typed
from tests.gateway import Stack
from tests.test_readme import blocks

PAGE = "docs/guardrails.md"


@needs_curl
def test_the_example(tmp_path: Path) -> None:
    config, *_ = blocks("yaml", PAGE)
    command, measure = blocks("sh", PAGE)
    shown, measured = blocks("text", PAGE)
    config = "providers: { simulator: { base_url: SIM/v1 } }\n" + config
    with Stack(tmp_path, config).served() as stack:
        place = tmp_path / "typed"
        place.mkdir()
        said = typed(
            stack, ["sh", "-ec", command.replace("http://127.0.0.1:8080", stack.url)], place
        )
        assert said.split() == shown.split()
        measure = measure.replace("ferryman guard", f"{sys.executable} -m ferryman guard")
        found = typed(stack, ["sh", "-ec", f"cd {place}\n{measure}"], place)
        assert found.split() == measured.split()
