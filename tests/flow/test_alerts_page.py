"""docs/alerts.md: its configurations are good ones, and its example is run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.config.catalogue import loaded
from tests.flow.test_docs import answers, needs_curl
from tests.gateway import KEY, Stack
from tests.processes import environment, until
from tests.receivers import Hook
from tests.test_readme import blocks

PAGE = "docs/alerts.md"


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Hook]]:
    hook = Hook()
    config = blocks("yaml", PAGE)[0].replace("http://127.0.0.1:8090", "SIM")
    config = config.replace("http://127.0.0.1:9000", hook.url)
    folder = tmp_path_factory.mktemp("page")
    with Stack(folder, config, HOOK_SECRET="s3cret").served() as running:
        yield running, hook
    hook.server.shutdown()


def test_every_configuration_on_the_page_is_a_good_one(tmp_path: Path) -> None:
    for config in blocks("yaml", PAGE):
        assert not loaded(tmp_path, config).errors


def _typed(stack: Stack, *command: str) -> str:
    env = environment(stack.data, FERRYMAN_KEY=KEY)
    del env["FERRYMAN_ADMIN_PORT"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_curl
def test_the_example(paged: tuple[Stack, Hook]) -> None:
    stack, hook = paged
    [command] = blocks("sh", PAGE)
    [shown] = blocks("text", PAGE)
    command = command.replace("http://127.0.0.1:8080", stack.url)
    command = command.replace("ferryman alerts", f"{sys.executable} -m ferryman alerts")
    said = _typed(stack, "sh", "-ec", command)
    said = re.sub(r"─+", "", said).replace(hook.url, "http://127.0.0.1:9000")
    assert answers(re.sub(r"\s+", " ", shown), re.sub(r"\s+", " ", said)), said
    until(lambda: hook.got, "the webhook is told")
    found = stack.admin("GET", "/api/v1/alerts").json()["data"][0]["id"]

    def ferryman(*arguments: str) -> str:
        return _typed(stack, sys.executable, "-m", "ferryman", "alerts", *arguments)

    assert "took it in" in ferryman("test", "ops")
    assert b"alert.test" in hook.got[-1][2]
    assert "Acknowledged: 100 %" in ferryman("acknowledge", found)
    quiet = ferryman("silence", found, "--until", "4h", "--note", "lunch").partition(":")[0]
    assert "silenced" in ferryman() and quiet in ferryman()
    assert "Ended" in ferryman("unsilence", quiet)
    assert "acknowledged" in ferryman("history", "--limit", "1")


def test_bad_questions_are_told_what_is_right(paged: tuple[Stack, Hook]) -> None:
    stack, _ = paged
    silences = "/api/v1/alerts/silences"
    asked: list[tuple[str, str, object, int, str]] = [
        ("POST", silences, {"until": "4h"}, 400, "alert, rule or subject"),
        ("POST", silences, {"until": "soon", "rule": "latency"}, 400, "until"),
        ("POST", silences, {"until": "2020-01-01", "rule": "latency"}, 400, "until"),
        ("POST", silences, {"until": "5y", "rule": "latency"}, 400, "within a year"),
        ("POST", silences, {"until": "1h", "alert": "alert_x"}, 404, "ferryman alerts"),
        ("DELETE", f"{silences}/silence_x", None, 404, "silence_x"),
        ("POST", "/api/v1/alerts/alert_x/acknowledge", None, 404, "alert_x"),
        ("POST", "/api/v1/alerts/channels/x/test", None, 404, "there are: ops"),
        ("GET", "/api/v1/alerts/history?cursor=x", None, 400, "next"),
    ]
    for method, path, body, status, text in asked:
        reply = stack.admin(method, path, body)
        said = reply.json()["detail"] + reply.json()["fix"]
        assert (reply.status, text in said) == (status, True), reply.body
