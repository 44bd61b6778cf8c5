"""docs/observability.md: the example of its section on tracing is run."""

import re
import subprocess
from pathlib import Path

from tests.flow.test_costs_page import FERRYMAN, finding
from tests.flow.test_docs import needs_curl
from tests.gateway import KEY, Stack
from tests.test_readme import blocks

PAGE = "docs/observability.md"


@needs_curl
def test_the_example_of_tracing(tmp_path: Path) -> None:
    config, command, shown = (blocks(kind, PAGE)[0] for kind in ("yaml", "sh", "text"))
    config = config.replace("http://127.0.0.1:8090", "SIM")
    with Stack(tmp_path, config).served() as stack:
        command = command.replace("http://127.0.0.1:8080", stack.url)
        command = re.sub(r"^ferryman ", f"{FERRYMAN} ", command, flags=re.M)
        done = subprocess.run(
            ["sh", "-ec", command], env=finding(stack, FERRYMAN_KEY=KEY), cwd=tmp_path,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, wanted = (re.sub(r"[\s─]+", " ", text).strip() for text in (done.stdout, shown))
    pattern = re.escape(wanted).replace("…", ".*?")
    assert re.fullmatch(pattern, said), f"{said}\n\nis not\n\n{wanted}"
