"""docs/contents.md: its example is run, but for the addresses."""

import json
import re
import subprocess
from pathlib import Path

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


def plain(text: str) -> str:
    """Without what is another length each time: ids and times are in it."""
    return re.sub(r"200, \d+ bytes", "200, N bytes", text).strip()
