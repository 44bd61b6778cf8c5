"""docs/http.md says what is so."""

import ast
import re
import subprocess
import sys

from ferryman.http1 import client, connect, limits, pool
from ferryman.http1.limits import Limits
from tests import tree

PAGE = (tree.ROOT / "docs/http.md").read_text("utf-8")


def test_the_table_of_refusals_is_complete() -> None:
    listed = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [status for status, _ in listed] == sorted(status for status, _ in listed)
    made = set()
    for path in (tree.SRC / "http1").glob("*.py"):
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Refusal":
                status, code = node.args[0], node.args[1]
                assert isinstance(status, ast.Constant)
                assert isinstance(code, ast.Constant)
                made.add((str(status.value), code.value))
                assert status.value in limits.REASONS
    assert set(listed) == made


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    defaults = Limits()
    for words in (
        f"silent for {defaults.linger_seconds:g} seconds",
        f"for {defaults.linger_most_seconds:g} at most",
        f"after {defaults.body_grace_seconds:g} seconds of grace",
        f"over {defaults.max_buffered_bytes >> 30} GiB",
        f"At most {limits.MAX_WAITING} pipelined",
        f"closed after {pool.IDLE_SECONDS:g}\n  seconds",
        f"kept for {connect.DNS_SECONDS:g}\n  seconds",
        f"{client.MAX_HEAD_BYTES >> 10} KiB and {client.MAX_HEADERS} fields",
        f"up to {client.MAX_INFLATION} times",
    ):
        assert PAGE.count(words) == 1, words


def test_the_example_prints_what_the_page_says() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (said,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (said, "")
