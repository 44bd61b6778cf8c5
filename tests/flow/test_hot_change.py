"""Changes under steady load: no call fails, and each is there soon; docs/hot-change.md."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway import KEY, Stack
from tests.processes import environment, until
from tests.test_readme import blocks

PAGE = "docs/hot-change.md"
CONFIG = "/api/v1/config"
FILE = """\
providers:
  near: { base_url: "SIM/v1", key: env:LAB_KEY }
  far: { base_url: "SIM/v1", key: env:SPARE_KEY }
models:
  chat:
    targets: [near/sim, far/sim]
    strategy: weighted
    weights: { near/sim: 1000, far/sim: 0.001 }
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, FILE).served() as running:
        yield running


# -- under load --------------------------------------------------------------------------------


class Load:
    """About 50 calls a second with the OpenAI SDK, whole and streamed, until ``stop``."""

    def __init__(self, endpoint: str) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._endpoint = endpoint
        self._stop = False

    async def run(self) -> None:
        async with openai.AsyncOpenAI(
            base_url=self._endpoint, api_key=KEY, max_retries=0, timeout=30
        ) as client:
            await asyncio.gather(*(self._caller(client, bool(i % 2)) for i in range(10)))

    async def _caller(self, client: openai.AsyncOpenAI, stream: bool) -> None:
        while not self._stop:
            began = time.monotonic()
            try:
                await self._call(client, stream)
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self.done += 1
            await asyncio.sleep(max(0.0, began + 0.2 - time.monotonic()))

    async def _call(self, client: openai.AsyncOpenAI, stream: bool) -> None:
        asked: Any = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
        if not stream:
            reply = await client.chat.completions.create(**asked)
            assert reply.choices[0].finish_reason == "stop"
            return
        finish = None
        async for chunk in await client.chat.completions.create(stream=True, **asked):
            finish = chunk.choices[0].finish_reason or finish if chunk.choices else finish
        assert finish == "stop", "cut"

    def stop(self) -> None:
        self._stop = True


Change = tuple[Callable[[], Any], Callable[[], bool]]
"""Something to do, and whether it is in force."""


def _changes(own: Stack) -> list[Change]:
    """Twenty: of weights, providers, keys and the file, and rollbacks of them."""

    def admin(method: str, path: str, body: object = None) -> Callable[[], Any]:
        def run() -> None:
            reply = own.admin(method, CONFIG + path, body)
            assert reply.status == 200, reply.body

        return run

    def served_by(provider: str) -> Callable[[], bool]:
        return lambda: own.chat("chat").header("x-ferryman-provider") == provider

    def key(text: str) -> Callable[[], bool]:
        def seen() -> bool:
            assert own.chat("chat").status == 200
            return text in json.dumps(own.last_headers())

        return seen

    heavy = {"near/sim": 0.001, "far/sim": 1000}
    light = {"near/sim": 1000, "far/sim": 0.001}
    third = {"targets": ["third/sim"], "strategy": None, "weights": None}
    there = {"base_url": f"{own.sim_url}/v1", "key": "sk-third-0123456789"}

    def save(name: str) -> None:
        own.write(FILE + f"  {name}: near/sim\n")

    one: list[Change] = [
        (admin("PATCH", "/models/chat", {"weights": heavy}), served_by("far")),
        (admin("PATCH", "/models/chat", {"weights": light}), served_by("near")),
        (admin("PUT", "/providers/third", there), lambda: own.chat("third/sim").status == 200),
        (admin("PATCH", "/models/chat", third), key("sk-third-0123456789")),
        (admin("PATCH", "/providers/third", {"key": "sk-fourth-0123456789"}), key("sk-fourth-")),
        (lambda: save("saved"), lambda: own.chat("saved").status == 200),
        (admin("DELETE", ""), served_by("near")),
        (lambda: save("again"), lambda: own.chat("saved").status == 404),
        (admin("PATCH", "/models/chat", {"weights": heavy}), served_by("far")),
        (admin("POST", "/rollback", {"version": 1}), served_by("near")),
    ]
    return one * 2


def test_twenty_changes_under_load_fail_no_call(own: Stack) -> None:
    load = Load(own.endpoint)

    async def run() -> list[float]:
        calls = asyncio.create_task(load.run())
        await asyncio.sleep(1)
        took = []
        for act, there in _changes(own):
            began = time.monotonic()
            await asyncio.to_thread(act)
            await asyncio.to_thread(until, there, "the change")
            took.append(time.monotonic() - began)
        load.stop()
        await calls
        return took

    took = asyncio.run(run())
    sys.stdout.write(f"{load.done} calls; changes took {', '.join(f'{t:.2f}' for t in took)} s\n")
    assert not load.failures
    assert load.done > 200
    assert max(took) < 10, "alone it is half a second; a machine may be busy"


