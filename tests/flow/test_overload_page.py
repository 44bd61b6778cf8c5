"""docs/overload.md: its configuration queues, spills over and refuses as the page says."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.flow.test_docs import needs_curl
from tests.gateway import KEY, Stack
from tests.processes import environment
from tests.test_readme import blocks

PAGE = "docs/overload.md"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    [config] = blocks("yaml", PAGE)
    folder = tmp_path_factory.mktemp("overload")
    with Stack(folder, config.replace("http://127.0.0.1:8090", "SIM")).served() as running:
        yield running


@needs_curl
def test_of_eight_at_once_six_are_answered_and_two_are_refused(
    limited: Stack, tmp_path: Path
) -> None:
    [command] = blocks("sh", PAGE)
    command = command.replace("http://127.0.0.1:8080/v1", limited.endpoint)
    env = environment(tmp_path, FERRYMAN_KEY=KEY)
    done = subprocess.run(
        ["sh", "-ec", command], env=env, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert Counter(line.split()[0] for line in lines) == {"200": 6, "503": 2}
    seconds = sorted(float(line.split()[2]) for line in lines if line.startswith("200"))
    assert seconds[1] < seconds[2] < seconds[4]
    assert seconds[4] >= 2.8, "the last two waited for two others"


def providers(limited: Stack, model: str, count: int) -> Counter[str | None]:
    with ThreadPoolExecutor(count) as pool:
        replies = list(pool.map(lambda _: limited.chat(model), range(count)))
    assert {reply.status for reply in replies} == {200}
    return Counter(reply.header("x-ferryman-provider") for reply in replies)


def test_an_equal_takes_what_does_not_fit(limited: Stack) -> None:
    assert providers(limited, "either", 8) == {"lab": 2, "spare": 6}


def test_a_fallback_takes_what_does_not_fit_into_the_queue(limited: Stack) -> None:
    assert providers(limited, "spill", 9) == {"lab": 6, "spare": 3}
