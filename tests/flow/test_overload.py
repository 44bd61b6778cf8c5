"""Providers that take only so many calls at once: who waits, who is refused, and in which shape."""

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from threading import Barrier
from typing import Any

import pytest

from tests.gateway import KEY, Stack, asked, error_of, whole
from tests.processes import until
from tests.simulator import wire
from tests.telemetry.test_metrics import read

CONFIG = """\
providers:
  one: { base_url: SIM/v1, auth: none, max_in_flight: 1 }
  two: { base_url: SIM/v1, auth: none, max_in_flight: 2, queue: { length: 1 } }
  hurried: { base_url: SIM/v1, auth: none, max_in_flight: 1, queue: { wait: 300ms } }
  just: { base_url: SIM/v1, auth: none, max_in_flight: 1, queue: { order: fair, length: 6 } }
  shut: { base_url: SIM/v1, auth: none, max_in_flight: 1, queue: { length: 0 } }
  free: { base_url: SIM/v1, auth: none }
  canned: { base_url: CANNED/v1, auth: none }
models:
  pressed: { targets: [canned/m, free/sim] }
  equals: { targets: [one/sim, free/sim] }
  other: { targets: [shut/sim], fallbacks: [free/sim] }
  hedges: { targets: ["free/sim?500&delay=700", one/sim], hedge: 100ms }
  falls-through: { targets: ["one/sim?503&delay=300", "shut/sim?503", free/sim] }
  rescued: { targets: ["free/sim?cut&at=3&tokens=8", "one/sim?tokens=8&tps=40"],
    rescue: true }
  left: { targets: ["free/sim?cut&at=4&tokens=8", "one/sim?tokens=8"], rescue: true }
server: { max_calls: 30 }
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("overload"), CONFIG).served() as running:
        yield running


@pytest.fixture
def calls() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def gauge(stack: Stack, family: str, **labels: str) -> float:
    page = read(stack.get("/metrics").body)
    return page.get(family, {}).get(tuple(labels.items()), 0)


def busy(stack: Stack, provider: str, at_work: int, waiting: int = 0) -> None:
    """Wait until so many calls are at work there, and so many wait."""

    def there() -> bool:
        work = gauge(stack, "ferryman_limited_calls", provider=provider)
        return (work, gauge(stack, "ferryman_queued_calls", provider=provider)) == (
            at_work,
            waiting,
        )

    until(there, f"{at_work} calls at work at {provider}, and {waiting} waiting")


@contextlib.contextmanager
def hanging(stack: Stack, model: str, at_work: int = 1) -> Iterator[None]:
    """A call that keeps its place until the end of the block."""
    provider = model.partition("/")[0]
    data = wire.request("/v1/chat/completions", asked(model), {"Authorization": f"Bearer {KEY}"})
    with socket.create_connection(("127.0.0.1", stack.port)) as link:
        link.sendall(data)
        busy(stack, provider, at_work)
        yield


def endpoints(stack: Stack, model: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.get(f"/v1/models/{model}/endpoints").json()["data"][
        "endpoints"
    ]
    return found


def considered(reply: wire.Reply) -> Any:
    return json.loads(reply.header("x-ferryman-explain") or "")["considered"]


def shed(stack: Stack, provider: str, reason: str) -> float:
    return gauge(stack, "ferryman_shed_calls_total", provider=provider, reason=reason)


def test_a_provider_never_gets_more_calls_than_it_takes_and_all_are_answered(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    replies = list(calls.map(lambda _: full.chat("one/sim?room=1&delay=50"), range(12)))
    assert {reply.status for reply in replies} == {200}
    waits = [int(reply.header("x-ferryman-queued-ms") or 0) for reply in replies]
    assert sum(wait > 0 for wait in waits) >= 8
    assert max(waits) >= 400, "the last one waited for ten others"
    overheads = [float(reply.header("x-ferryman-overhead-ms") or 0) for reply in replies]
    assert max(overheads) < 400, "waiting for a place is not the gateway's own time"
    busy(full, "one", 0)
    assert full.chat("free/sim").header("x-ferryman-queued-ms") is None


def test_a_stream_keeps_its_place_until_its_end(full: Stack, calls: ThreadPoolExecutor) -> None:
    first = calls.submit(full.stream, "one/sim?tokens=10&tps=20")
    busy(full, "one", 1)
    second = full.stream("one/sim?room=1&tokens=2")
    assert first.result().said
    assert second.said
    assert int(second.header("x-ferryman-queued-ms") or 0) > 0


def test_who_goes_on_with_a_stream_has_a_place_or_waits_for_one(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with hanging(full, "one/sim-hang"):
        left = shed(full, "one", "left")
        with socket.create_connection(("127.0.0.1", full.port)) as link:
            fields = asked("left", stream=True)
            link.sendall(wire.request("/v1/chat/completions", fields, headers))
            busy(full, "one", 1, 1)
        busy(full, "one", 1)
        assert shed(full, "one", "left") == left + 1, "its caller hung up"
        waits = calls.submit(full.stream, "rescued")
        busy(full, "one", 1, 1)
    reply = waits.result()
    assert reply.said == "The ferry leaves the bank at dawn, crosses"
    row = full.row(reply)
    assert [each["provider"] for each in row["tries"]] == ["free", "one"]
    assert row["overhead_ms"] < 100, "waiting for a place is not the gateway's own time"
    busy(full, "one", 0)


def test_who_refuses_calls_for_their_number_is_sent_fewer(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    crowd = Barrier(24)
    limited = whole(b'{"error": {"message": "slow down"}}', b"retry-after-ms: 100",
                    status=b"429 Too Many Requests")  # fmt: skip

    def refuses(link: socket.socket) -> bool:
        crowd.wait(20)
        link.sendall(limited)
        return False

    full.canned.answers = [refuses] * 24
    replies = list(calls.map(lambda _: full.chat("pressed"), range(24)))
    assert {reply.header("x-ferryman-attempts") for reply in replies} == {"2"}
    full.canned.answers = [whole(b'{"choices": [{"message": {"content": "ok"}}]}')] * 40

    def well() -> bool:
        return full.chat("pressed").header("x-ferryman-provider") == "canned"

    until(well, "its trial")
    served = Counter(full.chat("pressed").header("x-ferryman-provider") for _ in range(12))
    assert served["free"] > 0, "it took one and refused twenty-four"
    [live] = [
        each["live"] for each in endpoints(full, "pressed") if each["provider_name"] == "canned"
    ]
    assert live["share"] < 1


SHAPES: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], object]]] = {
    "openai": (
        "/v1/chat/completions", asked, lambda body: (body["error"]["code"], body["error"]["type"])
    ),
    "anthropic": (
        "/v1/messages",
        lambda model: asked(model, max_tokens=9),
        lambda body: (body["error"]["code"], body["type"]),
    ),
    "gemini": (
        "/v1beta/models/MODEL:generateContent",
        lambda model: {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        lambda body: (body["error"]["details"][0]["metadata"]["code"], body["error"]["status"]),
    ),
}  # fmt: skip
SAYS = {
    "openai": ("gateway_overloaded", "api_error"),
    "anthropic": ("gateway_overloaded", "error"),
    "gemini": ("gateway_overloaded", "UNAVAILABLE"),
}


def test_past_a_full_queue_callers_are_refused_at_once_in_their_own_shape(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    with hanging(full, "two/sim-hang"), hanging(full, "two/sim-hang", 2):
        waits = calls.submit(full.chat, "two/sim")
        busy(full, "two", 2, 1)
        before = full.stats()["requests"]
        for name, (path, body, code) in SHAPES.items():
            reply = full.post(body("two/sim"), path.replace("MODEL", "two/sim"))
            assert reply.status == 503
            assert 1 <= int(reply.header("retry-after") or 0) <= 60
            assert code(reply.json()) == SAYS[name]
        message = error_of(full.chat("two/sim"))["message"]
        assert "two has 2 calls at work, as many as it may, and 1 waiting" in message
        assert full.stats()["requests"] == before
    assert shed(full, "two", "full") == 4
    assert full.row(reply)["status"] == 503
    assert waits.result().status == 200


def test_a_call_that_would_not_get_its_turn_in_time_is_refused_at_once(full: Stack) -> None:
    full.chat("one/sim?delay=3000")  # that is the pace
    with hanging(full, "one/sim-hang"):
        reply = full.post(asked("one/sim"), headers={"x-ferryman-timeout": "0.2"})
    assert reply.status == 503
    assert "not get its turn in time" in error_of(reply)["message"]
    assert shed(full, "one", "late") == 1


def test_who_waits_longer_than_may_be_is_refused(full: Stack) -> None:
    with hanging(full, "hurried/sim-hang"):
        reply = full.chat("hurried/sim")
    assert reply.status == 503
    assert "none came to an end within 0." in error_of(reply)["message"]
    assert shed(full, "hurried", "waited") == 1
    assert full.chat("hurried/sim").status == 200


def test_a_caller_who_leaves_waits_no_longer_and_the_provider_never_hears_of_it(
    full: Stack,
) -> None:
    left = shed(full, "one", "left")
    with hanging(full, "one/sim-hang"):
        before = full.stats()["requests"]
        data = wire.request(
            "/v1/chat/completions", asked("one/sim"), {"Authorization": f"Bearer {KEY}"}
        )
        with socket.create_connection(("127.0.0.1", full.port)) as link:
            link.sendall(data)
            busy(full, "one", 1, 1)
        busy(full, "one", 1, 0)
    assert shed(full, "one", "left") == left + 1
    assert full.chat("one/sim").status == 200
    assert full.stats()["requests"] == before + 1


def test_an_equal_with_room_is_asked_before_one_without(full: Stack) -> None:
    explained = {"x-ferryman-explain": "1"}
    with hanging(full, "one/sim-hang"):
        reply = full.post(asked("equals"), headers=explained)
    assert reply.header("x-ferryman-provider") == "free"
    assert reply.header("x-ferryman-attempts") == "1"
    assert considered(reply) == [
        {"target": "free/sim", "role": "target"},
        {"target": "one/sim", "role": "target", "full": True},
    ]
    assert full.row(reply)["considered"] == considered(reply)
    busy(full, "one", 0)
    assert full.chat("equals").header("x-ferryman-provider") == "one"


def test_another_model_is_asked_when_there_is_no_room_at_all(full: Stack) -> None:
    with hanging(full, "shut/sim-hang"):
        reply = full.chat("other", headers={"x-ferryman-explain": "1"})
        assert reply.header("x-ferryman-provider") == "free"
        refused = full.chat("shut/sim", headers={"x-ferryman-explain": "1"})
    assert considered(reply) == [
        {"target": "shut/sim", "full": True, "left_out": "gateway_overloaded"},
        {"target": "free/sim", "role": "fallback"},
    ]
    assert considered(refused) == [{"target": "shut/sim", "left_out": "gateway_overloaded"}]
    busy(full, "shut", 0)
    assert full.chat("other").header("x-ferryman-provider") == "shut"


def test_who_has_no_place_for_a_hedge_is_asked_when_the_first_one_fails(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    first = calls.submit(full.chat, "one/sim?delay=1000")
    busy(full, "one", 1)
    reply = full.chat("hedges")
    assert (reply.status, reply.header("x-ferryman-provider")) == (200, "one")
    assert [t["provider"] for t in full.row(reply)["tries"]] == ["free", "one"]
    assert first.result().status == 200


def test_a_failed_attempt_gives_its_place_back_before_the_next_one_begins(full: Stack) -> None:
    reply = full.chat("falls-through")
    tries = full.row(reply)["tries"]
    assert [t["provider"] for t in tries] == ["one", "shut", "free"]
    busy(full, "one", 0)
    busy(full, "shut", 0)


def test_fair_keys_take_turns_however_many_calls_one_sends(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    rare = full.admin("POST", "/api/v1/keys", {"name": "rare"}).json()["key"]
    until(lambda: full.post(asked("free/sim"), key=rare).status == 200, "the new key")
    order: list[str] = []

    def call(name: str, key: str) -> wire.Reply:
        reply = full.post(asked("just/sim?delay=100"), key=key)
        if reply.status == 200:
            order.append(name)
        return reply

    crowd: list[Future[wire.Reply]] = []
    with hanging(full, "just/sim-hang"):
        for waiting in range(1, 7):
            crowd.append(calls.submit(call, "crowd", KEY))
            busy(full, "just", 1, waiting)
        quiet = calls.submit(call, "rare", rare)
        [refused] = as_completed(crowd[-1:])
    assert quiet.result().status == 200
    assert Counter(done.result().status for done in crowd) == {200: 5, 429: 1}
    assert order.index("rare") <= 2, order
    assert shed(full, "just", "share") == 1
    assert "more waiting than its share" in error_of(refused.result())["message"]
    assert refused.result().header("retry-after")


def test_limits_change_under_way(full: Stack, calls: ThreadPoolExecutor) -> None:
    """The first place is taken all the while: what is answered has got another one."""
    mine = "auth: none, max_in_flight: 1 }"
    with hanging(full, "one/sim-hang"):
        waits = [calls.submit(full.chat, "one/sim") for _ in range(3)]
        busy(full, "one", 1, 3)
        full.write(CONFIG.replace(mine, mine.replace("1", "2"), 1))
        assert {done.result().status for done in waits} == {200}
        with socket.create_connection(("127.0.0.1", full.port)) as link:
            headers = {"Authorization": f"Bearer {KEY}"}
            link.sendall(wire.request("/v1/chat/completions", asked("one/sim-hang"), headers))
            busy(full, "one", 2)
            waits = [calls.submit(full.chat, "one/sim") for _ in range(3)]
            busy(full, "one", 2, 3)
            full.write(CONFIG.replace(", max_in_flight: 1 }", " }", 1))
            assert {done.result().status for done in waits} == {200}
            assert full.chat("one/sim").header("x-ferryman-queued-ms") is None
    full.write(CONFIG)

    def page() -> bytes:
        return full.get("/metrics").body

    until(lambda: b'ferryman_limited_calls{provider="one"} 0' in page(), "the limit again")


def test_past_its_own_limit_the_gateway_refuses_calls_unread(
    full: Stack, calls: ThreadPoolExecutor
) -> None:
    at_work = [calls.submit(full.chat, "free/sim?delay=2500") for _ in range(30)]
    until(lambda: gauge(full, "ferryman_in_flight_calls") == 30, "30 calls")
    for body in (asked("free/sim"), b"this is no JSON"):
        reply = full.post(body)
        assert (reply.status, reply.header("retry-after")) == (503, "1")
        assert error_of(reply)["code"] == "gateway_overloaded"
    assert full.get("/v1/models").status == 200
    assert shed(full, "", "max_calls") == 2
    assert {done.result().status for done in at_work} == {200}
    assert full.chat("free/sim").status == 200
