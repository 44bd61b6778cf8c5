"""Two gateways that tell each other who rests, through a real server that comes and goes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.gateway import Stack, asked, whole
from tests.processes import until
from tests.valkey import Server

msgpack = msgspec.msgpack.encode
CONFIG = """\
server: { state: "valkey://:{STATE_PASSWORD}@127.0.0.1:PORT/1" }
providers:
  near: { base_url: SIM/v1, keys: [env:LAB_KEY, env:SPARE_KEY] }
  strict: { base_url: SIM/v1, key: env:LAB_KEY }
  canned: { base_url: CANNED/v1, auth: none }
models:
  busy: { targets: ["near/sim?503&retry-after=29", near/sim] }
  late: { targets: ["near/sim?429&retry-after=900", near/sim] }
  limited: { targets: ["near/sim?429&retry-after=29", near/sim] }
  refused: { targets: ["strict/sim?401", canned/m] }
  healing: { targets: [canned/m, near/sim] }
"""
ENV = {"FERRYMAN_PEPPER": "shared-by-both-of-them", "STATE_PASSWORD": "open:sesame/1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("state"), ENV["STATE_PASSWORD"])
    yield running
    running.end()


def _stack(server: Server, folder: Path) -> Stack:
    return Stack(folder, CONFIG.replace("PORT", str(server.port)), **ENV)


@pytest.fixture(scope="module")
def pair(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    one, other = (_stack(server, tmp_path_factory.mktemp(name)) for name in ("one", "other"))
    try:
        for each in (one, other):
            each.ready().up.wait_for("rests are shared through 127.0.0.1:")
        yield one, other
        assert not one.complaints() + other.complaints()
    finally:
        one.end()
        other.end()


def _live(stack: Stack, model: str) -> dict[str, Any]:
    page = stack.get(f"/v1/models/{model}/endpoints").json()
    found: dict[str, Any] = page["data"]["endpoints"][0]["live"]
    return found


def test_what_one_learns_the_other_knows_within_a_second(pair: tuple[Stack, Stack]) -> None:
    one, other = pair
    assert _live(other, "busy")["state"] == "well"
    assert one.chat("busy").status == 200
    began = time.monotonic()
    until(lambda: _live(other, "busy")["state"] == "rests", "news at the other")
    assert time.monotonic() - began < 3, "a second, and slack for a slow machine"
    said = _live(other, "busy")
    assert said["because"] == "upstream_overloaded"
    assert 20 < said["rests_seconds"] <= 29
    other.forget()
    assert other.chat("busy").status == 200
    assert other.stats()["requests"] == 1, "the one that rests is not asked"


def test_limits_of_keys_and_keys_are_told_too(pair: tuple[Stack, Stack]) -> None:
    one, other = pair
    assert one.chat("limited").status == 200
    until(lambda: _live(other, "limited")["state"] == "rests", "both keys' limits")
    assert _live(other, "limited")["because"] == "upstream_rate_limited"
    one.canned.answers.append(whole(b'{"choices": []}'))
    one.post(asked("refused"))
    until(lambda: _live(other, "refused").get("because") == "upstream_auth_failed", "both keys")


def test_the_end_of_a_rest_is_told(pair: tuple[Stack, Stack]) -> None:
    one, other = pair
    one.canned.answers.append(
        whole(b'{"error": {"message": "busy"}}', b"retry-after: 2", status=b"503 Busy")
    )
    one.chat("healing")
    until(lambda: _live(other, "healing")["state"] == "rests", "the rest")
    until(lambda: _live(one, "healing")["state"] == "on trial", "the end of the wait")
    one.canned.answers.append(whole(b'{"choices": [{"message": {"content": "hi"}}]}'))
    assert one.chat("healing").header("x-ferryman-provider") == "canned"
    until(lambda: _live(other, "healing")["state"] in ("well", "coming back"), "the good news")
    assert not other.canned.requests


def test_nonsense_on_the_channel_harms_nobody(pair: tuple[Stack, Stack], server: Server) -> None:
    _, other = pair
    client = server.client(1)
    channels = client.pubsub_channels("ferryman:*:rests")
    assert len(channels) == 1
    name = "target\x1fnear/sim?503&retry-after=29"
    for data in (
        b"", b"\xc1", b"[]", msgpack(["x"]), msgpack(["x", name, "soon", 1]),
        msgpack(["x", "target", 9.0, 1, ""]), msgpack(["x", "\x1f" * 400, 9.0, 1, ""]),
        msgpack(["x", "target\x1fnobody/sim", 9.0, 1, ""]), msgpack(["x", "y" * 600, 9.0, 1, ""]),
    ):  # fmt: skip
        client.publish(channels[0], data)
    client.publish(channels[0], msgpack(["x", "target\x1fnear/other", 1e9, 10**9, "z" * 9999]))
    until(lambda: _live(other, "near/other")["state"] == "rests", "what came after the nonsense")
    assert _live(other, "near/other")["rests_seconds"] <= 3600
    assert other.chat("near/sim").status == 200


def test_calls_go_on_without_the_server_and_sharing_when_it_is_back(
    pair: tuple[Stack, Stack], server: Server, tmp_path: Path
) -> None:
    one, other = pair
    server.end()
    for each in pair:
        each.up.wait_for("no shared state .*going by what this gateway sees itself")
        assert each.chat("near/sim").status == 200
    assert one.chat("late").status == 200
    assert _live(one, "late")["state"] == "rests"
    assert "sesame" not in "\n".join(one.up.lines + other.up.lines)
    server.start()
    for each in pair:
        each.up.wait_for("rests are shared", 2)
    late = _stack(server, tmp_path)
    try:
        late.ready().up.wait_for("rests are shared")
        until(lambda: _live(late, "late")["state"] == "rests", "what was learned before it began")
    finally:
        late.end()
