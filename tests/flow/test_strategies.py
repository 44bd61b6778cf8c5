"""Choices by what replies say, quotas, tokens per second, caches; and by whose call it is."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway import KEY, Canned, Stack
from tests.simulator import wire

CONFIG = """\
providers:
  a: { base_url: "CANNED/v1", auth: none, prices: { m: { input: 20, output: 1, cache_read: 2 } } }
  b: { base_url: "OTHER/v1", auth: none }
  cheap: { base_url: SIM/v1, auth: none, prices: { PRICES } }
  dear: { base_url: SIM/v1, auth: none, prices: { PRICES } }
models:
  roomy: { targets: [a/m, b/m], strategy: headroom }
  speedy: { targets: ["cheap/sim?delay=120&tokens=200", "dear/sim?tps=100&tokens=40"],
    strategy: latency }
  fluent: { targets: ["cheap/sim?delay=300&tokens=400", "dear/sim?ttft=1&tps=50&tokens=20"],
    strategy: throughput }
  team: { targets: [cheap/sim, dear/sim], strategy: weighted, sticky: metadata.team }
  by-user: { targets: [cheap/sim, dear/sim], strategy: weighted, sticky: end_user }
  by-key: { targets: [cheap/sim, dear/sim], strategy: weighted, sticky: key }
  inner: { targets: [cheap/sim, dear/sim], strategy: weighted, sticky: end_user }
  outer: { targets: [inner, cheap/sim?tokens=2], strategy: weighted, weights: { inner: 1000000 } }
  cached: { targets: [cheap/sim?cached=40, dear/sim?cached=40], strategy: weighted,
    affinity: { by: cache_key } }
  talk: { targets: [cheap/sim, dear/sim], strategy: weighted, affinity: { by: prefix } }
  fragile: { targets: [dear/sim, a/m], strategy: weighted, weights: { a/m: 1000000 },
    affinity: { by: session } }