# -- the page ----------------------------------------------------------------------------------


@pytest.fixture
def paged(tmp_path: Path) -> Iterator[Stack]:
    running = Stack(tmp_path, FILE + "  quick: near/sim\n")
    try:
        yield running.ready()
    finally:
        running.end()


@pytest.mark.timeout(300)  # ten commands, each of which has a new configuration compiled
def test_the_commands_of_the_page_do_what_it_says(paged: Stack, tmp_path: Path) -> None:
    commands, curl = blocks("sh", PAGE)
    (tmp_path / "new.yaml").write_text(paged.file.read_text() + "  third: far/sim\n")
    program = f'ferryman() {{ {sys.executable} -P -m ferryman "$@"; }}\n'
    env = environment(paged.data, FERRYMAN_CONTROL_URL="")

    def run(text: str, **more: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            ["sh", "-ec", program + text.replace("http://127.0.0.1:8090", paged.sim_url)],
            env={n: v for n, v in env.items() if not n.endswith("_PORT") and v} | more,
            capture_output=True, text=True, timeout=120, cwd=tmp_path, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done

    lines = commands.strip().splitlines()
    seen: list[str] = []
    for line in lines:
        done = run(line)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        seen.append(done.stdout)
    assert "Version 2 is in force:\n  models/chat: changed" in seen[0]
    assert "would change" in seen[3]
    assert "models/third: added" in seen[3]
    assert seen[4].startswith("Version 5 is in force")
    assert "far is cheaper today" in seen[5]
    assert "back to version 2" in run("ferryman config history").stdout
    versions = paged.admin("GET", CONFIG + "/versions").json()["data"]
    assert [v["by"] for v in versions] == ["cli"] * 7 + ["file"]
    assert paged.admin("GET", CONFIG).json()["overlay"] == []
    assert paged.chat("chat").header("x-ferryman-provider") == "near"
    if shutil.which("curl"):
        url = (paged.data / "admin-url").read_text().strip()
        token = (paged.data / "secrets" / "admin-token").read_text().strip()
        done = run(curl, FERRYMAN_CONTROL_URL=url, FERRYMAN_ADMIN_TOKEN=token)
        assert json.loads(done.stdout)["changes"] == ["models/chat: changed"], done.stdout
    _refusals(run, tmp_path)


def _refusals(run: Callable[..., "subprocess.CompletedProcess[str]"], folder: Path) -> None:
    """Refused commands end with 1, and say why as ``check`` does."""
    (folder / "bad.yaml").write_text("models:\n  chat: { targets: [nowhere/x] }\n")
    for command, said in (
        ("ferryman config apply bad.yaml", "bad.yaml:2:21: error: models.chat.targets[0]"),
        ("ferryman config diff bad.yaml", "bad.yaml:2:21: error"),
        ("ferryman models set chat --weights near/sim", "not target=number"),
        ("ferryman models set chat --weights near/sim=0", "leave it out of --targets"),
        ("ferryman models set chat --weights nobody/x=1", "not among the targets"),
        ("ferryman models set chat --strategy weighted --expect 2", "is in force, not 2"),
        ("ferryman models set chat", "Nothing to set"),
        ("ferryman models remove nobody", "no models/nobody"),
        ("ferryman providers set near --key sk-literal-0123456789", "env:NAME or file:/path"),
        ("ferryman config rollback 99", "no version 99"),
        ("ferryman config apply absent.yaml", "Can't read absent.yaml"),
    ):
        done = run(command)
        assert done.returncode == 1, (command, done.stdout)
        assert said in done.stderr, (command, done.stderr)
        assert "Traceback" not in done.stderr
    shown = run("ferryman config show").stdout
    assert "# not as in the file: models/chat" in shown
    (folder / "shown.yaml").write_text(shown)
    assert "nothing is different" in run("ferryman config apply shown.yaml").stdout
    changed = run("ferryman config diff 1")
    assert changed.returncode == 1
    assert "+    weights: { near/sim: 1000, far/sim: 5 }" in changed.stdout
    assert run("ferryman config diff shown.yaml").returncode == 0