""".replace(
    "PRICES",
    "sim?cached=40: { input: 10, output: 20, cache_read: 1 }, sim: { input: 10, output: 20 }",
)


class World(Stack):
    def __init__(self, folder: Path) -> None:
        self.other = Canned()
        super().__init__(folder, CONFIG.replace("OTHER", self.other.url))

    def end(self) -> None:
        super().end()
        self.other.end()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    running = World(tmp_path_factory.mktemp("strategies"))
    try:
        yield running.ready()  # type: ignore[misc]
        assert not running.complaints()
    finally:
        running.end()


def provider(reply: wire.Reply) -> str:
    assert reply.status == 200, reply.body
    return reply.header("x-ferryman-provider") or ""


def answering(headers: str, cached: int = 0) -> Callable[[socket.socket], bool]:
    body = json.dumps({
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"},
                     "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1 + cached, "completion_tokens": 1, "total_tokens": 2 + cached,
                  "prompt_tokens_details": {"cached_tokens": cached}},
    })  # fmt: skip
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}"
    data = f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()

    def send(link: socket.socket) -> bool:
        link.sendall(data)
        return True

    return send


def test_headroom_asks_whose_replies_say_that_most_is_left(world: World) -> None:
    most = answering(
        "x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 90\r\n"
        "x-ratelimit-limit-tokens: 1000\r\nx-ratelimit-remaining-tokens: 800\r\n"
    )
    least = answering(
        "anthropic-ratelimit-tokens-limit: 1000\r\nanthropic-ratelimit-tokens-remaining: 300\r\n"
    )
    world.canned.answers = [most] * 20
    world.other.answers = [least] * 20
    asked = Counter(provider(world.chat("roomy")) for _ in range(12))
    assert asked["b"] == 1, "once, to learn what is left"
    world.canned.answers = [answering(
        "x-ratelimit-limit-tokens: 1000\r\nx-ratelimit-remaining-tokens: 10\r\n"
    )] * 20  # fmt: skip
    found = [provider(world.chat("roomy")) for _ in range(4)]
    assert found == ["a", "b", "b", "b"], "it has used up its share"


def test_latency_goes_by_the_first_token_of_streams_and_the_last_of_whole_answers(
    world: World,
) -> None:
    for _ in range(3):  # both are measured, streams and whole answers
        world.chat("speedy")
        world.stream("speedy")
    whole = Counter(provider(world.chat("speedy")) for _ in range(6))
    assert whole["cheap"] >= 5, "120 ms, and all tokens at once"
    streams = Counter(world.stream("speedy").header("x-ferryman-provider") for _ in range(6))
    assert streams["dear"] >= 5, "its first token comes at once"


def test_throughput_goes_by_tokens_per_second(world: World) -> None:
    asked = Counter(provider(world.chat("fluent")) for _ in range(10))
    assert asked["dear"] <= 1, "begins sooner, and then dawdles"


@pytest.mark.parametrize("name", ["team", "by-user", "outer"])
def test_callers_stick_to_their_target_and_are_spread(world: World, name: str) -> None:
    spread = Counter[str]()
    for i in range(40):
        said = {"team": {"metadata": {"team": f"t{i}"}}}.get(name, {"user": f"u{i}"})
        found = {provider(world.chat(name, **said)) for _ in range(3)}
        assert len(found) == 1
        spread.update(found)
    assert min(spread["cheap"], spread["dear"]) >= 8
    anonymous = {provider(world.chat(name)) for _ in range(20)}
    assert anonymous == {"cheap", "dear"}, "who doesn't say is drawn by chance"


def test_a_key_sticks_without_saying_anything(world: World) -> None:
    assert len({provider(world.chat("by-key")) for _ in range(12)}) == 1


def test_the_header_goes_before_the_body_and_a_session_is_of_its_key(world: World) -> None:
    for i in range(8):
        header = {"x-ferryman-metadata": json.dumps({"team": f"x{i}"})}
        there = provider(world.chat("team", metadata={"team": f"x{i}"}))
        assert provider(world.chat("team", headers=header, metadata={"team": "other"})) == there


def test_users_of_another_format_stick_too(world: World) -> None:
    client = anthropic.Anthropic(api_key=KEY, base_url=world.url)
    for i in range(4):
        found = set()
        for _ in range(4):
            raw = client.messages.with_raw_response.create(
                model="by-user", max_tokens=9, messages=[{"role": "user", "content": "Hi"}],
                metadata={"user_id": f"u{i}"},
            )  # fmt: skip
            found.add(raw.headers["x-ferryman-provider"])
        assert len(found) == 1


def test_a_cache_key_holds_calls_together_through_the_sdk(world: World) -> None:
    client = openai.OpenAI(api_key=KEY, base_url=world.endpoint)
    spread = set()
    for i in range(12):
        found = set()
        for _ in range(4):
            raw = client.chat.completions.with_raw_response.create(
                model="cached", messages=[{"role": "user", "content": "Hi"}],
                prompt_cache_key=f"c{i}",
            )  # fmt: skip
            found.add(raw.headers["x-ferryman-provider"])
        assert len(found) == 1
        spread |= found
    assert spread == {"cheap", "dear"}


def test_a_growing_conversation_stays_where_its_beginning_is_known(world: World) -> None:
    spread = set()
    for i in range(10):
        turns: list[dict[str, Any]] = [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Tale {i}"},
        ]  # fmt: skip
        found = set()
        for _ in range(4):
            reply = world.post({"model": "talk", "messages": turns})
            found.add(provider(reply))
            turns += [{"role": "assistant", "content": "Once"}, {"role": "user", "content": "And?"}]
        assert len(found) == 1
        spread |= found
    assert spread == {"cheap", "dear"}


def explained(reply: wire.Reply) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reply.header("x-ferryman-explain") or "{}")["affinity"]
    return found


def test_what_a_move_costs_is_told_and_the_next_calls_move_along(world: World) -> None:
    headers = {"x-ferryman-explain": "1"}
    talk = {"metadata": {"session_id": "tale"}}
    down = b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"
    world.canned.answers = [answering("", cached=40), answering("", cached=70), down]
    first = world.chat("fragile", headers=headers, **talk)
    assert explained(first) == {"by": "session"}
    second = world.chat("fragile", headers=headers, **talk)
    assert explained(second) == {"by": "session", "last": "a/m", "held": True}
    moved = world.chat("fragile", headers=headers, **talk)
    assert provider(moved) == "dear"
    said = explained(moved)
    assert (said["held"], said["last"], said["cached_tokens"]) == (False, "a/m", 70)
    assert said["costs_more_usd"] == pytest.approx(70 * (10 - 2) / 1e6)
    assert world.canned.answers == []
    for _ in range(3):
        after = world.chat("fragile", headers=headers, **talk)
        assert explained(after) == {"by": "session", "last": "dear/sim", "held": True}


def test_metadata_that_cannot_be_read_is_refused(world: World) -> None:
    reply = world.chat("team", headers={"x-ferryman-metadata": "{"})
    assert reply.status == 400
    assert b"x-ferryman-metadata" in reply.body
